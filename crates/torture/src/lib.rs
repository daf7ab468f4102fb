//! Tries to make statline lose, invent or misreport something, many thousand times.
//!
//! ```text
//! cargo run --release -p statline-torture                       # a few minutes, as root
//! cargo run --release -p statline-torture -- --full             # an hour
//! cargo run --release -p statline-torture -- --only T1 --seed 7 --case 1234
//! ```
//!
//! Each module but the first few is one part of the suite. A part makes cases from the seed, does something bad to a
//! scan in each, and holds what came out against what it knows to be true. What it looks at is one of six
//! oracles (`oracle.rs`): each is a count that must be 0. Cases run in this process where a scan's records say enough, and through the program
//! `statline` where exit status, signals and limits matter.
//!
//! One thing must stay true: what is known to be true comes from the maker of the tree, never from statline.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod errors;
mod fuzz;
mod guard;
mod hangs;
mod healing;
mod interrupts;
mod lies;
mod mutation;
mod names;
mod oracle;
mod program;
mod random;
mod scan;
mod shapes;
mod sinks;
mod stages;
mod suite;
mod swaps;
mod table;
mod trees;
mod truth;

use std::process::ExitCode;

use clap::Parser;

use crate::suite::{Part, Suite};

/// Tries to make statline lose, invent or misreport something.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The long version: more cases, larger trees.
    #[arg(long)]
    full: bool,
    /// What everything random follows from.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Only these parts, separated by commas: T1, T2, T3, T4, T7, T8, T9, T10, T11, INT.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
    /// Only the case with this number, as a violation names it.
    #[arg(long, value_name = "NUMBER")]
    case: Option<u64>,
    /// At most so many cases of each part.
    #[arg(long, value_name = "COUNT")]
    cases: Option<u64>,
    /// Succeed though parts were skipped for want of rights or tools.
    #[arg(long)]
    allow_skips: bool,
    /// The program under test, instead of building it.
    #[arg(long, value_name = "PATH")]
    program: Option<std::path::PathBuf>,
}

/// Runs what the command line asks for, and prints the table.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Suite::new(&arguments) {
        Ok(suite) => {
            suite.run();
            suite.finish()
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
