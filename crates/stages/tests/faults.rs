//! `enumerate` and `stat` over a file system that fails, lies and hangs: each entry ends as a record, an error that names
//! it, a place below a directory that has failed, or one on the `vanished` count.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, ErrorRecord, Outcome, Period, PipelineSettings, RunReport};
use statline_platform::BackendChoice;
use statline_stages::{
    BackendSetting, DirectoryStatus, Enumerate, EnumerateConfig, RecordBatch, Rows, Stat,
    StatConfig,
};
use statline_testfs::fuse::{
    Cookies, Kind, Operation, Operations, Rule, Shape, Shown, TestFs, Tree,
};

const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EINTR: i32 = 4;
const ENOENT: i32 = 2;
const ESTALE: i32 = 116;

/// `a/{1,2,3}`, `b/{1,2}`, `b/c/1`, `top`.
fn tree() -> Tree {
    let files = ["a/1", "a/2", "a/3", "b/1", "b/2", "b/c/1", "top"];
    files
        .iter()
        .fold(Tree::new(), |tree, path| tree.file(path, 7))
}

const ALL: [&str; 11] = [
    "", "a", "a/1", "a/2", "a/3", "b", "b/1", "b/2", "b/c", "b/c/1", "top",
];

struct Scanned {
    report: RunReport,
    /// Relative to the root.
    rows: Vec<String>,
    /// Operation, code and path of each.
    errors: Vec<(String, String, String)>,
    failed: BTreeSet<String>,
    /// How many entries each directory has, as its end says.
    promised: BTreeMap<String, u64>,
}

impl Scanned {
    fn counter(&self, stage: &str, name: &str) -> u64 {
        self.report.stage(stage).unwrap().counters[name]
    }

    /// Whether the rows are all but these.
    fn has_all_but(&self, missing: &[&str]) {
        let expected: Vec<&str> = ALL
            .into_iter()
            .filter(|path| !missing.contains(path))
            .collect();
        assert_eq!(self.rows, expected, "{:?}", self.errors);
    }
}

/// For what hangs. Where nothing does, a busy machine must not be taken for that.
fn impatient() -> PipelineSettings {
    let mut settings = PipelineSettings::default();
    settings.stall_after = Period::new(Duration::from_secs(1));
    settings.stall_timeout = Period::new(Duration::from_secs(4));
    settings
}

fn scan(root: &Path, backend: BackendSetting) -> Scanned {
    scan_with(root, backend, PipelineSettings::default(), |_| {})
}

fn scan_with(
    root: &Path,
    backend: BackendSetting,
    settings: PipelineSettings,
    change: impl FnOnce(&mut EnumerateConfig),
) -> Scanned {
    let (records, errors) = (
        Collected::<RecordBatch>::new(),
        Collected::<ErrorRecord>::new(),
    );
    let mut job = Builder::new("scan").with_settings(settings);
    let mut walk = EnumerateConfig::new([root]);
    walk.backend = backend;
    change(&mut walk);
    let walk = job.stage("walk", Enumerate, walk).threads(2).done();
    let stat = StatConfig {
        backend,
        ..StatConfig::default()
    };
    let meta = job.stage("meta", Stat, stat).reads(&walk).threads(2).done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let _ = job
        .sink("errors", errors.clone())
        .reads(walk.port("errors"))
        .reads(meta.port("errors"));
    let report = job.build().unwrap().run();
    let relative = |path: &[u8]| {
        let path = path
            .strip_prefix(root.as_os_str().as_encoded_bytes())
            .unwrap();
        let path = path.strip_prefix(b"/").unwrap_or(path);
        path.escape_ascii().to_string()
    };
    let batches = records.items();
    let mut rows: Vec<String> = batches
        .iter()
        .flat_map(Rows::rows)
        .map(|row| relative(&row.path_bytes()))
        .collect();
    rows.sort();
    let failed = batches
        .iter()
        .flat_map(Rows::ends)
        .filter(|end| end.status == DirectoryStatus::Failed)
        .map(|end| relative(&end.directory.path_bytes()))
        .collect();
    let promised = batches
        .iter()
        .flat_map(Rows::ends)
        .map(|end| (relative(&end.directory.path_bytes()), end.entries))
        .collect();
    let mut errors: Vec<(String, String, String)> = errors
        .items()
        .iter()
        .map(|error| {
            let path = relative(&error.subject);
            (error.operation.to_owned(), error.code.to_string(), path)
        })
        .collect();
    errors.sort();
    Scanned {
        report,
        rows,
        errors,
        failed,
        promised,
    }
}

