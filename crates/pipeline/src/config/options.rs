//! Options skeleton.
use super::Location;
use super::problem::Problems;
use serde::de::DeserializeOwned;

/// What a stage's table holds for its kind.
#[derive(Clone, Debug)]
pub(crate) struct StageOptions {
    location: Location,
}

impl StageOptions {
    /// The kind's own configuration, or `None` when anything in it was wrong; then it has been reported.
    pub(crate) fn decode<C: DeserializeOwned>(&self, problems: &mut Problems) -> Option<C> {
        problems.push(super::Problem::error(self.location.clone(), ""));
        None
    }
}

/// The names of the fields of `C`, as serde calls them.
pub(crate) fn field_names<C: DeserializeOwned>() -> Vec<&'static str> {
    Vec::new()
}
