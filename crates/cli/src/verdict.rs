//! How a run went, in words.

use std::fmt::Write;
use std::time::Duration;

use statline_pipeline::{ErrorCount, Outcome, RunReport, StageReport};
use statline_stages::{OUTPUT_FACT, STORE_PUT_ASIDE_FACT, Summary, WrittenOutput};

use crate::escape::{escaped_message, escaped_path};
use crate::findings;
use crate::human;
use crate::run::Telling;
use crate::stalls;
use crate::table;
use crate::terminal::Palette;
use crate::totals;

/// The kind of stage whose result is totals.
pub(crate) const SUMMARY: &str = "summary";

/// What a person should know, whatever else came of a run: a cache that was of no use.
pub(crate) fn warnings(report: &RunReport, palette: Palette) -> String {
    let Palette { warning, reset, .. } = palette;
    let mut out = String::new();
    for stage in &report.stages {
        let fact = stage.facts.get(STORE_PUT_ASIDE_FACT);
        if let Some(what) = fact.and_then(|fact| fact.as_str()) {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{warning}warning{reset}: {}", escaped_message(what));
        }
    }
    out
}

/// All that is told of a run that finished.
pub(crate) fn account(report: &RunReport, told: &Telling, palette: Palette) -> String {
    let mut out = warnings(report, palette);
    out.push_str(&headline(report, told, palette));
    let summaries: Vec<Summary> = report.stages.iter().filter_map(summary).collect();
    for summary in &summaries {
        out.push_str(&totals::lines(summary, report.error_count(), told.units));
    }
    out.push_str(&findings::lines(report, told.units));
    out.push_str(&left_out(report, told));
    out.push_str(&unreadable(report, told, palette));
    out.push_str(&stalls::lines(report, palette));
    for summary in &summaries {
        out.push_str(&totals::tables(summary, told.units, palette));
    }
    if told.quiet == 0 {
        out.push('\n');
        out.push_str(&measures(report, told, palette));
    }
    out
}

/// The totals that a stage found, if that is what it is for.
fn summary(stage: &StageReport) -> Option<Summary> {
    let result = stage.result.as_ref().filter(|_| stage.kind == SUMMARY)?;
    serde_json::from_value(result.clone()).ok()
}

/// Why there is no result.
pub(crate) fn failure(report: &RunReport, told: &Telling, palette: Palette) -> String {
    let Palette { error, reset, .. } = palette;
    let cause = report.cause.as_deref().unwrap_or("it is not known why");
    let kept = kept(report);
    let written = match kept.is_empty() {
        true => "nothing was written",
        false => "what there is was kept",
    };
    let mut out = match (report.outcome, told.signal) {
        (Outcome::Cancelled, Some(signal)) => format!(
            "{error}stopped{reset} by {} after {}, {} in; {written}\n",
            signal_name(signal),
            human::duration(elapsed(report)),
            human::counted(entries(report, told), "entry", "entries")
        ),
        (Outcome::Cancelled, None) => format!(
            "{error}stopped{reset} after {}: {}; {written}\n",
            human::duration(elapsed(report)),
            escaped_message(cause)
        ),
        _ => format!("{error}error{reset}: {}\n", escaped_message(cause)),
    };
    out.push_str(&warnings(report, palette));
    out.push_str(&stalls::lines(report, palette));
    for output in kept {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {} in {}",
            human::counted(output.rows, "row", "rows"),
            escaped_path(output.path.as_path())
        );
    }
    if told.verbose > 0 {
        out.push_str(&measures(report, told, palette));
    }
    out
}

/// The partial results that a run has left.
fn kept(report: &RunReport) -> Vec<WrittenOutput> {
    let stated = report
        .stages
        .iter()
        .filter_map(|stage| stage.facts.get(OUTPUT_FACT));
    let outputs = stated.filter_map(|fact| serde_json::from_value(fact.clone()).ok());
    outputs
        .filter(|output: &WrittenOutput| output.partial)
        .collect()
}

