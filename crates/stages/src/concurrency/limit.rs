//! The number of workers that may be at work on a mount, and what they measure there.
//!
//! One thing must stay true: whoever enters leaves, once; a limit that falls below those at work takes nobody's work
//! away, but each of them that looks finds that it is one too many, until enough have left.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use statline_platform::{ThreadUsage, thread_usage};

/// How long one who waits for a turn sleeps before looking whether there is any use in it.
const SLICE: Duration = Duration::from_millis(20);

/// How long others do.
const LONG: Duration = Duration::from_secs(1);

/// Workers of one stage on one mount.
#[derive(Debug)]
pub(crate) struct Limit {
    allowed: AtomicUsize,
    active: AtomicUsize,
    /// How many wait for their turn.
    waiting: Mutex<usize>,
    turn: Condvar,
    measured: CachePadded<Measured>,
}

/// What came back from the mount since the run began.
#[derive(Debug, Default)]
struct Measured {
    calls: AtomicU64,
    /// Nanoseconds that workers spent inside calls.
    busy: AtomicU64,
    /// Nanoseconds that one of the last calls took.
    latency: AtomicU64,
}

/// The same in figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Total {
    pub(crate) calls: u64,
    pub(crate) busy: Duration,
    pub(crate) active: usize,
}

impl Limit {
    pub(crate) fn new(allowed: usize) -> Limit {
        Limit {
            allowed: AtomicUsize::new(allowed.max(1)),
            active: AtomicUsize::new(0),
            waiting: Mutex::default(),
            turn: Condvar::new(),
            measured: CachePadded::default(),
        }
    }

    /// How many may be at work.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed.load(Ordering::Relaxed)
    }

    /// Changes how many may be at work: one at least.
    pub(crate) fn allow(&self, workers: usize) {
        self.allowed.store(workers.max(1), Ordering::SeqCst);
        self.wake(Condvar::notify_all);
    }

    /// How many are at work.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// How many more may be.
    pub(crate) fn room(&self) -> usize {
        self.allowed().saturating_sub(self.active())
    }

    /// Begins work on the mount, if one more may.
    pub(crate) fn enter(&self) -> bool {
        let allowed = self.allowed.load(Ordering::SeqCst);
        let enter = |active| (active < allowed).then_some(active + 1);
        self.active
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter)
            .is_ok()
    }

    /// Ends work on the mount.
    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Ordering::SeqCst);
        self.wake(Condvar::notify_one);
    }

    fn wake(&self, notify: impl Fn(&Condvar)) {
        // The lock orders this against a worker between its try and its sleep.
        if *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
            notify(&self.turn);
        }
    }

    /// Begins work on the mount as soon as one more may; false if `stopped` says that there is no use in waiting, which
    /// one of those that wait asks every 20 ms.
    pub(crate) fn enter_in_turn(&self, stopped: impl Fn() -> bool) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting += 1;
        let entered = loop {
            if self.enter() {
                break true;
            }
            if stopped() {
                break false;
            }
            let time = if *waiting == 1 { SLICE } else { LONG };
            let woken = self.turn.wait_timeout(waiting, time);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        };
        *waiting -= 1;
        drop(waiting);
        if !entered {
            self.wake(Condvar::notify_all);
        }
        entered
    }

    /// Whether more are at work than may be.
    pub(crate) fn is_over(&self) -> bool {
        self.active() > self.allowed()
    }

    /// Ends work on the mount if more are at work than may be.
    pub(crate) fn leave_if_over(&self) -> bool {
        if !self.is_over() {
            return false;
        }
        let allowed = self.allowed();
        let leave = |active| (active > allowed).then(|| active - 1);
        self.active
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, leave)
            .is_ok()
    }

    /// How long one of the last calls took.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_nanos(self.measured.latency.load(Ordering::Relaxed))
    }

    pub(crate) fn total(&self) -> Total {
        Total {
            calls: self.measured.calls.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.measured.busy.load(Ordering::Relaxed)),
            active: self.active(),
        }
    }

    fn add(&self, calls: u64, busy: Duration) {
        let nanoseconds = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.measured.calls.fetch_add(calls, Ordering::Relaxed);
        self.measured.busy.fetch_add(nanoseconds, Ordering::Relaxed);
        if let Some(latency) = nanoseconds.checked_div(calls) {
            self.measured.latency.store(latency, Ordering::Relaxed);
        }
    }
}

/// What one worker measures, gathered so that quick calls do not meet in one place of memory.
#[derive(Debug)]
pub(crate) struct Gauge {
    calls: u64,
    busy: Duration,
    /// When the worker last came back from a call, or began to work: what it does between two calls is nothing beside
    /// them, so the clock is read once for each.
    last: Instant,
    /// What its thread had used when this began to gather.
    used: ThreadUsage,
}

/// How much is gathered.
const GATHERED: Duration = Duration::from_millis(1);

/// Calls that make their thread wait less often than once in so many were answered from memory.
const CALLS_PER_WAIT: u64 = 50;

impl Gauge {
    pub(crate) fn new() -> Gauge {
        Gauge {
            calls: 0,
            busy: Duration::ZERO,
            last: Instant::now(),
            used: ThreadUsage::default(),
        }
    }

    /// The worker begins to work, or has waited for something that is not the mount.
    pub(crate) fn restart(&mut self, limit: Option<&Limit>) {
        if let Some(limit) = limit {
            self.report(limit);
        }
        self.last = Instant::now();
        self.used = thread_usage().unwrap_or_default();
    }

    /// So many calls have come back.
    pub(crate) fn returned(&mut self, calls: u64, limit: &Limit) {
        let now = Instant::now();
        self.calls += calls;
        self.busy += now.saturating_duration_since(self.last);
        self.last = now;
        if self.busy >= GATHERED {
            self.report(limit);
            self.used = thread_usage().unwrap_or_default();
        }
    }

    /// A call has come back that is no reason to read the clock: what it took counts with the next.
    pub(crate) fn count(&mut self) {
        self.calls += 1;
    }

    /// When the worker last came back from a call, or began to work.
    pub(crate) fn last(&self) -> Instant {
        self.last
    }

    /// Hands on what was gathered. Calls that waited for nothing took as long as the processor worked on them: that others
    /// had it in between says nothing of the mount.
    fn report(&mut self, limit: &Limit) {
        if self.calls == 0 {
            return;
        }
        let (calls, mut busy) = (
            std::mem::take(&mut self.calls),
            std::mem::take(&mut self.busy),
        );
        if let Some(now) = thread_usage()
            && now.waits.saturating_sub(self.used.waits) * CALLS_PER_WAIT < calls
        {
            busy = busy.min(now.cpu.saturating_sub(self.used.cpu));
        }
        limit.add(calls, busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_falls_sends_away_as_many_as_are_too_many() {
        let limit = Limit::new(4);
        let entered = (0..6).filter(|_| limit.enter()).count();
        assert_eq!((entered, limit.active(), limit.room()), (4, 4, 0));
        limit.allow(1);
        let left = (0..6).filter(|_| limit.leave_if_over()).count();
        assert_eq!((left, limit.active()), (3, 1));
        assert!(!limit.enter());
        limit.leave();
        assert!(limit.enter());
    }

    #[test]
    fn what_workers_gather_is_in_the_total_once_they_report() {
        let limit = Limit::new(1);
        let mut gauge = Gauge::new();
        gauge.returned(3, &limit);
        gauge.returned(4, &limit);
        gauge.restart(Some(&limit));
        gauge.restart(Some(&limit));
        assert_eq!(limit.total().calls, 7);
    }
}
