//! How runs end: exit statuses, signals, readers that leave, outputs that appear whole or not at all.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tree::{job, small};
use crate::{installed, names, run_in, signal, statline, status, stderr, stdout, succeeded};

#[test]
fn a_root_that_is_not_there_fails_the_run() {
    let home = small();
    let output = run_in(home.path(), &["scan", "nowhere", "-o", "out.jsonl"]);
    assert_eq!(status(&output), 1);
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).starts_with("error: stage walk could not start: root nowhere: "),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(home.path()), ["data"]);
}

#[test]
fn an_unreadable_directory_leaves_a_run_incomplete() {
    let home = small();
    let locked = home.path().join("data/src/deep");
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&locked, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    };
    set_mode(0o000);
    let run = |arguments: &[&str]| {
        let mut command = statline();
        if fs::read_dir(&locked).is_ok() {
            // Root may read everything, so somebody else is asked.
            if !installed("setpriv") {
                return None;
            }
            command = Command::new("setpriv");
            command.args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                "--",
            ]);
            command.arg(env!("CARGO_BIN_EXE_statline"));
        }
        command
            .args(arguments)
            .current_dir(home.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        // The binary may be where only root gets to.
        (output.status.code() != Some(127) && output.status.code() != Some(126)).then_some(output)
    };
    let Some(output) = run(&["scan", "data"]) else {
        return;
    };
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.contains("incomplete: 1 could not be read"), "{told}");
    assert!(told.contains("1 × open EACCES, in walk"), "{told}");
    assert!(told.contains("--errors FILE"), "{told}");
    // What the job accepts leaves it complete.
    let accept = ["scan", "data", "--set", "stages.walk.accept=[\"EACCES\"]"];
    let output = run(&accept).unwrap();
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(
        stdout(&output).contains("which the job accepts"),
        "{}",
        stdout(&output)
    );
    set_mode(0o755);
}

