//! `enumerate` over bind mounts: the same directory twice, which only its mount tells apart.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, ErrorRecord, Outcome, RunReport};
use statline_platform::BackendChoice;
use statline_stages::{
    BackendSetting, DirectoryStatus, Enumerate, EnumerateConfig, RecordBatch, Rows, Stat,
    StatConfig,
};

/// A bind mount, undone when it is dropped.
struct Bound(PathBuf);

impl Bound {
    /// `None` where there is no right to mount, which fails the test where mounts are required.
    fn new(source: &Path, point: &Path) -> Option<Bound> {
        match rustix::mount::mount_bind(source, point) {
            Ok(()) => Some(Bound(point.to_owned())),
            Err(error) if std::env::var_os("STATLINE_REQUIRE_FUSE").is_none() => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("cannot mount: {error}"),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Nothing that the scan opened may keep it.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

struct Scanned {
    report: RunReport,
    /// Below the root.
    rows: Vec<String>,
    ends: BTreeMap<String, DirectoryStatus>,
    /// Operation, code and path of each.
    errors: Vec<(&'static str, String, String)>,
}

fn scan(root: &Path, walk: EnumerateConfig) -> Scanned {
    let (records, errors) = (
        Collected::<RecordBatch>::new(),
        Collected::<ErrorRecord>::new(),
    );
    let mut job = Builder::new("scan");
    let walk = job.stage("walk", Enumerate, walk).done();
    let config = StatConfig::default();
    let meta = job.stage("meta", Stat, config).reads(&walk).done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let _ = job
        .sink("errors", errors.clone())
        .reads(walk.port("errors"));
    let report = job.build().unwrap().run();
    let relative = |path: Vec<u8>| {
        let path = String::from_utf8(path).unwrap();
        let below = path.strip_prefix(root.to_str().unwrap()).unwrap();
        below.trim_start_matches('/').to_owned()
    };
    let batches = records.items();
    let rows = batches.iter().flat_map(Rows::rows);
    let mut rows: Vec<String> = rows.map(|row| relative(row.path_bytes())).collect();
    rows.sort();
    let ends = batches.iter().flat_map(Rows::ends);
    let ends = ends.map(|end| (relative(end.directory.path_bytes()), end.status));
    Scanned {
        rows,
        ends: ends.collect(),
        errors: errors
            .items()
            .into_iter()
            .map(|error| {
                (
                    error.operation,
                    error.code.to_string(),
                    relative(error.subject),
                )
            })
            .collect(),
        report,
    }
}

/// Each tells mounts apart in its own way.
fn backends() -> Vec<BackendSetting> {
    let mut backends = vec![BackendSetting::Statx, BackendSetting::Fstatat];
    if statline_platform::select(BackendChoice::IoUring).is_ok() {
        backends.push(BackendSetting::IoUring);
    }
    backends
}

#[test]
fn a_directory_mounted_below_itself_is_an_error_and_is_not_entered() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("a/up")).unwrap();
    let Some(_bound) = Bound::new(root, &root.join("a/up")) else {
        return;
    };
    for backend in backends() {
        let mut walk = EnumerateConfig::new([root]);
        walk.backend = backend;
        let scanned = scan(root, walk);
        assert_eq!(scanned.rows, ["", "a", "a/up"]);
        let expected = ("open", "LOOP".to_owned(), "a/up".to_owned());
        assert_eq!(scanned.errors, [expected]);
        assert_eq!(scanned.ends["a/up"], DirectoryStatus::Failed);
        assert_eq!(scanned.report.outcome, Outcome::Incomplete);
    }
}

#[test]
fn one_file_system_stops_at_a_mount_of_the_same_device() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("point")).unwrap();
    fs::create_dir(root.join("other")).unwrap();
    fs::write(root.join("other/file"), "x").unwrap();
    let Some(_bound) = Bound::new(&root.join("other"), &root.join("point")) else {
        return;
    };
    for backend in backends() {
        let mut walk = EnumerateConfig::new([root]);
        walk.backend = backend;
        let scanned = scan(root, walk.clone());
        assert_eq!(
            scanned.rows,
            ["", "other", "other/file", "point", "point/file"]
        );
        walk.one_file_system = true;
        let scanned = scan(root, walk);
        assert_eq!(scanned.rows, ["", "other", "other/file", "point"]);
        assert_eq!(scanned.ends["point"], DirectoryStatus::Excluded);
        assert_eq!(scanned.report.outcome, Outcome::Complete);
    }
}
