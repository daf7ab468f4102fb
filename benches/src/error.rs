//! What the operating system refused, with the operation and the path that it refused.
//!
//! Every I/O error of this crate passes through here, so that no message is a bare "No such file or directory".

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on a path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct IoError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Adds the operation and the path to a system error.
pub trait IoContext<T> {
    /// Names what was being done (an infinitive: "open", "create") and to which path.
    fn during(self, operation: &'static str, path: &Path) -> Result<T, IoError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, IoError> {
        self.map_err(|error| IoError {
            operation,
            path: path.to_owned(),
            source: error.into(),
        })
    }
}
