//! Directory handles counted against a budget, evictable, and reopened from an ancestor by node.

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::{Backend, DirNode, Entries, Handle};

/// The open directories of one scan, never more than a budget. Clones share them.
#[derive(Clone, Debug)]
pub struct Handles {
    backend: Arc<dyn Backend>,
}

/// What a [`Handles`] did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleStats {
    /// Descriptors in use now.
    pub open: usize,
    /// The most that were in use at a time.
    pub peak: usize,
    /// Directories opened for the first time.
    pub opened: u64,
    /// Directories opened again after their handle had been evicted.
    pub reopened: u64,
    /// Handles closed to make room.
    pub evicted: u64,
}

/// Half of the process's soft limit of open files, at most 4,096, at least 8.
#[must_use]
pub fn default_budget() -> usize {
    todo!()
}

impl Handles {
    /// Keeps at most `budget` directories open, and at least four.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, budget: usize) -> Handles {
        todo!("{backend:?} {budget}")
    }

    /// The backend that opens the directories.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Opens a root and makes its node.
    ///
    /// # Errors
    /// What the system says of the path.
    pub fn open_root(&self, path: &Path) -> io::Result<Arc<DirNode>> {
        todo!("{}", path.display())
    }

    /// The open directory of `node`, opened if need be, kept open until the result is dropped.
    ///
    /// While it waits for a descriptor it calls `cancelled` at least every 20 ms. A thread that holds a [`Pinned`] must not wait for
    /// anything that another thread's pin may hold up, another pin included.
    ///
    /// # Errors
    /// What the system says; [`Fault::Replaced`](crate::Fault) if the directory is another one than when it was first opened;
    /// [`Fault::Cancelled`](crate::Fault) if `cancelled` returned true. Never for a lack of descriptors.
    pub fn pin(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Pinned> {
        todo!("{node:?} {}", cancelled())
    }

    /// Starts listing `node` from its first entry.
    ///
    /// # Errors
    /// As [`Handles::pin`].
    pub fn list(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Listing> {
        todo!("{node:?} {}", cancelled())
    }

    /// Gives up a handle that turned out to be stale (`ESTALE`): the next [`Handles::pin`] opens the directory anew.
    pub fn discard(&self, pinned: Pinned) {
        drop(pinned);
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> HandleStats {
        todo!()
    }
}

/// An open directory that stays open while this exists.
#[derive(Debug)]
pub struct Pinned {
    handle: Arc<Handle>,
}

impl Deref for Pinned {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// A directory being listed. Holds one of a limited number of leases, and its handle.
#[derive(Debug)]
pub struct Listing {
    pinned: Pinned,
}

impl Listing {
    /// The open directory.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.pinned
    }

    /// Appends the next entries to `out`; false at the end. See [`Backend::read_names`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, out: &mut Entries) -> io::Result<bool> {
        todo!("{out:?}")
    }
}
