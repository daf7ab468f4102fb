//! The command line: what can be said, and how `--help` tells it.
//!
//! One thing must stay true: no flag is read and then ignored. What makes no sense together is refused.

mod diff;
mod scan;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::escape::escaped_message;
use crate::exit::{BENCH_STATUS, EXIT_STATUS};
use crate::human::Units;

pub(crate) use self::diff::{DiffArguments, DiffFormat};
pub(crate) use self::scan::{ScanArguments, ScanFormat, WalkArguments};

/// The examples as `--help` shows them.
pub(crate) const EXAMPLES: &str = "\
Examples:
  statline scan /data                                what is there, and what held the scan back
  statline scan /data -o inventory.csv               every entry as a row of a table
  statline diff monday.jsonl /data                   what has changed since that was written
  statline scan . -o - | jq -r 'select(.size > 1e9).path'
  statline scan /data -x --sort -size -o big.jsonl --print-job > big.toml
  statline run big.toml --set stages.meta.threads=16";

/// Scans file systems with jobs that are described in TOML.
///
/// A job is a graph of stages, each on threads of its own, joined by bounded channels. `scan` makes a job from flags;
/// `run` takes one from a file. Every stage is measured, so a run ends with a verdict: whether the result is complete,
/// where the time went, which stage held the run back.
#[derive(Debug, Parser)]
#[command(
    name = "statline",
    version,
    arg_required_else_help = true,
    after_help = EXIT_STATUS,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS}"),
    max_term_width = 100,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    /// When to use colour.
    ///
    /// NO_COLOR turns it off where this says auto.
    #[arg(
        long,
        global = true,
        help_heading = "Messages",
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    pub(crate) color: When,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The arguments of the program. What is wrong with them is told, and ends it.
    pub(crate) fn read() -> Arguments {
        let error = match Arguments::try_parse() {
            Ok(arguments) => return arguments,
            Err(error) => error,
        };
        // The message quotes what it does not understand, which may be a name that acts on terminals: then the same is
        // told of arguments in which that is escaped.
        let harmless: Vec<String> = std::env::args_os()
            .map(|argument| escaped_message(&argument.to_string_lossy()))
            .collect();
        let given = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        if given.eq(harmless.iter().cloned()) {
            error.exit();
        }
        match Arguments::try_parse_from(harmless) {
            Err(error) => error.exit(),
            // Nothing is wrong with an argument but what was escaped.
            Ok(_) => {
                let message = error.to_string();
                let lines = message.lines().map(|line| escaped_message(line) + "\n");
                eprint!("{}", lines.collect::<String>());
                std::process::exit(error.exit_code());
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Scan(Box<ScanArguments>),
    Diff(Box<DiffArguments>),
    Run(RunArguments),
    Validate(ValidateArguments),
    Graph(GraphArguments),
    List(ListArguments),
    Describe(DescribeArguments),
    Doctor(DoctorArguments),
    Bench(BenchArguments),
    Report(ReportArguments),
    Verify(VerifyArguments),
    Cache(CacheArguments),
    Explain(ExplainArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Run a job from a file.
///
/// What the job writes is its own business; what is said about the run goes to standard error. A job whose only output
/// is a summary prints that to standard output. SIGUSR1 shows how far the stages are.
#[derive(Args, Debug)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct RunArguments {
    /// The job; `-` is standard input.
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) job: PathBuf,

    /// If the run is stopped or fails, leave what was written of each FILE until then in FILE.partial.
    ///
    /// FILE.partial.run.json beside it says why it ended. A later run that writes FILE removes both. It stands for
    /// pipeline.keep_partial = true in the job.
    #[arg(long, help_heading = "Job")]
    pub(crate) keep_partial: bool,

    #[command(flatten)]
    pub(crate) set: SetArguments,

    #[command(flatten)]
    pub(crate) telling: TellingArguments,
}

/// Check jobs without running them.
///
/// All problems of a job are shown at once. What is valid here runs: `run` loads jobs the same way.
#[derive(Args, Debug)]
pub(crate) struct ValidateArguments {
    /// The jobs; `-` is standard input.
    #[arg(value_name = "JOB.toml", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) jobs: Vec<PathBuf>,

    /// How to print the findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,

    #[command(flatten)]
    pub(crate) set: SetArguments,
}

/// Print the graph of a job for other programs to draw.
#[derive(Args, Debug)]
pub(crate) struct GraphArguments {
    /// The job; `-` is standard input.
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) job: PathBuf,

    /// The language of the graph: mermaid for Markdown files, dot for Graphviz.
    #[arg(long, value_name = "FORMAT", default_value = "mermaid")]
    pub(crate) format: GraphFormat,

    #[command(flatten)]
    pub(crate) set: SetArguments,
}

/// List the types of stages.
#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// How to print them.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,
}

/// Describe a type of stage: its ports and its options.
#[derive(Args, Debug)]
pub(crate) struct DescribeArguments {
    /// The type, as `statline list` has it.
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,

    /// How to print it; json has the options as a JSON schema.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,
}

/// Tell what this machine and a mount can do.
///
/// It lists a few directories at PATH and reads the metadata of at most a thousand entries; it writes nothing.
#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// A directory on the mount.
    #[arg(value_name = "PATH", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,

    /// How to print the findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,
}

