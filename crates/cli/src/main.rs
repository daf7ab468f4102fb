//! The command `statline`: file-system scan jobs from flags and from files.
//!
//! Arguments, terminal, signals and exit statuses live here; whatever a host program would want lives in the libraries.

#![forbid(unsafe_code)]

mod args;
mod describe;
mod doctor;
mod escape;
mod exit;
mod generate;
mod graph;
mod human;
mod job_text;
mod load;
mod panics;
mod progress;
mod report;
mod report_file;
mod run;
mod scan;
mod screen;
mod signals;
mod stalls;
mod table;
mod terminal;
mod totals;
mod validate;
mod verdict;
mod verify;

use std::process::ExitCode;

use crate::args::{Arguments, Command};
use crate::terminal::Terminal;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let terminal = Terminal::new(arguments.color);
    let ended = match &arguments.command {
        Command::Scan(arguments) => scan::scan(arguments, terminal),
        Command::Run(arguments) => run::run(arguments, terminal),
        Command::Validate(arguments) => validate::validate(arguments, terminal),
        Command::Graph(arguments) => graph::graph(arguments, terminal),
        Command::List(arguments) => describe::list(arguments, terminal),
        Command::Describe(arguments) => describe::describe(arguments, terminal),
        Command::Doctor(arguments) => doctor::doctor(arguments, terminal),
        Command::Report(arguments) => report::report(arguments, terminal),
        Command::Verify(arguments) => verify::verify(arguments, terminal),
        Command::Completions(arguments) => generate::completions(arguments, terminal),
        Command::Man(arguments) => generate::man(arguments, terminal),
    };
    ended
        .unwrap_or_else(|failure| failure.tell(&terminal))
        .into()
}
