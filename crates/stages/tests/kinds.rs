//! What holds for every kind that this crate registers, those of tomorrow included.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use statline_pipeline::testing::{Trial, conformance};
use statline_pipeline::{ErrorRecord, Kind, Message, Registry, Scope, StageRef};
use statline_platform::{DirNode, Kind as EntryKind, Metadata};
use statline_stages::{
    Batch, BatchConfig, Cache, CacheConfig, Csv, CsvConfig, DirectoryEnd, DirectoryStatus,
    EntryBatch, Enumerate, EnumerateConfig, Field, Filter, FilterConfig, Hash, HashConfig, Jsonl,
    JsonlConfig, Null, NullConfig, Paths, PathsConfig, RecordBatch, Repeated, RepeatedConfig, Sort,
    SortConfig, Stat, StatConfig, Summarize, SummaryConfig, register,
};

fn registry() -> Registry {
    let mut registry = Registry::new();
    register(&mut registry);
    registry
}

/// Directories with files, and names in them that are not there.
fn tree(root: &Path) {
    for directory in 0..6 {
        let directory = root.join(format!("d{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..4 {
            fs::write(directory.join(format!("f{file}")), "x").unwrap();
        }
    }
}

/// What `enumerate` says of the tree, and more: one message for each directory.
fn names(root: &Path) -> Vec<EntryBatch> {
    let names = |directory: usize| {
        let node = DirNode::root(&root.join(format!("d{directory}")));
        let mut batch = EntryBatch::default();
        batch.extend(&node, |entries| {
            for name in ["f0", "f1", "f2", "f3", "gone"] {
                entries.push(name.as_bytes(), Some(EntryKind::File), 0);
            }
        });
        batch.push_end(DirectoryEnd {
            directory: Arc::clone(&node),
            entries: 5,
            directories: 0,
            status: DirectoryStatus::Complete,
        });
        batch
    };
    (0..6).map(names).collect()
}

fn records(root: &Path) -> Vec<RecordBatch> {
    let with_metadata = |batch: EntryBatch| {
        let rows = (0..batch.len() as u64).map(|size| {
            let mut metadata = Metadata::with_kind(EntryKind::File);
            metadata.set_size(size);
            metadata
        });
        let rows = rows.collect();
        RecordBatch::new(batch, rows)
    };
    names(root).into_iter().map(with_metadata).collect()
}

fn errors() -> Vec<ErrorRecord> {
    let error = |at: usize| {
        let path = format!("dir/{at}").into_bytes();
        ErrorRecord::new("open", path, "EACCES", "permission denied", Scope::Entry)
    };
    (0..6).map(error).collect()
}

/// Adds the stage under test and, so that nothing in the report is hidden, reads its errors.
fn subject<K: Kind>(
    trial: &mut Trial,
    kind: K,
    config: K::Config,
    threads: usize,
    reads: Option<&StageRef>,
) -> StageRef {
    let mut stage = trial
        .builder()
        .stage("subject", kind, config)
        .threads(threads);
    if let Some(reads) = reads {
        stage = stage.reads(reads);
    }
    let subject = stage.done();
    trial.drain::<ErrorRecord>("problems", subject.port("errors"));
    subject
}

/// Between neighbours that feed it and take what it sends.
fn between<I: Message, O: Message, K: Kind>(
    threads: usize,
    input: &[I],
    kind: impl Fn() -> (K, K::Config),
) {
    conformance(|trial| {
        let (kind, config) = kind();
        let feed = trial.feed("feed", input.to_vec());
        let subject = subject(trial, kind, config, threads, Some(&feed));
        trial.drain::<O>("drain", &subject);
    });
}

/// Behind a neighbour that feeds it.
fn end<I: Message, K: Kind>(input: &[I], kind: impl Fn() -> (K, K::Config)) {
    conformance(|trial| {
        let (kind, config) = kind();
        let feed = trial.feed("feed", input.to_vec());
        subject(trial, kind, config, 1, Some(&feed));
    });
}

/// Behind a neighbour of each sort that a stage of rows takes.
fn end_of_rows<K: Kind>(root: &Path, kind: impl Fn() -> (K, K::Config)) {
    end(&names(root), &kind);
    end(&records(root), &kind);
}

/// Puts a kind through the test of conduct, in each form that it has.
fn try_conduct(kind: &str, root: &Path, output: &str) -> bool {
    match kind {
        "enumerate" => {
            for threads in [1, 3] {
                conformance(|trial| {
                    let config = EnumerateConfig::new([root]);
                    let subject = subject(trial, Enumerate, config, threads, None);
                    trial.drain::<EntryBatch>("drain", &subject);
                });
            }
        }
        "batch" => {
            for max_entries in [1, 7, 1024] {
                let config = BatchConfig {
                    max_entries,
                    ..BatchConfig::default()
                };
                between::<_, EntryBatch, _>(1, &names(root), || (Batch, config.clone()));
            }
        }
        "stat" => {
            for threads in [1, 3] {
                let kind = || (Stat, StatConfig::default());
                between::<_, RecordBatch, _>(threads, &names(root), kind);
            }
        }
        "cache" => {
            let cache = Cache::default();
            let kind = || (cache.clone(), CacheConfig::default());
            between::<_, RecordBatch, _>(1, &records(root), kind);
            // Each run has a store of its own, as runs that were left may still hold theirs.
            let number = std::cell::Cell::new(0);
            let on_disk = || {
                number.set(number.get() + 1);
                let config = CacheConfig {
                    path: Some(format!("{output}-{}.store", number.get()).into()),
                    deleted: true,
                    ..CacheConfig::default()
                };
                (Cache::default(), config)
            };
            between::<_, RecordBatch, _>(1, &records(root), on_disk);
        }
        "sort" => {
            for limit in [None, Some(3)] {
                let limit = limit.and_then(std::num::NonZeroUsize::new);
                let kind = || {
                    let config = SortConfig::default();
                    (Sort, SortConfig { limit, ..config })
                };
                between::<_, RecordBatch, _>(1, &records(root), kind);
            }
        }
        "filter" => {
            for threads in [1, 3] {
                let kind = || (Filter, FilterConfig::default());
                between::<_, RecordBatch, _>(threads, &records(root), kind);
            }
        }
        "hash" => {
            for threads in [1, 3] {
                let kind = || (Hash, HashConfig::default());
                between::<_, RecordBatch, _>(threads, &records(root), kind);
            }
        }
        "repeated" => conformance(|trial| {
            // Its input has to be in order, so a sort comes first.
            let feed = trial.feed("feed", records(root));
            let by = ["size", "device", "inode"].map(|key| key.parse().unwrap());
            let config = SortConfig {
                by: by.into(),
                ..SortConfig::default()
            };
            let sorted = trial.builder().stage("sort", Sort, config).reads(&feed);
            let sorted = sorted.done();
            let by = vec![Field::Size];
            let subject = subject(trial, Repeated, RepeatedConfig { by }, 1, Some(&sorted));
            trial.drain::<RecordBatch>("drain", &subject);
        }),
        "summary" => end_of_rows(root, || (Summarize, SummaryConfig::default())),
        "jsonl" => {
            end_of_rows(root, || (Jsonl, JsonlConfig::new(output)));
            end(&errors(), || (Jsonl, JsonlConfig::new(output)));
        }
        "csv" => {
            end_of_rows(root, || (Csv, CsvConfig::new(output)));
            end(&errors(), || (Csv, CsvConfig::new(output)));
        }
        "paths" => end_of_rows(root, || (Paths, PathsConfig::new(output))),
        "null" => {
            end_of_rows(root, || (Null, NullConfig {}));
            end(&errors(), || (Null, NullConfig {}));
        }
        _ => return false,
    }
    true
}

#[test]
fn every_kind_conducts_itself_as_a_stage_should() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let output = directory.path().join("out");
    for kind in registry().kinds() {
        println!("{}", kind.name);
        assert!(
            try_conduct(&kind.name, &root, output.to_str().unwrap()),
            "{} is new here: add it to `try_conduct`",
            kind.name
        );
    }
}

