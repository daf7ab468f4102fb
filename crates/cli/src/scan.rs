//! `scan`: flags become the text of a job, and that text is loaded like any other.
//!
//! One thing must stay true: the job that runs is the one that `--print-job` shows.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Parser;
use statline_pipeline::{Job, Outcome, RunReport};
use statline_platform::Fields;
use statline_stages::RootPath;

use crate::args::{Arguments, Command, ScanArguments, ScanFormat, WalkArguments};
use crate::exit::{Exit, Failure};
use crate::job_text::{JobText, StageText};
use crate::run::{self, Ended, Telling};
use crate::screen::Screen;
use crate::terminal::Terminal;
use crate::{load, verdict};

/// The extensions that choose a format.
const EXTENSIONS: &str =
    ".jsonl and .ndjson for JSON Lines, .csv, .txt for a path a line, .nul for paths ended by NUL";

/// The stage that every scan starts with.
const WALK: &str = "walk";
/// The stage that fetches metadata, where there is one.
const META: &str = "meta";
/// The stage that adds up.
const TOTALS: &str = "totals";
/// The stage that writes rows.
const OUT: &str = "out";

/// What a scan leads to.
#[derive(Debug, PartialEq)]
enum Goal {
    /// Totals on standard output.
    Totals,
    /// The report on standard output.
    Report,
    /// Rows.
    Rows { format: RowFormat, path: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowFormat {
    Jsonl,
    Csv,
    Paths { nul: bool },
}

impl Goal {
    /// Rows that go to standard output.
    fn fills_stdout(&self) -> bool {
        matches!(self, Goal::Rows { path, .. } if path == "-" || path == "/dev/stdout")
    }
}

pub(crate) fn scan(arguments: &ScanArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let goal = goal(arguments)?;
    let telling = &arguments.telling;
    let report_to_stdout = telling.report.as_deref() == Some(Path::new("-"));
    if report_to_stdout && goal != Goal::Report {
        return Err(Failure::usage(
            "standard output has other data already; give --report a file, or use --format json",
        ));
    }
    let mut text = job_text(arguments, &goal)?;
    let mut overrides = arguments.set.with_keep_partial(arguments.keep_partial);
    if arguments.print_job {
        // What is printed is checked as well: a file that does not run helps nobody.
        load::made("scan", &text, &overrides)?;
        overrides.iter().for_each(|set| text.set(set));
        terminal.print(format!("{}{}", lead(&goal), text.write()).as_bytes())?;
        return Ok(Exit::Complete);
    }
    let screen = match goal.fills_stdout() {
        true => Screen::of_stdout(),
        false => None,
    };
    if let Some(screen) = &screen {
        overrides.push(format!("stages.{OUT}.path={:?}", screen.path()));
    }
    let job = load::made("scan", &text, &overrides)?;
    let ended = run::execute(job, telling, screen, terminal)?;
    tell(&ended, &goal, arguments, terminal)?;
    ended.finish()
}

/// The job of `statline scan PATH`, without any flag.
pub(crate) fn plain(path: &Path) -> Result<Job, Failure> {
    let given = [OsStr::new("statline"), OsStr::new("scan"), OsStr::new("--")];
    let parsed = Arguments::try_parse_from(given.into_iter().chain([path.as_os_str()]));
    match parsed.map(|parsed| parsed.command) {
        Ok(Command::Scan(arguments)) => {
            let text = job_text(&arguments, &Goal::Totals)?;
            Ok(load::made("scan", &text, &[])?)
        }
        Ok(_) => Err(Failure::usage("scan is another command now")),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// How many entries such a job has added up.
pub(crate) fn entries(report: &RunReport) -> u64 {
    report.stage(TOTALS).map_or(0, |stage| stage.items_in)
}

fn tell(
    ended: &Ended,
    goal: &Goal,
    arguments: &ScanArguments,
    terminal: Terminal,
) -> Result<(), Failure> {
    let (report, telling) = (&ended.report, &arguments.telling);
    let told = Telling {
        entries: match goal {
            Goal::Rows { .. } => report.stage(OUT).map(|stage| stage.items_in),
            Goal::Totals | Goal::Report => report.stage(TOTALS).map(|stage| stage.items_in),
        },
        not_entered: run::not_entered(
            arguments.walk.max_depth.is_some(),
            arguments.walk.one_file_system,
        ),
        how_to_see_errors: match arguments.errors {
            Some(_) => None,
            None => Some("--errors FILE writes down every one of them"),
        },
        signal: ended.signal,
        // Beside rows on standard output one line is enough, unless more is asked for.
        quiet: telling.quiet + u8::from(goal.fills_stdout() && telling.verbose == 0),
        verbose: telling.verbose,
        units: telling.units(),
    };
    let finished = report.outcome.publishes();
    match goal {
        Goal::Report => {
            terminal.print_json(report)?;
            if !finished {
                terminal.say(&verdict::failure(report, &told, terminal.error_palette()));
            }
        }
        // With the totals on standard output, what belongs to them goes there.
        Goal::Totals if finished => {
            terminal.print(verdict::account(report, &told, terminal.palette()).as_bytes())?;
        }
        // Whoever stopped reading knows that there was more.
        Goal::Rows { .. } if goal.fills_stdout() && had_enough(report) && told.verbose == 0 => {}
        _ => run::tell(report, &told, terminal),
    }
    Ok(())
}

/// Whether the reader of the rows left before their end.
fn had_enough(report: &RunReport) -> bool {
    let mut edges = report.edges.iter();
    report.outcome == Outcome::Complete && edges.any(|edge| edge.to == OUT && edge.enough)
}

/// The first lines of a job that is printed.
fn lead(goal: &Goal) -> String {
    let what = match goal {
        Goal::Totals | Goal::Report => "Adds up what is there.",
        Goal::Rows { .. } => "Writes a row for every entry.",
    };
    format!("# {what} Made by `statline scan`; run it with `statline run FILE`.\n\n")
}

fn goal(arguments: &ScanArguments) -> Result<Goal, Failure> {
    let wants_rows = arguments.print0
        || !arguments.fields.is_empty()
        || !arguments.sort.is_empty()
        || !matches!(arguments.format, None | Some(ScanFormat::Json));
    if arguments.format == Some(ScanFormat::Json) {
        if arguments.output.is_some() || wants_rows {
            return Err(Failure::usage(
                "--format json prints the report of a scan that writes no rows; for rows in JSON use --format jsonl, \
                 and for the report beside them --report FILE",
            ));
        }
        return Ok(Goal::Report);
    }
    let rows = arguments.output.is_some() || wants_rows;
    if rows && (arguments.largest.is_some() || !arguments.by.is_empty()) {
        return Err(Failure::usage(
            "--largest and --by are about totals, and with rows there are none; leave out what asks for rows",
        ));
    }
    let path = match &arguments.output {
        Some(path) => text_of(path, "-o")?,
        None if wants_rows => "-".to_owned(),
        None => return Ok(Goal::Totals),
    };
    let format = match (arguments.format, arguments.print0) {
        (Some(ScanFormat::Jsonl | ScanFormat::Json), _) => RowFormat::Jsonl,
        (Some(ScanFormat::Csv), _) => RowFormat::Csv,
        (Some(ScanFormat::Paths), _) => RowFormat::Paths { nul: false },
        (None, true) => RowFormat::Paths { nul: true },
        (None, false) => by_extension(&path)?,
    };
    if let (RowFormat::Paths { .. }, false) = (format, arguments.fields.is_empty()) {
        return Err(Failure::usage(
            "--fields chooses columns, and a list of paths has none; use --format jsonl or csv",
        ));
    }
    Ok(Goal::Rows { format, path })
}

fn by_extension(path: &str) -> Result<RowFormat, Failure> {
    let place = Path::new(path);
    if path == "-" || place.starts_with("/dev") {
        return Ok(RowFormat::Jsonl);
    }
    let extension = place.extension().map(|found| found.to_ascii_lowercase());
    match extension.as_ref().and_then(|found| found.to_str()) {
        Some("jsonl" | "ndjson") => Ok(RowFormat::Jsonl),
        Some("csv") => Ok(RowFormat::Csv),
        Some("txt") => Ok(RowFormat::Paths { nul: false }),
        Some("nul") => Ok(RowFormat::Paths { nul: true }),
        Some(other) => Err(Failure::usage(format!(
            "-o {path}: no format has the extension .{other}; there are {EXTENSIONS}; or say --format"
        ))),
        None => Err(Failure::usage(format!(
            "-o {path}: the name has no extension to tell the format by; there are {EXTENSIONS}; or say --format"
        ))),
    }
}

/// The job that the flags describe.
fn job_text(arguments: &ScanArguments, goal: &Goal) -> Result<JobText, Failure> {
    let mut job = JobText::default();
    let roots: Vec<RootPath> = arguments.paths.iter().map(RootPath::new).collect();
    if arguments.paths.iter().any(|path| path == Path::new("-")) {
        return Err(Failure::usage(
            "standard input is no directory; a directory named - is written ./-",
        ));
    }
    let backend = arguments.backend.map(|backend| backend.as_str());
    let walk = job
        .stage(WALK, "enumerate", "Reads the names below the roots.")
        .list("roots", &roots);
    walk_options(walk, &arguments.walk)?
        .maybe("backend", backend)
        .maybe("threads", arguments.threads);
    let mut last = WALK;
    let fetched = fetched(arguments, goal);
    if let Some(fields) = &fetched {
        job.stage(META, "stat", "Fetches the metadata of each entry.")
            .key("inputs", [last])
            .list("fields", fields)
            .flag("targets", names(arguments, "target"))
            .maybe("backend", backend)
            .maybe("threads", arguments.threads);
        last = META;
    }
    if !arguments.sort.is_empty() {
        let spill_dir = arguments.spill_dir.as_deref();
        let spill_dir = spill_dir.map(|path| text_of(path, "--spill-dir"));
        job.stage("ordered", "sort", "Puts the rows in order.")
            .key("inputs", [last])
            .key("by", &arguments.sort)
            .maybe("memory_limit", arguments.memory_limit)
            .maybe("spill_dir", spill_dir.transpose()?);
        last = "ordered";
    }
    match goal {
        Goal::Totals | Goal::Report => {
            let by: Vec<&str> = arguments.by.iter().map(|by| by.as_str()).collect();
            job.stage(TOTALS, "summary", "Adds up.")
                .key("inputs", [last])
                .maybe("largest", arguments.largest)
                .list("by", &by);
        }
        Goal::Rows { format, path } => {
            let kind = match format {
                RowFormat::Jsonl => "jsonl",
                RowFormat::Csv => "csv",
                RowFormat::Paths { .. } => "paths",
            };
            let nul = *format == RowFormat::Paths { nul: true };
            job.stage(OUT, kind, "Writes a row for each entry.")
                .key("inputs", [last])
                .key("path", path)
                .list("fields", &arguments.fields)
                .maybe("separator", nul.then_some("nul"));
        }
    }
    if let Some(path) = &arguments.errors {
        let path = text_of(path, "--errors")?;
        let inputs: &[&str] = match fetched {
            Some(_) => &["walk.errors", "meta.errors"],
            None => &["walk.errors"],
        };
        job.stage("problems", "jsonl", "Writes down what could not be read.")
            .key("inputs", inputs)
            .key("path", path);
    }
    Ok(job)
}

fn names(arguments: &ScanArguments, field: &str) -> bool {
    sorted_by(arguments)
        .chain(arguments.fields.iter().map(String::as_str))
        .any(|named| named == field)
}

fn sorted_by(arguments: &ScanArguments) -> impl Iterator<Item = &str> {
    let keys = arguments.sort.iter();
    keys.map(|key| key.strip_prefix('-').unwrap_or(key))
}

/// The metadata to fetch: none if names are enough, and an empty list for what is fetched by default.
fn fetched(arguments: &ScanArguments, goal: &Goal) -> Option<Vec<String>> {
    let chosen = match goal {
        Goal::Totals | Goal::Report => return Some(Vec::new()),
        Goal::Rows { format, .. } => match format {
            RowFormat::Paths { .. } => true,
            RowFormat::Jsonl | RowFormat::Csv => !arguments.fields.is_empty(),
        },
    };
    let metadata = |names: &mut dyn Iterator<Item = &str>| -> BTreeSet<&'static str> {
        let fields = names.filter_map(Fields::from_field_name);
        fields.flat_map(Fields::names).collect()
    };
    let sorted = metadata(&mut sorted_by(arguments));
    if !chosen {
        let basic: BTreeSet<&str> = Fields::BASIC.names().collect();
        let more: Vec<String> = sorted.difference(&basic).map(|&name| name.into()).collect();
        return Some(match more.is_empty() {
            true => more,
            false => [vec!["basic".to_owned()], more].concat(),
        });
    }
    let mut fields = metadata(&mut arguments.fields.iter().map(String::as_str));
    fields.extend(sorted);
    // Directories tell the kind with the name, but not of what a link leads to.
    let names_do = fields
        .iter()
        .all(|&field| field == "kind" && !arguments.walk.follow);
    if names_do && arguments.sort.is_empty() && !names(arguments, "target") {
        return None;
    }
    fields.insert("kind");
    Some(fields.into_iter().map(str::to_owned).collect())
}

/// A path for the job, which is text.
pub(crate) fn text_of(path: &Path, flag: &str) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!(
            "{flag} {}: a job names files and directories in UTF-8; take another name (output can go to `-`)",
            path.display()
        ))
    })
}

/// The options of what is scanned, of a stage that reads names.
pub(crate) fn walk_options<'j>(
    stage: StageText<'j>,
    arguments: &WalkArguments,
) -> Result<StageText<'j>, Failure> {
    Ok(stage
        .flag("follow_symlinks", arguments.follow)
        .flag("one_file_system", arguments.one_file_system)
        .maybe("max_depth", arguments.max_depth)
        .maybe("max_concurrency", arguments.max_concurrency)
        .maybe("max_ops_per_second", arguments.max_ops_per_second)
        .list("exclude", &excludes(arguments)?))
}

fn excludes(arguments: &WalkArguments) -> Result<Vec<String>, Failure> {
    let mut patterns = arguments.exclude.clone();
    for path in &arguments.exclude_from {
        let text = read(path).map_err(|error| {
            Failure::usage(format!("--exclude-from {}: {error}", path.display()))
        })?;
        let lines = text.lines().map(str::trim_end);
        patterns.extend(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned),
        );
    }
    Ok(patterns)
}

fn read(path: &PathBuf) -> std::io::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}
