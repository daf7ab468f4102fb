//! Metadata for many names of one directory, without anything else of this crate.
//!
//! The interface for programs that list directories themselves. The batch is spread over threads
//! with the feature `parallel`; results and their order are the same without it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::{Backend, BackendChoice, Fields, Handle, Metadata, NameBuf, select};

/// An open directory whose entries are statted by name.
#[derive(Debug)]
pub struct DirectoryStatBatch {
    backend: Arc<dyn Backend>,
    handle: Handle,
}

impl DirectoryStatBatch {
    /// Opens the directory at `path`, following symbolic links.
    ///
    /// # Errors
    /// What the system says; `Unsupported` if there is no backend for this system.
    pub fn open(path: &Path) -> io::Result<DirectoryStatBatch> {
        let backend = select(BackendChoice::Auto)
            .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        let handle = backend.open_root(path)?;
        Ok(DirectoryStatBatch { backend, handle })
    }

    /// The metadata of the entry `name`, with every field that the file system has. The empty name
    /// stands for the directory itself.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if `name` is not a single component.
    pub fn stat_relative(&self, name: &OsStr, follow_symlinks: bool) -> io::Result<Metadata> {
        let name = NameBuf::new(name.as_encoded_bytes())?;
        self.backend
            .stat(&self.handle, name.as_name(), Fields::ALL, follow_symlinks)
    }

    /// The metadata of each of `names`, in their order, each as
    /// [`DirectoryStatBatch::stat_relative`] gives it.
    ///
    /// With the feature `parallel` this runs on the current rayon pool.
    #[must_use]
    pub fn stat_batch_relative(
        &self,
        names: &[OsString],
        follow_symlinks: bool,
    ) -> Vec<io::Result<Metadata>> {
        map(names, |name| self.stat_relative(name, follow_symlinks))
    }
}

/// Applies `stat` to each name, on threads.
#[cfg(feature = "parallel")]
fn map(
    names: &[OsString],
    stat: impl Fn(&OsString) -> io::Result<Metadata> + Sync + Send,
) -> Vec<io::Result<Metadata>> {
    use rayon::prelude::*;

    // A microsecond each in a hot cache: handing over fewer at a time would cost more than it
    // saves.
    const SHARE: usize = 32;

    names.par_iter().with_min_len(SHARE).map(stat).collect()
}

/// Applies `stat` to each name, one after another.
#[cfg(not(feature = "parallel"))]
fn map(
    names: &[OsString],
    stat: impl Fn(&OsString) -> io::Result<Metadata> + Sync + Send,
) -> Vec<io::Result<Metadata>> {
    names.iter().map(stat).collect()
}

/// Whether this system has `statx(2)` and lets this process use it. Asks the kernel each time.
#[must_use]
pub fn has_statx_support() -> bool {
    #[cfg(target_os = "linux")]
    return crate::statx::is_available();
    #[cfg(not(target_os = "linux"))]
    false
}

/// The metadata of the entry at `path`, with every field that the file system has.
///
/// Uses `statx(2)`, or `fstatat(2)` where the system lacks it.
///
/// # Errors
/// What the system says; `InvalidInput` if the path holds a NUL byte.
#[cfg(unix)]
pub fn statx(path: &Path, follow_symlinks: bool) -> io::Result<Metadata> {
    let c_path = crate::relative::c_path(path)?;
    if c_path.is_empty() {
        // The calls below take the empty name for the current directory.
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    #[cfg(target_os = "linux")]
    if has_statx_support() {
        return crate::statx::stat_at(libc::AT_FDCWD, &c_path, Fields::ALL, follow_symlinks);
    }
    crate::fstatat::stat_at(libc::AT_FDCWD, &c_path, Fields::ALL, follow_symlinks)
}

/// The metadata of the entry at `path`, with every field that the file system has.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub fn statx(path: &Path, follow_symlinks: bool) -> io::Result<Metadata> {
    crate::nt::stat_path(path, Fields::ALL, follow_symlinks)
}

/// The metadata of the entry at `path`: not on this system.
///
/// # Errors
/// `Unsupported`.
#[cfg(not(any(unix, windows)))]
pub fn statx(_path: &Path, _follow_symlinks: bool) -> io::Result<Metadata> {
    Err(io::ErrorKind::Unsupported.into())
}
