//! `growth`: by how many bytes directories have grown between two scans.
//!
//! Differences come in the order of their paths below the roots, so a directory is summed up while the rows below it pass.
//! What is held is the directories on the way to the current row, and the most grown ones so far. One thing must stay true:
//! a directory's sum is that of all differences below it, each counted once.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, DEFAULT_INPUT, Declare, Errors, InputPort, Kind, Opening, PublishOrder, Sink,
    StageError, Verdict,
};
use statline_platform::{
    DirNode, Kind as EntryKind, NameBuf, compare_paths, compare_relative_paths,
};

use crate::encode::text_or_base64;
use crate::field::{come_as_records, need};
use crate::roots::ROOTS;
use crate::{Change, Field, RecordBatch, Row, Rows};

/// Options of `growth`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrowthConfig {
    /// How many directories to tell, those that have grown most.
    pub top: NonZeroU32,
}

impl Default for GrowthConfig {
    fn default() -> GrowthConfig {
        GrowthConfig {
            top: NonZeroU32::MIN.saturating_add(19),
        }
    }
}

/// What a `growth` stage found out: its result in the run's report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Growth {
    /// The directories that have grown most, the most grown one first.
    pub directories: Vec<DirectoryGrowth>,
    /// The differences of which it is not known what they mean: they are in no sum.
    pub unknown: u64,
}

/// By how much one directory has grown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DirectoryGrowth {
    /// Its path below the root, `.` for the root itself, if that is UTF-8. Where a scan has several roots, the whole path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// The same in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_b64: Option<String>,
    /// By how many bytes what is below it has grown; negative if it has shrunk. Sizes are apparent, those of directories
    /// do not count, and a file with several names counts once for each.
    pub bytes: i64,
    /// Of these, by how many what lies in it itself has grown.
    pub own_bytes: i64,
    /// How many more entries there are below it.
    pub entries: i64,
}

/// The kind `growth`: takes the differences that `diff` sends and adds up the bytes for each directory.
///
/// Its memory does not depend on how many there are. Renamed files would have to be taken out somewhere else than where
/// they come in, so it stands right behind `diff`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrowthOf;

impl Kind for GrowthOf {
    type Config = GrowthConfig;
    type Ports = InputPort<RecordBatch>;

    fn about(&self) -> &'static str {
        "adds up by how much directories have grown between two scans"
    }

    fn declare(&self, _: Option<&GrowthConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if come_as_records(ports) {
            need(ports, "", Field::Size);
            need(ports, "", Field::Change);
        }
        ports.input(DEFAULT_INPUT)
    }

    fn open(
        &self,
        config: GrowthConfig,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        let sums = Sums::new(config.top.get() as usize);
        let sink = GrowthSink { sums, context };
        stage.sink(&input, PublishOrder::Output, sink)
    }
}

struct GrowthSink {
    sums: Sums,
    context: Context,
}

impl Sink for GrowthSink {
    type In = RecordBatch;

    fn write(&mut self, batch: RecordBatch, _: &Errors) -> Result<(), StageError> {
        if self.sums.last.is_none() {
            // One root on each side, unless there are more.
            let stages = self.context.upstream(DEFAULT_INPUT).iter();
            let stated = stages.filter_map(|stage| stage.facts().remove(ROOTS));
            let roots: usize = stated
                .map(|roots| roots.as_array().map_or(0, Vec::len))
                .sum();
            self.sums.with_roots = roots > 2;
        }
        batch.rows().try_for_each(|row| self.sums.add(&row))
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.sums.leave(0);
        self.context.set_result(&self.sums.growth())
    }

    fn publish(self, _: &Verdict) -> Result<(), StageError> {
        Ok(())
    }
}

/// A directory on the way to the current row.
struct Level {
    /// Its name; that of a root is empty, or its path where there are several.
    name: Vec<u8>,
    own: i64,
    below: i64,
    entries: i64,
}

/// The sums so far.
struct Sums {
    top: usize,
    /// Whether entries are told apart by their roots.
    with_roots: bool,
    levels: Vec<Level>,
    /// The most grown directories, the least one first: bytes, path, bytes of its own, entries.
    most: BTreeSet<(i64, Reverse<Vec<u8>>, i64, i64)>,
    unknown: u64,
    last: Option<(Arc<DirNode>, NameBuf)>,
}

impl Sums {
    fn new(top: usize) -> Sums {
        Sums {
            top,
            with_roots: false,
            levels: Vec::new(),
            most: BTreeSet::new(),
            unknown: 0,
            last: None,
        }
    }

