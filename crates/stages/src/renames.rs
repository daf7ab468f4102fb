//! `renames`: joins what was removed and what was added, where both are one entry under two paths.
//!
//! An entry is known by its number in the file system, its kind, its size and its modification time: a number alone may
//! have been given to another file since. All differences are written down in their order; those that were added or
//! removed are sorted by what they are known by, and neighbours become pairs; the pairs are sorted back into the order of
//! the differences. Two things must stay true: the output is in the order of the input, and what does not fit in
//! `memory_limit` is on disk.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    ByteSize, Context, Counter, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening,
    Outlet, OutputPort, StageError, Transform,
};
use statline_platform::Metadata;

use crate::field::{come_as_records, need};
use crate::packed::{push_bytes, push_varint, take_bytes, take_varint};
use crate::sort::{RebuiltNodes, Roots, RowPacker, RowUnpacker, note_root};
use crate::spill::{ExternalSort, Sorted, Spill, SpillOptions};
use crate::{Change, Field, FieldSet, Former, RecordBatch, Row, Rows, SortKey};

/// Records in a batch that is sent.
const BATCH: usize = 1024;

/// With less there is no room for runs beside what merging them takes.
const LEAST_MEMORY: ByteSize = ByteSize::from_mib(8);

/// Removed entries that are known by the same, beyond which no more pairs are made of them.
const MOST_ALIKE: usize = 1024;

/// Options of `renames`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RenamesConfig {
    /// The memory that the stage may use; at least 8MiB. What does not fit is written to `spill_dir`.
    pub memory_limit: ByteSize,
    /// The directory for what does not fit in memory; by default that of the system for temporary files.
    pub spill_dir: Option<PathBuf>,
}

impl Default for RenamesConfig {
    fn default() -> RenamesConfig {
        RenamesConfig {
            memory_limit: ByteSize::from_mib(64),
            spill_dir: None,
        }
    }
}

/// The kind `renames`: the differences that `diff` sends in, the same out, a pair of a removed and an added record as one
/// that is `renamed`: the added one, with the path and the size that it had.
///
/// What else has changed of it, mode and owner, is among the fields in which it differs. Of a file with several names,
/// names become pairs in the order of their paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renames;

impl Kind for Renames {
    type Config = RenamesConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "joins what was removed and added into what was renamed"
    }

    fn declare(&self, config: Option<&RenamesConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config.filter(|config| config.memory_limit < LEAST_MEMORY) {
            let message = format!("{} is too little to sort in", config.memory_limit);
            let help = format!("write at least {LEAST_MEMORY}");
            ports.problem("memory_limit", message, Some(help));
        }
        if come_as_records(ports) {
            for field in [Field::Change, Field::Inode, Field::Size, Field::Mtime] {
                need(ports, "", field);
            }
        }
        ports.holds_everything();
        let mut properties = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.clone())
            .unwrap_or_default();
        if !properties.fields.is_empty() {
            properties.fields.insert(Field::FormerPath.to_string());
        }
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
        )
    }

    fn open(
        &self,
        config: RenamesConfig,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        Spill::announce(stage.context());
        let joiner = Joiner::new(&config, stage.context());
        stage.transform(&input, &out, |_| Ok(joiner))
    }
}

/// What was read is not what was written.
#[cold]
fn damaged() -> StageError {
    StageError::failed("what was written down of the differences is not what is read")
}

/// The stage at work.
struct Joiner {
    options: SpillOptions,
    /// All rows, by their numbers.
    rows: Option<ExternalSort>,
    /// What was added and removed, by what it is known by.
    candidates: Option<ExternalSort>,
    roots: Roots,
    count: u64,
    renamed: Counter,
}

impl Joiner {
    fn new(config: &RenamesConfig, context: &Context) -> Joiner {
        let memory = usize::try_from(config.memory_limit.bytes()).unwrap_or(usize::MAX);
        let directory = config.spill_dir.clone();
        let options = SpillOptions {
            directory: directory.unwrap_or_else(std::env::temp_dir),
            // Rows, candidates and pairs are there at the same time.
            memory: memory / 3,
            context: Some(context.clone()),
        };
        Joiner {
            rows: Some(ExternalSort::new(options.clone())),
            candidates: Some(ExternalSort::new(options.clone())),
            options,
            roots: Roots::default(),
            count: 0,
            renamed: context.counter("renamed"),
        }
    }

