//! The crate as its users see it, on real file systems.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod backends;
mod common;
mod dirents;
mod handles;
#[cfg(target_os = "linux")]
mod hostile;
mod stat_batch;
