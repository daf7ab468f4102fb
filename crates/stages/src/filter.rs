//! `filter`: passes on the records that meet all its conditions.
//!
//! A record that lacks what a condition is about does not meet it. The ends of directories pass always, so that a stage
//! behind knows which directories were read whole; how many entries they had is no longer what it sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    ByteSize, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Outlet, OutputPort,
    StageError, Threading, Transform,
};
use statline_platform::{DirNode, Kind as EntryKind, Metadata, Timestamp};

use crate::exclude::Excludes;
use crate::field::{Field, come_as_records, need};
use crate::moment::Moment;
use crate::omissions;
use crate::run_start::run_start;
use crate::{Change, FieldSet, RecordBatch, Row};

/// Options of `filter`. A record passes if it meets all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FilterConfig {
    /// The kinds that pass, such as ["file", "symlink"]; all, if not given.
    pub kind: Vec<KindName>,
    /// Patterns of names, or of paths below a root if they hold a slash; one must match.
    pub name: Vec<String>,
    /// The least size that passes, of entries of any kind.
    pub min_size: Option<ByteSize>,
    /// The greatest size that passes, of entries of any kind.
    pub max_size: Option<ByteSize>,
    /// Contents last changed before this: "30d" before the run, "2026-01-31", "2026-01-31T08:00:00Z" or "@1767225600".
    pub older_than: Option<Moment>,
    /// Contents last changed at or after this.
    pub newer_than: Option<Moment>,
    /// How the record stands to what a cache remembers, or to another scan, such as ["new", "changed"]; any, if not given.
    pub change: Vec<Change>,
    /// The fields in one of which, at the least, the record differs from another scan; any, if not given.
    pub differs: Vec<Field>,
    /// Whether to pass on the records that do not meet the conditions, instead of those that do.
    pub invert: bool,
}

/// The kind of an entry, as a job writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// Anything else.
    Other,
}

impl From<KindName> for EntryKind {
    fn from(name: KindName) -> EntryKind {
        match name {
            KindName::File => EntryKind::File,
            KindName::Directory => EntryKind::Directory,
            KindName::Symlink => EntryKind::Symlink,
            KindName::Fifo => EntryKind::Fifo,
            KindName::Socket => EntryKind::Socket,
            KindName::BlockDevice => EntryKind::BlockDevice,
            KindName::CharDevice => EntryKind::CharDevice,
            KindName::Other => EntryKind::Other,
        }
    }
}

/// The kind `filter`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter;

impl Kind for Filter {
    type Config = FilterConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "passes on the records that meet conditions"
    }

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, config: Option<&FilterConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config {
            check(config, ports);
        }
        let properties = ports
            .incoming(DEFAULT_INPUT)
            .filter(|stream| stream.is::<RecordBatch>())
            .map(|stream| stream.properties.clone());
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties.unwrap_or_default()),
        )
    }

    fn open(
        &self,
        config: FilterConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        omissions::state(stage.context(), "filter", &config)?;
        let began = run_start(stage)?;
        let conditions = Arc::new(Conditions {
            kinds: config.kind.iter().map(|&kind| kind.into()).collect(),
            names: Excludes::compile(&config.name, |_, _| {}),
            min_size: config.min_size.map(ByteSize::bytes),
            max_size: config.max_size.map(ByteSize::bytes),
            older_than: config.older_than.map(|moment| moment.resolve(began)),
            newer_than: config.newer_than.map(|moment| moment.resolve(began)),
            changes: config.change,
            differs: config.differs.into_iter().collect(),
            invert: config.invert,
        });
        for _ in 0..stage.threads().resolve() {
            let filter = RecordFilter {
                conditions: Arc::clone(&conditions),
                directory: None,
                prefix: Vec::new(),
            };
            stage.transform(&input, &output, |_| Ok(filter))?;
        }
        Ok(())
    }
}

