//! Any bytes through every sink, and back through readers of other people: Python's json and csv.
//!
//! One thing must stay true: a sink that is added is added to [`SINKS`] here.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use statline_pipeline::{Builder, ErrorRecord, Message, Outcome, Registry, Scope};
use statline_platform::{Kind as EntryKind, Metadata};

use crate::fixtures::{Given, Sample, batches, hostile_samples, python, samples};
use crate::{
    Csv, CsvConfig, EntryBatch, Jsonl, JsonlConfig, Paths, PathsConfig, RecordBatch, Separator,
};

/// The kinds that write names, each by the formats that the reader below knows.
const SINKS: [(&str, &[&str]); 3] = [
    ("jsonl", &["jsonl"]),
    ("csv", &["csv"]),
    ("paths", &["nul", "newline"]),
];

/// Reads the files of a directory, each by its extension, and prints a line for each row: the bytes of its path, and
/// those of its target or message, in hexadecimal.
const READER: &str = r#"
import base64, csv, io, json, os, sys

def value(row, key):
    text, encoded = row.get(key), row.get(key + "_b64")
    assert not (text and encoded), row
    # Strict: half a pair of surrogates is no text.
    return base64.b64decode(encoded, validate=True) if encoded else (text or "").encode("utf-8")

def once(pairs):
    row = dict(pairs)
    assert len(row) == len(pairs), pairs
    return row

def shown(rows):
    return [value(row, "path").hex() + " " + (value(row, "target") or value(row, "message")).hex() for row in rows]

csv.field_size_limit(1 << 24)
for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        data = file.read()
    kind = name.rsplit(".", 1)[1]
    if kind == "jsonl":
        lines = data.decode("utf-8").split("\n")
        assert lines.pop() == "", name
        lines = shown(json.loads(line, object_pairs_hook=once) for line in lines)
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
        assert all(None not in row and None not in row.values() for row in rows), name
        lines = shown(rows)
    elif kind == "nul":
        paths = data.split(b"\0")
        assert paths.pop() == b"", name
        lines = [path.hex() + " " for path in paths]
    elif kind == "newline":
        # Names may hold line feeds there, so only all of it together can be compared.
        lines = [data.hex()]
    else:
        continue
    for line in lines:
        print(name, line)
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a row holds: its path, and its target or message.
type Pair = (Vec<u8>, Vec<u8>);

