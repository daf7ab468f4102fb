//! The ends of directories, which come after all rows, in path order.
//!
//! As long as all rows fit in memory, so do the ends, and they keep the nodes of their directories. From the first run on
//! they are packed: none keeps a node, so that they take little memory, and that is bounded.

use statline_pipeline::{Outlet, StageError};

use super::BATCH;
use super::packed_row::{pack_end, unpack_end};
use super::rebuilt_nodes::{RebuiltNodes, Roots};
use super::spilled::note_root;
use crate::path_order::in_path_order;
use crate::spill::{ExternalSort, Sorted, SpillOptions};
use crate::workers::Workers;
use crate::{DirectoryEnd, EntryBatch, RecordBatch};

/// Sends ends that are in memory, in order.
pub(super) fn send_in_order(
    ends: Vec<DirectoryEnd>,
    workers: &Workers,
    out: &Outlet<RecordBatch>,
) -> Result<(), StageError> {
    let mut directories = EntryBatch::with_capacity(ends.len());
    for end in &ends {
        directories.extend(&end.directory, |entries| entries.push(b"", None, 0));
    }
    let order = in_path_order(&[&directories], false, workers);
    for places in order.chunks(BATCH) {
        let mut batch = RecordBatch::default();
        for place in places {
            batch.push_end(ends[place.row as usize].clone());
        }
        out.send(batch)?;
    }
    Ok(())
}

/// The ends that were packed so far.
pub(super) struct Ends {
    sort: ExternalSort,
    roots: Roots,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Ends {
    pub(super) fn new(options: SpillOptions) -> Ends {
        Ends {
            sort: ExternalSort::new(options),
            roots: Roots::default(),
            key: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, end: &DirectoryEnd) -> Result<(), StageError> {
        note_root(&mut self.roots, &end.directory);
        pack_end(end, &mut self.key, &mut self.payload);
        self.sort.push(&self.key, &self.payload)
    }

    /// Sends all of them, in order.
    pub(super) fn send(self, out: &Outlet<RecordBatch>) -> Result<(), StageError> {
        if self.sort.is_empty() {
            return Ok(());
        }
        let mut nodes = RebuiltNodes::new(self.roots, true);
        let mut sorted: Sorted = self.sort.finish()?;
        loop {
            let mut batch = RecordBatch::default();
            for _ in 0..BATCH {
                let Some(entry) = sorted.next()? else {
                    break;
                };
                match unpack_end(entry, &mut nodes) {
                    Some(end) => batch.push_end(end),
                    None => return Err(sorted.damaged()),
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            out.send(batch)?;
        }
    }
}