fn check(config: &FilterConfig, ports: &mut Declare<'_>) {
    Excludes::compile(&config.name, |place, message| {
        ports.problem(&format!("name[{place}]"), message, None);
    });
    if let (Some(min), Some(max)) = (config.min_size, config.max_size)
        && min > max
    {
        let message = format!("{max} is less than min_size, so nothing would pass");
        ports.problem("max_size", message, None);
    }
    if !come_as_records(ports) {
        // That is a problem of its own.
        return;
    }
    let mut needed = BTreeSet::new();
    for (option, given, field) in [
        ("min_size", config.min_size.is_some(), Field::Size),
        ("max_size", config.max_size.is_some(), Field::Size),
        ("older_than", config.older_than.is_some(), Field::Mtime),
        ("newer_than", config.newer_than.is_some(), Field::Mtime),
        ("change", !config.change.is_empty(), Field::Change),
        ("differs", !config.differs.is_empty(), Field::Differs),
    ] {
        // What is missing is missing once, however many conditions are about it.
        if given && needed.insert(field) {
            need(ports, option, field);
        }
    }
}

/// What a record must be.
struct Conditions {
    kinds: Vec<EntryKind>,
    names: Excludes,
    min_size: Option<u64>,
    max_size: Option<u64>,
    older_than: Option<Timestamp>,
    newer_than: Option<Timestamp>,
    changes: Vec<Change>,
    differs: FieldSet,
    invert: bool,
}

impl Conditions {
    /// Whether a record meets all conditions but those about its name.
    fn hold(&self, row: &Row<'_>) -> bool {
        let size = row.metadata.and_then(Metadata::size);
        let time = row.metadata.and_then(Metadata::modified);
        let is = |condition: Option<bool>| condition.unwrap_or(false);
        (self.kinds.is_empty() || is(row.kind.map(|kind| self.kinds.contains(&kind))))
            && self
                .min_size
                .is_none_or(|min| is(size.map(|size| size >= min)))
            && self
                .max_size
                .is_none_or(|max| is(size.map(|size| size <= max)))
            && self
                .older_than
                .is_none_or(|than| is(time.map(|time| time < than)))
            && self
                .newer_than
                .is_none_or(|than| is(time.map(|time| time >= than)))
            && (self.changes.is_empty()
                || is(row.change.map(|change| self.changes.contains(&change))))
            && (self.differs.is_empty()
                || self
                    .differs
                    .iter()
                    .any(|field| row.former.differs.contains(field)))
    }
}

struct RecordFilter {
    conditions: Arc<Conditions>,
    /// Whose path below the root `prefix` is.
    directory: Option<Arc<DirNode>>,
    prefix: Vec<u8>,
}

impl RecordFilter {
    fn passes(&mut self, row: &Row<'_>) -> bool {
        let conditions = &*self.conditions;
        let meets = conditions.hold(row) && (!conditions.names.any() || self.name_matches(row));
        meets != self.conditions.invert
    }

    fn name_matches(&mut self, row: &Row<'_>) -> bool {
        let names = &self.conditions.names;
        let same = self.directory.as_ref();
        if !same.is_some_and(|directory| Arc::ptr_eq(directory, row.directory)) {
            self.prefix.clear();
            names.write_prefix(row.directory, &mut self.prefix);
            self.directory = Some(Arc::clone(row.directory));
        }
        let is_directory = row.kind == Some(EntryKind::Directory);
        names.matches(&mut self.prefix, row.name, is_directory)
    }
}

