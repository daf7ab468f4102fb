//! Stages on threads of their own, joined by bounded channels.
#![forbid(unsafe_code)]

#[expect(
    dead_code,
    reason = "the graph, which reads the description, is not there yet"
)]
mod config;
mod quantity;

pub use config::{
    Environment, Location, PipelineSettings, Problem, Problems, ReadError, Severity, ThreadSetting,
    read_limited,
};
pub use quantity::{ByteSize, ParseQuantityError, Period};