/// Writes messages through all sinks that take them into files whose names begin with `case`, and notes what a reader
/// must find in each.
fn write<M: Message + Sync>(
    directory: &Path,
    case: &str,
    messages: Vec<M>,
    formats: &[&'static str],
    rows: &[Pair],
    expected: &mut BTreeMap<String, Vec<String>>,
) {
    let mut builder = Builder::new("test");
    let source = builder.stage("in", Given::all(messages), ()).done();
    for format in formats {
        let name = format!("{case}.{format}");
        let path = directory.join(&name).to_str().unwrap().to_owned();
        let _ = match *format {
            "jsonl" => builder.stage(format, Jsonl, JsonlConfig::new(path)),
            "csv" => builder.stage(format, Csv, CsvConfig::new(path)),
            _ => {
                let mut config = PathsConfig::new(path);
                if *format == "nul" {
                    config.separator = Separator::Nul;
                }
                builder.stage(format, Paths, config)
            }
        }
        .reads(&source);
        let lines = rows.iter().map(|(path, more)| match *format {
            "jsonl" | "csv" => format!("{} {}", hex(path), hex(more)),
            _ => format!("{} ", hex(path)),
        });
        let lines = match *format {
            "newline" => {
                let all = rows
                    .iter()
                    .flat_map(|(path, _)| [path, &b"\n"[..]].concat());
                vec![hex(&all.collect::<Vec<u8>>())]
            }
            _ => lines.collect(),
        };
        expected.insert(name, lines);
    }
    let report = builder.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
}

/// Writes rows, the same rows without metadata, and errors about them; reads everything back in one process of Python.
fn check(cases: &[Vec<Sample>]) {
    let formats: Vec<&str> = SINKS
        .iter()
        .flat_map(|(_, formats)| *formats)
        .copied()
        .collect();
    // Every file is made durable, which is quick where nothing is.
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let place = directory.path();
    let mut expected = BTreeMap::new();
    for (number, samples) in cases.iter().enumerate() {
        let rows = |more: fn(&Sample) -> Vec<u8>| -> Vec<Pair> {
            let rows = samples.iter().map(|sample| (sample.path(), more(sample)));
            rows.collect()
        };
        let targets = rows(|sample| sample.target.clone());
        let batches: Vec<RecordBatch> = batches(samples, 5);
        let names: Vec<EntryBatch> = batches
            .iter()
            .map(|batch| batch.entries().clone())
            .collect();
        write(
            place,
            &format!("{number}r"),
            batches,
            &formats,
            &targets,
            &mut expected,
        );
        let bare = rows(|_| Vec::new());
        write(
            place,
            &format!("{number}e"),
            names,
            &formats,
            &bare,
            &mut expected,
        );
        let message = |sample: &Sample| String::from_utf8_lossy(&sample.name).into_owned();
        let errors: Vec<ErrorRecord> = samples
            .iter()
            .map(|sample| {
                ErrorRecord::new("open", sample.path(), "EIO", message(sample), Scope::Entry)
            })
            .collect();
        let messages = rows(|sample| String::from_utf8_lossy(&sample.name).into_owned().into());
        write(
            place,
            &format!("{number}x"),
            errors,
            &["jsonl", "csv"],
            &messages,
            &mut expected,
        );
    }
    let Some(read) = python(READER, place) else {
        return;
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read.lines() {
        let (file, row) = line.split_once(' ').unwrap();
        found
            .entry(file.to_owned())
            .or_default()
            .push(row.to_owned());
    }
    // A file without rows prints no line, and one of lines alone an empty one.
    for (file, rows) in expected {
        let read = found.remove(&file).unwrap_or_default();
        assert_eq!(read, rows, "{file}");
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn python_reads_any_bytes_back_from_every_sink() {
    let cases = prop::collection::vec(samples(), 24);
    let mut runner = TestRunner::new(Config {
        max_shrink_iters: 64,
        ..Config::with_cases(6)
    });
    let checked = runner.run(&cases, |cases| {
        check(&cases);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A row with this name, which is also its target.
fn sample(name: &[u8]) -> Sample {
    Sample {
        directories: vec![name.to_vec()],
        name: name.to_vec(),
        target: name.to_vec(),
        metadata: Metadata::with_kind(EntryKind::Symlink),
    }
}

#[test]
fn python_reads_every_byte_that_a_name_can_hold_back_from_every_sink() {
    let bytes = || (1..=u8::MAX).filter(|&byte| byte != b'/');
    let alone: Vec<Sample> = bytes().map(|byte| sample(&[byte])).collect();
    let between: Vec<Sample> = bytes().map(|byte| sample(&[b'a', byte, b'b'])).collect();
    let doubled: Vec<Sample> = bytes().map(|byte| sample(&[byte, byte])).collect();
    let together = vec![sample(&bytes().collect::<Vec<u8>>())];
    check(&[alone, between, doubled, together, hostile_samples(), vec![]]);
}

#[test]
fn every_sink_is_read_back() {
    let mut registry = Registry::new();
    crate::register(&mut registry);
    let writes = |kind: &statline_pipeline::KindInfo| {
        let schema = serde_json::to_value(&kind.options).unwrap();
        kind.outputs.is_empty() && schema["properties"].get("path").is_some()
    };
    let kinds = registry.kinds().filter(writes).map(|kind| kind.name);
    let mut known = SINKS.map(|(kind, _)| kind.to_owned());
    known.sort();
    assert_eq!(kinds.collect::<Vec<String>>(), known);
}
