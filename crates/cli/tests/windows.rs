//! The command on Windows, or on what Wine makes of a Linux.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn statline(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statline"));
    command.current_dir(home).args(arguments).output().unwrap()
}

#[track_caller]
fn succeeded(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("data/src/deep")).unwrap();
    for file in ["data/one.txt", "data/src/two.rs", "data/src/deep/three.rs"] {
        fs::write(home.path().join(file), file).unwrap();
    }
    home
}

fn paths(rows: &str) -> Vec<String> {
    let path = |line| {
        serde_json::from_str::<Value>(line).unwrap()["path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut paths: Vec<String> = rows.lines().map(path).collect();
    paths.sort();
    paths
}

#[test]
fn a_scan_shows_what_there_is() {
    let home = home();
    let shown = succeeded(statline(home.path(), &["scan", "data"]));
    assert!(shown.contains("3 files · 3 directories"), "{shown}");
}

#[test]
fn roots_may_be_written_with_either_separator_and_with_a_verbatim_prefix() {
    let home = home();
    let absolute = std::path::absolute(home.path().join("data")).unwrap();
    let absolute = absolute.to_str().unwrap();
    let verbatim = match absolute.starts_with(r"\\?\") {
        true => absolute.to_owned(),
        false => format!(r"\\?\{absolute}"),
    };
    let forms = [
        "data".to_owned(),
        r".\data".to_owned(),
        absolute.to_owned(),
        absolute.replace('\\', "/"),
        verbatim.clone(),
        verbatim.replace('\\', "/"),
    ];
    for form in forms {
        // As a literal string of TOML, which takes backslashes as they are.
        let job = format!(
            "[stages.walk]\ntype = \"enumerate\"\nroots = ['{form}']\n\
             [stages.out]\ntype = \"jsonl\"\ninputs = [\"walk\"]\npath = 'rows.jsonl'\n"
        );
        fs::write(home.path().join("job.toml"), job).unwrap();
        succeeded(statline(home.path(), &["run", "job.toml"]));
        let rows = fs::read_to_string(home.path().join("rows.jsonl")).unwrap();
        let root = form.replace('\\', "/");
        let below = [
            "",
            "/one.txt",
            "/src",
            "/src/deep",
            "/src/deep/three.rs",
            "/src/two.rs",
        ];
        let expected: Vec<String> = below.iter().map(|path| format!("{root}{path}")).collect();
        assert_eq!(paths(&rows), expected, "{form}");
    }
}

#[test]
fn patterns_have_slashes() {
    let home = home();
    let arguments = [
        "scan",
        "data",
        "--exclude",
        "src/*.rs",
        "-o",
        "-",
        "--format",
        "jsonl",
    ];
    let rows = succeeded(statline(home.path(), &arguments));
    let expected = [
        "data",
        "data/one.txt",
        "data/src",
        "data/src/deep",
        "data/src/deep/three.rs",
    ];
    assert_eq!(paths(&rows), expected);
}

#[test]
fn an_output_that_was_written_is_verified_and_compared() {
    let home = home();
    for name in ["old.jsonl", "new.jsonl", "new.jsonl"] {
        let arguments = ["scan", "data", "-o", name];
        succeeded(statline(home.path(), &arguments));
        succeeded(statline(home.path(), &["verify", name]));
    }
    succeeded(statline(home.path(), &["diff", "old.jsonl", "new.jsonl"]));
    fs::write(home.path().join("data/four"), "4").unwrap();
    succeeded(statline(home.path(), &["scan", "data", "-o", "new.jsonl"]));
    let output = statline(home.path(), &["diff", "old.jsonl", "new.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("data/four") || shown.contains("four"),
        "{shown}"
    );
}

#[test]
fn a_cache_on_disk_remembers_from_run_to_run() {
    let home = home();
    let job = "[stages.walk]\ntype = \"enumerate\"\nroots = ['data']\n\
        [stages.meta]\ntype = \"stat\"\ninputs = [\"walk\"]\n\
        [stages.known]\ntype = \"cache\"\ninputs = [\"meta\"]\npath = 'memory'\n\
        [stages.out]\ntype = \"jsonl\"\ninputs = [\"known\"]\npath = 'rows.jsonl'\n";
    fs::write(home.path().join("job.toml"), job).unwrap();
    let mut states = Vec::new();
    for _ in 0..2 {
        succeeded(statline(home.path(), &["run", "job.toml"]));
        let rows = fs::read_to_string(home.path().join("rows.jsonl")).unwrap();
        let row = rows
            .lines()
            .find(|line| line.contains("one.txt"))
            .unwrap()
            .to_owned();
        let row: Value = serde_json::from_str(&row).unwrap();
        states.push(row["change"].as_str().unwrap_or("none").to_owned());
        succeeded(statline(home.path(), &["cache", "info", "memory"]));
    }
    assert_eq!(states[0], "new", "{states:?}");
    assert_ne!(states[1], "new", "{states:?}");
}

#[test]
fn mistakes_and_missing_roots_have_their_statuses() {
    let home = home();
    assert_eq!(
        statline(home.path(), &["scan", "--no-such-flag"])
            .status
            .code(),
        Some(2)
    );
    let missing = statline(home.path(), &["scan", "missing"]);
    assert_eq!(missing.status.code(), Some(1));
    let message = String::from_utf8_lossy(&missing.stderr);
    assert!(message.contains("missing"), "{message}");
}

#[test]
fn doctor_tells_volume_file_system_and_class() {
    let home = home();
    let shown = succeeded(statline(home.path(), &["doctor", "data"]));
    for line in [
        "backend         nt: ",
        "volume ",
        "information class",
        "file system ",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json = succeeded(statline(
        home.path(),
        &["doctor", "data", "--format", "json"],
    ));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["backend"]["name"], "nt");
    let class = json["sample"]["details"]["information_class"]
        .as_str()
        .unwrap();
    assert!(class.starts_with("File"), "{class}");
}

#[test]
fn nul_is_a_stream_and_not_replaced() {
    let home = home();
    let arguments = ["scan", "data", "--format", "jsonl", "-o", "NUL"];
    succeeded(statline(home.path(), &arguments));
    assert!(!home.path().join("NUL.run.json").exists());
}
