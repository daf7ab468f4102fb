//! Names, jobs and reports of other people on a terminal: nothing of them acts on it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::tree::job;
use crate::{installed, run_in, succeeded};

/// Turns text red, sets the title, moves the cursor, speaks to an 8-bit terminal, turns the direction round.
const HOSTILE: &str =
    "x\u{1b}[35m\u{1b}]0;title\u{7}\r\u{8}\u{7f}\u{9b}32m\u{85}\u{202e}\u{2066}\u{200f}\u{2028}y";

/// All that a terminal is shown while `statline` runs with these arguments in a terminal.
fn shown(home: &Path, arguments: &[&OsStr]) -> Vec<u8> {
    // Arguments reach the shell that script(1) starts in variables, which need no quotes of that shell.
    let mut command = Command::new("script");
    let mut line = format!("exec {}", env!("CARGO_BIN_EXE_statline"));
    for (index, argument) in arguments.iter().enumerate() {
        command.env(format!("ARGUMENT{index}"), argument);
        line.push_str(&format!(" \"$ARGUMENT{index}\""));
    }
    command.args(["-qc", &line, "/dev/null"]);
    command
        .current_dir(home)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    command.stdin(Stdio::null()).output().unwrap().stdout
}

/// What would act on the terminal, but for colours that are switched on and off, the line feeds of a terminal and the
/// progress line that clears itself.
fn acting(shown: &[u8]) -> Vec<char> {
    let mut text = String::from_utf8_lossy(shown).into_owned();
    for own in [
        "[1;31m", "[31m", "[33m", "[1;33m", "[1;34m", "[32m", "[1m", "[2m", "[0m", "[2K", "[4m",
    ] {
        text = text.replace(&format!("\u{1b}{own}"), "");
    }
    let bidi = |character| matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // NULs end rows where that was asked for, and a terminal does nothing about them.
    let text = text.replace("\r\n", "").replace(['\n', '\0'], "");
    text.chars()
        .filter(|&character| character.is_control() || bidi(character))
        .collect()
}

#[track_caller]
fn harmless(home: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    let shown = shown(home, &arguments);
    let acting = acting(&shown);
    assert!(!shown.is_empty(), "{arguments:?}");
    assert!(
        acting.is_empty(),
        "{arguments:?}: {acting:?} in {}",
        shown.escape_ascii()
    );
    String::from_utf8_lossy(&shown).into_owned()
}

/// A directory that holds `data`, in which all names are hostile.
fn hostile() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let deep = data.join(HOSTILE);
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join(format!("{HOSTILE}.{HOSTILE}")), "some").unwrap();
    fs::write(deep.join(OsStr::from_bytes(b"\x1b[35m\xff\x9b32m")), "some").unwrap();
    home
}

#[test]
fn names_in_rows_totals_and_findings_are_escaped() {
    if !installed("script") {
        return;
    }
    let home = hostile();
    let home = home.path();
    let path = format!("data/{HOSTILE}");
    let totals = harmless(
        home,
        &["scan", "data", "--largest", "5", "--by", "extension,owner"],
    );
    assert!(totals.contains(r"\x1b[35m"), "{totals}");
    for format in ["jsonl", "csv", "paths"] {
        harmless(
            home,
            &[
                "scan",
                "data",
                "-o",
                "-",
                "--format",
                format,
                "--progress",
                "always",
            ],
        );
    }
    harmless(home, &["scan", "data", "-0"]);
    harmless(
        home,
        &["scan", "data", "--format", "json", "--largest", "5"],
    );
    harmless(home, &["scan", &path, "--largest", "5", "-vv"]);
    harmless(home, &["doctor", &path]);
    harmless(home, &["doctor", &path, "--format", "json"]);
    let printed = harmless(home, &["scan", &path, "--exclude", HOSTILE, "--print-job"]);
    assert!(printed.contains(r"\u202E"), "{printed}");
}

#[test]
fn names_in_mistakes_and_failures_are_escaped() {
    if !installed("script") {
        return;
    }
    let home = hostile();
    let home = home.path();
    let nowhere = format!("nowhere{HOSTILE}");
    let output = format!("data/{nowhere}/out.jsonl");
    for arguments in [
        &[HOSTILE][..],
        &[&format!("--{HOSTILE}")],
        &["scan", "--progress", HOSTILE],
        &["scan", "--largest", HOSTILE],
        &["scan", &nowhere],
        &["scan", "data", "-o", &output],
        &["scan", "data", "-o", &nowhere],
        &["scan", "data", "--report", &output],
        &["scan", "data", "--set", HOSTILE],
        &["scan", "data", "--set", &format!("stages.walk.{HOSTILE}=1")],
        &["scan", "data", "--exclude", &format!("[{HOSTILE}")],
        &["scan", "data", "--exclude-from", &nowhere],
        &["scan", "data", "--fields", HOSTILE],
        &["scan", "data", "--sort", HOSTILE],
        &["run", &nowhere],
        &["validate", &nowhere],
        &["graph", &nowhere],
        &["describe", HOSTILE],
        &["doctor", &nowhere],
        &["report", &nowhere],
        &["verify", &nowhere],
        &["man", HOSTILE],
        &["completions", HOSTILE],
    ] {
        harmless(home, arguments);
    }
}