#[test]
fn mistakes_have_the_status_2() {
    let home = small();
    for arguments in [
        &["--nothing"][..],
        &["scam"],
        &["run", "nowhere.toml"],
        &["describe", "nothing"],
        &["man", "nothing"],
    ] {
        assert_eq!(status(&run_in(home.path(), arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn an_output_appears_whole_or_not_at_all() {
    let home = small();
    fs::write(home.path().join("out.jsonl"), "before").unwrap();
    // The second sink cannot be opened, so the first one must not publish.
    let file = job(
        home.path(),
        r#"
        stages.walk = { type = "enumerate", roots = ["data"] }
        stages.out = { type = "jsonl", inputs = ["walk"], path = "out.jsonl" }
        stages.more = { type = "paths", inputs = ["walk"], path = "no/such/place" }
        "#,
    );
    let output = run_in(home.path(), &["run", &file]);
    assert_eq!(status(&output), 1);
    assert!(
        stderr(&output).contains("no/such/place"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        fs::read_to_string(home.path().join("out.jsonl")).unwrap(),
        "before"
    );
    assert_eq!(names(home.path()), ["data", "job.toml", "out.jsonl"]);
    succeeded(run_in(home.path(), &["scan", "data", "-o", "out.jsonl"]));
    assert_eq!(
        names(home.path()),
        ["data", "job.toml", "out.jsonl", "out.jsonl.run.json"]
    );
    assert!(
        fs::read_to_string(home.path().join("out.jsonl"))
            .unwrap()
            .ends_with("}\n")
    );
}

#[test]
fn a_full_disk_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: there is no /dev/full");
        return;
    }
    let home = small();
    for arguments in [&["scan", "data", "-o", "-"][..], &["list"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = statline();
        command.args(arguments).current_dir(home.path());
        let output = command.stdout(full).output().unwrap();
        assert_eq!(status(&output), 1, "{arguments:?}");
        assert!(
            stderr(&output).contains("No space left"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    for arguments in [
        &["scan", "/usr/lib", "-o", "-"][..],
        &["scan", "/usr/lib", "-0"],
        &["list"],
        &["man"],
    ] {
        let mut child = statline()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0];
        let mut reader = child.stdout.take().unwrap();
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert_eq!(status(&output), 0, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_closed_standard_error_is_no_failure() {
    let home = small();
    let command = format!(
        "{} scan data -o out.csv 2>&-",
        env!("CARGO_BIN_EXE_statline")
    );
    let shell = Command::new("sh")
        .args(["-c", &command])
        .current_dir(home.path())
        .status()
        .unwrap();
    assert!(shell.success());
    assert!(home.path().join("out.csv").exists());
}

/// A run that goes on until it is told to stop: its reader does not read.
fn endless() -> Child {
    let mut child = statline()
        .args(["scan", "/usr", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is under way once there is a row.
    let mut row = String::new();
    BufReader::with_capacity(1024, child.stdout.as_mut().unwrap())
        .read_line(&mut row)
        .unwrap();
    child
}

#[test]
fn the_first_signal_cancels_the_run() {
    let home = small();
    for (name, expected) in [("INT", 130), ("TERM", 143)] {
        // Long enough for a signal to come in between.
        let mut child = statline()
            .args([
                "scan",
                "/",
                "-x",
                "-j",
                "1",
                "-o",
                "out.jsonl",
                "--max-ops-per-second",
                "1000",
            ])
            .current_dir(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        if child.try_wait().unwrap().is_some() {
            eprintln!("skipped: the scan was over too soon");
            return;
        }
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(status(&output), expected, "{}", stderr(&output));
        let told = stderr(&output);
        assert!(
            told.starts_with(&format!("stopped by SIG{name} after ")),
            "{told}"
        );
        assert_eq!(names(home.path()), ["data"]);
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    if !installed("timeout") {
        return;
    }
    // It signals the program, and then the group that the program is in.
    let home = small();
    let output = Command::new("timeout")
        .args([
            "--preserve-status",
            "-s",
            "TERM",
            "0.2",
            env!("CARGO_BIN_EXE_statline"),
        ])
        .args([
            "scan",
            "/",
            "-x",
            "-j",
            "1",
            "-o",
            "out.jsonl",
            "--max-ops-per-second",
            "1000",
        ])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        eprintln!("skipped: the scan was over too soon");
        return;
    }
    assert_eq!(status(&output), 143, "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("stopped by SIGTERM"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(home.path()), ["data"]);
}

#[test]
fn the_second_signal_ends_the_program_at_once() {
    // A write that nobody reads cannot be cancelled.
    let mut child = endless();
    signal(&child, "INT");
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
        // It may be gone already.
        let _ = Command::new("kill")
            .args(["-s", "INT", &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(130));
}

#[test]
fn a_run_out_of_time_fails_and_publishes_nothing() {
    let home = small();
    let arguments = [
        "scan",
        "/",
        "-x",
        "-o",
        "out.csv",
        "--set",
        "pipeline.max_runtime=50ms",
        "--max-ops-per-second",
        "1000",
    ];
    let output = run_in(home.path(), &arguments);
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("max_runtime"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(home.path()), ["data"]);
}

#[test]
fn a_report_is_written_of_runs_that_fail_as_well() {
    let home = small();
    let output = run_in(home.path(), &["scan", "nowhere", "--report", "run.json"]);
    assert_eq!(status(&output), 1);
    let report = fs::read_to_string(home.path().join("run.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["outcome"], "failed");
    assert_eq!(report["fault"]["stage"], "walk");
    let output = run_in(
        home.path(),
        &["scan", "data", "--report", "no/such/place.json"],
    );
    assert_eq!(status(&output), 1);
    assert!(
        stderr(&output).contains("no/such/place.json"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stdout(&output), "");
}

#[test]
fn few_open_files_are_enough() {
    let home = small();
    let command = format!(
        "ulimit -n 64 && {} scan data /usr/share -0",
        env!("CARGO_BIN_EXE_statline")
    );
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(status(&output), 0, "{}", stderr(&output));
}

#[test]
fn progress_is_shown_where_it_is_asked_for() {
    if !installed("script") {
        return;
    }
    let home = small();
    let shown = |arguments: &str| {
        // Slow enough for something to be shown.
        let command = format!(
            "{} scan data -q --max-ops-per-second 10 {arguments} >/dev/null",
            env!("CARGO_BIN_EXE_statline")
        );
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(home.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let spinner = shown("");
    assert!(spinner.contains(" entries · "), "{spinner:?}");
    // Whatever was shown is cleared in the end.
    let last = spinner.rsplit("entries").next().unwrap();
    assert!(last.contains("\u{1b}[2K"), "{spinner:?}");
    assert_eq!(shown("--progress never"), "");
}
