//! How many workers of a stage are at work on a mount: counted, measured, and adapted while the run lasts.
//!
//! A [`Limit`] is what workers look at: whether one more may begin, whether one is too many, and where they leave what
//! they measured ([`Gauge`]). The [`Governor`] reads it at every tick and asks the mount's controller how many threads may
//! work there from then on; [`Threads`] says between which bounds. `docs/concurrency.md` tells which ways of finding
//! that number were tried, and how they did.
//!
//! Two things must stay true: no worker ever waits for a decision; and a controller looks at no clock, starts no thread and
//! draws no number, so that whole runs can be tried out in a simulation (`concurrency/simulation.rs`).

mod controller;
mod decision;
#[cfg(test)]
mod experiment;
mod governor;
mod interval;
mod level;
mod limit;
#[cfg(test)]
mod rivals;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod threads;

use controller::Controller;
use decision::{Bounds, Decision, Reason};
pub(crate) use governor::{Governor, History};
use interval::Interval;
pub(crate) use limit::{Gauge, Limit};
pub(crate) use threads::{Threads, cores};
