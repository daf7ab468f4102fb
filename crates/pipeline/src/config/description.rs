//! Description skeleton.
use super::options::StageOptions;
use super::problem::Problems;
use super::{Environment, Location};
use crate::quantity::{ByteSize, Period};

/// A job as its file describes it: names not yet looked up, kinds not yet known.
#[derive(Debug)]
pub(crate) struct JobDescription {
    /// `[pipeline]`.
    pub(crate) pipeline: PipelineSettings,
    /// `[stages.*]` in the order of the file, also those with problems, so that their names count as known.
    pub(crate) stages: Vec<StageDescription>,
}

/// What holds for a whole job: the `[pipeline]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineSettings {
    /// The name of the job in reports.
    pub name: Option<String>,
    /// Messages a channel holds, unless a stage says otherwise: 1 to 65536, 16 when unset.
    pub capacity: usize,
    /// Bytes a channel holds, unless a stage says otherwise: 1 KiB to 1 GiB, 8 MiB when unset.
    pub capacity_bytes: ByteSize,
    /// The time after which a run is cancelled.
    pub max_runtime: Option<Period>,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            name: None,
            capacity: 16,
            capacity_bytes: ByteSize::from_bytes(8 << 20),
            max_runtime: None,
        }
    }
}

/// How many threads a stage runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadSetting {
    /// As many as pay.
    Auto,
    /// Exactly so many: 1 to 512.
    Count(usize),
}

/// One `[stages.*]` table: the framework's keys read, the others left in `options`.
#[derive(Debug)]
pub(crate) struct StageDescription {
    /// The name: ASCII letters, digits, `_` and `-`.
    pub(crate) name: String,
    /// The header of the table.
    pub(crate) location: Location,
    /// `type`. `None` when it is missing or no string: that has been reported, and the name counts all the same.
    pub(crate) kind: Option<String>,
    /// The value of `type`, or the header where it is missing.
    pub(crate) kind_location: Location,
    /// `inputs`, those that could be read.
    pub(crate) inputs: Vec<InputDescription>,
    /// False when an input was reported and left out: then a missing input is a consequence, not a finding.
    pub(crate) inputs_complete: bool,
    /// The value of `inputs`, or the header where there is none.
    pub(crate) inputs_location: Location,
    /// `threads`.
    pub(crate) threads: Option<(ThreadSetting, Location)>,
    /// `capacity`, in messages.
    pub(crate) capacity: Option<(usize, Location)>,
    /// `capacity_bytes`.
    pub(crate) capacity_bytes: Option<(ByteSize, Location)>,
    /// `accept`: the error codes that leave a run complete.
    pub(crate) accept: Option<(Vec<String>, Location)>,
    /// The rest, for the kind.
    pub(crate) options: StageOptions,
}

/// One input of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputDescription {
    /// The input port, when inputs are named: `old` in `inputs = { old = "a" }`.
    pub(crate) port: Option<String>,
    /// The stage it comes from.
    pub(crate) stage: String,
    /// The port it comes from: `errors` in `"walk.errors"`.
    pub(crate) from_port: Option<String>,
    /// The string itself.
    pub(crate) location: Location,
}

/// Describes the job whose text `problems` was made with; `None` when that is no TOML.
///
/// `overrides` are the arguments of `--set`, applied in their order before variables are put in.
pub(crate) fn describe(
    problems: &mut Problems,
    environment: &Environment<'_>,
    overrides: &[String],
) -> Option<JobDescription> {
    let _ = (problems, environment, overrides);
    None
}