fn error(operation: &str, code: &str, path: &str) -> (String, String, String) {
    (operation.to_owned(), code.to_owned(), path.to_owned())
}

fn backends() -> Vec<BackendSetting> {
    let mut backends = vec![BackendSetting::Statx, BackendSetting::Fstatat];
    if statline_platform::select(BackendChoice::IoUring).is_ok() {
        backends.push(BackendSetting::IoUring);
    }
    backends
}

#[test]
fn what_cannot_be_read_is_named_and_everything_else_is_there() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        let all = scan(mounted.path(), backend);
        assert_eq!(all.report.outcome, Outcome::Complete, "{mounted}");
        all.has_all_but(&[]);

        let rule = Rule::on(Operations::STAT).path("a/2").errno(EIO);
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(scanned.report.outcome, Outcome::Incomplete);
        scanned.has_all_but(&["a/2"]);
        assert_eq!(scanned.errors, [error("stat", "EIO", "a/2")]);

        let rule = Rule::on(Operation::Opendir).path("b").errno(EIO);
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        scanned.has_all_but(&["b/1", "b/2", "b/c", "b/c/1"]);
        assert_eq!(scanned.errors, [error("open", "EIO", "b")]);
        assert_eq!(scanned.failed, BTreeSet::from(["b".to_owned()]));

        let rule = Rule::on(Operation::Readdir)
            .path("a")
            .at_offset(2)
            .errno(EIO);
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(scanned.errors, [error("list", "EIO", "a")]);
        assert_eq!(scanned.failed, BTreeSet::from(["a".to_owned()]));
        assert!(scanned.rows.iter().any(|row| row == "b/c/1"));
        mounted.set_rules(Vec::new()).unwrap();
    }
}

#[test]
fn calls_that_fail_for_a_moment_are_made_again() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        for errno in [EINTR, EAGAIN, ESTALE] {
            for path in ["a/2", "b/c/1"] {
                // The kernel itself asks again after ESTALE, several times for one call.
                let times = if errno == ESTALE { 5 } else { 2 };
                let rule = Rule::on(Operations::STAT)
                    .path(path)
                    .times(times)
                    .errno(errno);
                mounted.set_rules(vec![rule]).unwrap();
                let scanned = scan(mounted.path(), backend);
                assert_eq!(scanned.errors, [], "{backend:?} {errno} {path}\n{mounted}");
                scanned.has_all_but(&[]);
                assert_eq!(scanned.report.outcome, Outcome::Complete);
            }
        }
        for errno in [EINTR, EAGAIN] {
            let rule = Rule::on(Operation::Opendir).path("b").times(2).errno(errno);
            mounted.set_rules(vec![rule]).unwrap();
            scan(mounted.path(), backend).has_all_but(&[]);
        }
        mounted.set_rules(Vec::new()).unwrap();
    }
}

#[test]
fn entries_that_are_gone_are_counted_and_no_error() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        let gone = |path| Rule::on(Operation::Lookup).path(path).errno(2);
        mounted.set_rules(vec![gone("a/2"), gone("b/c")]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(
            scanned.report.outcome,
            Outcome::Complete,
            "{:?}",
            scanned.errors
        );
        scanned.has_all_but(&["a/2", "b/c", "b/c/1"]);
        assert_eq!(scanned.counter("meta", "vanished"), 2);
        assert_eq!(scanned.counter("walk", "vanished_directories"), 1);
        mounted.set_rules(Vec::new()).unwrap();
    }
}

#[test]
fn what_is_not_what_it_was_listed_as_is_recorded_as_it_is_and_named_if_nobody_looked_into_it() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        let rule = Rule::on(Operation::Readdir)
            .path("b/c")
            .shows(Shown::new().kind(Kind::File));
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(
            scanned.errors,
            [error("stat", "KIND_CHANGED", "b/c")],
            "{mounted}"
        );
        scanned.has_all_but(&["b/c/1"]);

        let rule = Rule::on(Operation::Readdir)
            .path("a/1")
            .shows(Shown::new().kind(Kind::Directory));
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(
            scanned.errors,
            [error("open", "ENOTDIR", "a/1")],
            "{mounted}"
        );
        scanned.has_all_but(&[]);
        mounted.set_rules(Vec::new()).unwrap();
    }
}

