//! Names with their metadata: what `stat` makes and all later stages work on.

use std::ops::Range;
use std::sync::Arc;

use statline_pipeline::Message;
use statline_platform::{DirNode, Kind, Metadata, Timestamp};

use crate::entry_batch::{DirectoryEnd, EntryBatch};
use crate::row::{Columns, Row, RowIter, Rows};
use crate::{ContentHash, FieldSet, Former};

/// What a stage has found out about an entry by comparing it: with what a cache remembers, or with another scan.
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
    /// It was there and is gone: the record tells what it was. Whoever counts what there is does not count it.
    Deleted,
    /// The new one of two scans has it, the old one does not.
    Added,
    /// The old one of two scans has it, the new one does not: the record tells what it was.
    Removed,
    /// Both have it, under different paths.
    Renamed,
    /// One of two scans has it, and the other has not looked everywhere where it could be.
    Unknown,
    /// It is missing on the destination.
    Copy,
    /// The destination has another state of it.
    Update,
    /// The destination has it, the source does not.
    Delete,
}

impl Change {
    /// Every mark, in the order of sorts.
    pub const ALL: [Change; 11] = [
        Change::New,
        Change::Changed,
        Change::Unchanged,
        Change::Deleted,
        Change::Added,
        Change::Removed,
        Change::Renamed,
        Change::Unknown,
        Change::Copy,
        Change::Update,
        Change::Delete,
    ];

    /// The mark as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Unchanged => "unchanged",
            Change::Deleted => "deleted",
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Renamed => "renamed",
            Change::Unknown => "unknown",
            Change::Copy => "copy",
            Change::Update => "update",
            Change::Delete => "delete",
        }
    }
}

/// What stages have found out about a record beyond its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) change: Option<Change>,
    pub(crate) remembered: bool,
}

/// A few bytes for each row, packed: the targets of symbolic links, or paths. A row without any has none of them.
#[derive(Clone, Debug, Default)]
struct ByteColumn {
    bytes: Vec<u8>,
    /// Where the bytes of each row end; they begin where those before end.
    ends: Vec<u32>,
}

impl ByteColumn {
    fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)? as usize;
        let start = row
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        (start < end).then(|| &self.bytes[start..end])
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("4 GiB of targets or paths in one batch"));
    }

    fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

/// What records were on the other side of a comparison.
#[derive(Clone, Debug, Default)]
struct Formers {
    fixed: Vec<(FieldSet, Option<u64>)>,
    paths: ByteColumn,
}

impl Formers {
    fn get(&self, row: usize) -> Former<'_> {
        let Some(&(differs, size)) = self.fixed.get(row) else {
            return Former::default();
        };
        Former {
            differs,
            size,
            path: self.paths.get(row),
        }
    }

    /// Adds that of the row `at`; those of rows before that have none are empty.
    fn push(&mut self, at: usize, former: &Former<'_>) {
        let Former {
            differs,
            size,
            path,
        } = *former;
        self.fixed.resize(at, (FieldSet::EMPTY, None));
        self.fixed.push((differs, size));
        let end = self.paths.ends.last().copied().unwrap_or_default();
        self.paths.ends.resize(at, end);
        self.paths.push(path.unwrap_or_default());
    }
}

