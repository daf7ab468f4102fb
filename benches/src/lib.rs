//! Measurements: the tree that is measured, the yardstick, and who is held against it.
//!
//! `tree` makes a reproducible directory tree. This library is its code, so that it can be tested.
//!
//! What must stay true: nothing here uses statline's own crates. A yardstick that shares code with what it measures gets
//! faster together with it and says nothing. `statline` itself is only ever run as a program.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "statline-benches calls getdents64, statx and wait4 directly and reads /proc: it measures Linux only"
);

mod error;
mod random;
pub mod tree;

pub use error::{IoContext, IoError};
