//! Metadata from a store in place of a call: for `max_age` of `stat`.
//!
//! One thing must stay true: what is taken from memory is young enough, was no guess when it was looked at, has all that
//! is asked for, and does not contradict what the directory says now.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statline_pipeline::{Counter, StageError};
use statline_platform::{DirNode, Fields, Metadata};

use crate::EntryBatch;
use crate::store::directory::{Directory, Remembered, milliseconds};
use crate::store::{Key, Root, Store};

/// What all workers of a stage go by.
#[derive(Clone)]
pub(crate) struct Recall {
    store: Arc<Store>,
    /// In milliseconds.
    max_age: i64,
    fields: Fields,
    remembered: Counter,
}

/// Why an entry is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was looked at too long ago, or in the future.
    TooOld,
    /// A change could have left the same times.
    NotSettled,
    /// Not all that is wanted was fetched then.
    LacksFields,
}

/// What is taken into account.
pub(crate) struct Terms {
    /// Milliseconds since the epoch.
    pub(crate) now: i64,
    /// In milliseconds.
    pub(crate) max_age: i64,
    pub(crate) fields: Fields,
}

impl Terms {
    /// Why what is remembered cannot stand for a look; `None` if it can.
    pub(crate) fn refuse(&self, entry: &Remembered) -> Option<Refusal> {
        let age = self.now.saturating_sub(entry.looked_at);
        if !(0..=self.max_age).contains(&age) {
            return Some(Refusal::TooOld);
        }
        if !entry.is_settled {
            return Some(Refusal::NotSettled);
        }
        match entry.metadata.fields().contains(self.fields) {
            true => None,
            false => Some(Refusal::LacksFields),
        }
    }
}

impl Recall {
    pub(crate) fn new(
        store: Arc<Store>,
        max_age: Duration,
        fields: Fields,
        remembered: Counter,
    ) -> Recall {
        store.count_ages();
        Recall {
            store,
            max_age: i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX),
            fields,
            remembered,
        }
    }

    pub(crate) fn worker(&self) -> Recaller {
        Recaller {
            recall: self.clone(),
            roots: HashMap::new(),
            key: Key::default(),
            value: Vec::new(),
        }
    }
}

/// The memory of one worker.
pub(crate) struct Recaller {
    recall: Recall,
    roots: HashMap<PathBuf, Option<Root>>,
    key: Key,
    value: Vec<u8>,
}

impl Recaller {
    /// Fills in what is remembered of the entries of one directory, and notes of which.
    pub(crate) fn recall(
        &mut self,
        batch: &EntryBatch,
        directory: &DirNode,
        entries: Range<usize>,
        metadata: &mut [Metadata],
        remembered: &mut Vec<bool>,
    ) -> Result<(), StageError> {
        let Some(root) = self.root(directory, batch.follows_links())? else {
            return Ok(());
        };
        self.key.set(root, directory);
        if !(self.recall.store).directory_before(&self.key, &mut self.value)? {
            return Ok(());
        }
        let known = Directory::read(&self.value).unwrap_or_default();
        let terms = Terms {
            now: milliseconds(SystemTime::now().into()),
            max_age: self.recall.max_age,
            fields: self.recall.fields,
        };
        let mut count = 0;
        for entry in entries {
            let name = batch.entries().name(entry);
            if name.is_empty() || !metadata[entry].fields().is_empty() {
                continue;
            }
            let found = known.find(name.as_bytes()).and_then(|at| known.get(at));
            let Some(found) = found else { continue };
            if terms.refuse(&found).is_none() && agrees(batch, entry, &found.metadata) {
                metadata[entry] = found.metadata;
                remembered.resize(batch.len(), false);
                remembered[entry] = true;
                count += 1;
            }
        }
        self.recall.remembered.add(count);
        Ok(())
    }

    fn root(
        &mut self,
        directory: &DirNode,
        follows_links: bool,
    ) -> Result<Option<Root>, StageError> {
        let path = directory.root_path();
        if let Some(root) = self.roots.get(path) {
            return Ok(*root);
        }
        let store = &self.recall.store;
        let root = store.root_before(&store.id_of(path, follows_links))?;
        self.roots.insert(path.to_owned(), root);
        Ok(root)
    }
}

/// Whether what a directory says of an entry agrees with what is remembered. A number that it does not tell is 0.
fn agrees(batch: &EntryBatch, entry: usize, metadata: &Metadata) -> bool {
    let entries = batch.entries();
    let kind = entries.kind(entry);
    let inode = entries.inode_hint(entry);
    let same_file = || metadata.file_id().is_none_or(|id| id.low() == inode);
    kind.is_some() && kind == metadata.kind() && (inode == 0 || same_file())
}
