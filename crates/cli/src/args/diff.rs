//! What `diff` takes.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, ValueHint};
use statline_pipeline::ByteSize;

use super::{SetArguments, TellingArguments, WalkArguments};
use crate::exit::DIFF_STATUS;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// A line for each difference, to read.
    Text,
    /// JSON Lines: an object a difference.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}
