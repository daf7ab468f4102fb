//! The messages of a run as an iterator on the caller's own thread.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam::channel::{self, Receiver, SendTimeoutError, Sender};

use crate::declare::{DEFAULT_INPUT, InputPort};
use crate::edge::SLICE;
use crate::run::Run;
use crate::{
    Actor, CancelHandle, Context, Declare, Inlet, Job, Kind, Message, Monitor, Opening, Received,
    RunReport, StageError,
};

/// The messages of one output of a run, as they come.
///
/// That the iterator ends does not mean that it gave everything: a failed run ends too. [`finish`](Results::finish)
/// tells which it was.
///
/// Dropping it cancels the run, as dropping a [`Run`] does.
#[must_use = "only finish() tells whether the results are complete"]
pub struct Results<T> {
    receiver: Taker<T>,
    run: Run,
    cancel: CancelHandle,
}

/// The caller's end. The other end can tell when it is gone, also while it has nothing to send.
pub(crate) struct Taker<T> {
    messages: Receiver<T>,
    _present: Arc<()>,
}

/// The stage's end.
pub(crate) struct Giver<T> {
    messages: Sender<T>,
    taker: Weak<()>,
}

pub(crate) fn results_channel<T>() -> (Giver<T>, Taker<T>) {
    // The queue proper is the edge into the stage, bounded in bytes too; one more message lets both threads run.
    let (sender, receiver) = channel::bounded(1);
    let present = Arc::new(());
    let giver = Giver {
        messages: sender,
        taker: Arc::downgrade(&present),
    };
    let taker = Taker {
        messages: receiver,
        _present: present,
    };
    (giver, taker)
}

impl<T: Message> Results<T> {
    pub(crate) fn start(job: Job, receiver: Taker<T>) -> Results<T> {
        let cancel = CancelHandle::new();
        Results {
            receiver,
            run: job.start(&cancel),
            cancel,
        }
    }

    /// Sees the run from outside while it goes on.
    pub fn monitor(&self) -> Monitor {
        self.run.monitor()
    }

    /// Stops the run from anywhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Waits for the run's end and reports. Messages that were not taken count as not wanted.
    pub fn finish(self) -> RunReport {
        let Results { receiver, run, .. } = self;
        drop(receiver);
        run.wait()
    }
}

impl<T: Message> Iterator for Results<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.messages.recv().ok()
    }
}

/// The stage at the other end of a [`Results`].
pub(crate) struct ResultsKind<T>(PhantomData<fn() -> T>);

impl<T> ResultsKind<T> {
    pub(crate) fn new() -> Self {
        ResultsKind(PhantomData)
    }
}

impl<T: Message> Kind for ResultsKind<T> {
    type Config = Giver<T>;
    type Ports = InputPort<T>;

    fn declare(&self, _: Option<&Giver<T>>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input(DEFAULT_INPUT)
    }

    fn open(
        &self,
        giver: Giver<T>,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        stage.worker(|ends| {
            Ok(Forward {
                input: ends.input(&input),
                giver,
                context,
            })
        })
    }
}

struct Forward<T> {
    input: Inlet<T>,
    giver: Giver<T>,
    context: Context,
}

impl<T: Message> Actor for Forward<T> {
    fn run(&mut self) -> Result<(), StageError> {
        loop {
            let mut message = match self.input.recv_until(Instant::now() + SLICE)? {
                Received::Message(message) => message,
                Received::Idle if self.giver.taker.strong_count() == 0 => {
                    return Err(StageError::ENOUGH);
                }
                Received::Idle => continue,
                Received::End => return Ok(()),
            };
            loop {
                match self.giver.messages.send_timeout(message, SLICE) {
                    Ok(()) => break,
                    Err(SendTimeoutError::Disconnected(_)) => return Err(StageError::ENOUGH),
                    Err(SendTimeoutError::Timeout(back)) => message = back,
                }
                self.context.checkpoint()?;
            }
        }
    }
}
