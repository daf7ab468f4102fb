//! The stage kind `sort`: takes every record, puts them in order, then sends them.
//!
//! It works in two steps. Records are gathered into *runs*, and a run is sorted when it is closed; at the end the runs
//! are *merged* into the output. At present everything is one run in memory, so merging is reading it off; runs that
//! are written to files will come in between.
//!
//! What must stay true: the output depends on the records alone, not on the order in which they came, nor on how they
//! were cut into batches, nor on the number of threads. That is why the path is always the last key. (Two records of
//! one path, as from a root that is scanned twice, are next to each other in either order.)

use std::cmp::Ordering;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Order, Outlet, OutputPort,
    Properties, StageError, Transform,
};

use crate::field::{come_as_records, need_each};
use crate::left_out;
use crate::path_order::{Place, in_path_order};
use crate::workers::Workers;
use crate::{DirectoryEnd, EntryBatch, Field, RecordBatch, Row, SortKey};

/// Records in a batch that the stage sends, and in one that it gathers.
const BATCH: usize = 1024;

/// Batches that are made at once.
const AT_ONCE: usize = 8;

/// Fewer records are sorted sooner than threads are started.
const WORTH_THREADS: usize = 1 << 14;

/// Records above a limit: enough that throwing them away costs little for each.
const SLACK: usize = 8 * BATCH;

/// Options of the kind `sort`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SortConfig {
    /// The fields to sort by, the first one first; `-size` for descending.
    ///
    /// Paths are compared component by component and by bytes, so a directory is followed at once by its contents.
    /// Records that are equal in all of these fields are in the order of their paths. A value that is absent counts as
    /// smaller than any other: such records come first, or last where the field is descending. Kinds are in the order
    /// file, directory, symlink, fifo, socket, block_device, char_device, other; marks in the order new, changed,
    /// unchanged, deleted, added, removed, renamed, unknown, copy, update, delete.
    #[serde(default = "by_path")]
    pub by: Vec<SortKey>,

    /// Keep only so many records, the first ones of the order.
    ///
    /// Memory is then bounded by this number, however many records come in. The ends of directories are not passed on:
    /// they speak of entries that were left out.
    #[serde(default)]
    pub limit: Option<NonZeroUsize>,
}

fn by_path() -> Vec<SortKey> {
    vec![SortKey::PATH]
}

impl Default for SortConfig {
    fn default() -> SortConfig {
        SortConfig {
            by: by_path(),
            limit: None,
        }
    }
}

/// The kind `sort`: records in, the same records out, in order.
///
/// It holds every record until its input ends, unless there is a limit. With the feature `parallel` the sorting is
/// spread over a pool of threads of its own, which exists only while it sorts.
///
/// A record takes about 230 bytes: measured with a million of them, 16 to a directory, at the peak, with the nodes of
/// their directories. The ends of directories are sent after all records, in path order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sort;

impl Kind for Sort {
    type Config = SortConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "puts records in order, or keeps the first of an order"
    }

    fn declare(&self, config: Option<&SortConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config {
            check_keys(&config.by, ports);
        }
        ports.holds_everything();
        let fields = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.fields.clone())
            .unwrap_or_default();
        let order = config.map_or(Order::Unknown, |config| {
            Order::By(
                keys_with_path(&config.by)
                    .map(|key| key.to_string())
                    .collect(),
            )
        });
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, Properties { order, fields }),
        )
    }

    fn open(
        &self,
        config: SortConfig,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        left_out::state(stage.context(), "sort", &config)?;
        stage.transform(&input, &out, |_| Ok(Sorter::new(&config)))
    }
}

/// Reports keys that cannot be sorted by.
fn check_keys(by: &[SortKey], ports: &mut Declare<'_>) {
    if by.is_empty() {
        let help = "name a field, or take `by` out to sort by path";
        ports.problem("by", "there is no field to sort by", Some(help.into()));
    }
    let fields: Vec<Field> = by.iter().map(|key| key.field).collect();
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].contains(field) {
            let message = format!("\"{field}\" is listed twice");
            ports.problem(&format!("by[{at}]"), message, None);
        }
    }
    // Whoever sends anything else has the wrong type.
    if come_as_records(ports) {
        need_each(ports, "by", &fields);
    }
}

/// The keys that decide anything: nothing after the path does, and the path decides last.
fn keys_with_path(by: &[SortKey]) -> impl Iterator<Item = SortKey> {
    let path = by.iter().position(|key| key.field == Field::Path);
    let (before, path) = match path {
        Some(at) => (&by[..at], by[at]),
        None => (by, SortKey::PATH),
    };
    before.iter().copied().chain([path])
}

