//! The seam between statline and the system: what can be asked of an open directory.
//!
//! One file per way of asking (`statx.rs`, `fstatat.rs`, `io_uring.rs`, `nt.rs`); [`select`] picks one. Every call works on
//! an open directory and one name, so none of them can leave the tree through a path. Backends hold
//! no descriptors and no state but what they learned about the system.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Entries, Fields, Handle, Identity, Metadata, Name, io_uring};

/// A way to read directories and metadata.
///
/// An error carries what the system said ([`io::Error::raw_os_error`]) or a
/// [`Fault`](crate::Fault). Calls that were interrupted, or told to try again, are
/// repeated up to three times.
pub trait Backend: Send + Sync + Debug {
    /// The name that [`BackendChoice`] has for this backend.
    fn name(&self) -> &'static str;

    /// Opens the directory at `path`, the current one if it is empty. Symbolic links are followed: the user named it.
    ///
    /// # Errors
    /// If there is no such directory, or it must not be read.
    fn open_root(&self, path: &Path) -> io::Result<Handle>;

    /// Opens the directory `name` in `parent`. Without `follow` a symbolic link is refused
    /// (`ENOTDIR` or `ELOOP`).
    ///
    /// # Errors
    /// If there is no such directory, or it must not be read.
    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle>;

    /// What an open directory is.
    ///
    /// # Errors
    /// If the system cannot tell, which only network file systems come to.
    fn identify(&self, directory: &Handle) -> io::Result<Identity>;

    /// Makes [`Backend::read_names`] start again at the first entry.
    ///
    /// # Errors
    /// If the system refuses.
    fn rewind(&self, directory: &Handle) -> io::Result<()>;

    /// Appends the next entries of `directory` to `out`, as many as one call of the system gives,
    /// without `.` and `..`. Where that call gives metadata with the names, the entries have it, every
    /// field that it gives ([`Entries::metadata`]).
    ///
    /// Returns whether there may be more; false at the end. The position belongs to the handle: one
    /// thread at a time may list it.
    ///
    /// # Errors
    /// If the directory cannot be read any further. Entries appended before stay in `out`.
    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool>;

    /// Lets go of what the system keeps for listing a directory that has been listed to its end.
    /// Returns whether it did: then the handle serves for everything but listing.
    fn finish_listing(&self, directory: &Handle) -> bool {
        let _ = directory;
        false
    }

    /// The metadata of the entry `name`, of `directory` itself if the name is empty. Without
    /// `follow` a symbolic link is described, not its target. Only those of `fields` are filled
    /// that the file system has.
    ///
    /// # Errors
    /// `ENOENT` if the entry vanished, and whatever else the system says.
    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata>;

    /// How many calls one [`Backend::stat_each`] may have under way at a time: what a server sees
    /// of one thread. Never more than it has names to ask about.
    fn calls_at_once(&self) -> usize {
        1
    }

    /// As [`Backend::stat`] for the entries that `order` names by index, in that order. `sink` gets
    /// each index and its result once, each as soon as those before it were told.
    ///
    /// # Panics
    /// If `order` holds an index that `entries` does not have.
    fn stat_each(
        &self,
        directory: &Handle,
        entries: &Entries,
        order: &[u32],
        fields: Fields,
        follow: bool,
        sink: &mut dyn FnMut(u32, io::Result<Metadata>),
    ) {
        for &index in order {
            sink(
                index,
                self.stat(directory, entries.name(index as usize), fields, follow),
            );
        }
    }

    /// Appends the target of the symbolic link `name`, however long.
    ///
    /// # Errors
    /// `EINVAL` if the entry is no symbolic link, and whatever else the system says. `out` is as
    /// before then.
    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()>;

    /// Opens the regular file `name` for reading. Never waits for a pipe's other end, and leaves the
    /// access time alone where the system lets it. Without `follow` a symbolic link is refused
    /// (`ELOOP`).
    ///
    /// # Errors
    /// [`Fault::NotRegular`](crate::Fault) if the entry is no regular file, and whatever the system
    /// says.
    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File>;

    /// The metadata of an open file. Only those of `fields` are filled that `stat(2)` has.
    ///
    /// # Errors
    /// Whatever the system says, which only network file systems come to.
    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata>;

    /// What else a person may want to know of how it reads this directory, each with a name. For
    /// eyes: names and texts may change.
    fn details(&self, directory: &Handle) -> Vec<(&'static str, String)> {
        let _ = directory;
        Vec::new()
    }
}

/// Which backend a user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The fastest one that works here; on Linux the fastest call for what is asked. Never
    /// `IoUring`: more threads do the same, and what they do not reach, few servers bear.
    #[default]
    Auto,
    /// Linux 4.11 and later: getdents64 and statx.
    Statx,
    /// Any Unix: readdir and fstatat.
    Fstatat,
    /// Linux 5.6 and later, with the feature `io_uring`: as `Statx`, but up to 64 calls of one
    /// [`Backend::stat_each`] are under way at a time.
    IoUring,
    /// Windows: NtQueryDirectoryFile, which gives metadata with the names.
    Nt,
    /// Windows: the same for the names, and each file opened for its metadata. Slower; tells how many
    /// names a file has, and sizes that directories may be late with.
    NtExact,
}

