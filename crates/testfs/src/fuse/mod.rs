//! A file system made for tests: it shows a tree, generated or real, and misbehaves by rules.
//!
//! ```no_run
//! use std::time::Duration;
//! use statline_testfs::fuse::{Operation, Operations, Rule, Shape, TestFs, Tree};
//!
//! let tree = Tree::new().file("good", 1).file("bad", 1).shape("large", Shape::files(1_000_000));
//! let mounted = TestFs::generated(tree)
//!     .rule(Rule::on(Operations::STAT).path_glob("**/bad*").errno(libc::EIO))
//!     .rule(Rule::on(Operation::Readdir).path("large").at_offset(500).times(1).errno(libc::ESTALE))
//!     .rule(Rule::on(Operations::ALL).latency(Duration::from_micros(500)))
//!     .seed(42)
//!     .mount()?;
//! assert!(std::fs::metadata(mounted.path().join("bad")).is_err());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A call goes from the kernel through `filesystem`, is judged by `rules`, waits in `queue` if it
//! has to, and is answered from `backing`, which is a `tree` or a `passthrough`. All that happens on
//! the threads of `session`; `mount` is the handle for tests, `connection` what the kernel knows.
//!
//! It needs the right to mount (tests ask [`skipped`]) and `/dev/fuse`, and no other program.

mod backing;
mod connection;
mod counts;
mod filesystem;
mod latency;
mod mount;
mod operation;
mod passthrough;
mod permission;
mod queue;
mod random;
mod rule;
mod rules;
mod session;
mod shape;
mod tree;

pub use counts::Counts;
pub use filesystem::Injected;
pub use latency::{Latency, LatencySwitch};
pub use mount::{Mounted, Releasing, TestFs};
pub use operation::{Operation, Operations};
pub use permission::{can_mount, skipped};
pub use rule::{Cookies, Rule, Shown};
pub use shape::{Names, Shape};
pub use tree::{Kind, Totals, Tree, TreeEntries, TreeEntry};
