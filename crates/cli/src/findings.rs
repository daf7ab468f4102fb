//! What stages that mark, compare, or read contents have found, as people read it.

use std::time::Duration;

use statline_pipeline::{RunReport, StageReport};
use statline_stages::{Field, Hashed, Repetition};

use crate::human::{self, Units};

/// A line for each of them that has something to say.
pub(crate) fn lines(report: &RunReport, units: Units) -> String {
    let lines = report
        .stages
        .iter()
        .filter_map(|stage| match stage.kind.as_str() {
            "cache" => counted(stage, &["new", "changed", "deleted", "unchanged"]),
            "diff" => counted(stage, &["added", "removed", "changed", "unknown"]),
            "renames" => counted(stage, &["renamed"]),
            "plan" => counted(stage, &["copy", "update", "delete", "unknown"]),
            "hash" => Some(hashed(&result(stage)?, units)),
            "repeated" => copies(&result(stage)?, units),
            _ => None,
        });
    lines.map(|line| format!("  {line}\n")).collect()
}

/// How many records were marked with each of these words, so that a run of which nothing came out says why.
fn counted(stage: &StageReport, marks: &[&str]) -> Option<String> {
    let counts = marks.iter().filter_map(|mark| {
        let count = stage.counters.get(*mark)?;
        Some(format!("{} {mark}", human::count(*count)))
    });
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| counts.join(" · "))
}

fn result<T: serde::de::DeserializeOwned>(stage: &StageReport) -> Option<T> {
    serde_json::from_value(stage.result.clone()?).ok()
}

/// What was read.
fn hashed(hashed: &Hashed, units: Units) -> String {
    let files = human::counted(hashed.files, "file", "files");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and is told in three digits"
    )]
    let rate = hashed.bytes_per_second as u64;
    let read = match hashed.bytes {
        0 => String::new(),
        bytes => format!(
            ": {} in {}, {} a second",
            human::bytes(bytes, units),
            human::duration(Duration::try_from_secs_f64(hashed.seconds).unwrap_or_default()),
            human::bytes(rate, units)
        ),
    };
    let remembered = match hashed.remembered {
        0 => String::new(),
        count => format!(
            " · {} remembered",
            human::counted(count, "digest", "digests")
        ),
    };
    format!("contents of {files} read{read}{remembered}")
}

/// What copies take. Files that have only their size in common, say, are none.
fn copies(found: &Repetition, units: Units) -> Option<String> {
    if !found.by.contains(&Field::Hash) {
        return None;
    }
    if found.groups == 0 {
        return Some("no file is a copy of another".to_owned());
    }
    let files = human::counted(found.files, "file", "files");
    let groups = human::counted(found.groups, "group", "groups");
    let apparent = human::bytes(found.freeable_apparent_bytes, units);
    let allocated = human::bytes(found.freeable_allocated_bytes, units);
    Some(format!(
        "{files} in {groups} of copies · to delete all but one of each would free {allocated} allocated, {apparent} apparent"
    ))
}
