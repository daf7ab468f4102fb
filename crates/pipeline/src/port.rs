//! The ends of edges that a worker holds: typed, metered, and aware of how the run stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use crate::edge::{EdgeReceiver, EdgeSender, Taken};
use crate::meter::WorkerMeter;
use crate::{Errors, Message, StageError, Stop};

/// What the ports of one worker have seen, for the runner to read when the worker is done: an author who swallows an
/// error of a port cannot thereby turn a cut stream into a whole one.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    stopped: AtomicU8,
}

impl Witness {
    const CANCELLED: u8 = 1;
    const TRUNCATED: u8 = 2;

    fn note(&self, stop: Stop) -> StageError {
        match stop {
            Stop::Enough => {}
            Stop::Cancelled => self.stopped.store(Self::CANCELLED, Ordering::Release),
            Stop::Truncated => self.stopped.store(Self::TRUNCATED, Ordering::Release),
        }
        StageError::Stopped(stop)
    }

    /// Whether the worker lost input or output.
    pub(crate) fn was_cut(&self) -> bool {
        self.stopped.load(Ordering::Acquire) != 0
    }
}

/// What one worker read of one input, for the runner.
#[derive(Debug, Default)]
pub(crate) struct InletProgress {
    ended: AtomicBool,
}

impl InletProgress {
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// What [`Inlet::recv_until`] found.
#[derive(Debug)]
pub enum Received<T> {
    /// A message.
    Message(T),
    /// Nothing until the deadline.
    Idle,
    /// The input is over, and complete.
    End,
}

/// The receiving end of an input port, one for each worker of the stage.
pub struct Inlet<T> {
    receiver: EdgeReceiver<T>,
    meter: Arc<WorkerMeter>,
    witness: Arc<Witness>,
    progress: Arc<InletProgress>,
}

impl<T: Message> Inlet<T> {
    pub(crate) fn new(
        receiver: EdgeReceiver<T>,
        meter: &Arc<WorkerMeter>,
        witness: &Arc<Witness>,
        progress: &Arc<InletProgress>,
    ) -> Inlet<T> {
        Inlet {
            receiver,
            meter: Arc::clone(meter),
            witness: Arc::clone(witness),
            progress: Arc::clone(progress),
        }
    }

    /// The next message, or `None` when the input has ended and was complete.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping, or when a producer was cut off.
    pub fn recv(&mut self) -> Result<Option<T>, StageError> {
        match self.try_recv()? {
            Received::Message(message) => Ok(Some(message)),
            Received::End => Ok(None),
            Received::Idle => match self.wait(None)? {
                Received::Message(message) => Ok(Some(message)),
                // Without a deadline nothing is ever idle.
                Received::Idle | Received::End => Ok(None),
            },
        }
    }

    /// The next message if one is there now; [`Received::Idle`] if not.
    ///
    /// # Errors
    /// As [`recv`](Inlet::recv).
    pub fn try_recv(&mut self) -> Result<Received<T>, StageError> {
        self.meter.asks();
        match self
            .receiver
            .try_recv()
            .map_err(|stop| self.witness.note(stop))?
        {
            Taken::Message(message) => {
                self.meter.got_at_once(message.items());
                Ok(Received::Message(message))
            }
            Taken::Empty => Ok(Received::Idle),
            Taken::End => Ok(self.end()),
        }
    }

    /// Waits for the next message, but not beyond `deadline`.
    ///
    /// # Errors
    /// As [`recv`](Inlet::recv).
    pub fn recv_until(&mut self, deadline: Instant) -> Result<Received<T>, StageError> {
        match self.try_recv()? {
            Received::Idle => self.wait(Some(deadline)),
            found => Ok(found),
        }
    }

    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<Received<T>, StageError> {
        let taken = self.receiver.recv_blocked(deadline);
        match taken {
            Ok(Taken::Message(message)) => {
                self.meter.waited(Some(message.items()));
                Ok(Received::Message(message))
            }
            Ok(Taken::Empty) => {
                self.meter.waited(None);
                Ok(Received::Idle)
            }
            Ok(Taken::End) => {
                self.meter.waited(None);
                Ok(self.end())
            }
            Err(stop) => {
                self.meter.waited(None);
                Err(self.witness.note(stop))
            }
        }
    }

    /// Tells the producers that this stage wants no more of this input. What is still queued is dropped.
    pub fn enough(&mut self) {
        self.receiver.ledger().satisfy();
        self.progress.ended.store(true, Ordering::Release);
    }

    fn end(&self) -> Received<T> {
        self.progress.ended.store(true, Ordering::Release);
        Received::End
    }
}

/// The consumers of one output port, and what sending to them cost.
pub(crate) struct Fan<T> {
    consumers: Vec<EdgeSender<T>>,
    meter: Arc<WorkerMeter>,
    witness: Arc<Witness>,
    /// Data ports are metered. An error message is part of the service of the item that it is about.
    metered: bool,
}

impl<T: Message> Fan<T> {
    pub(crate) fn new(
        consumers: Vec<EdgeSender<T>>,
        meter: &Arc<WorkerMeter>,
        witness: &Arc<Witness>,
        metered: bool,
    ) -> Fan<T> {
        Fan {
            consumers,
            meter: Arc::clone(meter),
            witness: Arc::clone(witness),
            metered,
        }
    }

    pub(crate) fn send(&self, message: T) -> Result<(), StageError> {
        if self.metered {
            self.meter.hands_over(message.items());
        }
        let Some((last, others)) = self.consumers.split_last() else {
            return Ok(());
        };
        let mut wanted = false;
        for consumer in others {
            wanted |= self.deliver(consumer, message.clone())?;
        }
        wanted |= self.deliver(last, message)?;
        if wanted {
            Ok(())
        } else {
            Err(StageError::ENOUGH)
        }
    }

    /// Sends to one consumer; says whether it wanted the message.
    fn deliver(&self, consumer: &EdgeSender<T>, message: T) -> Result<bool, StageError> {
        let outcome = match consumer.try_send(message) {
            Ok(None) => {
                if self.metered {
                    self.meter.not_blocked();
                }
                Ok(())
            }
            Ok(Some(blocked)) => {
                let since = Instant::now();
                let outcome = consumer.send_blocked(blocked);
                self.meter.was_blocked(since);
                outcome
            }
            Err(stop) => Err(stop),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(Stop::Enough) => Ok(false),
            Err(stop) => Err(self.witness.note(stop)),
        }
    }
}

/// The sending end of an output port, one for each worker of the stage. It reaches every consumer of the port.
pub struct Outlet<T> {
    fan: Fan<T>,
    errors: Arc<Errors>,
}

impl<T: Message> Outlet<T> {
    pub(crate) fn new(fan: Fan<T>, errors: &Arc<Errors>) -> Outlet<T> {
        Outlet {
            fan,
            errors: Arc::clone(errors),
        }
    }

    /// Hands a message to every consumer, waiting while a queue is full. The last consumer gets the message itself,
    /// the others a clone.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping or when no consumer wants more.
    pub fn send(&self, message: T) -> Result<(), StageError> {
        self.fan.send(message)
    }

    /// Whether some consumer has nothing queued: it will be idle unless something is sent soon.
    pub fn is_starved(&self) -> bool {
        self.fan.consumers.iter().any(EdgeSender::is_empty)
    }

    /// Where this worker reports single items that it could not handle.
    pub fn errors(&self) -> &Arc<Errors> {
        &self.errors
    }
}
