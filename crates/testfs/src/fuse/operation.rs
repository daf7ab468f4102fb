//! The calls that the kernel makes to a FUSE file system, one name for each.
//!
//! Rules select calls by these names and counters count by them.

use std::fmt;
use std::ops::BitOr;

/// A call from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// A name in a directory is looked up; the answer carries its metadata.
    Lookup,
    /// The metadata of something already looked up.
    Getattr,
    /// A directory is opened.
    Opendir,
    /// Entries of an open directory are read, with or without metadata (`READDIRPLUS`).
    Readdir,
    /// An open directory was closed. The kernel tells nobody what is answered.
    Releasedir,
    /// A file is opened.
    Open,
    /// Bytes of an open file are read.
    Read,
    /// An open file was closed for the last time. The kernel tells nobody what is answered.
    Release,
    /// The target of a symbolic link.
    Readlink,
    /// `statfs(2)` and its like.
    Statfs,
    /// `access(2)` and `chdir(2)`.
    Access,
}

impl Operation {
    /// Every operation, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::Lookup,
        Self::Getattr,
        Self::Opendir,
        Self::Readdir,
        Self::Releasedir,
        Self::Open,
        Self::Read,
        Self::Release,
        Self::Readlink,
        Self::Statfs,
        Self::Access,
    ];

    /// The place of this operation in [`Operation::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lookup => "lookup",
            Self::Getattr => "getattr",
            Self::Opendir => "opendir",
            Self::Readdir => "readdir",
            Self::Releasedir => "releasedir",
            Self::Open => "open",
            Self::Read => "read",
            Self::Release => "release",
            Self::Readlink => "readlink",
            Self::Statfs => "statfs",
            Self::Access => "access",
        })
    }
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Operations(u16);

impl Operations {
    /// Every operation.
    pub const ALL: Self = Self((1 << Operation::ALL.len()) - 1);

    /// What `stat(2)` of an entry becomes: a look-up of its name, and a call for its attributes if
    /// those of the look-up may not be cached. An error on both is what a user sees as "this entry
    /// cannot be stat-ed"; the entry cannot be opened either, since that begins with a look-up.
    pub const STAT: Self = Self(1 << Operation::Lookup.index() | 1 << Operation::Getattr.index());

    /// Whether `operation` is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation.index()) != 0
    }
}

impl From<Operation> for Operations {
    fn from(operation: Operation) -> Self {
        Self(1 << operation.index())
    }
}

impl<T: Into<Operations>> BitOr<T> for Operations {
    type Output = Self;

    fn bitor(self, other: T) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<T: Into<Operations>> BitOr<T> for Operation {
    type Output = Operations;

    fn bitor(self, other: T) -> Operations {
        Operations::from(self) | other
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("any operation");
        }
        let mut separator = "";
        for operation in Operation::ALL {
            if self.contains(operation) {
                write!(f, "{separator}{operation}")?;
                separator = "|";
            }
        }
        Ok(())
    }
}
