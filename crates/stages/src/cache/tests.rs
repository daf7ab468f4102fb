//! What a cache on disk promises: `changes.rs` tests it over a real tree that changes between runs, `rules.rs` one rule
//! after the other. Here is how both make a run.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod changes;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, Errors, RunReport, Sink, StageError};

use super::*;
use crate::{
    Batch, BatchConfig, DirectoryStatus, Enumerate, EnumerateConfig, Filter, FilterConfig, Rows,
    Stat, StatConfig,
};

/// A sink that fails when everything has been written.
struct Fails;

impl Sink for Fails {
    type In = RecordBatch;

    fn write(&mut self, _: RecordBatch, _: &Errors) -> Result<(), StageError> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        Err(StageError::failed("no space left on device"))
    }
}

/// How a run is made.
#[derive(Clone, Debug, Default)]
struct Plan {
    exclude: Vec<String>,
    max_depth: Option<u32>,
    /// Whether rows of this name are dropped before the cache.
    filters: bool,
    fails: bool,
    threads: usize,
    rows_in_a_batch: usize,
    most_waiting: usize,
}

const FILTERED: &str = "x1";

/// What a run said: each path below the root with its mark, and how directories ended.
struct Said {
    marks: BTreeMap<String, Change>,
    deleted: BTreeSet<String>,
    ends: BTreeMap<String, DirectoryStatus>,
    report: RunReport,
}

fn run(root: &Path, store: &Path, plan: &Plan) -> Said {
    let mut walk = EnumerateConfig::new([root]);
    walk.exclude = plan.exclude.clone();
    walk.max_depth = plan.max_depth;
    let group = BatchConfig {
        max_entries: plan.rows_in_a_batch,
        ..BatchConfig::default()
    };
    let stat = StatConfig {
        fields: toml_fields(&["kind", "size", "mode", "mtime", "inode"]),
        ..StatConfig::default()
    };
    let known = CacheConfig {
        path: Some(store.to_owned()),
        deleted: true,
        signature: vec![Field::Size, Field::Mtime, Field::Inode],
        ..CacheConfig::default()
    };
    let cache = Cache {
        most_waiting: plan.most_waiting,
        ..Cache::default()
    };
    let out = Collected::<RecordBatch>::new();
    let mut job = Builder::new("changes");
    let walk = job
        .stage("walk", Enumerate, walk)
        .threads(plan.threads)
        .done();
    let group = job.stage("group", Batch, group).reads(&walk).done();
    let mut meta = job
        .stage("meta", Stat, stat)
        .reads(&group)
        .threads(plan.threads)
        .done();
    if plan.filters {
        let keep = FilterConfig {
            name: vec![FILTERED.to_owned()],
            invert: true,
            ..FilterConfig::default()
        };
        meta = job.stage("keep", Filter, keep).reads(&meta).done();
    }
    let known = job.stage("known", cache, known).reads(&meta).done();
    let _ = job.sink("out", out.clone()).reads(&known);
    if plan.fails {
        let _ = job.sink("fails", Fails).reads(&known);
    }
    let report = job.build().unwrap().run();
    let mut said = Said {
        marks: BTreeMap::new(),
        deleted: BTreeSet::new(),
        ends: BTreeMap::new(),
        report,
    };
    for batch in out.items() {
        for row in batch.rows() {
            let mut path = Vec::new();
            row.directory.write_relative_path(row.name, &mut path);
            let path = String::from_utf8(path).unwrap();
            match row.change.unwrap() {
                Change::Deleted => assert!(said.deleted.insert(path), "deleted twice"),
                change => assert_eq!(said.marks.insert(path, change), None),
            }
        }
        for end in batch.ends() {
            let mut path = Vec::new();
            end.directory
                .write_relative_path(statline_platform::Name::EMPTY, &mut path);
            said.ends
                .insert(String::from_utf8(path).unwrap(), end.status);
        }
    }
    said
}

fn toml_fields(names: &[&str]) -> crate::StatFields {
    serde_json::from_value(serde_json::json!(names)).unwrap()
}
