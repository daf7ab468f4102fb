//! Metadata for many names of one directory, without anything else of this crate.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::{Backend, Handle, Metadata};

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
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<DirectoryStatBatch> {
        todo!("{}", path.display())
    }

    /// The metadata of the entry `name`.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if `name` is not a single component.
    pub fn stat_relative(&self, name: &OsStr, follow_symlinks: bool) -> io::Result<Metadata> {
        todo!(
            "{:?} {:?} {name:?} {follow_symlinks}",
            self.backend,
            self.handle
        )
    }

    /// The metadata of each of `names`, in their order.
    #[must_use]
    pub fn stat_batch_relative(
        &self,
        names: &[OsString],
        follow_symlinks: bool,
    ) -> Vec<io::Result<Metadata>> {
        todo!("{names:?} {follow_symlinks}")
    }
}

/// Whether this system has `statx(2)`.
#[must_use]
pub fn has_statx_support() -> bool {
    todo!()
}

/// The metadata of the entry at `path`, with every field that the file system has.
///
/// # Errors
/// What the system says.
pub fn statx(path: &Path, follow_symlinks: bool) -> io::Result<Metadata> {
    todo!("{} {follow_symlinks}", path.display())
}
