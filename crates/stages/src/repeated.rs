//! The stage kind `repeated`: passes on the records of files that have something in common with another file.
//!
//! Its input is ordered by what they may have in common, and then by file, so that equals are neighbours and the names of
//! one file as well. So it needs to remember nothing but the names of the first file of a group, until a second file
//! shows that the group is one. One thing must stay true: names of one file are no copies of each other.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Order, Outlet,
    OutputPort, StageError, Transform,
};
use statline_platform::Kind as EntryKind;

use crate::field::{Field, carries, come_as_records, need_each, number, report_missing};
use crate::repetition::{Group, REPETITION_SCHEMA, Repetition};
use crate::{Change, RecordBatch, Row, Rows};

/// Records in a batch that the stage sends.
const BATCH: usize = 1024;

/// What tells files apart, after the fields that they may have in common.
const FILE: [Field; 2] = [Field::Device, Field::Inode];

/// Options of `repeated`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedConfig {
    /// What files must have in common, such as ["size", "hash"].
    ///
    /// The input must be ordered by these fields, in either direction, and then by "device" and "inode". A file that
    /// lacks one of them has nothing in common with any other.
    pub by: Vec<Field>,
}

/// The kind `repeated`: records of regular files in, those out of which there is more than one with the same values.
///
/// Names of one file (hard links) are one file: where a group is only that, nothing of it passes. Everything but regular
/// files, and files that a cache marks as deleted, is left out.
///
/// It holds the names of one file, and a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeated;

impl Kind for Repeated {
    type Config = RepeatedConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "passes on the files that have something in common with another file"
    }

    fn declare(&self, config: Option<&RepeatedConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config {
            check(&config.by, ports);
        }
        let properties = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.clone())
            .unwrap_or_default();
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
        )
    }

    fn open(
        &self,
        config: RepeatedConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        stage.transform(&input, &output, |_| {
            Ok(RepeatedFiles {
                context,
                total: Repetition {
                    schema: REPETITION_SCHEMA,
                    by: config.by.clone(),
                    ..Repetition::default()
                },
                by: config.by,
                key: Vec::new(),
                next_key: Vec::new(),
                group: Group::default(),
                held: RecordBatch::default(),
                out: RecordBatch::default(),
            })
        })
    }
}

fn check(by: &[Field], ports: &mut Declare<'_>) {
    if by.is_empty() {
        let help = "name a field, such as by = [\"size\"]".to_owned();
        ports.problem("by", "there is nothing to have in common", Some(help));
        return;
    }
    for (place, field) in by.iter().enumerate() {
        if by[..place].contains(field) {
            let message = format!("\"{field}\" is listed twice");
            ports.problem(&format!("by[{place}]"), message, None);
        }
        let message = match field {
            Field::Path | Field::Device | Field::Inode => "tells files apart",
            Field::Target => "is something that regular files lack",
            _ => continue,
        };
        let help = Some("take it out".to_owned());
        ports.problem(
            &format!("by[{place}]"),
            format!("\"{field}\" {message}"),
            help,
        );
    }
    // Whoever sends anything else has the wrong type.
    if !come_as_records(ports) {
        return;
    }
    need_each(ports, "by", by);
    let needed = [
        FILE[0],
        FILE[1],
        Field::Nlink,
        Field::Size,
        Field::Allocated,
    ];
    let is_missing = |field: &Field| !by.contains(field) && !carries(ports, *field);
    let missing: Vec<Field> = needed.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        report_missing(ports, "", &missing);
    }
    check_order(by, ports);
}

/// Reports an order in which equals are not neighbours. Which of the fields comes first, and in which direction, is all
/// the same.
fn check_order(by: &[Field], ports: &mut Declare<'_>) {
    let incoming = ports.incoming(DEFAULT_INPUT);
    let keys = match incoming.map(|stream| &stream.properties.order) {
        Some(Order::By(keys)) => &keys[..],
        _ => &[],
    };
    let fields: Vec<&str> = keys
        .iter()
        .map(|key| key.strip_prefix('-').unwrap_or(key))
        .collect();
    let is_next = |fields: &[&str], of: &[Field]| {
        fields.len() == of.len() && of.iter().all(|field| fields.contains(&field.as_str()))
    };
    let is_ordered = fields.len() >= by.len() + FILE.len() && {
        let (common, rest) = fields.split_at(by.len());
        is_next(common, by) && is_next(&rest[..FILE.len()], &FILE)
    };
    if !is_ordered {
        let wanted: Vec<&str> = by.iter().chain(&FILE).map(|field| field.as_str()).collect();
        // Tells what is wrong with the order in the words that every stage has for that.
        ports.needs_order(DEFAULT_INPUT, &wanted);
    }
}

