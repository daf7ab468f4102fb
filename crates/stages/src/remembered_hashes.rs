//! The digests that earlier runs left in a store, and those that this one will.
//!
//! A file is known by its number below its root, and its digest holds as long as size and times are those of the file
//! that was read. One thing must stay true: a digest that is taken from here is the one that reading would give. So
//! nothing is kept of a file that had just been written to, nor on file systems whose times prove nothing.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statline_pipeline::{Counter, Opening, StageError};
use statline_platform::{DirNode, FileId, Filesystem, Metadata, Pinned};

use crate::cache::is_settled;
use crate::digester::Reading;
use crate::directories::Directories;
use crate::store::{Digest, Root, Store};
use crate::{ContentHash, Row};

/// So many new digests of one thread are written at a time.
const AT_ONCE: usize = 1024;

/// What a run knows of the contents of files without reading them.
pub(crate) struct RememberedHashes {
    store: Arc<Store>,
    directories: Arc<Directories>,
    taken: Counter,
    roots: Mutex<HashMap<PathBuf, Root>>,
    /// Whether a device dates changes.
    devices: Mutex<HashMap<u64, bool>>,
}

/// What one thread has found out and not yet written.
#[derive(Default)]
pub(crate) struct NewHashes(Vec<(Root, FileId, Digest)>);

impl RememberedHashes {
    /// Those in the store at `path`, which is committed when everything has been delivered.
    pub(crate) fn open(
        path: &Path,
        directories: &Arc<Directories>,
        stage: &mut Opening<'_>,
    ) -> Result<RememberedHashes, StageError> {
        let store = Store::of_run(stage, path)?;
        store.writer().commit_with(stage);
        Ok(RememberedHashes {
            store,
            directories: Arc::clone(directories),
            taken: stage.context().counter("remembered_hashes"),
            roots: Mutex::default(),
            devices: Mutex::default(),
        })
    }

    /// The digest of the file in a row, if an earlier run has read it and it looks the same since.
    pub(crate) fn find(&self, row: &Row<'_>) -> Result<Option<ContentHash>, StageError> {
        let Some((metadata, file)) = row
            .metadata
            .and_then(|found| Some((found, found.file_id()?)))
        else {
            return Ok(None);
        };
        let root = self.root(row.directory)?;
        let known = self.store.digest_before(root, file)?;
        let holds = known.filter(|digest| digest.is_of(metadata));
        self.taken.add(u64::from(holds.is_some()));
        Ok(holds.map(|digest| digest.hash))
    }

    /// How many digests were found.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Whether what is read on a device is worth keeping. `open` opens a directory there, once.
    pub(crate) fn is_worth_keeping(
        &self,
        device: u64,
        open: impl FnOnce() -> io::Result<Pinned>,
    ) -> bool {
        let known = lock(&self.devices).get(&device).copied();
        known.unwrap_or_else(|| {
            let filesystem = open().and_then(|directory| Filesystem::of(&directory));
            let Ok(filesystem) = filesystem else {
                return false;
            };
            let is_worth = is_worth_keeping_on(filesystem);
            lock(&self.devices).insert(device, is_worth);
            is_worth
        })
    }

    /// Keeps what was read of a file, unless it proves nothing later.
    pub(crate) fn keep(
        &self,
        new: &mut NewHashes,
        directory: &DirNode,
        reading: &Reading,
    ) -> Result<(), StageError> {
        let known = digest_of(reading).filter(|_| is_settled(&reading.file, reading.looked_at));
        let Some((file, digest)) = known else {
            return Ok(());
        };
        new.0.push((self.root(directory)?, file, digest));
        match new.0.len() >= AT_ONCE {
            true => self.write(new),
            false => Ok(()),
        }
    }

    /// Writes what a thread has found out.
    pub(crate) fn write(&self, new: &mut NewHashes) -> Result<(), StageError> {
        new.0
            .sort_unstable_by_key(|(root, file, _)| (root.0, *file));
        for of_root in new.0.chunk_by(|(a, ..), (b, ..)| a == b) {
            let digests = of_root
                .iter()
                .map(|(_, file, digest)| (*file, digest.clone()));
            self.store.put_digests(of_root[0].0, digests)?;
        }
        new.0.clear();
        Ok(())
    }

    fn root(&self, directory: &DirNode) -> Result<Root, StageError> {
        let path = directory.root_path();
        let mut roots = lock(&self.roots);
        if let Some(root) = roots.get(path) {
            return Ok(*root);
        }
        let follows_links = self.directories.follows_links();
        let root = self.store.root(&self.store.id_of(path, follows_links))?;
        roots.insert(path.to_owned(), root);
        Ok(root)
    }
}

/// Whether what is read on a file system can be known again.
fn is_worth_keeping_on(filesystem: Filesystem) -> bool {
    filesystem.profile().dates_changes
}

/// The digest that was read, with what proves later that it holds.
fn digest_of(reading: &Reading) -> Option<(FileId, Digest)> {
    let file: &Metadata = &reading.file;
    let digest = Digest {
        size: file.size()?,
        modified: file.modified()?,
        changed: file.changed()?,
        looked_at: reading.looked_at,
        hash: reading.hash,
    };
    Some((file.file_id()?, digest))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_where_times_prove_nothing() {
        let on = |path: &Path| is_worth_keeping_on(Filesystem::of_path(path).unwrap());
        let directory = tempfile::tempdir().unwrap();
        assert!(on(directory.path()));
        // Nobody dates what the kernel makes up.
        assert!(!on(Path::new("/proc")));
    }
}
