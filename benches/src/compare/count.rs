//! How many entries a program found, taken from what it printed or wrote.
//!
//! A program that is fast because it leaves something out is not fast. So every run is counted, outside of the time that
//! is measured.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{IoContext, IoError};

/// Where the number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountFrom {
    /// A JSON object on standard output, as this crate's own programs print it.
    Report,
    /// One line for each entry on standard output; `and_root` when roots have one as well.
    Stdout { and_root: bool },
    /// One line for each entry in the file of records, and one for each root. What is missing stands in the mark beside it.
    Records,
    /// statline's report of the run. Its totals have the roots in them.
    RunReport,
    /// The program does not say.
    Nowhere,
}

/// What a program says that it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Found {
    pub(super) entries: u64,
    #[serde(default)]
    pub(super) errors: u64,
}

/// What this program needs of statline's report of a run. Read without statline's types: see the crate's header.
#[derive(Debug, Deserialize)]
struct RunReport {
    stages: Vec<Stage>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    #[serde(default)]
    errors: Vec<ErrorCount>,
    /// Each kind of stage has a result of its own; that of the one that adds up says how many entries there were.
    #[serde(default)]
    result: Option<Totals>,
}

#[derive(Debug, Deserialize)]
struct Totals {
    entries: Option<u64>,
}

/// The mark that statline leaves beside a file of records.
#[derive(Debug, Deserialize)]
struct Mark {
    errors: Vec<ErrorCount>,
}

#[derive(Debug, Deserialize)]
struct ErrorCount {
    count: u64,
}

fn sum<'a>(errors: impl IntoIterator<Item = &'a ErrorCount>) -> u64 {
    errors.into_iter().map(|error| error.count).sum()
}

/// Reads the JSON object of a program of this crate. `None` when it is not one.
pub(super) fn report(path: &Path) -> Result<Option<Found>, IoError> {
    json(path)
}

/// Reads statline's report of a run over so many roots. `None` when it is not one or has no totals.
pub(super) fn run_report(path: &Path, roots: u64) -> Result<Option<Found>, IoError> {
    let found = json::<RunReport>(path)?.and_then(|report| {
        let results = report.stages.iter().flat_map(|stage| &stage.result);
        let entries = results.filter_map(|result| result.entries).next();
        Some(Found {
            entries: entries?.saturating_sub(roots),
            errors: sum(report.stages.iter().flat_map(|stage| &stage.errors)),
        })
    });
    Ok(found)
}

/// Counts statline's records of so many roots, and what the mark beside them says is missing. `None` when the mark says
/// nothing.
pub(super) fn records(records: &Path, mark: &Path, roots: u64) -> Result<Option<Found>, IoError> {
    let lines = lines(records, roots)?;
    Ok(json::<Mark>(mark)?.map(|mark| Found {
        errors: sum(&mark.errors),
        ..lines
    }))
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, IoError> {
    let file = File::open(path).during("open", path)?;
    Ok(serde_json::from_reader(BufReader::new(file)).ok())
}

/// Counts the lines of a file, less those of the roots, without holding more than a piece of it: this process stays small, because its own size is the
/// least that it can measure of its children.
pub(super) fn lines(path: &Path, roots: u64) -> Result<Found, IoError> {
    let mut file = File::open(path).during("open", path)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        let read = file.read(&mut buffer).during("read", path)?;
        if read == 0 {
            break;
        }
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    Ok(Found {
        entries: lines.saturating_sub(roots),
        errors: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_without_those_of_the_roots() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, "a\nb\n\n".repeat(50_000)).unwrap();
        assert_eq!(lines(&path, 0).unwrap().entries, 150_000);
        assert_eq!(lines(&path, 1).unwrap().entries, 149_999);
    }

    #[test]
    fn a_report_may_say_more_than_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        std::fs::write(
            &path,
            r#"{"tool":"floor","entries":7,"errors":1,"seconds":0.5}"#,
        )
        .unwrap();
        assert_eq!(
            report(&path).unwrap(),
            Some(Found {
                entries: 7,
                errors: 1
            })
        );
        std::fs::write(&path, "7 entries").unwrap();
        assert_eq!(report(&path).unwrap(), None);
    }

    #[test]
    fn the_totals_of_a_run_are_those_of_the_stage_that_adds_up_without_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        let text = r#"{"schema": 1, "outcome": "incomplete", "stages": [
            {"name": "walk", "errors": [{"operation": "open", "code": "EACCES", "count": 2, "accepted": false}]},
            {"name": "meta", "counters": {"vanished": 1}},
            {"name": "totals", "kind": "summary", "result": {"schema": 1, "entries": 8, "files": 8}}
        ]}"#;
        std::fs::write(&path, text).unwrap();
        assert_eq!(
            run_report(&path, 1).unwrap(),
            Some(Found {
                entries: 7,
                errors: 2
            })
        );
        std::fs::write(&path, r#"{"stages": [{"name": "out"}]}"#).unwrap();
        assert_eq!(run_report(&path, 1).unwrap(), None);
    }

    #[test]
    fn what_records_lack_stands_in_their_mark() {
        let directory = tempfile::tempdir().unwrap();
        let [file, mark] = ["records", "mark"].map(|name| directory.path().join(name));
        std::fs::write(&file, "{}\n{}\n").unwrap();
        assert!(records(&file, &mark, 1).is_err(), "there is no mark");
        std::fs::write(
            &mark,
            r#"{"rows": 2, "errors": [{"stage": "meta", "count": 3}]}"#,
        )
        .unwrap();
        assert_eq!(
            records(&file, &mark, 1).unwrap(),
            Some(Found {
                entries: 1,
                errors: 3
            })
        );
    }
}
