//! A store in a run: shared by the stages that use it, committed when all of them have delivered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use statline_pipeline::{Opening, PublishOrder, Publisher, StageError, Verdict};

use super::{ABOUT, Access, LAST_RUN, Store, StoreError, StoreProblem};

/// The fact by which a stage states that its store was no good and was put aside: a sentence.
pub const STORE_PUT_ASIDE_FACT: &str = "store_put_aside";

/// The stores of a run, by their paths.
#[derive(Default)]
struct Stores {
    open: Mutex<HashMap<PathBuf, Arc<Store>>>,
}

/// The last run that committed to a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Identifies the run in its report and its outputs.
    pub run_id: String,
    /// The name of the job.
    pub job: String,
    /// When it ended, as RFC 3339 writes it.
    pub finished: String,
}

impl Store {
    /// The store at `path`, opened by the first stage of the run that asks for it.
    pub(crate) fn of_run(stage: &Opening<'_>, path: &Path) -> Result<Arc<Store>, StageError> {
        let path = std::path::absolute(path).map_err(StageError::failed)?;
        let stores = stage.resource(|| Ok(Stores::default()))?;
        let mut open = stores.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&path) {
            return Ok(Arc::clone(store));
        }
        let context = stage.context();
        let store = Store::open(&path, Access::Own, &|| !context.is_stopping());
        context.checkpoint()?;
        let store = Arc::new(store.map_err(StageError::failed)?);
        if let Some((aside, why)) = store.put_aside() {
            let message = format!(
                "the store {} was of no use ({why}); it is {} now, and this run begins anew",
                path.display(),
                aside.display()
            );
            context.set_fact(STORE_PUT_ASIDE_FACT, &message)?;
        }
        open.insert(path, Arc::clone(&store));
        Ok(store)
    }

    /// Announces a stage that writes. Nothing is committed before each of them has said that it delivered.
    pub(crate) fn writer(self: &Arc<Store>) -> StoreWriter {
        self.run().writers += 1;
        StoreWriter {
            store: Arc::clone(self),
            is_done: false,
        }
    }

    /// Ends one writer's part. The last one commits, or throws everything away.
    pub(super) fn finish(&self, delivered: Option<&LastRun>) -> Result<(), StoreError> {
        let mut run = self.run();
        run.writers = run.writers.saturating_sub(1);
        run.spoilt |= delivered.is_none();
        let last = run.writers == 0;
        let Some(about) = delivered.filter(|_| !run.spoilt && last) else {
            if last && let Some(transaction) = run.transaction.take() {
                // What cannot be thrown away is not committed either.
                let _ = transaction.abort();
            }
            return Ok(());
        };
        let about = serde_json::to_vec(about)
            .map_err(|error| self.no_good("write to", &error.to_string()))?;
        self.writing(&mut run, |transaction| {
            let mut table = transaction.open_table(ABOUT)?;
            table.insert(LAST_RUN, &about[..])?;
            Ok(())
        })?;
        match run.transaction.take() {
            Some(transaction) => transaction
                .commit()
                .map_err(|error| self.failed("commit to", error)),
            None => Ok(()),
        }
    }

    /// The last run that committed.
    pub(crate) fn last_run(&self) -> Result<Option<LastRun>, StoreError> {
        let found = self.before.about.get(LAST_RUN);
        let found = found.map_err(|error| self.failed("read", error))?;
        Ok(found.and_then(|found| serde_json::from_slice(found.value()).ok()))
    }

    fn no_good(&self, operation: &'static str, error: &str) -> StoreError {
        StoreError::new(
            self.path(),
            StoreProblem::Failed(operation, error.to_owned()),
        )
    }
}

/// The part of one stage in what a run writes to a store.
pub(crate) struct StoreWriter {
    store: Arc<Store>,
    is_done: bool,
}

impl StoreWriter {
    /// Lets the verdict decide.
    pub(crate) fn commit_with(self, stage: &mut Opening<'_>) {
        stage.publisher(PublishOrder::Memory, self);
    }

    pub(super) fn end(&mut self, delivered: Option<&LastRun>) -> Result<(), StoreError> {
        self.is_done = true;
        self.store.finish(delivered)
    }
}

impl Publisher for StoreWriter {
    fn publish(mut self: Box<Self>, verdict: &Verdict) -> Result<(), StageError> {
        // Which records a reader has seen that had enough, nobody knows.
        let delivered = verdict.outcome.publishes() && !verdict.ended_early;
        let about = delivered.then(|| LastRun {
            run_id: verdict.run_id.clone(),
            job: verdict.job.clone(),
            finished: verdict.finished.to_string(),
        });
        self.end(about.as_ref()).map_err(StageError::failed)
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        if !self.is_done {
            // Nobody asked it; so nothing was delivered.
            let _ = self.end(None);
        }
    }
}

/// An error of a store as that of a stage.
impl From<StoreError> for StageError {
    fn from(error: StoreError) -> StageError {
        StageError::failed(error)
    }
}
