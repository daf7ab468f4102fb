//! Runs statline, the floor and the peers in turns and writes a table.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use statline_benches::IoContext;
use statline_benches::compare::{self, Field, Machine, Options, Progress, Report, quote};
use statline_benches::tree;

/// Run statline, the floor and its peers in turns on DIR, and write a Markdown table.
///
/// Build everything first: cargo build --release -p statline-benches -p statline-cli. Numbers are worth something only
/// while the machine does nothing else.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// The tree; `tree` makes one
    directory: PathBuf,
    /// Rounds after the warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The statline to measure [default: the one that was built beside this program]
    #[arg(long)]
    statline: Option<PathBuf>,
    /// Only these, and the floor: floor, statline, statline-jsonl, statline-sorted, statline-sorted-64mib, std, walkdir,
    /// jwalk, ignore, origin, find, bfs, du
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write the table to this file as well
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Threads of the floor and of the peers that can be told [default: one for each core]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Where records are written [default: /dev/shm where there is one, so that no disk is measured]
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Fixes the order of each round
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let machine = Machine::look();
    let itself = env::current_exe().during("find", Path::new("this program"))?;
    let beside = itself.parent().unwrap_or(Path::new("."));
    let scratch_root = arguments.scratch.clone().unwrap_or_else(default_scratch);
    let scratch = tempfile::Builder::new()
        .prefix("statline-compare-")
        .tempdir_in(&scratch_root)
        .during("create a directory in", &scratch_root)?;
    let threads = arguments
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let field = Field::new(
        &arguments.directory,
        scratch.path(),
        threads,
        beside,
        arguments.statline.as_deref(),
        &arguments.only,
    )?;
    for skipped in &field.skipped {
        eprintln!("compare: {} is not run: {}", skipped.name, skipped.reason);
    }
    let skipped = field.skipped.clone();
    let options = Options {
        rounds: arguments.runs,
        seed: arguments.seed,
    };
    let date = jiff::Timestamp::now()
        .strftime("%Y-%m-%d %H:%M UTC")
        .to_string();
    let series = compare::run(field, scratch.path(), options, show)?;
    let report = Report {
        machine: &machine,
        own_peak_bytes: compare::own_peak_bytes(),
        tree: &arguments.directory,
        // A tree of somebody else's needs no marker that can be read.
        tree_made_from: tree::made_from(&arguments.directory).unwrap_or(None),
        scratch: scratch.path(),
        date,
        command: command_line(),
        options,
        series: &series,
        skipped: &skipped,
    };
    print!("{report}");
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, report.to_string()).during("write", path)?;
    }
    Ok(())
}

fn show(progress: Progress<'_>) {
    let Progress {
        round,
        name,
        seconds,
    } = progress;
    let round = if round == 0 {
        "warm-up".to_owned()
    } else {
        format!("round {round}")
    };
    match seconds {
        Some(seconds) => eprintln!("{round}: {name} {seconds:.3} s"),
        None => eprintln!("{round}: {name} failed"),
    }
}

fn default_scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        env::temp_dir()
    }
}

fn command_line() -> String {
    let arguments = env::args_os()
        .skip(1)
        .map(|argument| quote(&argument.to_string_lossy()));
    std::iter::once("compare".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
