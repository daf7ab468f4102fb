//! The mark beside an output: of which run it is, how that run ended, and what it could not read.
//!
//! An output in itself does not show whether something is missing from it; who relies on one reads its mark first.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use statline_pipeline::{Outcome, StageErrors, Verdict};

/// The version of the form of [`OutputMark`]. It changes when a field changes its meaning or goes; new fields do not
/// change it.
pub const MARK_SCHEMA: u32 = 1;

/// What is known of an output file, as JSON in a file beside it: `FILE.run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputMark {
    /// [`MARK_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Identifies the run in its report and in all its outputs.
    pub run_id: String,
    /// The name of the job.
    pub job: String,
    /// How the run ended. Of an incomplete one, `errors` tells what is missing.
    pub outcome: Outcome,
    /// When the run began: RFC 3339, UTC.
    pub started: String,
    /// When the output got its name: RFC 3339, UTC.
    pub finished: String,
    /// The rows in the output, a header not counted.
    pub rows: u64,
    /// The size of the output. If the file has another, the mark is not about this file.
    pub bytes: u64,
    /// What could not be read, by stage, operation and code; accepted codes leave a run complete.
    pub errors: Vec<StageErrors>,
}

impl OutputMark {
    /// The mark of an output of so many rows and bytes that is about to get its name.
    pub fn new(verdict: &Verdict, rows: u64, bytes: u64) -> OutputMark {
        OutputMark {
            schema: MARK_SCHEMA,
            run_id: verdict.run_id.clone(),
            job: verdict.job.clone(),
            outcome: verdict.outcome,
            started: verdict.started.to_string(),
            finished: jiff::Timestamp::now().to_string(),
            rows,
            bytes,
            errors: verdict.errors.clone(),
        }
    }

    /// Where the mark of the output `path` is.
    pub fn path_for(path: &Path) -> PathBuf {
        let mut beside: OsString = path.as_os_str().to_owned();
        beside.push(".run.json");
        beside.into()
    }
}
