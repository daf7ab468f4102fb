//! The kind, and the order that comes out of it.

mod spilling;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use statline_pipeline::testing::{Collected, conformance};
use statline_pipeline::{Builder, Outcome};
use statline_platform::{DirNode, Metadata, NameBuf};

use super::order::{read_off, sort};
use super::sorter::{SLACK, WORTH_THREADS};
use super::*;
use crate::fixtures::{Given, problems};
use crate::workers::Workers;
use crate::{DirectoryEnd, DirectoryStatus, Row, Rows};

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

fn job(batches: Vec<RecordBatch>, config: SortConfig, sink: &Collected<RecordBatch>) -> Builder {
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
                sorter.gather(batch).unwrap();
                prop_assert!(sorter.gathered.rows < (limit + slack).max(2 * limit));
            }
            let order = sorter.sort().unwrap();
            let mut kept = Vec::new();
            read_off(&sorter.gathered.batches, &order, &Workers::default(), |batch| {
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
            ..SortConfig::default()
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
            ..SortConfig::default()
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
    let config = SortConfig {
        by: keys(by),
        limit: NonZeroUsize::new(limit),
        ..SortConfig::default()
    };
    Sorter::new(&config, None)
}
