//! How many calls came in, and how many were unanswered at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::operation::Operation;

const OPERATIONS: usize = Operation::ALL.len();

/// The counters of a mount.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    operations: [Counter; OPERATIONS],
    all: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
}

impl Counter {
    fn arrives(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_in_flight.fetch_max(in_flight, Ordering::Relaxed);
    }

    fn leaves(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn read(&self) -> Count {
        Count {
            calls: self.calls.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            max_in_flight: self.max_in_flight.load(Ordering::Relaxed),
        }
    }
}

/// A call that has not been answered. Dropped just before the answer is sent, so that who got an
/// answer never finds the call still counted.
#[derive(Debug)]
pub(crate) struct InFlight {
    counters: Arc<Counters>,
    operation: Operation,
}

impl Counters {
    pub(crate) fn arrives(self: &Arc<Self>, operation: Operation) -> InFlight {
        self.all.arrives();
        self.operations[operation.index()].arrives();
        InFlight {
            counters: Arc::clone(self),
            operation,
        }
    }

    pub(crate) fn read(&self) -> Counts {
        Counts {
            operations: std::array::from_fn(|index| self.operations[index].read()),
            all: self.all.read(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counters.all.leaves();
        self.counters.operations[self.operation.index()].leaves();
    }
}

/// The calls to a mount since it was made: see [`Mounted::counts`](super::Mounted::counts).
///
/// It counts the calls of every process on the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    operations: [Count; OPERATIONS],
    all: Count,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Count {
    calls: u64,
    in_flight: u64,
    max_in_flight: u64,
}

impl Counts {
    /// Calls of this operation, answered or not.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.operations[operation.index()].calls
    }

    /// Calls of this operation that had not been answered when the counts were taken.
    #[must_use]
    pub fn in_flight(&self, operation: Operation) -> u64 {
        self.operations[operation.index()].in_flight
    }

    /// The most calls of this operation that were unanswered at a time.
    #[must_use]
    pub fn max_in_flight(&self, operation: Operation) -> u64 {
        self.operations[operation.index()].max_in_flight
    }

    /// Calls of all operations, answered or not.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.all.calls
    }

    /// Calls of all operations that had not been answered when the counts were taken.
    #[must_use]
    pub fn all_in_flight(&self) -> u64 {
        self.all.in_flight
    }

    /// The most calls of all operations that were unanswered at a time.
    #[must_use]
    pub fn max_all_in_flight(&self) -> u64 {
        self.all.max_in_flight
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.all.calls)?;
        for operation in Operation::ALL {
            let count = self.operations[operation.index()];
            if count.calls != 0 {
                write!(
                    f,
                    ", {operation} {} (at most {} at a time)",
                    count.calls, count.max_in_flight
                )?;
            }
        }
        Ok(())
    }
}
