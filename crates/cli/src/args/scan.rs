//! What `scan` takes, and what other commands that read directories take as well.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, ValueHint};
use statline_pipeline::{ByteSize, ThreadSetting};

use super::{SetArguments, TellingArguments};
use crate::exit::EXIT_STATUS;

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
