//! `hash` behind `stat`: every regular file gets the digest of its contents, every other record passes as it is, and what
//! cannot be read is accounted for.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{Builder, ErrorRecord, Errors, Outcome, RunReport, Sink, StageError};
use statline_stages::{
    Batch, BatchConfig, Cache, CacheConfig, ContentHash, Enumerate, EnumerateConfig, Hash,
    HashConfig, Hashed, RecordBatch, Rows, Stat, StatConfig,
};

struct Digested {
    report: RunReport,
    /// Paths relative to the root, in the order in which they came.
    rows: Vec<(String, Option<ContentHash>)>,
    /// Operation, code and path of each.
    errors: Vec<(String, String, String)>,
}

impl Digested {
    fn counter(&self, name: &str) -> u64 {
        self.report.stage("hash").unwrap().counters[name]
    }

    fn digests(&self) -> BTreeMap<&str, ContentHash> {
        let rows = self.rows.iter();
        rows.filter_map(|(path, hash)| Some((path.as_str(), (*hash)?)))
            .collect()
    }
}

fn relative(root: &Path, path: &[u8]) -> String {
    let path = path.strip_prefix(root.as_os_str().as_encoded_bytes());
    let path = path.unwrap();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    String::from_utf8(path.to_vec()).unwrap()
}

/// What `stat` says of a tree, in batches of seven.
fn records(walk: EnumerateConfig) -> Vec<RecordBatch> {
    let records = Collected::<RecordBatch>::new();
    let mut job = Builder::new("scan");
    let walk = job.stage("walk", Enumerate, walk).done();
    let config = BatchConfig {
        max_entries: 7,
        ..BatchConfig::default()
    };
    let group = job.stage("group", Batch, config).reads(&walk).done();
    let config = StatConfig::default();
    let meta = job.stage("meta", Stat, config).reads(&group).done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    assert_eq!(job.build().unwrap().run().outcome, Outcome::Complete);
    records.items()
}

/// What `hash` makes of records.
fn digest(root: &Path, input: Vec<RecordBatch>, threads: usize) -> Digested {
    let mut job = Builder::new("hash");
    let records = job.source("records", Items(input)).done();
    let hash = job
        .stage("hash", Hash, HashConfig::default())
        .reads(&records);
    let hash = hash.threads(threads).done();
    finish(root, job, &hash)
}

fn finish(root: &Path, mut job: Builder, hash: &statline_pipeline::StageRef) -> Digested {
    let (records, errors) = (
        Collected::<RecordBatch>::new(),
        Collected::<ErrorRecord>::new(),
    );
    let _ = job.sink("out", records.clone()).reads(hash);
    let _ = job
        .sink("errors", errors.clone())
        .reads(hash.port("errors"));
    let report = job.build().unwrap().run();
    let batches = records.items();
    let rows = batches.iter().flat_map(Rows::rows);
    let rows = rows.map(|row| (relative(root, &row.path_bytes()), row.hash.copied()));
    let errors = errors.items();
    let errors = errors.iter().map(|error| {
        let path = relative(root, &error.subject);
        (error.operation.to_string(), error.code.to_string(), path)
    });
    Digested {
        rows: rows.collect(),
        errors: errors.collect(),
        report,
    }
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

/// Files of many sizes, a sparse one, a link, a hard link, a pipe, a socket. Returns the regular files.
fn tree(root: &Path) -> Vec<String> {
    fs::create_dir_all(root.join("d/e")).unwrap();
    let mut files = Vec::new();
    let sizes = [0, 1, 100, 4096, 65_537, 262_144, 262_145, 1_000_000];
    for (number, size) in sizes.into_iter().cycle().take(40).enumerate() {
        let name = format!("{}{number}", ["", "d/", "d/e/"][number % 3]);
        let contents: Vec<u8> = (0..size).map(|at| (at % 251 + number) as u8).collect();
        fs::write(root.join(&name), contents).unwrap();
        files.push(name);
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"far out", 3 << 20).unwrap();
    fs::hard_link(root.join("d/1"), root.join("again")).unwrap();
    files.extend(["sparse".to_owned(), "again".to_owned()]);
    symlink("0", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    make_fifo(&root.join("fifo"));
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    files
}

fn expected<'f>(
    root: &Path,
    files: impl IntoIterator<Item = &'f String>,
) -> BTreeMap<&'f str, ContentHash> {
    let files = files.into_iter();
    files
        .map(|file| {
            let contents = fs::read(root.join(file)).unwrap();
            (file.as_str(), ContentHash::of(&contents))
        })
        .collect()
}

