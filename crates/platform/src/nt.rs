//! Windows: `NtQueryDirectoryFile`, which gives names and metadata of a whole buffer of entries in one call.
//!
//! What only computes (`class.rs`, `record.rs`, `listing.rs`, …) is compiled and tested on every system; what calls the
//! system is compiled on Windows. One thing must stay true: no call walks a path below a root. Everything is opened by
//! one name in an open directory.

#[cfg(windows)]
mod backend;
mod class;
#[cfg(windows)]
mod file;
mod filetime;
#[cfg(test)]
mod fixtures;
#[cfg(any(windows, test))]
pub(crate) mod listing;
#[cfg(windows)]
mod native;
mod record;
#[cfg(any(windows, test))]
mod reparse;
#[cfg(any(windows, test))]
mod status;
#[cfg(windows)]
mod volume;
#[cfg(any(windows, test))]
mod words;
mod wtf8;

pub use class::DirectoryClass;
pub use record::{RecordError, parse_records};

#[cfg(windows)]
pub(crate) use backend::stat_path;
#[cfg(windows)]
pub use backend::{Nt, NtCounters};
#[cfg(windows)]
pub(crate) use volume::Volume;
#[cfg(windows)]
pub(crate) use wtf8::decode as units_of;
