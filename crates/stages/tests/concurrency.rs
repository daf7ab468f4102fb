//! `enumerate` and `stat` find out how many threads a mount is worth, and what a job allows them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, Outcome, RunReport};
use statline_stages::{EntryBatch, Enumerate, EnumerateConfig, RecordBatch, Stat, StatConfig};
use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, Shape, TestFs, Tree};

/// So many directories of so many files each.
fn tree(directories: usize, files: u64) -> Tree {
    (0..directories).fold(Tree::new(), |tree, number| {
        tree.shape(format!("d{number}"), Shape::files(files))
    })
}

/// A mount whose answers the kernel remembers.
fn quick(tree: Tree) -> TestFs {
    TestFs::generated(tree)
        .attribute_timeout(Duration::from_secs(60))
        .entry_timeout(Duration::from_secs(60))
}

fn slow(tree: Tree, latency: Duration) -> TestFs {
    quick(tree).rule(Rule::on(Operations::ALL).latency(latency))
}

struct Scanned {
    report: RunReport,
    rows: usize,
    /// Rows in the largest message.
    largest: usize,
}

impl Scanned {
    /// How many threads were allowed on the mounts in the end, one mount after the other.
    fn threads(&self, stage: &str) -> Vec<u64> {
        let result = self.report.stage(stage).unwrap().result.clone();
        let mounts = result.and_then(|result| result["mounts"].as_object().cloned());
        let mounts = mounts.unwrap_or_default();
        mounts
            .values()
            .map(|mount| mount["threads"].as_u64().unwrap())
            .collect()
    }

    /// The number of threads that `walk` might use on its only mount for most of the time.
    fn usual_threads(&self) -> u64 {
        let result = self.report.stage("walk").unwrap().result.clone().unwrap();
        let mounts = result["mounts"].as_object().unwrap();
        let steps = mounts.values().next().unwrap()["steps"].as_array().unwrap();
        let end = (self.report.elapsed_seconds * 1000.0) as u64;
        let ends = steps
            .iter()
            .skip(1)
            .map(|step| step["at_ms"].as_u64().unwrap());
        let mut spans: Vec<(u64, u64)> = steps
            .iter()
            .zip(ends.chain([end]))
            .map(|(step, end)| {
                let began = step["at_ms"].as_u64().unwrap();
                (step["threads"].as_u64().unwrap(), end.saturating_sub(began))
            })
            .collect();
        spans.sort_unstable();
        let all: u64 = spans.iter().map(|(_, length)| length).sum();
        let mut passed = 0;
        let usual = spans.iter().find(|(_, length)| {
            passed += length;
            passed * 2 >= all
        });
        usual.unwrap().0
    }
}

fn scan(walk: EnumerateConfig, threads: Option<usize>) -> Scanned {
    let records = Collected::<RecordBatch>::new();
    let mut job = Builder::new("scan");
    let mut walk = job.stage("walk", Enumerate, walk);
    if let Some(threads) = threads {
        walk = walk.threads(threads);
    }
    let walk = walk.done();
    let meta = job
        .stage("meta", Stat, StatConfig::default())
        .reads(&walk)
        .done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let messages = records.items();
    let lengths = || messages.iter().map(RecordBatch::len);
    Scanned {
        report,
        rows: lengths().sum(),
        largest: lengths().max().unwrap_or(0),
    }
}

fn scan_path(path: &Path) -> Scanned {
    scan(EnumerateConfig::new([path]), None)
}

/// The most calls that were under way at a time.
fn most(mounted: &Mounted) -> u64 {
    mounted.counts().max_all_in_flight()
}

#[test]
fn the_report_says_what_each_mount_began_with_though_nothing_was_changed() {
    let directory = tempfile::tempdir().unwrap();
    let first = |threads: Option<usize>| {
        let mut job = Builder::new("scan");
        let mut walk = job.stage("walk", Enumerate, EnumerateConfig::new([directory.path()]));
        if let Some(threads) = threads {
            walk = walk.threads(threads);
        }
        let walk = walk.done();
        let _ = job
            .sink("names", Collected::<EntryBatch>::new())
            .reads(&walk);
        let report = job.build().unwrap().run();
        let result = report.stage("walk").unwrap().result.clone().unwrap();
        let path = directory.path().to_str().unwrap();
        let mount = result["mounts"][path].clone();
        assert_eq!(mount["steps"][0]["threads"], mount["threads"], "{mount}");
        mount["steps"][0].clone()
    };
    assert_eq!(first(None)["reason"], "profile");
    let fixed = first(Some(3));
    assert_eq!(
        (&fixed["reason"], &fixed["threads"]),
        (&"fixed".into(), &3.into())
    );
}

#[test]
fn of_many_threads_each_gathers_little_whatever_directories_hold() {
    let root = tempfile::tempdir().unwrap();
    for directory in 0..10 {
        let directory = root.path().join(format!("d{directory}"));
        std::fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            std::fs::File::create(directory.join(format!("f{file}"))).unwrap();
        }
    }
    let scanned = scan(EnumerateConfig::new([root.path()]), Some(128));
    assert_eq!(scanned.rows, 1 + 10 + 10_000);
    // Descriptors may bound them.
    let each = 65_536 / scanned.threads("walk")[0] as usize;
    let largest = scanned.largest;
    assert!(largest <= each, "{largest} rows in a message, not {each}");
}

