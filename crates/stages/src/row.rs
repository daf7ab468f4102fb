//! One entry of a batch as later stages see it, wherever its parts are stored.

use std::sync::Arc;

use statline_pipeline::Message;
use statline_platform::{DirNode, Kind, Metadata, Name};

use crate::entry_batch::{DirectoryEnd, EntryBatch};
use crate::record_batch::{Change, Note, RecordBatch};
use crate::{ContentHash, Former};

/// One entry, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The directory that it is in.
    pub directory: &'a Arc<DirNode>,
    /// Its name there; empty for a root, which is the directory itself.
    pub name: Name<'a>,
    /// Its kind, if the directory or a stat told.
    pub kind: Option<Kind>,
    /// Its metadata, if it was fetched.
    pub metadata: Option<&'a Metadata>,
    /// Where it leads, if it is a symbolic link whose target was read.
    pub target: Option<&'a [u8]>,
    /// How it stands to what a cache remembers, or to another scan, if it was compared.
    pub change: Option<Change>,
    /// Whether all this is what an earlier run saw, and this one did not look.
    pub remembered: bool,
    /// The digest of its contents, if they were read.
    pub hash: Option<&'a ContentHash>,
    /// What it was on the other side, if it was compared with another scan.
    pub former: Former<'a>,
}

impl Row<'_> {
    /// Appends its path: the root's as it was given, then one component for each level.
    pub fn write_path(&self, out: &mut Vec<u8>) {
        self.directory.write_entry_path(self.name, out);
    }

    /// Appends its path below its root; `.` for the root itself.
    pub fn write_relative_path(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.directory.write_relative_path(self.name, out);
        if out.len() == start {
            out.push(b'.');
        }
    }

    /// Its path, see [`write_path`](Row::write_path).
    pub fn path_bytes(&self) -> Vec<u8> {
        let mut path = Vec::new();
        self.write_path(&mut path);
        path
    }

    /// How far below its root it is: 0 for a root.
    pub fn depth(&self) -> u32 {
        self.directory.depth() + u32::from(!self.name.is_empty())
    }
}

/// A message that is a batch of rows.
pub trait Rows: Message {
    /// Its rows, those of one directory next to each other.
    fn rows(&self) -> RowIter<'_>;

    /// The directories of which no more entries will come.
    fn ends(&self) -> &[DirectoryEnd];
}

/// The columns that not every batch has.
#[derive(Clone, Copy, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) metadata: Option<&'a [Metadata]>,
    pub(crate) batch: Option<&'a RecordBatch>,
}

/// The rows of a batch, see [`Rows::rows`].
pub struct RowIter<'a> {
    entries: &'a EntryBatch,
    columns: Columns<'a>,
    group: usize,
    row: usize,
}

impl<'a> RowIter<'a> {
    pub(crate) fn new(entries: &'a EntryBatch, columns: Columns<'a>) -> RowIter<'a> {
        RowIter {
            entries,
            columns,
            group: 0,
            row: 0,
        }
    }
}

impl<'a> Iterator for RowIter<'a> {
    type Item = Row<'a>;

    // Whoever looks at two columns does not pay for all.
    #[inline(always)]
    fn next(&mut self) -> Option<Row<'a>> {
        let directory = loop {
            let (directory, end) = self.entries.group(self.group)?;
            if self.row < end {
                break directory;
            }
            self.group += 1;
        };
        let row = self.row;
        self.row += 1;
        let metadata = self.columns.metadata.map(|metadata| &metadata[row]);
        let entries = self.entries.entries();
        let batch = self.columns.batch;
        let note = batch.map_or(Note::default(), |batch| batch.note(row));
        Some(Row {
            directory,
            name: entries.name(row),
            kind: metadata
                .and_then(Metadata::kind)
                .or_else(|| entries.kind(row)),
            metadata,
            target: batch.and_then(|batch| batch.target(row)),
            change: note.change,
            remembered: note.remembered,
            hash: batch.and_then(|batch| batch.hash(row)),
            former: batch.map_or(Former::default(), |batch| batch.former(row)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.entries.len() - self.row;
        (left, Some(left))
    }
}

impl ExactSizeIterator for RowIter<'_> {}
