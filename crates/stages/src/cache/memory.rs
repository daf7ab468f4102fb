//! A cache in memory: what runs saw, by path.
//!
//! What must stay true: what a run saw is remembered only when it has delivered, so updates wait in a list until then.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use statline_pipeline::{
    InputPort, Opening, Outlet, OutputPort, PublishOrder, Publisher, StageError, Transform, Verdict,
};
use statline_platform::{Metadata, Timestamp};

use super::signature::{is_same, is_settled};
use super::{Counters, lock};
use crate::path_prefix::PathPrefix;
use crate::run_start::run_start_time;
use crate::stat_cache::Known;
use crate::{BatchedStatCache, Change, Field, RecordBatch, Rows};

/// Where what was seen is kept.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    /// The host's, of the capacity that the host chose.
    Given(BatchedStatCache),
    /// Made when the first job opens it, of the capacity that the job says.
    Own(Arc<Mutex<Option<BatchedStatCache>>>),
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::Own(Arc::default())
    }
}

impl Memory {
    fn of_capacity(&self, wanted: Option<NonZeroUsize>) -> BatchedStatCache {
        let own = match self {
            Memory::Given(cache) => return cache.clone(),
            Memory::Own(own) => own,
        };
        let mut own = lock(own);
        let cache = match (own.take(), wanted) {
            (Some(cache), Some(capacity)) if cache.capacity() != capacity.get() => {
                cache.resized(capacity.get())
            }
            (Some(cache), _) => cache,
            (None, Some(capacity)) => BatchedStatCache::with_capacity(capacity.get()),
            (None, None) => BatchedStatCache::new(),
        };
        own.insert(cache).clone()
    }

    pub(super) fn open(
        &self,
        max_entries: Option<NonZeroUsize>,
        (input, out): (&InputPort<RecordBatch>, &OutputPort<RecordBatch>),
        signature: Vec<Field>,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let memory = self.of_capacity(max_entries);
        let updates = Arc::new(Mutex::new(Updates::new(&memory)));
        let marker = Marker {
            counters: Counters::of(stage.context()),
            signature,
            began: run_start_time(stage)?,
            prefix: PathPrefix::default(),
            updates: Arc::clone(&updates),
            memory: memory.clone(),
        };
        stage.transform(input, out, |_| Ok(marker))?;
        stage.publisher(PublishOrder::Memory, Remember { memory, updates });
        Ok(())
    }
}

/// What a run will remember when it is over.
#[derive(Debug)]
struct Updates {
    known: Vec<(Box<[u8]>, Known)>,
    /// More than the memory holds would push each other out.
    room: usize,
}

impl Updates {
    fn new(memory: &BatchedStatCache) -> Updates {
        Updates {
            known: Vec::new(),
            room: memory.capacity(),
        }
    }
}

/// Remembers what a run has delivered.
struct Remember {
    memory: BatchedStatCache,
    updates: Arc<Mutex<Updates>>,
}

impl Remember {
    fn finish(&self, delivered: bool) {
        let mut updates = lock(&self.updates);
        let known = std::mem::take(&mut updates.known);
        if delivered {
            for (path, known) in known {
                self.memory.remember(path, known);
            }
        }
    }
}

impl Publisher for Remember {
    fn publish(self: Box<Self>, verdict: &Verdict) -> Result<(), StageError> {
        // Which records a reader has seen that had enough, nobody knows.
        self.finish(verdict.outcome.publishes() && !verdict.ended_early);
        Ok(())
    }
}

/// The stage at work.
struct Marker {
    memory: BatchedStatCache,
    signature: Vec<Field>,
    /// When the run began: nothing was looked at before.
    began: Timestamp,
    prefix: PathPrefix,
    updates: Arc<Mutex<Updates>>,
    counters: Counters,
}

