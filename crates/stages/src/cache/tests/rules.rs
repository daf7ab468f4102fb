//! One rule of a cache on disk after the other.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statline_pipeline::testing::Collected;
use statline_pipeline::{
    Builder, DEFAULT_INPUT, Declare, InputPort, Kind, Opening, Outcome, RunReport, StageError,
};

use super::super::disk;
use super::{Plan, run, toml_fields};
use crate::fixtures::{Given, child, file, records, root, time};
use crate::{
    Cache, CacheConfig, Change, DirectoryEnd, DirectoryStatus, EntryBatch, Enumerate,
    EnumerateConfig, Field, RecordBatch, RootIds, Rows, Stat, StatConfig,
};

#[test]
fn options_that_make_no_sense_together_are_problems() {
    let problem = |config: CacheConfig| {
        let mut job = Builder::new("test");
        let stat = job.stage("stat", Given::new(records(&[b"a"])), ()).done();
        let known = job
            .stage("known", Cache::default(), config)
            .reads(&stat)
            .done();
        let _ = job
            .sink("out", Collected::<RecordBatch>::new())
            .reads(&known);
        let found = crate::fixtures::problems(job);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2.is_some(), "{found:?}");
        found[0].0.clone()
    };
    let plain = CacheConfig::default;
    let on_disk = || CacheConfig {
        path: Some("/nowhere/store".into()),
        ..plain()
    };
    assert_eq!(
        problem(CacheConfig {
            deleted: true,
            ..plain()
        }),
        "stages.known.deleted"
    );
    let id = Some(RootIds::One("a".to_owned()));
    assert_eq!(problem(CacheConfig { id, ..plain() }), "stages.known.id");
    let max_entries = std::num::NonZeroUsize::new(9);
    assert_eq!(
        problem(CacheConfig {
            max_entries,
            ..on_disk()
        }),
        "stages.known.max_entries"
    );
}

#[test]
fn deleted_records_come_in_no_order() {
    let problems = |deleted: bool| {
        let mut job = Builder::new("test");
        let source = Given::new(records(&[b"a"])).ordered_by("path");
        let stat = job.stage("stat", source, ()).done();
        let config = CacheConfig {
            path: Some("/nowhere/store".into()),
            deleted,
            ..CacheConfig::default()
        };
        let known = job
            .stage("known", Cache::default(), config)
            .reads(&stat)
            .done();
        let _ = job.stage("out", NeedsOrder, ()).reads(&known);
        job.build()
            .err()
            .map(|problems| problems.iter().next().unwrap().message.clone())
    };
    assert_eq!(problems(false), None);
    let told = problems(true).unwrap();
    assert!(
        told.contains("a cache that tells what was deleted adds records out of order"),
        "{told}"
    );
}

/// A stage that wants its input in the order of paths.
struct NeedsOrder;

impl Kind for NeedsOrder {
    type Config = ();
    type Ports = InputPort<RecordBatch>;

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.needs_order(DEFAULT_INPUT, &["path"]);
        ports.input(DEFAULT_INPUT)
    }

    fn open(&self, (): (), _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        Err(StageError::failed("it is never opened"))
    }
}

fn marks_of(roots: &[&Path], store: &Path, id: Option<RootIds>) -> (Vec<Change>, RunReport) {
    let known = CacheConfig {
        path: Some(store.to_owned()),
        id,
        signature: vec![Field::Size, Field::Mtime],
        ..CacheConfig::default()
    };
    let stat = StatConfig {
        fields: toml_fields(&["kind", "size", "mtime"]),
        ..StatConfig::default()
    };
    let out = Collected::<RecordBatch>::new();
    let mut job = Builder::new("roots");
    let walk = EnumerateConfig::new(roots.iter().copied());
    let walk = job.stage("walk", Enumerate, walk).done();
    let meta = job.stage("meta", Stat, stat).reads(&walk).done();
    let known = job
        .stage("known", Cache::default(), known)
        .reads(&meta)
        .done();
    let _ = job.sink("out", out.clone()).reads(&known);
    let report = job.build().unwrap().run();
    let batches = out.items();
    let marks = batches
        .iter()
        .flat_map(Rows::rows)
        .map(|row| row.change.unwrap());
    (marks.collect(), report)
}

#[test]
fn a_root_is_known_by_its_id_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (tree, moved) = (place.path().join("tree"), place.path().join("elsewhere"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), "x").unwrap();
    for path in [&tree.join("a"), &tree] {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }
    let one = |id: &str| Some(RootIds::One(id.to_owned()));
    let store = place.path().join("store");
    assert_eq!(
        marks_of(&[&tree], &store, one("archive")).0,
        [Change::New; 2]
    );
    fs::rename(tree, &moved).unwrap();
    assert_eq!(
        marks_of(&[&moved], &store, one("archive")).0,
        [Change::Unchanged; 2]
    );
    assert_eq!(
        marks_of(&[&moved], &store, one("another")).0,
        [Change::New; 2]
    );
    assert_eq!(marks_of(&[&moved], &store, None).0, [Change::New; 2]);
    // By its path it is known however that is written.
    let written = moved.join(".").join("");
    assert_eq!(
        marks_of(&[&written], &store, None).0,
        [Change::Unchanged; 2]
    );
    let each = RootIds::Each([(moved.clone(), "archive".to_owned())].into());
    assert_eq!(
        marks_of(&[&moved], &store, Some(each)).0,
        [Change::Unchanged; 2]
    );
}

