//! The jobs in `pipelines/`, each on a real tree.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::tree::{ENTRIES, small};
use crate::{run_in, statline, stderr, stdout, succeeded};

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines")
}

/// Runs a pipeline on the tree in `home`, as its header says.
fn run(home: &Path, name: &str, more: &[&str]) -> std::process::Output {
    let mut command = statline();
    command.current_dir(home).env("ROOT", "data").arg("run");
    let output = command.arg(pipelines().join(name)).args(more).output();
    succeeded(output.unwrap())
}

fn rows(home: &Path, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.join(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_pipeline_is_run_by_a_test_here() {
    let tests = include_str!("pipelines.rs");
    for file in fs::read_dir(pipelines()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("{name:?}")), "{name}");
        let text = fs::read_to_string(pipelines().join(&name)).unwrap();
        assert!(text.starts_with("# "), "{name} does not say what it is for");
        assert!(
            text.contains(&format!("statline run pipelines/{name}")),
            "{name} does not say how to run it"
        );
    }
}

#[test]
fn every_pipeline_is_valid_as_it_stands() {
    let files: Vec<PathBuf> = fs::read_dir(pipelines())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let mut command = statline();
    let output = succeeded(command.arg("validate").args(&files).output().unwrap());
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output).lines().count(), files.len());
}

#[test]
fn summary_is_what_a_plain_scan_runs() {
    let home = small();
    let printed = stdout(&succeeded(run_in(home.path(), &["scan", "--print-job"])));
    let file = fs::read_to_string(pipelines().join("summary.toml")).unwrap();
    let body = |text: &str| {
        let stages = text.find("\n# Reads").unwrap();
        text[stages..].replace("${ROOT:-.}", ".")
    };
    assert_eq!(body(&printed), body(&file));
    let output = run(home.path(), "summary.toml", &["-q"]);
    assert!(
        stdout(&output).contains("  8 files · 5 directories · 2 symlinks"),
        "{}",
        stdout(&output)
    );
    assert_eq!(stderr(&output), "");
}

#[test]
fn inventory_writes_a_row_for_every_entry() {
    let home = small();
    let output = run(home.path(), "inventory.toml", &[]);
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).starts_with("15 entries in "),
        "{}",
        stderr(&output)
    );
    assert_eq!(rows(home.path(), "inventory.jsonl").len(), ENTRIES);
    assert!(rows(home.path(), "problems.jsonl").is_empty());
    let mark = fs::read_to_string(home.path().join("inventory.jsonl.run.json")).unwrap();
    let mark: Value = serde_json::from_str(&mark).unwrap();
    assert_eq!(mark["outcome"], "complete");
    assert_eq!(mark["rows"], ENTRIES);
}

