//! `summary`: adds up what comes in, as a result in the run's report.
//!
//! One thing must stay true: a total is never less than it looks. What no row carried has no total instead of 0, what
//! some rows lacked is counted, and a file with many names takes its space once, in whatever order they come.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, Declare, Errors, InputPort, Kind, Opening, PublishOrder, Sink, StageError,
};
use statline_platform::{Kind as EntryKind, Metadata, Timestamp};

use crate::field::{Field, need, need_each};
use crate::hard_links::HardLinks;
use crate::largest::Largest;
use crate::row_input::RowInput;
use crate::run_start::run_start;
use crate::summary_groups::{Breakdown, GroupBy, Groups};
use crate::{Change, Row, Rows};

/// The version of the form of [`Summary`]. It changes when a field changes its meaning or goes; new fields do not
/// change it.
pub const SUMMARY_SCHEMA: u32 = 1;

/// More of the largest files are not kept: each takes the memory of its path.
const MOST_LARGEST: usize = 1000;

/// Options of `summary`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SummaryConfig {
    /// How many of the largest files to list, 1000 at the most.
    ///
    /// A file with several names is listed once, under the name that is first in path order.
    #[serde(deserialize_with = "largest")]
    #[schemars(range(max = 1000))]
    pub largest: usize,
    /// What to break the totals down by.
    ///
    /// Each breakdown keeps the 4096 values that came first; entries with others are added up together.
    pub by: Vec<GroupBy>,
}

const LARGEST_EXPECTED: &str = "a number of files from 0 to 1000";

fn largest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = usize::deserialize(deserializer)?;
    match count <= MOST_LARGEST {
        true => Ok(count),
        false => Err(de::Error::invalid_value(
            de::Unexpected::Unsigned(count as u64),
            &LARGEST_EXPECTED,
        )),
    }
}

/// The kind `summary`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summarize;

impl Kind for Summarize {
    type Config = SummaryConfig;
    type Ports = RowInput;

    fn about(&self) -> &'static str {
        "adds up entries and space"
    }

    fn declare(&self, config: Option<&SummaryConfig>, ports: &mut Declare<'_>) -> RowInput {
        if let Some(config) = config {
            if config.largest > 0 {
                need(ports, "largest", Field::Size);
            }
            if config.largest > MOST_LARGEST {
                let message = format!("expected {LARGEST_EXPECTED}, found {}", config.largest);
                ports.problem("largest", message, None);
            }
            let needed: Vec<Field> = config.by.iter().map(|by| by.needs()).collect();
            need_each(ports, "by", &needed);
            for (place, by) in config.by.iter().enumerate() {
                if config.by[..place].contains(by) {
                    let message = format!("\"{}\" is listed twice", by.as_str());
                    ports.problem(&format!("by[{place}]"), message, None);
                }
            }
        }
        RowInput::declare(ports)
    }

    fn open(
        &self,
        config: SummaryConfig,
        input: RowInput,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        match input {
            RowInput::Records(port) => open(stage, &port, &config),
            RowInput::Entries(port) => open(stage, &port, &config),
        }
    }
}

fn open<B: Rows>(
    stage: &mut Opening<'_>,
    input: &InputPort<B>,
    config: &SummaryConfig,
) -> Result<(), StageError> {
    let now = run_start(stage)?.as_nanosecond();
    let sink = SummarySink::<B> {
        tally: Tally::new(config, now),
        context: stage.context().clone(),
        batch: PhantomData,
    };
    stage.sink(input, PublishOrder::Output, sink)
}

struct SummarySink<B> {
    tally: Tally,
    context: Context,
    batch: PhantomData<fn() -> B>,
}

impl<B: Rows> Sink for SummarySink<B> {
    type In = B;

