//! Stages on the backend of Windows: metadata comes with the names, and what Windows does not have is absent.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, ErrorRecord, Outcome, RunReport};
use statline_platform::{Fields, Metadata, with_slashes};
use statline_stages::{
    BackendSetting, Csv, CsvConfig, Enumerate, EnumerateConfig, Hash, HashConfig, Jsonl,
    JsonlConfig, RecordBatch, Rows, Stat, StatConfig, StatFields,
};

struct Scanned {
    report: RunReport,
    records: BTreeMap<String, Metadata>,
    errors: Vec<ErrorRecord>,
}

fn scan(root: &Path, backend: BackendSetting, fields: Fields) -> Scanned {
    let (records, errors) = (Collected::<RecordBatch>::new(), Collected::new());
    let mut job = Builder::new("scan");
    let walk = EnumerateConfig {
        backend,
        ..EnumerateConfig::new([root])
    };
    let names = job.stage("walk", Enumerate, walk).threads(2).done();
    let config = StatConfig {
        backend,
        fields: StatFields::new(fields),
        ..StatConfig::default()
    };
    let meta = job.stage("meta", Stat, config).reads(&names).done();
    let _ = job.sink("records", records.clone()).reads(&meta);
    let _ = job
        .sink("errors", errors.clone())
        .reads(names.port("errors"))
        .reads(meta.port("errors"));
    let report = job.build().unwrap().run();
    let batches = records.items();
    let rows = batches.iter().flat_map(Rows::rows).map(|row| {
        let path = String::from_utf8(row.path_bytes()).unwrap();
        (path, row.metadata.unwrap().clone())
    });
    Scanned {
        report,
        records: rows.collect(),
        errors: errors.items(),
    }
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    for file in ["a/1", "a/b/2", "3"] {
        fs::write(root.path().join(file), file).unwrap();
    }
    fs::hard_link(root.path().join("3"), root.path().join("4")).unwrap();
    root
}

const WHAT_UNIX_HAS: Fields = Fields::MODE
    .union(Fields::UID)
    .union(Fields::GID)
    .union(Fields::RDEV)
    .union(Fields::MOUNT_ID);

#[test]
fn metadata_comes_with_the_names_and_no_file_is_asked() {
    let root = tree();
    let scanned = scan(root.path(), BackendSetting::Auto, Fields::ALL);
    assert_eq!(
        scanned.report.outcome,
        Outcome::Complete,
        "{:?}",
        scanned.errors
    );
    let top = with_slashes(root.path()).display().to_string();
    let below: Vec<&str> = ["", "/3", "/4", "/a", "/a/1", "/a/b", "/a/b/2"].to_vec();
    let expected: Vec<String> = below.iter().map(|path| format!("{top}{path}")).collect();
    assert_eq!(
        scanned.records.keys().cloned().collect::<Vec<_>>(),
        expected
    );
    // All but the root, which no directory lists.
    let counters = &scanned.report.stage("walk").unwrap().counters;
    assert_eq!(counters["fetched_ahead"], expected.len() as u64 - 1);
    for (path, metadata) in &scanned.records {
        assert!(!metadata.fields().intersects(WHAT_UNIX_HAS), "{path}");
        // Only a file that is opened says how many names it has.
        let is_root = *path == top;
        assert_eq!(metadata.nlink().is_some(), is_root, "{path}");
    }
}

#[test]
fn only_the_fields_asked_for_come_through() {
    let root = tree();
    let scanned = scan(root.path(), BackendSetting::Auto, Fields::SIZE);
    for (path, metadata) in &scanned.records {
        assert_eq!(metadata.fields(), Fields::SIZE | Fields::KIND, "{path}");
    }
}

#[test]
fn an_exact_scan_gives_the_same_records_and_counts_names() {
    let root = tree();
    let listed = scan(root.path(), BackendSetting::Nt, Fields::ALL);
    let exact = scan(root.path(), BackendSetting::NtExact, Fields::ALL);
    assert_eq!(exact.report.outcome, Outcome::Complete);
    let common = |records: &BTreeMap<String, Metadata>| {
        let mut records = records.clone();
        for metadata in records.values_mut() {
            // The first scan has read the directories.
            metadata.keep(Fields::ALL - Fields::NLINK - Fields::ACCESSED);
        }
        records
    };
    assert_eq!(common(&exact.records), common(&listed.records));
    let nlink = |name: &str| {
        let (_, metadata) = (exact.records.iter())
            .find(|(path, _)| path.ends_with(name))
            .unwrap();
        metadata.nlink()
    };
    assert_eq!((nlink("/3"), nlink("/a/1")), (Some(2), Some(1)));
}

#[test]
fn digests_are_of_the_files_that_were_listed() {
    let root = tree();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("hashes.jsonl");
    let mut job = Builder::new("hash");
    let names = job
        .stage("walk", Enumerate, EnumerateConfig::new([root.path()]))
        .done();
    let meta = job
        .stage("meta", Stat, StatConfig::default())
        .reads(&names)
        .done();
    let hashed = job
        .stage("hash", Hash, HashConfig::default())
        .reads(&meta)
        .done();
    let config = JsonlConfig::new(path.to_str().unwrap());
    let _ = job.stage("out", Jsonl, config).reads(&hashed);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let text = fs::read_to_string(&path).unwrap();
    let digest = blake3::hash(b"a/b/2").to_hex().to_string();
    let row = text.lines().find(|line| line.contains("/a/b/2\"")).unwrap();
    assert!(row.contains(&digest), "{row}");
}

#[test]
fn outputs_replace_what_was_there_and_leave_out_what_there_is_not() {
    let root = tree();
    let out = tempfile::tempdir().unwrap();
    let (jsonl, csv) = (out.path().join("out.jsonl"), out.path().join("out.csv"));
    for round in 0..2 {
        let mut job = Builder::new("write");
        let names = job
            .stage("walk", Enumerate, EnumerateConfig::new([root.path()]))
            .done();
        let meta = job
            .stage("meta", Stat, StatConfig::default())
            .reads(&names)
            .done();
        let config = JsonlConfig::new(jsonl.to_str().unwrap());
        let _ = job.stage("jsonl", Jsonl, config).reads(&meta);
        let config = CsvConfig::new(csv.to_str().unwrap());
        let _ = job.stage("csv", Csv, config).reads(&meta);
        let report = job.build().unwrap().run();
        assert_eq!(
            report.outcome,
            Outcome::Complete,
            "round {round}: {:?}",
            report.cause
        );
    }
    let text = fs::read_to_string(&jsonl).unwrap();
    assert_eq!(text.lines().count(), 7);
    let row = text.lines().find(|line| line.contains("/a/1\"")).unwrap();
    assert!(row.contains("\"size\":3"), "{row}");
    for absent in ["mode", "uid", "gid", "nlink", "rdev"] {
        assert!(!row.contains(&format!("\"{absent}\"")), "{row}");
    }
    let text = fs::read_to_string(&csv).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row: Vec<&str> = lines
        .find(|line| line.contains("/a/1,"))
        .unwrap()
        .split(',')
        .collect();
    for absent in ["mode", "uid", "gid", "nlink", "rdev"] {
        let at = header.iter().position(|column| *column == absent).unwrap();
        assert_eq!(row[at], "", "{absent}");
    }
    // The marks, and nothing under a temporary name.
    let mut left: Vec<_> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "out.csv",
            "out.csv.run.json",
            "out.jsonl",
            "out.jsonl.run.json"
        ]
    );
}
