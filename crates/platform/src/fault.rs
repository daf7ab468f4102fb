//! What this crate finds wrong by itself, as [`io::Error`]s.
//!
//! Everything that can fail here returns an `io::Error`, so that a caller has one kind of error.
//! Most carry the system's error number; the few that no system call reports carry a [`Fault`].

use std::io;

/// A failure that no system call reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A directory was opened again and is another one now: it was renamed, or removed and made
    /// anew.
    #[error("directory was replaced while it was being scanned")]
    Replaced,
    /// The caller's `cancelled` returned true during a wait.
    #[error("cancelled")]
    Cancelled,
    /// A file to be read is not a regular file.
    #[error("not a regular file")]
    NotRegular,
    /// Reading a directory does not advance: a broken file system returns the same entries for
    /// ever.
    #[error("reading the directory does not advance")]
    ReaddirLoop,
    /// A directory has more entries than the caller allows.
    #[error("the directory has more entries than the job allows")]
    TooManyEntries,
    /// A directory's buffer broke the format that the kernel promises.
    #[error("the system returned a malformed directory")]
    Malformed,
    /// A call has not come back in time and is not waited for any longer, or was not made because
    /// others to the same file system have not.
    #[error("the file system does not answer")]
    Stalled,
    /// What was listed as something else is a directory, so nobody has looked into it.
    #[error("listed as something else, and is a directory now: what is in it was not read")]
    KindChanged,
    /// A directory that is one of those above it.
    #[error("the directory is one of those above it")]
    Loop,
    /// A file to be read is not the one that was looked at, or was written to since, or while it was read.
    #[error("the file was replaced or written to since it was looked at")]
    ContentChanged,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 10] = [
        Fault::Replaced,
        Fault::Cancelled,
        Fault::NotRegular,
        Fault::ReaddirLoop,
        Fault::TooManyEntries,
        Fault::Malformed,
        Fault::Stalled,
        Fault::KindChanged,
        Fault::Loop,
        Fault::ContentChanged,
    ];

    /// A symbolic name in the manner of `errno`: `"REPLACED"`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Fault::Replaced => "REPLACED",
            Fault::Cancelled => "CANCELLED",
            Fault::NotRegular => "NOT_REGULAR",
            Fault::ReaddirLoop => "READDIR_LOOP",
            Fault::TooManyEntries => "TOO_MANY_ENTRIES",
            Fault::Malformed => "MALFORMED",
            Fault::Stalled => "STALLED",
            Fault::KindChanged => "KIND_CHANGED",
            Fault::Loop => "LOOP",
            Fault::ContentChanged => "CONTENT_CHANGED",
        }
    }

    /// The fault that an error carries, if it carries one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Fault> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        let kind = match fault {
            Fault::Replaced => io::ErrorKind::StaleNetworkFileHandle,
            Fault::Cancelled => io::ErrorKind::Interrupted,
            Fault::NotRegular => io::ErrorKind::InvalidInput,
            Fault::ReaddirLoop | Fault::Malformed | Fault::ContentChanged => {
                io::ErrorKind::InvalidData
            }
            Fault::Stalled => io::ErrorKind::TimedOut,
            Fault::KindChanged => io::ErrorKind::NotADirectory,
            Fault::Loop | Fault::TooManyEntries => io::ErrorKind::Other,
        };
        io::Error::new(kind, fault)
    }
}

/// Whether a wait ended because the caller's `cancelled` said so.
#[must_use]
pub fn is_cancelled(error: &io::Error) -> bool {
    Fault::of(error) == Some(Fault::Cancelled)
}

/// Whether a directory turned out to be another one than before.
#[must_use]
pub fn is_replaced(error: &io::Error) -> bool {
    Fault::of(error) == Some(Fault::Replaced)
}
