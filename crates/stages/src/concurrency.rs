//! How many workers of a stage are at work on a mount: counted, measured, and adapted while the run lasts.
//!
//! A [`Limit`] is what workers look at: whether one more may begin, whether one is too many, and where they leave what
//! they measured ([`Gauge`]). The [`Governor`] reads it at every tick, a controller for each mount decides, and
//! [`Threads`] says between which bounds. One thing must stay true: no worker ever waits for a decision.

mod controller;
mod governor;
mod limit;
mod threads;

pub(crate) use governor::{Governor, History};
pub(crate) use limit::{Gauge, Limit};
pub(crate) use threads::{Threads, cores};
