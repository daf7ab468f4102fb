//! A directory of which the cache has seen something in this run and not yet everything: what was remembered of it, what
//! of that was seen again, and what is to be remembered anew.
//!
//! One thing must stay true: what was not seen keeps what is remembered of it, unless the directory was read whole and
//! every entry of it came by. Then it is gone, or the job leaves it out now.

use std::sync::Arc;

use statline_pipeline::StageError;
use statline_platform::{DirNode, FileId, Kind, Metadata, NameBuf};

use super::judge::Judge;
use crate::left_out::LeftOut;
use crate::store::directory::{Directory, DirectoryWriter, Fresh, Remembered};
use crate::store::{Key, Root, Store, StoreError};
use crate::{Change, Row};

/// How a directory ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The entries that it has.
    pub(super) entries: u64,
    /// Whether it was read whole.
    pub(super) is_complete: bool,
}

/// What is known of a directory before it is closed.
pub(super) struct OpenDirectory {
    pub(super) directory: Arc<DirNode>,
    pub(super) root: Root,
    key: Key,
    /// What was remembered before the run; not there while nothing of it is needed.
    before: Option<Vec<u8>>,
    /// Which of the entries in it were seen, a bit for each.
    seen: Vec<u64>,
    fresh: Fresh,
    /// Whether something of it has been written in this run.
    is_written: bool,
    pub(super) rows: u64,
    pub(super) end: Option<End>,
    /// Directories in place of which something else was seen.
    replaced: Vec<NameBuf>,
    /// Files whose contents are no longer those of an entry here.
    files: Vec<FileId>,
}

/// What became of a directory that was closed.
#[derive(Default)]
pub(super) struct Closed {
    /// Directories that are something else now.
    pub(super) replaced: Vec<NameBuf>,
    /// Files whose contents are no longer those of an entry here.
    pub(super) files: Vec<FileId>,
    pub(super) was_written: bool,
    /// Entries that are too many to be remembered.
    pub(super) forgotten: u64,
}

impl OpenDirectory {
    /// The entries of a directory, or, at the `top`, the root itself.
    pub(super) fn new(directory: &Arc<DirNode>, root: Root, top: bool) -> OpenDirectory {
        OpenDirectory {
            directory: Arc::clone(directory),
            root,
            key: match top {
                true => Key::top(root),
                false => Key::of(root, directory),
            },
            before: None,
            seen: Vec::new(),
            fresh: Fresh::default(),
            is_written: false,
            rows: 0,
            end: None,
            replaced: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Fetches what was remembered before the run, if that is not there.
    pub(super) fn recall(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.before.is_none() {
            let mut value = Vec::new();
            store.directory_before(&self.key, &mut value)?;
            // What cannot be read is as good as nothing: then everything is new.
            let count = match Directory::read(&value) {
                Some(directory) => directory.len(),
                None => {
                    value.clear();
                    0
                }
            };
            self.seen.resize(count.div_ceil(64), 0);
            if self.fresh.is_empty() {
                self.fresh = Fresh::into(&Directory::read(&value).unwrap_or_default());
            }
            self.before = Some(value);
        }
        Ok(())
    }

    /// Marks the rows of this directory in a batch.
    pub(super) fn mark<'a>(
        &mut self,
        rows: impl Iterator<Item = Row<'a>>,
        judge: &Judge<'_>,
        changes: &mut Vec<Change>,
    ) {
        let nothing = Metadata::default();
        let before = self.before.as_deref().unwrap_or_default();
        let before = Directory::read(before).unwrap_or_default();
        for row in rows {
            self.rows += 1;
            let name = row.name.as_bytes();
            let now = row.metadata.unwrap_or(&nothing);
            let found = before.find(name);
            let remembered = found.and_then(|at| before.get(at));
            if let Some(at) = found {
                self.seen[at / 64] |= 1 << (at % 64);
            }
            let (change, update) = judge.judge(remembered.as_ref(), now, row.remembered);
            changes.push(change);
            let Some(update) = update else { continue };
            self.fresh.push(name, &update);
            if let Some(remembered) = remembered {
                note_replaced(&remembered.metadata, now, name, &mut self.replaced);
                let file = contents_of(&remembered.metadata);
                if file.is_some() && file != contents_of(now) {
                    self.files.extend(file);
                }
            }
        }
    }

    /// Whether all has come that will.
    pub(super) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| end.entries == self.rows)
    }

    /// Writes down what was seen. Entries are gone only if the directory was read whole and all of it came by; `gone` is
    /// told of each, with what was remembered of it.
    pub(super) fn close(
        &mut self,
        store: &Store,
        left_out: &LeftOut,
        mut gone: impl FnMut(&NameBuf, &Remembered) -> Result<(), StageError>,
    ) -> Result<Closed, StageError> {
        let mut closed = Closed::default();
        let is_whole = self.is_finished() && self.end.is_some_and(|end| end.is_complete);
        if is_whole && self.before.is_none() {
            self.recall(store)?;
        }
        self.fresh.sort();
        let before = self.before.take().unwrap_or_default();
        let before = Directory::read(&before).unwrap_or_default();
        let all_seen = || {
            let seen: u32 = self.seen.iter().map(|bits| bits.count_ones()).sum();
            seen as usize == before.len()
        };
        if (is_whole && !all_seen()) || !self.fresh.is_empty() {
            let mut now = Vec::new();
            // Another node of the same directory may have been closed before, so it is not only this one's doing.
            let is_written = store.directory_now(&self.key, &mut now)?;
            let now = Directory::read(&now)
                .filter(|_| is_written)
                .unwrap_or_default();
            let mut merge = Merge {
                before: &before,
                seen: &self.seen,
                is_whole,
                gone: Vec::new(),
            };
            merge.find_gone(&now, &self.fresh, &self.directory, left_out);
            if !merge.gone.is_empty() || !self.fresh.is_empty() {
                let mut value = Vec::new();
                if !merge.write(&now, &self.fresh, &mut value) {
                    closed.forgotten = (now.len() + self.fresh.len()) as u64;
                }
                store.put_directory(&self.key, &value)?;
                self.is_written = true;
                closed.was_written = true;
            }
            for &at in &merge.gone {
                if let (Some(name), Some(entry)) = (now.name(at), now.get(at))
                    && let Ok(name) = NameBuf::new(name)
                {
                    self.files.extend(contents_of(&entry.metadata));
                    gone(&name, &entry)?;
                }
            }
        }
        self.fresh = Fresh::default();
        closed.replaced = std::mem::take(&mut self.replaced);
        closed.files = std::mem::take(&mut self.files);
        Ok(closed)
    }

    /// The memory that it takes beyond a few hundred bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.before.as_ref().map_or(0, Vec::capacity) + self.fresh.heap_bytes()
    }
}

