//! Rows that did not fit in memory: sorted runs of them, written, merged, and made rows again.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use statline_pipeline::{Outlet, StageError};
use statline_platform::{DirNode, Kind, Metadata, Timestamp};

use super::BATCH;
use super::order::{AT_ONCE, Lookup};
use super::packed_row::{RowPacker, RowUnpacker, in_path_order};
use super::rebuilt_nodes::{RebuiltNodes, Roots};
use crate::path_order::Place;
use crate::spill::{Blocks, Spill, SpillOptions};
use crate::workers::Workers;
use crate::{RecordBatch, SortKey};

/// Parts of a run that are packed at once where there is memory for them: the more, the less often all threads wait for
/// the slowest.
const MOST_AT_ONCE: usize = 32;

/// The runs that were written so far.
pub(super) struct Spilled {
    spill: Spill,
    /// What the metadata of all rows is packed against.
    base: Metadata,
    roots: Roots,
    /// No row was looked at before.
    looked_at: Option<Timestamp>,
}

impl Spilled {
    /// Some of the rows tell what many have in common.
    pub(super) fn new(
        options: SpillOptions,
        batches: &[RecordBatch],
    ) -> Result<Spilled, StageError> {
        let all = || batches.iter().flat_map(RecordBatch::metadata);
        let file = all().find(|metadata| metadata.kind() == Some(Kind::File));
        Ok(Spilled {
            spill: Spill::create(options)?,
            base: file.or_else(|| all().next()).cloned().unwrap_or_default(),
            roots: Roots::default(),
            looked_at: None,
        })
    }

    /// Writes rows as a run, in the order that is given.
    pub(super) fn write(
        &mut self,
        batches: &[RecordBatch],
        order: &[Place],
        keys: &[SortKey],
        workers: &Workers,
    ) -> Result<(), StageError> {
        for batch in batches {
            note_earlier(&mut self.looked_at, batch.looked_at());
            for (directory, _) in batch.entries().groups() {
                note_root(&mut self.roots, directory);
            }
        }
        let block = self.spill.block_bytes();
        let at_once = (self.spill.memory() >> 20).clamp(AT_ONCE, MOST_AT_ONCE);
        let mut run = self.spill.run();
        // As many of the rows as do not make more than some blocks: keys may be long.
        let pack = |places: &&[Place]| {
            let mut packer = RowPacker::new(keys, &self.base);
            let mut blocks = Blocks::new(block);
            let enough = |blocks: &Blocks| blocks.sealed().len() >= 2 * block;
            let mut rows = Lookup::new(batches);
            let mut packed = 0;
            while packed < places.len() && !enough(&blocks) {
                let (key, payload) = packer.pack(&rows.row(places[packed]));
                blocks.push(key, payload);
                packed += 1;
            }
            blocks.finish();
            (blocks, packed)
        };
        for places in order.chunks(at_once * BATCH) {
            let chunks: Vec<&[Place]> = places.chunks(BATCH).collect();
            for (chunk, (blocks, packed)) in chunks.iter().zip(workers.map(&chunks, pack)) {
                run.append(&blocks)?;
                let mut packer = RowPacker::new(keys, &self.base);
                let mut rows = Lookup::new(batches);
                for place in &chunk[packed..] {
                    let (key, payload) = packer.pack(&rows.row(*place));
                    run.push(key, payload)?;
                }
            }
        }
        run.finish()
    }

    /// Sends the rows of all runs in order, at the most `limit` of them.
    pub(super) fn send(
        self,
        keys: &[SortKey],
        limit: Option<usize>,
        out: &Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let nodes = RebuiltNodes::new(self.roots, in_path_order(keys));
        let mut unpacker = RowUnpacker::new(keys, self.base, nodes);
        let mut merge = self.spill.merge()?;
        let mut left = limit.unwrap_or(usize::MAX);
        while left > 0 {
            let mut batch = RecordBatch::with_capacity(BATCH.min(left));
            while batch.len() < BATCH.min(left)
                && let Some(entry) = merge.next()?
            {
                if unpacker.unpack(entry, &mut batch).is_none() {
                    return Err(merge.damaged());
                }
            }
            if batch.is_empty() {
                break;
            }
            left -= batch.len();
            if let Some(looked_at) = self.looked_at {
                batch.note_looked_at(looked_at);
            }
            out.send(batch)?;
        }
        Ok(())
    }
}

fn note_earlier(known: &mut Option<Timestamp>, time: Option<Timestamp>) {
    if let Some(time) = time {
        *known = Some(known.map_or(time, |known| known.min(time)));
    }
}

/// Keeps the root above a directory: its node knows what it was.
pub(crate) fn note_root(roots: &mut Roots, directory: &Arc<DirNode>) {
    let mut root = directory;
    while let Some(parent) = root.parent() {
        root = parent;
    }
    let path = root.root_path().as_os_str().as_encoded_bytes();
    if let Entry::Vacant(new) = roots.entry(path.into()) {
        new.insert(Arc::clone(root));
    }
}