    /// Finds the pairs: by the number of a row, what becomes of it.
    fn pairs(&mut self, mut candidates: Sorted) -> Result<Sorted, StageError> {
        let mut pairs = ExternalSort::new(self.options.clone());
        let mut alike = Alike::default();
        loop {
            let Some((key, payload)) = candidates.next()? else {
                break;
            };
            let candidate = Candidate::unpack(key, payload).ok_or_else(damaged)?;
            alike.turn_to(candidate.known_by);
            if candidate.removed {
                alike.add(&candidate);
                continue;
            }
            let Some(removed) = alike.take(candidate.what.device) else {
                continue;
            };
            self.renamed.add(1);
            pairs.push(&removed.number.to_be_bytes(), &[])?;
            let mut payload = Vec::new();
            push_varint(
                &mut payload,
                removed.what.differs(&candidate.what).bits().into(),
            );
            push_bytes(&mut payload, &removed.path);
            pairs.push(&candidate.number.to_be_bytes(), &payload)?;
        }
        pairs.finish()
    }
}

impl Transform for Joiner {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(&mut self, batch: RecordBatch, _: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let (Some(rows), Some(candidates)) = (&mut self.rows, &mut self.candidates) else {
            return Ok(());
        };
        let base = Metadata::default();
        let keys = [SortKey::PATH];
        let mut packer = RowPacker::new(&keys, &base);
        let mut packed = Vec::new();
        for (directory, _) in batch.entries().groups() {
            note_root(&mut self.roots, directory);
        }
        for row in batch.rows() {
            let number = self.count;
            self.count += 1;
            let (path, payload) = packer.pack(&row);
            packed.clear();
            push_bytes(&mut packed, path);
            packed.extend_from_slice(payload);
            rows.push(&number.to_be_bytes(), &packed)?;
            if let Some((key, payload)) = Candidate::pack(&row, number) {
                candidates.push(&key, &payload)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let (Some(rows), Some(candidates)) = (self.rows.take(), self.candidates.take()) else {
            return Ok(());
        };
        let pairs = self.pairs(candidates.finish()?)?;
        let nodes = RebuiltNodes::new(std::mem::take(&mut self.roots), false);
        let unpacker = RowUnpacker::new(&[SortKey::PATH], Metadata::default(), nodes);
        let mut output = Output {
            unpacker,
            one: RecordBatch::default(),
            batch: RecordBatch::default(),
        };
        output.send(rows.finish()?, pairs, out)
    }
}

/// Rows on their way out.
struct Output {
    unpacker: RowUnpacker,
    /// The row that was read last.
    one: RecordBatch,
    batch: RecordBatch,
}

impl Output {
    /// Sends all rows in their order, pairs as one.
    fn send(
        &mut self,
        mut rows: Sorted,
        mut pairs: Sorted,
        out: &Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let mut pair = Pair::next(&mut pairs)?;
        loop {
            let Some((number, mut packed)) = rows.next()? else {
                break;
            };
            let is_paired = pair.as_ref().is_some_and(|pair| pair.number == number);
            let fate = match is_paired {
                true => std::mem::replace(&mut pair, Pair::next(&mut pairs)?),
                false => None,
            };
            if fate.as_ref().is_some_and(|pair| pair.former.is_none()) {
                continue;
            }
            let read = take_bytes(&mut packed);
            let read = read.and_then(|path| self.read((path, packed)));
            read.ok_or_else(damaged)?;
            self.push(fate.and_then(|pair| pair.former));
            if self.batch.len() == BATCH {
                out.send(std::mem::take(&mut self.batch))?;
            }
        }
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => out.send(batch),
        }
    }

    fn read(&mut self, entry: (&[u8], &[u8])) -> Option<()> {
        self.one = RecordBatch::with_capacity(1);
        self.unpacker.unpack(entry, &mut self.one)
    }

    fn push(&mut self, former: Option<(FieldSet, Vec<u8>)>) {
        let row = self.one.row(0);
        match &former {
            None => self.batch.push_row(&row),
            Some((differs, path)) => self.batch.push_row(&Row {
                change: Some(Change::Renamed),
                former: Former {
                    differs: *differs,
                    size: row.metadata.and_then(Metadata::size),
                    path: Some(path),
                },
                ..row
            }),
        }
    }
}

/// What becomes of a row that has its counterpart.
struct Pair {
    number: Vec<u8>,
    /// Of an added one: in what it differs, and the path that it had. A removed one is left out.
    former: Option<(FieldSet, Vec<u8>)>,
}

impl Pair {
    fn next(pairs: &mut Sorted) -> Result<Option<Pair>, StageError> {
        let Some((number, mut payload)) = pairs.next()? else {
            return Ok(None);
        };
        let number = number.to_vec();
        if payload.is_empty() {
            return Ok(Some(Pair {
                number,
                former: None,
            }));
        }
        let bits = take_varint(&mut payload).and_then(|bits| u32::try_from(bits).ok());
        let path = take_bytes(&mut payload);
        match (bits, path) {
            (Some(bits), Some(path)) => Ok(Some(Pair {
                number,
                former: Some((FieldSet::from_bits(bits), path.to_vec())),
            })),
            _ => Err(damaged()),
        }
    }
}

/// What of an entry may change while it stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct What {
    /// It may have another number after the next mount.
    device: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl What {
    fn of(metadata: &Metadata) -> What {
        What {
            device: metadata.device(),
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }

    fn differs(&self, now: &What) -> FieldSet {
        let differ = |before: Option<u32>, now| before.zip(now).is_some_and(|(a, b)| a != b);
        let fields = [
            (Field::Mode, differ(self.mode, now.mode)),
            (Field::Uid, differ(self.uid, now.uid)),
            (Field::Gid, differ(self.gid, now.gid)),
        ];
        let differing = fields.into_iter().filter(|(_, differ)| *differ);
        differing.map(|(field, _)| field).collect()
    }

    fn push(&self, out: &mut Vec<u8>) {
        let values = [
            self.device,
            self.mode.map(Into::into),
            self.uid.map(Into::into),
            self.gid.map(Into::into),
        ];
        for value in values {
            out.push(u8::from(value.is_some()));
            push_varint(out, value.unwrap_or_default());
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<What> {
        let mut value = || -> Option<Option<u64>> {
            let (&is_there, rest) = bytes.split_first()?;
            *bytes = rest;
            let value = take_varint(bytes)?;
            Some((is_there != 0).then_some(value))
        };
        let (device, mode, uid, gid) = (value()?, value()?, value()?, value()?);
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        Some(What {
            device,
            mode: small(mode),
            uid: small(uid),
            gid: small(gid),
        })
    }
}

/// A removed or an added entry, as it is sorted.
struct Candidate<'e> {
    /// What it is known by.
    known_by: &'e [u8],
    removed: bool,
    number: u64,
    what: What,
    /// Of a removed one.
    path: &'e [u8],
}

impl<'e> Candidate<'e> {
    /// Number in the file system, kind, size, and time.
    const KNOWN_BY: usize = 16 + 1 + 8 + 12;

    /// The key and the payload of a row that may have a counterpart. Removed ones come before added ones.
    fn pack(row: &Row<'_>, number: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        let removed = match row.change? {
            Change::Removed => true,
            Change::Added => false,
            _ => return None,
        };
        let metadata = row.metadata?;
        let time = metadata.modified()?;
        let mut key = Vec::with_capacity(Self::KNOWN_BY + 9);
        key.extend_from_slice(&metadata.file_id()?.as_u128().to_be_bytes());
        key.push(row.kind? as u8);
        key.extend_from_slice(&metadata.size()?.to_be_bytes());
        key.extend_from_slice(&time.seconds.to_be_bytes());
        key.extend_from_slice(&time.nanoseconds.to_be_bytes());
        key.push(u8::from(!removed));
        key.extend_from_slice(&number.to_be_bytes());
        let mut payload = Vec::new();
        What::of(metadata).push(&mut payload);
        if removed {
            row.write_path(&mut payload);
        }
        Some((key, payload))
    }

    fn unpack(key: &'e [u8], mut payload: &'e [u8]) -> Option<Candidate<'e>> {
        let (known_by, rest) = key.split_at_checked(Self::KNOWN_BY)?;
        let (&side, number) = rest.split_first()?;
        Some(Candidate {
            known_by,
            removed: side == 0,
            number: u64::from_be_bytes(number.try_into().ok()?),
            what: What::take(&mut payload)?,
            path: payload,
        })
    }
}

/// The removed entries that are known by the same and have no counterpart yet.
#[derive(Default)]
struct Alike {
    known_by: Vec<u8>,
    removed: Vec<RemovedEntry>,
}

struct RemovedEntry {
    number: u64,
    what: What,
    path: Vec<u8>,
}

impl Alike {
    fn turn_to(&mut self, known_by: &[u8]) {
        if self.known_by != known_by {
            self.known_by.clear();
            self.known_by.extend_from_slice(known_by);
            self.removed.clear();
        }
    }

