//! `diff`: two sides and some flags become the text of a job, and that text is loaded like any other.
//!
//! One thing must stay true: the job that runs is the one that `--print-job` shows.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use statline_pipeline::{RunReport, StageReport};
use statline_platform::Fields;
use statline_stages::{DirectoryGrowth, Growth, OutputMark, RootPath};

use crate::args::{DiffArguments, DiffFormat};
use crate::escape::{escaped, escaped_message, escaped_path};
use crate::exit::{Exit, Failure};
use crate::human::{self, Units};
use crate::job_text::{JobText, StageText};
use crate::load;
use crate::run::{self, Ended, Telling};
use crate::scan::{text_of, walk_options};
use crate::screen::Screen;
use crate::table::{Align, Table};
use crate::terminal::Terminal;

/// The stage that compares.
const DIFF: &str = "diff";
/// The stage that joins what was removed and added.
const RENAMES: &str = "renames";
/// The stage that writes differences.
const OUT: &str = "out";
/// The stage that adds up by directory.
const GROWTH: &str = "growth";

/// Directories that `--by-dir` shows unless more are asked for.
const TOP: u32 = 20;

pub(crate) fn diff(arguments: &DiffArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let telling = &arguments.telling;
    let to_stdout = output_path(arguments)?.is_none_or(|path| path == "-" || path == "/dev/stdout");
    if to_stdout && telling.report.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage(
            "standard output has the differences already; give --report a file, or -o",
        ));
    }
    let mut text = job_text(arguments)?;
    let mut overrides = arguments.set.set.clone();
    if arguments.print_job {
        // What is printed is checked as well: a file that does not run helps nobody.
        load::made(DIFF, &text, &overrides)?;
        overrides.iter().for_each(|set| text.set(set));
        let lead = "# Tells what differs between two scans. Made by `statline diff`; run it with `statline run FILE`.\n\n";
        terminal.print(format!("{lead}{}", text.write()).as_bytes())?;
        return Ok(Exit::Complete);
    }
    let screen = match to_stdout && !arguments.by_dir {
        true => Screen::of_stdout(),
        false => None,
    };
    if let Some(screen) = &screen {
        overrides.push(format!("stages.{OUT}.path={:?}", screen.path()));
    }
    let job = load::made(DIFF, &text, &overrides)?;
    let ended = run::execute(job, telling, screen, terminal)?;
    let counted = Counted::of(&ended.report);
    tell(&ended, &counted, arguments, terminal)?;
    ended.finish_diff(counted.differences(), counted.unknown)
}

/// What the comparison counted.
struct Counted {
    added: u64,
    removed: u64,
    changed: u64,
    unknown: u64,
}

impl Counted {
    fn of(report: &RunReport) -> Counted {
        let count = |name: &str| {
            let diff = report.stage(DIFF);
            diff.and_then(|stage| stage.counters.get(name).copied())
                .unwrap_or(0)
        };
        Counted {
            added: count("added"),
            removed: count("removed"),
            changed: count("changed"),
            unknown: count("unknown"),
        }
    }

    fn differences(&self) -> u64 {
        self.added + self.removed + self.changed
    }
}

fn tell(
    ended: &Ended,
    counted: &Counted,
    arguments: &DiffArguments,
    terminal: Terminal,
) -> Result<(), Failure> {
    let (report, telling) = (&ended.report, &arguments.telling);
    let walk = &arguments.walk;
    let told = Telling {
        entries: None,
        not_entered: run::not_entered(walk.max_depth.is_some(), walk.one_file_system),
        how_to_see_errors: Some("a `?` stands before what may have been missed because of them"),
        signal: ended.signal,
        // Beside the differences one line is enough, unless more is asked for.
        quiet: telling.quiet + u8::from(telling.verbose == 0),
        verbose: telling.verbose,
        units: telling.units(),
    };
    let finished = report.outcome.publishes();
    let growth = report
        .stage(GROWTH)
        .and_then(growth_of)
        .filter(|_| finished);
    if let Some(growth) = growth {
        let table = growth_table(&growth, told.units);
        terminal.print(table.render(terminal.palette()).as_bytes())?;
    }
    run::tell(report, &told, terminal);
    if finished && telling.quiet < 2 {
        terminal.say(&account(report, counted));
    }
    Ok(())
}

