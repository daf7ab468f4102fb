//! The limit of open files of this process.

use std::io;

/// The soft and the hard limit of open files.
#[must_use]
pub fn open_file_limit() -> (u64, u64) {
    todo!()
}

/// Raises the soft limit of open files of this process to the hard one and returns it. For programs, never for libraries.
///
/// # Errors
/// If the system refuses.
pub fn raise_open_file_limit() -> io::Result<u64> {
    todo!()
}