#[test]
fn every_regular_file_gets_its_digest_on_any_number_of_threads() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let files = tree(root);
    let records = records(EnumerateConfig::new([root]));
    let total: usize = records.iter().map(RecordBatch::len).sum();
    for threads in [1, 2, 8] {
        let digested = digest(root, records.clone(), threads);
        assert_eq!(digested.report.outcome, Outcome::Complete);
        assert_eq!(digested.digests(), expected(root, &files));
        assert_eq!(digested.rows.len(), total);
        let empty = files
            .iter()
            .filter(|file| fs::metadata(root.join(file)).unwrap().len() == 0)
            .count();
        assert_eq!(
            digested.counter("hashed_files"),
            (files.len() - empty) as u64
        );
        let bytes = |file: &String| fs::metadata(root.join(file)).unwrap().len();
        let bytes: u64 = files.iter().map(bytes).sum();
        assert_eq!(digested.counter("hashed_bytes"), bytes);
        let result = &digested.report.stage("hash").unwrap().result;
        let result: Hashed = serde_json::from_value(result.clone().unwrap()).unwrap();
        assert_eq!(
            (result.files, result.bytes),
            ((files.len() - empty) as u64, bytes)
        );
        assert!(result.bytes_per_second > 0.0);
        if threads == 1 {
            let before = records.iter().flat_map(Rows::rows);
            let before = before.map(|row| relative(root, &row.path_bytes()));
            assert!(
                digested
                    .rows
                    .iter()
                    .map(|(path, _)| path)
                    .eq(&before.collect::<Vec<_>>())
            );
        }
    }
}

#[test]
fn what_happens_between_stat_and_reading_is_told_and_the_records_stay() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let files = tree(root);
    let records = records(EnumerateConfig::new([root]));
    let total: usize = records.iter().map(RecordBatch::len).sum();
    let replace = |name: &str, act: &dyn Fn(&Path)| {
        let path = root.join(name);
        fs::remove_file(&path).unwrap();
        act(&path);
    };
    // Names with contents.
    replace("3", &|_| {});
    replace("6", &|path| symlink("again", path).unwrap());
    replace("d/4", &make_fifo);
    fs::write(root.join("d/7"), "something else").unwrap();
    let removed = "d/e";
    fs::rename(root.join(removed), root.join("elsewhere")).unwrap();
    for threads in [1, 4] {
        let digested = digest(root, records.clone(), threads);
        assert_eq!(digested.report.outcome, Outcome::Incomplete);
        assert_eq!(digested.rows.len(), total);
        let mut errors: Vec<(&str, &str)> = digested
            .errors
            .iter()
            .map(|(_, code, path)| (code.as_str(), path.as_str()))
            .filter(|(_, path)| !path.starts_with(removed))
            .collect();
        errors.sort_unstable();
        let changed = ["6", "d/4", "d/7"].map(|path| ("CONTENT_CHANGED", path));
        assert_eq!(errors, changed);
        assert_eq!(digested.counter("vanished_files"), 1);
        let gone = ["3", "6", "d/4", "d/7"];
        let left = files
            .iter()
            .filter(|file| !gone.contains(&file.as_str()) && !file.starts_with("d/e/"));
        let digests = digested.digests();
        for (file, hash) in expected(root, left) {
            assert_eq!(digests.get(file), Some(&hash), "{file}");
        }
        for file in gone {
            assert_eq!(digests.get(file), None, "{file}");
        }
        // A directory that was moved away is not to be found, and what is in it may be anywhere.
        let below = digested
            .errors
            .iter()
            .filter(|(_, _, path)| path.starts_with(removed));
        let below: Vec<&str> = below.map(|(_, code, _)| code.as_str()).collect();
        assert_eq!(below, vec!["REPLACED"; below.len()]);
        assert!(below.len() > 5, "{below:?}");
    }
}

#[test]
fn where_links_are_followed_their_targets_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("file"), "contents").unwrap();
    symlink("file", root.join("link")).unwrap();
    for (follow, digests) in [(true, 2), (false, 1)] {
        let mut walk = EnumerateConfig::new([root]);
        walk.follow_symlinks = follow;
        let mut job = Builder::new("hash");
        let walk = job.stage("walk", Enumerate, walk).done();
        let config = StatConfig::default();
        let meta = job.stage("meta", Stat, config).reads(&walk).done();
        let config = HashConfig::default();
        let hash = job.stage("hash", Hash, config).reads(&meta).done();
        let digested = finish(root, job, &hash);
        assert_eq!(
            digested.report.outcome,
            Outcome::Complete,
            "{:?}",
            digested.errors
        );
        let found: Vec<_> = digested.digests().into_values().collect();
        assert_eq!(found, vec![ContentHash::of(b"contents"); digests]);
    }
}

