//! The command line: what can be said, and how `--help` tells it.
//!
//! One thing must stay true: no flag is read and then ignored. What makes no sense together is refused.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use statline_pipeline::{ByteSize, ThreadSetting};

use crate::escape::escaped_message;
use crate::exit::{BENCH_STATUS, DIFF_STATUS, EXIT_STATUS};
use crate::human::Units;

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

/// Scan directories.
///
/// Without -o the totals go to standard output, and the table of stages with them. With -o every entry becomes a row,
/// the directories that were named included, and what is said about the run goes to standard error.
///
/// The flags are turned into a job in TOML, which --print-job shows; what has no flag here has an option there, and
/// --set reaches it: `--set stages.walk.skip_pseudo=false` enters /proc, /sys and their like. SIGUSR1 shows how far the
/// stages are.
#[derive(Args, Debug)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct ScanArguments {
    /// Where to begin. A directory named `-` is written `./-`.
    #[arg(value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) walk: WalkArguments,

    /// Write a row for every entry to FILE; `-` is standard output.
    ///
    /// The file appears whole when the scan is over, or not at all; FILE.run.json beside it says how the scan ended.
    /// `%Y-%m-%d` in its name becomes the date, `%%` a percent sign. Whatever else asks for rows (--format, -0, --fields,
    /// --sort) writes them to standard output where there is no -o.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// What to write, if the extension of FILE does not tell.
    ///
    /// The extensions are .jsonl and .ndjson for JSON Lines, .csv, .txt for a path a line, and .nul for paths ended by
    /// NUL. Standard output gets JSON Lines.
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Option<ScanFormat>,

    /// Write paths, each ended by a NUL byte: for `xargs -0`.
    #[arg(short = '0', long, conflicts_with = "format", help_heading = "Output")]
    pub(crate) print0: bool,

    /// The columns of the rows, separated by commas; only what they need is fetched.
    ///
    /// There are path, kind, mode, uid, gid, size, allocated, nlink, inode, device, rdev, atime, mtime, ctime, btime,
    /// attributes, mount_id, target and depth.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Output")]
    pub(crate) fields: Vec<String>,

    /// Put the rows in the order of a field; `-size` for the largest first; can be repeated.
    ///
    /// The first counts most. There are the fields of rows. What does not fit in memory goes to a temporary file.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new(), help_heading = "Output")]
    pub(crate) sort: Vec<String>,

    /// Sort within so much memory, such as 64MiB; 256MiB by default.
    #[arg(long, value_name = "SIZE", requires = "sort", help_heading = "Output")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Where the temporary file of the sort is made; by default where the system has its temporary files.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "sort", help_heading = "Output")]
    pub(crate) spill_dir: Option<PathBuf>,

    /// Add the largest files to the totals, so many of them.
    #[arg(long, value_name = "COUNT", help_heading = "Output")]
    pub(crate) largest: Option<u16>,

    /// Break the totals down; by several properties, separated by commas.
    #[arg(
        long,
        value_name = "PROPERTY",
        value_delimiter = ',',
        help_heading = "Output"
    )]
    pub(crate) by: Vec<Property>,

    /// Write what could not be read to FILE as JSON Lines, one error a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) errors: Option<PathBuf>,

    /// If the scan is stopped or fails, leave the rows until then in FILE.partial.
    ///
    /// FILE.partial.run.json beside it says why it ended. A later scan that writes FILE removes both.
    #[arg(long, help_heading = "Output")]
    pub(crate) keep_partial: bool,

    /// Print the job that the other flags describe, and do not run it.
    #[arg(long, help_heading = "Output")]
    pub(crate) print_job: bool,

    /// List on so many threads, and fetch metadata on so many; by default as many as pay.
    ///
    /// COUNT is a number such as 8, bounds such as 2..64 between which as many as pay are used, or `auto`. How many pay
    /// depends on the cores and on the file system; `statline doctor PATH` tells.
    #[arg(short = 'j', long, value_name = "COUNT", help_heading = "How to scan")]
    pub(crate) threads: Option<ThreadSetting>,

    /// The system calls to use. `auto` tries what is fastest.
    #[arg(long, value_name = "NAME", help_heading = "How to scan")]
    pub(crate) backend: Option<Backend>,

    #[command(flatten)]
    pub(crate) set: SetArguments,

    #[command(flatten)]
    pub(crate) telling: TellingArguments,
}

/// What of a directory is scanned.
#[derive(Args, Debug)]
pub(crate) struct WalkArguments {
    /// Stay on the file systems of the paths.
    #[arg(short = 'x', long, help_heading = "What to scan")]
    pub(crate) one_file_system: bool,

    /// Let symbolic links stand for what they lead to; loops are detected.
    #[arg(short = 'L', long, help_heading = "What to scan")]
    pub(crate) follow: bool,

