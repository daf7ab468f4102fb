//! The side-by-side comparison: everybody in turns on one tree, as ratios to the floor of the same round.
//!
//! A machine that others use as well is fast in one minute and slow in the next. So nobody is run five times in a row:
//! each round runs everybody once, in an order of its own, and a program is only ever divided by the floor of its own round.
//! What must stay true: every program is a process of its own, started, timed and accounted for in the same way.

mod contender;
mod count;
mod machine;
mod measure;
mod rounds;
mod statistics;
mod table;

pub use contender::{Field, FieldError, Skipped};
pub use machine::{Machine, own_peak_bytes};
pub use rounds::{Error, Options, Progress, Series, run};
pub use table::{Report, quote};