/// What a run with a store does. A sink behind it may fail at the end.
fn digest_with_store(root: &Path, store: &Path, delivers: bool) -> Digested {
    struct Failing;
    impl Sink for Failing {
        type In = RecordBatch;
        fn write(&mut self, _: RecordBatch, _: &Errors) -> Result<(), StageError> {
            Ok(())
        }
        fn prepare(&mut self) -> Result<(), StageError> {
            Err(StageError::failed("on purpose"))
        }
    }
    let mut job = Builder::new("hash");
    let walk = job.stage("walk", Enumerate, EnumerateConfig::new([root]));
    let walk = walk.done();
    let config = StatConfig::default();
    let meta = job.stage("meta", Stat, config).reads(&walk).done();
    let config = HashConfig {
        cache: Some(store.to_owned()),
    };
    let hash = job.stage("hash", Hash, config).reads(&meta).done();
    if !delivers {
        let _ = job.sink("failing", Failing).reads(&hash);
    }
    finish(root, job, &hash)
}

/// What a run does in which a cache marks records, and keeps its memory in the same store.
fn digest_behind_cache(root: &Path, store: &Path) -> Digested {
    let mut job = Builder::new("hash");
    let walk = EnumerateConfig::new([root]);
    let walk = job.stage("walk", Enumerate, walk).done();
    let config = StatConfig::default();
    let meta = job.stage("meta", Stat, config).reads(&walk).done();
    let config = CacheConfig {
        path: Some(store.to_owned()),
        deleted: true,
        ..CacheConfig::default()
    };
    let known = job.stage("known", Cache::default(), config).reads(&meta);
    let known = known.done();
    let config = HashConfig {
        cache: Some(store.to_owned()),
    };
    let hash = job.stage("hash", Hash, config).reads(&known).done();
    finish(root, job, &hash)
}

#[test]
fn a_cache_and_a_hash_share_a_store_and_what_is_gone_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let (root, store) = (
        directory.path().join("tree"),
        directory.path().join("store"),
    );
    fs::create_dir(&root).unwrap();
    let names = ["a", "b", "c"];
    names.map(|name| fs::write(root.join(name), name).unwrap());
    settle(&root);
    let first = digest_behind_cache(&root, &store);
    assert_eq!(first.counter("hashed_files"), 3);
    fs::remove_file(root.join("b")).unwrap();
    let second = digest_behind_cache(&root, &store);
    assert_eq!(second.report.outcome, Outcome::Complete);
    let counters = ["hashed_files", "remembered_hashes", "vanished_files"];
    assert_eq!(counters.map(|name| second.counter(name)), [0, 2, 0]);
    let b = second.rows.iter().find(|(path, _)| path == "b");
    assert_eq!(
        b,
        Some(&("b".to_owned(), None)),
        "it is told that it is gone"
    );
}