#[test]
fn two_roots_cannot_have_one_id() {
    let place = tempfile::tempdir().unwrap();
    let roots = ["a", "b"].map(|name| place.path().join(name));
    roots.iter().for_each(|root| fs::create_dir(root).unwrap());
    let roots = [roots[0].as_path(), roots[1].as_path()];
    let store = place.path().join("store");
    let (_, report) = marks_of(&roots, &store, Some(RootIds::One("x".to_owned())));
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.cause.unwrap().contains("have the same id"));
    assert_eq!(marks_of(&roots, &store, None).1.outcome, Outcome::Complete);
}

#[test]
fn a_deep_tree_that_is_gone_is_told_without_recursion() {
    let place = tempfile::tempdir().unwrap();
    let (root, store) = (place.path().join("tree"), place.path().join("store"));
    // Deep enough that paths are kept by their digests from some level on.
    let deep = (0..40).fold(root.join("top"), |path, level| {
        path.join(format!("a rather long name {level}"))
    });
    fs::create_dir_all(&deep).unwrap();
    let plan = Plan {
        threads: 1,
        rows_in_a_batch: 9,
        most_waiting: disk::MOST_WAITING,
        ..Plan::default()
    };
    assert_eq!(run(&root, &store, &plan).marks.len(), 42);
    fs::remove_dir_all(root.join("top")).unwrap();
    assert_eq!(run(&root, &store, &plan).deleted.len(), 41);
    assert_eq!(run(&root, &store, &plan).deleted.len(), 0);
    let info = crate::StoreInfo::of(&store).unwrap();
    assert_eq!(
        (info.directories, info.entries),
        (1, 1),
        "but the root nothing is left"
    );
}

/// A batch of files in a directory, and how that directory ends, if it does in this batch.
fn files(
    directory: &Arc<statline_platform::DirNode>,
    names: &[&str],
    end: Option<(u64, DirectoryStatus)>,
) -> RecordBatch {
    let mut entries = EntryBatch::default();
    for name in names {
        entries.extend(directory, |entries| entries.push(name.as_bytes(), None, 0));
    }
    if let Some((entries_of_it, status)) = end {
        entries.push_end(DirectoryEnd {
            directory: Arc::clone(directory),
            entries: entries_of_it,
            directories: 0,
            status,
        });
    }
    let old = file(|metadata| _ = metadata.set_size(1).set_modified(time(1, 0)));
    RecordBatch::new(entries, vec![old; names.len()])
}

/// What a run over these batches tells as deleted.
fn deleted(store: &Path, batches: Vec<RecordBatch>) -> Vec<String> {
    let config = CacheConfig {
        path: Some(store.to_owned()),
        deleted: true,
        signature: vec![Field::Size, Field::Mtime],
        ..CacheConfig::default()
    };
    let out = Collected::<RecordBatch>::new();
    let mut job = Builder::new("test");
    let stat = job.stage("stat", Given::all(batches), ()).done();
    let known = job
        .stage("known", Cache::default(), config)
        .reads(&stat)
        .done();
    let _ = job.sink("out", out.clone()).reads(&known);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let batches = out.items();
    let rows = batches.iter().flat_map(Rows::rows);
    let gone = rows.filter(|row| row.change == Some(Change::Deleted));
    gone.map(|row| String::from_utf8(row.path_bytes()).unwrap())
        .collect()
}

#[test]
fn only_a_directory_that_was_read_whole_shows_what_is_gone() {
    use DirectoryStatus::{Complete, Excluded, Failed, Vanished};
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let none: [&str; 0] = [];
    let directory = child(&root("r"), b"d");
    let files = |names: &[&str], end| files(&directory, names, end);
    assert_eq!(
        deleted(&store, vec![files(&["a", "b", "c"], Some((3, Complete)))]),
        none
    );
    for batches in [
        vec![files(&["a"], Some((1, Failed)))],
        vec![files(&[], Some((0, Failed)))],
        vec![files(&[], Some((0, Excluded)))],
        vec![files(&[], Some((0, Vanished)))],
        // One of three came to nothing on its way, or the end never came.
        vec![files(&["a", "c"], Some((3, Complete)))],
        vec![files(&["a", "c"], None)],
    ] {
        assert_eq!(deleted(&store, batches), none);
    }
    // The end may come before what it counts.
    let early = vec![files(&["a"], Some((2, Complete))), files(&["c"], None)];
    assert_eq!(deleted(&store, early), ["r/d/b"]);
    assert_eq!(
        deleted(&store, vec![files(&[], Some((0, Complete)))]),
        ["r/d/a", "r/d/c"]
    );
    assert_eq!(deleted(&store, vec![files(&[], Some((0, Complete)))]), none);
}
