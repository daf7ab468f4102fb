//! The command over a file system that hangs, as whoever started it sees it: it returns, in time, and says what hung.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, TestFs, Tree};

#[cfg(target_os = "linux")]
use crate::parent::{child_of, wait_until};
use crate::{names, signal, statline, status, stderr};

/// `a/{1,2}`, `b/{1,2}`, `top`.
fn mounted() -> Option<Mounted> {
    let files = ["a/1", "a/2", "b/1", "b/2", "top"];
    let tree = files
        .iter()
        .fold(Tree::new(), |tree, path| tree.file(path, 1));
    TestFs::generated(tree).mount_unless_skipped().unwrap()
}

const IMPATIENT: [&str; 4] = [
    "--set",
    "pipeline.stall_after=2s",
    "--set",
    "pipeline.stall_timeout=4s",
];

/// Scans a mount with rows to a file, as a program of its own; says how long that took.
fn scan(mounted: &Mounted, home: &Path) -> (Output, Duration) {
    let began = Instant::now();
    let output = command(mounted, home).output().unwrap();
    (output, began.elapsed())
}

fn command(mounted: &Mounted, home: &Path) -> Command {
    let mut command = statline();
    command
        .arg("scan")
        .arg(mounted.path())
        .args(["-o", "out.jsonl", "--report", "report.json"])
        .args(IMPATIENT)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

fn rows(home: &Path) -> usize {
    fs::read_to_string(home.join("out.jsonl"))
        .unwrap()
        .lines()
        .count()
}

fn stalls(home: &Path) -> Vec<String> {
    let report = fs::read(home.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let stalls = report["stalls"].as_array().unwrap();
    stalls
        .iter()
        .map(|stall| stall["subject"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn one_directory_that_hangs_is_named_and_the_rest_is_written_in_time() {
    let Some(mounted) = mounted() else { return };
    let rule = Rule::on(Operation::Readdir).path("b").hang();
    mounted.set_rules(vec![rule]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let (output, took) = scan(&mounted, home.path());
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    assert!(took < Duration::from_secs(8), "{took:?}");
    // All but what is in it.
    assert_eq!(rows(home.path()), 6);
    let directory = mounted.path().join("b").display().to_string();
    assert_eq!(stalls(home.path()), std::slice::from_ref(&directory));
    let told = stderr(&output);
    let named = format!("list {directory} has not come back for");
    assert!(told.contains(&named), "{told}");
    assert!(home.path().join("out.jsonl.run.json").exists());
}

#[test]
fn when_every_thread_hangs_the_command_returns_in_time_all_the_same() {
    let Some(mounted) = mounted() else { return };
    let hang = |glob| Rule::on(Operations::ALL).path_glob(glob).hang();
    mounted.set_rules(vec![hang("?*"), hang("?*/**")]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let (output, took) = scan(&mounted, home.path());
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(rows(home.path()), 1);
    assert!(!stalls(home.path()).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_hangs_ends_with_the_second_signal() {
    let Some(mounted) = mounted() else { return };
    mounted
        .set_rules(vec![Rule::on(Operations::STAT).path("a/1").hang()])
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&mounted, home.path());
    // Nothing else is to end it.
    command
        .args([
            "--set",
            "pipeline.stall_after=1h",
            "--set",
            "pipeline.stop_timeout=1h",
        ])
        .stderr(Stdio::null());
    let mut parent = command.spawn().unwrap();
    assert!(mounted.wait_until_hung(1, Duration::from_secs(20)));
    let worker = child_of(&parent);
    // The second one counts when it does not come at once. The parent hears of none, so it is not the one that acts.
    wait_until(|| {
        let _ = Command::new("kill")
            .args(["-s", "INT", &worker.to_string()])
            .stderr(Stdio::null())
            .status();
        parent.try_wait().unwrap().is_some()
    });
    assert_eq!(parent.wait().unwrap().code(), Some(130));
    assert!(!home.path().join("out.jsonl").exists());
}

/// Asks a worker that hangs to stop, again and again for a moment, and expects that it stops in good order. `None` if it
/// took so long to hear of the last that it may have been a second request.
#[cfg(target_os = "linux")]
fn ask_many_times_at_once() -> Option<()> {
    let mounted = mounted()?;
    mounted
        .set_rules(vec![Rule::on(Operations::STAT).path("a/1").hang()])
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&mounted, home.path());
    command
        .args([
            "--set",
            "pipeline.stall_after=1h",
            "--set",
            "pipeline.stop_timeout=1s",
        ])
        .stderr(Stdio::piped());
    let mut parent = command.spawn().unwrap();
    let mut told = parent.stderr.take().unwrap();
    assert!(mounted.wait_until_hung(1, Duration::from_secs(20)));
    let worker = child_of(&parent).to_string();
    let send = |signal| {
        let _ = Command::new("kill")
            .args(["-s", signal, &worker])
            .stderr(Stdio::null())
            .status();
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(100) {
        send("TERM");
    }
    // When this is answered, the others have been heard.
    send("USR1");
    let answer = told.read_exact(&mut [0]);
    let in_time = began.elapsed() < Duration::from_millis(250);
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    let status = parent.wait().unwrap().code();
    if !in_time {
        return None;
    }
    answer.expect("it ends at once");
    assert!(rest.contains("stopped by SIGTERM"), "{rest}");
    assert_eq!(status, Some(143));
    assert_eq!(names(home.path()), ["report.json"]);
    Some(())
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_hears_one_request_many_times_stops_in_good_order() {
    if statline_testfs::fuse::skipped() {
        return;
    }
    let heard = (0..20).find_map(|_| ask_many_times_at_once());
    assert!(heard.is_some(), "it is too slow to tell");
}

#[test]
fn a_signal_ends_a_command_that_hangs() {
    let Some(mounted) = mounted() else { return };
    mounted
        .set_rules(vec![Rule::on(Operations::STAT).path("a/1").hang()])
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&mounted, home.path());
    command
        .args([
            "--set",
            "pipeline.stall_after=1h",
            "--set",
            "pipeline.stop_timeout=1s",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    assert!(mounted.wait_until_hung(1, Duration::from_secs(20)));
    let began = Instant::now();
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(status(&output), 130, "{}", stderr(&output));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(!home.path().join("out.jsonl").exists());
}