/// Entries with their metadata.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    entries: EntryBatch,
    /// One for each entry.
    metadata: Vec<Metadata>,
    /// One for each entry, or none at all.
    targets: Option<ByteColumn>,
    /// One for each entry, or none at all.
    notes: Vec<Note>,
    /// One for each entry, or none at all.
    hashes: Vec<Option<ContentHash>>,
    /// One for each entry, or none at all.
    formers: Formers,
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
            notes: Vec::new(),
            hashes: Vec::new(),
            formers: Formers::default(),
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
        let mut packed = ByteColumn::default();
        targets.for_each(|target| packed.push(target));
        assert_eq!(packed.ends.len(), self.len(), "each entry has its target");
        self.targets = Some(packed);
    }

    /// Marks the records.
    ///
    /// # Panics
    /// If there is not one mark for each record.
    pub fn set_changes(&mut self, changes: &[Change]) {
        assert_eq!(changes.len(), self.len(), "each record has its mark");
        self.notes.resize(changes.len(), Note::default());
        for (note, &change) in self.notes.iter_mut().zip(changes) {
            note.change = Some(change);
        }
    }

    /// Notes which records are what an earlier run saw, and were not looked at by this one.
    ///
    /// # Panics
    /// If it is not said of each record.
    pub fn set_remembered(&mut self, remembered: &[bool]) {
        assert_eq!(remembered.len(), self.len(), "it is said of each record");
        self.notes.resize(remembered.len(), Note::default());
        for (note, &remembered) in self.notes.iter_mut().zip(remembered) {
            note.remembered = remembered;
        }
    }

    /// Sets the digests of the contents, of those records that have one.
    ///
    /// # Panics
    /// If there is not one for each record.
    pub fn set_hashes(&mut self, hashes: Vec<Option<ContentHash>>) {
        assert_eq!(hashes.len(), self.len(), "each record has its digest");
        self.hashes = hashes;
    }

    /// No record of this batch was looked at before; `None` if nobody noted it.
    pub fn looked_at(&self) -> Option<Timestamp> {
        self.entries.looked_at()
    }

    /// Notes that some of the records may have been looked at as early as this.
    pub(crate) fn note_looked_at(&mut self, time: Timestamp) {
        self.entries.note_looked_at(time);
    }

    /// Appends a record.
    pub fn push_row(&mut self, row: &Row<'_>) {
        let metadata = row.metadata.cloned().unwrap_or_default();
        let note = Note {
            change: row.change,
            remembered: row.remembered,
        };
        let name = row.name.as_bytes();
        let before = self.push_entry(row.directory, name, row.kind, metadata);
        self.push_columns(before, row.target, note, row.hash, &row.former);
    }

    /// Appends an entry and its metadata; returns its place.
    pub(crate) fn push_entry(
        &mut self,
        directory: &Arc<DirNode>,
        name: &[u8],
        kind: Option<Kind>,
        metadata: Metadata,
    ) -> usize {
        let at = self.len();
        self.entries
            .extend(directory, |entries| entries.push(name, kind, 0));
        self.metadata.push(metadata);
        at
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
        if let Some(looked_at) = other.looked_at() {
            self.entries.note_looked_at(looked_at);
        }
        if !other.has_columns() && !self.has_columns() {
            return;
        }
        for (offset, row) in range.enumerate() {
            let note = other.note(row);
            let hash = other.hash(row);
            let former = other.former(row);
            self.push_columns(before + offset, other.target(row), note, hash, &former);
        }
    }

    /// Whether any of the optional columns is there.
    fn has_columns(&self) -> bool {
        self.targets.is_some()
            || !self.notes.is_empty()
            || !self.hashes.is_empty()
            || !self.formers.fixed.is_empty()
    }

    /// Adds the optional columns of the row `at`, which is the next one they lack.
    pub(crate) fn push_columns(
        &mut self,
        at: usize,
        target: Option<&[u8]>,
        note: Note,
        hash: Option<&ContentHash>,
        former: &Former<'_>,
    ) {
        if target.is_some() && self.targets.is_none() {
            let mut targets = ByteColumn::default();
            targets.ends.resize(at, 0);
            self.targets = Some(targets);
        }
        if let Some(targets) = &mut self.targets {
            targets.push(target.unwrap_or_default());
        }
        if note != Note::default() || !self.notes.is_empty() {
            self.notes.resize(at, Note::default());
            self.notes.push(note);
        }
        if hash.is_some() || !self.hashes.is_empty() {
            self.hashes.resize(at, None);
            self.hashes.push(hash.copied());
        }
        if *former != Former::default() || !self.formers.fixed.is_empty() {
            self.formers.push(at, former);
        }
    }

    /// Keeps the records that `keep` chooses, and the ends of directories.
    pub fn retain(&mut self, mut keep: impl FnMut(&Row<'_>) -> bool) {
        let kept: Vec<bool> = self.rows().map(|row| keep(&row)).collect();
        if kept.iter().all(|&keep| keep) {
            return;
        }
        let mut rest = RecordBatch::default();
        if let Some(looked_at) = self.looked_at() {
            rest.entries.note_looked_at(looked_at);
        }
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
        self.row_in(self.entries.group_of(index).0, index)
    }

    /// One record, of which the directory is known.
    pub(crate) fn row_in<'a>(&'a self, directory: &'a Arc<DirNode>, index: usize) -> Row<'a> {
        let entries = self.entries.entries();
        let metadata = &self.metadata[index];
        let note = self.note(index);
        Row {
            directory,
            name: entries.name(index),
            kind: metadata.kind().or_else(|| entries.kind(index)),
            metadata: Some(metadata),
            target: self.target(index),
            change: note.change,
            remembered: note.remembered,
            hash: self.hash(index),
            former: self.former(index),
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

    /// Drops everything in it and keeps the memory for more, that of columns that not every batch has left out.
    pub(crate) fn clear(&mut self) {
        let RecordBatch {
            mut entries,
            mut metadata,
            ..
        } = std::mem::take(self);
        entries.clear();
        metadata.clear();
        *self = RecordBatch::new(entries, metadata);
    }

    /// The memory that the batch holds, in bytes. The directories' nodes are shared and not counted.
    pub fn heap_bytes(&self) -> usize {
        let targets = self.targets.as_ref();
        self.entries.heap_bytes()
            + self.metadata.capacity() * size_of::<Metadata>()
            + targets.map_or(0, ByteColumn::heap_bytes)
            + self.notes.capacity() * size_of::<Note>()
            + self.hashes.capacity() * size_of::<Option<ContentHash>>()
            + self.formers.fixed.capacity() * size_of::<(FieldSet, Option<u64>)>()
            + self.formers.paths.heap_bytes()
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

    pub(crate) fn note(&self, row: usize) -> Note {
        self.notes.get(row).copied().unwrap_or_default()
    }

    pub(crate) fn hash(&self, row: usize) -> Option<&ContentHash> {
        self.hashes.get(row).and_then(Option::as_ref)
    }

    pub(crate) fn former(&self, row: usize) -> Former<'_> {
        self.formers.get(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Field;
    use crate::fixtures::{child, root};
    use statline_platform::NameBuf;

    /// What a row holds in the columns that not every batch has.
    type Columns = (
        Option<Vec<u8>>,
        Option<Change>,
        bool,
        Option<ContentHash>,
        Differing,
    );

    /// What a row holds of the other side.
    type Differing = (FieldSet, Option<u64>, Option<Vec<u8>>);

    fn columns(row: &Row<'_>) -> Columns {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let former = &row.former;
        (
            bytes(row.target),
            row.change,
            row.remembered,
            row.hash.copied(),
            (former.differs, former.size, bytes(former.path)),
        )
    }

    fn column() -> impl Strategy<Value = Columns> {
        let change = prop::sample::select(Change::ALL.to_vec());
        let fields = prop::sample::subsequence(Field::ALL.to_vec(), 0..3);
        let former = (
            fields.prop_map(|fields| fields.into_iter().collect()),
            prop::option::weighted(0.3, any::<u64>()),
            prop::option::weighted(0.3, prop::collection::vec(1u8.., 1..4)),
        );
        (
            prop::option::weighted(0.3, prop::collection::vec(1u8.., 1..4)),
            prop::option::weighted(0.3, change),
            prop::bool::weighted(0.2),
            prop::option::weighted(0.3, any::<[u8; 32]>().prop_map(ContentHash::from)),
            prop_oneof![2 => Just(Differing::default()), 1 => former],
        )
    }

    proptest! {
        #[test]
        fn columns_stay_with_their_rows_however_batches_are_cut_and_joined(
            rows in prop::collection::vec(column(), 0..12), cut in 0usize..12, kept in prop::collection::vec(any::<bool>(), 12),
        ) {
            let directory = child(&root("r"), b"d");
            let mut parts = [RecordBatch::default(), RecordBatch::default()];
            for (number, (target, change, remembered, hash, former)) in rows.iter().enumerate() {
                let name = NameBuf::new(number.to_string().as_bytes()).unwrap();
                parts[usize::from(number >= cut)].push_row(&Row {
                    directory: &directory,
                    name: name.as_name(),
                    kind: None,
                    metadata: None,
                    target: target.as_deref(),
                    change: *change,
                    remembered: *remembered,
                    hash: hash.as_ref(),
                    former: Former { differs: former.0, size: former.1, path: former.2.as_deref() },
                });
            }
            let mut all = RecordBatch::default();
            for part in &parts {
                for (directory, range) in part.entries().groups() {
                    all.append_range(directory, part, range);
                }
            }
            let read: Vec<Columns> = all.rows().map(|row| columns(&row)).collect();
            prop_assert_eq!(&read, &rows);
            let mut number = 0..;
            all.retain(|_| kept[number.next().unwrap_or(0)]);
            let read: Vec<Columns> = (0..all.len()).map(|row| columns(&all.row(row))).collect();
            let expected: Vec<Columns> = rows.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