    fn add(&mut self, candidate: &Candidate<'_>) {
        if self.removed.len() < MOST_ALIKE {
            self.removed.push(RemovedEntry {
                number: candidate.number,
                what: candidate.what,
                path: candidate.path.to_vec(),
            });
        }
    }

    /// The first one on this device, or else the first.
    fn take(&mut self, device: Option<u64>) -> Option<RemovedEntry> {
        let same = self
            .removed
            .iter()
            .position(|removed| removed.what.device == device);
        let at = same.or((!self.removed.is_empty()).then_some(0))?;
        Some(self.removed.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use statline_pipeline::testing::Collected;
    use statline_pipeline::{Builder, Outcome};
    use statline_platform::{Kind as EntryKind, NameBuf};

    use super::*;
    use crate::fixtures::{Given, child, problems, records, root, time};

    /// A difference: its mark, a number in a file system, a device, a size, a mode.
    type Difference = (Change, u64, u64, u64, u32);

    fn batch(differences: &[Difference], first: usize) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for (at, (change, inode, device, size, mode)) in differences.iter().enumerate() {
            let at = first + at;
            let side = match change {
                Change::Removed => root("old"),
                _ => root("new"),
            };
            let mut metadata = Metadata::with_kind(EntryKind::File);
            metadata
                .set_file_id((*inode).into())
                .set_device(*device)
                .set_size(*size)
                .set_mode(*mode)
                .set_modified(time(5, 0));
            let name = NameBuf::new(format!("{at:05}").as_bytes()).unwrap();
            batch.push_row(&Row {
                directory: &child(&side, b"d"),
                name: name.as_name(),
                kind: metadata.kind(),
                metadata: Some(&metadata),
                target: None,
                change: Some(*change),
                remembered: false,
                hash: None,
                former: Former::default(),
            });
        }
        batch
    }

    /// What comes out: mark, path, former path, whether the mode differs.
    type Told = (Change, String, Option<String>, bool);

    fn join(differences: &[Difference], rows: usize, memory: ByteSize) -> (Vec<Told>, u64, u64) {
        let mut builder = Builder::new("test");
        let batches = differences.chunks(rows).enumerate();
        let batches = batches.map(|(at, chunk)| batch(chunk, at * rows));
        let given = Given::all(batches.collect());
        let given = builder.stage("in", given, ()).done();
        let config = RenamesConfig {
            memory_limit: memory,
            ..RenamesConfig::default()
        };
        let renames = builder.stage("renames", Renames, config);
        let renames = renames.reads(&given).done();
        let sink = Collected::new();
        let _ = builder.sink("out", sink.clone()).reads(&renames);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        let batches: Vec<RecordBatch> = sink.items();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let told = batches.iter().flat_map(Rows::rows).map(|row| {
            let former = row.former;
            let differs = former.differs.contains(Field::Mode);
            (
                row.change.unwrap(),
                text(&row.path_bytes()),
                former.path.map(text),
                differs,
            )
        });
        let counters = &report.stage("renames").unwrap().counters;
        (told.collect(), counters["renamed"], counters["runs"])
    }

    /// The same with everything in memory.
    fn expected(differences: &[Difference]) -> Vec<Told> {
        let path = |at: usize| match differences[at].0 {
            Change::Removed => format!("old/d/{at:05}"),
            _ => format!("new/d/{at:05}"),
        };
        let mut removed: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
        for (at, (change, inode, _, size, _)) in differences.iter().enumerate() {
            if *change == Change::Removed {
                removed.entry((*inode, *size)).or_default().push(at);
            }
        }
        let mut gone = Vec::new();
        let mut formers = BTreeMap::new();
        for (at, (change, inode, device, size, _)) in differences.iter().enumerate() {
            let alike = removed.get_mut(&(*inode, *size));
            let Some(alike) = alike.filter(|alike| *change == Change::Added && !alike.is_empty())
            else {
                continue;
            };
            let same = alike
                .iter()
                .position(|&other| differences[other].2 == *device);
            let other = alike.remove(same.unwrap_or(0));
            gone.push(other);
            formers.insert(at, other);
        }
        let rest = (0..differences.len()).filter(|at| !gone.contains(at));
        let told = rest.map(|at| match formers.get(&at) {
            None => (differences[at].0, path(at), None, false),
            Some(&other) => {
                let differs = differences[at].4 != differences[other].4;
                (Change::Renamed, path(at), Some(path(other)), differs)
            }
        });
        told.collect()
    }

    fn difference() -> impl Strategy<Value = Difference> {
        let change = prop::sample::select(vec![
            Change::Added,
            Change::Removed,
            Change::Changed,
            Change::Unknown,
        ]);
        (change, 0..4_u64, 0..2_u64, 0..2_u64, 0..2_u32)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn pairs_are_those_that_are_found_in_memory(
            differences in prop::collection::vec(difference(), 0..30), rows in 1..6_usize,
        ) {
            let (told, renamed, _) = join(&differences, rows, LEAST_MEMORY);
            let count = told.iter().filter(|told| told.0 == Change::Renamed).count();
            prop_assert_eq!(renamed, count as u64);
            prop_assert_eq!(told, expected(&differences));
        }
    }

    #[test]
    fn what_does_not_fit_in_memory_is_joined_all_the_same() {
        // Each is renamed to the other end.
        let half: u64 = 60_000;
        let removed = (0..half).map(|inode| (Change::Removed, inode, 1, 7, 0o600));
        let added = (0..half).rev();
        let added = added.map(|inode| (Change::Added, inode, 1, 7, 0o600));
        let differences: Vec<Difference> = removed.chain(added).collect();
        let (told, renamed, runs) = join(&differences, 1000, LEAST_MEMORY);
        assert_eq!(renamed, half);
        assert!(runs > 1, "nothing was spilled");
        assert_eq!(told.len() as u64, half);
        for (at, told) in told.iter().enumerate() {
            let before = half as usize - 1 - at;
            let former = Some(format!("old/d/{before:05}"));
            let path = format!("new/d/{:05}", half as usize + at);
            assert_eq!(*told, (Change::Renamed, path, former, false));
        }
    }

    #[test]
    fn what_the_pairs_are_found_by_must_come_in() {
        let mut builder = Builder::new("test");
        let given = Given::new(records(&[b"a"])).fields(&["kind", "size", "change"]);
        let given = builder.stage("in", given, ()).done();
        let config = RenamesConfig {
            memory_limit: ByteSize::from_mib(1),
            ..RenamesConfig::default()
        };
        let renames = builder.stage("renames", Renames, config);
        let renames = renames.reads(&given).done();
        let _ = builder
            .sink("out", Collected::<RecordBatch>::new())
            .reads(&renames);
        let found: Vec<String> = problems(builder)
            .into_iter()
            .map(|(location, message, _)| format!("{location}: {message}"))
            .collect();
        assert_eq!(
            found,
            [
                "stages.renames.memory_limit: 1MiB is too little to sort in",
                "stages.renames: the records that come in have no \"inode\"",
                "stages.renames: the records that come in have no \"mtime\"",
            ]
        );
    }
}
