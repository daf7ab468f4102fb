//! Sinks that cannot write, and directories that go away: nothing of the run gets its name, and the error names the
//! file.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::tree::{WIDE, job, wide};
use crate::{installed, names, run_in, skipped, statline, status, stderr, stdout, succeeded};

/// A job with two outputs: one in `good`, one in `bad`, each before or after the other.
fn two_sinks(home: &Path, first: &str, second: &str) -> String {
    for directory in [first, second] {
        let _ = fs::create_dir(home.join(directory));
    }
    let sink = |name: &str, directory: &str| {
        format!(
            "stages.{name} = {{ type = \"jsonl\", inputs = [\"walk\"], path = \"{directory}/out.jsonl\" }}\n"
        )
    };
    let walk = "stages.walk = { type = \"enumerate\", roots = [\"data\"] }\n";
    job(
        home,
        &[walk, &sink("first", first), &sink("second", second)].concat(),
    )
}

/// The run failed because of the file in `bad`, and nothing is left of it.
#[track_caller]
fn failed_for(output: &Output, home: &Path, error: &str) {
    let told = stderr(output);
    assert_eq!(status(output), 1, "{told}");
    assert!(told.contains("bad/out.jsonl"), "{told}");
    assert!(told.contains(error), "{told}");
    assert_eq!(names(&home.join("good")), [""; 0]);
}

/// Runs a script of the shell in which `$1` is the binary.
fn shell(home: &Path, script: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_statline")]);
    shell.current_dir(home).stdin(Stdio::null());
    shell.output().unwrap()
}

/// Runs such a script where it can mount a file system of this size on `bad`, which goes away with the script.
fn with_small_disk(home: &Path, size: &str, script: &str) -> Option<Output> {
    let mount = format!("mount -t tmpfs -o size={size} none bad");
    if !installed("unshare") {
        return None;
    }
    let script = format!("{mount} || exit 99\n{script}");
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "sh", "-c", &script, "sh"]);
    unshare.arg(env!("CARGO_BIN_EXE_statline"));
    let output = unshare.current_dir(home).output().unwrap();
    let refused = output.status.code() == Some(99) || stderr(&output).starts_with("unshare:");
    if refused {
        skipped("nothing can be mounted here");
    }
    (!refused).then_some(output)
}

