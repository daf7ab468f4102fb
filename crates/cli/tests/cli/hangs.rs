//! The command over a file system that hangs, as whoever started it sees it: it returns, in time, and says what hung.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, TestFs, Tree};

use crate::{signal, statline, status, stderr};

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
    "pipeline.stall_timeout=6s",
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