#[test]
fn jobs_of_other_people_are_escaped() {
    if !installed("script") {
        return;
    }
    let home = hostile();
    let home = home.path();
    // As TOML has it, for raw controls are no TOML.
    let quoted: String = HOSTILE
        .chars()
        .map(|character| format!("\\u{:04X}", u32::from(character)))
        .collect();
    let fine = job(
        home,
        &format!(
            "[pipeline]\nname = \"{quoted}\"\n\
             [stages.walk]\ntype = \"enumerate\"\nroots = [\"data\"]\n\
             [stages.totals]\ntype = \"summary\"\ninputs = [\"walk\"]\n"
        ),
    );
    for arguments in [
        &["validate", &fine][..],
        &["validate", &fine, "--format", "json"],
        &["graph", &fine],
        &["graph", &fine, "--format", "dot"],
        &["run", &fine, "-vv"],
        &["run", &fine, "--report", "-"],
        &[
            "run",
            &fine,
            "--set",
            &format!("stages.walk.roots=['{HOSTILE}']"),
        ],
    ] {
        harmless(home, arguments);
    }
    let wrong = job(
        home,
        &format!(
            "# {HOSTILE}\n[stages.\"{quoted}\"]\ntype = \"{quoted}\"\n\"{quoted}\" = 1\n\
             [stages.walk]\ntype = \"enumerate\"\nroots = [1, \"{quoted}\"]\ninputs = [\"{quoted}\"]\n\
             accept = [\"{quoted}\"]\nexclude = [\"[{quoted}\"]\nthreads = \"{quoted}\"\n"
        ),
    );
    harmless(home, &["validate", &wrong]);
    harmless(home, &["validate", &wrong, "--format", "json"]);
    fs::write(
        home.join("raw.toml"),
        format!("[stages]\nx = \"{HOSTILE}\"\n{HOSTILE}"),
    )
    .unwrap();
    harmless(home, &["validate", "raw.toml"]);
}

/// All strings in a tree of JSON, one made hostile at a time.
fn each_string(value: &serde_json::Value, change: &mut dyn FnMut(&serde_json::Value)) {
    fn count(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(_) => 1,
            serde_json::Value::Array(values) => values.iter().map(count).sum(),
            serde_json::Value::Object(values) => values.values().map(count).sum(),
            _ => 0,
        }
    }
    fn put(value: &mut serde_json::Value, left: &mut usize) {
        match value {
            serde_json::Value::String(text) => {
                if *left == 0 {
                    *text = HOSTILE.to_owned();
                }
                *left = left.wrapping_sub(1);
            }
            serde_json::Value::Array(values) => {
                values.iter_mut().for_each(|value| put(value, left))
            }
            serde_json::Value::Object(values) => {
                values.values_mut().for_each(|value| put(value, left));
            }
            _ => {}
        }
    }
    for at in 0..count(value) {
        let mut changed = value.clone();
        put(&mut changed, &mut at.clone());
        change(&changed);
    }
}

#[test]
fn reports_and_marks_of_other_people_are_escaped() {
    if !installed("script") {
        return;
    }
    let home = hostile();
    let home = home.path();
    let scan = ["scan", "data", "-o", "out.csv", "--report", "run.json"];
    succeeded(run_in(home, &scan));
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(home.join(name)).unwrap()).unwrap()
    };
    let write = |name: &str, value: &serde_json::Value| {
        fs::write(home.join(name), serde_json::to_vec(value).unwrap()).unwrap();
    };
    let errors =
        serde_json::json!([{ "operation": "a", "code": "b", "count": 3, "accepted": false }]);
    let mut report = read("run.json");
    report["stages"][0]["errors"] = errors;
    report["stages"][0]["counters"] = serde_json::json!({ HOSTILE: 3 });
    report["limit"] = serde_json::json!({ "stage": "walk", "explanation": "because" });
    for outcome in ["complete", "incomplete", "cancelled", "failed"] {
        report["outcome"] = outcome.into();
        report["cause"] = HOSTILE.into();
        write("run.json", &report);
        harmless(home, &["report", "run.json", "-vv"]);
    }
    report["outcome"] = "incomplete".into();
    each_string(&report, &mut |report| {
        write("run.json", report);
        harmless(home, &["report", "run.json", "-vv"]);
    });
    let mut mark = read("out.csv.run.json");
    mark["outcome"] = "cancelled".into();
    mark["cause"] = "why".into();
    mark["errors"] = serde_json::json!([
        { "stage": "walk", "operation": "a", "code": "b", "count": 3, "accepted": false }
    ]);
    each_string(&mark, &mut |mark| {
        write("out.csv.run.json", mark);
        harmless(home, &["verify", "out.csv"]);
    });
}