    fn add(&mut self, row: &Row<'_>) -> Result<(), StageError> {
        self.check_order(row)?;
        let size = row.metadata.and_then(|metadata| metadata.size());
        let size = match row.kind {
            Some(EntryKind::Directory) => 0,
            _ => signed(size),
        };
        let (bytes, entries) = match row.change {
            Some(Change::Added) => (size, 1),
            Some(Change::Removed) => (-size, -1),
            Some(Change::Changed) if row.kind == Some(EntryKind::Directory) => (0, 0),
            Some(Change::Changed) => (size.saturating_sub(signed(row.former.size)), 0),
            Some(Change::Renamed) => {
                return Err(StageError::failed(
                    "renamed entries come in; growth must stand right behind the diff",
                ));
            }
            _ => {
                self.unknown += 1;
                return Ok(());
            }
        };
        self.enter(row.directory);
        if let Some(level) = self.levels.last_mut() {
            level.own = level.own.saturating_add(bytes);
            level.entries += entries;
        }
        Ok(())
    }

    fn check_order(&mut self, row: &Row<'_>) -> Result<(), StageError> {
        if let Some((directory, name)) = &self.last {
            let last = (&**directory, name.as_name().as_bytes());
            let this = (&**row.directory, row.name.as_bytes());
            let order = match self.with_roots {
                true => compare_paths(last, this),
                false => compare_relative_paths(last, this),
            };
            if order.is_gt() {
                return Err(StageError::failed(format!(
                    "the differences are not in the order of their paths: {} comes too late",
                    row.path_bytes().escape_ascii()
                )));
            }
        }
        self.last = Some((Arc::clone(row.directory), row.name.into()));
        Ok(())
    }

    /// Goes to a directory, leaving those that it is not below.
    fn enter(&mut self, directory: &DirNode) {
        let mut names: Vec<&[u8]> = directory
            .ancestors()
            .map(|node| match node.is_root() {
                true if self.with_roots => node.root_path().as_os_str().as_encoded_bytes(),
                _ => node.name().as_bytes(),
            })
            .collect();
        names.reverse();
        let levels = self.levels.iter().zip(&names);
        let shared = levels.take_while(|(level, name)| level.name == **name);
        let shared = shared.count();
        self.leave(shared);
        for name in &names[shared..] {
            self.levels.push(Level {
                name: name.to_vec(),
                own: 0,
                below: 0,
                entries: 0,
            });
        }
    }

    /// Sums up all directories but the first so many on the way.
    fn leave(&mut self, stay: usize) {
        while self.levels.len() > stay {
            let path = self.path();
            let Some(level) = self.levels.pop() else {
                return;
            };
            let bytes = level.own.saturating_add(level.below);
            if let Some(above) = self.levels.last_mut() {
                above.below = above.below.saturating_add(bytes);
                above.entries += level.entries;
            }
            if bytes != 0 || level.own != 0 || level.entries != 0 {
                self.most
                    .insert((bytes, Reverse(path), level.own, level.entries));
            }
            if self.most.len() > self.top {
                self.most.pop_first();
            }
        }
    }

    /// The path of the directory that was entered last.
    fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self
            .levels
            .iter()
            .map(|level| level.name.as_slice())
            .filter(|name| !name.is_empty())
            .collect();
        match names.is_empty() {
            true => b".".to_vec(),
            false => names.join(&b'/'),
        }
    }

    fn growth(&self) -> Growth {
        let most = self.most.iter().rev();
        let directories = most.map(|(bytes, Reverse(path), own_bytes, entries)| {
            let (path, path_b64) = text_or_base64(path);
            DirectoryGrowth {
                path,
                path_b64,
                bytes: *bytes,
                own_bytes: *own_bytes,
                entries: *entries,
            }
        });
        Growth {
            directories: directories.collect(),
            unknown: self.unknown,
        }
    }
}

