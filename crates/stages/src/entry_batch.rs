//! Names on their way from listing to stat: many entries of one or several directories in one message.
//!
//! One message carries what several small directories hold, because handing over a message can cost a wake-up of
//! another thread, which is dearer than reading ten names.

use std::ops::Range;
use std::sync::Arc;

use statline_pipeline::Message;
use statline_platform::{DirNode, Entries, Kind, Metadata, Timestamp};

use crate::row::{Columns, RowIter, Rows};

/// Why no more entries of a directory will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryStatus {
    /// It was read to its end.
    Complete,
    /// It could not be opened, or not be read to its end; an error record says why.
    Failed,
    /// It was not read because the job leaves it out: too deep, another file system, a pseudo file system.
    Excluded,
    /// It was gone before it could be read.
    Vanished,
}

/// The end of a directory, in-band: nobody has to infer from the absence of errors that it was read whole.
///
/// With several threads in between, the end can overtake entries of its directory. Who must know that a directory was
/// read whole compares [`entries`](DirectoryEnd::entries) with what it saw.
#[derive(Clone, Debug)]
pub struct DirectoryEnd {
    /// The directory.
    pub directory: Arc<DirNode>,
    /// How many entries it has: those that were sent, and those with an error record in place of a row. What is left out
    /// by pattern, and what vanished, does not count; nor do records of what was deleted, which a cache adds.
    pub entries: u64,
    /// How many of these are directories, as far as the directory told their kinds.
    pub directories: u64,
    /// How it ended.
    pub status: DirectoryStatus,
}

/// Consecutive entries of one directory in a batch.
#[derive(Clone, Debug)]
struct Group {
    directory: Arc<DirNode>,
    /// Where the group ends; it begins where the one before ends.
    end: u32,
}

/// Names of entries with what their directories tell of them: a kind as a rule, metadata on some systems.
#[derive(Clone, Debug, Default)]
pub struct EntryBatch {
    entries: Entries,
    groups: Vec<Group>,
    ends: Vec<DirectoryEnd>,
    follows_links: bool,
    is_urgent: bool,
    /// None of the metadata is older.
    looked_at: Option<Timestamp>,
}

impl EntryBatch {
    /// Room for so many entries.
    pub fn with_capacity(entries: usize) -> EntryBatch {
        EntryBatch {
            entries: Entries::with_capacity(entries),
            ..EntryBatch::default()
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is neither an entry nor the end of a directory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ends.is_empty()
    }

    /// Whether symbolic links stand for what they lead to.
    pub fn follows_links(&self) -> bool {
        self.follows_links
    }

    /// Sets whether symbolic links stand for what they lead to.
    pub fn set_follows_links(&mut self, follows: bool) {
        self.follows_links = follows;
    }

    /// Whether whoever fetches metadata should have it at once, as it is: the server that listed these names may be
    /// about to forget what it knows of them.
    pub fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Sets whether it should go on at once, as it is.
    pub fn set_urgent(&mut self, urgent: bool) {
        self.is_urgent = urgent;
    }

    /// When the first of the metadata in it was fetched; `None` if nobody noted it.
    pub fn looked_at(&self) -> Option<Timestamp> {
        self.looked_at
    }

    /// Notes that some of the metadata may have been fetched as early as this.
    pub fn note_looked_at(&mut self, time: Timestamp) {
        self.looked_at = Some(self.looked_at.map_or(time, |before| before.min(time)));
    }

    /// All entries, whatever directory they are in.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The directories that have entries here, each with the places of its entries.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<DirNode>, Range<usize>)> {
        let mut start = 0;
        self.groups.iter().map(move |group| {
            let range = start..group.end as usize;
            start = range.end;
            (&group.directory, range)
        })
    }

    /// The group at a place, and where its entries end.
    pub(crate) fn group(&self, at: usize) -> Option<(&Arc<DirNode>, usize)> {
        self.groups
            .get(at)
            .map(|group| (&group.directory, group.end as usize))
    }

    /// The directory of one entry, and the places of the entries of that directory that are next to it.
    ///
    /// # Panics
    /// If there is no such entry.
    pub(crate) fn group_of(&self, entry: usize) -> (&Arc<DirNode>, Range<usize>) {
        let at = self
            .groups
            .partition_point(|group| group.end as usize <= entry);
        let before = at.checked_sub(1).map(|before| &self.groups[before]);
        let group = &self.groups[at];
        let start = before.map_or(0, |before| before.end as usize);
        (&group.directory, start..group.end as usize)
    }

    /// The directories of which no more entries will come.
    pub fn ends(&self) -> &[DirectoryEnd] {
        &self.ends
    }

    /// Adds entries of `directory` through `add`, which may also refuse them by adding none.
    pub fn extend<R>(
        &mut self,
        directory: &Arc<DirNode>,
        add: impl FnOnce(&mut Entries) -> R,
    ) -> R {
        let before = self.entries.len();
        let result = add(&mut self.entries);
        if self.entries.len() > before {
            let end = u32::try_from(self.entries.len())
                .expect("a batch of four thousand million entries");
            match self.groups.last_mut() {
                Some(last) if Arc::ptr_eq(&last.directory, directory) => last.end = end,
                _ => self.groups.push(Group {
                    directory: Arc::clone(directory),
                    end,
                }),
            }
        }
        result
    }

    /// Adds some of the entries of another batch, all from one directory.
    pub fn append_range(&mut self, directory: &Arc<DirNode>, other: &Entries, range: Range<usize>) {
        self.extend(directory, |entries| entries.append_range(other, range));
    }

    /// Takes the metadata of all entries out, see [`Entries::take_metadata`].
    pub fn take_metadata(&mut self) -> Vec<Metadata> {
        self.entries.take_metadata()
    }

    /// Gives every entry its metadata, see [`Entries::put_metadata`].
    ///
    /// # Panics
    /// If there is not one for each entry.
    pub fn put_metadata(&mut self, metadata: Vec<Metadata>) {
        self.entries.put_metadata(metadata);
    }

    /// Notes the kind of an entry once it is known.
    pub fn set_kind(&mut self, index: usize, kind: Kind) {
        self.entries.set_kind(index, kind);
    }

    /// Notes that no more entries of a directory will come.
    pub fn push_end(&mut self, end: DirectoryEnd) {
        self.ends.push(end);
    }

    /// Takes the ends out.
    pub fn take_ends(&mut self) -> Vec<DirectoryEnd> {
        std::mem::take(&mut self.ends)
    }

    /// Drops everything in it and keeps the memory for more.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.groups.clear();
        self.ends.clear();
        self.follows_links = false;
        self.is_urgent = false;
        self.looked_at = None;
    }

    /// The memory that the batch holds, in bytes. The directories' nodes are shared and not counted.
    pub fn heap_bytes(&self) -> usize {
        self.entries.heap_bytes()
            + self.groups.capacity() * size_of::<Group>()
            + self.ends.capacity() * size_of::<DirectoryEnd>()
    }
}

impl Message for EntryBatch {
    fn items(&self) -> u64 {
        self.len() as u64
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.heap_bytes()
    }
}

impl Rows for EntryBatch {
    fn rows(&self) -> RowIter<'_> {
        RowIter::new(self, Columns::default())
    }

    fn ends(&self) -> &[DirectoryEnd] {
        &self.ends
    }
}