/// Waits until everything below a directory is old enough to be trusted: times of change cannot be set.
fn settle(root: &Path) {
    let is_young = |path: &Path| {
        let changed = fs::symlink_metadata(path).unwrap().ctime();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // The fraction of the second is not compared.
        now.as_secs() as i64 <= changed + 3
    };
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        while is_young(&path) {
            std::thread::sleep(Duration::from_millis(50));
        }
        if path.is_dir() && !path.is_symlink() {
            let entries = fs::read_dir(path).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn what_a_store_proves_unchanged_is_not_opened_and_what_changed_is() {
    let directory = tempfile::tempdir().unwrap();
    let (root, store) = (
        directory.path().join("tree"),
        directory.path().join("store"),
    );
    fs::create_dir(&root).unwrap();
    let root = root.as_path();
    let files = tree(root);
    let count = |digested: &Digested| {
        let counts = ["hashed_files", "remembered_hashes"].map(|name| digested.counter(name));
        assert_eq!(
            digested.report.outcome,
            Outcome::Complete,
            "{:?}",
            digested.report.cause
        );
        assert_eq!(digested.digests(), expected(root, &files));
        (counts[0], counts[1])
    };
    let full: Vec<&String> = files
        .iter()
        .filter(|file| fs::metadata(root.join(file)).unwrap().len() > 0)
        .collect();
    let all = full.len() as u64;
    settle(root);
    // One that fails remembers nothing.
    assert_eq!(
        digest_with_store(root, &store, false).report.outcome,
        Outcome::Failed
    );
    // Both names of a file count, unless they come next to each other.
    let (read, remembered) = count(&digest_with_store(root, &store, true));
    assert!(read >= all - 1 && remembered == 0, "{read} of {all}");
    let again = digest_with_store(root, &store, true);
    assert_eq!(count(&again), (0, all));
    assert_eq!(again.counter("hashed_bytes"), 0);

    // A write that hides itself, a new mode, another file in its place, and a new name.
    let secret = File::options().write(true).open(root.join("3")).unwrap();
    let before = secret.metadata().unwrap();
    secret.write_all_at(b"?", 0).unwrap();
    let times = fs::FileTimes::new().set_modified(before.modified().unwrap());
    secret.set_times(times).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(root.join("d/4"), mode).unwrap();
    fs::copy(root.join("6"), root.join("new")).unwrap();
    fs::rename(root.join("new"), root.join("6")).unwrap();
    assert_eq!(count(&digest_with_store(root, &store, true)), (3, all - 3));
    settle(root);
    // They were read too soon to be trusted, or not.
    count(&digest_with_store(root, &store, true));
    assert_eq!(count(&digest_with_store(root, &store, true)), (0, all));
}

/// Over a file system that fails and hangs.
#[cfg(target_os = "linux")]
mod fuse {
    use statline_pipeline::{Period, PipelineSettings};
    use statline_testfs::fuse::{Operation, Rule, TestFs, Tree};

    use super::*;

    const EIO: i32 = 5;

    fn scan(root: &Path) -> Digested {
        // A busy machine must not be taken for one that hangs.
        let mut settings = PipelineSettings::default();
        settings.stall_after = Period::new(Duration::from_secs(1));
        settings.stall_timeout = Period::new(Duration::from_secs(8));
        let mut job = Builder::new("hash").with_settings(settings);
        let walk = EnumerateConfig::new([root]);
        let walk = job.stage("walk", Enumerate, walk).done();
        let config = StatConfig::default();
        let meta = job.stage("meta", Stat, config).reads(&walk).done();
        let hash = job.stage("hash", Hash, HashConfig::default()).reads(&meta);
        let hash = hash.threads(2).done();
        finish(root, job, &hash)
    }

    fn mounted() -> Option<statline_testfs::fuse::Mounted> {
        let files = ["a/1", "a/2", "b/1", "top"];
        let tree = files
            .iter()
            .fold(Tree::new(), |tree, path| tree.file(path, 700_000));
        TestFs::generated(tree).mount_unless_skipped().unwrap()
    }

    #[test]
    fn what_cannot_be_opened_or_read_keeps_its_record() {
        for operation in [Operation::Open, Operation::Read] {
            let Some(mounted) = mounted() else { return };
            let rule = Rule::on(operation).path("a/2").errno(EIO);
            mounted.set_rules(vec![rule]).unwrap();
            let digested = scan(mounted.path());
            let expected = ("read".to_owned(), "EIO".to_owned(), "a/2".to_owned());
            assert_eq!(digested.errors, [expected]);
            assert_eq!(digested.report.outcome, Outcome::Incomplete);
            assert_eq!(digested.rows.len(), 7);
            let digests: Vec<&str> = digested.digests().into_keys().collect();
            assert_eq!(digests, ["a/1", "b/1", "top"]);
        }
    }

    /// While one thread is in one file of a batch, another is in the next one.
    #[test]
    fn the_files_of_one_batch_are_shared_by_all_threads() {
        let Some(mounted) = mounted() else { return };
        let records = records(EnumerateConfig::new([mounted.path()]));
        let mut batch = RecordBatch::default();
        let rows = records.iter().flat_map(Rows::rows);
        rows.for_each(|row| batch.push_row(&row));
        let rule = Rule::on(Operation::Open).path_glob("**/[12]").hang();
        mounted.set_rules(vec![rule]).unwrap();
        let digested = std::thread::scope(|scope| {
            let releasing = mounted.releasing();
            let run = scope.spawn(|| digest(mounted.path(), vec![batch], 2));
            assert!(mounted.wait_until_hung(2, Duration::from_secs(20)));
            drop(releasing);
            run.join().unwrap()
        });
        assert_eq!(digested.digests().len(), 4, "{:?}", digested.errors);
    }

    #[test]
    fn a_reading_that_hangs_is_given_up_and_named_and_the_rest_is_read() {
        for operation in [Operation::Open, Operation::Read] {
            let Some(mounted) = mounted() else { return };
            let rule = Rule::on(operation).path("a/1").hang();
            mounted.set_rules(vec![rule]).unwrap();
            let digested = scan(mounted.path());
            let expected = ("read".to_owned(), "STALLED".to_owned(), "a/1".to_owned());
            assert_eq!(digested.errors, [expected]);
            assert_eq!(digested.rows.len(), 7);
            let digests: Vec<&str> = digested.digests().into_keys().collect();
            assert_eq!(digests, ["a/2", "b/1", "top"]);
            let stalls = &digested.report.stalls;
            let path = mounted.path().join("a/1").display().to_string();
            assert_eq!(stalls.len(), 1, "{stalls:?}");
            let stall = &stalls[0];
            assert_eq!(
                (
                    stall.stage.as_str(),
                    stall.operation.as_str(),
                    &stall.subject
                ),
                ("hash", "read", &path)
            );
        }
    }
}