fn signed(size: Option<u64>) -> i64 {
    i64::try_from(size.unwrap_or(0)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;
    use statline_pipeline::testing::Items;
    use statline_pipeline::{Builder, Outcome};
    use statline_platform::Metadata;

    use super::*;
    use crate::Former;
    use crate::fixtures::child;

    /// A difference in a directory: components of its path, mark, size, former size.
    type Difference = (Vec<u8>, Change, u64, u64);

    fn batch(root: &str, differences: &[(Vec<u8>, u8, Difference)]) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for (directory, name, (_, change, size, before)) in differences {
            let node = DirNode::root(Path::new(root));
            let node = directory
                .iter()
                .fold(node, |node, name| child(&node, &[*name]));
            let mut metadata = Metadata::with_kind(EntryKind::File);
            metadata.set_size(*size);
            let name = NameBuf::new(&[*name]).unwrap();
            batch.push_row(&Row {
                directory: &node,
                name: name.as_name(),
                kind: metadata.kind(),
                metadata: Some(&metadata),
                target: None,
                change: Some(*change),
                remembered: false,
                hash: None,
                former: Former {
                    size: (*change == Change::Changed).then_some(*before),
                    ..Former::default()
                },
            });
        }
        batch
    }

    fn growth(batches: Vec<RecordBatch>, top: u32) -> Result<Growth, String> {
        let mut builder = Builder::new("test");
        let given = builder.source("in", Items(batches)).done();
        let config = GrowthConfig {
            top: NonZeroU32::new(top).unwrap(),
        };
        let _ = builder.stage("growth", GrowthOf, config).reads(&given);
        let report = builder.build().unwrap().run();
        match report.outcome {
            Outcome::Complete => {
                let result = report.stage("growth").unwrap().result.clone().unwrap();
                Ok(serde_json::from_value(result).unwrap())
            }
            _ => Err(report.cause.unwrap()),
        }
    }

    fn difference() -> impl Strategy<Value = Difference> {
        let directory = prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..3);
        let change = prop::sample::select(vec![
            Change::Added,
            Change::Removed,
            Change::Changed,
            Change::Unknown,
        ]);
        (directory, change, 0..9_u64, 0..9_u64)
    }

    proptest! {
        #[test]
        fn sums_are_those_of_all_differences_below(
            differences in prop::collection::vec(difference(), 0..12), top in 1..9_u32,
        ) {
            // Names of files are not those of directories, and each is another one.
            let mut rows: Vec<(Vec<u8>, u8, Difference)> = (b'c'..).zip(differences)
                .map(|(name, difference)| (difference.0.clone(), name, difference)).collect();
            let place = |row: &(Vec<u8>, u8, Difference)| [&row.0[..], &[row.1]].concat();
            rows.sort_by_key(place);
            let mut sums: BTreeMap<Vec<u8>, (i64, i64, i64)> = BTreeMap::new();
            let mut unknown = 0;
            for (directory, _, (_, change, size, before)) in &rows {
                let (bytes, entries) = match change {
                    Change::Added => (*size as i64, 1),
                    Change::Removed => (-(*size as i64), -1),
                    Change::Changed => (*size as i64 - *before as i64, 0),
                    _ => {
                        unknown += 1;
                        continue;
                    }
                };
                for depth in 0..=directory.len() {
                    let sum = sums.entry(directory[..depth].to_vec()).or_default();
                    sum.0 += bytes;
                    sum.2 += entries;
                    if depth == directory.len() {
                        sum.1 += bytes;
                    }
                }
            }
            let mut expected: Vec<(String, (i64, i64, i64))> = sums.into_iter()
                .filter(|(_, sum)| *sum != (0, 0, 0))
                .map(|(directory, sum)| {
                    let path = directory.iter().map(|&name| (name as char).to_string()).collect::<Vec<_>>().join("/");
                    (if path.is_empty() { ".".to_owned() } else { path }, sum)
                }).collect();
            expected.sort_by(|a, b| (b.1.0, &a.0).cmp(&(a.1.0, &b.0)));
            expected.truncate(top as usize);
            // Rows of the two sides are below different roots.
            let sides = rows.into_iter().map(|row| {
                let side = if row.2.1 == Change::Removed { "old" } else { "n/ew" };
                batch(side, &[row])
            });
            let found = growth(sides.collect(), top).unwrap();
            prop_assert_eq!(found.unknown, unknown);
            let found: Vec<_> = found.directories.into_iter()
                .map(|directory| (directory.path.unwrap(), (directory.bytes, directory.own_bytes, directory.entries))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_cannot_be_summed_up_fails_the_run() {
        let row = |directory: &[u8], change| {
            let difference = (directory.to_vec(), change, 1, 0);
            batch("r", &[(directory.to_vec(), b'x', difference)])
        };
        let error = growth(vec![row(b"a", Change::Renamed)], 1).unwrap_err();
        assert!(error.contains("right behind the diff"), "{error}");
        let disordered = vec![row(b"b", Change::Added), row(b"a", Change::Added)];
        let error = growth(disordered, 1).unwrap_err();
        assert!(error.contains("r/a/x comes too late"), "{error}");
    }
}