/// Notes an entry that was a directory and is something else: what it held is gone with it.
fn note_replaced(before: &Metadata, now: &Metadata, name: &[u8], replaced: &mut Vec<NameBuf>) {
    let is_other = now.kind().is_some_and(|kind| kind != Kind::Directory);
    if before.kind() == Some(Kind::Directory) && is_other {
        replaced.extend(NameBuf::new(name));
    }
}

/// The file whose contents an entry stands for.
pub(super) fn contents_of(metadata: &Metadata) -> Option<FileId> {
    metadata
        .file_id()
        .filter(|_| metadata.kind() == Some(Kind::File))
}

/// What was remembered, what was seen, and what comes of both.
struct Merge<'a> {
    before: &'a Directory<'a>,
    seen: &'a [u64],
    is_whole: bool,
    /// The places of the entries that are gone, in order.
    gone: Vec<usize>,
}

impl Merge<'_> {
    /// Finds the entries that are remembered now and are gone.
    fn find_gone(
        &mut self,
        now: &Directory<'_>,
        fresh: &Fresh,
        directory: &DirNode,
        left_out: &LeftOut,
    ) {
        if !self.is_whole {
            return;
        }
        let mut patterns = None;
        let mut next = 0;
        for at in 0..now.len() {
            let Some(name) = now.name(at) else { continue };
            while next < fresh.len() && fresh.name(next) < name {
                next += 1;
            }
            let is_fresh = next < fresh.len() && fresh.name(next) == name;
            if is_fresh || self.was_seen(now, at, name) {
                continue;
            }
            let kind = now.get(at).and_then(|entry| entry.metadata.kind());
            let Ok(owned) = NameBuf::new(name) else {
                continue;
            };
            let patterns = patterns.get_or_insert_with(|| left_out.of_directory(directory));
            if !patterns.match_entry(owned.as_name(), kind == Some(Kind::Directory)) {
                self.gone.push(at);
            }
        }
    }

    /// Whether an entry that is remembered now came by in this run.
    fn was_seen(&self, now: &Directory<'_>, at: usize, name: &[u8]) -> bool {
        // As a rule nothing was written yet, and places are the same.
        let same = now.len() == self.before.len() && self.before.name(at) == Some(name);
        let place = match same {
            true => Some(at),
            false => self.before.find(name),
        };
        match place {
            Some(place) => self.seen[place / 64] & 1 << (place % 64) != 0,
            // It was written in this run.
            None => true,
        }
    }

    /// Puts the value together. Returns whether everything is in it.
    fn write(&self, now: &Directory<'_>, fresh: &Fresh, value: &mut Vec<u8>) -> bool {
        let mut writer = DirectoryWriter::after(now, fresh);
        let mut gone = self.gone.iter().copied().peekable();
        let mut next = 0;
        for at in 0..now.len() {
            let Some(name) = now.name(at) else { continue };
            while next < fresh.len() && fresh.name(next) < name {
                writer.add(fresh, next);
                next += 1;
            }
            if gone.next_if_eq(&at).is_some() {
                continue;
            }
            if next < fresh.len() && fresh.name(next) == name {
                writer.add(fresh, next);
                next += 1;
            } else {
                writer.copy(now, at);
            }
        }
        (next..fresh.len()).for_each(|at| writer.add(fresh, at));
        writer.finish(value)
    }
}
