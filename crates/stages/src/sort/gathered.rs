//! Rows that wait in memory to be sorted, and what they take.
//!
//! One thing must stay true: what is counted is all that they keep alive and all that sorting them takes, at the most.

use std::collections::HashSet;

use statline_platform::{DirNode, Metadata};

use super::BATCH;
use super::order::sort;
use crate::path_order::Place;
use crate::workers::Workers;
use crate::{DirectoryEnd, RecordBatch, SortKey};

/// What an empty batch takes for each row that it has room for.
const ROW_BYTES: usize = size_of::<Metadata>() + 16 + 24;
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
    /// The batch that is being filled. What comes is copied: all memory that waits for long is then of one size, made by
    /// one thread and used again for the next run. Else what the allocator cannot give back grows from run to run.
    open: RecordBatch,
    /// Empty batches for the next run.
    spare: Vec<RecordBatch>,
    spare_bytes: usize,
    pub(super) rows: usize,
    /// The ends of directories, as long as nothing was spilled.
    ends: Vec<DirectoryEnd>,
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
            + self.ends.capacity() * size_of::<DirectoryEnd>()
            + self.spare_bytes
            + self.open.heap_bytes()
            + self.batches.capacity() * size_of::<RecordBatch>()
            + self.new_batches(batch.len()) * BATCH * ROW_BYTES
            + batch.heap_bytes()
            + rows * (PATH_BYTES + passes)
            + self.nodes.bytes
            + self.nodes.known.capacity() * KNOWN_BYTES
            + self.nodes.known.len() * DIRECTORY_BYTES
            + self.groups * 2 * size_of::<u32>()
    }

    /// Whether there is nothing to sort.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0 && self.ends.is_empty()
    }

    pub(super) fn add_end(&mut self, end: DirectoryEnd) {
        self.nodes.note(&end.directory);
        self.ends.push(end);
    }

    pub(super) fn take_ends(&mut self) -> Vec<DirectoryEnd> {
        std::mem::take(&mut self.ends)
    }

    pub(super) fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.len();
        for (directory, _) in batch.entries().groups() {
            self.nodes.note(directory);
            self.groups += 1;
        }
        for (directory, mut range) in batch.entries().groups() {
            while !range.is_empty() {
                if self.open.len() == BATCH {
                    let full = std::mem::take(&mut self.open);
                    self.keep(full);
                }
                if self.open.is_empty() {
                    self.open = self.empty_batch();
                }
                let fitting = range.len().min(BATCH - self.open.len());
                let part = range.start..range.start + fitting;
                range.start = part.end;
                self.open.append_range(directory, &batch, part);
            }
        }
    }

    /// How many batches it takes to add so many rows, those that are there left out.
    fn new_batches(&self, rows: usize) -> usize {
        let room = match self.open.is_empty() {
            true => 0,
            false => BATCH - self.open.len(),
        };
        let batches = rows.saturating_sub(room).div_ceil(BATCH);
        batches.saturating_sub(self.spare.len())
    }

    fn empty_batch(&mut self) -> RecordBatch {
        match self.spare.pop() {
            Some(batch) => {
                self.spare_bytes -= batch.heap_bytes();
                batch
            }
            None => RecordBatch::with_capacity(BATCH),
        }
    }

    /// Begins the next run, in the memory of batches that are done with.
    pub(super) fn begin_again(&mut self, batches: Vec<RecordBatch>) {
        *self = Gathered::default();
        for mut batch in batches {
            batch.clear();
            self.spare_bytes += batch.heap_bytes();
            self.spare.push(batch);
        }
    }

    /// Gives back the memory of batches that are empty; whether there was any.
    pub(super) fn give_spare_back(&mut self) -> bool {
        self.spare_bytes = 0;
        !std::mem::take(&mut self.spare).is_empty()
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