#[test]
fn names_asks_for_no_metadata() {
    let home = small();
    run(home.path(), "names.toml", &["--report", "run.json"]);
    let names = fs::read(home.path().join("names.nul")).unwrap();
    assert_eq!(names.split(|&byte| byte == 0).count() - 1, ENTRIES);
    let report = fs::read_to_string(home.path().join("run.json")).unwrap();
    assert!(!report.contains(r#""kind": "stat""#));
}

#[test]
fn sorted_is_the_same_for_any_number_of_threads() {
    let home = small();
    let mut written = Vec::new();
    for threads in ["1", "2", "8"] {
        let [walk, meta] =
            ["walk", "meta"].map(|stage| format!("stages.{stage}.threads={threads}"));
        run(
            home.path(),
            "sorted.toml",
            &["--set", &walk, "--set", &meta],
        );
        written.push(fs::read_to_string(home.path().join("sorted.csv")).unwrap());
    }
    assert_eq!(written[0].lines().count(), ENTRIES + 1);
    assert!(written.iter().all(|other| *other == written[0]));
}

#[test]
fn big_files_has_the_largest_first() {
    let home = small();
    let data = home.path().join("data");
    for (name, size) in [("a", 1 << 20), ("b", 3 << 20), ("c", (1 << 20) - 1)] {
        fs::File::create(data.join(name))
            .unwrap()
            .set_len(size)
            .unwrap();
    }
    run(home.path(), "big-files.toml", &[]);
    let rows = rows(home.path(), "big-files.jsonl");
    let paths: Vec<_> = rows
        .iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["data/b", "data/a"]);
}

#[test]
fn full_marks_and_orders_what_it_writes() {
    let home = small();
    run(home.path(), "full.toml", &[]);
    let rows = rows(home.path(), "full.jsonl");
    assert_eq!(rows.len(), ENTRIES);
    assert_eq!(rows[0]["path"], "data");
    assert!(rows.iter().all(|row| row["change"] == "new"));
    let components = |row: &Value| {
        let path = row["path"].as_str().unwrap_or_default();
        path.split('/').map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(rows.is_sorted_by_key(components));
}

#[test]
fn duplicates_reads_only_what_may_be_a_copy_and_says_what_copies_take() {
    let home = small();
    let data = home.path().join("data");
    let big = vec![b'b'; 100_000];
    // Two copies and two names of one of them; a pair of the same size and other contents; two names of a file that is
    // no copy of anything come with the tree.
    for name in ["big", "src/copy", "target/pair"] {
        fs::write(data.join(name), &big).unwrap();
    }
    fs::hard_link(data.join("big"), data.join("big again")).unwrap();
    fs::write(data.join("target/pair"), vec![b'c'; 100_000]).unwrap();
    fs::write(data.join("src/small copy"), "xxxxx").unwrap();
    let output = run(
        home.path(),
        "duplicates.toml",
        &["--report", "run.json", "-q"],
    );
    let told = stderr(&output);
    assert!(told.contains("  contents of 5 files read: "), "{told}");
    // What is allocated depends on the file system.
    let copies = "  4 files in 2 groups of copies · to delete all but one of each would free ";
    assert!(told.contains(copies), "{told}");
    assert!(told.contains(" allocated, 97.7 KiB apparent\n"), "{told}");
    let rows = rows(home.path(), "duplicates.jsonl");
    let paths: Vec<&str> = rows
        .iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect();
    let mut sorted = paths.clone();
    sorted[..3].sort_unstable();
    sorted[3..].sort_unstable();
    assert_eq!(
        sorted,
        [
            "data/big",
            "data/big again",
            "data/src/copy",
            "data/src/deep/er/b.o",
            "data/src/small copy"
        ]
    );
    assert!(rows[..3].iter().all(|row| row["hash"] == rows[0]["hash"]));
    let report = fs::read_to_string(home.path().join("run.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let of = |stage: &str| {
        let stages = report["stages"].as_array().unwrap();
        let found = stages.iter().find(|found| found["name"] == stage);
        found.unwrap().clone()
    };
    // Three files of the large size (one of them by two names), two of the small one.
    assert_eq!(of("contents")["counters"]["hashed_files"], 5);
    assert_eq!(of("contents")["counters"]["hashed_bytes"], 300_010);
    let found = of("copies")["result"].clone();
    assert_eq!(found["freeable_apparent_bytes"], 100_005);
    assert_eq!(found["groups"], 2);
    assert_eq!(found["files"], 4);
    assert_eq!(found["names"], 5);
}

#[test]
fn changes_reports_what_the_last_run_did_not() {
    let home = small();
    run(home.path(), "changes.toml", &[]);
    let first = rows(home.path(), "changes.jsonl");
    assert_eq!(first.len(), ENTRIES);
    assert!(first.iter().all(|row| row["change"] == "new"), "{first:?}");
    fs::remove_file(home.path().join("data/README.md")).unwrap();
    run(home.path(), "changes.toml", &[]);
    let second = rows(home.path(), "changes.jsonl");
    // What was made just now is told again; what is gone is told as it was.
    let gone: Vec<_> = second
        .iter()
        .filter(|row| row["change"] == "deleted")
        .collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (&gone[0]["path"], &gone[0]["size"]),
        (&"data/README.md".into(), &10.into())
    );
}
