//! The records that `getdents64(2)` fills a buffer with.

use crate::Entries;

/// Appends the entries in `buffer`, without `.` and `..`.
///
/// # Errors
/// [`DirentError`] at the first record that breaks the format; those before it are appended.
pub fn parse_dirents(buffer: &[u8], out: &mut Entries) -> Result<(), DirentError> {
    todo!("{buffer:?} {out:?}")
}

/// A record that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed directory record at offset {offset}")]
pub struct DirentError {
    /// Where in the buffer the record starts, in bytes.
    pub offset: usize,
}
