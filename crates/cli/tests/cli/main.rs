//! The command as people use it: the real binary on real trees.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod cache;
mod commands;
mod diff;
mod endings;
mod faults;
mod hangs;
mod hashes;
mod hostile;
mod mutator;
mod parent;
mod partial;
mod pipelines;
mod plan;
mod print_job;
mod scans;
mod terminal;
mod tree;
mod verify;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary, in an environment that does not depend on who runs the tests.
fn statline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statline"));
    for variable in ["ROOT", "OUT", "PROBLEMS", "CACHE", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.env("TERM", "xterm").stdin(Stdio::null());
    command
}

/// Runs it with arguments, in a directory.
fn run_in(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut command = statline();
    command.current_dir(directory).args(arguments);
    command.output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The output of a command that must have succeeded.
#[track_caller]
fn succeeded(output: Output) -> Output {
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    output
}

/// Whether a program is installed; a test that needs it says that it was skipped, or fails where
/// STATLINE_REQUIRE_TOOLS is set.
fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        skipped(&format!("{program} is not installed"));
    }
    found.is_ok()
}

/// Says that a test could not be done here; fails it where all of them must be.
#[track_caller]
fn skipped(why: &str) {
    let required = std::env::var_os("STATLINE_REQUIRE_TOOLS").is_some();
    assert!(!required, "{why}, and STATLINE_REQUIRE_TOOLS is set");
    eprintln!("skipped: {why}");
}

/// What is in the directory, hidden files as well.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Sends a signal to a process.
fn signal(child: &std::process::Child, name: &str) {
    let kill = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Lines in an order that does not depend on threads.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
