//! How many threads pay on a mount.
//!
//! Whoever runs the threads counts, for each mount, the calls that come back, and tells the [`Controller`] of it at
//! every tick; the controller answers with the number of threads that may work on the mount from now on. `docs/concurrency.md`
//! says which ways of finding that number were tried, and how they did.
//!
//! One thing must stay true: nothing in here looks at a clock, starts a thread or draws a number. The same intervals
//! lead to the same decisions, which is why whole runs can be tried out in a simulation (`concurrency/simulation.rs`).

mod controller;
mod decision;
#[cfg(test)]
mod experiment;
mod interval;
mod level;
#[cfg(test)]
mod rivals;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

#[cfg_attr(
    not(test),
    expect(
        unused_imports,
        reason = "the stages do not yet ask how many threads pay"
    )
)]
pub(crate) use controller::Controller;
pub(crate) use decision::{Bounds, Decision, Reason};
pub(crate) use interval::Interval;
