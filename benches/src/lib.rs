//! Measurements: the tree that is measured, the yardstick, and everybody who is held against it.
//!
//! Four programs are built from this library. `tree` makes a reproducible directory tree, `floor` walks it with nothing but
//! the system calls that nobody can do without, `peers` walks it the way other people's code does, and `compare` runs all of
//! them in turns and writes a table. Beside them stand micro benchmarks, of what a message, a name and a row cost.
//!
//! ```text
//! cargo build --release -p statline-benches -p statline-cli
//! target/release/tree DIR                          # a million entries, half a minute
//! target/release/floor DIR                         # the yardstick alone
//! benches/install-peers.sh                         # find, bfs and du, as root
//! target/release/compare DIR --markdown TABLE.md   # everybody, five rounds
//! cargo bench -p statline-benches                  # the micro benchmarks, half a minute
//! ```
//!
//! What must stay true: nothing in this library uses statline's own crates. A yardstick that shares code with what it measures
//! gets faster together with it and says nothing. `statline` itself is only ever run as a program; the micro benchmarks, which
//! measure its crates from inside, are the exception, and use nothing but their public faces.

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
pub mod tree;

pub use error::{IoContext, IoError};
