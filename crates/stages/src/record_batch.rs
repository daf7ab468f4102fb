//! Names with their metadata: what `stat` makes and all later stages work on.

use std::ops::Range;
use std::sync::Arc;

use statline_pipeline::Message;
use statline_platform::{DirNode, Metadata};

use crate::entry_batch::{DirectoryEnd, EntryBatch};
use crate::row::{Columns, Row, RowIter, Rows};

/// What the cache knows of an entry.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there before.
    New,
    /// It was there and is not what it was.
    Changed,
    /// It was there and is the same.
    Unchanged,
}

impl Change {
    /// The mark as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Unchanged => "unchanged",
        }
    }
}

/// The targets of symbolic links, packed; a row that is none has an empty one.
#[derive(Clone, Debug, Default)]
struct Targets {
    bytes: Vec<u8>,
    /// Where the target of each row ends; it begins where the one before ends.
    ends: Vec<u32>,
}

impl Targets {
    fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)? as usize;
        let start = row
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        (start < end).then(|| &self.bytes[start..end])
    }

    fn push(&mut self, target: &[u8]) {
        self.bytes.extend_from_slice(target);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("4 GiB of link targets in one batch"));
    }
}

/// Entries with their metadata.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    entries: EntryBatch,
    /// One for each entry.
    metadata: Vec<Metadata>,
    /// One for each entry, or none at all.
    targets: Option<Targets>,
    /// One for each entry, or none at all.
    changes: Vec<Change>,
}

impl RecordBatch {
    /// Joins entries with their metadata.
    ///
    /// # Panics
    /// If there is not one metadata for each entry.
    pub fn new(entries: EntryBatch, metadata: Vec<Metadata>) -> RecordBatch {
        assert_eq!(entries.len(), metadata.len(), "each entry has its metadata");
        RecordBatch {
            entries,
            metadata,
            targets: None,
            changes: Vec::new(),
        }
    }

    /// Room for so many records.
    pub fn with_capacity(records: usize) -> RecordBatch {
        RecordBatch::new(
            EntryBatch::with_capacity(records),
            Vec::with_capacity(records),
        )
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.metadata.len()
    }

    /// Whether there is neither a record nor the end of a directory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names.
    pub fn entries(&self) -> &EntryBatch {
        &self.entries
    }

    /// The metadata of all entries.
    pub fn metadata(&self) -> &[Metadata] {
        &self.metadata
    }

