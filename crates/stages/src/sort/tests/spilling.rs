//! What does not fit in memory: the same rows come out, in the same order, with all that they hold.

use std::hash::{DefaultHasher, Hash, Hasher};

use statline_platform::{Identity, Kind as EntryKind, Timestamp};

use super::*;
use crate::fixtures::{self, time};
use crate::{Change, ContentHash, FieldSet, Former};

/// The stage with as little memory as a test wants, and as many threads.
struct Sorting {
    threads: usize,
}

impl Kind for Sorting {
    type Config = SortConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn declare(&self, _: Option<&SortConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.holds_everything();
        let out = ports.output(DEFAULT_OUTPUT, Properties::default());
        (ports.input(DEFAULT_INPUT), out)
    }

    fn open(
        &self,
        config: SortConfig,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let sorter = Sorter::new(&config, Some(stage.context())).threads(self.threads);
        stage.transform(&input, &out, |_| Ok(sorter))
    }
}

/// What came out, and how many runs it took.
struct Came {
    batches: Vec<RecordBatch>,
    runs: u64,
}

fn came(batches: &[RecordBatch], config: SortConfig, threads: usize) -> Came {
    let sink = Collected::new();
    let mut job = Builder::new("test");
    let given = job.stage("given", Given::all(batches.to_vec()), ()).done();
    let sort = job.stage("sort", Sorting { threads }, config).reads(&given);
    let sort = sort.done();
    let _ = job.sink("sink", sink.clone()).reads(&sort);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.fault);
    let counters = &report.stage("sort").unwrap().counters;
    Came {
        batches: sink.items(),
        runs: counters.get("runs").copied().unwrap_or_default(),
    }
}

/// A row with every column there is.
#[derive(Clone, Debug, PartialEq)]
struct Full {
    /// The root's path, and one component for each level; the last one is the row's own.
    path: Vec<Vec<u8>>,
    /// The depths of the directories above that links lead to.
    followed: Vec<u32>,
    /// What its directory is, if that is known.
    directory: Option<(u64, u128, Option<u64>)>,
    kind: Option<EntryKind>,
    metadata: Metadata,
    target: Option<Vec<u8>>,
    change: Option<Change>,
    remembered: bool,
    hash: Option<[u8; 32]>,
    former: (FieldSet, Option<u64>, Option<Vec<u8>>),
}

