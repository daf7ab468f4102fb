//! `enumerate`, `batch` and `stat` together over real trees: nothing lost, nothing twice, nothing let out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
#[cfg(unix)]
use std::collections::BTreeSet;
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, ErrorRecord, Errors, Outcome, Period, PipelineSettings, RunReport, Sink, StageError,
};
use statline_platform::{DirNode, Fields, Kind, with_slashes};
use statline_stages::{
    Batch, BatchConfig, DirectoryStatus, EntryBatch, Enumerate, EnumerateConfig, RecordBatch, Rows,
    Stat, StatConfig, StatFields,
};

struct Scanned {
    report: RunReport,
    batches: Vec<RecordBatch>,
    errors: Vec<ErrorRecord>,
}

impl Scanned {
    fn paths(&self) -> Vec<String> {
        let rows = self.batches.iter().flat_map(Rows::rows);
        let mut paths: Vec<String> = rows
            .map(|row| row.path_bytes().escape_ascii().to_string())
            .collect();
        paths.sort();
        paths
    }

    /// The paths below a root, relative to it.
    fn below(&self, root: &Path) -> Vec<String> {
        let prefix = format!("{}/", with_slashes(root).display());
        self.paths()
            .iter()
            .filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    }

    fn ends(&self) -> BTreeMap<String, (DirectoryStatus, u64)> {
        let mut ends = BTreeMap::new();
        for end in self.batches.iter().flat_map(Rows::ends) {
            let path = end.directory.path_bytes().escape_ascii().to_string();
            let before = ends.insert(path.clone(), (end.status, end.entries));
            assert_eq!(before, None, "{path} ended twice");
        }
        ends
    }

    fn counter(&self, stage: &str, name: &str) -> u64 {
        self.report.stage(stage).unwrap().counters[name]
    }
}

fn scan_with(walk: EnumerateConfig, stat: StatConfig, threads: usize) -> Scanned {
    let (records, errors) = (Collected::new(), Collected::new());
    let mut job = Builder::new("scan");
    let walk = job.stage("walk", Enumerate, walk).threads(threads).done();
    let config = BatchConfig {
        max_entries: 7,
        ..BatchConfig::default()
    };
    let group = job.stage("group", Batch, config).reads(&walk).done();
    let meta = job
        .stage("meta", Stat, stat)
        .reads(&group)
        .threads(threads)
        .done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let _ = job
        .sink("errors", errors.clone())
        .reads(walk.port("errors"))
        .reads(meta.port("errors"));
    let report = job.build().unwrap().run();
    Scanned {
        report,
        batches: records.items(),
        errors: errors.items(),
    }
}

