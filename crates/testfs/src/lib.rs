//! Trees and file systems made for tests: [`hostile_tree`] on a real file system, and on Linux
//! [`fuse`], a file system that misbehaves as it is told.
//!
//! Nothing here is part of statline: other crates depend on it in their tests only, and it depends
//! on none of them, so that what it makes is not made with the code under test.
#![forbid(unsafe_code)]
#![cfg(unix)]

#[cfg(target_os = "linux")]
pub mod fuse;
mod hostile;
mod remove;

pub use hostile::{HostileTree, hostile_tree};
pub use remove::remove_tree;
