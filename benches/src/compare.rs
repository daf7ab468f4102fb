//! The side-by-side comparison: everybody in turns, in one scenario after the other, as ratios to the floor of the same round.
//!
//! A machine that others use as well is fast in one minute and slow in the next. So nobody is run five times in a row:
//! each round runs everybody once, in an order of its own, and a program is only ever divided by the floor of its own round.
//! What must stay true: every program is a process of its own, started, timed and accounted for in the same way.
//!
//! A [`Suite`] takes its scenarios from `scenarios`; for each of them a `site` is made on the [`Ground`], `rounds` runs the
//! contenders that `programs` knows, `rows` works out what was measured, and `table`, `chart` and [`Report`] write it down.

mod chart;
mod contender;
mod count;
mod ground;
mod image;
mod machine;
mod measure;
mod notation;
mod obstacle;
mod programs;
mod report;
mod rounds;
mod rows;
mod scenario;
mod scenarios;
mod site;
mod statistics;
mod stop;
mod suite;
mod table;

pub use ground::Ground;
pub use machine::Machine;
pub use notation::quote;
pub use programs::{ProgramError, Programs};
pub use report::Report;
pub use rounds::{Error, Options, Progress, Stage};
pub use scenarios::Size;
pub use stop::Stop;
pub use suite::{Suite, SuiteError, scenario_names};
