//! What is left of a run that did not finish, where it was asked for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;

use crate::faults::{finished, under_way};
use crate::tree::{job, small, wide};
use crate::{names, run_in, signal, statline, status, stderr, stdout, succeeded};

/// Interrupts a run, and returns when it has heard.
fn interrupt(child: &mut Child) {
    signal(child, "INT");
    // Signals are handled one after another, in the order of their numbers where several wait.
    signal(child, "USR1");
    let stderr = child.stderr.as_mut().unwrap();
    let mut told = String::new();
    let mut lines = BufReader::with_capacity(1, stderr);
    while !told.starts_with("after ") {
        told.clear();
        assert!(lines.read_line(&mut told).unwrap() > 0);
    }
}

#[test]
fn an_interrupted_run_keeps_its_rows_until_the_next_one_finishes() {
    let home = wide();
    let mut child = under_way(statline(), home.path(), &["--keep-partial"]);
    interrupt(&mut child);
    let output = finished(child);
    let told = stderr(&output);
    assert_eq!(status(&output), 130, "{told}");
    assert!(told.contains("what there is was kept"), "{told}");
    assert!(told.contains("good/out.jsonl.partial\n"), "{told}");
    let partial = ["out.jsonl.partial", "out.jsonl.partial.run.json"];
    for directory in ["good", "bad"] {
        assert_eq!(names(&home.path().join(directory)), partial);
    }
    let verify = ["verify", "good/out.jsonl.partial", "bad/out.jsonl.partial"];
    let verified = run_in(home.path(), &verify);
    assert_eq!(status(&verified), 3, "{}", stderr(&verified));
    assert!(
        stdout(&verified).contains(": cancelled, "),
        "{}",
        stdout(&verified)
    );
    let rows = fs::read_to_string(home.path().join("good/out.jsonl.partial")).unwrap();
    for row in rows.lines() {
        serde_json::from_str::<serde_json::Value>(row).unwrap();
    }

    let finished = finished(under_way(statline(), home.path(), &["--keep-partial"]));
    let whole = ["out.jsonl", "out.jsonl.run.json"];
    assert_eq!(status(&finished), 0);
    for directory in ["good", "bad"] {
        assert_eq!(names(&home.path().join(directory)), whole);
    }
}

#[test]
fn an_interrupted_run_keeps_nothing_unless_it_is_to() {
    let home = wide();
    let mut child = under_way(statline(), home.path(), &[]);
    interrupt(&mut child);
    let output = finished(child);
    assert_eq!(status(&output), 130, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nothing was written"),
        "{}",
        stderr(&output)
    );
    for directory in ["good", "bad"] {
        assert_eq!(names(&home.path().join(directory)), [""; 0]);
    }
}

#[test]
fn a_run_that_cannot_start_keeps_nothing() {
    let home = small();
    let file = job(
        home.path(),
        r#"
        pipeline.keep_partial = true
        stages.walk = { type = "enumerate", roots = ["nowhere"] }
        stages.out = { type = "jsonl", inputs = ["walk"], path = "out.jsonl" }
        "#,
    );
    let output = run_in(home.path(), &["run", &file]);
    assert_eq!(status(&output), 1);
    assert_eq!(names(home.path()), ["data", "job.toml"]);
}

#[test]
fn keeping_partial_results_is_a_setting_of_the_job() {
    let home = small();
    let scan = [
        "scan",
        "data",
        "-o",
        "out.csv",
        "--keep-partial",
        "--print-job",
    ];
    let printed = stdout(&succeeded(run_in(home.path(), &scan)));
    assert!(
        printed.contains("[pipeline]\nkeep_partial = true\n"),
        "{printed}"
    );
    let file = job(home.path(), &printed.replace("\"data\"", "\"/\""));
    // The job's own time is up before the scan is over.
    let arguments = [
        "run",
        &file,
        "--set",
        "pipeline.max_runtime=100ms",
        "--set",
        "stages.walk.max_ops_per_second=1000",
        "--set",
        "stages.walk.one_file_system=true",
    ];
    let output = run_in(home.path(), &arguments);
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    assert_eq!(
        names(home.path()),
        [
            "data",
            "job.toml",
            "out.csv.partial",
            "out.csv.partial.run.json"
        ]
    );
    let verified = run_in(home.path(), &["verify", "out.csv.partial"]);
    assert_eq!(status(&verified), 3, "{}", stderr(&verified));
    assert!(
        stdout(&verified).contains("max_runtime"),
        "{}",
        stdout(&verified)
    );
}
