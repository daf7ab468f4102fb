//! The kind of a mount, and how such mounts like to be read.

use std::fmt;
use std::io;
use std::path::Path;

use crate::Handle;

/// The file system that a directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filesystem {
    kind: FilesystemKind,
    magic: u32,
}

/// The file systems that have a [`Profile`] of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilesystemKind {
    /// Any other.
    Unknown,
}

/// How many threads should stat on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many for each processor.
    PerCore(u8),
    /// Between these, as measurement shows.
    Range {
        /// To start with.
        min: u8,
        /// Not more.
        max: u8,
    },
    /// Exactly this many.
    Fixed(u8),
}

/// How a kind of file system likes to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// How many threads to stat with.
    pub stat_threads: Concurrency,
    /// Whether to stat in the order of inode numbers within a chunk.
    pub inode_order: bool,
    /// How many entries to stat in one go.
    pub chunk: usize,
    /// Whether stats should follow the listing at once, while the directory is open: the server then sends attributes with the names.
    pub interleave: bool,
    /// Whether the kernel makes the contents up (`/proc`).
    pub pseudo: bool,
    /// Whether a call may cross a network.
    pub network: bool,
}

impl Filesystem {
    /// The file system of an open directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(directory: &Handle) -> io::Result<Filesystem> {
        todo!("{directory:?}")
    }

    /// The file system that `path` is on.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_path(path: &Path) -> io::Result<Filesystem> {
        todo!("{}", path.display())
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> FilesystemKind {
        self.kind
    }

    /// The kind's name, `"unknown"` if it has none. `Display` also shows the number of an unknown kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        todo!()
    }

    /// How to read it.
    #[must_use]
    pub fn profile(&self) -> &'static Profile {
        todo!()
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown(0x{:x})", self.magic)
    }
}
