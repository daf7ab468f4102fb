//! An open directory, on systems that have no backend yet.
//!
//! The twin of `handle_unix.rs`: the same name, and no value of it can exist.

/// An open directory.
#[derive(Debug)]
pub enum Handle {}
