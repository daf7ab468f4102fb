//! The commands that look at jobs, kinds and machines.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use statline_platform::{BackendChoice, select};

use crate::tree::{job, small};
use crate::{installed, run_in, statline, status, stderr, stdout, succeeded};

const SEVEN: &str = r#"
[pipeline]
capacity = 0

[stages.walk]
type = "enumerate"
roots = "data"
max_dpeth = 3

[stages.group]
type = "batch"
inputs = ["wlak"]
max_delay = 5

[stages.meta]
type = "statt"
inputs = ["group"]

[stages.out]
type = "jsonl"
inputs = ["group"]
path = "${STATLINE_TEST_UNSET:?set it}"
fields = ["path", "sise"]
"#;

const FINE: &str = r#"
stages.walk = { type = "enumerate", roots = ["data"] }
stages.out = { type = "paths", inputs = ["walk"], path = "-" }
"#;

#[test]
fn all_problems_of_a_job_are_shown_at_once() {
    let home = small();
    let file = job(home.path(), SEVEN);
    let output = run_in(home.path(), &["validate", &file]);
    assert_eq!(status(&output), 2);
    assert_eq!(stdout(&output), "");
    insta::assert_snapshot!(stderr(&output));
    // What validates runs, and what does not, does not.
    let ran = run_in(home.path(), &["run", &file]);
    assert_eq!(status(&ran), 2);
    assert_eq!(stderr(&ran), stderr(&output));
    let graph = run_in(home.path(), &["graph", &file]);
    assert_eq!(status(&graph), 2);
    let json = run_in(home.path(), &["validate", &file, "--format", "json"]);
    assert_eq!(status(&json), 2);
    let findings: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(findings["schema"], 1);
    assert_eq!(findings["valid"], false);
    let problems = findings["jobs"][0]["problems"].as_array().unwrap();
    assert!(problems.len() >= 7);
    assert!(problems.iter().all(|problem| problem["line"].is_u64()));
}