/// Says the same of a directory each time: some bits that depend on its path.
fn lot(path: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn full() -> impl Strategy<Value = Full> {
    let root = prop::sample::select(vec![b"r".to_vec(), b"r/a".to_vec(), b"".to_vec()]);
    let names = prop::collection::vec(component(), 0..4);
    let metadata = prop_oneof![fixtures::metadata(), Just(Metadata::default())];
    let kind = prop::option::of(prop::sample::select(EntryKind::ALL.to_vec()));
    let target = prop::option::weighted(0.3, prop::collection::vec(1u8.., 1..6));
    let changes = Change::ALL.to_vec();
    let change = prop::option::of(prop::sample::select(changes));
    let hash = prop::option::weighted(0.3, any::<[u8; 32]>());
    let fields = prop::sample::subsequence(Field::ALL.to_vec(), 0..3);
    let former = (
        fields.prop_map(|fields| fields.into_iter().collect()),
        prop::option::weighted(0.3, any::<u64>()),
        prop::option::weighted(0.3, prop::collection::vec(1u8.., 1..6)),
    );
    (
        root,
        names,
        metadata,
        kind,
        target,
        change,
        any::<bool>(),
        hash,
        former,
    )
        .prop_map(
            |(root, mut path, metadata, kind, target, change, remembered, hash, former)| {
                path.insert(0, root);
                let above = &path[..path.len().saturating_sub(1).max(1)];
                let followed = (1..above.len()).filter(|&depth| is_followed(&above[..=depth]));
                Full {
                    followed: followed.map(|depth| depth as u32).collect(),
                    directory: identity(above)
                        .map(|known| (known.device, known.file_id.as_u128(), known.mount_id)),
                    kind: metadata.kind().or(kind),
                    path,
                    metadata,
                    target,
                    change,
                    remembered,
                    hash,
                    former,
                }
            },
        )
}

fn is_followed(directory: &[Vec<u8>]) -> bool {
    directory.len() > 1 && lot(directory).is_multiple_of(4)
}

fn identity(directory: &[Vec<u8>]) -> Option<Identity> {
    let lot = lot(directory);
    (!lot.is_multiple_of(3)).then(|| Identity {
        device: lot % 2,
        file_id: lot.into(),
        mount_id: (!lot.is_multiple_of(5)).then_some(lot % 7),
    })
}

fn made(path: &[Vec<u8>]) -> Arc<DirNode> {
    let mut node = DirNode::root(Path::new(std::str::from_utf8(&path[0]).unwrap()));
    for depth in 0..path.len() {
        if depth > 0 {
            let name = NameBuf::new(&path[depth]).unwrap();
            node = match is_followed(&path[..=depth]) {
                true => DirNode::child_followed(&node, name.as_name()),
                false => DirNode::child(&node, name.as_name()),
            };
        }
        if let Some(identity) = identity(&path[..=depth]) {
            node.expect_identity(identity);
        }
    }
    node
}

fn push(row: &Full, batch: &mut RecordBatch) {
    let (directory, name) = match &row.path[..] {
        root @ [_] => (root, &b""[..]),
        path => (&path[..path.len() - 1], &path[path.len() - 1][..]),
    };
    batch.push_row(&Row {
        directory: &made(directory),
        name: NameBuf::new(name).unwrap().as_name(),
        kind: row.kind,
        metadata: Some(&row.metadata),
        target: row.target.as_deref(),
        change: row.change,
        remembered: row.remembered,
        hash: row.hash.map(ContentHash::from).as_ref(),
        former: Former {
            differs: row.former.0,
            size: row.former.1,
            path: row.former.2.as_deref(),
        },
    });
}

fn read_full(row: &Row<'_>) -> Full {
    let followed = row.directory.ancestors();
    let followed = followed.filter(|node| node.is_followed() && !node.is_root());
    let mut followed: Vec<u32> = followed.map(DirNode::depth).collect();
    followed.reverse();
    let identity = row.directory.identity();
    Full {
        path: read(row).path,
        followed,
        directory: identity.map(|known| (known.device, known.file_id.as_u128(), known.mount_id)),
        kind: row.kind,
        metadata: row.metadata.cloned().unwrap(),
        target: row.target.map(<[u8]>::to_vec),
        change: row.change,
        remembered: row.remembered,
        hash: row.hash.map(|hash| *hash.as_bytes()),
        former: (
            row.former.differs,
            row.former.size,
            row.former.path.map(<[u8]>::to_vec),
        ),
    }
}

fn read_fulls(batches: &[RecordBatch]) -> Vec<Full> {
    let rows = batches.iter().flat_map(RecordBatch::rows);
    rows.map(|row| read_full(&row)).collect()
}

const ORDERS: [&[&str]; 9] = [
    &["path"],
    &["-path"],
    &["-size", "path"],
    &["mtime", "-path"],
    &["target", "-hash"],
    &["-target", "remembered", "inode"],
    &["change", "-kind", "depth"],
    &["-mode"],
    &["-former_path", "differs", "former_size"],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn spilled_rows_are_those_that_came_in_the_order_of_memory(
        rows in prop::collection::vec(full(), 0..80), doubles in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        at_once in 1usize..12, by in prop::sample::select(ORDERS.to_vec()), memory in 0u64..40_000,
        limit in prop::option::weighted(0.3, 1usize..60),
    ) {
        let mut rows = rows;
        // Two rows of one path: they stay as they came.
        for (number, double) in (1..).zip(doubles) {
            if !rows.is_empty() {
                let mut twin = rows[double.index(rows.len())].clone();
                twin.metadata.set_nlink(number);
                rows.push(twin);
            }
        }
        let batches: Vec<RecordBatch> = rows.chunks(at_once).map(|rows| {
            let mut batch = RecordBatch::default();
            rows.iter().for_each(|row| push(row, &mut batch));
            batch
        }).collect();

        let config = SortConfig {
            by: keys(by),
            limit: limit.and_then(NonZeroUsize::new),
            memory_limit: ByteSize::from_bytes(memory),
            spill_dir: None,
        };
        let whole = SortConfig { memory_limit: ByteSize::from_mib(64), ..config.clone() };
        let in_memory = came(&batches, whole, 1);
        prop_assert_eq!(in_memory.runs, 0);
        let mut expected = rows;
        let order = |rows: &[Full]| -> Vec<usize> {
            let mut all = RecordBatch::default();
            rows.iter().for_each(|row| push(row, &mut all));
            let rows: Vec<Row<'_>> = (0..all.len()).map(|row| all.row(row)).collect();
            let mut order: Vec<usize> = (0..rows.len()).collect();
            let keys: Vec<SortKey> = keys_with_path(&keys(by)).collect();
            order.sort_by(|a, b| {
                let orders = keys.iter().map(|key| key.compare(&rows[*a], &rows[*b]));
                orders.fold(Ordering::Equal, Ordering::then)
            });
            order
        };
        expected = order(&expected).into_iter().map(|at| expected[at].clone()).collect();
        expected.truncate(limit.unwrap_or(usize::MAX));
        prop_assert_eq!(&read_fulls(&in_memory.batches), &expected);
        for threads in [1, 8] {
            let spilled = came(&batches, config.clone(), threads);
            prop_assert_eq!(&read_fulls(&spilled.batches), &expected);
            prop_assert!(spilled.runs > 0 || batches.len() < 2 || limit.is_some());
        }
    }
}

/// Rows that take some memory, each in a directory that has two, and the ends of these directories.
fn many(rows: usize) -> Vec<RecordBatch> {
    let root = DirNode::root(Path::new("root"));
    let batches = (0..rows).step_by(512).map(|start| {
        let mut batch = RecordBatch::default();
        batch.note_looked_at(time(1_000 - start as i64, 0));
        for number in start..(start + 512).min(rows) {
            let scattered = number * 7_919 % rows;
            let name = NameBuf::new(format!("{:06}", scattered / 2).as_bytes()).unwrap();
            let directory = DirNode::child(&root, name.as_name());
            let name = NameBuf::new(format!("{}", scattered % 2).as_bytes()).unwrap();
            let mut metadata = Metadata::with_kind(EntryKind::File);
            metadata.set_size(scattered as u64 % 1_000);
            batch.push_row(&Row {
                directory: &directory,
                name: name.as_name(),
                kind: None,
                metadata: Some(&metadata),
                target: None,
                change: None,
                remembered: false,
                hash: None,
                former: crate::Former::default(),
            });
            if scattered.is_multiple_of(2) {
                batch.push_end(DirectoryEnd {
                    directory,
                    entries: 2,
                    directories: number as u64,
                    status: DirectoryStatus::Excluded,
                });
            }
        }
        batch
    });
    batches.collect()
}

fn little(by: &[&str], memory: u64) -> SortConfig {
    SortConfig {
        by: keys(by),
        memory_limit: ByteSize::from_kib(memory),
        ..SortConfig::default()
    }
}

#[test]
fn rows_and_ends_come_out_of_many_runs() {
    const ROWS: usize = 20_001;
    let batches = many(ROWS);
    for by in [&["path"][..], &["-size"]] {
        let whole = came(&batches, little(by, 1 << 20), 8);
        let spilled = came(&batches, little(by, 512), 8);
        assert_eq!(whole.runs, 0);
        assert!(spilled.runs > 20, "{} runs", spilled.runs);
        assert_eq!(read_fulls(&spilled.batches), read_fulls(&whole.batches));
        let ends = |came: &Came| -> Vec<_> {
            let ends = came.batches.iter().flat_map(Rows::ends);
            ends.map(|end| {
                let path = end.directory.path_bytes();
                (path, end.entries, end.directories, end.status)
            })
            .collect()
        };
        assert_eq!(ends(&whole).len(), ROWS.div_ceil(2));
        assert_eq!(ends(&spilled), ends(&whole));
        assert!(spilled.batches.iter().all(|batch| batch.len() <= BATCH));
        // No row of any batch was looked at before.
        let earliest = batches.iter().filter_map(RecordBatch::looked_at).min();
        let noted = |batch: &&RecordBatch| batch.rows().next().is_some();
        let mut noted = spilled
            .batches
            .iter()
            .filter(noted)
            .map(RecordBatch::looked_at);
        assert!(noted.all(|time: Option<Timestamp>| time == earliest));
    }
}

#[test]
fn rows_of_a_directory_share_its_node_after_merging() {
    let came = came(&many(10_000), little(&["path"], 512), 1);
    assert!(came.runs > 5);
    for batch in &came.batches {
        assert!(batch.entries().groups().all(|(_, rows)| rows.len() == 2));
    }
}

#[test]
fn what_fits_in_memory_keeps_its_nodes() {
    let came = came(&many(3_000), little(&["path"], 1 << 20), 1);
    assert_eq!(came.runs, 0);
    let nodes: BTreeSet<*const DirNode> = came
        .batches
        .iter()
        .flat_map(RecordBatch::rows)
        .map(|row| Arc::as_ptr(row.directory))
        .collect();
    let ends = came.batches.iter().flat_map(Rows::ends);
    let known = ends.filter(|end| nodes.contains(&Arc::as_ptr(&end.directory)));
    assert_eq!(known.count(), 1_500);
}

#[test]
fn ends_alone_are_bounded_as_well() {
    let mut batches = many(20_000);
    let ends = batches.iter_mut().map(|batch| {
        let mut ends = RecordBatch::default();
        batch
            .take_ends()
            .into_iter()
            .for_each(|end| ends.push_end(end));
        ends
    });
    let ends: Vec<RecordBatch> = ends.collect();
    let came = came(&ends, little(&["path"], 512), 1);
    assert!(came.runs > 1, "{} runs", came.runs);
    assert_eq!(came.batches.iter().flat_map(Rows::ends).count(), 10_000);
}

#[test]
fn a_limit_beyond_memory_keeps_the_first_rows() {
    let batches = many(30_000);
    let whole = came(&batches, little(&["-size"], 1 << 20), 8);
    for limit in [1, 500, 20_000, 40_000] {
        let config = SortConfig {
            limit: NonZeroUsize::new(limit),
            ..little(&["-size"], 4 << 10)
        };
        let first = came(&batches, config, 8);
        assert_eq!(
            first.runs > 0,
            limit > 10_000,
            "{limit}: {} runs",
            first.runs
        );
        let expected = read_fulls(&whole.batches);
        let expected = &expected[..limit.min(expected.len())];
        assert_eq!(read_fulls(&first.batches), expected);
    }
}

#[test]
fn a_directory_that_takes_no_file_is_named_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let config = SortConfig {
        spill_dir: Some(missing.clone()),
        ..SortConfig::default()
    };
    let report = job(Vec::new(), config, &Collected::new())
        .build()
        .unwrap()
        .run();
    let fault = report.fault.unwrap();
    assert_eq!(fault.kind, statline_pipeline::FaultKind::Open);
    let missing = format!("{missing:?}");
    assert!(fault.message.contains(&missing), "{}", fault.message);
}

#[test]
fn too_little_memory_is_a_problem() {
    let config = SortConfig {
        memory_limit: ByteSize::from_mib(1),
        ..SortConfig::default()
    };
    let found = problems(job(Vec::new(), config, &Collected::new()));
    let problem = (
        "stages.sort.memory_limit".to_owned(),
        "1MiB is too little to sort in".to_owned(),
        Some("allow at least 8MiB".to_owned()),
    );
    assert_eq!(found, [problem]);
}