#[test]
fn a_server_far_away_gets_many_calls_at_a_time_though_nobody_said_so() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let mounted = slow(tree(200, 40), Duration::from_millis(5))
        .mount()
        .unwrap();
    let scanned = scan_path(mounted.path());
    assert_eq!(scanned.rows, 1 + 200 + 8000);
    assert!(most(&mounted) >= 32, "{:?}", mounted.counts());
    assert!(scanned.threads("walk")[0] >= 32);
}

#[test]
fn a_server_that_serves_four_calls_at_a_time_is_not_asked_by_many_threads() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let mounted = slow(tree(100, 40), Duration::from_millis(2))
        .serve_at_once(4)
        .mount()
        .unwrap();
    let scanned = scan_path(mounted.path());
    assert_eq!(scanned.rows, 1 + 100 + 4000);
    assert!(scanned.usual_threads() <= 8, "{:?}", scanned.report);
}

#[test]
fn one_large_directory_is_asked_about_by_many_while_it_is_still_being_listed() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let files = 5000;
    let tree = Tree::new().shape("wide", Shape::files(files));
    let mounted = slow(tree, Duration::from_millis(2)).mount().unwrap();
    let scanned = scan_path(mounted.path());
    assert_eq!(scanned.rows as u64, 2 + files);
    let lookups = mounted.counts().max_in_flight(Operation::Lookup);
    assert!(lookups >= 8, "{:?}", mounted.counts());
}

#[test]
fn names_that_one_thread_could_ask_about_in_a_moment_are_shared_out_as_well() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    // Fewer than a thread claims at a time when it is alone, and the time of one call is enough to wake others.
    let tree = Tree::new().shape("few", Shape::files(4));
    let mounted = slow(tree, Duration::from_millis(1)).mount().unwrap();
    let scanned = scan(EnumerateConfig::new([mounted.path()]), Some(4));
    assert_eq!(scanned.rows, 1 + 1 + 4);
    let lookups = mounted.counts().max_in_flight(Operation::Lookup);
    assert!(lookups >= 2, "{:?}", mounted.counts());
}

#[test]
fn no_more_calls_are_under_way_than_the_job_allows() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let mounted = slow(tree(40, 20), Duration::from_millis(1))
        .mount()
        .unwrap();
    let mut walk = EnumerateConfig::new([mounted.path()]);
    walk.max_concurrency = NonZeroU32::new(3);
    // Two stages, each of which has as many threads as are allowed for both.
    let mut job = Builder::new("twice");
    let one = job.stage("one", Enumerate, walk.clone()).done();
    let other = job.stage("other", Enumerate, walk).done();
    let _ = job
        .sink("names", Collected::<EntryBatch>::new())
        .reads(&one)
        .reads(&other);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(report.stage("names").unwrap().items_in, 2 * (1 + 40 + 800));
    let counts = mounted.counts();
    for operation in [
        Operation::Lookup,
        Operation::Getattr,
        Operation::Opendir,
        Operation::Readdir,
    ] {
        assert!(counts.max_in_flight(operation) <= 3, "{counts:?}");
    }
}

#[test]
fn no_more_calls_are_made_in_a_second_than_the_job_allows() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let mounted = quick(tree(4, 50)).mount().unwrap();
    let mut walk = EnumerateConfig::new([mounted.path()]);
    walk.max_ops_per_second = NonZeroU32::new(500);
    let began = Instant::now();
    let scanned = scan(walk, None);
    assert_eq!(scanned.rows, 1 + 4 + 200);
    // Each name is asked for once at least. No matter how slow the machine is, it takes no less.
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[test]
fn listings_that_carry_attributes_spare_look_ups_because_stats_follow_them_at_once() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let files = 4000;
    let mount = |plus: bool| {
        let tree = Tree::new().shape("wide", Shape::files(files));
        quick(tree).readdirplus(plus).mount().unwrap()
    };
    let lookups = |mounted: &Mounted| {
        assert_eq!(scan_path(mounted.path()).rows as u64, 2 + files);
        mounted.counts().calls(Operation::Lookup)
    };
    let spared = lookups(&mount(true));
    assert!(spared <= files / 4, "{spared} look-ups");
    assert!(lookups(&mount(false)) >= files);
}

#[test]
fn each_of_two_mounts_has_a_limit_of_its_own() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let far = slow(tree(100, 40), Duration::from_millis(5))
        .mount()
        .unwrap();
    let near = slow(tree(100, 40), Duration::from_millis(2))
        .serve_at_once(2)
        .mount()
        .unwrap();
    let scanned = scan(EnumerateConfig::new([far.path(), near.path()]), None);
    assert_eq!(scanned.rows, 2 * (1 + 100 + 4000));
    assert!(most(&far) >= 32, "{:?}", far.counts());
}
