//! A cache on disk over a real tree that changes between runs, against a model of what it must say.
//!
//! The model knows the tree by asking the system itself, and remembers what was delivered in a map. Times are set to
//! moments long ago, each another, so that two seconds more or less play no part; `judge.rs` tests those.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, Errors, Outcome, RunReport, Sink, StageError};

use super::*;
use crate::fixtures::{Given, child, file, records, root, time};
use crate::{
    Batch, BatchConfig, DirectoryEnd, DirectoryStatus, EntryBatch, Enumerate, EnumerateConfig,
    Filter, FilterConfig, Rows, Stat, StatConfig,
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

/// Size, mtime, inode: what the job compares; and whether it is a directory.
type Seen = (u64, i64, u64, bool);

fn look(path: &Path) -> Option<Seen> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.size(), found.mtime(), found.ino(), found.is_dir()))
}

/// A tree, its store, and what the model remembers.
struct World {
    place: tempfile::TempDir,
    /// Seconds; goes up with each change.
    clock: u64,
    remembered: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        directory: prop::sample::Index,
        name: &'static str,
        size: usize,
    },
    MakeDirectory {
        directory: prop::sample::Index,
        name: &'static str,
    },
    Remove(prop::sample::Index),
    Rename {
        entry: prop::sample::Index,
        directory: prop::sample::Index,
        name: &'static str,
    },
    Touch(prop::sample::Index),
    Chmod(prop::sample::Index, u32),
}

impl World {
    fn new() -> World {
        let mut world = World {
            place: tempfile::tempdir().unwrap(),
            clock: 1_000_000_000,
            remembered: BTreeMap::new(),
        };
        fs::create_dir(world.root()).unwrap();
        world.date("");
        world
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("tree")
    }

    fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// All paths below the root, and those of directories with the root.
    fn paths(&self) -> (Vec<String>, Vec<String>) {
        let (mut all, mut directories, mut next) = (Vec::new(), vec![String::new()], 0);
        while next < directories.len() {
            let directory = directories[next].clone();
            next += 1;
            let mut names: Vec<String> = fs::read_dir(self.root().join(&directory))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            for name in names {
                let path = join(&directory, &name);
                if self.root().join(&path).is_dir() {
                    directories.push(path.clone());
                }
                all.push(path);
            }
        }
        (all, directories)
    }

