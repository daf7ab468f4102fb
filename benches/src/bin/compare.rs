//! Runs statline, the floor and the peers in turns, in one scenario after the other, and writes a report.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use statline_benches::IoContext;
use statline_benches::compare::{
    self, Ground, Machine, Options, Programs, Progress, Report, Size, Stage, Stop, Suite, quote,
};

/// What a program that was stopped ends with, as after SIGINT.
const STOPPED: u8 = 130;

/// Run statline, the floor and its peers in turns, in all scenarios or in those that are named, and write a report.
///
/// Build everything first: cargo build --release -p statline-benches -p statline-cli. Numbers are worth something only
/// while the machine does nothing else. As root it mounts slow and other file systems and drops caches; otherwise the
/// report says what was not run.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Only this directory, from a hot cache, instead of the scenarios
    #[arg(conflicts_with_all = ["scenario", "quick"])]
    directory: Option<PathBuf>,
    /// Only these scenarios; --list names them
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Say which scenarios there are, and do nothing
    #[arg(long)]
    list: bool,
    /// Write performance.md and its charts into this directory [default: the report goes to standard output, without
    /// charts]
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
    /// Rounds after the warm-up [default: 3, or 1 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Only show that everything works, on little: the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Fail where a scenario cannot be run here
    #[arg(long)]
    require: bool,
    /// Only these, and the yardstick: statline stands for statline-jsonl and so on as well
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The statline to measure [default: the one that was built beside this program]
    #[arg(long)]
    statline: Option<PathBuf>,
    /// Where programs of crates.io were installed [default: target/peers/bin, where install-peers.sh puts them]
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
    /// Threads of the floor and of the peers that can be told [default: one for each core]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Where trees are made and kept for the next time [default: statline-compare where temporary files are]
    #[arg(long, value_name = "DIRECTORY")]
    trees: Option<PathBuf>,
    /// Where records are written [default: memory, so that no disk is measured]
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,
    /// Fixes the order of each round
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.list {
        for (name, title) in compare::scenario_names() {
            println!("{name:14} {title}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let size = if arguments.quick {
        Size::Quick
    } else {
        Size::Standard
    };
    let suite = match &arguments.directory {
        Some(directory) => Suite::on(directory.clone(), &arguments.only)?,
        None => Suite::of(size, &arguments.scenario, &arguments.only)?,
    };
    let programs = programs(arguments)?;
    let trees = arguments.trees.clone().unwrap_or_else(|| {
        let kept = if arguments.quick {
            "statline-compare-quick"
        } else {
            "statline-compare"
        };
        env::temp_dir().join(kept)
    });
    // Before there is a second thread.
    let ground = Ground::new(&trees, arguments.scratch.as_deref())?;
    let stop = Stop::on_signals()?;
    let date = jiff::Timestamp::now()
        .strftime("%Y-%m-%d %H:%M UTC")
        .to_string();
    let options = Options {
        rounds: arguments
            .runs
            .unwrap_or(if arguments.quick { 1 } else { 3 }),
        seed: arguments.seed,
    };
    let mut report = Report::new(
        Machine::look(),
        date,
        command_line(),
        options,
        ground.scratch(),
    );
    report.quick = arguments.quick;
    match suite.run(&ground, &programs, &stop, &mut report, &mut show) {
        Ok(()) => {}
        Err(compare::Error::Stopped) => {
            eprintln!("compare: stopped; nothing is written");
            return Ok(ExitCode::from(STOPPED));
        }
        Err(error) => return Err(error.into()),
    }
    match &arguments.write {
        Some(directory) => write(&report, directory)?,
        None => print!("{report}"),
    }
    let complaints = report.complaints(arguments.require);
    for complaint in &complaints {
        eprintln!("compare: {complaint}");
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn programs(arguments: &Arguments) -> Result<Programs, Box<dyn Error>> {
    let itself = env::current_exe().during("find", Path::new("this program"))?;
    let beside = itself.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(Programs {
        peers: arguments
            .peers
            .clone()
            .unwrap_or_else(|| beside.join("../peers/bin")),
        beside,
        statline: arguments.statline.clone(),
        threads: arguments
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
    })
}

fn write(report: &Report, directory: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory).during("create the directory", directory)?;
    let mut files = report.charts();
    files.push(("performance.md".to_owned(), report.to_string()));
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).during("write", &path)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn show(progress: Progress<'_>) {
    let Progress {
        scenario,
        stage,
        name,
        seconds,
    } = progress;
    let stage = match stage {
        Stage::Sweep => "sweep".to_owned(),
        Stage::WarmUp => "warm-up".to_owned(),
        Stage::Round(round) => format!("round {round}"),
    };
    match seconds {
        Some(seconds) => eprintln!("{scenario}, {stage}: {name} {seconds:.3} s"),
        None => eprintln!("{scenario}, {stage}: {name} failed or took too long"),
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