impl Marker {
    /// Marks the records. Returns what is to be remembered of them once they are delivered.
    fn mark(&mut self, batch: &mut RecordBatch) -> Vec<(Box<[u8]>, Known)> {
        let mut changes = Vec::with_capacity(batch.len());
        let mut updates = Vec::new();
        let mut path = Vec::new();
        let nothing = Metadata::default();
        let looked_at = batch.looked_at().unwrap_or(self.began);
        for row in batch.rows() {
            self.prefix.enter(&row);
            path.clear();
            path.extend_from_slice(self.prefix.bytes());
            path.extend_from_slice(row.name.as_bytes());
            let metadata = row.metadata.unwrap_or(&nothing);
            let before = self.memory.look_up(&path, false);
            changes.push(match &before {
                None => Change::New,
                Some(before)
                    if before.is_proof && is_same(&self.signature, &before.metadata, metadata) =>
                {
                    Change::Unchanged
                }
                Some(_) => Change::Changed,
            });
            let now = Known {
                is_proof: !row.remembered && is_settled(metadata, looked_at),
                metadata: metadata.clone(),
            };
            // What was not looked at is no news, and no proof of anything.
            let is_news = !row.remembered || before.is_none();
            if is_news && before.as_ref() != Some(&now) {
                updates.push((path.as_slice().into(), now));
            }
        }
        self.counters.count(&changes);
        batch.set_changes(&changes);
        updates
    }
}

impl Transform for Marker {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let known = self.mark(&mut batch);
        let sent = out.send(batch);
        if sent.is_ok() {
            let mut updates = lock(&self.updates);
            let room = updates.room - updates.known.len();
            let surplus = known.len().saturating_sub(room);
            self.counters.forgotten.add(surplus as u64);
            updates.known.extend(known.into_iter().take(room));
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use statline_pipeline::testing::{Collected, conformance};
    use statline_pipeline::{Builder, Errors, Outcome, RunReport, Sink};

    use super::super::DEFAULT_SIGNATURE;
    use super::*;
    use crate::fixtures::{Given, child, file, problems, root, time};
    use crate::{Cache, CacheConfig, DirectoryEnd, DirectoryStatus, EntryBatch};

    /// What a run does with the records.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Reader {
        TakesAll,
        FailsInTheEnd,
        HasEnoughAtOnce,
    }

    impl Sink for Reader {
        type In = RecordBatch;

        fn write(&mut self, _: RecordBatch, _: &Errors) -> Result<(), StageError> {
            match self {
                Reader::HasEnoughAtOnce => Err(StageError::ENOUGH),
                _ => Ok(()),
            }
        }

        fn prepare(&mut self) -> Result<(), StageError> {
            match self {
                Reader::FailsInTheEnd => Err(StageError::failed("no space left on device")),
                _ => Ok(()),
            }
        }
    }

    fn batch(rows: impl IntoIterator<Item = (String, Metadata)>) -> RecordBatch {
        let (mut entries, mut metadata) = (EntryBatch::default(), Vec::new());
        let directory = child(&root("r"), b"d");
        for (name, each) in rows {
            entries.extend(&directory, |entries| entries.push(name.as_bytes(), None, 0));
            metadata.push(each);
        }
        RecordBatch::new(entries, metadata)
    }

    /// Regular files, one after another, of one size and changed long ago.
    fn files(names: std::ops::Range<usize>, size: u64) -> RecordBatch {
        batch(names.map(|name| (name.to_string(), old(size))))
    }

    fn old(size: u64) -> Metadata {
        file(|metadata| {
            metadata
                .set_size(size)
                .set_modified(time(1, 0))
                .set_changed(time(1, 0))
                .set_file_id(9u64.into());
        })
    }

    fn run(
        cache: &Cache,
        config: CacheConfig,
        batches: Vec<RecordBatch>,
        reader: Reader,
    ) -> (Vec<Change>, RunReport) {
        let marked = Collected::new();
        let mut job = Builder::new("test");
        let stat = job.stage("stat", Given::all(batches), ()).done();
        let known = job
            .stage("known", cache.clone(), config)
            .reads(&stat)
            .done();
        if reader != Reader::HasEnoughAtOnce {
            let _ = job.sink("marked", marked.clone()).reads(&known);
        }
        let _ = job.sink("reader", reader).reads(&known).capacity(1);
        let report = job.build().unwrap().run();
        let marked = marked.items();
        let rows = marked.iter().flat_map(RecordBatch::rows);
        (rows.map(|row| row.change.unwrap()).collect(), report)
    }

