//! Document skeleton.
use std::io;
use std::path::Path;

/// Why a job file was not read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReadError(#[from] io::Error);

/// Reads a job file.
pub fn read_limited(path: &Path) -> Result<String, ReadError> {
    Ok(std::fs::read_to_string(path)?)
}
