//! The operating system: an open directory, its names and their metadata.
//!
//! The unit of work is an open directory ([`Handle`]) plus the name of one entry ([`Name`]), never
//! a path: the kernel walks no path per entry, and a directory that somebody swaps for a symbolic
//! link between listing and opening is refused instead of followed.
//!
//! - [`DirNode`] is the place of a directory in its tree. It holds no descriptor, so millions of
//!   them may wait in queues.
//! - [`Handles`] turns nodes into open directories within a budget of descriptors.
//! - [`Backend`] reads [`Entries`] (packed names) and [`Metadata`] from an open directory.
//! - [`parse_dirents`] and [`parse_records`] read what Linux and Windows fill buffers with; they are
//!   pure, and for every system.
//! - [`Filesystem`] says what kind of mount a directory is on and how such mounts like to be read.
//!
//! All `unsafe` of statline lives in this crate. Nothing here touches the state of the process
//! unless a function is called that says so ([`raise_open_file_limit`]).

#[cfg(any(unix, windows, test))]
mod advance;
mod backend;
mod dir_node;
mod dirent;
mod entries;
mod errno;
mod fault;
mod fields;
mod filesystem;
#[cfg(all(test, target_os = "linux"))]
mod forbidding;
#[cfg(unix)]
mod fstatat;
#[cfg(target_os = "linux")]
mod getdents;
#[cfg_attr(unix, path = "handle/unix.rs")]
#[cfg_attr(windows, path = "handle/windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "handle/none.rs")]
mod handle;
mod handles;
// The crate `io-uring` knows the kernel's structures for these processors only; so does Cargo.toml.
#[cfg_attr(
    not(all(
        feature = "io_uring",
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    )),
    path = "io_uring/none.rs"
)]
mod io_uring;
mod kind;
mod metadata;
mod name;
mod nt;
mod paths;
#[cfg(all(unix, not(target_os = "linux")))]
mod readdir;
#[cfg(unix)]
mod relative;
mod rlimit;
mod stat_batch;
#[cfg(target_os = "linux")]
mod statx;
#[cfg(unix)]
mod sys;
mod thread_usage;
mod timestamp;

pub use backend::{Backend, BackendChoice, BackendUnavailable, UnknownBackend, select};
pub use dir_node::{Ancestors, DirNode, Identity, compare_paths, compare_relative_paths};
pub use dirent::{DirentError, parse_dirents};
pub use entries::Entries;
pub use errno::{errno_from_name, errno_name, errno_names, error_code};
pub use fault::{Fault, is_cancelled, is_replaced};
pub use fields::Fields;
pub use filesystem::{Concurrency, Filesystem, FilesystemKind, Profile};
pub use handle::Handle;
pub use handles::{HandleStats, Handles, Listing, Pinned, default_budget};
pub use kind::{Kind, UnknownKind};
pub use metadata::{FileId, Metadata};
pub use name::{InvalidName, Name, NameBuf};
pub use nt::{DirectoryClass, RecordError, parse_records};
#[cfg(windows)]
pub use nt::{Nt, NtCounters};
pub use paths::{path_from_bytes, with_slashes};
pub use rlimit::{open_file_limit, raise_open_file_limit};
pub use stat_batch::{DirectoryStatBatch, has_statx_support, statx};
pub use thread_usage::{ThreadUsage, thread_usage};
pub use timestamp::Timestamp;
