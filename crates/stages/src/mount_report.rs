//! What the report says of the mounts that a stage worked on: how many threads were allowed when, and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use statline_pipeline::Context;

use crate::concurrency::History;
use crate::mount::Mount;

/// Gathers the decisions on the mounts of a stage, and lets its workers know of each.
pub(crate) struct MountReport {
    context: Context,
    mounts: Mutex<BTreeMap<String, MountLine>>,
    /// Lets the workers of the stage know.
    tell: Box<dyn Fn() + Send + Sync>,
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
    pub(crate) fn new(context: &Context, tell: impl Fn() + Send + Sync + 'static) -> MountReport {
        MountReport {
            context: context.clone(),
            mounts: Mutex::default(),
            tell: Box::new(tell),
        }
    }

    /// A limit was changed.
    pub(crate) fn decided(&self, mount: &Mount, history: &History) {
        (self.tell)();
        let line = MountLine {
            filesystem: mount.filesystem.map_or("unknown", |found| found.name()),
            threads: mount.limit.allowed(),
            history: history.clone(),
        };
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.insert(String::from_utf8_lossy(&mount.path).into_owned(), line);
        // Figures are written as JSON, whatever they are.
        let _ = self
            .context
            .set_result(&serde_json::json!({ "mounts": &*mounts }));
    }
}
