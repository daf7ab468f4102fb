//! The names that a directory was read to hold, packed.
//!
//! What one or several reads of a directory return, and what the stages hand on: one buffer of
//! NUL-terminated names and one row of 16 bytes per entry, so that an entry costs no allocation.
//! The names of consecutive rows are always consecutive in the buffer: that is what lets
//! [`Entries::append_range`] copy a whole range at once.

use std::fmt;
use std::ops::Range;

use crate::{Kind, Metadata, Name};

/// Names of directory entries, with the kind and the inode number that the directory itself gives
/// for each.
///
/// Some systems list names and metadata in one call; then [`Entries::metadata`] has it already.
#[derive(Default, Clone)]
pub struct Entries {
    /// Every name with its NUL, in the order of the rows and without gaps.
    names: Vec<u8>,
    rows: Vec<Row>,
    /// Empty, or one for each row (one without fields where a row came without metadata).
    metadata: Vec<Metadata>,
    /// A bit for each kind that a row was given, as [`bit`] has it.
    kinds: u16,
}

#[derive(Clone, Copy)]
struct Row {
    inode: u64,
    offset: u32,
    /// Without the NUL.
    length: u16,
    kind: Option<Kind>,
}

const _: () = assert!(size_of::<Row>() == 16);

impl Entries {
    /// Room for `entries` names of 24 bytes on average.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Entries {
        Entries {
            names: Vec::with_capacity(entries * 24),
            rows: Vec::with_capacity(entries),
            ..Entries::default()
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Drops all entries and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.names.clear();
        self.rows.clear();
        self.metadata.clear();
        self.kinds = 0;
    }

    /// Gives memory back that no entry takes.
    pub fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        self.rows.shrink_to_fit();
        self.metadata.shrink_to_fit();
    }

    /// Appends an entry. `inode` is a hint for the order of reading only: directories may lie about
    /// it (mount points, overlays).
    ///
    /// # Panics
    /// If the name is longer than 65,535 bytes, or if all names together pass 4 GiB. No file system
    /// has names of that length, and readers hand on what they have long before.
    #[inline]
    pub fn push(&mut self, name: &[u8], kind: Option<Kind>, inode: u64) {
        debug_assert!(!name.contains(&0), "a NUL ends a name");
        let start = self.names.len();
        self.names.reserve(name.len() + 1);
        self.names.extend_from_slice(name);
        self.names.push(0);
        self.push_row(start, name.len(), kind, inode);
    }

    /// As [`Entries::push`], of a name with the NUL that ends it.
    #[inline]
    pub(crate) fn push_terminated(&mut self, name: &[u8], kind: Option<Kind>, inode: u64) {
        debug_assert!(name.iter().position(|&byte| byte == 0) == Some(name.len() - 1));
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.push_row(start, name.len() - 1, kind, inode);
    }

    #[inline]
    fn push_row(&mut self, start: usize, length: usize, kind: Option<Kind>, inode: u64) {
        let offset = u32::try_from(start).expect("4 GiB of names in one list");
        let length = u16::try_from(length).expect("a name of 64 KiB");
        self.kinds |= bit(kind);
        self.rows.push(Row {
            inode,
            offset,
            length,
            kind,
        });
        if !self.metadata.is_empty() {
            self.metadata.push(Metadata::default());
        }
    }

    /// Appends an entry whose metadata came with its name. Kind and inode number are taken from
    /// there.
    ///
    /// # Panics
    /// As [`Entries::push`].
    pub fn push_with_metadata(&mut self, name: &[u8], metadata: Metadata) {
        let inode = metadata.file_id().map_or(0, |id| id.low());
        let row = self.rows.len();
        self.push(name, metadata.kind(), inode);
        self.metadata.resize(row, Metadata::default());
        self.metadata.push(metadata);
    }

    /// The name of entry `index`.
    ///
    /// # Panics
    /// If there is no such entry; so do the other accessors.
    #[inline]
    #[must_use]
    pub fn name(&self, index: usize) -> Name<'_> {
        let row = self.rows[index];
        let start = row.offset as usize;
        Name::from_terminated(&self.names[start..=start + usize::from(row.length)])
    }

    /// The kind of entry `index`, if the directory gave it. `None` means that only a stat can tell.
    #[inline]
    #[must_use]
    pub fn kind(&self, index: usize) -> Option<Kind> {
        self.rows[index].kind
    }

    /// Notes the kind of entry `index` once it is known.
    pub fn set_kind(&mut self, index: usize, kind: Kind) {
        self.rows[index].kind = Some(kind);
        self.kinds |= bit(Some(kind));
    }

    /// Whether there may be an entry of this kind, `None` for one that is not known. False is certain, and costs no look
    /// at the entries; true may be left of one that has been given another kind since.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, kind: Option<Kind>) -> bool {
        self.kinds & bit(kind) != 0
    }

    /// The inode number that the directory holds for entry `index`: good for ordering, wrong at
    /// mount points and on overlays.
    #[inline]
    #[must_use]
    pub fn inode_hint(&self, index: usize) -> u64 {
        self.rows[index].inode
    }

    /// The metadata of entry `index`, if the system gave it with the name.
    #[must_use]
    pub fn metadata(&self, index: usize) -> Option<&Metadata> {
        // A row without metadata among rows with it has a placeholder without fields.
        self.metadata
            .get(index)
            .filter(|metadata| !metadata.fields().is_empty())
    }

    /// Forgets the metadata of entry `index`, so that it is asked for.
    pub fn forget_metadata(&mut self, index: usize) {
        if let Some(metadata) = self.metadata.get_mut(index) {
            *metadata = Metadata::default();
        }
    }

    /// Takes the metadata of all entries out, one for each; those that have none get one without
    /// fields. What is returned has room for that of as many entries as there is room for here.
    #[must_use]
    pub fn take_metadata(&mut self) -> Vec<Metadata> {
        let mut metadata = std::mem::take(&mut self.metadata);
        metadata.reserve_exact(self.rows.capacity() - metadata.len());
        metadata.resize(self.rows.len(), Metadata::default());
        metadata
    }

    /// Gives every entry its metadata. One without fields counts as none.
    ///
    /// # Panics
    /// If there is not one for each entry.
    pub fn put_metadata(&mut self, metadata: Vec<Metadata>) {
        assert_eq!(metadata.len(), self.rows.len(), "one for each entry");
        self.metadata = metadata;
    }

    /// Appends the entries `range` of `other`, with one copy of their names.
    ///
    /// # Panics
    /// If `range` is out of bounds, or if all names together pass 4 GiB.
    pub fn append_range(&mut self, other: &Entries, range: Range<usize>) {
        let rows = &other.rows[range.clone()];
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return;
        };
        let names = first.offset as usize..last.offset as usize + usize::from(last.length) + 1;
        let base = u32::try_from(self.names.len()).expect("4 GiB of names in one list");
        u32::try_from(self.names.len() + names.len()).expect("4 GiB of names in one list");
        let from = first.offset;
        self.kinds |= other.kinds;
        self.names.extend_from_slice(&other.names[names]);
        if !self.metadata.is_empty() || !other.metadata.is_empty() {
            self.metadata.resize(self.rows.len(), Metadata::default());
            match other.metadata.get(range) {
                Some(metadata) => self.metadata.extend_from_slice(metadata),
                None => self
                    .metadata
                    .resize(self.rows.len() + rows.len(), Metadata::default()),
            }
        }
        self.rows.extend(rows.iter().map(|row| Row {
            offset: row.offset - from + base,
            ..*row
        }));
    }

    /// The memory that the entries hold, in bytes, spare capacity included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.names.capacity()
            + self.rows.capacity() * size_of::<Row>()
            + self.metadata.capacity() * size_of::<Metadata>()
    }
}

