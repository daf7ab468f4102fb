//! What the channel code waits and counts with: locks, atomics and bounded channels under one name.
//!
//! Ordinary builds get the standard library's and crossbeam's own, re-exported. Tests built with `--cfg shuttle` get
//! stand-ins whose threads are scheduled by shuttle, one at a time and in random order, so that what depends on the
//! order in which threads run shows in minutes and can be replayed (`schedules.rs`). One thing must stay true: the
//! stand-ins promise no more than the originals do.
//!
//! Shuttle rather than loom, because what is to be shown is about several producers, consumers and whole stages at
//! once: loom tries *every* order, which for more than three threads or some dozen operations never ends. The price is
//! that a rare order may be missed, and that shuttle treats every atomic operation as sequentially consistent: an
//! ordering that is too weak is not found here.
//!
//! Time has no stand-in. A wait with a timeout ends when the model's clock says so, whatever its length (`sync/clock.rs`);
//! [`Instant`](std::time::Instant)s are read for the meters alone, and by whoever passes a deadline.

#[cfg(not(all(test, shuttle)))]
pub(crate) use crossbeam::channel;
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

#[cfg(test)]
#[cfg(shuttle)]
pub(crate) mod channel;
#[cfg(test)]
#[cfg(shuttle)]
pub(crate) mod clock;
#[cfg(test)]
#[cfg(shuttle)]
mod condvar;
#[cfg(all(test, shuttle))]
pub(crate) use self::condvar::Condvar;
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
