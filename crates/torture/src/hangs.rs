//! T9: calls that hang: one directory, one file, everything below the root.
//!
//! The program runs as a child of the suite, as it does below `cron`: what counts is when `wait` returns. It must end
//! with status 3 within `stall_timeout` and two seconds, name what hangs on standard error and in the report, and have
//! a row of all the rest. A second round is stopped by a signal while it hangs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, TestFs, Tree, can_mount};

use crate::oracle::{Findings, Oracle, some_of};
use crate::program::{Ended, Program};
use crate::suite::{Broken, FAMILY, Part, Suite};

/// Cases with a signal are numbered from here.
const SIGNALS: u64 = FAMILY;

const STALL_AFTER: Duration = Duration::from_millis(300);
const STALL_TIMEOUT: Duration = Duration::from_millis(1500);

/// How much later than `stall_timeout` the program may end.
const GRACE: Duration = Duration::from_secs(2);

/// The deadline of a run that is stopped, as it is set here.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Longer than anything that is allowed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Directories in the tree, with as many files each.
const DIRECTORIES: usize = 12;

#[derive(Clone, Copy, Debug)]
enum Where {
    Directory,
    File,
    /// Everything but the root and its listing.
    Everywhere,
}

/// What hangs: operations of the test file system, where, and the operations that may be named for it.
const HANGS: [(&str, Hang, Where, &[&str]); 9] = [
    (
        "opening a directory",
        Hang::Only(Operation::Opendir),
        Where::Directory,
        &["open"],
    ),
    (
        "listing a directory",
        Hang::Only(Operation::Readdir),
        Where::Directory,
        &["list"],
    ),
    (
        "a directory's metadata",
        Hang::Stat,
        Where::Directory,
        &["open", "stat"],
    ),
    ("a file's metadata", Hang::Stat, Where::File, &["stat"]),
    (
        "a file's look-up",
        Hang::Only(Operation::Lookup),
        Where::File,
        &["stat"],
    ),
    (
        "opening anything",
        Hang::Only(Operation::Opendir),
        Where::Everywhere,
        &["open"],
    ),
    (
        "listing anything",
        Hang::Only(Operation::Readdir),
        Where::Everywhere,
        &["list"],
    ),
    (
        "all metadata",
        Hang::Stat,
        Where::Everywhere,
        &["open", "stat"],
    ),
    (
        "everything",
        Hang::All,
        Where::Everywhere,
        &["open", "stat", "list"],
    ),
];

#[derive(Clone, Copy, Debug)]
enum Hang {
    Only(Operation),
    Stat,
    All,
}

impl Hang {
    fn operations(self) -> Operations {
        match self {
            Hang::Only(operation) => operation.into(),
            Hang::Stat => Operations::STAT,
            Hang::All => Operations::ALL,
        }
    }
}

const BACKENDS: [&str; 2] = ["statx", "fstatat"];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    if let Err(reason) = can_mount() {
        suite.skip(Part::Hangs, format!("no right to mount: {reason}"));
        return Ok(());
    }
    let rounds = suite.size(1, 10);
    let cases = (HANGS.len() * BACKENDS.len() * rounds) as u64;
    let oracles = [
        Oracle::Loss,
        Oracle::Escape,
        Oracle::Duplicate,
        Oracle::Lie,
        Oracle::Bound,
        Oracle::Output,
    ];
    // They do nothing but wait.
    suite.share(6, |thread, threads| {
        for case in (0..cases).filter(|case| case % threads == thread) {
            suite.case(Part::Hangs, case, &oracles, |findings| {
                one(suite, case as usize, None, findings)
            });
        }
        for case in (0..cases).filter(|case| case % threads == thread) {
            let signal = [Signal::INT, Signal::TERM][case as usize / 2 % 2];
            suite.case(Part::Hangs, SIGNALS + case, &oracles, |findings| {
                one(suite, case as usize, Some(signal), findings)
            });
        }
    });
    Ok(())
}