fn headline(report: &RunReport, told: &Telling, palette: Palette) -> String {
    let Palette {
        warning,
        good,
        bold,
        reset,
        ..
    } = palette;
    let entries = entries(report, told);
    let elapsed = elapsed(report);
    let outcome = match report.outcome {
        Outcome::Complete => format!("{good}complete{reset}"),
        outcome => format!(
            "{warning}{outcome}{reset}: {} could not be read",
            human::count(report.error_count())
        ),
    };
    format!(
        "{bold}{}{reset} in {} ({}), {outcome}\n",
        human::counted(entries, "entry", "entries"),
        human::duration(elapsed),
        human::rate(entries, elapsed),
    )
}

fn elapsed(report: &RunReport) -> Duration {
    Duration::try_from_secs_f64(report.elapsed_seconds).unwrap_or_default()
}

/// The entries of a run: what the caller knows, or what the sources sent.
fn entries(report: &RunReport, told: &Telling) -> u64 {
    let is_source = |stage: &&StageReport| report.edges.iter().all(|edge| edge.to != stage.name);
    told.entries.unwrap_or_else(|| {
        let sources = report.stages.iter().filter(is_source);
        sources.map(|stage| stage.items_out).sum()
    })
}

/// What the job itself left out.
fn left_out(report: &RunReport, told: &Telling) -> String {
    let sum = |name: &str| -> u64 {
        let counters = report.stages.iter().map(|stage| &stage.counters);
        counters.filter_map(|counters| counters.get(name)).sum()
    };
    let mut parts = Vec::new();
    match sum("excluded") {
        0 => {}
        count => parts.push(format!("{} excluded", human::count(count))),
    }
    match sum("skipped_directories") {
        0 => {}
        count => parts.push(format!(
            "{} not entered: {}",
            human::counted(count, "directory", "directories"),
            told.not_entered
        )),
    }
    match sum("vanished") {
        0 => {}
        count => parts.push(format!("{} vanished meanwhile", human::count(count))),
    }
    match sum("ambiguous") {
        0 => {}
        count => parts.push(format!(
            "{} with a line feed in the name, which -0 tells apart",
            human::counted(count, "path", "paths")
        )),
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("  {}\n", parts.join(" · ")),
    }
}

/// What could not be read, by operation and code, the most frequent first.
pub(crate) fn unreadable(report: &RunReport, told: &Telling, palette: Palette) -> String {
    let mut counts: Vec<(&str, &ErrorCount)> = Vec::new();
    for stage in &report.stages {
        counts.extend(
            stage
                .errors
                .iter()
                .map(|error| (stage.name.as_str(), error)),
        );
    }
    if counts.is_empty() {
        return String::new();
    }
    let Palette { warning, reset, .. } = palette;
    let mut out = format!("\n  {warning}could not be read{reset}\n");
    out.push_str(&error_lines(counts));
    if let Some(how) = told.how_to_see_errors {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {how}");
    }
    out
}

/// A line for each stage, operation and code, the most frequent first.
pub(crate) fn error_lines(mut counts: Vec<(&str, &ErrorCount)>) -> String {
    counts.sort_by_key(|(_, error)| std::cmp::Reverse(error.count));
    let mut out = String::new();
    let width = counts
        .iter()
        .map(|(_, error)| human::count(error.count).len())
        .max()
        .unwrap_or(0);
    for (stage, error) in counts {
        let accepted = if error.accepted {
            ", which the job accepts"
        } else {
            ""
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {:>width$} × {} {}, in {}{accepted}",
            human::count(error.count),
            escaped_message(&error.operation),
            escaped_message(&error.code),
            escaped_message(stage),
        );
    }
    out
}

/// Where the time went.
fn measures(report: &RunReport, told: &Telling, palette: Palette) -> String {
    let mut out = table::stages(report, palette);
    if let Some(limit) = &report.limit {
        let _ = writeln!(out, "{}.", escaped_message(&limit.explanation));
    }
    if told.verbose > 0 {
        let _ = write!(out, "\n{}", table::channels(&report.edges, palette));
        let counters = table::counters(&report.stages);
        if !counters.is_empty() {
            let _ = write!(out, "\n{counters}");
        }
    }
    if told.verbose > 1 {
        let _ = write!(out, "\n{}", table::waits(&report.stages, palette));
    }
    out
}

fn signal_name(signal: i32) -> String {
    match signal {
        2 => "SIGINT".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}
