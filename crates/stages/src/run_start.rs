//! The moment that a run's relative times count from.

use std::ops::Deref;

use jiff::Timestamp;
use statline_pipeline::{Opening, StageError};

/// When the stages of a run were opened: the same moment for all of them, so that one run never writes files of two
/// days because its stages were opened around midnight.
struct RunStart(Timestamp);

/// The moment at which the run began, as its stages agree on it.
pub(crate) fn run_start(stage: &Opening<'_>) -> Result<Timestamp, StageError> {
    let start = stage.resource(|| Ok(RunStart(Timestamp::now())))?;
    Ok(start.deref().0)
}
