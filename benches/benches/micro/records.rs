//! Records to measure stages with: a tree of directories, as unequal as real ones, whose contents come in no order.

use std::path::Path;
use std::sync::Arc;

use statline_benches::random::Random;
use statline_benches::tree::name;
use statline_pipeline::testing::Items;
use statline_pipeline::{
    Builder, DEFAULT_OUTPUT, Declare, Job, Kind, NewStage, Opening, Outcome, OutputPort,
    Properties, RunReport, StageError,
};
use statline_platform::{DirNode, Fields, Kind as EntryKind, Metadata, NameBuf, Timestamp};
use statline_stages::{EntryBatch, RecordBatch};

/// Records in a message, as `batch` makes them.
const BATCH: usize = 1024;

/// One directory for so many records: less than the average of `Random::heavy` and a subdirectory.
const PER_DIRECTORY: usize = 12;

/// At the most so many files in a directory but the root: 2 to the power of this and one.
const DOUBLINGS: u32 = 12;

/// So many records below one root, with all that `stat` fetches unless it is told otherwise.
pub(crate) fn batches(records: usize) -> Vec<RecordBatch> {
    let mut random = Random::new(1, 0);
    let mut batches = Batches::default();
    let mut rest = records;
    let (root, mut directories) = directories(records / PER_DIRECTORY, &mut random);
    random.shuffle(&mut directories);
    for (directory, mut contents) in directories {
        let files = random.heavy(DOUBLINGS);
        contents
            .extend((0..files).map(|number| (name::file(&mut random, number), EntryKind::File)));
        random.shuffle(&mut contents);
        for (name, kind) in contents.into_iter().take(rest) {
            batches.push(&directory, &name, kind, &mut random);
            rest -= 1;
        }
    }
    // What is left over makes the root a large directory.
    for number in 0..rest {
        let name = name::file(&mut random, (records + number) as u64);
        batches.push(&root, &name, EntryKind::File, &mut random);
    }
    batches.take();
    assert_eq!(
        batches.whole.iter().map(RecordBatch::len).sum::<usize>(),
        records
    );
    batches.whole
}

/// A directory with what is in it.
type Directory = (Arc<DirNode>, Vec<(Vec<u8>, EntryKind)>);

/// A root, and all directories, it included, each with the directories in it.
fn directories(count: usize, random: &mut Random) -> (Arc<DirNode>, Vec<Directory>) {
    let root = DirNode::root(Path::new("/srv/data"));
    let mut directories: Vec<Directory> = vec![(Arc::clone(&root), Vec::new())];
    for number in 1..count {
        let (parent, contents) = &mut directories[random.below(number as u64) as usize];
        let name = name::directory(random, number as u64);
        let checked = NameBuf::new(&name).expect("a name without a slash");
        let node = DirNode::child(parent, checked.as_name());
        contents.push((name, EntryKind::Directory));
        directories.push((node, Vec::new()));
    }
    (root, directories)
}

#[derive(Default)]
struct Batches {
    whole: Vec<RecordBatch>,
    entries: EntryBatch,
    metadata: Vec<Metadata>,
}

impl Batches {
    fn push(
        &mut self,
        directory: &Arc<DirNode>,
        name: &[u8],
        kind: EntryKind,
        random: &mut Random,
    ) {
        self.entries
            .extend(directory, |entries| entries.push(name, Some(kind), 0));
        self.metadata.push(metadata(kind, random));
        if self.metadata.len() == BATCH {
            self.take();
        }
    }

    fn take(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let metadata = std::mem::take(&mut self.metadata);
        self.whole.push(RecordBatch::new(entries, metadata));
    }
}

/// Numbers as long as they are in life.
fn metadata(kind: EntryKind, random: &mut Random) -> Metadata {
    let mut time = || Timestamp {
        seconds: 1_500_000_000 + random.below(250_000_000) as i64,
        nanoseconds: random.below(1_000_000_000) as u32,
    };
    let times = [time(), time(), time()];
    let size = random.below(1 << 20);
    let mut metadata = Metadata::with_kind(kind);
    metadata
        .set_mode(0o644)
        .set_uid(1000)
        .set_gid(1000)
        .set_size(size)
        .set_allocated(size.next_multiple_of(4096))
        .set_nlink(1)
        .set_file_id((1 << 22 | random.below(1 << 22)).into())
        .set_device(0xfe00)
        .set_rdev(0)
        .set_accessed(times[0])
        .set_modified(times[1])
        .set_changed(times[2]);
    metadata
}

/// Adds a source of records that says what is in them.
pub(crate) fn source(builder: &mut Builder, batches: Vec<RecordBatch>) -> NewStage<'_> {
    builder.stage("in", Records, batches)
}

struct Records;

impl Kind for Records {
    type Config = Vec<RecordBatch>;
    type Ports = OutputPort<RecordBatch>;

    fn declare(&self, _: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports {
        let fields = Fields::BASIC.names().map(str::to_owned).collect();
        let properties = Properties {
            fields,
            ..Properties::default()
        };
        ports.output(DEFAULT_OUTPUT, properties)
    }

    fn open(
        &self,
        batches: Self::Config,
        out: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        stage.source(&out, |_| Ok(Items(batches)))
    }
}

/// Runs a job, which must handle all records.
pub(crate) fn run(job: Job, records: usize) -> RunReport {
    let report = job.run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let received = report.stage("out").map(|stage| stage.items_in);
    assert_eq!(received, Some(records as u64));
    report
}