/// The differences in one line.
fn account(report: &RunReport, counted: &Counted) -> String {
    let renamed = report
        .stage(RENAMES)
        .and_then(|stage| stage.counters.get("renamed").copied())
        .unwrap_or(0);
    let mut parts = Vec::new();
    for (count, what) in [
        (counted.added - renamed.min(counted.added), "added"),
        (counted.removed - renamed.min(counted.removed), "removed"),
        (renamed, "renamed"),
        (counted.changed, "changed"),
        (counted.unknown, "unknown"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", human::count(count)));
        }
    }
    match parts.is_empty() {
        true => "  no differences\n".to_owned(),
        false => format!("  {}\n", parts.join(" · ")),
    }
}

fn growth_of(stage: &StageReport) -> Option<Growth> {
    serde_json::from_value(stage.result.clone()?).ok()
}

fn growth_table(growth: &Growth, units: Units) -> Table {
    let mut table = Table::new(&[
        ("growth", Align::Right),
        ("of its own", Align::Right),
        ("entries", Align::Right),
        ("directory", Align::Left),
    ]);
    for directory in &growth.directories {
        table.row([
            signed_bytes(directory.bytes, units),
            signed_bytes(directory.own_bytes, units),
            signed(
                directory.entries,
                human::count(directory.entries.unsigned_abs()),
            ),
            path_of(directory),
        ]);
    }
    table
}

fn signed_bytes(bytes: i64, units: Units) -> String {
    signed(bytes, human::bytes(bytes.unsigned_abs(), units))
}

fn signed(number: i64, shown: String) -> String {
    match number {
        0 => shown,
        1.. => format!("+{shown}"),
        _ => format!("-{shown}"),
    }
}

