//! The yardstick as a program of its own, so that it starts and ends like everything that is compared with it.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use statline_benches::floor::{self, Counts, Options, Order};

/// Walk DIR with nothing but openat, getdents64 and one statx an entry, and say how long it took.
///
/// One line of JSON on standard output, one for people on standard error.
#[derive(Debug, Parser)]
#[command(name = "floor")]
struct Arguments {
    /// The tree
    directory: PathBuf,
    /// Threads [default: one for each core]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// In which order the names of one chunk are asked for
    #[arg(long, value_enum, default_value_t = Order::Readdir)]
    order: Order,
    /// Only read names
    #[arg(long)]
    list_only: bool,
}

/// The line of JSON. `compare` reads `entries` and `errors`.
#[derive(Debug, Serialize)]
struct Report {
    tool: &'static str,
    seconds: f64,
    entries_per_second: f64,
    threads: usize,
    order: Order,
    list_only: bool,
    #[serde(flatten)]
    counts: Counts,
    calls_per_entry: CallsPerEntry,
}

#[derive(Debug, Serialize)]
struct CallsPerEntry {
    openat: f64,
    getdents64: f64,
    statx: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let threads = arguments
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    raise_descriptor_limit();
    let options = Options {
        threads,
        order: arguments.order,
        list_only: arguments.list_only,
    };
    let start = Instant::now();
    let counts = match floor::walk(&arguments.directory, options) {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("floor: {error}");
            return ExitCode::FAILURE;
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let per_entry = |calls: u64| calls as f64 / counts.entries.max(1) as f64;
    let report = Report {
        tool: "floor",
        seconds,
        entries_per_second: counts.entries as f64 / seconds,
        threads: threads.get(),
        order: options.order,
        list_only: options.list_only,
        counts,
        calls_per_entry: CallsPerEntry {
            openat: per_entry(counts.openat),
            getdents64: per_entry(counts.getdents64),
            statx: per_entry(counts.statx),
        },
    };
    match serde_json::to_string(&report) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("floor: cannot write the report: {error}");
            return ExitCode::FAILURE;
        }
    }
    eprintln!(
        "{} entries in {seconds:.3} s ({:.0} k/s) on {threads} threads; per entry {:.3} openat, {:.3} getdents64, {:.3} statx; {} errors",
        counts.entries,
        report.entries_per_second / 1_000.0,
        report.calls_per_entry.openat,
        report.calls_per_entry.getdents64,
        report.calls_per_entry.statx,
        counts.errors,
    );
    ExitCode::SUCCESS
}

/// Each thread holds about one descriptor a level of the tree, which on many threads is more than the usual 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Best effort: where it is refused and then matters, the walk reports errors.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