#[test]
fn a_full_disk_fails_every_output() {
    for (first, second) in [("good", "bad"), ("bad", "good")] {
        let home = wide();
        let file = two_sinks(home.path(), first, second);
        let script = format!("\"$1\" run {file}; status=$?; ls -A bad; exit $status");
        let Some(output) = with_small_disk(home.path(), "64k", &script) else {
            return;
        };
        failed_for(&output, home.path(), "No space left on device");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_full_disk_keeps_what_fits_if_it_is_to() {
    let home = wide();
    let file = two_sinks(home.path(), "bad", "good");
    // On the second disk there is no room for a mark, so the rows there are not kept, either.
    for (size, expected) in [
        ("600k", "out.jsonl.partial\nout.jsonl.partial.run.json\n3\n"),
        ("4k,nr_inodes=2", "1\n"),
    ] {
        let script = format!(
            "\"$1\" run {file} --keep-partial; status=$?
            ls -A bad; \"$1\" verify bad/out.jsonl.partial >verified; echo $?; exit $status"
        );
        let Some(output) = with_small_disk(home.path(), size, &script) else {
            return;
        };
        let told = stderr(&output);
        assert_eq!(status(&output), 1, "{told}");
        assert!(
            told.contains("cannot write \"bad/out.jsonl\": No space left"),
            "{told}"
        );
        assert_eq!(crate::stdout(&output), expected, "{told}");
        let verified = fs::read_to_string(home.path().join("verified")).unwrap();
        assert_eq!(
            verified.contains("failed, "),
            expected.ends_with("3\n"),
            "{verified}"
        );
        assert!(!verified.contains(" 0 rows"), "{verified}");
        // The other output is kept too, whole or as far as it came.
        let other = ["out.jsonl.partial", "out.jsonl.partial.run.json"];
        assert_eq!(names(&home.path().join("good")), other);
        let verify = run_in(home.path(), &["verify", "good/out.jsonl.partial"]);
        assert_eq!(status(&verify), 3, "{}", stderr(&verify));
    }
}

#[test]
fn a_file_larger_than_the_limit_fails_every_output() {
    let home = wide();
    let file = two_sinks(home.path(), "good", "bad");
    // The job would write one file as large as the other, so the good one is bound to be smaller.
    let text = fs::read_to_string(home.path().join(&file)).unwrap();
    let text = text.replacen(
        "type = \"jsonl\", inputs = [\"walk\"]",
        "type = \"jsonl\", inputs = [\"walk.errors\"]",
        1,
    );
    fs::write(home.path().join(&file), text).unwrap();
    let output = shell(
        home.path(),
        &format!("ulimit -f 100; exec \"$1\" run {file}"),
    );
    failed_for(&output, home.path(), "File too large");
    assert_eq!(names(&home.path().join("bad")), [""; 0]);
}

#[test]
fn a_device_that_is_full_keeps_the_other_output_from_its_name() {
    if !Path::new("/dev/full").exists() {
        return skipped("there is no /dev/full");
    }
    let home = wide();
    let file = two_sinks(home.path(), "good", "bad");
    let set = ["run", &file, "--set", "stages.second.path=/dev/full"];
    let output = run_in(home.path(), &set);
    assert_eq!(status(&output), 1);
    let told = stderr(&output);
    assert!(
        told.contains("cannot write \"/dev/full\": No space left"),
        "{told}"
    );
    assert_eq!(names(&home.path().join("good")), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_made_durable_fails_every_output() {
    if !installed("strace") {
        return;
    }
    // Of each thread the first, the second and so on: the sinks' files, and their marks and directories before any of
    // them has its name.
    for which in ["when=1", "when=2", "when=3", "when=4"] {
        let home = wide();
        let file = two_sinks(home.path(), "good", "bad");
        let script = format!(
            "exec strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:{which} \"$1\" run {file}"
        );
        let output = shell(home.path(), &script);
        let told = stderr(&output);
        if told.contains("ptrace") {
            return skipped("nothing can be traced here");
        }
        assert_eq!(status(&output), 1, "{told}");
        assert!(told.contains("/out.jsonl"), "{told}");
        assert!(told.contains("Input/output error"), "{told}");
        for directory in ["good", "bad"] {
            assert_eq!(names(&home.path().join(directory)), [""; 0], "{which}");
        }
    }
}

#[test]
fn temporary_files_are_created_exclusively_for_their_owner() {
    if !installed("strace") {
        return;
    }
    let home = wide();
    let file = two_sinks(home.path(), "good", "bad");
    let script = format!("exec strace -f -qq -o calls -e trace=openat \"$1\" run {file} 2>&1");
    let output = shell(home.path(), &script);
    let told = stdout(&output);
    if told.contains("ptrace") {
        return skipped("nothing can be traced here");
    }
    assert_eq!(status(&output), 0, "{told}");
    let calls = fs::read_to_string(home.path().join("calls")).unwrap();
    let created: Vec<&str> = calls
        .lines()
        .filter(|call| call.contains("/.statline-") && call.contains("O_CREAT"))
        .collect();
    // Each output and its mark. Without O_EXCL a link that somebody planted would be written through.
    assert_eq!(created.len(), 4, "{calls}");
    for call in created {
        assert!(call.contains("O_EXCL") && call.contains("0600"), "{call}");
    }
}

/// A run with its two outputs under way: it cannot end before what it writes to standard output is read.
pub(crate) fn under_way(mut command: Command, home: &Path, arguments: &[&str]) -> Child {
    let file = two_sinks(home, "good", "bad");
    let text = fs::read_to_string(home.join(&file)).unwrap();
    let rows = "stages.rows = { type = \"paths\", inputs = [\"walk\"], path = \"-\" }\n";
    job(home, &(text + rows));
    command
        .args([&["run", file.as_str()], arguments].concat())
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut row = Vec::new();
    BufReader::with_capacity(64, child.stdout.as_mut().unwrap())
        .read_until(b'\n', &mut row)
        .unwrap();
    child
}

/// Lets such a run go on to its end.
pub(crate) fn finished(mut child: Child) -> Output {
    let mut rows = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_end(&mut rows).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn an_output_directory_that_vanishes_fails_every_output() {
    let home = wide();
    let child = under_way(statline(), home.path(), &[]);
    fs::remove_dir_all(home.path().join("bad")).unwrap();
    failed_for(
        &finished(child),
        home.path(),
        "its temporary file was removed",
    );
    assert_eq!(names(home.path()), ["data", "good", "job.toml"]);
}

/// The binary as somebody who may not do everything; `None` where that cannot be had.
pub(crate) fn unprivileged() -> Option<Command> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return Some(statline());
    }
    if !installed("setpriv") {
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ]);
    command.arg(env!("CARGO_BIN_EXE_statline"));
    let runs = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
        ])
        .args([env!("CARGO_BIN_EXE_statline"), "--version"])
        .output();
    if !runs.is_ok_and(|output| output.status.success()) {
        skipped("the binary is where only root gets to");
        return None;
    }
    Some(command)
}

#[test]
fn an_output_directory_that_becomes_read_only_fails_every_output() {
    let Some(command) = unprivileged() else {
        return;
    };
    let home = wide();
    let set_mode = |name: &str, mode| {
        let path = home.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("", 0o755);
    for name in ["good", "bad"] {
        fs::create_dir(home.path().join(name)).unwrap();
        set_mode(name, 0o777);
    }
    let child = under_way(command, home.path(), &[]);
    set_mode("bad", 0o555);
    failed_for(&finished(child), home.path(), "Permission denied");
    assert!(!names(&home.path().join("bad")).contains(&"out.jsonl".to_owned()));
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not() {
    let home = wide();
    let mut killed = under_way(statline(), home.path(), &[]);
    let bad = home.path().join("bad");
    assert_eq!(names(&bad).len(), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = names(&bad);
    assert!(left[0].starts_with(".statline-"), "{left:?}");

    let living = under_way(statline(), home.path(), &[]);
    let alive = names(&bad);
    assert_eq!(alive.len(), 1);
    assert_ne!(alive, left);
    succeeded(run_in(
        home.path(),
        &["scan", "data", "-o", "bad/other.csv"],
    ));
    assert!(names(&bad).contains(&alive[0]));
    succeeded(finished(living));
    assert_eq!(
        names(&bad),
        [
            "other.csv",
            "other.csv.run.json",
            "out.jsonl",
            "out.jsonl.run.json"
        ]
    );
    let rows = fs::read_to_string(bad.join("out.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), WIDE + 1);
}
