//! Rows that wait in memory to be sorted, and what they take.
//!
//! One thing must stay true: what is counted is all that they keep alive and all that sorting them takes, at the most.

use std::collections::HashSet;

use statline_platform::DirNode;

use super::BATCH;
use super::order::sort;
use crate::path_order::Place;
use crate::workers::Workers;
use crate::{RecordBatch, SortKey};

/// What sorting takes for each row by path, in bytes: an item in its directory, and its place in the order.
const PATH_BYTES: usize = 16 + 8;
/// What each pass by another key takes beside that, the order before it included.
const PASS_BYTES: usize = 24 + 8;
/// What sorting takes for each directory: two tables, and lists, while they grow.
const DIRECTORY_BYTES: usize = 300;
/// What the set of known nodes takes for each that there is room for.
const KNOWN_BYTES: usize = 20;

/// What was gathered, the same whether there is a limit or not.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) batches: Vec<RecordBatch>,
    /// A batch that small ones are added to, lest each keep the memory of a large one.
    open: RecordBatch,
    pub(super) rows: usize,
    /// What the batches take.
    bytes: usize,
    groups: usize,
    nodes: KnownNodes,
}

/// The nodes that rows keep alive, by their addresses.
#[derive(Default)]
struct KnownNodes {
    known: HashSet<usize, foldhash::fast::RandomState>,
    bytes: usize,
}

impl KnownNodes {
    fn note(&mut self, node: &DirNode) {
        for node in node.ancestors() {
            if !self.known.insert(std::ptr::from_ref(node).addr()) {
                break;
            }
            self.bytes += node.heap_bytes();
        }
    }
}

impl Gathered {
    /// What is taken once a batch is added as well, in bytes.
    pub(super) fn bytes_with(&mut self, batch: &RecordBatch, keys: &[SortKey]) -> usize {
        for (directory, _) in batch.entries().groups() {
            self.nodes.note(directory);
        }
        let rows = self.rows + batch.len();
        let passes = if keys.len() > 1 { PASS_BYTES } else { 0 };
        self.bytes
            + self.open.heap_bytes()
            + self.batches.capacity() * size_of::<RecordBatch>()
            + batch.heap_bytes()
            + rows * (PATH_BYTES + passes)
            + self.nodes.bytes
            + self.nodes.known.capacity() * KNOWN_BYTES
            + self.nodes.known.len() * DIRECTORY_BYTES
            + self.groups * 2 * size_of::<u32>()
    }

    pub(super) fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.len();
        for (directory, _) in batch.entries().groups() {
            self.nodes.note(directory);
            self.groups += 1;
        }
        if batch.len() >= BATCH * 3 / 4 {
            self.keep(batch);
            return;
        }
        if self.open.len() + batch.len() > BATCH {
            let full = std::mem::take(&mut self.open);
            self.keep(full);
        }
        if self.open.is_empty() {
            self.open = RecordBatch::with_capacity(BATCH);
        }
        for (directory, range) in batch.entries().groups() {
            self.open.append_range(directory, &batch, range);
        }
    }

    fn keep(&mut self, batch: RecordBatch) {
        self.bytes += batch.heap_bytes();
        self.batches.push(batch);
    }

    /// All rows, in order.
    pub(super) fn sort(&mut self, keys: &[SortKey], workers: &Workers) -> Vec<Place> {
        if !self.open.is_empty() {
            let last = std::mem::take(&mut self.open);
            self.keep(last);
        }
        sort(&self.batches, keys, workers)
    }
}