#[test]
fn directories_that_list_for_ever_are_given_up() {
    let tree = tree()
        .shape("large", Shape::files(5000))
        .shape("endless", Shape::endless());
    let Some(mounted) = TestFs::generated(tree).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        for cookies in [
            Cookies::Stuck { from: 3 },
            Cookies::Cycle {
                start: 2,
                length: 3000,
            },
        ] {
            let rule = Rule::on(Operation::Readdir).path("large").cookies(cookies);
            mounted.set_rules(vec![rule]).unwrap();
            let scanned = scan_with(
                mounted.path(),
                backend,
                PipelineSettings::default(),
                |walk| {
                    walk.exclude = vec!["/endless".to_owned()];
                },
            );
            assert_eq!(
                scanned.errors,
                [error("list", "READDIR_LOOP", "large")],
                "{backend:?} {cookies:?}"
            );
        }
        mounted.set_rules(Vec::new()).unwrap();
        let scanned = scan_with(
            mounted.path(),
            backend,
            PipelineSettings::default(),
            |walk| {
                walk.max_entries_per_directory = Some(20_000);
            },
        );
        assert_eq!(
            scanned.errors,
            [error("list", "TOO_MANY_ENTRIES", "endless")]
        );
        assert!(scanned.rows.iter().any(|row| row == "b/c/1"));
    }
}

#[test]
fn one_thing_that_hangs_is_given_up_and_everything_else_is_there() {
    let hangs: [(Rule, &str, &str, &[&str]); 4] = [
        (
            Rule::on(Operations::STAT).path("a/2"),
            "stat",
            "a/2",
            &["a/2"],
        ),
        (
            Rule::on(Operation::Opendir).path("b/c"),
            "open",
            "b/c",
            &["b/c/1"],
        ),
        (
            Rule::on(Operation::Readdir).path("b"),
            "list",
            "b",
            &["b/1", "b/2", "b/c", "b/c/1"],
        ),
        (
            // The directory can't even be looked up.
            Rule::on(Operations::STAT).path("b/c"),
            "open",
            "b/c",
            &["b/c", "b/c/1"],
        ),
    ];
    for backend in backends() {
        for (rule, operation, path, missing) in &hangs {
            let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
                return;
            };
            mounted.set_rules(vec![rule.clone().hang()]).unwrap();
            let scanned = scan_with(mounted.path(), backend, impatient(), |_| {});
            scanned.has_all_but(missing);
            assert_eq!(scanned.report.outcome, Outcome::Incomplete);
            let expected = error(operation, "STALLED", path);
            assert!(scanned.errors.contains(&expected), "{:?}", scanned.errors);
            let stall = &scanned.report.stalls[0];
            let subject = format!("{}/{path}", mounted.path().display());
            assert!(
                scanned
                    .report
                    .stalls
                    .iter()
                    .any(|stall| stall.subject == subject)
            );
            assert!(stall.given_up && stall.thread_left, "{stall:?}");
        }
    }
}

#[test]
fn when_everything_hangs_below_the_root_the_run_ends_in_time_and_says_so() {
    for backend in backends() {
        let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
            return;
        };
        let rule = Rule::on(Operations::ALL).path_glob("?*/**").hang();
        let also = Rule::on(Operations::ALL).path_glob("?*").hang();
        mounted.set_rules(vec![rule, also]).unwrap();
        let began = std::time::Instant::now();
        let scanned = scan_with(mounted.path(), backend, impatient(), |_| {});
        assert!(
            began.elapsed() < Duration::from_secs(7),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(scanned.report.outcome, Outcome::Incomplete);
        assert_eq!(scanned.rows, [""]);
        for path in ["a", "b", "top"] {
            assert!(scanned.errors.iter().any(|error| error.2 == path), "{path}");
        }
    }
}

#[test]
fn a_root_that_hangs_is_an_error_of_its_own_and_the_others_are_scanned() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    let Some(hanging) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    hanging
        .set_rules(vec![Rule::on(Operations::ALL).hang()])
        .unwrap();
    let records = Collected::<RecordBatch>::new();
    let mut job = Builder::new("scan").with_settings(impatient());
    let walk = EnumerateConfig::new([hanging.path(), mounted.path()]);
    let walk = job.stage("walk", Enumerate, walk).done();
    let meta = job
        .stage("meta", Stat, StatConfig::default())
        .reads(&walk)
        .done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.cause);
    let rows: usize = records.items().iter().map(RecordBatch::len).sum();
    assert_eq!(rows, ALL.len());
    assert_eq!(report.stage("walk").unwrap().errors[0].code, "STALLED");
}