    /// Sets the target of each row, in the order of the rows; those of other kinds are empty.
    ///
    /// # Panics
    /// If there is not one for each entry.
    pub fn set_targets<'a>(&mut self, targets: impl Iterator<Item = &'a [u8]>) {
        let mut packed = Targets::default();
        targets.for_each(|target| packed.push(target));
        assert_eq!(packed.ends.len(), self.len(), "each entry has its target");
        self.targets = Some(packed);
    }

    /// Marks the records.
    ///
    /// # Panics
    /// If there is not one mark for each record.
    pub fn set_changes(&mut self, changes: Vec<Change>) {
        assert_eq!(changes.len(), self.len(), "each record has its mark");
        self.changes = changes;
    }

    /// Appends a record.
    pub fn push_row(&mut self, row: &Row<'_>) {
        let before = self.len();
        self.entries.extend(row.directory, |entries| {
            entries.push(row.name.as_bytes(), row.kind, 0);
        });
        self.metadata
            .push(row.metadata.cloned().unwrap_or_default());
        self.push_columns(before, row.target, row.change);
    }

    /// Appends some of the records of another batch, all from one directory.
    pub fn append_range(
        &mut self,
        directory: &Arc<DirNode>,
        other: &RecordBatch,
        range: Range<usize>,
    ) {
        let before = self.len();
        self.entries
            .append_range(directory, other.entries.entries(), range.clone());
        self.metadata
            .extend_from_slice(&other.metadata[range.clone()]);
        if other.targets.is_none()
            && self.targets.is_none()
            && other.changes.is_empty()
            && self.changes.is_empty()
        {
            return;
        }
        for (offset, row) in range.enumerate() {
            let target = other.targets.as_ref().and_then(|targets| targets.get(row));
            self.push_columns(before + offset, target, other.changes.get(row).copied());
        }
    }

    /// Adds the optional columns of the row `at`, which is the next one they lack.
    fn push_columns(&mut self, at: usize, target: Option<&[u8]>, change: Option<Change>) {
        if target.is_some() && self.targets.is_none() {
            let mut targets = Targets::default();
            targets.ends.resize(at, 0);
            self.targets = Some(targets);
        }
        if let Some(targets) = &mut self.targets {
            targets.push(target.unwrap_or_default());
        }
        match change {
            // The column is whole or absent: rows that came before without a mark had no cache in front of them.
            Some(change) => {
                self.changes.resize(at, Change::New);
                self.changes.push(change);
            }
            None if !self.changes.is_empty() => self.changes.push(Change::New),
            None => {}
        }
    }

    /// Keeps the records that `keep` chooses, and the ends of directories.
    pub fn retain(&mut self, mut keep: impl FnMut(&Row<'_>) -> bool) {
        let kept: Vec<bool> = self.rows().map(|row| keep(&row)).collect();
        if kept.iter().all(|&keep| keep) {
            return;
        }
        let mut rest = RecordBatch::default();
        for (directory, range) in self.entries.groups() {
            let mut start = range.start;
            while start < range.end {
                if !kept[start] {
                    start += 1;
                    continue;
                }
                let end = (start..range.end)
                    .find(|&row| !kept[row])
                    .unwrap_or(range.end);
                rest.append_range(directory, self, start..end);
                start = end;
            }
        }
        for end in self.entries.take_ends() {
            rest.push_end(end);
        }
        *self = rest;
    }

    /// One record. Whoever wants all of them is better served by [`rows`](Rows::rows), which does not look up the
    /// directory of each.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn row(&self, index: usize) -> Row<'_> {
        let entries = self.entries.entries();
        let metadata = &self.metadata[index];
        Row {
            directory: self.entries.group_of(index).0,
            name: entries.name(index),
            kind: metadata.kind().or_else(|| entries.kind(index)),
            metadata: Some(metadata),
            target: self.target(index),
            change: self.changes.get(index).copied(),
        }
    }

    /// Takes the ends of directories out.
    pub fn take_ends(&mut self) -> Vec<DirectoryEnd> {
        self.entries.take_ends()
    }

    /// Notes that no more entries of a directory will come.
    pub fn push_end(&mut self, end: DirectoryEnd) {
        self.entries.push_end(end);
    }

    /// The memory that the batch holds, in bytes. The directories' nodes are shared and not counted.
    pub fn heap_bytes(&self) -> usize {
        let targets = self.targets.as_ref();
        self.entries.heap_bytes()
            + self.metadata.capacity() * size_of::<Metadata>()
            + targets.map_or(0, |targets| {
                targets.bytes.capacity() + targets.ends.capacity() * size_of::<u32>()
            })
            + self.changes.capacity()
    }
}

impl Message for RecordBatch {
    fn items(&self) -> u64 {
        self.len() as u64
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.heap_bytes()
    }
}

impl Rows for RecordBatch {
    fn rows(&self) -> RowIter<'_> {
        RowIter::new(
            &self.entries,
            Columns {
                metadata: Some(&self.metadata),
                changes: &self.changes,
                batch: Some(self),
            },
        )
    }

    fn ends(&self) -> &[DirectoryEnd] {
        self.entries.ends()
    }
}

impl RecordBatch {
    pub(crate) fn target(&self, row: usize) -> Option<&[u8]> {
        self.targets.as_ref().and_then(|targets| targets.get(row))
    }
}
