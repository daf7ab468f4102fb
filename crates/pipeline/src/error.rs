//! What a stage's methods return when they cannot go on.

use std::fmt;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a stage stopped early.
///
/// Only [`Failed`](StageError::Failed) is a cause; [`Stopped`](StageError::Stopped) is a consequence of something
/// that is on record elsewhere, and never hides it.
#[derive(Debug)]
pub enum StageError {
    /// A neighbour or the run told the stage to stop. Pass it on.
    Stopped(Stop),
    /// The stage itself cannot go on; the run fails with this as its cause if it is the first.
    Failed(BoxError),
}

/// Who or what stopped a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The run was cancelled or has failed elsewhere.
    Cancelled,
    /// Everyone downstream has enough. The stage ends well.
    Enough,
    /// The input's channel closed though a producer had not finished: what was received is not everything.
    Truncated,
    /// Another thread went on in place of this one, whose call did not come back in time.
    Replaced,
}

impl StageError {
    /// Ends a stage well before its input has ended: it has all it wants, and its producers may stop.
    pub const ENOUGH: StageError = StageError::Stopped(Stop::Enough);

    /// A failure: a message or an error value. Say what was tried, on what, and why it did not work.
    ///
    /// A stage error stays what it is, so that `map_err(StageError::failed)` makes no cause of a consequence.
    pub fn failed(error: impl Into<BoxError>) -> StageError {
        match error.into().downcast::<StageError>() {
            Ok(error) => *error,
            Err(error) => StageError::Failed(error),
        }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageError::Stopped(Stop::Cancelled) => f.write_str("the run is stopping"),
            StageError::Stopped(Stop::Enough) => f.write_str("nobody downstream wants more"),
            StageError::Stopped(Stop::Truncated) => {
                f.write_str("the input ended before its producer finished")
            }
            StageError::Stopped(Stop::Replaced) => f.write_str("another thread took over"),
            StageError::Failed(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StageError {}