    /// Gives a path, and the directory it is in, times of their own.
    fn date(&mut self, path: &str) {
        for path in [path, parent(path)] {
            self.clock += 10;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock);
            if let Ok(file) = fs::File::open(self.root().join(path)) {
                file.set_modified(time).unwrap();
            }
        }
    }

    fn remove(&mut self, path: &str) {
        let place = self.root().join(path);
        match place.is_dir() {
            true => fs::remove_dir_all(place).unwrap(),
            false => _ = fs::remove_file(place),
        }
        self.date(path);
    }

    fn apply(&mut self, change: &Step) {
        let (all, directories) = self.paths();
        let pick = |index: &prop::sample::Index| (!all.is_empty()).then(|| index.get(&all).clone());
        match change {
            Step::Write {
                directory,
                name,
                size,
            } => {
                let path = join(directory.get::<String>(&directories), name);
                if self.root().join(&path).is_dir() {
                    self.remove(&path);
                }
                fs::write(self.root().join(&path), vec![b'x'; *size]).unwrap();
                self.date(&path);
            }
            Step::MakeDirectory { directory, name } => {
                let path = join(directory.get::<String>(&directories), name);
                if path.matches('/').count() < 4 && !self.root().join(&path).is_dir() {
                    self.remove(&path);
                    fs::create_dir(self.root().join(&path)).unwrap();
                    self.date(&path);
                }
            }
            Step::Remove(entry) => {
                if let Some(path) = pick(entry) {
                    self.remove(&path);
                }
            }
            Step::Rename {
                entry,
                directory,
                name,
            } => {
                let Some(from) = pick(entry) else { return };
                let to = join(directory.get::<String>(&directories), name);
                let inside = format!("{to}/").starts_with(&format!("{from}/"));
                let around = format!("{from}/").starts_with(&format!("{to}/"));
                if !inside && !around && to.matches('/').count() < 4 {
                    self.remove(&to);
                    fs::rename(self.root().join(&from), self.root().join(&to)).unwrap();
                    self.date(&to);
                    self.date(&from);
                }
            }
            Step::Touch(entry) => {
                if let Some(path) = pick(entry) {
                    self.date(&path);
                }
            }
            Step::Chmod(entry, mode) => {
                if let Some(path) = pick(entry) {
                    let mode = fs::Permissions::from_mode(0o700 | mode);
                    fs::set_permissions(self.root().join(path), mode).unwrap();
                }
            }
        }
    }

    /// Makes a run and compares what it says with the model.
    fn scan(&mut self, plan: &Plan) -> Result<(), TestCaseError> {
        let said = run(&self.root(), &self.store(), plan);
        prop_assert_eq!(
            said.report.outcome == Outcome::Failed,
            plan.fails,
            "{:?}",
            said.report.cause
        );
        let mut remembered = self.remembered.clone();
        for (path, mark) in &said.marks {
            let now = look(&self.root().join(path)).unwrap();
            let expected = match self.remembered.get(path) {
                None => Change::New,
                Some(before) if (before.0, before.1, before.2) == (now.0, now.1, now.2) => {
                    Change::Unchanged
                }
                Some(_) => Change::Changed,
            };
            prop_assert_eq!(*mark, expected, "{}", path);
            remembered.insert(path.clone(), now);
        }
        if plan.fails {
            // The other sink may have been stopped on its way, and nothing was delivered.
            return Ok(());
        }
        let is_gone = |(path, _): &(&String, &Seen)| self.is_gone(path, plan, &said);
        let gone: BTreeSet<String> = self
            .remembered
            .iter()
            .filter(is_gone)
            .map(|(path, _)| path.clone())
            .collect();
        prop_assert_eq!(&said.deleted, &gone);
        let counters = &said.report.stage("known").unwrap().counters;
        prop_assert_eq!(counters["deleted"], gone.len() as u64);
        remembered.retain(|path, _| !gone.contains(path));
        self.remembered = remembered;
        Ok(())
    }

    /// Whether a run must find out that what is remembered at a path is gone.
    fn is_gone(&self, path: &str, plan: &Plan, said: &Said) -> bool {
        if path.is_empty() {
            return false;
        }
        // The first component that is not there, or is no directory though there is more.
        let mut above = "";
        for component in path.split('/') {
            let here = join(above, component);
            let found = look(&self.root().join(&here));
            match found {
                // In place of a file there is a directory that the patterns leave out; the file is gone.
                Some((.., true)) if here == path => {
                    let excluded = |directory| is_excluded(path, directory, &plan.exclude);
                    return !self.remembered[path].3
                        && excluded(true)
                        && !excluded(false)
                        && self.was_read_whole(above, plan, said);
                }
                Some((.., true)) => {}
                // It is something else now: that was seen, or was not.
                Some(_) if here != path => {
                    let was_directory = self.remembered.get(&here).is_some_and(|seen| seen.3);
                    return was_directory && said.marks.contains_key(&here);
                }
                Some(_) => return false,
                None => {
                    let was_directory = self.remembered.get(&here).is_none_or(|seen| seen.3);
                    // Nobody knows of what is below something that was never remembered as a directory, because a
                    // filter kept its record away.
                    let known = self.remembered.get(&here);
                    let is_known = known.is_some_and(|seen| seen.3 || here == path);
                    return is_known
                        && self.was_read_whole(above, plan, said)
                        && !is_excluded(&here, was_directory, &plan.exclude);
                }
            }
            let length = here.len();
            above = &path[..length];
        }
        false
    }

    fn was_read_whole(&self, directory: &str, plan: &Plan, said: &Said) -> bool {
        let drops = plan.filters && {
            let dropped = join(directory, FILTERED);
            let found = look(&self.root().join(&dropped));
            found.is_some_and(|seen| !is_excluded(&dropped, seen.3, &plan.exclude))
        };
        said.ends.get(directory) == Some(&DirectoryStatus::Complete) && !drops
    }
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