#[test]
fn a_valid_job_is_told_in_a_line() {
    let home = small();
    let file = job(home.path(), FINE);
    let output = succeeded(run_in(home.path(), &["validate", &file]));
    insta::assert_snapshot!(stdout(&output), @"job.toml: valid; 2 stages: walk (enumerate), out (paths); its channels hold at most 8.0 MiB");
    assert_eq!(stderr(&output), "");
    let output = succeeded(run_in(
        home.path(),
        &["validate", &file, "--format", "json"],
    ));
    let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(findings["jobs"][0]["queue_bytes"], 8 << 20);
    // One bad job among good ones is enough.
    fs::write(home.path().join("bad.toml"), "[stages.a]\n").unwrap();
    let output = run_in(home.path(), &["validate", "bad.toml", &file]);
    assert_eq!(status(&output), 2);
    assert!(stdout(&output).starts_with("job.toml: valid"));
    assert!(
        stderr(&output).starts_with("error: bad.toml:1:"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_job_that_cannot_be_read_is_a_mistake() {
    let home = small();
    fs::write(home.path().join("binary"), b"\xff\xfe\n").unwrap();
    for (file, why) in [
        ("nowhere.toml", "error: nowhere.toml: No such file"),
        ("data", "error: data: Is a directory"),
        ("binary", "error: binary:1: not UTF-8 text"),
    ] {
        let output = run_in(home.path(), &["validate", file]);
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).starts_with(why), "{}", stderr(&output));
    }
}

#[test]
fn variables_come_from_the_environment() {
    let home = small();
    let file = job(home.path(), &FINE.replace("data", "${WHERE:?set WHERE}"));
    let output = run_in(home.path(), &["run", &file]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("set WHERE"), "{}", stderr(&output));
    let mut command = statline();
    command
        .args(["run", &file])
        .env("WHERE", "data/src")
        .current_dir(home.path());
    let output = succeeded(command.output().unwrap());
    assert_eq!(stdout(&output).lines().count(), 7);
}

#[test]
fn values_of_a_job_can_be_set() {
    let home = small();
    let file = job(home.path(), FINE);
    let arguments = ["run", &file, "--set", "stages.walk.max_depth=0", "-q"];
    let output = succeeded(run_in(home.path(), &arguments));
    assert_eq!(stdout(&output), "data\n");
    let output = run_in(
        home.path(),
        &["run", &file, "--set", "stages.walk.max_depth=none"],
    );
    assert_eq!(status(&output), 2);
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn graphs_can_be_drawn() {
    let home = small();
    let file = job(home.path(), FINE);
    let mermaid = stdout(&succeeded(run_in(home.path(), &["graph", &file])));
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    let full = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/full.toml");
    let dot = succeeded(run_in(home.path(), &["graph", full, "--format", "dot"]));
    if Command::new("dot")
        .arg("-V")
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: dot is not installed");
        return;
    }
    fs::write(home.path().join("full.dot"), &dot.stdout).unwrap();
    let drawn = Command::new("dot")
        .args(["-Tsvg", "full.dot"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(
        drawn.status.success(),
        "{}",
        String::from_utf8_lossy(&drawn.stderr)
    );
    assert!(String::from_utf8_lossy(&drawn.stdout).contains("<svg"));
}

#[test]
fn kinds_are_listed_and_described() {
    let home = small();
    let list = stdout(&succeeded(run_in(home.path(), &["list"])));
    let json = stdout(&succeeded(run_in(
        home.path(),
        &["list", "--format", "json"],
    )));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], 1);
    let kinds = json["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), list.lines().count());
    for kind in kinds {
        let name = kind["name"].as_str().unwrap();
        let about = kind["about"].as_str().unwrap();
        let mut lines = list.lines();
        assert!(!about.is_empty());
        assert!(
            lines.any(|line| line.trim().starts_with(&format!("{name} ")) && line.ends_with(about)),
            "{list}"
        );
        let described = stdout(&succeeded(run_in(home.path(), &["describe", name])));
        assert!(described.starts_with(&format!("{name}: {about}\n")));
        // As it stands, however its lines are broken.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let schema = &kind["options"];
        for (option, value) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                described.contains(&format!("\n  {option}: ")),
                "{described}"
            );
            let own_type = value["$ref"].as_str();
            let own_type = own_type.and_then(|path| schema.pointer(path.strip_prefix('#')?));
            let about = [Some(value), own_type].into_iter().flatten();
            let about = about
                .filter_map(|schema| schema["description"].as_str())
                .next();
            let about = words(about.unwrap_or_else(|| panic!("{name}.{option} is not described")));
            assert!(words(&described).contains(&about), "{about}: {described}");
        }
        let parallel = kind["parallel"].as_bool().unwrap();
        assert_eq!(described.contains("\n  threads: "), parallel, "{described}");
        let source = kind["inputs"].as_array().unwrap().is_empty();
        assert_eq!(described.contains("\n  inputs: "), !source, "{described}");
        let json = succeeded(run_in(home.path(), &["describe", name, "--format", "json"]));
        let json: Value = serde_json::from_str(&stdout(&json)).unwrap();
        assert_eq!(json["kind"]["name"], name);
    }
    insta::assert_snapshot!(stdout(&succeeded(run_in(
        home.path(),
        &["describe", "stat"]
    ))));
    let output = run_in(home.path(), &["describe", "stta"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("enumerate"), "{}", stderr(&output));
}

#[test]
fn doctor_tells_what_it_found_out() {
    let home = small();
    let told = stdout(&succeeded(run_in(home.path(), &["doctor", "data"])));
    for label in [
        "file system",
        "profile",
        "backend",
        "statx",
        "io_uring",
        "kinds",
        "fields",
        "cost of a stat",
        "open files",
        "cores",
    ] {
        assert!(told.contains(&format!("\n  {label} ")), "{label}: {told}");
    }
    let json = succeeded(run_in(home.path(), &["doctor", "data", "--format", "json"]));
    let json: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(
        json["sample"]["Ok"]["entries"],
        Value::Null,
        "results are flat"
    );
    assert_eq!(json["sample"]["entries"], 14);
    let io_uring = &json["io_uring"];
    match select(BackendChoice::IoUring) {
        Ok(backend) => assert_eq!(io_uring["calls_at_once"], backend.calls_at_once()),
        Err(error) => assert_eq!(io_uring["error"], error.reason()),
    }
    fs::create_dir(home.path().join("empty")).unwrap();
    let told = stdout(&succeeded(run_in(home.path(), &["doctor", "empty"])));
    assert!(told.contains("too few to tell"), "{told}");
    let output = run_in(home.path(), &["doctor", "nowhere"]);
    assert_eq!(status(&output), 1);
    if std::path::Path::new("/proc/self").exists() {
        let told = stdout(&succeeded(run_in(home.path(), &["doctor", "/proc/self"])));
        assert!(
            told.contains("proc") && told.contains("made up by the kernel"),
            "{told}"
        );
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let home = small();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&succeeded(run_in(home.path(), &["completions", shell])));
        assert!(script.contains("print-job"), "{shell}");
        if !installed(shell) {
            continue;
        }
        fs::write(home.path().join("script"), &script).unwrap();
        let check = Command::new(shell)
            .args(["-n", "script"])
            .current_dir(home.path())
            .output();
        let check = check.unwrap();
        assert!(
            check.status.success(),
            "{shell}: {}",
            String::from_utf8_lossy(&check.stderr)
        );
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let home = small();
    let page = stdout(&succeeded(run_in(home.path(), &["man"])));
    assert!(page.contains("130, 143"), "{page}");
    for command in [
        "scan",
        "run",
        "validate",
        "graph",
        "list",
        "describe",
        "doctor",
        "report",
        "completions",
        "man",
    ] {
        assert!(page.contains(&format!("statline\\-{command}")), "{command}");
        let page = stdout(&succeeded(run_in(home.path(), &["man", command])));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        if command == "scan" {
            for flag in [
                "one\\-file\\-system",
                "print\\-job",
                "exclude\\-from",
                "print0",
            ] {
                assert!(page.contains(flag), "{flag}");
            }
        }
    }
}

#[test]
fn help_is_what_one_gets_for_nothing() {
    let home = small();
    let output = run_in(home.path(), &[] as &[&str]);
    assert_eq!(status(&output), 2);
    assert!(
        stderr(&output).contains("Usage: statline"),
        "{}",
        stderr(&output)
    );
    let help = stdout(&succeeded(run_in(home.path(), &["--help"])));
    assert!(
        help.contains("Exit status:") && help.contains("Examples:"),
        "{help}"
    );
    let version = stdout(&succeeded(run_in(home.path(), &["--version"])));
    assert!(version.starts_with("statline 0."), "{version}");
}