fn path_of(directory: &DirectoryGrowth) -> String {
    let bytes = match (&directory.path, &directory.path_b64) {
        (Some(path), _) => path.as_bytes().to_vec(),
        (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    escaped(&bytes)
}

/// Where the differences go, if the flags say so.
fn output_path(arguments: &DiffArguments) -> Result<Option<String>, Failure> {
    let path = arguments.output.as_deref();
    path.map(|path| text_of(path, "-o")).transpose()
}

/// The job that the flags describe.
fn job_text(arguments: &DiffArguments) -> Result<JobText, Failure> {
    let mut job = JobText::default();
    let old = side(&mut job, "old", &arguments.old, arguments)?;
    let new = side(&mut job, "new", &arguments.new, arguments)?;
    let inputs: toml::Table = [("old", old), ("new", new)]
        .map(|(port, stage)| (port.to_owned(), stage.into()))
        .into_iter()
        .collect();
    job.stage(DIFF, "diff", "Compares entry by entry.")
        .key("inputs", inputs)
        .list("fields", &arguments.fields)
        .flag("allow_incomplete", arguments.allow_incomplete);
    if arguments.by_dir {
        let top = arguments.top.map_or(TOP, std::num::NonZeroU32::get);
        job.stage(GROWTH, "growth", "Adds up by directory.")
            .key("inputs", [DIFF])
            .key("top", top);
        return Ok(job);
    }
    let mut last = DIFF;
    if !arguments.no_renames {
        let stage = job
            .stage(RENAMES, "renames", "Joins what has another path now.")
            .key("inputs", [last]);
        memory(stage, arguments)?;
        last = RENAMES;
    }
    let path = output_path(arguments)?.unwrap_or_else(|| "-".to_owned());
    let kind = match format(arguments, &path)? {
        DiffFormat::Text => "changes",
        DiffFormat::Jsonl => "jsonl",
        DiffFormat::Csv => "csv",
    };
    job.stage(OUT, kind, "Writes a row for each difference.")
        .key("inputs", [last])
        .key("path", path)
        .flag("si", arguments.telling.si && kind == "changes");
    Ok(job)
}

fn format(arguments: &DiffArguments, path: &str) -> Result<DiffFormat, Failure> {
    if let Some(format) = arguments.format {
        return Ok(format);
    }
    let place = Path::new(path);
    if path == "-" || place.starts_with("/dev") {
        return Ok(DiffFormat::Text);
    }
    let extension = place.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl" | "ndjson") => Ok(DiffFormat::Jsonl),
        Some("csv") => Ok(DiffFormat::Csv),
        Some("txt") => Ok(DiffFormat::Text),
        _ => Err(Failure::usage(format!(
            "-o {path}: there are .jsonl and .ndjson for JSON Lines, .csv, and .txt for lines to read; or say --format"
        ))),
    }
}

/// Adds the stages of one side; the name of the last of them, which is in path order.
fn side(
    job: &mut JobText,
    name: &str,
    path: &Path,
    arguments: &DiffArguments,
) -> Result<String, Failure> {
    let root = RootPath::new(path);
    let found = std::fs::metadata(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", escaped_path(path))))?;
    let unordered = if found.is_dir() {
        let [walk, meta] = ["walk", "meta"].map(|stage| format!("{name}_{stage}"));
        let stage = job
            .stage(&walk, "enumerate", "Reads the names below a root.")
            .list("roots", &[root]);
        walk_options(stage, &arguments.walk)?;
        job.stage(&meta, "stat", "")
            .key("inputs", [&walk])
            .list("fields", &fetched(&arguments.fields))
            .key("targets", true);
        meta
    } else {
        let mark = OutputMark::read(path).map_err(|error| no_scan(path, &error))?;
        let sorted = mark.is_in_path_order();
        job.stage(name, "saved", "Reads a scan that was saved.")
            .key("path", root)
            .maybe("sorted", (!sorted).then_some(false))
            .flag("allow_incomplete", arguments.allow_incomplete);
        match sorted {
            true => return Ok(name.to_owned()),
            false => name.to_owned(),
        }
    };
    let ordered = format!("{name}_ordered");
    let stage = job
        .stage(&ordered, "sort", "")
        .key("inputs", [&unordered])
        .key("by", ["path"]);
    memory(stage, arguments)?;
    Ok(ordered)
}

/// Within which memory a stage sorts.
fn memory(stage: StageText<'_>, arguments: &DiffArguments) -> Result<(), Failure> {
    let spill_dir = arguments.spill_dir.as_deref();
    let spill_dir = spill_dir.map(|path| text_of(path, "--spill-dir"));
    stage
        .maybe("memory_limit", arguments.memory_limit)
        .maybe("spill_dir", spill_dir.transpose()?);
    Ok(())
}

fn no_scan(path: &Path, error: &statline_stages::VerifyError) -> Failure {
    use std::error::Error;
    let cause = error
        .source()
        .map_or(String::new(), |cause| format!(": {cause}"));
    Failure::failed(format!(
        "{} is neither a directory nor a scan that `statline scan -o` has saved: {}",
        escaped_path(path),
        escaped_message(&format!("{error}{cause}")),
    ))
}

/// The metadata to fetch of a directory's entries, beyond what is fetched by default: all if a list is empty.
fn fetched(fields: &[String]) -> Vec<&str> {
    let more: Vec<&str> = fields
        .iter()
        .map(String::as_str)
        .filter(|field| {
            let metadata = Fields::from_field_name(field);
            metadata.is_some_and(|metadata| !Fields::BASIC.contains(metadata))
        })
        .collect();
    match more.is_empty() {
        true => more,
        false => [vec!["basic"], more].concat(),
    }
}
