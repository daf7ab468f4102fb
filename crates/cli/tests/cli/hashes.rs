//! What `hash` opens, as the system sees it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::job;
use crate::{installed, skipped, stderr, succeeded};

/// A tree of files that nobody has just written to.
fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The names of files that a run opens; `None` where it cannot be traced.
fn opened(home: &Path, file: &str, names: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-o",
        "calls",
        "-e",
        "trace=open,openat,openat2",
    ]);
    command.arg(env!("CARGO_BIN_EXE_statline"));
    command.args(["run", file, "-q"]).env("ROOT", tree());
    let output = command.current_dir(home).output().unwrap();
    if stderr(&output).contains("ptrace") {
        skipped("nothing can be traced here");
        return None;
    }
    succeeded(output);
    let calls = fs::read_to_string(home.join("calls")).unwrap();
    assert!(calls.lines().count() > 10, "{calls}");
    let names = names.iter();
    let names = names.filter(|name| calls.contains(&format!("{name:?}")));
    Some(names.cloned().collect())
}

#[test]
fn a_second_run_with_a_store_opens_no_file_that_it_hashes() {
    if !installed("strace") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let file = job(
        home.path(),
        r#"
        [stages.walk]
        type = "enumerate"
        roots = ["${ROOT}"]

        [stages.meta]
        type = "stat"
        inputs = ["walk"]

        [stages.contents]
        type = "hash"
        inputs = ["meta"]
        cache = "digests"

        [stages.out]
        type = "jsonl"
        inputs = ["contents"]
        path = "out.jsonl"
        fields = ["path", "hash"]
        "#,
    );
    let entries = fs::read_dir(tree()).unwrap().map(Result::unwrap);
    let names: BTreeSet<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let rows = || {
        let text = fs::read_to_string(home.path().join("out.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let Some(opened_first) = opened(home.path(), &file, &names) else {
        return;
    };
    assert_eq!(opened_first, names);
    let first = rows();
    let opened_then = opened(home.path(), &file, &names);
    assert_eq!(opened_then, Some(BTreeSet::new()));
    assert_eq!(rows(), first);
}
