//! A worker of `stat`.
//!
//! One thing must stay true: all that it knows of the batch at hand is in [`Work`], so that another thread can go on where
//! a call hangs.

use std::sync::Arc;

use statline_pipeline::{Inlet, Outlet, StageError, Watch, Watched};
use statline_platform::DirNode;

use super::fetching::Fetching;
use super::work::Work;
use crate::concurrency::Gauge;
use crate::directories::Errand;
use crate::recall::{Recall, Recaller};
use crate::{EntryBatch, RecordBatch};

/// A worker of `stat`.
pub(super) struct StatWorker {
    pub(super) input: Inlet<EntryBatch>,
    pub(super) out: Outlet<RecordBatch>,
    pub(super) shared: Arc<Fetching>,
    pub(super) errand: Arc<Errand>,
    pub(super) gauge: Gauge,
    /// Where metadata may be remembered from earlier runs.
    pub(super) recaller: Option<Recaller>,
    /// The batch at hand.
    pub(super) work: Option<Work>,
    /// Memory for the entries of a group in the order in which they are asked for.
    pub(super) spare: Vec<u32>,
}

impl Watched for StatWorker {
    fn run(worker: &mut Watch<StatWorker>) -> Result<(), StageError> {
        if let Some(work) = worker.work.take() {
            let work = work.resume(worker)?;
            work.finish(worker)?;
        }
        while let Some(batch) = worker.input.recv()? {
            Work::new(batch).finish(worker)?;
        }
        Ok(())
    }

    fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        match &self.work {
            Some(work) => work.call(done),
            None => ("stat", Vec::new()),
        }
    }

    fn give_up(&mut self, done: u64) {
        if let Some(work) = &mut self.work {
            work.give_up(done, &self.errand);
        }
        self.errand = Errand::new(&self.shared.directories);
    }
}

impl StatWorker {
    pub(super) fn new(
        shared: &Arc<Fetching>,
        input: Inlet<EntryBatch>,
        out: Outlet<RecordBatch>,
        recall: &Option<Recall>,
    ) -> StatWorker {
        StatWorker {
            input,
            out,
            errand: Errand::new(&shared.directories),
            shared: Arc::clone(shared),
            gauge: Gauge::new(),
            recaller: recall.as_ref().map(Recall::worker),
            work: None,
            spare: Vec::new(),
        }
    }

    /// Whether nothing is to be asked of a directory's file system any more, because it does not answer.
    pub(super) fn is_hopeless(&self, directory: &DirNode) -> bool {
        self.shared.context.has_given_up() || self.shared.directories.is_dead(directory)
    }
}
