//! Telling a run to stop, and finding out whether one should.

use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, Ordering};

/// Cancels a run from outside: a signal handler, a deadline, a host that lost interest. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
}

impl CancelHandle {
    /// A handle that nothing has cancelled yet.
    pub fn new() -> CancelHandle {
        CancelHandle::default()
    }

    /// Asks the run to stop. Every wait inside it ends within tens of milliseconds; calling it again changes nothing.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether [`cancel`](CancelHandle::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}
