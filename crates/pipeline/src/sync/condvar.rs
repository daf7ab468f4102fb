//! A condition variable whose timeouts happen: those of shuttle's own never do.

use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

use shuttle::sync::MutexGuard;

use super::clock;

/// Stands in for [`std::sync::Condvar`].
#[derive(Debug)]
pub(crate) struct Condvar {
    inner: Arc<shuttle::sync::Condvar>,
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar {
            inner: Arc::new(shuttle::sync::Condvar::new()),
        }
    }

    pub(crate) fn notify_one(&self) {
        self.inner.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.inner.notify_all();
    }

    /// Waits; says beside the guard whether the time was up. May wake for no reason, as the original.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        if timeout.is_zero() {
            return Ok((guard, true));
        }
        let timer = clock::arm(&self.inner);
        let woken = self.inner.wait(guard);
        let timed_out = clock::disarm(timer);
        match woken {
            Ok(guard) => Ok((guard, timed_out)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), timed_out))),
        }
    }
}
