//! Outputs against their marks.

use std::fs;

use crate::tree::{ENTRIES, small};
use crate::{run_in, status, stderr, stdout, succeeded};

#[test]
fn an_output_that_is_as_it_was_written_is_verified() {
    let home = small();
    for file in ["a.jsonl", "b.csv", "c.txt"] {
        succeeded(run_in(home.path(), &["scan", "data", "-o", file]));
    }
    let output = run_in(home.path(), &["verify", "a.jsonl", "./b.csv", "c.txt"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told = stdout(&output);
    for file in ["a.jsonl", "./b.csv", "c.txt"] {
        let line = format!("{file}: complete, {ENTRIES} rows in ");
        assert!(told.contains(&line), "{told}");
    }
}

#[test]
fn an_output_that_was_changed_is_not_and_the_others_are_looked_at() {
    let home = small();
    for file in ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"] {
        succeeded(run_in(home.path(), &["scan", "data", "-o", file]));
    }
    let path = |name: &str| home.path().join(name);
    let text = fs::read_to_string(path("a.jsonl")).unwrap();
    fs::write(path("a.jsonl"), text.replacen("README", "readme", 1)).unwrap();
    fs::write(path("b.jsonl"), &text[..text.len() - 1]).unwrap();
    // Yesterday's mark does not vouch for today's file.
    fs::copy(path("d.jsonl.run.json"), path("c.jsonl.run.json")).unwrap();
    fs::write(path("c.jsonl"), "{}\n").unwrap();
    let files = ["verify", "a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"];
    let output = run_in(home.path(), &files);
    assert_eq!(status(&output), 1);
    let told = stderr(&output);
    for line in [
        "error: a.jsonl: its content has the digest blake3:",
        "error: b.jsonl: it has ",
        "error: c.jsonl: it has 3 bytes, and its mark is about a file of ",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(
        stdout(&output).starts_with("d.jsonl: complete, "),
        "{}",
        stdout(&output)
    );
}

#[test]
fn what_has_no_mark_is_not_verified() {
    let home = small();
    succeeded(run_in(home.path(), &["scan", "data", "-o", "out.jsonl"]));
    for (file, why) in [
        ("nothing", "it cannot be read: No such file"),
        (
            "data",
            "its mark \"data.run.json\" cannot be read: No such file",
        ),
        ("out.jsonl.run.json", "give the output, not its mark"),
    ] {
        let output = run_in(home.path(), &["verify", file]);
        assert_eq!(status(&output), 1, "{file}");
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    assert_eq!(status(&run_in(home.path(), &["verify"])), 2);
}

#[test]
fn an_incomplete_output_is_told_with_its_errors() {
    let home = small();
    std::os::unix::fs::symlink("..", home.path().join("data/src/up")).unwrap();
    let scan = ["scan", "data", "-L", "-o", "out.jsonl"];
    let output = run_in(home.path(), &scan);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let output = run_in(home.path(), &["verify", "out.jsonl"]);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.starts_with("out.jsonl: incomplete, "), "{told}");
    assert!(told.contains("LOOP, in walk"), "{told}");
}

#[test]
fn a_mark_in_place_of_a_report_is_told_from_one() {
    let home = small();
    succeeded(run_in(home.path(), &["scan", "data", "-o", "out.jsonl"]));
    let output = run_in(home.path(), &["report", "out.jsonl.run.json"]);
    assert_eq!(status(&output), 2);
    assert!(
        stderr(&output).contains("`statline verify`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_report_of_a_version_before_it_told_of_options_can_be_shown() {
    let home = small();
    succeeded(run_in(
        home.path(),
        &["scan", "data", "-o", "out.jsonl", "--report", "run.json"],
    ));
    let path = home.path().join("run.json");
    let shown = succeeded(run_in(home.path(), &["report", "run.json"]));
    let text = fs::read_to_string(&path).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let report = report.as_object_mut().unwrap();
    for field in ["version", "finished"] {
        report.remove(field).unwrap();
    }
    for stage in report["stages"].as_array_mut().unwrap() {
        let stage = stage.as_object_mut().unwrap();
        for field in ["inputs", "accept", "options", "facts"] {
            stage.remove(field);
        }
    }
    fs::write(&path, serde_json::to_string(report).unwrap()).unwrap();
    let older = succeeded(run_in(home.path(), &["report", "run.json"]));
    assert_eq!(stdout(&older), stdout(&shown));
}