/// The bit of a kind in [`Entries::kinds`], the lowest for one that is not known.
const fn bit(kind: Option<Kind>) -> u16 {
    match kind {
        None => 1,
        Some(kind) => 2 << kind as u16,
    }
}

const _: () = assert!(Kind::ALL.len() < u16::BITS as usize);

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries((0..self.len()).map(|index| (self.name(index), self.kind(index))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn metadata_stays_with_its_row_when_some_rows_have_none() {
        let mut with = Entries::default();
        with.push(b"plain", None, 1);
        with.push_with_metadata(b"known", Metadata::with_kind(Kind::File));
        with.push(b"later", None, 3);
        let mut all = Entries::default();
        all.push(b"first", Some(Kind::Fifo), 9);
        all.append_range(&with, 1..3);
        all.append_range(&all.clone(), 0..1);
        let kinds = |entries: &Entries| {
            (0..entries.len())
                .map(|i| entries.metadata(i).and_then(Metadata::kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&with), [None, Some(Kind::File), None]);
        assert_eq!(kinds(&all), [None, Some(Kind::File), None, None]);
        assert_eq!(all.name(1).as_bytes(), b"known");
        assert_eq!(all.kind(1), Some(Kind::File));
    }

    #[test]
    fn a_kind_that_entries_may_hold_is_forgotten_with_them_only() {
        let mut entries = Entries::default();
        assert!(!entries.may_hold(None));
        entries.push(b"name", None, 1);
        entries.push(b"file", Some(Kind::File), 2);
        assert!(entries.may_hold(None) && entries.may_hold(Some(Kind::File)));
        assert!(!entries.may_hold(Some(Kind::Directory)));
        entries.set_kind(0, Kind::Directory);
        assert!(entries.may_hold(Some(Kind::Directory)));
        let mut others = Entries::default();
        others.append_range(&entries, 0..1);
        assert!(others.may_hold(Some(Kind::Directory)));
        others.clear();
        assert!(Kind::ALL.iter().all(|&kind| !others.may_hold(Some(kind))));
        assert!(!others.may_hold(None));
    }

    proptest! {
        #[test]
        fn appended_ranges_read_like_pushed_entries(
            names in prop::collection::vec(prop::collection::vec(1u8.., 0..40), 0..30),
            cuts in prop::collection::vec((0usize..30, 0usize..30), 0..5),
        ) {
            let mut source = Entries::default();
            for (index, name) in names.iter().enumerate() {
                source.push(name, (index % 2 == 0).then_some(Kind::File), index as u64);
            }
            let (mut appended, mut pushed) = (Entries::default(), Vec::new());
            for (a, b) in cuts {
                let (start, end) = (a.min(b).min(names.len()), a.max(b).min(names.len()));
                appended.append_range(&source, start..end);
                pushed.extend(start..end);
            }
            prop_assert_eq!(appended.len(), pushed.len());
            for (row, index) in pushed.into_iter().enumerate() {
                prop_assert_eq!(appended.name(row).as_bytes(), &names[index][..]);
                prop_assert_eq!(appended.kind(row), source.kind(index));
                prop_assert_eq!(appended.inode_hint(row), index as u64);
            }
        }
    }
}
