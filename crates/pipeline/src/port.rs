//! The ends of edges that a worker holds: typed, metered, and aware of how the run stands.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::edge::{EdgeReceiver, EdgeSender, Ledger, Taken};
use crate::meter::WorkerMeter;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Errors, Message, StageError, Stop};

/// What the ports of one worker have seen, for the runner to read when the worker is done: an author who swallows an
/// error of a port cannot thereby turn a cut stream into a whole one.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    cut: AtomicBool,
    /// The edges behind the worker's data ports, those of its errors left out. Set before the worker starts.
    data: OnceLock<Vec<Arc<Ledger>>>,
}

impl Witness {
    fn note(&self, stop: Stop) -> StageError {
        if stop != Stop::Enough {
            self.cut.store(true, Ordering::Release);
        }
        StageError::Stopped(stop)
    }

    /// Whether the worker lost input or output.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(crate) fn set_data(&self, edges: Vec<Arc<Ledger>>) {
        // A worker is made once.
        let _ = self.data.set(edges);
    }

    /// Whether no output of the worker has a reader that wants more.
    fn all_satisfied(&self) -> bool {
        let mut edges = self.data.get().into_iter().flatten();
        edges.all(|ledger| ledger.is_satisfied())
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
        match self.look()? {
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
        let received = self.look()?;
        if let Received::Idle = received {
            self.meter.got_nothing();
        }
        Ok(received)
    }

    /// Waits for the next message, but not beyond `deadline`.
    ///
    /// # Errors
    /// As [`recv`](Inlet::recv).
    pub fn recv_until(&mut self, deadline: Instant) -> Result<Received<T>, StageError> {
        match self.look()? {
            Received::Idle => self.wait(Some(deadline)),
            found => Ok(found),
        }
    }

    /// Waits, after a look at the queue that found it empty.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<Received<T>, StageError> {
        // Whatever was done since that look was no waiting.
        self.meter.asks();
        let taken = self.receiver.recv_blocked(deadline);
        self.meter.waited(match &taken {
            Ok(Taken::Message(message)) => Some(message.items()),
            _ => None,
        });
        match taken {
            Ok(taken) => Ok(self.received(taken)),
            Err(stop) => Err(self.witness.note(stop)),
        }
    }

    /// Looks at the queue. Where it is empty, the worker is taken to wait from now on.
    fn look(&mut self) -> Result<Received<T>, StageError> {
        self.meter.asks();
        let taken = self.receiver.try_recv();
        match &taken {
            Ok(Taken::Message(message)) => self.meter.got_at_once(message.items()),
            Ok(Taken::Empty) => {}
            Ok(Taken::End) | Err(_) => self.meter.got_nothing(),
        }
        match taken {
            Ok(taken) => Ok(self.received(taken)),
            Err(stop) => Err(self.witness.note(stop)),
        }
    }

    fn received(&self, taken: Taken<T>) -> Received<T> {
        match taken {
            Taken::Message(message) => Received::Message(message),
            Taken::Empty => Received::Idle,
            Taken::End => {
                self.progress.ended.store(true, Ordering::Release);
                Received::End
            }
        }
    }

    /// Whether there is more in the queue, or about to be: then one more worker would have something to do.
    pub fn has_more(&self) -> bool {
        self.receiver.ledger().queued_bytes() > 0
    }

    /// Tells the producers that this stage wants no more of this input. What is still queued is dropped, and all workers
    /// of the stage find the input ended.
    pub fn enough(&mut self) {
        self.receiver.ledger().satisfy();
        self.progress.ended.store(true, Ordering::Release);
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

    /// Sends to every consumer; says whether any of them wanted the message.
    pub(crate) fn send(&self, message: T) -> Result<bool, StageError> {
        let items = message.items();
        if self.metered {
            self.meter.hands_over();
        }
        let mut blocked = Duration::ZERO;
        let outcome = self.deliver_all(message, &mut blocked);
        if self.metered && matches!(outcome, Ok(true)) {
            self.meter.handed_over(items, blocked);
        } else {
            self.meter.was_blocked(blocked);
        }
        outcome.map_err(|stop| self.witness.note(stop))
    }

    fn deliver_all(&self, message: T, blocked: &mut Duration) -> Result<bool, Stop> {
        let Some((last, others)) = self.consumers.split_last() else {
            return Ok(true);
        };
        let mut wanted = false;
        for consumer in others {
            if consumer.is_wanted() {
                wanted |= self.deliver(consumer, message.clone(), blocked)?;
            }
        }
        wanted |= self.deliver(last, message, blocked)?;
        Ok(wanted)
    }

    /// Sends to one consumer; says whether it wanted the message.
    fn deliver(
        &self,
        consumer: &EdgeSender<T>,
        message: T,
        blocked: &mut Duration,
    ) -> Result<bool, Stop> {
        let outcome = match consumer.try_send(message) {
            Ok(None) => Ok(()),
            Ok(Some(full)) => {
                let (outcome, length) = self.meter.while_blocked(|| consumer.send_blocked(full));
                *blocked += length;
                outcome
            }
            Err(stop) => Err(stop),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(Stop::Enough) => Ok(false),
            Err(stop) => Err(stop),
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
    /// the others a clone. A message that no consumer of this port wants is dropped.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping, or when no consumer of any of the worker's outputs wants more.
    pub fn send(&self, message: T) -> Result<(), StageError> {
        if self.fan.send(message)? || !self.fan.witness.all_satisfied() {
            Ok(())
        } else {
            Err(StageError::ENOUGH)
        }
    }

    /// Whether some consumer of this port still wants messages. Worth asking before work that only serves this output.
    pub fn is_wanted(&self) -> bool {
        let consumers = &self.fan.consumers;
        consumers.is_empty() || consumers.iter().any(EdgeSender::is_wanted)
    }

    /// Whether no consumer of any of the worker's outputs wants more, as [`send`](Outlet::send) would say. Who waits for
    /// others before there is something to send must ask: nothing else tells.
    pub fn has_enough(&self) -> bool {
        !self.is_wanted() && self.fan.witness.all_satisfied()
    }

    /// Whether some consumer has nothing queued: it will be idle unless something is sent soon.
    pub fn is_starved(&self) -> bool {
        self.fan.consumers.iter().any(EdgeSender::is_starved)
    }

    /// Where this worker reports single items that it could not handle.
    pub fn errors(&self) -> &Arc<Errors> {
        &self.errors
    }
}
