//! Measurements: the tree that is measured, the yardstick, and everybody who is held against it.
//!
//! Five programs are built from this library. `tree` makes a reproducible directory tree, `floor` walks it with nothing but
//! the system calls that nobody can do without, `peers` walks it the way other people's code does, `slowfs` serves a mount that
//! answers as slowly as it is told, and `compare` runs all of them in turns, in one scenario after the other, and writes
//! a report. Beside them stand micro benchmarks, of what a message, a name and a row cost.
//!
//! ```text
//! cargo build --release -p statline-benches -p statline-cli
//! benches/install-peers.sh                         # the peers, as root
//! target/release/compare --write docs              # as root: everything, into docs/performance.md and its charts
//! target/release/compare --scenario hot,cold       # some of it, to standard output
//! target/release/compare DIR                       # everybody on a directory of yours
//! target/release/floor DIR                         # the yardstick alone
//! cargo bench -p statline-benches                  # the micro benchmarks, half a minute
//! ```
//!
//! What must stay true: nothing in this library uses statline's own crates. A yardstick that shares code with what it measures
//! gets faster together with it and says nothing. `statline` itself is only ever run as a program. Two exceptions: `slowfs` is made
//! of `statline-testfs`, which is what is measured on and shares nothing with what is measured; and the micro benchmarks
//! measure statline's crates from inside, by their public faces.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "statline-benches calls getdents64, statx and wait4 directly and reads /proc: it measures Linux only"
);

pub mod compare;
mod error;
pub mod floor;
pub mod peers;
pub mod random;
#[expect(
    unsafe_code,
    reason = "the yardstick calls the system directly; this module is the only one that does"
)]
mod raw;
pub mod slow;
pub mod tree;

pub use error::{IoContext, IoError};