    fn marks(cache: &Cache, batch: RecordBatch) -> Vec<Change> {
        let (marks, report) = run(cache, CacheConfig::default(), vec![batch], Reader::TakesAll);
        assert_eq!(report.outcome, Outcome::Complete);
        marks
    }

    #[test]
    fn a_second_run_finds_what_the_first_has_seen() {
        let cache = Cache::default();
        assert_eq!(marks(&cache, files(0..2, 5)), [Change::New; 2]);
        let second = batch([
            ("0".to_owned(), old(5)),
            ("1".to_owned(), old(6)),
            ("2".to_owned(), old(5)),
        ]);
        assert_eq!(
            marks(&cache, second),
            [Change::Unchanged, Change::Changed, Change::New]
        );
        let (marks, report) = run(
            &cache,
            CacheConfig::default(),
            vec![files(1..2, 6)],
            Reader::TakesAll,
        );
        assert_eq!(marks, [Change::Unchanged]);
        assert_eq!(report.stage("known").unwrap().counters["unchanged"], 1);
    }

    #[test]
    fn a_directory_is_known_again_however_it_is_cut_into_batches() {
        let memory = BatchedStatCache::new();
        let cache = Cache::new(memory.clone());
        let all = files(0..10, 5);
        let directory = Arc::clone(all.row(0).directory);
        let cut = |rows: usize| {
            let batches = (0..10).step_by(rows).map(|start| {
                let mut part = RecordBatch::default();
                part.append_range(&directory, &all, start..(start + rows).min(10));
                part
            });
            let config = CacheConfig::default();
            let (marks, _) = run(&cache, config, batches.collect(), Reader::TakesAll);
            marks
        };
        assert_eq!(cut(3), [Change::New; 10]);
        for row in all.rows() {
            let path = String::from_utf8(row.path_bytes()).unwrap();
            assert!(memory.get(path.as_ref()).is_some(), "{path}");
        }
        assert_eq!(cut(4), [Change::Unchanged; 10]);
    }

    #[test]
    fn a_run_that_did_not_deliver_is_not_remembered() {
        for reader in [Reader::FailsInTheEnd, Reader::HasEnoughAtOnce] {
            let cache = Cache::default();
            let batches = || (0..50).map(|at| files(at..at + 1, 5)).collect();
            let (_, report) = run(&cache, CacheConfig::default(), batches(), reader);
            assert_eq!(
                report.outcome == Outcome::Failed,
                reader == Reader::FailsInTheEnd
            );
            assert_eq!(marks(&cache, files(0..50, 5)), [Change::New; 50]);
        }
    }

    #[test]
    fn the_host_shares_its_cache_and_sets_its_capacity() {
        let memory = BatchedStatCache::with_capacity(10);
        let cache = Cache::new(memory.clone());
        assert_eq!(marks(&cache, files(0..3, 5)), [Change::New; 3]);
        assert_eq!(memory.len(), 3);
        let found = memory.get(std::path::Path::new("r/d/1")).unwrap();
        assert_eq!(found.size(), Some(5));
        memory.clear();
        // What somebody else put there is known, but nobody knows when it was looked at.
        memory.insert("r/d/1", old(5));
        assert_eq!(
            marks(&cache, files(0..2, 5)),
            [Change::New, Change::Changed]
        );

        let mut job = Builder::new("test");
        let stat = job.stage("stat", Given::new(files(0..1, 1)), ()).done();
        let config = CacheConfig {
            max_entries: NonZeroUsize::new(5),
            ..CacheConfig::default()
        };
        let known = job.stage("known", cache, config).reads(&stat).done();
        let _ = job.sink("reader", Reader::TakesAll).reads(&known);
        assert_eq!(problems(job)[0].0, "stages.known.max_entries");
    }

