//! The messages of a run as an iterator on the caller's own thread.

use std::marker::PhantomData;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, SendTimeoutError, Sender};

use crate::declare::{DEFAULT_INPUT, InputPort};
use crate::run::Run;
use crate::{
    Actor, CancelHandle, Context, Declare, Inlet, Job, Kind, Message, Monitor, Opening, RunReport,
    StageError, Stop,
};

/// The messages of one output of a run, as they come.
///
/// That the iterator ends does not mean that it gave everything: a failed run ends too. [`finish`](Results::finish)
/// tells which it was.
#[must_use = "only finish() tells whether the results are complete"]
pub struct Results<T> {
    receiver: Receiver<T>,
    run: Run,
    cancel: CancelHandle,
}

pub(crate) fn results_channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel::bounded(capacity)
}

impl<T: Message> Results<T> {
    pub(crate) fn start(job: Job, receiver: Receiver<T>) -> Results<T> {
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
        self.receiver.recv().ok()
    }
}

/// The stage at the other end of a [`Results`].
pub(crate) struct ResultsKind<T> {
    message: PhantomData<fn() -> T>,
}

impl<T> ResultsKind<T> {
    pub(crate) fn new() -> Self {
        ResultsKind {
            message: PhantomData,
        }
    }
}

impl<T: Message> Kind for ResultsKind<T> {
    type Config = Sender<T>;
    type Ports = InputPort<T>;

    fn declare(&self, _: Option<&Sender<T>>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input(DEFAULT_INPUT)
    }

    fn open(
        &self,
        sender: Sender<T>,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        stage.worker(|ends| {
            Ok(Forward {
                input: ends.input(&input),
                sender,
                context,
            })
        })
    }
}

struct Forward<T> {
    input: Inlet<T>,
    sender: Sender<T>,
    context: Context,
}

impl<T: Message> Actor for Forward<T> {
    fn run(&mut self) -> Result<(), StageError> {
        while let Some(mut message) = self.input.recv()? {
            loop {
                match self.sender.send_timeout(message, Duration::from_millis(20)) {
                    Ok(()) => break,
                    Err(SendTimeoutError::Disconnected(_)) => return Err(StageError::ENOUGH),
                    Err(SendTimeoutError::Timeout(back)) => message = back,
                }
                if self.context.is_stopping() {
                    return Err(StageError::Stopped(Stop::Cancelled));
                }
            }
        }
        Ok(())
    }
}