#[test]
fn a_directory_that_is_gone_half_way_has_failed_and_has_not_vanished() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        // What is read of it by then has been sent: whoever reads on must not take the rest for gone as well.
        let rule = Rule::on(Operation::Readdir)
            .path("a")
            .at_offset(3)
            .errno(ENOENT);
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan(mounted.path(), backend);
        assert_eq!(scanned.errors, [error("list", "ENOENT", "a")], "{mounted}");
        assert_eq!(scanned.failed, BTreeSet::from(["a".to_owned()]));
        assert_eq!(scanned.report.outcome, Outcome::Incomplete);
        assert!(scanned.rows.iter().any(|row| row.starts_with("a/")));
        mounted.set_rules(Vec::new()).unwrap();
    }
}

#[test]
fn a_file_system_on_which_many_calls_hang_is_not_asked_any_more() {
    const DIRECTORIES: usize = 60;
    let tree = (0..DIRECTORIES).fold(Tree::new(), |tree, number| {
        tree.file(format!("hangs-{number}/file"), 7)
    });
    let Some(mounted) = TestFs::generated(tree).mount_unless_skipped().unwrap() else {
        return;
    };
    let rule = Rule::on(Operation::Opendir).path_glob("hangs-*").hang();
    mounted.set_rules(vec![rule]).unwrap();
    let mut settings = impatient();
    settings.stall_after = Period::new(Duration::from_millis(300));
    // So that it is not because nothing moves at all that the run ends.
    settings.stall_timeout = Period::new(Duration::from_secs(3600));
    let scanned = scan_with(mounted.path(), BackendSetting::Auto, settings, |_| {});
    assert_eq!(scanned.report.outcome, Outcome::Incomplete);
    let opened = scanned.errors.iter().filter(|error| error.0 == "open");
    assert_eq!(opened.count(), DIRECTORIES, "each is accounted for");
    let hung = scanned.report.stalls.len();
    assert!((16..DIRECTORIES / 2).contains(&hung), "{hung} calls hung");
}

#[test]
fn a_root_that_is_a_link_to_a_directory_that_cannot_be_opened_is_an_error() {
    let Some(mounted) = TestFs::generated(tree()).mount_unless_skipped().unwrap() else {
        return;
    };
    let rule = Rule::on(Operation::Opendir).path("b").errno(EIO);
    mounted.set_rules(vec![rule]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(mounted.path().join("b"), &link).unwrap();
    let scanned = scan(&link, BackendSetting::Auto);
    assert_eq!(scanned.report.outcome, Outcome::Incomplete);
    assert_eq!(scanned.errors, [error("open", "EIO", "")]);
}

#[test]
fn a_followed_link_whose_target_cannot_be_reached_is_an_error_and_not_a_link_to_nowhere() {
    let tree = tree()
        .symlink("a/link", "../b/c")
        .symlink("a/dangling", "nowhere");
    let Some(mounted) = TestFs::generated(tree).mount_unless_skipped().unwrap() else {
        return;
    };
    for backend in backends() {
        let follow = |walk: &mut EnumerateConfig| walk.follow_symlinks = true;
        let settings = PipelineSettings::default;
        mounted.set_rules(Vec::new()).unwrap();
        let scanned = scan_with(mounted.path(), backend, settings(), follow);
        assert_eq!(
            scanned.report.outcome,
            Outcome::Complete,
            "{:?}",
            scanned.errors
        );
        assert!(scanned.rows.iter().any(|row| row == "a/link/1"));
        assert!(scanned.rows.iter().any(|row| row == "a/dangling"));

        let rule = Rule::on(Operations::STAT).path("b/c").errno(EIO);
        mounted.set_rules(vec![rule]).unwrap();
        let scanned = scan_with(mounted.path(), backend, settings(), follow);
        assert!(
            scanned.errors.contains(&error("stat", "EIO", "a/link")),
            "{:?}",
            scanned.errors
        );
        assert!(!scanned.rows.iter().any(|row| row == "a/link"));
        assert!(scanned.rows.iter().any(|row| row == "a/dangling"));
        // Whoever counts must not take it for gone.
        assert_eq!(scanned.promised["a"], 5);
    }
}

#[test]
fn a_backend_that_is_not_to_be_had_fails_the_run_with_the_reason() {
    let Err(unavailable) = statline_platform::select(BackendChoice::IoUring) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let scanned = scan(directory.path(), BackendSetting::IoUring);
    assert_eq!(scanned.report.outcome, Outcome::Failed);
    let cause = format!("{:?}", scanned.report.cause);
    assert!(cause.contains(unavailable.reason()), "{cause}");
    assert!(cause.contains("the backend io_uring is not available here"));
}
