//! The process above the one that does the work: statuses and signals pass through it, and nothing outlives it.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::tree::small;
use crate::{installed, statline, status, stderr, stdout};

/// Far more than anything here takes, also where others are at work.
const PATIENCE: Duration = Duration::from_secs(30);

/// A scan that waits for its reader, in a group of its own.
struct Waiting {
    parent: Child,
    rows: ChildStdout,
    /// The process that does the work.
    worker: u32,
}

impl Waiting {
    fn start() -> Waiting {
        let mut command = statline();
        command.args(["scan", "/usr", "-qq", "-o", "-"]);
        Waiting::of(command)
    }

    fn of(mut command: Command) -> Waiting {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut parent = command.process_group(0).spawn().unwrap();
        let mut rows = parent.stdout.take().unwrap();
        // It is under way once there is something to read.
        rows.read_exact(&mut [0]).unwrap();
        let worker = child_of(&parent);
        Waiting {
            parent,
            rows,
            worker,
        }
    }

    /// Its exit status and what it said on standard error.
    fn end(self) -> (Option<i32>, String) {
        drop(self.rows);
        let output = self.parent.wait_with_output().unwrap();
        (output.status.code(), stderr(&output))
    }
}

/// The process that does the work of this one.
pub(crate) fn child_of(parent: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = fs::read_to_string(children).unwrap();
    children.trim().parse().unwrap()
}

/// Sends a signal to a process, or to a group if the target is negative.
fn kill(signal: &str, target: i64) {
    let arguments = ["-s", signal, "--", &target.to_string()];
    let sent = Command::new("kill").args(arguments).status().unwrap();
    assert!(sent.success(), "kill {arguments:?}");
}

/// The state of a process as `/proc` has it, if there is such a process.
fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether whoever runs the tests has them ignore a signal, as nohup(1) and a shell's background do.
fn is_ignored(signal: i32) -> bool {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
    u64::from_str_radix(ignored.unwrap(), 16).unwrap() >> (signal - 1) & 1 == 1
}

#[track_caller]
pub(crate) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came to that");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_that_is_killed_is_told() {
    let scan = Waiting::start();
    kill("KILL", scan.worker.into());
    let (status, told) = scan.end();
    assert_eq!(status, Some(137));
    assert_eq!(told, "error: killed by SIGKILL\n");
}

#[test]
fn a_worker_that_can_do_nothing_ends_with_the_second_signal() {
    let mut scan = Waiting::start();
    kill("STOP", scan.worker.into());
    wait_until(|| state(scan.worker) == Some('T'));
    let worker = scan.worker;
    // The second one counts when it does not come at once.
    wait_until(|| {
        let id = i64::from(scan.parent.id());
        let _ = Command::new("kill")
            .args(["-s", "INT", &id.to_string()])
            .stderr(Stdio::null())
            .status();
        scan.parent.try_wait().unwrap().is_some()
    });
    assert_eq!(scan.end().0, Some(130));
    wait_until(|| matches!(state(worker), None | Some('Z')));
}

#[test]
fn a_worker_does_not_outlive_its_parent() {
    let mut scan = Waiting::start();
    scan.parent.kill().unwrap();
    scan.parent.wait().unwrap();
    wait_until(|| matches!(state(scan.worker), None | Some('Z')));
}

#[test]
fn a_group_that_is_stopped_goes_on_where_it_was() {
    let mut scan = Waiting::start();
    let group = -i64::from(scan.parent.id());
    kill("STOP", group);
    let both = [scan.parent.id(), scan.worker];
    wait_until(|| both.iter().all(|process| state(*process) == Some('T')));
    kill("CONT", group);
    let mut rest = String::new();
    scan.rows.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("}\n"));
    assert_eq!(scan.end(), (Some(0), String::new()));
}

#[test]
fn what_is_ignored_stays_so() {
    let mut command = Command::new("sh");
    let script = format!(
        "trap '' HUP; exec {} scan /usr -qq -o -",
        env!("CARGO_BIN_EXE_statline")
    );
    let mut scan = Waiting::of({
        command.args(["-c", &script]);
        command
    });
    kill("HUP", scan.parent.id().into());
    kill("HUP", scan.worker.into());
    scan.rows.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(scan.end(), (Some(0), String::new()));
}

#[test]
fn signals_reach_the_worker() {
    for (signal, number) in [("HUP", 1), ("QUIT", 3), ("TERM", 15)] {
        if is_ignored(number) {
            eprintln!("skipped: SIG{signal} is ignored here");
            continue;
        }
        let scan = Waiting::start();
        kill(signal, scan.parent.id().into());
        // Whoever is gone needs to be told nothing.
        let (status, told) = scan.end();
        assert_eq!(status, Some(128 + number), "{told}");
        assert!(!told.contains("killed"), "{told}");
    }
}

#[test]
fn a_question_is_answered_by_the_worker() {
    let mut scan = Waiting::start();
    kill("USR1", scan.parent.id().into());
    let mut told = scan.parent.stderr.take().unwrap();
    let (answered, answer) = mpsc::channel();
    thread::spawn(move || answered.send(told.read_exact(&mut [0])));
    answer.recv_timeout(PATIENCE).unwrap().unwrap();
    scan.rows.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(scan.end().0, Some(0));
}

#[test]
fn the_key_that_interrupts_counts_once() {
    if !installed("script") {
        return;
    }
    let home = small();
    let command = format!(
        "{} scan / -x -j 1 -o out.jsonl --color never --progress always --max-ops-per-second 1000",
        env!("CARGO_BIN_EXE_statline")
    );
    let mut terminal = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(home.path())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It is under way once there is progress. Both processes are in the terminal's group.
    let mut shown = terminal.stdout.take().unwrap();
    let mut start = [0; 1];
    shown.read_exact(&mut start).unwrap();
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let mut rest = Vec::new();
    shown.read_to_end(&mut rest).unwrap();
    let ended = terminal.wait().unwrap();
    let rest = String::from_utf8_lossy(&rest);
    if ended.success() {
        eprintln!("skipped: the scan was over too soon");
        return;
    }
    assert_eq!(ended.code(), Some(130), "{rest}");
    assert!(rest.contains("stopped by SIGINT after "), "{rest}");
}

#[test]
fn a_parent_that_is_not_there_is_none() {
    let home = small();
    for told in ["1:1", "x", ""] {
        let output = statline()
            .env("STATLINE_PARENT", told)
            .args(["scan", "data"])
            .current_dir(home.path())
            .output()
            .unwrap();
        assert_eq!(status(&output), 1, "{told:?}");
        assert!(stderr(&output).contains("STATLINE_PARENT"), "{told:?}");
        assert_eq!(stdout(&output), "");
    }
    // Nobody stands above what reads no file system.
    let output = statline()
        .env("STATLINE_PARENT", "1:1")
        .arg("list")
        .output();
    assert_eq!(status(&output.unwrap()), 0);
}
