//! Scans that were saved and are read again.

use std::fs;

use proptest::prelude::*;
use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, ErrorRecord, RunReport, Scope};
use statline_platform::with_slashes;

use super::*;
use crate::fixtures::{Given, batches, child, file, hostile_samples, root, samples, time};
use crate::{
    Change, ContentHash, Field, FieldSet, Former, Jsonl, JsonlConfig, Rows, Sort, SortConfig,
};

/// A path that is no Unicode, and one of this system: a lone surrogate on Windows.
const NO_UNICODE: &[u8] = if cfg!(windows) {
    b"r/\xed\xa0\x80"
} else {
    b"r/\xff"
};
/// Another, for a name that something had before.
const BEFORE: &[u8] = if cfg!(windows) {
    b"r/\xed\xa0\x80before"
} else {
    b"r/\xffbefore"
};

/// Writes records as a scan would.
fn save(given: Given<RecordBatch>, path: &Path) -> RunReport {
    let mut builder = Builder::new("nightly");
    let source = builder.stage("in", given, ()).done();
    let config = JsonlConfig::new(path.to_str().unwrap());
    let _ = builder.stage("out", Jsonl, config).reads(&source);
    builder.build().unwrap().run()
}

fn load(config: SavedConfig) -> (Vec<RecordBatch>, RunReport) {
    let mut builder = Builder::new("test");
    let saved = builder.stage("saved", Saved, config).done();
    let sink = Collected::new();
    let _ = builder.sink("out", sink.clone()).reads(&saved);
    let report = builder.build().unwrap().run();
    (sink.items(), report)
}

fn unsorted(path: &Path) -> SavedConfig {
    SavedConfig {
        sorted: false,
        ..SavedConfig::new(path)
    }
}

/// All that rows hold.
fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let rows = batches.iter().flat_map(Rows::rows);
    let shown = rows.map(|row| {
        let path = row.path_bytes();
        let Row {
            kind,
            metadata,
            target,
            change,
            remembered,
            hash,
            former,
            ..
        } = row;
        // An empty target is none.
        let target = target.filter(|target| !target.is_empty());
        format!(
            "{path:?} {kind:?} {metadata:?} {target:?} {change:?} {remembered} {hash:?} {former:?}"
        )
    });
    shown.collect()
}

/// Replaces parts of the mark of a file.
fn change_mark(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let place = OutputMark::path_for(path);
    let mut mark = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    change(&mut mark);
    fs::write(&place, mark.to_string()).unwrap();
}

/// Puts other content into a file, and makes the mark vouch for it.
fn replace(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update(content);
    change_mark(path, |mark| {
        mark["bytes"] = content.len().into();
        mark["digest"] = digest(&hasher).into();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_with_any_names_and_values_come_back(samples in samples(), rows in 1_usize..8) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scan.jsonl");
        let written = batches(&samples, rows);
        save(Given::all(written.clone()), &path);
        let (read, report) = load(unsorted(&path));
        // Names that no entry can have are in the samples as well.
        let odd = |name: &Vec<u8>| [&b"."[..], b".."].contains(&name.as_slice());
        if samples.iter().any(|sample| sample.directories.iter().chain([&sample.name]).any(odd)) {
            prop_assert_eq!(report.outcome, Outcome::Failed);
        } else {
            prop_assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
            prop_assert_eq!(shown(&read), shown(&written));
        }
    }
}

/// Rows with something in every column that stages add.
fn marked() -> RecordBatch {
    let directory = child(&root("r"), b"d");
    let mut batch = RecordBatch::default();
    let metadata = file(|metadata| {
        metadata.set_size(1).set_modified(time(-1, 5));
    });
    for (at, &change) in Change::ALL.iter().enumerate() {
        let hash = ContentHash::of(&[at as u8]);
        batch.push_row(&Row {
            directory: &directory,
            name: NameBuf::new(format!("{at:02}").as_bytes())
                .unwrap()
                .as_name(),
            kind: metadata.kind(),
            metadata: Some(&metadata),
            target: None,
            change: Some(change),
            remembered: at % 2 == 0,
            hash: (at % 3 == 0).then_some(&hash),
            former: Former {
                differs: FieldSet::from_bits(1 << at),
                size: (at % 2 == 1).then_some(7),
                path: (at % 4 == 1).then_some(BEFORE),
            },
        });
    }
    batch
}

#[test]
fn every_column_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    let mut hostile = batches(&hostile_samples(), 7);
    hostile.push(marked());
    save(Given::all(hostile.clone()), &path);
    let (read, report) = load(unsorted(&path));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(shown(&read), shown(&hostile));
    // A column that is added to the fields is added here.
    let text = fs::read_to_string(&path).unwrap();
    let added = [
        Field::Target,
        Field::Change,
        Field::Remembered,
        Field::Hash,
        Field::Differs,
        Field::FormerSize,
        Field::FormerPath,
    ];
    for field in added {
        assert!(text.contains(field.column()), "{field}");
    }
}