struct RepeatedFiles {
    context: Context,
    by: Vec<Field>,
    /// What the files of the group have in common.
    key: Vec<u8>,
    /// The same of the record at hand; kept for its memory.
    next_key: Vec<u8>,
    group: Group,
    /// The names of the group's first file that came in earlier batches, until there is a second file.
    held: RecordBatch,
    /// What is to be sent.
    out: RecordBatch,
    total: Repetition,
}

impl RepeatedFiles {
    /// Ends the group. What is held of it goes, for it was a single file.
    fn close_group(&mut self) {
        if !self.held.is_empty() {
            self.held = RecordBatch::default();
        }
        self.group.close(&mut self.total);
    }

    /// Passes on what is held.
    fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        append(&mut self.out, &held, 0..held.len());
    }

    fn flush(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        match self.out.is_empty() {
            true => Ok(()),
            false => out.send(std::mem::take(&mut self.out)),
        }
    }
}

impl Transform for RepeatedFiles {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let ends = batch.take_ends();
        // Names of the group's first file in this batch.
        let mut waiting = 0..0;
        for (at, row) in batch.rows().enumerate() {
            self.next_key.clear();
            if !write_key(&self.by, &row, &mut self.next_key) {
                continue;
            }
            if self.group.files() == 0 || self.key != self.next_key {
                self.close_group();
                std::mem::swap(&mut self.key, &mut self.next_key);
                waiting = at..at;
            }
            self.group.add(&row);
            if self.group.files() > 1 {
                self.release_held();
                append(&mut self.out, &batch, waiting.clone());
                append(&mut self.out, &batch, at..at + 1);
                waiting = at + 1..at + 1;
            } else if waiting.end == at {
                waiting.end = at + 1;
            } else {
                // What lies in between has nothing to do with the group.
                append(&mut self.held, &batch, waiting.clone());
                waiting = at..at + 1;
            }
        }
        append(&mut self.held, &batch, waiting);
        for end in ends {
            self.out.push_end(end);
        }
        match self.out.len() >= BATCH {
            true => self.flush(out),
            false => Ok(()),
        }
    }

    fn idle(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        self.flush(out)
    }

    fn finish(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        self.close_group();
        self.flush(out)?;
        self.context.set_result(&self.total)
    }
}

/// Appends rows of a batch, whatever directories they are in.
fn append(to: &mut RecordBatch, from: &RecordBatch, rows: Range<usize>) {
    let mut start = rows.start;
    while start < rows.end {
        let (directory, group) = from.entries().group_of(start);
        let end = group.end.min(rows.end);
        to.append_range(directory, from, start..end);
        start = end;
    }
}