    fn write(&mut self, batch: B, _: &Errors) -> Result<(), StageError> {
        // What is gone takes no space.
        let there = |row: &Row<'_>| row.change != Some(Change::Deleted);
        for row in batch.rows().filter(there) {
            self.tally.add(&row);
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.context.set_result(&self.tally.summary())
    }
}

/// What there is, in numbers. Sums stop at 2⁶⁴−1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// [`SUMMARY_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// All entries: the sum of the four that follow.
    pub entries: u64,
    /// Regular files, one for each name.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Everything else: pipes, sockets, devices, and what nobody told the kind of.
    pub others: u64,
    /// The sizes of regular files and symbolic links, as `du --apparent-size` counts them. Directories have no size
    /// that would mean anything. Absent if no size was fetched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub apparent_bytes: Option<u64>,
    /// The space that all entries take, directories included, as `du` counts it. Absent if it was not fetched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allocated_bytes: Option<u64>,
    /// Regular files and symbolic links whose size is not known: they are missing from `apparent_bytes`.
    pub without_size: u64,
    /// Entries whose space is not known: they are missing from `allocated_bytes`.
    pub without_allocated: u64,
    /// Further names of files that were met before: they are entries, but their space is counted once. Absent if link
    /// counts, devices and inodes were not all fetched; then space is counted for each name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hard_links: Option<u64>,
    /// The oldest last change of a regular file's contents. Absent if there is none or none was fetched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oldest_mtime: Option<SummaryTime>,
    /// The newest one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest_mtime: Option<SummaryTime>,
    /// The largest regular files, the largest first, and files of one size in path order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub largest: Vec<LargeFile>,
    /// The totals by extension, owner, age or size, as asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub breakdowns: Vec<Breakdown>,
}

/// A point in time, in the whole range that file systems have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SummaryTime {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, also when those are negative.
    pub nanoseconds: u32,
}

impl From<Timestamp> for SummaryTime {
    fn from(time: Timestamp) -> SummaryTime {
        SummaryTime {
            seconds: time.seconds,
            nanoseconds: time.nanoseconds,
        }
    }
}

/// One of the largest files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeFile {
    /// Its path, if that is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Its path in base64, if that is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_b64: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// A sum of what rows carry, and how many lacked it.
#[derive(Default)]
struct Total {
    sum: u64,
    filled: bool,
    lacking: u64,
}

impl Total {
    #[inline]
    fn add(&mut self, value: Option<u64>, counts: bool) {
        match value {
            Some(value) => {
                self.filled = true;
                self.sum = self.sum.saturating_add(if counts { value } else { 0 });
            }
            None => self.lacking += 1,
        }
    }

    fn get(&self) -> Option<u64> {
        (self.filled || self.lacking == 0).then_some(self.sum)
    }
}

struct Tally {
    /// By kind, and in the last place those without one.
    kinds: [u64; EntryKind::ALL.len() + 1],
    apparent: Total,
    allocated: Total,
    links: HardLinks,
    /// The oldest and the newest file.
    times: Option<(Timestamp, Timestamp)>,
    largest: Option<Largest>,
    groups: Vec<Groups>,
}

impl Tally {
    fn new(config: &SummaryConfig, now: i128) -> Tally {
        Tally {
            kinds: [0; EntryKind::ALL.len() + 1],
            apparent: Total::default(),
            allocated: Total::default(),
            links: HardLinks::default(),
            times: None,
            largest: (config.largest > 0).then(|| Largest::new(config.largest)),
            groups: config.by.iter().map(|&by| Groups::new(by, now)).collect(),
        }
    }

    #[inline]
    fn add(&mut self, row: &Row<'_>) {
        let unknown = EntryKind::ALL.len();
        self.kinds[row.kind.map_or(unknown, |kind| kind as usize)] += 1;
        let is_file = row.kind == Some(EntryKind::File);
        let has_size = is_file || row.kind == Some(EntryKind::Symlink);
        let is_first = row.kind == Some(EntryKind::Directory) || self.links.is_first(row.metadata);
        let size = row.metadata.and_then(Metadata::size);
        let allocated = row.metadata.and_then(Metadata::allocated);
        if has_size {
            self.apparent.add(size, is_first);
        }
        self.allocated.add(allocated, is_first);
        if is_file && let Some(time) = row.metadata.and_then(Metadata::modified) {
            let (oldest, newest) = self.times.unwrap_or((time, time));
            self.times = Some((oldest.min(time), newest.max(time)));
        }
        if is_file && let (Some(largest), Some(size)) = (&mut self.largest, size) {
            largest.add(size, row);
        }
        for groups in &mut self.groups {
            let size = size.filter(|_| has_size);
            groups.add(
                row,
                if is_first {
                    (size, allocated)
                } else {
                    (None, None)
                },
            );
        }
    }

