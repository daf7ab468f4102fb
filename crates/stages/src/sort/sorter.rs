//! The stage at work: rows are gathered, and become a sorted run whenever memory is full.
//!
//! Where all of them fit, they are sorted once and copied out. Else the runs are merged. Both give the same rows in the
//! same order.

use std::cmp::Ordering;
use std::num::NonZeroUsize;

use statline_pipeline::{Context, Outlet, StageError, Transform};

use super::ends::{Ends, send_in_order};
use super::gathered::Gathered;
use super::order::{copy, read_off};
use super::spilled::Spilled;
use super::{BATCH, SortConfig, keys_with_path};
use crate::path_order::Place;
use crate::spill::SpillOptions;
use crate::workers::Workers;
use crate::{RecordBatch, Row, SortKey};

/// Fewer records are sorted sooner than threads are started.
pub(super) const WORTH_THREADS: usize = 1 << 14;

/// Records above a limit: enough that throwing them away costs little for each.
pub(super) const SLACK: usize = 8 * BATCH;

/// The parts that the limit of memory is cut into: one of so many is for the ends of directories.
const ENDS_PART: usize = 16;
/// What the batches and blocks that are made at once take, if there is so much.
const MOST_IN_HAND: usize = 2 << 20;

/// The stage at work.
pub(super) struct Sorter {
    /// The last one is the path.
    keys: Vec<SortKey>,
    limit: Option<usize>,
    /// With a limit, how many rows above it are gathered before the surplus is thrown away, at the least.
    pub(super) slack: usize,
    /// What gathered rows may take, sorting them included.
    room: usize,
    pub(super) gathered: Gathered,
    /// With a limit, once surplus was thrown away: the last row that was kept, in a batch of its own.
    worst: Option<RecordBatch>,
    options: SpillOptions,
    spilled: Option<Spilled>,
    ends: Option<Ends>,
    threads: usize,
    workers: Workers,
}

impl Sorter {
    pub(super) fn new(config: &SortConfig, context: Option<&Context>) -> Sorter {
        let memory = usize::try_from(config.memory_limit.bytes()).unwrap_or(usize::MAX);
        let of_ends = memory / ENDS_PART;
        let in_hand = (memory / 4).min(MOST_IN_HAND);
        let room = memory - of_ends - in_hand;
        let options = |memory| SpillOptions {
            directory: config.spill_directory(),
            memory,
            context: context.cloned(),
        };
        Sorter {
            keys: keys_with_path(&config.by).collect(),
            limit: config.limit.map(NonZeroUsize::get),
            slack: SLACK,
            // What is kept of the surplus is a copy, and for a moment both are there.
            room: if config.limit.is_some() {
                room / 2
            } else {
                room
            },
            gathered: Gathered::default(),
            worst: None,
            options: options(room),
            spilled: None,
            ends: config.limit.is_none().then(|| Ends::new(options(of_ends))),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            workers: Workers::default(),
        }
    }

    /// Sorts on so many threads, if there is enough to sort.
    #[cfg(test)]
    pub(super) fn threads(mut self, threads: usize) -> Sorter {
        self.threads = threads;
        self
    }

    fn compare(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        self.keys
            .iter()
            .map(|key| key.compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Takes rows in.
    pub(super) fn gather(&mut self, mut batch: RecordBatch) -> Result<(), StageError> {
        if let Some(worst) = &self.worst {
            let worst = worst.row(0);
            // One that is equal came later, so it stays behind.
            batch.retain(|row| self.compare(row, &worst).is_lt());
        }
        if self.is_full_with(&batch) {
            self.throw_surplus_away()?;
            if self.is_full_with(&batch) {
                self.close_run()?;
            }
        }
        self.gathered.add(batch);
        let kept = |limit: usize| (limit.saturating_mul(2)).max(limit.saturating_add(self.slack));
        match self.limit {
            Some(limit) if self.gathered.rows >= kept(limit) => self.throw_surplus_away(),
            _ => Ok(()),
        }
    }

    /// Whether a batch more would be too much, also without the memory that is kept for the next one.
    fn is_full_with(&mut self, batch: &RecordBatch) -> bool {
        let Sorter {
            gathered,
            keys,
            room,
            ..
        } = self;
        let mut is_full = !gathered.is_empty() && gathered.bytes_with(batch, keys) > *room;
        if is_full && gathered.give_spare_back() {
            is_full = gathered.bytes_with(batch, keys) > *room;
        }
        is_full
    }

    /// Keeps no more of the gathered rows than are wanted, if there is a limit.
    fn throw_surplus_away(&mut self) -> Result<(), StageError> {
        if self.limit.is_none_or(|limit| self.gathered.rows <= limit) {
            return Ok(());
        }
        let order = self.sort()?;
        let batches = std::mem::take(&mut self.gathered).batches;
        let last = order
            .last()
            .map(|last| copy(&batches, std::slice::from_ref(last)));
        self.worst = last;
        let Sorter {
            gathered, workers, ..
        } = self;
        read_off(&batches, &order, workers, |batch| {
            gathered.add(batch);
            Ok(())
        })
    }

    /// The gathered rows that are wanted, in order.
    pub(super) fn sort(&mut self) -> Result<Vec<Place>, StageError> {
        if self.gathered.rows >= WORTH_THREADS && !self.workers.are_several() {
            self.workers = Workers::new(self.threads)?;
        }
        let mut order = self.gathered.sort(&self.keys, &self.workers);
        order.truncate(self.limit.unwrap_or(usize::MAX));
        Ok(order)
    }

    /// Writes the gathered rows, in order.
    fn close_run(&mut self) -> Result<(), StageError> {
        let order = self.sort()?;
        let ends = self.gathered.take_ends();
        if let Some(packed) = &mut self.ends {
            ends.iter().try_for_each(|end| packed.add(end))?;
        }
        drop(ends);
        let batches = std::mem::take(&mut self.gathered).batches;
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled::new(self.options.clone(), &batches)?),
        };
        spilled.write(&batches, &order, &self.keys, &self.workers)?;
        self.gathered.begin_again(batches);
        Ok(())
    }

    /// Sends all rows that are wanted, in order.
    fn send_rows(&mut self, out: &Outlet<RecordBatch>) -> Result<(), StageError> {
        if self.spilled.is_none() {
            let order = self.sort()?;
            let batches = std::mem::take(&mut self.gathered.batches);
            return read_off(&batches, &order, &self.workers, |batch| out.send(batch));
        }
        if !self.gathered.is_empty() {
            self.close_run()?;
        }
        // Merging has its memory now.
        self.gathered = Gathered::default();
        self.workers = Workers::default();
        match self.spilled.take() {
            Some(spilled) => spilled.send(&self.keys, self.limit, out),
            None => Ok(()),
        }
    }
}

impl Transform for Sorter {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        _: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        for end in batch.take_ends() {
            match &mut self.ends {
                Some(packed) if self.spilled.is_some() => packed.add(&end)?,
                Some(_) => self.gathered.add_end(end),
                None => {}
            }
        }
        self.gather(batch)
    }

    fn finish(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        self.send_rows(out)?;
        send_in_order(self.gathered.take_ends(), &self.workers, out)?;
        match self.ends.take() {
            Some(ends) => ends.send(out),
            None => Ok(()),
        }
    }
}