    #[test]
    fn no_more_is_remembered_than_the_capacity() {
        let cache = Cache::default();
        let config = |capacity| CacheConfig {
            max_entries: NonZeroUsize::new(capacity),
            ..CacheConfig::default()
        };
        let (_, report) = run(
            &cache,
            config(10),
            vec![files(0..7, 5), files(7..20, 5), files(20..30, 5)],
            Reader::TakesAll,
        );
        assert_eq!(report.outcome, Outcome::Complete);
        assert_eq!(
            report.stage("known").unwrap().counters["not_remembered"],
            20
        );
        let known = |marks: &[Change]| marks.iter().filter(|mark| **mark != Change::New).count();
        let (marks, _) = run(&cache, config(10), vec![files(0..30, 5)], Reader::TakesAll);
        assert!((5..=10).contains(&known(&marks)), "{}", known(&marks));
        // A job that wants another capacity keeps what fits.
        let (marks, _) = run(&cache, config(4), vec![files(0..30, 5)], Reader::TakesAll);
        assert!((2..=4).contains(&known(&marks)), "{}", known(&marks));
    }

    #[test]
    fn it_takes_what_the_framework_may_do_to_it() {
        conformance(|trial| {
            let records = trial.feed("records", (0..5).map(|at| files(at..at + 1, 5)).collect());
            let builder = trial.builder();
            let known = builder.stage("known", Cache::default(), CacheConfig::default());
            let known = known.reads(&records).done();
            trial.drain::<RecordBatch>("out", &known);
        });
    }

    #[test]
    fn a_value_that_is_not_given_proves_nothing() {
        let cache = Cache::default();
        let without_times = || {
            let metadata = file(|metadata| _ = metadata.set_size(5).set_file_id(9u64.into()));
            batch([("0".to_owned(), metadata)])
        };
        assert_eq!(marks(&cache, without_times()), [Change::New]);
        assert_eq!(marks(&cache, without_times()), [Change::Changed]);
    }

    #[test]
    fn the_ends_of_directories_flow_through() {
        let mut batch = files(0..1, 5);
        batch.push_end(DirectoryEnd {
            directories: 0,
            directory: root("r"),
            entries: 7,
            status: DirectoryStatus::Complete,
        });
        let out = Collected::<RecordBatch>::new();
        let mut job = Builder::new("test");
        let stat = job.stage("stat", Given::new(batch), ()).done();
        let known = job
            .stage("known", Cache::default(), CacheConfig::default())
            .reads(&stat)
            .done();
        let _ = job.sink("out", out.clone()).reads(&known);
        assert_eq!(job.build().unwrap().run().outcome, Outcome::Complete);
        assert_eq!(out.items()[0].ends()[0].entries, 7);
    }

    fn problem(fields: &[&str], signature: &[Field]) -> Vec<(String, String, Option<String>)> {
        let mut job = Builder::new("test");
        let stat = Given::new(files(0..1, 1)).fields(fields);
        let stat = job.stage("stat", stat, ()).done();
        let config = CacheConfig {
            signature: signature.to_vec(),
            ..CacheConfig::default()
        };
        let known = job
            .stage("known", Cache::default(), config)
            .reads(&stat)
            .done();
        // The output has what comes in and the mark: else this would be a problem too.
        let config = crate::JsonlConfig {
            fields: Some(vec![Field::Change, Field::Kind]),
            ..crate::JsonlConfig::new("/dev/null")
        };
        let _ = job.stage("out", crate::Jsonl, config).reads(&known);
        match job.build() {
            Ok(_) => Vec::new(),
            Err(found) => found
                .iter()
                .map(|problem| {
                    let location = problem.location.path().to_owned();
                    (location, problem.message.clone(), problem.help.clone())
                })
                .collect(),
        }
    }

    #[test]
    fn a_signature_that_does_not_come_in_is_a_problem() {
        assert_eq!(problem(&["kind", "mtime"], &DEFAULT_SIGNATURE), []);
        for (fields, signature, place, message) in [
            (
                &["kind", "uid"][..],
                &DEFAULT_SIGNATURE[..],
                "",
                "the records that come in have no \"size\", \"mtime\", \"ctime\", \"inode\"",
            ),
            (
                &["kind", "mtime"],
                &[Field::Mtime, Field::Size],
                "[1]",
                "the records that come in have no \"size\"",
            ),
            (
                &["kind"],
                &[Field::Path],
                "[0]",
                "\"path\" does not tell whether an entry has changed",
            ),
            (&["kind"], &[], "", "there is no field to compare"),
        ] {
            let found = problem(fields, signature);
            assert_eq!(found.len(), 1, "{found:?}");
            let location = format!("stages.known.signature{place}");
            assert_eq!((&*found[0].0, &*found[0].1), (&*location, message));
        }
    }

