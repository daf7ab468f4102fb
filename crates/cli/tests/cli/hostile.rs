//! Every field against `find -printf`, over a tree of everything that a scanner may meet.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use statline_platform::{BackendChoice, select};
use statline_testfs::hostile_tree;

use crate::{installed, statline, status};

/// What find prints of an entry, in this order, each ended by NUL.
const FORMAT: &str = r"%p\0%y\0%m\0%U\0%G\0%s\0%b\0%n\0%i\0%D\0%A@\0%T@\0%C@\0%l\0%d\0";
const FIELDS: [&str; 15] = [
    "path",
    "kind",
    "mode",
    "uid",
    "gid",
    "size",
    "allocated",
    "nlink",
    "inode",
    "device",
    "atime_ns",
    "mtime_ns",
    "ctime_ns",
    "target",
    "depth",
];

type Row = BTreeMap<&'static str, Vec<u8>>;

fn found(home: &Path) -> Vec<Row> {
    let output = Command::new("find")
        .args(["tree", "-printf", FORMAT])
        .current_dir(home)
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut values: Vec<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
    values.pop();
    let entries = values.chunks_exact(FIELDS.len());
    entries
        .map(|values| {
            let fields = FIELDS.iter().zip(values);
            fields
                .map(|(&field, value)| (field, as_rows_have_it(field, value)))
                .collect()
        })
        .collect()
}

/// What find prints, in the units of rows.
fn as_rows_have_it(field: &str, value: &[u8]) -> Vec<u8> {
    let text = || std::str::from_utf8(value).unwrap();
    match field {
        "kind" => match value {
            b"f" => "file",
            b"d" => "directory",
            b"l" => "symlink",
            b"p" => "fifo",
            b"s" => "socket",
            b"b" => "block_device",
            b"c" => "char_device",
            _ => "other",
        }
        .into(),
        "mode" => u32::from_str_radix(text(), 8).unwrap().to_string().into(),
        "allocated" => (text().parse::<u64>().unwrap() * 512).to_string().into(),
        "atime_ns" | "mtime_ns" | "ctime_ns" => {
            let (seconds, fraction) = text().split_once('.').unwrap();
            // Ten digits; before 1970 the fraction still counts forwards.
            let seconds: i128 = seconds.parse().unwrap();
            let nanoseconds: i128 = fraction[..9].parse().unwrap();
            (seconds * 1_000_000_000 + nanoseconds).to_string().into()
        }
        _ => value.to_vec(),
    }
}

fn scanned(home: &Path, backend: &str) -> Vec<Row> {
    let fields = FIELDS.map(|field| field.trim_end_matches("_ns")).join(",");
    let output = statline()
        .args([
            "scan",
            "tree",
            "-o",
            "-",
            "--fields",
            &fields,
            "--backend",
            backend,
        ])
        .current_dir(home)
        .output()
        .unwrap();
    assert!([0, 3].contains(&status(&output)), "{output:?}");
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| row(&serde_json::from_slice(line).unwrap()))
        .collect()
}

fn row(json: &Value) -> Row {
    let value = |field: &str| match (&json[field], &json[format!("{field}_b64")]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (Value::Null, Value::String(base64)) => BASE64_STANDARD.decode(base64).unwrap(),
        (Value::Null, _) => Vec::new(),
        (number, _) => number.to_string().into_bytes(),
    };
    FIELDS.iter().map(|&field| (field, value(field))).collect()
}

#[test]
fn every_field_is_what_find_prints() {
    if !installed("find") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let _tree = hostile_tree(&home.path().join("tree")).unwrap();
    // Reading a tree for the first time moves access times of directories and links.
    found(home.path());
    let expected = found(home.path());
    assert!(expected.len() > 8_000, "{}", expected.len());
    let expected: BTreeMap<Vec<u8>, Row> = by_path(expected);
    let mut backends = vec!["statx", "fstatat"];
    if select(BackendChoice::IoUring).is_ok() {
        backends.push("io_uring");
    }
    for backend in backends {
        let rows = by_path(scanned(home.path(), backend));
        assert_eq!(rows.len(), expected.len());
        for (path, row) in rows {
            let mut row = row;
            let mut find = expected[&path].clone();
            let kind = &find["kind"];
            // Those are moved by reading them, which find does as well.
            if kind == b"directory" || kind == b"symlink" {
                row.remove("atime_ns");
                find.remove("atime_ns");
            }
            assert_eq!(show(&row), show(&find), "{backend}");
        }
    }
}

fn by_path(rows: Vec<Row>) -> BTreeMap<Vec<u8>, Row> {
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row["path"].clone(), row))
        .collect();
    assert_eq!(rows.len(), count, "a path came twice");
    rows
}

fn show(row: &Row) -> Vec<String> {
    let fields = row.iter();
    fields
        .map(|(field, value)| format!("{field}={}", value.escape_ascii()))
        .collect()
}
