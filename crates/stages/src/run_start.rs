//! The moment that a run's relative times count from.

use std::ops::Deref;

use jiff::Timestamp;
use statline_pipeline::{Opening, StageError};
use statline_platform::Timestamp as FileTime;

/// When the stages of a run were opened: the same moment for all of them, so that one run never writes files of two
/// days because its stages were opened around midnight.
struct RunStart(Timestamp);

/// The moment at which the run began, as its stages agree on it.
pub(crate) fn run_start(stage: &Opening<'_>) -> Result<Timestamp, StageError> {
    let start = stage.resource(|| Ok(RunStart(Timestamp::now())))?;
    Ok(start.deref().0)
}

/// The same moment as file systems write it.
pub(crate) fn run_start_time(stage: &Opening<'_>) -> Result<FileTime, StageError> {
    let nanoseconds = run_start(stage)?.as_nanosecond();
    Ok(FileTime {
        // A `jiff::Timestamp` is within ten thousand years.
        seconds: nanoseconds.div_euclid(1_000_000_000) as i64,
        nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
    })
}