    fn summary(&self) -> Summary {
        let of = |kind: EntryKind| self.kinds[kind as usize];
        let entries = self.kinds.iter().sum();
        let (files, directories) = (of(EntryKind::File), of(EntryKind::Directory));
        let symlinks = of(EntryKind::Symlink);
        let largest = self.largest.as_ref().map(Largest::list);
        Summary {
            schema: SUMMARY_SCHEMA,
            entries,
            files,
            directories,
            symlinks,
            others: entries - files - directories - symlinks,
            apparent_bytes: self.apparent.get(),
            allocated_bytes: self.allocated.get(),
            without_size: self.apparent.lacking,
            without_allocated: self.allocated.lacking,
            hard_links: self.links.repeated(),
            oldest_mtime: self.times.map(|(oldest, _)| oldest.into()),
            newest_mtime: self.times.map(|(_, newest)| newest.into()),
            largest: largest.unwrap_or_default(),
            breakdowns: self.groups.iter().map(Groups::list).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use statline_pipeline::{Builder, Message, Outcome};

    use super::*;
    use crate::fixtures::{Given, child, entries, file, problems, root, time};
    use crate::{EntryBatch, RecordBatch};

    fn summarize<M: Message + Sync>(messages: Vec<M>, config: SummaryConfig) -> Summary {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::all(messages), ()).done();
        let _ = builder.stage("out", Summarize, config).reads(&source);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        let out = report
            .stages
            .iter()
            .find(|stage| stage.name == "out")
            .unwrap();
        serde_json::from_value(out.result.clone().unwrap()).unwrap()
    }

    fn batch(rows: &[(&str, Metadata)]) -> RecordBatch {
        let directory = child(&root("r"), b"d");
        let mut batch = EntryBatch::default();
        for (name, _) in rows {
            batch.extend(&directory, |entries| entries.push(name.as_bytes(), None, 0));
        }
        let metadata = rows.iter().map(|(_, metadata)| metadata.clone());
        RecordBatch::new(batch, metadata.collect())
    }

    fn of_kind(kind: EntryKind, size: u64, allocated: u64) -> Metadata {
        let mut metadata = Metadata::with_kind(kind);
        metadata
            .set_size(size)
            .set_allocated(allocated)
            .set_nlink(1);
        metadata
    }

    #[test]
    fn what_was_deleted_is_not_there() {
        let file = of_kind(EntryKind::File, 100, 4096);
        let mut batch = batch(&[("a", file.clone()), ("b", file)]);
        batch.set_changes(&[Change::Deleted, Change::Changed]);
        let summary = summarize(vec![batch], SummaryConfig::default());
        assert_eq!((summary.entries, summary.apparent_bytes), (1, Some(100)));
    }

    fn link(inode: u64, nlink: u64) -> Metadata {
        let mut metadata = of_kind(EntryKind::File, 10, 4096);
        metadata
            .set_nlink(nlink)
            .set_device(1)
            .set_file_id(inode.into());
        metadata
    }

    #[test]
    fn kinds_and_space_are_added_up_as_du_does() {
        let mut directory = of_kind(EntryKind::Directory, 4096, 8192);
        directory.set_nlink(5);
        let summary = summarize(
            vec![
                batch(&[("a", of_kind(EntryKind::File, 100, 4096)), ("d", directory)]),
                batch(&[
                    ("l", of_kind(EntryKind::Symlink, 7, 0)),
                    ("s", of_kind(EntryKind::Socket, 0, 0)),
                    ("?", Metadata::default()),
                ]),
            ],
            SummaryConfig::default(),
        );
        let counts = (summary.files, summary.directories, summary.symlinks);
        assert_eq!((summary.entries, counts, summary.others), (5, (1, 1, 1), 2));
        assert_eq!(summary.apparent_bytes, Some(107));
        assert_eq!(summary.allocated_bytes, Some(4096 + 8192));
        assert_eq!((summary.without_size, summary.without_allocated), (0, 1));
        // One entry did not say how many names it has.
        assert_eq!(summary.hard_links, None);
    }

    #[test]
    fn a_file_with_several_names_takes_its_space_once_in_any_order_over_batches() {
        let rows = [
            ("a", link(1, 3)),
            ("b", link(2, 2)),
            ("c", link(1, 3)),
            ("d", link(3, 1)),
            ("e", link(1, 3)),
            ("f", link(2, 2)),
            ("outside", link(4, 9)),
        ];
        for rotation in 0..rows.len() {
            let mut rows = rows.clone();
            rows.rotate_left(rotation);
            for size in [1, 3, rows.len()] {
                let batches = rows.chunks(size).map(batch).collect();
                let by = vec![GroupBy::Extension];
                let summary = summarize(batches, SummaryConfig { largest: 9, by });
                assert_eq!((summary.entries, summary.files), (7, 7));
                assert_eq!(summary.hard_links, Some(3));
                assert_eq!(summary.apparent_bytes, Some(40));
                assert_eq!(summary.allocated_bytes, Some(4 * 4096));
                let largest = summary.largest.iter().map(|file| file.path.as_deref());
                let first_names = ["r/d/a", "r/d/b", "r/d/d", "r/d/outside"];
                assert!(largest.eq(first_names.map(Some)), "{:?}", summary.largest);
                let share = summary.breakdowns[0].groups[0].share;
                assert_eq!((share.entries, share.apparent_bytes), (7, 40));
            }
        }
    }

    #[test]
    fn what_was_not_fetched_has_no_total() {
        let summary = summarize(vec![entries(&[b"a", b"b"])], SummaryConfig::default());
        assert_eq!((summary.entries, summary.files), (2, 2));
        assert_eq!(summary.apparent_bytes, None);
        assert_eq!(summary.allocated_bytes, None);
        assert_eq!((summary.hard_links, summary.oldest_mtime), (None, None));
        let nothing = summarize(Vec::<RecordBatch>::new(), SummaryConfig::default());
        assert_eq!(nothing.apparent_bytes, Some(0));
        assert_eq!(nothing.hard_links, Some(0));
    }

    #[test]
    fn sums_of_impossible_sizes_stop_instead_of_starting_over() {
        let huge = of_kind(EntryKind::File, u64::MAX - 1, u64::MAX);
        let rows = batch(&[("a", huge.clone()), ("b", huge)]);
        let summary = summarize(vec![rows], SummaryConfig::default());
        assert_eq!(summary.apparent_bytes, Some(u64::MAX));
        assert_eq!(summary.allocated_bytes, Some(u64::MAX));
    }

    #[test]
    fn the_times_are_those_of_files_however_far_away() {
        let at = |kind, seconds| {
            let mut metadata = Metadata::with_kind(kind);
            metadata.set_modified(time(seconds, 5));
            metadata
        };
        let rows = batch(&[
            ("a", at(EntryKind::File, -(1 << 40))),
            ("b", at(EntryKind::File, 1 << 40)),
            ("c", at(EntryKind::Directory, i64::MAX)),
        ]);
        let summary = summarize(vec![rows], SummaryConfig::default());
        let far = |seconds| {
            Some(SummaryTime {
                seconds,
                nanoseconds: 5,
            })
        };
        assert_eq!(summary.oldest_mtime, far(-(1 << 40)));
        assert_eq!(summary.newest_mtime, far(1 << 40));
    }

    #[test]
    fn the_largest_files_are_listed_by_size_and_path() {
        let sized = |size| of_kind(EntryKind::File, size, 0);
        let rows = batch(&[
            ("small", sized(1)),
            ("z", sized(50)),
            ("b", sized(50)),
            ("big", sized(99)),
            ("a", sized(50)),
            ("directory", of_kind(EntryKind::Directory, 4096, 0)),
        ]);
        let config = SummaryConfig {
            largest: 3,
            by: Vec::new(),
        };
        let summary = summarize(vec![rows.clone(), rows], config);
        let largest = summary.largest.into_iter();
        let largest: Vec<_> = largest
            .map(|file| (file.path.unwrap(), file.bytes))
            .collect();
        let expected = [("r/d/big", 99), ("r/d/big", 99), ("r/d/a", 50)];
        assert_eq!(
            largest,
            expected.map(|(path, bytes)| (path.to_owned(), bytes))
        );
    }

    fn values(breakdown: &Breakdown) -> Vec<(&str, u64, u64)> {
        let groups = breakdown.groups.iter();
        groups
            .map(|group| {
                let value = group.value.as_deref().or(group.value_b64.as_deref());
                (
                    value.unwrap(),
                    group.share.entries,
                    group.share.apparent_bytes,
                )
            })
            .collect()
    }

    #[test]
    fn totals_are_broken_down() {
        let now = jiff::Timestamp::now().as_second();
        let rows: Vec<(&str, Metadata)> = [
            ("a.JPG", 5_000, 1000, 86_400 / 2),
            ("b.jpg", 10, 1000, 86_400 * 2),
            (".bashrc", 0, 0, 86_400 * 400),
            ("Makefile", 4096, 0, 86_400 * 4000),
            ("c.tar.gz", 7, 0, -86_400),
        ]
        .map(|(name, size, uid, age)| {
            let metadata = file(|metadata| {
                metadata
                    .set_size(size)
                    .set_uid(uid)
                    .set_modified(time(now - age, 0));
            });
            (name, metadata)
        })
        .into();
        let mut directory = Metadata::with_kind(EntryKind::Directory);
        directory.set_uid(0).set_size(4096);
        let batches = vec![batch(&rows), batch(&[("dir.jpg", directory)])];
        let by = vec![
            GroupBy::Extension,
            GroupBy::Owner,
            GroupBy::Age,
            GroupBy::Size,
        ];
        let summary = summarize(batches, SummaryConfig { largest: 0, by });
        let [extension, owner, age, size] = &summary.breakdowns[..] else {
            panic!("four breakdowns: {summary:?}");
        };
        assert_eq!(
            values(extension),
            [("jpg", 2, 5010), ("", 2, 4096), ("gz", 1, 7)]
        );
        assert_eq!(values(owner), [("1000", 2, 5010), ("0", 4, 4103)]);
        assert_eq!(
            values(age),
            [
                ("future", 1, 7),
                ("0d-1d", 1, 5000),
                ("1d-7d", 1, 10),
                ("1y-2y", 1, 0),
                ("5y+", 1, 4096)
            ]
        );
        assert_eq!(
            values(size),
            [("0", 1, 0), ("1B-4KiB", 2, 17), ("4KiB-64KiB", 2, 9096)]
        );
        assert!(
            summary
                .breakdowns
                .iter()
                .all(|breakdown| breakdown.other.is_none())
        );
    }

    #[test]
    fn values_beyond_the_limit_are_added_up_together() {
        let names: Vec<String> = (0..5000).map(|at| format!("f.{at}")).collect();
        let sized = of_kind(EntryKind::File, 1, 0);
        let rows: Vec<(&str, Metadata)> = names
            .iter()
            .map(|name| (name.as_str(), sized.clone()))
            .collect();
        let by = vec![GroupBy::Extension];
        let summary = summarize(vec![batch(&rows)], SummaryConfig { largest: 0, by });
        let breakdown = &summary.breakdowns[0];
        assert_eq!(breakdown.groups.len(), 4096);
        let other = breakdown.other.unwrap();
        assert_eq!((other.entries, other.apparent_bytes), (904, 904));
    }

    #[test]
    fn breakdowns_need_their_fields() {
        let mut builder = Builder::new("test");
        let rows = batch(&[("a", Metadata::default())]);
        let source = Given::new(rows).fields(&["kind"]);
        let source = builder.stage("in", source, ()).done();
        let config = SummaryConfig {
            largest: 1001,
            by: vec![GroupBy::Owner, GroupBy::Extension, GroupBy::Owner],
        };
        let _ = builder.stage("out", Summarize, config).reads(&source);
        let found: Vec<_> = problems(builder)
            .into_iter()
            .map(|(location, message, _)| format!("{location}: {message}"))
            .collect();
        assert_eq!(
            found,
            [
                "stages.out.largest: the records that come in have no \"size\"",
                "stages.out.largest: expected a number of files from 0 to 1000, found 1001",
                "stages.out.by[0]: the records that come in have no \"uid\"",
                "stages.out.by[2]: \"owner\" is listed twice",
            ]
        );
    }
}
