//! One thing that is wrong in a job.
//!
//! What must stay true: the message says what is wrong and the help says what to do, both
//! lower-case and without a full stop.

use serde::Serialize;

use super::Location;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The job can't run.
    Error,
    /// The job runs, though perhaps not as meant.
    Warning,
}

/// One thing that is wrong in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the job can run all the same.
    pub severity: Severity,
    /// The key or value that is wrong.
    pub location: Location,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// Something that the job can't run with.
    pub fn error(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            location,
            message: message.into(),
            help: None,
        }
    }

    /// Something that the job runs with, though perhaps not as meant.
    pub fn warning(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            location,
            message: message.into(),
            help: None,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it, if anything is known.
    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}