    /// Go so many levels down; 0 is the paths alone.
    #[arg(
        short = 'd',
        long,
        value_name = "LEVELS",
        help_heading = "What to scan"
    )]
    pub(crate) max_depth: Option<u32>,

    /// Have at most so many calls under way on one mount, so that a file server has something left for others.
    #[arg(long, value_name = "CALLS", help_heading = "How to scan")]
    pub(crate) max_concurrency: Option<NonZeroU32>,

    /// Make at most so many calls a second to one mount.
    #[arg(long, value_name = "CALLS", help_heading = "How to scan")]
    pub(crate) max_ops_per_second: Option<NonZeroU32>,

    /// Leave out what has such a name, with all below it: `*.o`, `node_modules/`; can be repeated.
    ///
    /// A pattern with a slash in it is about the path below PATH: `build/*.o`, `**/cache/*`. One that ends in a slash is
    /// about directories alone.
    #[arg(short = 'e', long, value_name = "GLOB", help_heading = "What to scan")]
    pub(crate) exclude: Vec<String>,

    /// Read such patterns from FILE, one a line; `-` is standard input; can be repeated.
    ///
    /// Empty lines and lines that start with # do not count.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What to scan")]
    pub(crate) exclude_from: Vec<PathBuf>,
}

/// Tell what differs between two scans.
///
/// Each side is a directory, which is scanned now, or a scan that was saved by `scan -o FILE.jsonl`, with its mark
/// FILE.run.json beside it. Entries belong together if their paths below the two roots are equal. A line begins with `+`
/// for an entry that only NEW has, `-` for one that only OLD has, `~` for one that differs and in what, `>` for one that
/// has another path, and `?` for one that one side has and the other may have as well, because it could not be looked at
/// there.
#[derive(Args, Debug)]
#[command(after_help = DIFF_STATUS)]
pub(crate) struct DiffArguments {
    /// What was before: a directory, or a saved scan.
    #[arg(value_name = "OLD", value_hint = ValueHint::AnyPath)]
    pub(crate) old: PathBuf,

    /// What is now: a directory, or a saved scan.
    #[arg(value_name = "NEW", value_hint = ValueHint::AnyPath)]
    pub(crate) new: PathBuf,

    /// Compare these fields, separated by commas; by default kind, mode, uid, gid, size, rdev, mtime and target.
    ///
    /// By default size and mtime of directories are not compared: they follow from what is in them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "What to compare")]
    pub(crate) fields: Vec<String>,

    /// Compare even if something is missing from a saved scan, or if the two sides left out different things.
    ///
    /// What may have been missed on one side is then marked with `?`.
    #[arg(long, help_heading = "What to compare")]
    pub(crate) allow_incomplete: bool,

    /// Show a file that has another path now as removed and added, not as renamed.
    #[arg(long, help_heading = "What to compare")]
    pub(crate) no_renames: bool,

    #[command(flatten)]
    pub(crate) walk: WalkArguments,

    /// Show by how much directories have grown, all below them included, instead of each entry.
    #[arg(long, conflicts_with_all = ["output", "format", "no_renames"], help_heading = "Output")]
    pub(crate) by_dir: bool,

    /// With --by-dir, show so many directories; by default 20.
    #[arg(
        long,
        value_name = "COUNT",
        requires = "by_dir",
        help_heading = "Output"
    )]
    pub(crate) top: Option<std::num::NonZeroU32>,

    /// Write the differences to FILE; `-`, the default, is standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// What to write, if the extension of FILE does not tell.
    ///
    /// The extensions are .jsonl and .ndjson for JSON Lines, .csv, and .txt for lines to read. Standard output gets lines
    /// to read, in which what would act on a terminal is escaped.
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Option<DiffFormat>,

    /// Print the job that the other flags describe, and do not run it.
    #[arg(long, help_heading = "Output")]
    pub(crate) print_job: bool,

    /// Let each side that must be sorted, and the search for renames, use so much memory; by default 256MiB for a side and
    /// 64MiB for the search.
    ///
    /// What does not fit goes to a temporary file. A saved scan in path order needs none: `scan --sort path`.
    #[arg(long, value_name = "SIZE", help_heading = "How to compare")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Put what does not fit in memory into DIR; by default the system's directory for temporary files.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "How to compare")]
    pub(crate) spill_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) set: SetArguments,

    #[command(flatten)]
    pub(crate) telling: TellingArguments,
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
pub(crate) enum ScanFormat {
    /// JSON Lines: an object a row.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// A path a line.
    Paths,
    /// The report of the run, to standard output; not with -o.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// A line for each difference, to read.
    Text,
    /// JSON Lines: an object a difference.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Property {
    Extension,
    Owner,
    /// The time since the contents last changed.
    Age,
    Size,
}

impl Property {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Property::Extension => "extension",
            Property::Owner => "owner",
            Property::Age => "age",
            Property::Size => "size",
        }
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Auto,
    /// Linux: getdents64 and statx.
    Statx,
    /// Any Unix: readdir and fstatat.
    Fstatat,
    /// Linux: as statx, with many calls under way for each thread.
    #[value(name = "io_uring")]
    IoUring,
    /// Windows: NtQueryDirectoryFile, whose answers hold the metadata beside the names.
    Nt,
    /// Windows: the same for names, and each file is opened for its metadata; slower, and has nlink.
    NtExact,
}

impl Backend {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::Statx => "statx",
            Backend::Fstatat => "fstatat",
            Backend::IoUring => "io_uring",
            Backend::Nt => "nt",
            Backend::NtExact => "nt-exact",
        }
    }
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