const PATTERNS: [&str; 3] = ["*.o", "b/", "a/c*"];

/// What the patterns above mean, in other words.
fn is_excluded(path: &str, is_directory: bool, patterns: &[String]) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    patterns.iter().any(|pattern| match pattern.as_str() {
        "*.o" => name.ends_with(".o"),
        "b/" => name == "b" && is_directory,
        _ => path.starts_with("a/c") && path.matches('/').count() == 1,
    })
}

fn change() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let name = || prop::sample::select(vec!["a", "b", "c", "ca", FILTERED, "y.o"]);
    prop_oneof![
        4 => (index(), name(), 0..9_usize)
            .prop_map(|(directory, name, size)| Step::Write { directory, name, size }),
        3 => (index(), name()).prop_map(|(directory, name)| Step::MakeDirectory { directory, name }),
        1 => index().prop_map(Step::Remove),
        2 => (index(), index(), name())
            .prop_map(|(entry, directory, name)| Step::Rename { entry, directory, name }),
        2 => index().prop_map(Step::Touch),
        1 => (index(), 0..0o77_u32).prop_map(|(entry, mode)| Step::Chmod(entry, mode)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let exclude = prop::collection::vec(any::<bool>(), PATTERNS.len());
    (
        prop_oneof![2 => Just(vec![false; 3]), 1 => exclude],
        prop_oneof![4 => Just(None), 1 => (1..3_u32).prop_map(Some)],
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        1..3_usize,
        1..9_usize,
        prop::sample::select(vec![0, 300, disk::MOST_WAITING]),
    )
        .prop_map(
            |(exclude, max_depth, filters, fails, threads, rows, waiting)| Plan {
                exclude: PATTERNS
                    .iter()
                    .zip(exclude)
                    .filter(|(_, chosen)| *chosen)
                    .map(|(pattern, _)| (*pattern).to_owned())
                    .collect(),
                max_depth,
                filters,
                fails,
                threads,
                rows_in_a_batch: rows,
                most_waiting: waiting,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_run_tells_what_has_changed_since_the_last_that_delivered(
        runs in prop::collection::vec((prop::collection::vec(change(), 0..12), plan()), 1..7),
    ) {
        let mut world = World::new();
        for (changes, plan) in &runs {
            for change in changes {
                world.apply(change);
            }
            world.scan(plan)?;
        }
        // What is not there any more is told in the end, and then nothing more.
        let plain = Plan { threads: 2, rows_in_a_batch: 5, most_waiting: disk::MOST_WAITING, ..Plan::default() };
        world.scan(&plain)?;
        let said = run(&world.root(), &world.store(), &plain);
        prop_assert!(said.marks.values().all(|mark| *mark == Change::Unchanged), "{:?}", said.marks);
        prop_assert_eq!(said.report.stage("known").unwrap().counters["directories_written"], 0);
    }
}

#[test]
fn options_that_make_no_sense_together_are_problems() {
    let problem = |config: CacheConfig| {
        let mut job = Builder::new("test");
        let stat = job.stage("stat", Given::new(records(&[b"a"])), ()).done();
        let known = job
            .stage("known", Cache::default(), config)
            .reads(&stat)
            .done();
        let _ = job
            .sink("out", Collected::<RecordBatch>::new())
            .reads(&known);
        let found = crate::fixtures::problems(job);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2.is_some(), "{found:?}");
        found[0].0.clone()
    };
    let plain = CacheConfig::default;
    let on_disk = || CacheConfig {
        path: Some("/nowhere/store".into()),
        ..plain()
    };
    assert_eq!(
        problem(CacheConfig {
            deleted: true,
            ..plain()
        }),
        "stages.known.deleted"
    );
    let id = Some(RootIds::One("a".to_owned()));
    assert_eq!(problem(CacheConfig { id, ..plain() }), "stages.known.id");
    let max_entries = std::num::NonZeroUsize::new(9);
    assert_eq!(
        problem(CacheConfig {
            max_entries,
            ..on_disk()
        }),
        "stages.known.max_entries"
    );
}

#[test]
fn deleted_records_come_in_no_order() {
    let problems = |deleted: bool| {
        let mut job = Builder::new("test");
        let source = Given::new(records(&[b"a"])).ordered_by("path");
        let stat = job.stage("stat", source, ()).done();
        let config = CacheConfig {
            path: Some("/nowhere/store".into()),
            deleted,
            ..CacheConfig::default()
        };
        let known = job
            .stage("known", Cache::default(), config)
            .reads(&stat)
            .done();
        let _ = job.stage("out", NeedsOrder, ()).reads(&known);
        job.build()
            .err()
            .map(|problems| problems.iter().next().unwrap().message.clone())
    };
    assert_eq!(problems(false), None);
    let told = problems(true).unwrap();
    assert!(
        told.contains("a cache that tells what was deleted adds records out of order"),
        "{told}"
    );
}

/// A stage that wants its input in the order of paths.
struct NeedsOrder;

impl Kind for NeedsOrder {
    type Config = ();
    type Ports = InputPort<RecordBatch>;

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.needs_order(DEFAULT_INPUT, &["path"]);
        ports.input(DEFAULT_INPUT)
    }

    fn open(&self, (): (), _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        Err(StageError::failed("it is never opened"))
    }
}

fn marks_of(roots: &[&Path], store: &Path, id: Option<RootIds>) -> (Vec<Change>, RunReport) {
    let known = CacheConfig {
        path: Some(store.to_owned()),
        id,
        signature: vec![Field::Size, Field::Mtime],
        ..CacheConfig::default()
    };
    let stat = StatConfig {
        fields: toml_fields(&["kind", "size", "mtime"]),
        ..StatConfig::default()
    };
    let out = Collected::<RecordBatch>::new();
    let mut job = Builder::new("roots");
    let walk = EnumerateConfig::new(roots.iter().copied());
    let walk = job.stage("walk", Enumerate, walk).done();
    let meta = job.stage("meta", Stat, stat).reads(&walk).done();
    let known = job
        .stage("known", Cache::default(), known)
        .reads(&meta)
        .done();
    let _ = job.sink("out", out.clone()).reads(&known);
    let report = job.build().unwrap().run();
    let batches = out.items();
    let marks = batches
        .iter()
        .flat_map(Rows::rows)
        .map(|row| row.change.unwrap());
    (marks.collect(), report)
}

#[test]
fn a_root_is_known_by_its_id_wherever_it_is() {
    let mut world = World::new();
    fs::write(world.root().join("a"), "x").unwrap();
    world.date("a");
    let moved = world.place.path().join("elsewhere");
    let one = |id: &str| Some(RootIds::One(id.to_owned()));
    let store = world.store();
    assert_eq!(
        marks_of(&[&world.root()], &store, one("archive")).0,
        [Change::New; 2]
    );
    fs::rename(world.root(), &moved).unwrap();
    assert_eq!(
        marks_of(&[&moved], &store, one("archive")).0,
        [Change::Unchanged; 2]
    );
    assert_eq!(
        marks_of(&[&moved], &store, one("another")).0,
        [Change::New; 2]
    );
    assert_eq!(marks_of(&[&moved], &store, None).0, [Change::New; 2]);
    // By its path it is known however that is written.
    let written = moved.join(".").join("");
    assert_eq!(
        marks_of(&[&written], &store, None).0,
        [Change::Unchanged; 2]
    );
    let each = RootIds::Each([(moved.clone(), "archive".to_owned())].into());
    assert_eq!(
        marks_of(&[&moved], &store, Some(each)).0,
        [Change::Unchanged; 2]
    );
}

#[test]
fn two_roots_cannot_have_one_id() {
    let place = tempfile::tempdir().unwrap();
    let roots = ["a", "b"].map(|name| place.path().join(name));
    roots.iter().for_each(|root| fs::create_dir(root).unwrap());
    let roots = [roots[0].as_path(), roots[1].as_path()];
    let store = place.path().join("store");
    let (_, report) = marks_of(&roots, &store, Some(RootIds::One("x".to_owned())));
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.cause.unwrap().contains("have the same id"));
    assert_eq!(marks_of(&roots, &store, None).1.outcome, Outcome::Complete);
}

