//! What keeps a scenario from being prepared.

use crate::error::IoError;
use crate::tree;

/// Why what a scenario needs is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    /// It cannot be had here, and the scenario can be done without: the reason, and what can be done about it.
    #[error("{0}")]
    Unavailable(String),
    /// A tree could not be made.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoError),
}
