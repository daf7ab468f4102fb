//! `bench`: two ways to read a directory that find the same, and what is said of it. No time is looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::faults::unprivileged;
use crate::tree::{ENTRIES, small};
use crate::{run_in, status, stderr, stdout, succeeded};

fn json(directory: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = run_in(
        directory,
        &[&["bench", "--format", "json"], arguments].concat(),
    );
    let text = stdout(&output);
    let value = serde_json::from_str(&text);
    (
        status(&output),
        value.unwrap_or_else(|error| panic!("{error}: {text}{}", stderr(&output))),
    )
}

#[test]
fn both_ways_find_what_a_scan_finds() {
    let home = small();
    let (status, found) = json(home.path(), &["data", "--runs", "2"]);
    assert_eq!(status, 0, "{found}");
    assert_eq!(found["schema"], 1);
    assert_eq!(found["path"], "data");
    assert_eq!(found["same_entries"], true);
    for way in ["sequential", "pipeline"] {
        assert_eq!(found[way]["entries"], ENTRIES as u64, "{found}");
        assert_eq!(found[way]["errors"], 0);
        assert_eq!(found[way]["seconds"].as_array().unwrap().len(), 2);
        assert!(found[way]["entries_per_second"].as_f64().unwrap() > 0.0);
    }
    let state = found["cache"]["state"].as_str().unwrap();
    assert!(["hot", "unknown"].contains(&state), "{found}");
}

#[test]
fn a_directory_of_a_few_entries_is_measured_and_said_to_be_too_short() {
    let home = small();
    let told = stdout(&succeeded(run_in(
        home.path(),
        &["bench", "data", "--runs", "1"],
    )));
    for part in [
        "data: 15 entries, medians of 1 pass",
        "one thread ",
        "pipeline ",
        "median",
        "entries",
        "the pipeline is ",
        "cache: ",
        "is too short to tell much",
        "one pass of each says nothing of chance",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_in_the_status() {
    let home = small();
    let locked = home.path().join("data/locked");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(&locked).unwrap();
    fs::write(locked.join("inside"), "").unwrap();
    let Some(mut command) = unprivileged() else {
        return;
    };
    set_mode(&locked, 0o000);
    set_mode(home.path(), 0o755);
    command.current_dir(home.path());
    command.args(["bench", "data", "--runs", "1", "--format", "json"]);
    let output = command.output().unwrap();
    set_mode(&locked, 0o700);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for way in ["sequential", "pipeline"] {
        assert_eq!(found[way]["errors"], 1, "{found}");
        assert_eq!(found[way]["entries"], ENTRIES as u64 + 1, "{found}");
    }
    assert_eq!(found["same_entries"], true);
}

#[cfg(target_os = "linux")]
#[test]
fn who_may_not_drop_the_caches_is_told_before_anything_is_measured() {
    let home = small();
    let Some(mut command) = unprivileged() else {
        return;
    };
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    command.current_dir(home.path());
    let output = command.args(["bench", "data", "--cold"]).output().unwrap();
    assert_eq!(status(&output), 1);
    let told = stderr(&output);
    assert!(
        told.contains("--cold: /proc/sys/vm/drop_caches: "),
        "{told}"
    );
    assert!(told.contains("root"), "{told}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let home = small();
    for (arguments, expected, why) in [
        (&["nowhere"][..], 1, "nowhere: "),
        (&["data/src/main.rs"], 1, "it is no directory"),
        (&["data", "--runs", "0"], 2, "--runs"),
        (&["data", "--format", "csv"], 2, "--format"),
    ] {
        let output = run_in(home.path(), &[&["bench"], arguments].concat());
        assert_eq!(
            status(&output),
            expected,
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(why),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "");
    }
}