#[test]
fn a_deep_tree_that_is_gone_is_told_without_recursion() {
    let place = tempfile::tempdir().unwrap();
    let (root, store) = (place.path().join("tree"), place.path().join("store"));
    // Deep enough that paths are kept by their digests from some level on.
    let deep = (0..40).fold(root.join("top"), |path, level| {
        path.join(format!("a rather long name {level}"))
    });
    fs::create_dir_all(&deep).unwrap();
    let plan = Plan {
        threads: 1,
        rows_in_a_batch: 9,
        most_waiting: disk::MOST_WAITING,
        ..Plan::default()
    };
    assert_eq!(run(&root, &store, &plan).marks.len(), 42);
    fs::remove_dir_all(root.join("top")).unwrap();
    assert_eq!(run(&root, &store, &plan).deleted.len(), 41);
    assert_eq!(run(&root, &store, &plan).deleted.len(), 0);
    let info = crate::StoreInfo::of(&store).unwrap();
    assert_eq!(
        (info.directories, info.entries),
        (1, 1),
        "but the root nothing is left"
    );
}

/// A batch of files in a directory, and how that directory ends, if it does in this batch.
fn files(
    directory: &Arc<statline_platform::DirNode>,
    names: &[&str],
    end: Option<(u64, DirectoryStatus)>,
) -> RecordBatch {
    let mut entries = EntryBatch::default();
    for name in names {
        entries.extend(directory, |entries| entries.push(name.as_bytes(), None, 0));
    }
    if let Some((entries_of_it, status)) = end {
        entries.push_end(DirectoryEnd {
            directory: Arc::clone(directory),
            entries: entries_of_it,
            directories: 0,
            status,
        });
    }
    let old = file(|metadata| _ = metadata.set_size(1).set_modified(time(1, 0)));
    RecordBatch::new(entries, vec![old; names.len()])
}