#[test]
fn a_file_that_its_mark_is_not_about_fails_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    save(Given::new(marked()), &path);
    let content = fs::read(&path).unwrap();
    // Another digit of a size: the line is sound, and the file as long as it was.
    let text = String::from_utf8(content.clone()).unwrap();
    let other = text.replacen("\"size\":1,", "\"size\":2,", 1);
    for (changed, expected) in [
        (other.as_bytes(), "has the digest"),
        (
            &content[..content.len() - 1],
            "and its mark is about a file of",
        ),
        (b"", "and its mark is about a file of"),
    ] {
        fs::write(&path, changed).unwrap();
        let (_, report) = load(SavedConfig::new(&path));
        assert_eq!(report.outcome, Outcome::Failed);
        let cause = report.cause.unwrap();
        assert!(cause.contains(expected), "{cause}");
    }
    fs::remove_file(OutputMark::path_for(&path)).unwrap();
    let (_, report) = load(SavedConfig::new(&path));
    let cause = report.cause.unwrap();
    assert!(
        cause.contains("its mark") && cause.contains("cannot be read"),
        "{cause}"
    );
}

#[test]
fn what_is_no_row_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    save(Given::new(marked()), &path);
    for (content, expected) in [
        ("{\"path\":\"r\"}\n{\"path\":\"r/a\"\n", "line 2: EOF"),
        ("{\"path\":\"r\"}\n\n", "line 2: EOF"),
        (
            "{\"path\":\"r/b\"}\n{\"path\":\"r/a\"}\n",
            "line 2: r/a is behind b in r, so",
        ),
        (
            "{\"path\":\"r/a/b\"}\n{\"path\":\"r/a\"}\n",
            "line 2: r/a is behind b in r/a, so",
        ),
        (
            "{\"path\":\"r\"}\n{\"path\":\"r//a\"}\n",
            "line 2: r//a is no path below",
        ),
        ("{\"path\":\"r\"}", "line 1: it does not end"),
    ] {
        replace(&path, content.as_bytes());
        let (_, report) = load(SavedConfig::new(&path));
        assert_eq!(report.outcome, Outcome::Failed);
        let cause = report.cause.unwrap();
        assert!(
            cause.contains("scan.jsonl") && cause.contains(expected),
            "{cause}"
        );
    }
    // Component by component: a dot sorts before a slash.
    replace(
        &path,
        b"{\"path\":\"r/a\"}\n{\"path\":\"r/a/b\"}\n{\"path\":\"r/a.b\"}\n",
    );
    let (read, report) = load(SavedConfig::new(&path));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(read[0].len(), 3);
}