/// What the schema of options says of one of them, or of its type.
fn description<'s>(schema: &'s Value, option: &'s Value) -> &'s str {
    let target = option["$ref"].as_str();
    let target = target.and_then(|target| schema.pointer(target.strip_prefix('#')?));
    let told = [Some(option), target].into_iter().flatten();
    let mut told = told.filter_map(|schema| schema["description"].as_str());
    told.next().unwrap_or_default()
}

#[test]
fn every_kind_and_every_option_is_described() {
    for kind in registry().kinds() {
        let about = kind.about;
        assert!(
            about.starts_with(char::is_lowercase) && !about.ends_with('.'),
            "{}: {about:?}",
            kind.name
        );
        let schema = kind.options.as_value();
        let none = serde_json::Map::new();
        let options = schema["properties"].as_object().unwrap_or(&none);
        for (name, option) in options {
            let about = description(schema, option);
            assert!(
                about.starts_with(char::is_uppercase) && about.ends_with('.'),
                "{}.{name}: {about:?}",
                kind.name
            );
            assert!(!about.contains("]("), "{}.{name} has a link", kind.name);
        }
    }
}

/// The options of a kind are those that its messages suggest: a key that the schema has and the reader doesn't, or the
/// other way round, would be advertised and refused.
#[test]
fn options_are_called_the_same_in_the_schema_and_in_messages() {
    for kind in registry().kinds() {
        let schema = kind.options.as_value();
        let none = serde_json::Map::new();
        let options = schema["properties"].as_object().unwrap_or(&none);
        let names: BTreeSet<&str> = options.keys().map(String::as_str).collect();
        let values: String = names
            .iter()
            .map(|name| format!("{name} = 2026-01-01\n"))
            .collect();
        let text = format!("[stages.x]\ntype = {:?}\n{values}", kind.name);
        let problems =
            statline_pipeline::Job::parse(&registry(), "job.toml", &text, &|_| None, &[]);
        let problems = problems.unwrap_err();
        let unknown = problems
            .iter()
            .filter(|problem| problem.message.starts_with("unknown key"));
        assert_eq!(unknown.count(), 0, "{problems}");
    }
}