/// What a run over these batches tells as deleted.
fn deleted(store: &Path, batches: Vec<RecordBatch>) -> Vec<String> {
    let config = CacheConfig {
        path: Some(store.to_owned()),
        deleted: true,
        signature: vec![Field::Size, Field::Mtime],
        ..CacheConfig::default()
    };
    let out = Collected::<RecordBatch>::new();
    let mut job = Builder::new("test");
    let stat = job.stage("stat", Given::all(batches), ()).done();
    let known = job
        .stage("known", Cache::default(), config)
        .reads(&stat)
        .done();
    let _ = job.sink("out", out.clone()).reads(&known);
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let batches = out.items();
    let rows = batches.iter().flat_map(Rows::rows);
    let gone = rows.filter(|row| row.change == Some(Change::Deleted));
    gone.map(|row| String::from_utf8(row.path_bytes()).unwrap())
        .collect()
}

#[test]
fn only_a_directory_that_was_read_whole_shows_what_is_gone() {
    use DirectoryStatus::{Complete, Excluded, Failed, Vanished};
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let none: [&str; 0] = [];
    let directory = child(&root("r"), b"d");
    let files = |names: &[&str], end| files(&directory, names, end);
    assert_eq!(
        deleted(&store, vec![files(&["a", "b", "c"], Some((3, Complete)))]),
        none
    );
    for batches in [
        vec![files(&["a"], Some((1, Failed)))],
        vec![files(&[], Some((0, Failed)))],
        vec![files(&[], Some((0, Excluded)))],
        vec![files(&[], Some((0, Vanished)))],
        // One of three came to nothing on its way, or the end never came.
        vec![files(&["a", "c"], Some((3, Complete)))],
        vec![files(&["a", "c"], None)],
    ] {
        assert_eq!(deleted(&store, batches), none);
    }
    // The end may come before what it counts.
    let early = vec![files(&["a"], Some((2, Complete))), files(&["c"], None)];
    assert_eq!(deleted(&store, early), ["r/d/b"]);
    assert_eq!(
        deleted(&store, vec![files(&[], Some((0, Complete)))]),
        ["r/d/a", "r/d/c"]
    );
    assert_eq!(deleted(&store, vec![files(&[], Some((0, Complete)))]), none);
}