#[test]
fn what_was_not_read_is_refused_or_noted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    let lost = |path: &[u8], scope| ErrorRecord::new("open", path.to_vec(), "EACCES", "no", scope);
    let errors = vec![
        lost(b"r/d/x", Scope::Subtree),
        lost(NO_UNICODE, Scope::Entry),
    ];
    let report = save(Given::new(marked()).with_errors(errors), &path);
    assert_eq!(report.outcome, Outcome::Incomplete);
    let (_, report) = load(SavedConfig::new(&path));
    let cause = report.cause.unwrap();
    assert!(
        cause.contains("the run that wrote it was incomplete"),
        "{cause}"
    );

    let allowed = || SavedConfig {
        allow_incomplete: true,
        ..SavedConfig::new(&path)
    };
    // What is read from an incomplete scan is incomplete, and its own mark tells what is missing.
    let again = directory.path().join("again.jsonl");
    let copy = || {
        let mut builder = Builder::new("test");
        let saved = builder.stage("saved", Saved, allowed()).done();
        let config = JsonlConfig::new(again.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&saved);
        let report = builder.build().unwrap().run();
        let mark = OutputMark::verify(&again).unwrap();
        let listed = mark.unread.unwrap();
        let listed = listed.iter().map(|unread| unread.to_unread().unwrap());
        let listed = listed.map(|unread| (unread.subject.escape_ascii().to_string(), unread.scope));
        (report.outcome, listed.collect::<Vec<_>>())
    };
    let file = with_slashes(&path).to_str().unwrap().to_owned();
    let known = vec![
        ("r/d/x".to_owned(), Scope::Subtree),
        (NO_UNICODE.escape_ascii().to_string(), Scope::Entry),
        (file.clone(), Scope::Entry),
    ];
    assert_eq!(copy(), (Outcome::Incomplete, known));
    // Where the list was cut, or there is none, anything may be missing below the roots.
    for change in ["more", "old"] {
        change_mark(&path, |mark| {
            mark["roots"] = serde_json::json!(["r"]);
            match change {
                "more" => mark["unread_more"] = 1.into(),
                _ => _ = mark.as_object_mut().unwrap().remove("unread"),
            }
        });
        let (_, listed) = copy();
        assert!(
            listed.contains(&("r".to_owned(), Scope::Subtree)),
            "{listed:?}"
        );
    }
    // A partial result is a beginning.
    change_mark(&path, |mark| {
        mark["outcome"] = "cancelled".into();
        mark["unread"] = serde_json::json!([]);
        mark["unread_more"] = 0.into();
    });
    let (outcome, listed) = copy();
    assert_eq!(outcome, Outcome::Incomplete);
    assert!(
        listed.contains(&("r".to_owned(), Scope::Subtree)),
        "{listed:?}"
    );
}

#[test]
fn a_scan_in_any_order_can_be_sorted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    save(Given::new(marked()), &path);
    replace(
        &path,
        b"{\"path\":\"r/b\"}\n{\"path\":\"r/a/x\"}\n{\"path\":\"r/a\"}\n",
    );
    let mut builder = Builder::new("test");
    let saved = builder.stage("saved", Saved, unsorted(&path)).done();
    let sorted = builder.stage("sort", Sort, SortConfig::default());
    let sorted = sorted.reads(&saved).done();
    let sink = Collected::new();
    let _ = builder.sink("out", sink.clone()).reads(&sorted);
    let report = builder.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let batches: Vec<RecordBatch> = sink.items();
    let paths = batches.iter().flat_map(Rows::rows);
    let paths: Vec<Vec<u8>> = paths.map(|row| row.path_bytes()).collect();
    assert_eq!(paths, [&b"r/a"[..], b"r/a/x", b"r/b"]);
}

#[test]
fn only_the_stages_that_the_rows_came_from_count() {
    let stage = |name: &str, kind: &str, inputs: &[&str], options: serde_json::Value| {
        serde_json::json!({
            "name": name, "type": kind, "threads": 1, "inputs": {"in": inputs}, "options": options,
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scan.jsonl");
    save(Given::new(marked()), &path);
    let mut walk = stage(
        "walk",
        "enumerate",
        &[],
        serde_json::json!({"roots": ["r"], "max_depth": 3}),
    );
    walk["inputs"] = serde_json::json!({});
    walk["facts"] =
        serde_json::json!({"left_out": [{"kind": "enumerate", "options": {"max_depth": 3}}]});
    change_mark(&path, |mark| {
        mark["stages"] = serde_json::json!([
            walk,
            stage(
                "walker",
                "filter",
                &["walk"],
                serde_json::json!({"min_size": "2B"})
            ),
            stage("meta", "stat", &["walk"], serde_json::json!({})),
            stage("out", "jsonl", &["meta.out"], serde_json::json!({})),
            stage("few", "jsonl", &["walker"], serde_json::json!({})),
        ]);
    });
    for (writer, expected) in [
        ("out", "enumerate with {\"max_depth\":3}"),
        (
            "few",
            "enumerate with {\"max_depth\":3}, then filter with {\"min_size\":\"2B\"}",
        ),
        // Of an older mark, which does not say.
        (
            "",
            "enumerate with {\"max_depth\":3}, then filter with {\"min_size\":\"2B\"}",
        ),
    ] {
        change_mark(&path, |mark| mark["stage"] = writer.into());
        let mark = OutputMark::verify(&path).unwrap();
        let scan = MarkedScan::of(&mark);
        assert_eq!(omissions::describe(&scan.left_out), expected);
        assert_eq!(scan.roots, [RootPath::new("r")]);
    }
}
