//! The ends of directories, which come after all rows, in path order.
//!
//! They are packed at once: none keeps the node of its directory, so that they take little memory, and that is bounded.

use statline_pipeline::{Outlet, StageError};

use super::BATCH;
use super::packed_row::{pack_end, unpack_end};
use super::rebuilt_nodes::{RebuiltNodes, Roots};
use super::spilled::note_root;
use crate::spill::{ExternalSort, Sorted, SpillOptions};
use crate::{DirectoryEnd, RecordBatch};

/// The ends that have come so far.
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
