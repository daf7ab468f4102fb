//! Rows in memory: putting them in order, and copying them out in it.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use statline_platform::DirNode;

use super::BATCH;
use crate::path_order::{Place, in_path_order};
use crate::workers::Workers;
use crate::{EntryBatch, RecordBatch, Row, SortKey};

/// Batches that are made at once.
pub(super) const AT_ONCE: usize = 8;

/// All rows of the batches, in order. The last key is the path.
pub(super) fn sort(batches: &[RecordBatch], keys: &[SortKey], workers: &Workers) -> Vec<Place> {
    let entries: Vec<&EntryBatch> = batches.iter().map(RecordBatch::entries).collect();
    let Some((path, before)) = keys.split_last() else {
        return Vec::new();
    };
    let mut order = in_path_order(&entries, path.descending, workers);
    // One stable pass for each key, the first key last: what it finds equal stays as the passes before have left it.
    for key in before.iter().rev() {
        order = sort_by_key(batches, &order, *key, workers);
    }
    order
}

/// Looks rows up in an order in which those of one directory are near each other.
pub(super) struct Lookup<'b> {
    batches: &'b [RecordBatch],
    /// Where the last row was: a batch, and the rows of a directory in it.
    near: Option<(u32, Range<usize>, &'b Arc<DirNode>)>,
}

impl<'b> Lookup<'b> {
    pub(super) fn new(batches: &'b [RecordBatch]) -> Lookup<'b> {
        Lookup {
            batches,
            near: None,
        }
    }

    pub(super) fn row(&mut self, place: Place) -> Row<'b> {
        let (batch, row) = (&self.batches[place.batch as usize], place.row as usize);
        let directory = match &self.near {
            Some((near, group, directory)) if *near == place.batch && group.contains(&row) => {
                directory
            }
            _ => {
                let (directory, group) = batch.entries().group_of(row);
                self.near = Some((place.batch, group, directory));
                directory
            }
        };
        batch.row_in(directory, row)
    }
}

/// A row on its way through a pass.
struct Keyed {
    /// The prefix of the key, in two halves because a `u128` would be padded.
    prefix: [u64; 2],
    /// The row's place in the order before the pass, which decides between equal ones.
    before: u32,
}

impl Keyed {
    fn new(prefix: u128, before: u32) -> Keyed {
        Keyed {
            prefix: [(prefix >> 64) as u64, prefix as u64],
            before,
        }
    }

    fn prefix(&self) -> u128 {
        u128::from(self.prefix[0]) << 64 | u128::from(self.prefix[1])
    }
}

fn sort_by_key(
    batches: &[RecordBatch],
    order: &[Place],
    key: SortKey,
    workers: &Workers,
) -> Vec<Place> {
    let row = |place: Place| batches[place.batch as usize].row(place.row as usize);
    let mut keyed: Vec<Keyed> = (0..)
        .zip(order)
        .map(|(before, place)| Keyed::new(key.prefix(&row(*place)), before))
        .collect();
    let exact = |a: &Keyed, b: &Keyed| match key.is_all(a.prefix()) {
        true => Ordering::Equal,
        false => key.compare(
            &row(order[a.before as usize]),
            &row(order[b.before as usize]),
        ),
    };
    workers.sort(&mut keyed, |a, b| {
        a.prefix
            .cmp(&b.prefix)
            .then_with(|| exact(a, b))
            .then(a.before.cmp(&b.before))
    });
    keyed
        .iter()
        .map(|keyed| order[keyed.before as usize])
        .collect()
}

/// Hands out copies of the rows in the given order, in batches of the usual size.
pub(super) fn read_off<E>(
    batches: &[RecordBatch],
    order: &[Place],
    workers: &Workers,
    mut take: impl FnMut(RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    // Rows lie wherever they arrived: this is waiting for memory, which several threads do better.
    for places in order.chunks(AT_ONCE * BATCH) {
        let chunks: Vec<&[Place]> = places.chunks(BATCH).collect();
        workers
            .map(&chunks, |chunk| copy(batches, chunk))
            .into_iter()
            .try_for_each(&mut take)?;
    }
    Ok(())
}

pub(super) fn copy(batches: &[RecordBatch], order: &[Place]) -> RecordBatch {
    let mut copy = RecordBatch::with_capacity(order.len());
    let mut rest = order;
    while let Some(first) = rest.first() {
        let source = &batches[first.batch as usize];
        let (directory, group) = source.entries().group_of(first.row as usize);
        // Neighbours that stay neighbours are copied at once.
        let together = (first.row..group.end as u32)
            .zip(rest)
            .take_while(|&(row, place)| *place == Place { row, ..*first })
            .count();
        let start = first.row as usize;
        copy.append_range(directory, source, start..start + together);
        rest = &rest[together..];
    }
    copy
}
