//! What the controller is told at every tick.

use std::time::Duration;

/// What happened on a mount since the last tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) elapsed: Duration,
    /// Calls that came back in it.
    pub(crate) calls: u64,
    /// The time in calls, summed up over all workers.
    pub(crate) busy: Duration,
    /// How many workers were at work, on average.
    pub(crate) active: f64,
    /// Whether there were fewer than allowed, for want of work or because whoever comes after is slow. That says nothing
    /// about the mount.
    pub(crate) starved: bool,
}
