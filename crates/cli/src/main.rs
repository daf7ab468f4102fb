//! The command `statline`: file-system scan jobs from flags and from files.
//!
//! Arguments, terminal, signals and exit statuses live here; whatever a host program would want lives in the libraries.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod cache;
mod changes;
mod describe;
mod diff;
mod doctor;
mod escape;
mod exit;
mod explain;
mod findings;
mod generate;
mod graph;
mod human;
mod job_text;
mod load;
mod panics;
mod parent;
mod progress;
mod report;
mod report_file;
mod run;
mod scan;
mod screen;
#[cfg(unix)]
mod signal_queue;
mod signals;
mod stalls;
#[cfg(any(unix, windows))]
mod stop_request;
mod table;
mod terminal;
mod totals;
mod trial;
mod validate;
mod verdict;
mod verify;

use crate::args::{Arguments, Command};
use crate::exit::{Exit, Failure};
use crate::parent::Role;
use crate::terminal::Terminal;

fn main() {
    let arguments = Arguments::read();
    let terminal = Terminal::new(arguments.color);
    let role = match may_get_stuck(&arguments.command) {
        true => parent::begin(),
        false => Ok(Role::Worker),
    };
    let ended = match role {
        Ok(Role::Worker) => work(&arguments.command, terminal),
        Ok(Role::Done(status)) => Ok(Exit::OfChild(status)),
        Err(failure) => Err(failure),
    };
    exit::leave(ended.unwrap_or_else(|failure| failure.tell(&terminal)))
}

/// Whether a command reads a file system that may not answer.
fn may_get_stuck(command: &Command) -> bool {
    match command {
        Command::Scan(arguments) => !arguments.print_job,
        // To print a job it looks at the two sides as well.
        Command::Diff(_) => true,
        Command::Run(_)
        | Command::Doctor(_)
        | Command::Bench(_)
        | Command::Verify(_)
        | Command::Cache(_)
        | Command::Explain(_) => true,
        Command::Validate(_)
        | Command::Graph(_)
        | Command::List(_)
        | Command::Describe(_)
        | Command::Report(_)
        | Command::Completions(_)
        | Command::Man(_) => false,
    }
}

fn work(command: &Command, terminal: Terminal) -> Result<Exit, Failure> {
    match command {
        Command::Scan(arguments) => scan::scan(arguments, terminal),
        Command::Diff(arguments) => diff::diff(arguments, terminal).map_err(Failure::into_trouble),
        Command::Run(arguments) => run::run(arguments, terminal),
        Command::Validate(arguments) => validate::validate(arguments, terminal),
        Command::Graph(arguments) => graph::graph(arguments, terminal),
        Command::List(arguments) => describe::list(arguments, terminal),
        Command::Describe(arguments) => describe::describe(arguments, terminal),
        Command::Doctor(arguments) => doctor::doctor(arguments, terminal),
        Command::Bench(arguments) => bench::bench(arguments, terminal),
        Command::Report(arguments) => report::report(arguments, terminal),
        Command::Verify(arguments) => verify::verify(arguments, terminal),
        Command::Cache(arguments) => cache::cache(&arguments.command, terminal),
        Command::Explain(arguments) => explain::explain(arguments, terminal),
        Command::Completions(arguments) => generate::completions(arguments, terminal),
        Command::Man(arguments) => generate::man(arguments, terminal),
    }
}
