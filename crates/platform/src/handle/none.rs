//! An open directory, on systems that have no backend yet.
//!
//! The twin of `unix.rs` and `windows.rs`: the same name, and no value of it can exist.

/// An open directory.
#[derive(Debug)]
pub enum Handle {}
