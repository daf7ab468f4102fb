//! Made-up scans against an oracle that holds them whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use statline_pipeline::testing::Collected;
use statline_pipeline::{
    Builder, ErrorRecord, Job, Outcome, Registry, RunReport, Scope, Transform,
};
use statline_platform::{DirNode, Kind as EntryKind, Metadata};

use super::*;
use crate::fixtures::{Given, Place, path_of, problems, time, tree_records};
use crate::{DirectoryEnd, DirectoryStatus, Filter, FilterConfig, Rows, Sort, SortConfig};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: EntryKind,
    size: u64,
    seconds: i64,
    mode: Option<u32>,
    target: Option<Vec<u8>>,
}

/// Entries by place.
type Tree = BTreeMap<Place, Entry>;

/// A side as a scan saw it.
#[derive(Clone, Debug)]
struct Scan {
    root: &'static str,
    tree: Tree,
    unread: Vec<(Place, Scope)>,
}

impl Scan {
    fn covers(&self, place: &Place) -> bool {
        self.unread.iter().any(|(unread, scope)| match scope {
            Scope::Entry => unread == place,
            Scope::Subtree => place.starts_with(unread),
        })
    }

    fn rows(&self) -> RecordBatch {
        let entries = self.tree.iter().map(|(place, entry)| {
            let mut metadata = Metadata::with_kind(entry.kind);
            metadata
                .set_size(entry.size)
                .set_modified(time(entry.seconds, 0));
            entry.mode.map(|mode| metadata.set_mode(mode));
            (place, metadata, entry.target.as_deref())
        });
        tree_records(self.root, entries)
    }

    /// As a stage sends it: in batches of a few rows.
    fn given(&self, rows: usize) -> Given<RecordBatch> {
        let whole = self.rows();
        let mut batches = vec![RecordBatch::default()];
        for row in whole.rows() {
            if batches.last().unwrap().len() == rows {
                batches.push(RecordBatch::default());
            }
            batches.last_mut().unwrap().push_row(&row);
        }
        let errors = self.unread.iter().map(|(place, scope)| {
            ErrorRecord::new("open", path_of(self.root, place), "EACCES", "no", *scope)
        });
        Given::all(batches)
            .ordered_by("path")
            .with_errors(errors.collect())
    }
}

/// A difference as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    change: Change,
    path: Vec<u8>,
    differs: FieldSet,
    former_size: Option<u64>,
}

fn run(old: &Scan, new: &Scan, rows: usize, config: DiffConfig) -> (Vec<Told>, RunReport) {
    let mut builder = Builder::new("test");
    let [old, new] = [("a", old), ("b", new)]
        .map(|(name, scan)| builder.stage(name, scan.given(rows), ()).done());
    let diff = builder
        .stage("diff", Diff, config)
        .reads_on(OLD, &old)
        .reads_on(NEW, &new)
        .done();
    let sink = Collected::new();
    let _ = builder.sink("out", sink.clone()).reads(&diff);
    let report = builder.build().unwrap().run();
    let batches: Vec<RecordBatch> = sink.items();
    let told = batches.iter().flat_map(Rows::rows).map(|row| Told {
        change: row.change.unwrap(),
        path: row.path_bytes(),
        differs: row.former.differs,
        former_size: row.former.size,
    });
    (told.collect(), report)
}

/// The same by looking up every place on both sides.
fn expected(old: &Scan, new: &Scan) -> Vec<Told> {
    let places: BTreeSet<&Place> = old.tree.keys().chain(new.tree.keys()).collect();
    let lone = |change, scan: &Scan, place| Told {
        change,
        path: path_of(scan.root, place),
        differs: FieldSet::EMPTY,
        former_size: None,
    };
    let told = places.into_iter().filter_map(|place| {
        Some(match (old.tree.get(place), new.tree.get(place)) {
            (Some(_), None) if new.covers(place) => lone(Change::Unknown, old, place),
            (Some(_), None) => lone(Change::Removed, old, place),
            (None, Some(_)) if old.covers(place) => lone(Change::Unknown, new, place),
            (None, Some(_)) => lone(Change::Added, new, place),
            (before, now) => {
                let (before, now) = (before?, now?);
                let directories =
                    [before, now].map(|entry| entry.kind) == [EntryKind::Directory; 2];
                let mut differs = FieldSet::EMPTY;
                let mut note = |field, differ: bool| {
                    if differ {
                        differs.insert(field);
                    }
                };
                note(Field::Kind, before.kind != now.kind);
                note(Field::Size, before.size != now.size && !directories);
                note(Field::Mtime, before.seconds != now.seconds && !directories);
                note(
                    Field::Mode,
                    before.mode.zip(now.mode).is_some_and(|(a, b)| a != b),
                );
                let targets = before.target.as_ref().zip(now.target.as_ref());
                note(Field::Target, targets.is_some_and(|(a, b)| a != b));
                if differs.is_empty() {
                    return None;
                }
                Told {
                    change: Change::Changed,
                    path: path_of(new.root, place),
                    differs,
                    former_size: Some(before.size),
                }
            }
        })
    });
    told.collect()
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop::sample::select(vec![
        EntryKind::File,
        EntryKind::Directory,
        EntryKind::Symlink,
    ]);
    let mode = prop::option::weighted(0.8, 0o600..0o602_u32);
    (kind, 0..3_u64, 0..2_i64, mode, 0..2_u8).prop_map(|(kind, size, seconds, mode, target)| {
        Entry {
            kind,
            size,
            seconds,
            mode,
            target: (kind == EntryKind::Symlink).then(|| vec![b'a' + target]),
        }
    })
}

