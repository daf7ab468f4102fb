//! From the text of a job to a description of it, with every problem at its place.
//!
//! The way is one direction: [`document`] parses, [`overrides`] applies `--set`, [`variables`] puts
//! in the environment, [`description`] peels what belongs to the framework and leaves each kind its
//! [`options`]. The graph takes the description from there, and adds its own findings to the same
//! [`Problems`].
//!
//! What must stay true: a problem never stops the search for others. Each step reports what it
//! finds and hands on what is usable, so that a user corrects a file once.

mod bounds;
mod description;
mod document;
mod inputs;
mod location;
mod options;
mod overrides;
mod problem;
mod problems;
mod render;
mod settings;
mod statements;
mod suggest;
mod syntax;
mod text;
mod threads;
mod tree;
mod variables;
mod whole_number;

#[cfg(test)]
mod tests;

pub use document::{ReadError, read_limited};
pub use location::Location;
pub use problem::{Problem, Severity};
pub use problems::Problems;
pub use settings::PipelineSettings;
pub use threads::ThreadSetting;
pub use variables::Environment;

pub(crate) use description::{STAGE_KEYS, StageDescription, describe};
pub(crate) use inputs::{InputDescription, LISTED_TWICE};
pub(crate) use options::{StageOptions, field_names};
pub(crate) use render::is_unsafe;
pub(crate) use suggest::{closest, did_you_mean};