    /// A file system whose clock ticks, and a scan of it now and then. Times in milliseconds.
    struct World {
        now: i64,
        tick: i64,
        /// What each file holds, as a number that grows, and when that was written by the clock of the file system.
        files: [(u64, i64); 3],
        memory: BatchedStatCache,
        /// Of each file: what it held in the last run that was delivered, and whether its times were old by then.
        delivered: HashMap<usize, (u64, bool)>,
    }

    impl World {
        fn write(&mut self, file: usize) {
            self.files[file] = (self.files[file].0 + 1, self.now / self.tick * self.tick);
        }

        fn scan(&mut self, scan: &Scan) -> Result<(), TestCaseError> {
            let looked_at = self.now;
            let updates = Arc::new(Mutex::new(Updates::new(&self.memory)));
            let mut marker = Marker {
                memory: self.memory.clone(),
                signature: vec![Field::Size, Field::Mtime],
                began: time(looked_at / 1000, (looked_at % 1000) as u32 * 1_000_000),
                prefix: PathPrefix::default(),
                updates: Arc::clone(&updates),
                counters: Counters::default(),
            };
            self.now += scan.until_stat;
            scan.before_stat.iter().for_each(|&file| self.write(file));
            let seen = self.files;
            let metadata = |(_, written): (u64, i64)| {
                let written = time(written / 1000, (written % 1000) as u32 * 1_000_000);
                file(|metadata| _ = metadata.set_size(1).set_modified(written))
            };
            let rows = (0..3).map(|file| (file.to_string(), metadata(seen[file])));
            let mut records = batch(rows);
            self.now += scan.until_marked;
            scan.after_stat.iter().for_each(|&file| self.write(file));
            lock(&updates).known = marker.mark(&mut records);
            let memory = self.memory.clone();
            Remember { memory, updates }.finish(scan.delivered);

            for (file, row) in records.rows().enumerate() {
                let (version, written) = seen[file];
                let before = self.delivered.get(&file);
                match row.change.unwrap() {
                    Change::New => prop_assert_eq!(before, None),
                    Change::Unchanged => {
                        prop_assert_eq!(before.map(|before| before.0), Some(version))
                    }
                    Change::Changed => {
                        prop_assert!(before.is_some());
                        prop_assert_ne!(before, Some(&(version, true)), "without need");
                    }
                    Change::Deleted => prop_assert!(false, "a memory does not tell what is gone"),
                }
                if scan.delivered {
                    let was_old = written < looked_at - 2000;
                    self.delivered.insert(file, (version, was_old));
                }
            }
            Ok(())
        }
    }

    #[derive(Clone, Debug)]
    struct Scan {
        /// Writes and the time before them.
        writes: Vec<(usize, i64)>,
        until_stat: i64,
        before_stat: Vec<usize>,
        until_marked: i64,
        after_stat: Vec<usize>,
        delivered: bool,
    }

    fn scan() -> impl Strategy<Value = Scan> {
        let span = || prop_oneof![Just(0), 0..500_i64, 0..5000_i64];
        (
            prop::collection::vec((0usize..3, span()), 0..3),
            span(),
            prop::collection::vec(0usize..3, 0..2),
            span(),
            prop::collection::vec(0usize..3, 0..2),
            prop::bool::weighted(0.8),
        )
            .prop_map(
                |(writes, until_stat, before_stat, until_marked, after_stat, delivered)| Scan {
                    writes,
                    until_stat,
                    before_stat,
                    until_marked,
                    after_stat,
                    delivered,
                },
            )
    }

    proptest! {
        #[test]
        fn nothing_is_called_unchanged_of_which_no_run_delivered_the_present_state(
            scans in prop::collection::vec(scan(), 1..12),
            tick in prop::sample::select(vec![1, 1000, 2000]),
        ) {
            let mut world = World {
                now: 1_000_000,
                tick,
                files: [(0, 0); 3],
                memory: BatchedStatCache::with_capacity(100),
                delivered: HashMap::new(),
            };
            for scan in scans {
                for (file, span) in &scan.writes {
                    world.now += span;
                    world.write(*file);
                }
                world.scan(&scan)?;
            }
        }
    }
}