/// Few names, of few and tricky bytes; `.` sorts before `/`.
fn place() -> impl Strategy<Value = Place> {
    let component = prop::collection::vec(prop::sample::select(b"a.\xff".to_vec()), 1..3);
    prop::collection::vec(component, 0..4)
}

/// A scan of a tree, of which it has not seen all.
fn scan(root: &'static str, whole: Tree, unread: Vec<(Place, bool)>) -> Scan {
    let unread: Vec<(Place, Scope)> = unread
        .into_iter()
        .map(|(place, below)| (place, if below { Scope::Subtree } else { Scope::Entry }))
        .collect();
    let mut scan = Scan {
        root,
        tree: Tree::new(),
        unread,
    };
    // A directory that could not be read has its row; an entry that could not be asked for has none.
    let unseen = |place: &Place| {
        scan.unread.iter().any(|(unread, scope)| match scope {
            Scope::Entry => unread == place,
            Scope::Subtree => place.len() > unread.len() && place.starts_with(unread),
        })
    };
    let seen = whole.into_iter().filter(|(place, _)| !unseen(place));
    scan.tree = seen.collect();
    scan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn what_is_told_is_what_an_oracle_finds(
        both in prop::collection::btree_map(place(), entry(), 0..12),
        old in prop::collection::btree_map(place(), entry(), 0..6),
        new in prop::collection::btree_map(place(), entry(), 0..6),
        unread in [prop::collection::vec((place(), any::<bool>()), 0..2), prop::collection::vec((place(), any::<bool>()), 0..2)],
        roots in prop::sample::select(vec![("r", "r"), ("old", "n/ew"), ("/", "./"), ("", "x/")]),
        rows in 1..5_usize,
    ) {
        let [unread_old, unread_new] = unread;
        let whole = |more: Tree| both.clone().into_iter().chain(more).collect();
        let old = scan(roots.0, whole(old), unread_old);
        let new = scan(roots.1, whole(new), unread_new);
        // Without any row there is no path to tell the root by, and all is uncertain: see the test below.
        prop_assume!(!old.tree.is_empty() && !new.tree.is_empty());
        let (told, report) = run(&old, &new, rows, DiffConfig::default());
        let complete = old.unread.is_empty() && new.unread.is_empty();
        prop_assert_eq!(report.outcome == Outcome::Complete, complete, "{:?}", report.cause);
        prop_assert_eq!(told, expected(&old, &new));
    }
}

fn tree(places: &[&str]) -> Tree {
    let file = |place: &&str| {
        let components = place.split('/').filter(|component| !component.is_empty());
        let place = components.map(|component| component.as_bytes().to_vec());
        let entry = Entry {
            kind: EntryKind::File,
            size: 1,
            seconds: 0,
            mode: None,
            target: None,
        };
        (place.collect(), entry)
    };
    places.iter().map(file).collect()
}

fn plain(places: &[&str]) -> Scan {
    scan("r", tree(places), Vec::new())
}

#[test]
fn where_nothing_at_all_was_seen_nothing_is_removed() {
    let old = plain(&["", "a", "b/c"]);
    let nothing = scan("elsewhere", Tree::new(), vec![(Vec::new(), true)]);
    let (told, _) = run(&old, &nothing, 2, DiffConfig::default());
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|told| told.change == Change::Unknown));
    let (told, _) = run(
        &old,
        &scan("r", Tree::new(), Vec::new()),
        2,
        DiffConfig::default(),
    );
    assert!(told.iter().all(|told| told.change == Change::Removed));
}

