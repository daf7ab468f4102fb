//! What the report says of the mounts that a stage worked on: how many threads were allowed when, and why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use serde::Serialize;
use statline_pipeline::Context;

use crate::concurrency::History;
use crate::frontier::Frontier;
use crate::mount::Mount;

/// Gathers the decisions on the mounts of a stage, and lets its workers know of each.
pub(crate) struct MountReport {
    context: Context,
    mounts: Mutex<BTreeMap<String, MountLine>>,
    frontier: OnceLock<Weak<Frontier>>,
}

/// One mount.
#[derive(Serialize)]
struct MountLine {
    filesystem: &'static str,
    /// How many threads may be at work by now.
    threads: usize,
    #[serde(flatten)]
    history: History,
}

impl MountReport {
    pub(crate) fn new(context: &Context) -> Arc<MountReport> {
        Arc::new(MountReport {
            context: context.clone(),
            mounts: Mutex::default(),
            frontier: OnceLock::new(),
        })
    }

    /// Has the workers of a frontier told of decisions.
    pub(crate) fn watch(&self, frontier: &Arc<Frontier>) {
        let _ = self.frontier.set(Arc::downgrade(frontier));
    }

    /// A limit was changed.
    pub(crate) fn decided(&self, mount: &Mount, history: &History) {
        if let Some(frontier) = self.frontier.get().and_then(Weak::upgrade) {
            frontier.limits_changed();
        }
        let line = MountLine {
            filesystem: mount.filesystem.map_or("unknown", |found| found.name()),
            threads: mount.limit.allowed(),
            history: history.clone(),
        };
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.insert(String::from_utf8_lossy(&mount.path).into_owned(), line);
        // Figures are written as JSON, whatever they are.
        let _ = self.context.set_result(&serde_json::json!({ "mounts": &*mounts }));
    }
}