impl BackendChoice {
    /// Every choice.
    pub const ALL: [BackendChoice; 6] = [
        BackendChoice::Auto,
        BackendChoice::Statx,
        BackendChoice::Fstatat,
        BackendChoice::IoUring,
        BackendChoice::Nt,
        BackendChoice::NtExact,
    ];

    /// The name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BackendChoice::Auto => "auto",
            BackendChoice::Statx => "statx",
            BackendChoice::Fstatat => "fstatat",
            BackendChoice::IoUring => "io_uring",
            BackendChoice::Nt => "nt",
            BackendChoice::NtExact => "nt-exact",
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for BackendChoice {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<BackendChoice, UnknownBackend> {
        BackendChoice::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| UnknownBackend(text.into()))
    }
}

/// A text that names no [`BackendChoice`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no backend is called \"{}\" (known: auto, statx, fstatat, io_uring, nt, nt-exact)", .0.escape_default())]
pub struct UnknownBackend(String);

/// A backend was asked for that this system does not have.
#[derive(Debug, thiserror::Error)]
#[error("the backend {choice} is not available here: {reason}")]
pub struct BackendUnavailable {
    choice: BackendChoice,
    reason: Cow<'static, str>,
}

impl BackendUnavailable {
    /// Why this system does not have it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The backend for `choice`. `Auto` and `IoUring` find out by a real call.
///
/// # Errors
/// If this system does not have it.
pub fn select(choice: BackendChoice) -> Result<Arc<dyn Backend>, BackendUnavailable> {
    let backend = match choice {
        BackendChoice::Auto => statx(true)
            .or_else(|_| fstatat())
            .or_else(|_| nt(false))
            .map_err(Cow::from),
        BackendChoice::Statx => statx(false).map_err(Cow::from),
        BackendChoice::Fstatat => fstatat().map_err(Cow::from),
        BackendChoice::IoUring => io_uring::probe().map_err(Cow::from),
        BackendChoice::Nt => nt(false).map_err(Cow::from),
        BackendChoice::NtExact => nt(true).map_err(Cow::from),
    };
    backend.map_err(|reason| BackendUnavailable { choice, reason })
}

#[cfg(target_os = "linux")]
fn statx(with_fstatat: bool) -> Result<Arc<dyn Backend>, &'static str> {
    use crate::statx::{Statx, is_available};
    if is_available() {
        match with_fstatat {
            true => Ok(Arc::new(Statx::with_fstatat())),
            false => Ok(Arc::new(Statx::default())),
        }
    } else {
        Err("the kernel is older than 4.11, or a filter forbids the call")
    }
}

#[cfg(not(target_os = "linux"))]
fn statx(_with_fstatat: bool) -> Result<Arc<dyn Backend>, &'static str> {
    Err("only Linux has it")
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "its twin for other systems fails")]
fn fstatat() -> Result<Arc<dyn Backend>, &'static str> {
    Ok(Arc::new(crate::fstatat::Fstatat))
}

#[cfg(not(unix))]
fn fstatat() -> Result<Arc<dyn Backend>, &'static str> {
    Err("only Unix has it")
}

#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "its twin for other systems fails")]
fn nt(exact: bool) -> Result<Arc<dyn Backend>, &'static str> {
    Ok(Arc::new(match exact {
        true => crate::Nt::exact(),
        false => crate::Nt::new(),
    }))
}

#[cfg(not(windows))]
fn nt(_exact: bool) -> Result<Arc<dyn Backend>, &'static str> {
    Err("only Windows has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip_through_their_names() {
        for choice in BackendChoice::ALL {
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        assert!("Statx".parse::<BackendChoice>().is_err());
    }

    #[cfg(windows)]
    #[test]
    fn a_forced_backend_is_the_one_that_was_forced() {
        for choice in [BackendChoice::Nt, BackendChoice::NtExact] {
            assert_eq!(select(choice).unwrap().name(), choice.as_str());
        }
        assert_eq!(select(BackendChoice::Auto).unwrap().name(), "nt");
        let refused = select(BackendChoice::Statx).unwrap_err().to_string();
        assert!(refused.ends_with("only Linux has it"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_forced_backend_is_the_one_that_was_forced() {
        assert_eq!(select(BackendChoice::Fstatat).unwrap().name(), "fstatat");
        if let Ok(backend) = select(BackendChoice::Statx) {
            assert_eq!(backend.name(), "statx");
            assert_eq!(select(BackendChoice::Auto).unwrap().name(), "statx");
        }
        match select(BackendChoice::IoUring) {
            Ok(backend) => assert_eq!(backend.name(), "io_uring"),
            Err(error) => assert!(!error.reason().is_empty()),
        }
    }
}