#[test]
fn only_the_named_fields_are_compared_and_those_of_directories_too() {
    let changed = |kind| {
        let mut scans = [plain(&["", "a"]), plain(&["", "a"])];
        for (scan, seconds) in scans.iter_mut().zip([0, 1]) {
            for entry in scan.tree.values_mut() {
                entry.kind = kind;
                entry.seconds = seconds;
            }
        }
        scans
    };
    for (kind, fields, differ) in [
        (EntryKind::File, None, true),
        (EntryKind::Directory, None, false),
        (EntryKind::Directory, Some(vec![Field::Mtime]), true),
        (EntryKind::File, Some(vec![Field::Size]), false),
        (EntryKind::File, Some(vec![]), false),
    ] {
        let [old, new] = changed(kind);
        let config = DiffConfig {
            fields: fields.clone(),
            ..DiffConfig::default()
        };
        let (told, report) = run(&old, &new, 1, config);
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        assert_eq!(
            told.len(),
            if differ { 2 } else { 0 },
            "{kind:?} {fields:?}"
        );
    }
}

#[test]
fn a_named_field_that_no_entry_has_fails_the_run() {
    let config = DiffConfig {
        fields: Some(vec![Field::Size, Field::Uid]),
        ..DiffConfig::default()
    };
    let (_, report) = run(&plain(&["a"]), &plain(&["a"]), 1, config);
    assert_eq!(report.outcome, Outcome::Failed);
    let cause = report.cause.unwrap();
    assert!(
        cause.contains("no entry has a \"uid\" on both sides"),
        "{cause}"
    );
}

#[test]
fn rows_out_of_order_fail_the_run_and_second_ones_do_not_count() {
    let mut wrong = RecordBatch::default();
    let rows = plain(&["a", "b"]).rows();
    [1, 0]
        .into_iter()
        .for_each(|row| wrong.push_row(&rows.row(row)));
    let mut twice = RecordBatch::default();
    [0, 0, 1]
        .into_iter()
        .for_each(|row| twice.push_row(&rows.row(row)));
    for (given, outcome) in [(wrong, Outcome::Failed), (twice, Outcome::Complete)] {
        let mut builder = Builder::new("test");
        let given = Given::new(given).ordered_by("path");
        let old = builder.stage("a", given, ()).done();
        let new = builder.stage("b", plain(&["a", "b"]).given(9), ()).done();
        let diff = builder.stage("diff", Diff, DiffConfig::default());
        let diff = diff.reads_on(OLD, &old).reads_on(NEW, &new).done();
        let sink = Collected::<RecordBatch>::new();
        let _ = builder.sink("out", sink.clone()).reads(&diff);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, outcome, "{:?}", report.cause);
        assert!(sink.items().is_empty());
    }
}

#[test]
fn a_directory_that_turns_out_unread_too_late_fails_the_run() {
    let mut late = plain(&["", "a"]).rows();
    late.push_end(DirectoryEnd {
        directory: DirNode::root(Path::new("r")),
        entries: 1,
        directories: 0,
        status: DirectoryStatus::Failed,
    });
    let mut builder = Builder::new("test");
    let old = builder
        .stage("a", plain(&["", "a", "b"]).given(9), ())
        .done();
    let new = builder
        .stage("b", Given::new(late).ordered_by("path"), ())
        .done();
    let diff = builder.stage("diff", Diff, DiffConfig::default());
    let diff = diff.reads_on(OLD, &old).reads_on(NEW, &new).done();
    let _ = builder
        .sink("out", Collected::<RecordBatch>::new())
        .reads(&diff);
    let report = builder.build().unwrap().run();
    let cause = report.cause.unwrap();
    assert!(
        cause.contains("r was not read whole, and the rows of the input \"new\""),
        "{cause}"
    );
}