/// All rows of the batches, in order. The last key is the path.
fn sort(batches: &[RecordBatch], keys: &[SortKey], workers: &Workers) -> Vec<Place> {
    let entries: Vec<&EntryBatch> = batches.iter().map(RecordBatch::entries).collect();
    let mut order = in_path_order(&entries, workers);
    let Some((path, before)) = keys.split_last() else {
        return order;
    };
    if path.descending {
        order.reverse();
    }
    // One stable pass for each key, the first key last: what it finds equal stays as the passes before have left it.
    for key in before.iter().rev() {
        order = sort_by_key(batches, &order, *key, workers);
    }
    order
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
fn read_off<E>(
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

fn copy(batches: &[RecordBatch], order: &[Place]) -> RecordBatch {
    let mut copy = RecordBatch::with_capacity(order.len());
    let mut rest = order;
    while let Some(first) = rest.first() {
        let source = &batches[first.batch as usize];
        let (directory, end) = source.entries().group_of(first.row as usize);
        // Neighbours that stay neighbours are copied at once.
        let together = (first.row..end as u32)
            .zip(rest)
            .take_while(|&(row, place)| *place == Place { row, ..*first })
            .count();
        let start = first.row as usize;
        copy.append_range(directory, source, start..start + together);
        rest = &rest[together..];
    }
    copy
}

/// What was gathered, the same whether there is a limit or not.
#[derive(Default)]
struct Gathered {
    batches: Vec<RecordBatch>,
    /// A batch that small ones are added to, lest each keep the memory of a large one.
    open: RecordBatch,
    rows: usize,
}

impl Gathered {
    fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.len();
        if batch.len() >= BATCH * 3 / 4 {
            self.batches.push(batch);
            return;
        }
        if self.open.len() + batch.len() > BATCH {
            let full = std::mem::take(&mut self.open);
            self.batches.push(full);
        }
        if self.open.is_empty() {
            self.open = RecordBatch::with_capacity(BATCH);
        }
        for (directory, range) in batch.entries().groups() {
            self.open.append_range(directory, &batch, range);
        }
    }

    /// All rows, in order.
    fn sort(&mut self, keys: &[SortKey], workers: &Workers) -> Vec<Place> {
        if !self.open.is_empty() {
            let last = std::mem::take(&mut self.open);
            self.batches.push(last);
        }
        sort(&self.batches, keys, workers)
    }
}

/// The stage at work.
struct Sorter {
    /// The last one is the path.
    keys: Vec<SortKey>,
    limit: Option<usize>,
    /// With a limit, how many rows above it are gathered before the surplus is thrown away, at the least.
    slack: usize,
    gathered: Gathered,
    /// With a limit, once surplus was thrown away: the last row that was kept, in a batch of its own.
    worst: Option<RecordBatch>,
    ends: Vec<DirectoryEnd>,
}

impl Sorter {
    fn new(config: &SortConfig) -> Sorter {
        Sorter {
            keys: keys_with_path(&config.by).collect(),
            limit: config.limit.map(NonZeroUsize::get),
            slack: SLACK,
            gathered: Gathered::default(),
            worst: None,
            ends: Vec::new(),
        }
    }

    fn compare(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        self.keys
            .iter()
            .map(|key| key.compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Takes a batch in where only the first `limit` rows are wanted.
    fn gather_first(&mut self, mut batch: RecordBatch, limit: usize) -> Result<(), StageError> {
        batch.take_ends();
        if let Some(worst) = &self.worst {
            let worst = worst.row(0);
            // One that is equal came later, so it stays behind.
            batch.retain(|row| self.compare(row, &worst).is_lt());
        }
        self.gathered.add(batch);
        if self.gathered.rows
            < limit
                .saturating_mul(2)
                .max(limit.saturating_add(self.slack))
        {
            return Ok(());
        }
        let (order, workers) = self.close()?;
        let batches = std::mem::take(&mut self.gathered).batches;
        self.worst = order
            .last()
            .map(|last| copy(&batches, std::slice::from_ref(last)));
        read_off(&batches, &order, &workers, |batch| {
            self.gathered.add(batch);
            Ok(())
        })
    }

    /// Closes the run: the rows that are wanted, in order, and the threads to read them off with.
    fn close(&mut self) -> Result<(Vec<Place>, Workers), StageError> {
        let workers = Workers::new(match self.gathered.rows < WORTH_THREADS {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, usize::from),
        })?;
        let mut order = self.gathered.sort(&self.keys, &workers);
        order.truncate(self.limit.unwrap_or(usize::MAX));
        Ok((order, workers))
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
        if let Some(limit) = self.limit {
            return self.gather_first(batch, limit);
        }
        self.ends.append(&mut batch.take_ends());
        self.gathered.add(batch);
        Ok(())
    }

    fn finish(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let (order, workers) = self.close()?;
        read_off(&self.gathered.batches, &order, &workers, |batch| {
            out.send(batch)
        })?;
        self.gathered = Gathered::default();

        let mut directories = EntryBatch::with_capacity(self.ends.len());
        for end in &self.ends {
            directories.extend(&end.directory, |entries| entries.push(b"", None, 0));
        }
        let order = in_path_order(&[&directories], &workers);
        for places in order.chunks(BATCH) {
            let mut batch = RecordBatch::default();
            for place in places {
                batch.push_end(self.ends[place.row as usize].clone());
            }
            out.send(batch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;
    use statline_pipeline::testing::{Collected, conformance};
    use statline_pipeline::{Builder, Outcome};
    use statline_platform::{DirNode, Metadata, NameBuf};

    use super::*;
    use crate::fixtures::{Given, problems};
    use crate::{DirectoryStatus, Rows};

    /// An entry of a made-up tree.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Entry {
        /// The root's path, and one component for each level.
        path: Vec<Vec<u8>>,
        size: Option<u64>,
    }

    /// Few names, of few and tricky bytes, so that paths often share a beginning; `.` sorts before `/`.
    fn component() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(prop::sample::select(b"\x01.a\xff".to_vec()), 1..3),
            (0u8..3).prop_map(|last| [b"seventeen bytes or".as_slice(), &[b'0' + last]].concat()),
        ]
    }

    /// Entries with distinct paths, in any order.
    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let root = prop::sample::select(vec![b"r".to_vec(), b"r/a".to_vec(), b"r.".to_vec()]);
        let entry = (
            root,
            prop::collection::vec(component(), 0..5),
            prop::option::of(0u64..4),
        );
        prop::collection::vec(entry, 0..60).prop_map(|entries| {
            let mut seen = BTreeSet::new();
            let entry = |(root, mut path, size): (Vec<u8>, Vec<Vec<u8>>, _)| {
                path.insert(0, root);
                seen.insert(path.clone()).then_some(Entry { path, size })
            };
            entries.into_iter().filter_map(entry).collect()
        })
    }

    /// How entries come to the stage: their order, where batches end, and whether directories share their nodes.
    #[derive(Clone, Debug)]
    struct Arrival {
        order: Vec<prop::sample::Index>,
        cuts: Vec<bool>,
        share_nodes: bool,
    }

    fn arrival() -> impl Strategy<Value = Arrival> {
        (
            prop::collection::vec(any::<prop::sample::Index>(), 60),
            prop::collection::vec(any::<bool>(), 60),
            any::<bool>(),
        )
            .prop_map(|(order, cuts, share_nodes)| Arrival {
                order,
                cuts,
                share_nodes,
            })
    }

    fn node(path: &[Vec<u8>], known: &mut Vec<(Vec<Vec<u8>>, Arc<DirNode>)>) -> Arc<DirNode> {
        if let Some((_, node)) = known.iter().find(|(other, _)| *other == path) {
            return Arc::clone(node);
        }
        let (name, above) = path.split_last().unwrap();
        let node = match above {
            [] => DirNode::root(Path::new(std::str::from_utf8(name).unwrap())),
            above => DirNode::child(&node(above, known), NameBuf::new(name).unwrap().as_name()),
        };
        known.push((path.to_vec(), Arc::clone(&node)));
        node
    }

    /// Every entry is a link to its own name.
    fn target(entry: &Entry) -> Option<&[u8]> {
        entry.path[1..].last().map(Vec::as_slice)
    }

    fn batches(entries: &[Entry], arrival: &Arrival) -> Vec<RecordBatch> {
        let mut rest = entries.to_vec();
        let mut known = Vec::new();
        let mut batches = vec![RecordBatch::default()];
        for (at, cut) in arrival.order.iter().zip(&arrival.cuts) {
            if rest.is_empty() {
                break;
            }
            let entry = rest.swap_remove(at.index(rest.len()));
            let (directory, name) = match &entry.path[..] {
                root @ [_] => (root, &b""[..]),
                path => (&path[..path.len() - 1], &path[path.len() - 1][..]),
            };
            if !arrival.share_nodes {
                known.clear();
            }
            let mut metadata = Metadata::default();
            entry.size.map(|size| metadata.set_size(size));
            let last = batches.last_mut().unwrap();
            last.push_row(&Row {
                directory: &node(directory, &mut known),
                name: NameBuf::new(name).unwrap().as_name(),
                kind: None,
                metadata: Some(&metadata),
                target: target(&entry),
                change: None,
                remembered: false,
                hash: None,
                former: crate::Former::default(),
            });
            if *cut {
                batches.push(RecordBatch::default());
            }
        }
        batches
    }

    fn read(row: &Row<'_>) -> Entry {
        let mut path: Vec<Vec<u8>> = row
            .directory
            .ancestors()
            .map(|node| match node.is_root() {
                true => node.path_bytes(),
                false => node.name().as_bytes().to_vec(),
            })
            .collect();
        path.reverse();
        if !row.name.is_empty() {
            path.push(row.name.as_bytes().to_vec());
        }
        let size = row.metadata.and_then(Metadata::size);
        Entry { path, size }
    }

    fn read_all(batches: &[RecordBatch]) -> Vec<Entry> {
        let rows = batches.iter().flat_map(RecordBatch::rows);
        rows.map(|row| read(&row)).collect()
    }

    fn keys(by: &[&str]) -> Vec<SortKey> {
        by.iter().map(|key| key.parse().unwrap()).collect()
    }

    fn sorted(batches: &[RecordBatch], by: &[&str], threads: usize) -> Vec<Entry> {
        let keys: Vec<SortKey> = keys_with_path(&keys(by)).collect();
        let workers = Workers::new(threads).unwrap();
        let order = sort(batches, &keys, &workers);
        let mut all = Vec::new();
        let taken = read_off(batches, &order, &workers, |batch| {
            all.push(batch);
            Ok::<_, ()>(())
        });
        assert_eq!(taken, Ok(()));
        read_all(&all)
    }

    /// Runs `batches` through a job.
    fn run(batches: Vec<RecordBatch>, config: SortConfig) -> Vec<RecordBatch> {
        let sink = Collected::new();
        let job = job(batches, config, &sink).build().unwrap();
        assert_eq!(job.run().outcome, Outcome::Complete);
        sink.items()
    }

    fn job(
        batches: Vec<RecordBatch>,
        config: SortConfig,
        sink: &Collected<RecordBatch>,
    ) -> Builder {
        let mut job = Builder::new("test");
        let stat = Given::all(batches).fields(&["kind", "size"]);
        let stat = job.stage("stat", stat, ()).done();
        let sort = job.stage("sort", Sort, config).reads(&stat).done();
        let _ = job.sink("sink", sink.clone()).reads(&sort);
        job
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_component_lists_however_rows_arrive(
            entries in entries(), one in arrival(), other in arrival(),
        ) {
            let mut expected = entries.clone();
            expected.sort_by(|a, b| a.path.cmp(&b.path));
            for arrival in [one, other] {
                let batches = batches(&entries, &arrival);
                for threads in [1, 8] {
                    prop_assert_eq!(&sorted(&batches, &["path"], threads), &expected);
                }
            }
        }

        #[test]
        fn rows_with_equal_keys_stay_in_path_order(
            entries in entries(), arrival in arrival(),
        ) {
            let batches = batches(&entries, &arrival);
            let mut expected = entries.clone();
            expected.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
            prop_assert_eq!(&sorted(&batches, &["-size"], 8), &expected);
            expected.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| b.path.cmp(&a.path)));
            prop_assert_eq!(&sorted(&batches, &["size", "-path", "depth"], 1), &expected);
            let depth = |entry: &Entry| entry.path.len();
            expected.sort_by(|a, b| {
                let by_target = target(b).cmp(&target(a)).then(depth(a).cmp(&depth(b)));
                by_target.then_with(|| a.path.cmp(&b.path))
            });
            prop_assert_eq!(&sorted(&batches, &["-target", "depth"], 1), &expected);
        }

        #[test]
        fn comparing_two_rows_agrees_with_sorting(
            entries in entries(), arrival in arrival(), descending in any::<bool>(),
        ) {
            for field in ["path", "target", "depth", "size"] {
                let key = SortKey { descending, ..field.parse().unwrap() };
                let batches = batches(&entries, &arrival);
                let rows: Vec<Row<'_>> = batches.iter().flat_map(RecordBatch::rows).collect();
                for a in &rows {
                    for b in &rows {
                        let (order, prefixes) = (key.compare(a, b), (key.prefix(a), key.prefix(b)));
                        match prefixes.0.cmp(&prefixes.1) {
                            Ordering::Equal if key.is_all(prefixes.0) => prop_assert!(order.is_eq()),
                            Ordering::Equal => {}
                            prefixes => prop_assert_eq!(prefixes, order),
                        }
                    }
                }
            }
        }

        #[test]
        fn a_limit_keeps_the_beginning_of_the_whole_order(
            entries in entries(), arrival in arrival(), limit in 1usize..20, slack in 0usize..8,
        ) {
            let batches = batches(&entries, &arrival);
            for by in [["path"], ["-size"], ["-path"]] {
                let mut whole = sorted(&batches, &by, 1);
                whole.truncate(limit);
                let mut sorter = sorter(&by, limit);
                sorter.slack = slack;
                for batch in batches.clone() {
                    sorter.gather_first(batch, limit).unwrap();
                    prop_assert!(sorter.gathered.rows < (limit + slack).max(2 * limit));
                }
                let (order, workers) = sorter.close().unwrap();
                let mut kept = Vec::new();
                read_off(&sorter.gathered.batches, &order, &workers, |batch| {
                    kept.push(batch);
                    Ok::<_, ()>(())
                }).unwrap();
                prop_assert_eq!(read_all(&kept), whole);
            }
        }

        #[test]
        fn every_row_and_every_end_of_a_directory_comes_out(
            entries in entries(), arrival in arrival(),
        ) {
            let mut batches = batches(&entries, &arrival);
            let mut expected = BTreeSet::new();
            for (number, batch) in (0..).zip(&mut batches) {
                let directories: Vec<_> = batch.entries().groups().map(|(node, _)| Arc::clone(node)).collect();
                for directory in directories {
                    expected.insert((directory.path_bytes(), number));
                    batch.push_end(DirectoryEnd { directory, entries: number, directories: 0, status: DirectoryStatus::Failed });
                }
            }
            let out = run(batches, SortConfig::default());
            let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path).collect();
            paths.sort();
            let out_paths: Vec<_> = read_all(&out).into_iter().map(|entry| entry.path).collect();
            prop_assert_eq!(out_paths, paths);

            let ends: Vec<&DirectoryEnd> = out.iter().flat_map(Rows::ends).collect();
            let found: BTreeSet<_> = ends.iter().map(|end| (end.directory.path_bytes(), end.entries)).collect();
            prop_assert_eq!(found, expected);
            let in_order = ends.is_sorted_by(|a, b| {
                statline_platform::compare_paths((&a.directory, b""), (&b.directory, b"")).is_le()
            });
            prop_assert!(in_order);
            let first_end = out.iter().position(|batch| !batch.ends().is_empty()).unwrap_or(out.len());
            prop_assert!(out[first_end..].iter().all(|batch| batch.rows().next().is_none()), "ends come after all rows");
        }
    }

    fn directory_of(names: usize) -> Vec<RecordBatch> {
        let root = DirNode::root(Path::new("root"));
        let mut batch = RecordBatch::default();
        for number in 0..names {
            let name = format!("{:05}", (number * 7919) % 100_003);
            batch.push_row(&Row {
                directory: &root,
                name: NameBuf::new(name.as_bytes()).unwrap().as_name(),
                kind: None,
                metadata: Some(&Metadata::default()),
                target: None,
                change: None,
                remembered: false,
                hash: None,
                former: crate::Former::default(),
            });
        }
        vec![batch]
    }

    #[test]
    fn a_large_directory_is_the_same_from_one_thread_and_from_eight() {
        let batches = directory_of(2 * WORTH_THREADS);
        let one = sorted(&batches, &["path"], 1);
        assert!(one.is_sorted_by(|a, b| a.path < b.path));
        assert_eq!(sorted(&batches, &["path"], 8), one);
        let out = run(batches, SortConfig::default());
        assert_eq!(read_all(&out), one);
        assert!(out.iter().all(|batch| batch.len() <= BATCH));
    }

    #[test]
    fn a_limited_stage_sends_the_first_rows_and_no_ends() {
        let mut batches = directory_of(3 * SLACK);
        let whole = sorted(&batches, &["path"], 1);
        let directory = Arc::clone(batches[0].row(0).directory);
        let status = DirectoryStatus::Complete;
        batches[0].push_end(DirectoryEnd {
            directories: 0,
            directory,
            entries: 3,
            status,
        });
        let config = SortConfig {
            limit: NonZeroUsize::new(5),
            ..SortConfig::default()
        };
        let out = run(batches, config);
        assert_eq!(read_all(&out), whole[..5]);
        assert!(out.iter().all(|batch| batch.ends().is_empty()));
    }

    #[test]
    fn it_takes_what_the_framework_may_do_to_it() {
        conformance(|trial| {
            let batches = (0..5).flat_map(|_| directory_of(10)).collect();
            let records = trial.feed::<RecordBatch>("records", batches);
            let builder = trial.builder();
            let sort = builder.stage("sort", Sort, SortConfig::default());
            let sort = sort.reads(&records).done();
            trial.drain::<RecordBatch>("out", &sort);
        });
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_directories_is_sorted_without_recursion() {
        let mut node = DirNode::root(Path::new("root"));
        for _ in 0..100_000 {
            node = DirNode::child(&node, NameBuf::new(b"d").unwrap().as_name());
        }
        let mut batch = RecordBatch::default();
        for name in ["b", "a"] {
            batch.push_row(&Row {
                directory: &node,
                name: NameBuf::new(name.as_bytes()).unwrap().as_name(),
                kind: None,
                metadata: None,
                target: None,
                change: None,
                remembered: false,
                hash: None,
                former: crate::Former::default(),
            });
        }
        let order = sort(&[batch], &[SortKey::PATH], &Workers::default());
        assert_eq!(
            order.iter().map(|place| place.row).collect::<Vec<_>>(),
            [1, 0]
        );
    }

    #[test]
    fn keys_that_decide_nothing_or_are_not_filled_are_problems() {
        for (by, place, message, help) in [
            (
                &["path", "size", "-mtime", "change"][..],
                "[2]",
                "the records that come in have no \"mtime\", \"change\"",
                Some(
                    "add \"mtime\" to the `fields` of the stage of type stat; \
                     put a stage of type cache or diff in between",
                ),
            ),
            (&["size", "-size"], "[1]", "\"size\" is listed twice", None),
            (
                &[],
                "",
                "there is no field to sort by",
                Some("name a field, or take `by` out to sort by path"),
            ),
        ] {
            let config = SortConfig {
                by: keys(by),
                limit: None,
            };
            let problem = (
                format!("stages.sort.by{place}"),
                message.to_owned(),
                help.map(str::to_owned),
            );
            let found = problems(job(Vec::new(), config, &Collected::new()));
            assert_eq!(found, [problem]);
        }
    }

    #[test]
    fn the_output_says_by_what_it_is_ordered() {
        struct Wants(&'static [&'static str]);

        impl Kind for Wants {
            type Config = Collected<RecordBatch>;
            type Ports = InputPort<RecordBatch>;

            fn declare(&self, _: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports {
                ports.needs_order(DEFAULT_INPUT, self.0);
                assert!(
                    ports
                        .incoming(DEFAULT_INPUT)
                        .unwrap()
                        .properties
                        .fields
                        .contains("size")
                );
                ports.input(DEFAULT_INPUT)
            }

            fn open(
                &self,
                _: Self::Config,
                _: Self::Ports,
                _: &mut Opening<'_>,
            ) -> Result<(), StageError> {
                Ok(())
            }
        }

        let is_ordered = |by: &[&str], wanted| {
            let mut job = Builder::new("test");
            let stat = Given::<RecordBatch>::all(Vec::new()).fields(&["size"]);
            let stat = job.stage("stat", stat, ()).done();
            let config = SortConfig {
                by: keys(by),
                limit: None,
            };
            let sort = job.stage("sort", Sort, config).reads(&stat).done();
            let _ = job
                .stage("wants", Wants(wanted), Collected::new())
                .reads(&sort);
            job.build().is_ok()
        };
        assert!(is_ordered(&["path", "size"], &["path"]));
        assert!(is_ordered(&["-size"], &["-size", "path"]));
        assert!(!is_ordered(&["-size"], &["path"]));
        assert!(!is_ordered(&["path", "size"], &["path", "size"]));
    }

    fn sorter(by: &[&str], limit: usize) -> Sorter {
        Sorter::new(&SortConfig {
            by: keys(by),
            limit: NonZeroUsize::new(limit),
        })
    }
}