/// Writes what a record has in common with others, such that two are equal if what is written is. Whether it has
/// anything: a value that is absent is not the same as another one.
fn write_key(by: &[Field], row: &Row<'_>, key: &mut Vec<u8>) -> bool {
    if row.kind != Some(EntryKind::File) || row.change == Some(Change::Deleted) {
        return false;
    }
    by.iter().all(|&field| match field {
        Field::Hash => {
            key.extend_from_slice(row.hash.map_or(&[], |hash| hash.as_bytes()));
            row.hash.is_some()
        }
        // Regular files have no target, and the stage refuses to go by paths.
        Field::Target | Field::Path => false,
        field => match number(field, row) {
            Some(number) => {
                key.extend_from_slice(&number.to_ne_bytes());
                true
            }
            None => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use statline_pipeline::testing::Collected;
    use statline_pipeline::{Builder, Outcome};
    use statline_platform::Metadata;

    use super::*;
    use crate::fixtures::{Given, child, file, problems, records, root};
    use crate::{ContentHash, EntryBatch, Sort, SortConfig};

    /// A name of a file, made up.
    #[derive(Clone, Debug)]
    struct Name {
        inode: u64,
        /// How many names of the file there are beside those that are met.
        elsewhere: u64,
        size: u64,
        hash: Option<u8>,
        deleted: bool,
        is_file: bool,
    }

    impl Name {
        /// What the file has in common with others, if anything.
        fn key(&self) -> Option<(u64, u8)> {
            let is_there = self.is_file && !self.deleted;
            self.hash.filter(|_| is_there).map(|hash| (self.size, hash))
        }

        /// Depends on the file alone. Those with names elsewhere are not the ones that take most.
        fn allocated(&self) -> u64 {
            4096 * (12 - self.inode)
        }
    }

    /// Files have a size, contents and names elsewhere by their number, and a name may be anything else instead.
    fn names() -> impl Strategy<Value = Vec<Name>> {
        let name = (
            0..12_u64,
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
        );
        let name = name.prop_map(|(inode, deleted, is_other)| Name {
            inode,
            elsewhere: u64::from(inode % 4 == 3),
            size: 10 + inode % 2,
            hash: (inode % 6 != 5).then_some((inode % 3) as u8),
            deleted,
            is_file: !is_other,
        });
        prop::collection::vec(name, 0..40)
    }

    /// The numbers of the names that pass, and the result.
    fn repeated(names: &[Name], rows: usize, by: &[Field]) -> (BTreeSet<usize>, Repetition) {
        let directories = [child(&root("r"), b"a"), child(&root("r"), b"b")];
        let numbers: Vec<usize> = (0..names.len()).collect();
        let batches = numbers.chunks(rows).map(|numbers| {
            let mut batch = EntryBatch::default();
            let mut metadata = Vec::new();
            for &number in numbers {
                let name = &names[number];
                let directory = &directories[number % 2];
                batch.extend(directory, |entries| {
                    entries.push(number.to_string().as_bytes(), None, 0);
                });
                let met = names
                    .iter()
                    .filter(|other| other.inode == name.inode && other.is_file && !other.deleted);
                let mut found = match name.is_file {
                    true => file(|_| {}),
                    false => Metadata::with_kind(EntryKind::Fifo),
                };
                found
                    .set_device(1)
                    .set_file_id(name.inode.into())
                    .set_nlink(met.count() as u64 + name.elsewhere)
                    .set_size(name.size)
                    .set_allocated(name.allocated());
                metadata.push(found);
            }
            let mut records = RecordBatch::new(batch, metadata);
            let names = numbers.iter().map(|&number| &names[number]);
            let marks: Vec<Change> = names
                .clone()
                .map(|name| {
                    if name.deleted {
                        Change::Deleted
                    } else {
                        Change::New
                    }
                })
                .collect();
            records.set_changes(&marks);
            let hashes = names.map(|name| Some(ContentHash::of(&[name.hash?])));
            records.set_hashes(hashes.collect());
            records
        });
        let mut builder = Builder::new("test");
        let source = builder
            .stage("in", Given::all(batches.collect()), ())
            .done();
        let keys = by
            .iter()
            .chain(&FILE)
            .map(|field| field.as_str().parse().unwrap());
        let config = SortConfig {
            by: keys.collect(),
            ..SortConfig::default()
        };
        let sorted = builder.stage("sort", Sort, config).reads(&source).done();
        let config = RepeatedConfig { by: by.to_vec() };
        let stage = builder
            .stage("same", Repeated, config)
            .reads(&sorted)
            .done();
        let out = Collected::<RecordBatch>::new();
        let _ = builder.sink("out", out.clone()).reads(&stage);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        let result = report.stage("same").unwrap().result.clone().unwrap();
        let batches = out.items();
        let rows = batches.iter().flat_map(Rows::rows);
        let passed: Vec<usize> = rows
            .map(|row| {
                let name = std::str::from_utf8(row.name.as_bytes()).unwrap();
                name.parse().unwrap()
            })
            .collect();
        let distinct: BTreeSet<usize> = passed.iter().copied().collect();
        assert_eq!(distinct.len(), passed.len(), "nothing passes twice");
        (distinct, serde_json::from_value(result).unwrap())
    }

    proptest! {
        #[test]
        fn what_passes_and_what_it_comes_to_is_what_a_naive_computation_finds(
            names in names(), rows in 1..9_usize,
        ) {
            let (passed, result) = repeated(&names, rows, &[Field::Size, Field::Hash]);
            // Which names each file has, by what files have in common.
            let mut groups: BTreeMap<(u64, u8), BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
            for (number, name) in names.iter().enumerate() {
                if let Some(key) = name.key() {
                    let files = groups.entry(key).or_default();
                    files.entry(name.inode).or_default().push(number);
                }
            }
            groups.retain(|_, files| files.len() > 1);
            let expected: BTreeSet<usize> =
                groups.values().flat_map(BTreeMap::values).flatten().copied().collect();
            prop_assert_eq!(passed, expected);
            prop_assert_eq!(result.groups, groups.len() as u64);
            prop_assert_eq!(result.files, groups.values().map(BTreeMap::len).sum::<usize>() as u64);
            let freeable = |bytes: fn(&Name) -> u64| -> u64 {
                groups.values().map(|files| {
                    let of_one = |numbers: &Vec<usize>| {
                        let name = &names[numbers[0]];
                        (name.elsewhere == 0).then(|| bytes(name))
                    };
                    let files: Vec<Option<u64>> = files.values().map(of_one).collect();
                    let sum: u64 = files.iter().flatten().sum();
                    // One stays: one that would stay anyhow, or else the dearest.
                    match files.contains(&None) {
                        true => sum,
                        false => sum - files.iter().flatten().max().unwrap(),
                    }
                }).sum()
            };
            prop_assert_eq!(result.freeable_apparent_bytes, freeable(|name| name.size));
            prop_assert_eq!(result.freeable_allocated_bytes, freeable(Name::allocated));
        }
    }

    #[test]
    fn names_of_one_file_are_no_copies() {
        let name = Name {
            inode: 1,
            elsewhere: 0,
            size: 10,
            hash: Some(1),
            deleted: false,
            is_file: true,
        };
        for rows in [1, 2, 9] {
            let links = vec![name.clone(); 5];
            let (passed, result) = repeated(&links, rows, &[Field::Size]);
            assert!(passed.is_empty());
            assert_eq!((result.groups, result.freeable_apparent_bytes), (0, 0));
            // With a copy, all names pass.
            let copy = Name {
                inode: 2,
                ..name.clone()
            };
            let all = [links, vec![copy]].concat();
            let (passed, result) = repeated(&all, rows, &[Field::Size]);
            assert_eq!(passed.len(), 6);
            assert_eq!((result.groups, result.files, result.names), (1, 2, 6));
            assert_eq!(result.freeable_apparent_bytes, 10);
        }
    }

    fn told(given: Given<RecordBatch>, by: &[Field]) -> Vec<String> {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", given, ()).done();
        let config = RepeatedConfig { by: by.to_vec() };
        let stage = builder
            .stage("same", Repeated, config)
            .reads(&source)
            .done();
        let out = Collected::<RecordBatch>::new();
        let _ = builder.sink("out", out).reads(&stage);
        let told = problems(builder).into_iter();
        told.map(|(location, message, help)| {
            let help = help.unwrap_or_default();
            format!("{location}: {message} ({help})")
        })
        .collect()
    }

    const FIELDS: [&str; 5] = ["size", "device", "inode", "nlink", "allocated"];

    #[test]
    fn an_order_in_which_equals_are_no_neighbours_is_refused() {
        let given = || Given::new(records(&[b"a"])).fields(&FIELDS);
        assert_eq!(
            told(given().ordered_by("size"), &[Field::Size]),
            [
                "stages.same.inputs: needs its input ordered by size, device, inode, but it is ordered by size \
              (put a sort by size, device, inode right before it)"
            ]
        );
        assert_eq!(
            told(given(), &[Field::Size, Field::Hash]),
            [
                "stages.same.by[1]: the records that come in have no \"hash\" (put a stage of type hash in between)",
                "stages.same.inputs: needs its input ordered by size, hash, device, inode, but nothing orders it \
                 (put a sort by size, hash, device, inode right before it)",
            ]
        );
    }

    #[test]
    fn fields_that_files_cannot_have_in_common_are_refused() {
        let given = Given::new(records(&[b"a"])).fields(&["size", "target"]);
        let told = told(
            given,
            &[Field::Path, Field::Target, Field::Size, Field::Size],
        );
        let start = |at: usize, text: &str| assert!(told[at].starts_with(text), "{told:?}");
        start(0, "stages.same.by[0]: \"path\" tells files apart");
        start(
            1,
            "stages.same.by[1]: \"target\" is something that regular files lack",
        );
        start(2, "stages.same.by[3]: \"size\" is listed twice");
        start(
            3,
            "stages.same: the records that come in have no \"device\", \"inode\", \"nlink\", \"allocated\"",
        );
    }
}
