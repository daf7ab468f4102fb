//! Trees and file systems made for tests.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

/// A tree of everything that a scanner may meet, made by [`hostile_tree`]. Removed when dropped.
#[derive(Debug)]
pub struct HostileTree {
    root: PathBuf,
    paths: Vec<Vec<u8>>,
}

impl HostileTree {
    /// The directory that holds the tree.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of everything that was made, relative to the root.
    #[must_use]
    pub fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }
}

/// Makes the tree in `root`, which is created.
///
/// # Errors
/// If the system refuses anything that it should not.
pub fn hostile_tree(root: &Path) -> io::Result<HostileTree> {
    todo!("{}", root.display())
}