/// Measure what scanning with many threads saves on a directory of yours.
///
/// Both ways read all names and the metadata of each below PATH, and count them: `one thread` as a simple program does it,
/// directory by directory, one call after the other, by full paths; `pipeline` with the job that `statline scan PATH` runs.
/// Passes take turns, and medians are compared. Nothing is written.
#[derive(Args, Debug)]
#[command(after_help = BENCH_STATUS)]
pub(crate) struct BenchArguments {
    /// The directory.
    #[arg(value_name = "PATH", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,

    /// Measure each way so many times.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: u16,

    /// Drop the caches of the system before each pass: needs root, on Linux, and slows down whatever else runs.
    ///
    /// Without it a pass of each way that is not counted comes first, so that what fits in memory is there.
    #[arg(long)]
    pub(crate) cold: bool,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,
}

/// Show a report that --report wrote, as a run shows it.
#[derive(Args, Debug)]
pub(crate) struct ReportArguments {
    /// The report; `-` is standard input.
    #[arg(value_name = "RUN.json", value_hint = ValueHint::FilePath)]
    pub(crate) report: PathBuf,

    /// Show the channels and what stages counted as well; twice: how long stages waited, too.
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Show sizes in powers of 1000.
    #[arg(long)]
    pub(crate) si: bool,
}

/// Check that outputs are what a run wrote, and say how that run ended.
///
/// The mark beside an output, FILE.run.json, has its length and its BLAKE3 digest; the whole file is read to compare
/// them. The status is 0 if all files match and are complete, 3 if all match and some are not complete (a partial result
/// is not), 1 if some file does not match or cannot be read, or its mark cannot.
#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// The outputs, not their marks.
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
}

/// Look into the file in which a cache remembers, check it, or make it smaller.
///
/// That is the `path` of a stage of type cache. No run may use it meanwhile. The status is 1 if there is no such file, or
/// if it is not sound.
#[derive(Args, Debug)]
pub(crate) struct CacheArguments {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Tell what is in it: roots, directories, entries, the last run that wrote to it.
    Info {
        /// The file.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,

        /// How to print it.
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: TextFormat,
    },
    /// Read all of it: every checksum and every value. The status is 0 if it is sound, 1 if not.
    Verify {
        /// The file.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Give back the space that it does not need.
    Compact {
        /// The file.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Tell why an entry is marked as new, changed or unchanged, or is looked at again.
///
/// It shows what the job's cache remembers of the entry beside what the entry is now, and which pattern leaves it out. It
/// alters nothing. The status is 0 if there is an answer, 1 if the cache cannot be read, 2 if the job has no cache in a
/// file or no root above PATH.
#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// The job; `-` is standard input.
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) job: PathBuf,

    /// The entry.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    #[command(flatten)]
    pub(crate) set: SetArguments,
}

/// Print a script that completes statline's arguments in a shell.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page of statline or of one of its commands.
#[derive(Args, Debug)]
pub(crate) struct ManArguments {
    /// The command.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// What changes a job from outside.
#[derive(Args, Debug)]
pub(crate) struct SetArguments {
    /// Set one value of the job, such as `stages.meta.threads=8`; can be repeated.
    ///
    /// What is no TOML is taken as a string: `stages.out.path=/tmp/x` needs no quotes.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    pub(crate) set: Vec<String>,
}

impl SetArguments {
    /// The assignments, with the one that --keep-partial stands for.
    pub(crate) fn with_keep_partial(&self, keep_partial: bool) -> Vec<String> {
        let mut set = self.set.clone();
        set.extend(keep_partial.then(|| "pipeline.keep_partial=true".to_owned()));
        set
    }
}

/// What is said about a run, and where.
#[derive(Args, Debug)]
pub(crate) struct TellingArguments {
    /// Write the report of the run to FILE as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Messages")]
    pub(crate) report: Option<PathBuf>,

    /// Leave out the table of stages; twice: say nothing unless something went wrong.
    ///
    /// Where rows go to standard output the table is left out already.
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "verbose", help_heading = "Messages")]
    pub(crate) quiet: u8,

    /// Show the channels and what stages counted as well; twice: how long stages waited, too.
    #[arg(short, long, action = ArgAction::Count, help_heading = "Messages")]
    pub(crate) verbose: u8,

    /// When to show progress: auto is on a terminal only.
    ///
    /// Where it does not go to a terminal, it is a line every five seconds.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Messages"
    )]
    pub(crate) progress: When,

    /// Show sizes in powers of 1000.
    #[arg(long, help_heading = "Messages")]
    pub(crate) si: bool,
}

impl TellingArguments {
    pub(crate) fn units(&self) -> Units {
        units(self.si)
    }
}

/// The units that a `--si` chooses.
pub(crate) fn units(si: bool) -> Units {
    if si { Units::Si } else { Units::Binary }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// If it goes to a terminal.
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Mermaid,
    Dot,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_field_that_an_entry_can_have_is_named_in_the_help() {
        let mut command = Arguments::command();
        let scan = command.find_subcommand_mut("scan").unwrap();
        let help = scan.render_long_help().to_string();
        for field in statline_platform::Fields::ALL.names() {
            assert!(help.contains(field), "{field} is missing");
        }
    }
}