#[test]
fn sides_that_left_out_different_things_are_refused_unless_that_is_allowed() {
    for (filters, allow, outcome, change) in [
        ([None, Some("a*")], false, Outcome::Failed, None),
        (
            [None, Some("a*")],
            true,
            Outcome::Complete,
            Some(Change::Unknown),
        ),
        (
            [Some("a*"), Some("a*")],
            false,
            Outcome::Complete,
            Some(Change::Removed),
        ),
    ] {
        let mut builder = Builder::new("test");
        let mut sides = Vec::new();
        for (name, places, filter) in [
            ("a", &["a1", "a2", "b"][..], filters[0]),
            ("b", &["a1"][..], filters[1]),
        ] {
            let mut side = builder.stage(name, plain(places).given(9), ()).done();
            if let Some(pattern) = filter {
                let config = FilterConfig {
                    name: vec![pattern.to_owned()],
                    ..FilterConfig::default()
                };
                let filter = builder.stage(&format!("{name}_few"), Filter, config);
                side = filter.reads(&side).threads(1).done();
            }
            let sort = builder.stage(&format!("{name}_ordered"), Sort, SortConfig::default());
            sides.push(sort.reads(&side).done());
        }
        let config = DiffConfig {
            allow_incomplete: allow,
            ..DiffConfig::default()
        };
        let diff = builder.stage("diff", Diff, config);
        let diff = diff.reads_on(OLD, &sides[0]).reads_on(NEW, &sides[1]);
        let diff = diff.done();
        let sink = Collected::<RecordBatch>::new();
        let _ = builder.sink("out", sink.clone()).reads(&diff);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, outcome, "{:?}", report.cause);
        let cause = report.cause.unwrap_or_default();
        assert_eq!(
            cause.contains("left out different things: old nothing, and new"),
            outcome == Outcome::Failed,
            "{cause}"
        );
        let items = sink.items();
        let first = items.first().map(|batch| batch.row(0).change.unwrap());
        assert_eq!(first, change);
    }
}

#[test]
fn what_cannot_be_compared_is_refused_before_the_run() {
    let mut builder = Builder::new("test");
    let given = || Given::new(plain(&["a"]).rows()).fields(&["kind", "size"]);
    let old = builder.stage("a", given(), ()).done();
    let new = builder.stage("b", given().ordered_by("path"), ()).done();
    let config = DiffConfig {
        fields: Some(vec![Field::Size, Field::Mtime, Field::Path, Field::Size]),
        ..DiffConfig::default()
    };
    let diff = builder.stage("diff", Diff, config);
    let diff = diff.reads_on(OLD, &old).reads_on(NEW, &new).done();
    let _ = builder
        .sink("out", Collected::<RecordBatch>::new())
        .reads(&diff);
    let found: Vec<_> = problems(builder)
        .into_iter()
        .map(|(location, message, _)| format!("{location}: {message}"))
        .collect();
    assert_eq!(
        found,
        [
            "stages.diff.inputs.old: needs its input \"old\" ordered by path, but nothing orders it",
            "stages.diff.fields[1]: the records of the input \"old\" have no \"mtime\"",
            "stages.diff.fields[1]: the records of the input \"new\" have no \"mtime\"",
            "stages.diff.fields[2]: \"path\" does not tell whether an entry differs",
            "stages.diff.fields[3]: \"size\" is listed twice",
        ]
    );
}

/// Passes rows on and reports an error of each, as a stage does that cannot read contents.
struct Complain;

#[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct NoOptions {}

impl Transform for Complain {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        for row in batch.rows() {
            let path = row.path_bytes();
            let error = ErrorRecord::new("read", path, "EACCES", "no", Scope::Entry);
            out.errors().report(error)?;
        }
        out.send(batch)
    }
}

#[test]
fn what_happens_to_rows_behind_the_sort_does_not_make_them_missing() {
    let home = tempfile::tempdir().unwrap();
    for file in ["a/x", "a/y", "b/x"] {
        let file = home.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    let mut text = String::new();
    for side in ["a", "b"] {
        let root = home.path().join(side);
        text.push_str(&format!(
            "[stages.{side}w]\ntype = \"enumerate\"\nroots = [{root:?}]\n\
             [stages.{side}m]\ntype = \"stat\"\ninputs = [\"{side}w\"]\n\
             [stages.{side}s]\ntype = \"sort\"\ninputs = [\"{side}m\"]\n\
             [stages.{side}]\ntype = \"complain\"\ninputs = [\"{side}s\"]\n"
        ));
    }
    text.push_str("[stages.diff]\ntype = \"diff\"\ninputs = { old = \"a\", new = \"b\" }\nallow_incomplete = false\n");
    text.push_str("fields = [\"size\"]\n[stages.out]\ntype = \"null\"\ninputs = [\"diff\"]\n");
    let mut registry = Registry::new();
    crate::register(&mut registry);
    registry.transform("complain", |_: NoOptions| Ok(Complain));
    let job = Job::parse(&registry, "job.toml", &text, &|_| None, &[]);
    let report = job.unwrap_or_else(|problems| panic!("{problems}")).run();
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.cause);
    let counters = &report.stage("diff").unwrap().counters;
    assert_eq!((counters["removed"], counters["unknown"]), (1, 0));
}
