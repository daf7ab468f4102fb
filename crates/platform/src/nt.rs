//! Windows: `NtQueryDirectoryFile`, which gives names and metadata of a whole buffer of entries in one call.
//!
//! What only computes (`class.rs`, `record.rs`, `listing.rs`, …) is compiled and tested on every system; what calls the
//! system is compiled on Windows. One thing must stay true: no call walks a path below a root. Everything is opened by
//! one name in an open directory.

mod class;
mod filetime;
#[cfg(test)]
mod fixtures;
#[cfg(any(windows, test))]
pub(crate) mod listing;
mod record;
#[cfg(any(windows, test))]
mod status;
mod wtf8;

pub use class::DirectoryClass;
pub use record::{RecordError, parse_records};
