//! A cache in a store on disk.
//!
//! Records are marked by what the store held before the run; what this run saw goes into one transaction, directory by
//! directory as they end, and is committed when everything was delivered. A directory of which nothing is new costs one
//! look-up and is not written. Memory is bounded: what waits for the end of its directory is written when it becomes too
//! much, and only which entries were seen is kept of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use foldhash::fast::FixedState;
use statline_pipeline::{Counter, InputPort, Opening, Outlet, OutputPort, StageError, Transform};
use statline_platform::{DirNode, Kind, Timestamp};

use super::gone::Gone;
use super::judge::Judge;
use super::open_directory::{End, OpenDirectory};
use super::roots::Roots;
use super::{CacheConfig, Counters};
use crate::left_out::LeftOut;
use crate::run_start::run_start_time;
use crate::store::Store;
use crate::{DirectoryEnd, DirectoryStatus, Field, RecordBatch, Rows};

/// Bytes that may wait for the ends of their directories.
pub(super) const MOST_WAITING: usize = 64 << 20;

/// What tells open directories apart: the place of the node, which is kept as long as it is in use, and whether it is
/// about the root itself.
type Place = (usize, bool);

fn place(directory: &Arc<DirNode>, top: bool) -> Place {
    (Arc::as_ptr(directory) as usize, top)
}

/// The stage at work.
pub(super) struct DiskMarker {
    store: Arc<Store>,
    signature: Vec<Field>,
    /// When the run began: nothing was looked at before.
    began: Timestamp,
    roots: Roots,
    left_out: Arc<LeftOut>,
    /// Directories of which something was seen and more may come.
    open: HashMap<Place, OpenDirectory, FixedState>,
    /// The bytes that they take.
    waiting: usize,
    most_waiting: usize,
    gone: Gone,
    counters: Counters,
    written: Counter,
}

impl DiskMarker {
    pub(super) fn open(
        path: &Path,
        config: &CacheConfig,
        signature: Vec<Field>,
        stage: &Opening<'_>,
    ) -> Result<DiskMarker, StageError> {
        let store = Store::of_run(stage, path)?;
        if let Some(ids) = &config.id {
            store.set_ids(ids);
        }
        let context = stage.context();
        let written = context.counter("directories_written");
        Ok(DiskMarker {
            counters: Counters::of(context),
            gone: Gone::new(config.deleted, context, written.clone()),
            written,
            signature,
            began: run_start_time(stage)?,
            roots: Roots::new(&store, config.id.is_some()),
            left_out: LeftOut::of_run(stage)?,
            open: HashMap::default(),
            waiting: 0,
            most_waiting: MOST_WAITING,
            store,
        })
    }

    pub(super) fn with_most_waiting(self, most_waiting: usize) -> DiskMarker {
        DiskMarker {
            most_waiting,
            ..self
        }
    }

    /// Makes it the worker of a stage, and has it remember when the run has delivered.
    pub(super) fn start(
        self,
        (input, out): (&InputPort<RecordBatch>, &OutputPort<RecordBatch>),
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let writer = self.store.writer();
        stage.transform(input, out, |_| Ok(self))?;
        writer.commit_with(stage);
        Ok(())
    }

    /// Marks the records of a batch. Says which directories have come to their ends by that.
    fn mark(&mut self, batch: &mut RecordBatch) -> Result<Vec<Place>, StageError> {
        let mut changes = Vec::with_capacity(batch.len());
        let mut finished = Vec::new();
        let follows = batch.entries().follows_links();
        let judge = Judge {
            signature: &self.signature,
            looked_at: batch.looked_at().unwrap_or(self.began),
            ages_count: self.store.ages_count(),
        };
        let mut rows = batch.rows().peekable();
        while let Some(first) = rows.peek() {
            let (directory, top) = (first.directory, first.name.is_empty());
            let at = place(directory, top);
            let open = match self.open.entry(at) {
                std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::hash_map::Entry::Vacant(free) => {
                    let root = self.roots.above(directory, follows)?;
                    free.insert(OpenDirectory::new(directory, root, top))
                }
            };
            let before = open.heap_bytes();
            open.recall(&self.store)?;
            let own = std::iter::from_fn(|| {
                rows.next_if(|row| {
                    Arc::ptr_eq(row.directory, directory) && row.name.is_empty() == top
                })
            });
            open.mark(own, &judge, &mut changes);
            self.waiting = self.waiting + open.heap_bytes() - before;
            if open.is_finished() {
                finished.push(at);
            }
        }
        drop(rows);
        self.counters.count(&changes);
        batch.set_changes(&changes);
        Ok(finished)
    }

    /// Notes the end of a directory. Says whether nothing more will come.
    fn end(
        &mut self,
        end: &DirectoryEnd,
        follows_links: bool,
    ) -> Result<Option<Place>, StageError> {
        let is_complete = end.status == DirectoryStatus::Complete;
        let at = place(&end.directory, false);
        if !self.open.contains_key(&at) {
            // Of one that was not read, and of which nothing comes, nothing is new.
            if !is_complete && end.entries == 0 {
                return Ok(None);
            }
            let root = self.roots.above(&end.directory, follows_links)?;
            let open = OpenDirectory::new(&end.directory, root, false);
            self.open.insert(at, open);
        }
        let Some(open) = self.open.get_mut(&at) else {
            return Ok(None);
        };
        open.end = Some(End {
            entries: end.entries,
            is_complete,
        });
        Ok(open.is_finished().then_some(at))
    }

    /// Closes a directory: of which all has come, or will not come any more.
    fn close(&mut self, at: Place, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let Some(mut open) = self.open.remove(&at) else {
            return Ok(());
        };
        self.waiting = self.waiting.saturating_sub(open.heap_bytes());
        self.write(&mut open, out)
    }

    fn write(
        &mut self,
        open: &mut OpenDirectory,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let (directory, root) = (Arc::clone(&open.directory), open.root);
        let closed = open.close(&self.store, &self.left_out, |name, entry| {
            self.gone.tell(&directory, name, &entry.metadata, out)?;
            match entry.metadata.kind() {
                Some(Kind::Directory) => self.gone.below(&self.store, root, &directory, name, out),
                _ => Ok(()),
            }
        })?;
        self.written.add(closed.was_written.into());
        self.counters.forgotten.add(closed.forgotten);
        if !closed.files.is_empty() {
            self.store.forget_digests(root, closed.files)?;
        }
        for name in &closed.replaced {
            self.gone.below(&self.store, root, &directory, name, out)?;
        }
        Ok(())
    }

    /// Writes what waits, if that is too much, and keeps which entries were seen.
    fn make_room(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        if self.waiting <= self.most_waiting {
            return Ok(());
        }
        let mut open = std::mem::take(&mut self.open);
        for directory in open.values_mut() {
            self.write(directory, out)?;
        }
        self.open = open;
        self.waiting = 0;
        Ok(())
    }
}

impl Transform for DiskMarker {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let mut finished = self.mark(&mut batch)?;
        let follows = batch.entries().follows_links();
        for end in batch.ends() {
            finished.extend(self.end(end, follows)?);
        }
        out.send(batch)?;
        for at in finished {
            self.close(at, out)?;
        }
        self.make_room(out)?;
        self.gone.flush(out)
    }

    fn finish(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let left: Vec<Place> = self.open.keys().copied().collect();
        for at in left {
            self.close(at, out)?;
        }
        self.gone.flush(out)
    }
}