fn scan(walk: EnumerateConfig) -> Scanned {
    scan_with(walk, StatConfig::default(), 2)
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// `a/{1,2}`, `a/b/{3}`, `c`, and `a/b/e`, an empty directory.
fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/e")).unwrap();
    for file in ["a/1", "a/2.log", "a/b/3", "c"] {
        fs::write(root.join(file), file).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn every_entry_of_a_hostile_tree_comes_out_once_on_any_number_of_threads() {
    let directory = temporary();
    let tree = statline_testfs::hostile_tree(&directory.path().join("tree")).unwrap();
    let mut expected: Vec<String> = tree
        .paths()
        .iter()
        .map(|path| format!("{}/{}", tree.root().display(), path.escape_ascii()))
        .chain([tree.root().display().to_string()])
        .collect();
    expected.sort();
    for threads in [1, 8] {
        let scanned = scan_with(
            EnumerateConfig::new([tree.root()]),
            StatConfig::default(),
            threads,
        );
        assert_eq!(scanned.paths(), expected, "on {threads} threads");
        // Only what permissions hide is missing, and that is on record.
        let unreadable = scanned.errors.len();
        let failed = scanned
            .ends()
            .values()
            .filter(|end| end.0 == DirectoryStatus::Failed)
            .count();
        assert_eq!(failed, unreadable);
        let complete = scanned.report.outcome == Outcome::Complete;
        assert_eq!(complete, unreadable == 0, "{:?}", scanned.report.fault);
    }
}

#[cfg(unix)]
#[test]
fn metadata_that_was_fetched_ahead_is_what_a_later_call_gives() {
    let directory = temporary();
    small_tree(directory.path());
    let config = EnumerateConfig::new([directory.path()]);
    let scanned = scan_with(config, StatConfig::default(), 1);
    // The only worker never lacks a directory, so it goes ahead unless the file system is remote.
    assert!(scanned.counter("walk", "fetched_ahead") > 0);
    for row in scanned.batches.iter().flat_map(Rows::rows) {
        let path = String::from_utf8(row.path_bytes()).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        let metadata = row.metadata.unwrap();
        assert_eq!(metadata.file_id().unwrap().low(), found.ino(), "{path}");
        assert_eq!(metadata.size(), Some(found.size()), "{path}");
        let modified = metadata.modified().unwrap();
        assert_eq!(modified.seconds, found.mtime(), "{path}");
    }
}

/// On Windows it comes with the names.
#[cfg(unix)]
#[test]
fn nothing_is_fetched_ahead_where_the_kind_is_enough() {
    let directory = temporary();
    small_tree(directory.path());
    let kind = StatConfig {
        fields: StatFields::new(Fields::KIND),
        ..StatConfig::default()
    };
    let scanned = scan_with(EnumerateConfig::new([directory.path()]), kind, 1);
    assert_eq!(scanned.counter("walk", "fetched_ahead"), 0);
    assert!(!scanned.paths().is_empty());
}

/// On Windows it comes with the names.
#[cfg(unix)]
#[test]
fn nothing_is_fetched_ahead_where_names_go_elsewhere_too() {
    let directory = temporary();
    small_tree(directory.path());
    let mut job = Builder::new("two");
    let config = EnumerateConfig::new([directory.path()]);
    let names = job
        .stage("names", Enumerate, config.clone())
        .threads(1)
        .done();
    let walk = job.stage("walk", Enumerate, config).threads(1).done();
    let meta = job
        .stage("meta", Stat, StatConfig::default())
        .reads(&walk)
        .done();
    let _ = job
        .sink("listed", Collected::<EntryBatch>::new())
        .reads(&names);
    let _ = job
        .sink("records", Collected::<RecordBatch>::new())
        .reads(&meta);
    let report = job.build().unwrap().run();
    for stage in ["names", "walk"] {
        assert_eq!(report.stage(stage).unwrap().counters["fetched_ahead"], 0);
    }
}

#[test]
fn every_directory_ends_once_with_the_number_of_its_entries() {
    let directory = temporary();
    small_tree(directory.path());
    let scanned = scan(EnumerateConfig::new([directory.path()]));
    let root = with_slashes(directory.path()).display().to_string();
    let complete = |entries| (DirectoryStatus::Complete, entries);
    assert_eq!(
        scanned.ends(),
        BTreeMap::from([
            (root.clone(), complete(2)),
            (format!("{root}/a"), complete(3)),
            (format!("{root}/a/b"), complete(2)),
            (format!("{root}/a/b/e"), complete(0)),
        ])
    );
    assert_eq!(scanned.report.outcome, Outcome::Complete);
}

#[test]
fn depth_is_limited_and_what_lies_deeper_ends_as_excluded() {
    let directory = temporary();
    small_tree(directory.path());
    let config = |max_depth| EnumerateConfig {
        max_depth: Some(max_depth),
        ..EnumerateConfig::new([directory.path()])
    };
    let scanned = scan(config(0));
    assert_eq!(
        scanned.paths(),
        [with_slashes(directory.path()).display().to_string()]
    );
    let scanned = scan(config(1));
    assert_eq!(scanned.below(directory.path()), ["a", "c"]);
    let end = scanned.ends()[&format!("{}/a", with_slashes(directory.path()).display())];
    assert_eq!(end, (DirectoryStatus::Excluded, 0));
    let scanned = scan(config(2));
    assert_eq!(
        scanned.below(directory.path()),
        ["a", "a/1", "a/2.log", "a/b", "c"]
    );
}

#[test]
fn patterns_exclude_by_name_by_path_and_by_directory() {
    let directory = temporary();
    small_tree(directory.path());
    fs::write(directory.path().join("a/b/e/a"), "").unwrap();
    let below = |patterns: &[&str]| {
        let exclude = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let config = EnumerateConfig {
            exclude,
            ..EnumerateConfig::new([directory.path()])
        };
        scan(config).below(directory.path()).join(" ")
    };
    assert_eq!(below(&["*.log"]), "a a/1 a/b a/b/3 a/b/e a/b/e/a c");
    assert_eq!(below(&["a"]), "c");
    assert_eq!(below(&["b/"]), "a a/1 a/2.log c");
    assert_eq!(
        below(&["a/b/e/a/"]),
        "a a/1 a/2.log a/b a/b/3 a/b/e a/b/e/a c"
    );
    assert_eq!(below(&["a/b"]), "a a/1 a/2.log c");
    assert_eq!(below(&["a/*"]), "a c");
    assert_eq!(below(&["**/e/*"]), "a a/1 a/2.log a/b a/b/3 a/b/e c");
    assert_eq!(below(&["/c", "[12]*"]), "a a/b a/b/3 a/b/e a/b/e/a");
}

#[test]
fn excluded_entries_are_counted_and_not_expected_by_the_end_of_their_directory() {
    let directory = temporary();
    small_tree(directory.path());
    let config = EnumerateConfig {
        exclude: vec!["*.log".to_owned()],
        ..EnumerateConfig::new([directory.path()])
    };
    let scanned = scan(config);
    assert_eq!(scanned.counter("walk", "excluded"), 1);
    let end = scanned.ends()[&format!("{}/a", with_slashes(directory.path()).display())];
    assert_eq!(end, (DirectoryStatus::Complete, 2));
}

#[test]
fn a_root_below_another_and_a_root_named_twice_give_no_row_twice() {
    let directory = temporary();
    small_tree(directory.path());
    let root = directory.path();
    let roots = [
        root.join("a"),
        root.to_path_buf(),
        root.join("a/../a"),
        root.join("a/b/3"),
    ];
    let scanned = scan(EnumerateConfig::new(roots));
    assert_eq!(
        scanned.below(root),
        ["a", "a/1", "a/2.log", "a/b", "a/b/3", "a/b/e", "c"]
    );
}

#[test]
fn what_is_below_a_root_that_another_one_reaches_is_read_once() {
    let directory = temporary();
    small_tree(directory.path());
    let root = directory.path();
    // With a limit, the outer root need not reach all that is below the inner one.
    let scanned = scan(EnumerateConfig {
        max_depth: Some(9),
        ..EnumerateConfig::new([root.to_owned(), root.join("a")])
    });
    assert_eq!(
        scanned.below(&root.join("a")),
        ["1", "2.log", "b", "b/3", "b/e"]
    );
}

#[cfg(unix)]
#[test]
fn roots_may_be_files_links_and_relative() {
    let directory = temporary();
    small_tree(directory.path());
    let root = directory.path();
    symlink("a", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let scanned = scan(EnumerateConfig::new([
        root.join("c"),
        root.join("dangling"),
    ]));
    assert_eq!(scanned.below(root), ["c", "dangling"]);
    // A root that is a link to a directory is followed: the user named it.
    let scanned = scan(EnumerateConfig::new([root.join("link")]));
    assert_eq!(
        scanned.below(root),
        [
            "link",
            "link/1",
            "link/2.log",
            "link/b",
            "link/b/3",
            "link/b/e"
        ]
    );
    let scanned = scan(EnumerateConfig::new(["Cargo.toml"]));
    assert_eq!(scanned.paths(), ["Cargo.toml"]);
}

#[test]
fn a_root_that_does_not_exist_fails_the_run_and_is_named() {
    let directory = temporary();
    let missing = directory.path().join("missing");
    let scanned = scan(EnumerateConfig::new([directory.path(), &missing]));
    assert_eq!(scanned.report.outcome, Outcome::Failed);
    let fault = scanned.report.fault.unwrap();
    assert_eq!(fault.stage, "walk");
    assert!(fault.message.contains("/missing: "), "{}", fault.message);
}

#[cfg(unix)]
#[test]
fn followed_links_are_entered_and_a_loop_is_an_error_record() {
    let directory = temporary();
    small_tree(directory.path());
    let root = directory.path();
    symlink("../../a", root.join("a/b/up")).unwrap();
    symlink("a/b", root.join("down")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let config = EnumerateConfig {
        follow_symlinks: true,
        ..EnumerateConfig::new([root])
    };
    let scanned = scan(config);
    let below: BTreeSet<String> = scanned.below(root).into_iter().collect();
    for path in ["dangling", "down", "down/3", "a/b/up", "down/up/1"] {
        assert!(below.contains(path), "{path} is not among {below:?}");
    }
    assert!(!below.contains("a/b/up/b"), "the loop was entered");
    let codes: BTreeSet<&str> = scanned.errors.iter().map(|error| &*error.code).collect();
    assert_eq!(codes, BTreeSet::from(["LOOP"]));
    assert_eq!(scanned.report.outcome, Outcome::Incomplete);
    let followed: Vec<Kind> = (scanned.batches.iter().flat_map(Rows::rows))
        .filter(|row| [&b"down"[..], b"dangling"].contains(&row.name.as_bytes()))
        .filter_map(|row| row.metadata.unwrap().kind())
        .collect();
    assert!(followed.contains(&Kind::Directory) && followed.contains(&Kind::Symlink));
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_kernel_makes_up_is_skipped_below_a_root_and_read_as_one() {
    let scanned = scan(EnumerateConfig {
        max_depth: Some(2),
        ..EnumerateConfig::new(["/"])
    });
    assert_eq!(scanned.ends()["/proc"].0, DirectoryStatus::Excluded);
    assert!(!scanned.paths().iter().any(|path| path == "/proc/self"));
    let scanned = scan(EnumerateConfig {
        max_depth: Some(1),
        ..EnumerateConfig::new(["/proc/self"])
    });
    assert!(
        scanned
            .paths()
            .iter()
            .any(|path| path == "/proc/self/status")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn one_file_system_shows_a_mount_point_and_stops_there() {
    let config = EnumerateConfig {
        one_file_system: true,
        skip_pseudo: false,
        max_depth: Some(2),
        ..EnumerateConfig::new(["/"])
    };
    let scanned = scan(config);
    assert_eq!(scanned.ends()["/proc"].0, DirectoryStatus::Excluded);
    assert!(scanned.paths().iter().any(|path| path == "/proc"));
}

/// A batch of names that nobody has listed.
fn names(root: &Path, names: &[(&[u8], Option<Kind>)]) -> EntryBatch {
    let node = DirNode::root(root);
    let mut batch = EntryBatch::default();
    batch.extend(&node, |entries| {
        names
            .iter()
            .for_each(|(name, kind)| entries.push(name, *kind, 0));
    });
    batch
}

fn stat(batch: EntryBatch, config: StatConfig) -> Scanned {
    let (records, errors) = (Collected::new(), Collected::new());
    let mut job = Builder::new("stat");
    let names = job.source("names", Items(vec![batch])).done();
    let meta = job
        .stage("meta", Stat, config)
        .reads(&names)
        .threads(1)
        .done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let _ = job
        .sink("errors", errors.clone())
        .reads(meta.port("errors"));
    let report = job.build().unwrap().run();
    Scanned {
        report,
        batches: records.items(),
        errors: errors.items(),
    }
}

#[test]
fn an_entry_that_vanished_is_counted_and_leaves_the_run_complete() {
    let directory = temporary();
    small_tree(directory.path());
    let scanned = stat(
        names(
            directory.path(),
            &[(b"a", None), (b"gone", None), (b"c", None)],
        ),
        StatConfig::default(),
    );
    assert_eq!(scanned.below(directory.path()), ["a", "c"]);
    assert_eq!(scanned.counter("meta", "vanished"), 1);
    assert_eq!(scanned.report.outcome, Outcome::Complete);
}

#[test]
fn all_entries_of_a_directory_that_vanished_count_as_vanished() {
    let directory = temporary();
    let batch = names(
        &directory.path().join("gone"),
        &[(b"x", None), (b"y", None)],
    );
    let scanned = stat(batch, StatConfig::default());
    assert_eq!(scanned.counter("meta", "vanished"), 2);
    assert!(scanned.paths().is_empty());
}

#[test]
fn an_entry_that_cannot_be_read_is_an_error_record_with_its_path_and_code() {
    let directory = temporary();
    fs::write(directory.path().join("file"), "").unwrap();
    // A file where a directory should be: each name below it fails the same.
    let batch = names(&directory.path().join("file"), &[(b"x", None)]);
    let scanned = stat(batch, StatConfig::default());
    assert_eq!(scanned.report.outcome, Outcome::Incomplete);
    let error = &scanned.errors[0];
    let path = directory.path().join("file/x");
    let path = with_slashes(&path);
    assert_eq!(error.subject, path.as_os_str().as_encoded_bytes());
    assert_eq!((error.operation, &*error.code), ("open", "ENOTDIR"));
}

#[test]
fn no_call_is_made_for_a_kind_that_the_directory_told() {
    let directory = temporary();
    // The entry does not exist: a call would find that out.
    let batch = names(directory.path(), &[(b"never", Some(Kind::Fifo))]);
    let config = StatConfig {
        fields: StatFields::new(Fields::KIND),
        ..StatConfig::default()
    };
    let scanned = stat(batch, config);
    assert_eq!(scanned.below(directory.path()), ["never"]);
    assert_eq!(scanned.counter("meta", "vanished"), 0);
}

#[test]
fn only_the_fields_asked_for_are_filled() {
    let directory = temporary();
    small_tree(directory.path());
    let config = StatConfig {
        fields: StatFields::new(Fields::SIZE),
        ..StatConfig::default()
    };
    let scanned = stat(names(directory.path(), &[(b"c", None)]), config);
    let metadata = scanned.batches[0].metadata()[0].clone();
    assert_eq!(metadata.size(), Some(1));
    assert_eq!(metadata.fields(), Fields::SIZE | Fields::KIND);
}

#[cfg(unix)]
#[test]
fn link_targets_are_read_when_asked_for() {
    let directory = temporary();
    small_tree(directory.path());
    symlink("some\nwhere", directory.path().join("link")).unwrap();
    let config = StatConfig {
        targets: true,
        ..StatConfig::default()
    };
    let names = names(
        directory.path(),
        &[(b"a", None), (b"link", None), (b"gone", None), (b"c", None)],
    );
    let scanned = stat(names, config);
    let targets: Vec<Option<Vec<u8>>> = (scanned.batches.iter().flat_map(Rows::rows))
        .map(|row| row.target.map(<[u8]>::to_vec))
        .collect();
    assert_eq!(targets, [None, Some(b"some\nwhere".to_vec()), None]);
}

#[cfg(unix)]
#[test]
fn a_root_has_a_row_of_its_own() {
    let directory = temporary();
    let scanned = scan(EnumerateConfig::new([directory.path()]));
    let row = scanned.batches.iter().flat_map(Rows::rows).next().unwrap();
    assert!(row.name.is_empty());
    assert_eq!(row.depth(), 0);
    let inode = fs::metadata(directory.path()).unwrap().ino();
    assert_eq!(row.metadata.unwrap().file_id().unwrap().low(), inode);
}

/// Takes one message.
struct TakesOne;

impl Sink for TakesOne {
    type In = EntryBatch;

    fn write(&mut self, _: EntryBatch, _: &Errors) -> Result<(), StageError> {
        Err(StageError::ENOUGH)
    }
}

#[test]
fn a_worker_without_a_directory_ends_when_the_reader_has_enough() {
    let directory = temporary();
    // One directory in several chunks: one worker reads it, and all the others have nothing to do.
    for number in 0..5_000 {
        fs::File::create(directory.path().join(format!("a-file-{number}"))).unwrap();
    }
    let mut settings = PipelineSettings::default();
    settings.capacity = 1;
    // Or it hangs, and the test with it.
    settings.max_runtime = Some(Period::new(Duration::from_secs(20)));
    let mut job = Builder::new("enough").with_settings(settings);
    let config = EnumerateConfig::new([directory.path()]);
    let walk = job.stage("walk", Enumerate, config).threads(4).done();
    let _ = job.sink("sink", TakesOne).reads(&walk);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
}