impl Transform for RecordFilter {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        batch.retain(|row| self.passes(row));
        match batch.is_empty() {
            true => Ok(()),
            false => out.send(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use statline_pipeline::testing::Collected;
    use statline_pipeline::{Builder, Outcome};

    use super::*;
    use crate::fixtures::{Given, child, problems, records, root, time};
    use crate::{DirectoryEnd, DirectoryStatus, EntryBatch, Rows};

    const FIELDS: &[&str] = &["kind", "size", "mtime", "change"];

    fn conditions(toml: serde_json::Value) -> FilterConfig {
        serde_json::from_value(toml).unwrap()
    }

    fn metadata(kind: EntryKind, size: u64, seconds: i64) -> Metadata {
        let mut metadata = Metadata::with_kind(kind);
        metadata.set_size(size).set_modified(time(seconds, 0));
        metadata
    }

    /// Records in `r/a` and `r/a/b`, some complete, one of which nothing is known, and the end of a directory.
    fn given() -> RecordBatch {
        let a = child(&root("r"), b"a");
        let b = child(&a, b"b");
        let now = jiff::Timestamp::now().as_second();
        let mut entries = EntryBatch::default();
        let mut all = Vec::new();
        for (directory, name, metadata) in [
            (&a, &b"old.log"[..], metadata(EntryKind::File, 100, 1000)),
            (&a, b"new.log", metadata(EntryKind::File, 200, now - 60)),
            (&a, b"b", metadata(EntryKind::Directory, 4096, now - 60)),
            (&b, b"caf\xe9.log", metadata(EntryKind::File, 300, 2000)),
            (&b, b"unknown", Metadata::default()),
            (&b, b"link", metadata(EntryKind::Symlink, 5, 3000)),
        ] {
            entries.extend(directory, |entries| entries.push(name, None, 0));
            all.push(metadata);
        }
        let mut records = RecordBatch::new(entries, all);
        let marks = [Change::New, Change::Changed, Change::Unchanged];
        records.set_changes(&[marks, marks].concat());
        records.push_end(DirectoryEnd {
            directories: 0,
            directory: b,
            entries: 3,
            status: DirectoryStatus::Complete,
        });
        records
    }

    fn filter(config: FilterConfig, threads: usize) -> (Vec<String>, usize) {
        let mut builder = Builder::new("test");
        let source = Given::new(given()).fields(FIELDS);
        let source = builder.stage("in", source, ()).done();
        let filter = builder.stage("filter", Filter, config).reads(&source);
        let filter = filter.threads(threads).done();
        let sink = Collected::new();
        let _ = builder.sink("out", sink.clone()).reads(&filter);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        let batches: Vec<RecordBatch> = sink.items();
        let rows = batches.iter().flat_map(Rows::rows);
        let paths = rows.map(|row| row.path_bytes().escape_ascii().to_string());
        (
            paths.collect(),
            batches.iter().map(|batch| batch.ends().len()).sum(),
        )
    }

    #[test]
    fn each_condition_keeps_what_meets_it() {
        let (old, new, directory) = ("r/a/old.log", "r/a/new.log", "r/a/b");
        let (cafe, unknown, link) = ("r/a/b/caf\\xe9.log", "r/a/b/unknown", "r/a/b/link");
        for (options, expected) in [
            (
                serde_json::json!({}),
                &[old, new, directory, cafe, unknown, link][..],
            ),
            (serde_json::json!({"kind": ["file"]}), &[old, new, cafe]),
            (
                serde_json::json!({"kind": ["symlink", "directory"]}),
                &[directory, link],
            ),
            (
                serde_json::json!({"min_size": "200B"}),
                &[new, directory, cafe],
            ),
            (serde_json::json!({"max_size": "200B"}), &[old, new, link]),
            (
                serde_json::json!({"min_size": "200B", "max_size": "300B"}),
                &[new, cafe],
            ),
            (serde_json::json!({"older_than": "1h"}), &[old, cafe, link]),
            (serde_json::json!({"newer_than": "1h"}), &[new, directory]),
            (serde_json::json!({"older_than": "@2000"}), &[old]),
            (
                serde_json::json!({"newer_than": "@2000", "older_than": "@3001"}),
                &[cafe, link],
            ),
            (
                serde_json::json!({"older_than": "1970-01-02"}),
                &[old, cafe, link],
            ),
            (serde_json::json!({"name": ["*.log"]}), &[old, new, cafe]),
            (serde_json::json!({"name": ["n*", "link"]}), &[new, link]),
            (
                serde_json::json!({"name": ["a/b/*"]}),
                &[cafe, unknown, link],
            ),
            (serde_json::json!({"name": ["**/b/"]}), &[directory]),
            (serde_json::json!({"change": ["new"]}), &[old, cafe]),
            (
                serde_json::json!({"change": ["new", "changed"]}),
                &[old, new, cafe, unknown],
            ),
            (
                serde_json::json!({"kind": ["file"], "name": ["o*", "b"]}),
                &[old],
            ),
            (
                serde_json::json!({"min_size": "200B", "invert": true}),
                &[old, unknown, link],
            ),
            (
                serde_json::json!({"name": ["*.log"], "invert": true}),
                &[directory, unknown, link],
            ),
            (serde_json::json!({"name": ["nothing"]}), &[]),
        ] {
            let (kept, ends) = filter(conditions(options.clone()), 1);
            assert_eq!(kept, expected, "{options}");
            assert_eq!(ends, 1, "{options}");
        }
    }

    #[test]
    fn several_threads_keep_the_same() {
        let config = conditions(serde_json::json!({"kind": ["file"]}));
        assert_eq!(filter(config.clone(), 3), filter(config, 1));
    }

    #[test]
    fn a_condition_on_what_nobody_fetches_is_refused() {
        let mut builder = Builder::new("test");
        let source = Given::new(records(&[b"a"])).fields(&["kind"]);
        let source = builder.stage("in", source, ()).done();
        let config = conditions(serde_json::json!({
            "kind": ["file"], "name": ["{a"], "min_size": "2B", "max_size": "1B", "newer_than": "1d", "change": ["new"],
            "differs": ["size"],
        }));
        let filter = builder
            .stage("filter", Filter, config)
            .reads(&source)
            .done();
        let _ = builder
            .sink("out", Collected::<RecordBatch>::new())
            .reads(&filter);
        let found: Vec<_> = problems(builder)
            .into_iter()
            .map(|(location, message, _)| format!("{location}: {message}"))
            .collect();
        let [name, rest @ ..] = &found[..] else {
            panic!("no problem");
        };
        assert!(
            name.starts_with("stages.filter.name[0]: unclosed"),
            "{name}"
        );
        assert_eq!(
            rest,
            [
                "stages.filter.max_size: 1B is less than min_size, so nothing would pass",
                "stages.filter.min_size: the records that come in have no \"size\"",
                "stages.filter.newer_than: the records that come in have no \"mtime\"",
                "stages.filter.change: the records that come in have no \"change\"",
                "stages.filter.differs: the records that come in have no \"differs\"",
            ]
        );
    }

    /// Refuses an input that is not in path order, or that does not carry a size.
    struct Particular;

    impl Kind for Particular {
        type Config = ();
        type Ports = InputPort<RecordBatch>;

        fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
            ports.needs_order(DEFAULT_INPUT, &["path"]);
            need(ports, "size", Field::Size);
            ports.input(DEFAULT_INPUT)
        }

        fn open(
            &self,
            (): (),
            input: Self::Ports,
            stage: &mut Opening<'_>,
        ) -> Result<(), StageError> {
            let sink = Collected::new();
            stage.sink(&input, statline_pipeline::PublishOrder::Output, sink)
        }
    }

    #[test]
    fn order_and_fields_are_passed_on_and_several_threads_lose_the_order() {
        for threads in [1, 2] {
            let mut builder = Builder::new("test");
            let source = Given::new(given()).fields(FIELDS).ordered_by("path");
            let source = builder.stage("in", source, ()).done();
            let filter = builder.stage("filter", Filter, FilterConfig::default());
            let filter = filter.reads(&source).threads(threads).done();
            let _ = builder.stage("out", Particular, ()).reads(&filter);
            assert_eq!(builder.build().is_ok(), threads == 1);
        }
    }
}
