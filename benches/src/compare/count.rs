//! How many entries a program found, taken from what it printed or wrote.
//!
//! A program that is fast because it leaves something out is not fast. So every run is counted, outside of the time that
//! is measured.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, IoError};

/// Where the number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountFrom {
    /// A JSON object on standard output, as this crate's own programs print it.
    Report,
    /// One line for each entry on standard output; `and_root` when the root has one as well.
    Stdout { and_root: bool },
    /// One line for each entry in the file of records.
    Records { and_root: bool },
    /// One further run, untimed, that prints a JSON object.
    ExtraRun,
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

/// Reads the report of a program. `None` when it is not one.
pub(super) fn report(path: &Path) -> Result<Option<Found>, IoError> {
    let file = File::open(path).during("open", path)?;
    Ok(serde_json::from_reader(std::io::BufReader::new(file)).ok())
}

/// Counts the lines of a file without holding more than a piece of it: this process stays small, because its own size is the
/// least that it can measure of its children.
pub(super) fn lines(path: &Path, and_root: bool) -> Result<Found, IoError> {
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
        entries: lines.saturating_sub(u64::from(and_root)),
        errors: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_without_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, "a\nb\n\n".repeat(50_000)).unwrap();
        assert_eq!(lines(&path, false).unwrap().entries, 150_000);
        assert_eq!(lines(&path, true).unwrap().entries, 149_999);
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
}