fn one(
    suite: &Suite,
    case: usize,
    signal: Option<Signal>,
    findings: &mut Findings,
) -> Result<(), Broken> {
    let backend = BACKENDS[case % BACKENDS.len()];
    let (what, operations, place, named) = HANGS[case / BACKENDS.len() % HANGS.len()];
    let rule = Rule::on(operations.operations()).hang();
    let rule = match place {
        Where::Directory => rule.path("d4"),
        Where::File => rule.path("d4/f7"),
        Where::Everywhere => rule.path_glob("**/d*"),
    };
    let mounted = TestFs::generated(tree()).rule(rule).mount()?;
    let home = tempfile::tempdir()?;
    let (rows, report) = (
        home.path().join("rows.jsonl"),
        home.path().join("report.json"),
    );
    let stop_timeout = format!("pipeline.stop_timeout={}ms", STOP_TIMEOUT.as_millis());
    let mut arguments: Vec<String> = vec!["scan".into(), mounted.path().display().to_string()];
    // A stop is to be tested of a run that would go on waiting.
    let (after, timeout) = match signal {
        None => (STALL_AFTER, STALL_TIMEOUT),
        Some(_) => (Duration::from_secs(600), Duration::from_secs(600)),
    };
    for setting in [
        format!("pipeline.stall_after={}ms", after.as_millis()),
        format!("pipeline.stall_timeout={}ms", timeout.as_millis()),
        stop_timeout,
    ] {
        arguments.extend(["--set".into(), setting]);
    }
    for (option, value) in [
        ("-o", rows.display().to_string()),
        ("--errors", errors_of(&rows).display().to_string()),
        ("--report", report.display().to_string()),
        ("--backend", backend.into()),
        ("-j", "2".into()),
    ] {
        arguments.extend([option.into(), value]);
    }
    let mut running = Program::new(&suite.program, arguments).start()?;
    if let Some(signal) = signal {
        if !running.wait_until(PATIENCE, || mounted.hung() > 0)? {
            return Err(format!("{what}: nothing hangs").into());
        }
        running.signal(signal)?;
    }
    let begin = std::time::Instant::now();
    let ended = running.wait(PATIENCE)?;
    let waited = begin.elapsed();
    let told = format!("{what}, {backend}, {signal:?}");
    match ended {
        Err(running) => {
            findings.add(Oracle::Bound, format!("it does not end: {told}"));
            mounted.release();
            drop(mounted);
            // Only now can it be reaped.
            let _ = running.wait(PATIENCE)?;
            return Ok(());
        }
        Ok(ended) => {
            findings.check(Oracle::Bound, ended.let_go, || {
                "somebody still holds standard error, so whoever reads it waits".into()
            });
            match signal {
                None => {
                    let bound = STALL_TIMEOUT + STALL_AFTER + GRACE;
                    findings.check(Oracle::Bound, ended.took < bound, || {
                        format!("it took {:?}: {told}", ended.took)
                    });
                    judge(&mounted, &ended, &rows, &report, named, place, findings)?;
                }
                Some(signal) => {
                    let bound = STOP_TIMEOUT + GRACE;
                    findings.check(Oracle::Bound, waited < bound, || {
                        format!("it took {waited:?} to stop: {told}")
                    });
                    let expected = 128 + signal.as_raw();
                    findings.check(Oracle::Lie, ended.code() == expected, || {
                        format!("status {}: {}", ended.code(), ended.stderr)
                    });
                    findings.check(Oracle::Output, !rows.exists(), || {
                        "rows are published".into()
                    });
                }
            }
        }
    }
    for (_, violation) in &mut findings.violations {
        violation.push_str(&format!(" [{told}]"));
    }
    mounted.release();
    Ok(())
}

/// Where the error rows go.
fn errors_of(rows: &Path) -> PathBuf {
    rows.with_file_name("errors.jsonl")
}

/// The path in a row of JSON Lines, relative to the root.
fn path_in(line: &[u8], root: &[u8]) -> Result<Vec<u8>, Broken> {
    let row: serde_json::Value = serde_json::from_slice(line)?;
    let path = row["path"].as_str().unwrap_or_default().as_bytes();
    Ok(crate::scan::relative(root, path).to_vec())
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for directory in 0..DIRECTORIES {
        for file in 0..DIRECTORIES {
            tree = tree.file(format!("d{directory}/f{file}"), 1);
        }
    }
    tree.file("top", 1)
}

fn judge(
    mounted: &Mounted,
    ended: &Ended,
    rows: &Path,
    report: &Path,
    named: &[&str],
    place: Where,
    findings: &mut Findings,
) -> Result<(), Broken> {
    findings.check(Oracle::Lie, ended.code() == 3, || {
        format!("status {}: {}", ended.code(), ended.stderr)
    });
    let Ok(report) = fs::read(report) else {
        findings.add(Oracle::Output, "no report");
        return Ok(());
    };
    let report: serde_json::Value = serde_json::from_slice(&report)?;
    let stalls = report["stalls"].as_array().cloned().unwrap_or_default();
    let is_named = stalls.iter().any(|stall| {
        let operation = stall["operation"].as_str().unwrap_or_default();
        let subject = stall["subject"].as_str().unwrap_or_default();
        let place_named = match place {
            Where::Directory => subject.ends_with("/d4"),
            Where::File => subject.ends_with("/d4/f7"),
            Where::Everywhere => true,
        };
        place_named && named.contains(&operation) && ended.stderr.contains(subject)
    });
    findings.check(Oracle::Lie, is_named, || {
        format!("what hangs is not named: {stalls:?}: {}", ended.stderr)
    });
    let root = mounted.path().as_os_str().as_encoded_bytes();
    let content = fs::read(rows).unwrap_or_default();
    // Beside what hangs there may be what was not waited for any more; that has an error row.
    let errors = fs::read(errors_of(rows)).unwrap_or_default();
    let mut named = HashSet::new();
    for line in errors
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        named.insert(path_in(line, root)?);
    }
    let mut seen = HashSet::new();
    for line in content
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let path = path_in(line, root)?;
        findings.check(Oracle::Duplicate, !seen.contains(&path), || {
            format!("{} comes twice", some_of([&path[..]]))
        });
        seen.insert(path);
    }
    let hangs = |path: &[u8]| match place {
        Where::Directory => path == b"d4" || path.starts_with(b"d4/"),
        Where::File => path == b"d4/f7",
        Where::Everywhere => path != b"top",
    };
    let truth: Vec<Vec<u8>> = tree().entries().map(|entry| entry.path).collect();
    let lost = truth
        .iter()
        .map(Vec::as_slice)
        .filter(|path| !hangs(path) && !seen.contains(*path) && !named.contains(*path));
    let lost: Vec<&[u8]> = lost.collect();
    findings.check(Oracle::Loss, lost.is_empty(), || {
        format!("{} lost, which does not hang", some_of(lost))
    });
    let known: HashSet<&[u8]> = truth.iter().map(Vec::as_slice).collect();
    let phantoms = seen.iter().map(Vec::as_slice);
    let phantoms: Vec<&[u8]> = phantoms
        .filter(|path| !path.is_empty() && !known.contains(path))
        .collect();
    findings.check(Oracle::Escape, phantoms.is_empty(), || {
        format!("{} is not there", some_of(phantoms))
    });
    Ok(())
}
