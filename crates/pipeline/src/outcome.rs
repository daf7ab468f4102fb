//! How a run ended, and what that means for what it leaves behind.

use serde::{Deserialize, Serialize};

use crate::error_record::ErrorCount;
use crate::{StageError, StageReport, Stall, UnreadList};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was handled.
    Complete,
    /// The run finished, but some items could not be handled; each one is on record.
    Incomplete,
    /// It was told to stop before it had finished.
    Cancelled,
    /// A stage failed.
    Failed,
}

impl Outcome {
    /// Whether outputs get their final names. They do, with their mark, when the run has finished.
    pub fn publishes(self) -> bool {
        matches!(self, Outcome::Complete | Outcome::Incomplete)
    }

    /// The outcome as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Incomplete => "incomplete",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is decided about a run after every sink has prepared, for those who publish.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// How the run ended.
    pub outcome: Outcome,
    /// Identifies the run in its report and in all its outputs.
    pub run_id: String,
    /// The name of the job.
    pub job: String,
    /// When the run began.
    pub started: jiff::Timestamp,
    /// When the last of its stages had ended.
    pub finished: jiff::Timestamp,
    /// Why it did not finish, in one sentence.
    pub cause: Option<String>,
    /// Whether some reader said that it had enough: then not everything was delivered to everybody.
    pub ended_early: bool,
    /// The errors of all stages.
    pub errors: Vec<StageErrors>,
    /// What the stages have not looked at.
    pub unread: UnreadList,
    /// The stages in the order in which messages travel: what each was told to do, what it stated and what it counted.
    pub stages: Vec<StageReport>,
    /// What did not come back in time.
    pub stalls: Vec<Stall>,
    /// Whether the job wants to see what there is of a result that does not get its final name.
    pub keep_partial: bool,
}

/// The errors of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageErrors {
    /// The stage, as the job names it.
    pub stage: String,
    /// Its errors, by operation and code.
    #[serde(flatten)]
    pub errors: ErrorCount,
}

/// When something is published in relation to the rest: lower comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishOrder {
    /// Files, tables: what people read.
    Output,
    /// What a later run relies on to leave things out: only after everything else was delivered.
    Memory,
}

/// The second half of a sink: gives a prepared result its final name, or throws it away.
///
/// [`Sink`](crate::Sink) has it built in; a stage of another shape hands one to
/// [`Opening::publisher`](crate::Opening::publisher).
pub trait Publisher: Send {
    /// Does what can fail and gives nothing its final name yet. Called once, before anybody publishes, and only if the
    /// run has finished.
    ///
    /// # Errors
    /// Any error fails the run before anything was published.
    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        let _ = verdict;
        Ok(())
    }

    /// Acts on the verdict. Called once, on the thread that waits for the run, after everybody has sealed.
    ///
    /// # Errors
    /// Any error fails the run; whatever publishes later is told so.
    fn publish(self: Box<Self>, verdict: &Verdict) -> Result<(), StageError>;
}
