//! The stage kind `cache`: marks each record as new, changed or unchanged by what earlier runs saw.
//!
//! This file says what its options are and opens it; `cache/memory.rs` remembers in memory, `cache/disk.rs` in a store on
//! disk. What must stay true of both: nothing is called unchanged of which a run did not deliver the present state. So a
//! record is compared on its way through, but it is remembered only when the run is over, and only if everything was
//! published. And metadata that a change may leave as they are, because it came within the same tick of the file
//! system's clock, prove nothing later.

mod disk;
mod gone;
mod judge;
mod memory;
mod open_directory;
mod roots;
mod signature;
#[cfg(all(test, unix))]
mod tests;

use std::path::PathBuf;
use std::sync::Mutex;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, Counter, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, OutputPort,
    StageError,
};

use self::disk::DiskMarker;
pub(crate) use self::judge::Judge;
use self::memory::Memory;
use self::signature::check_signature;
pub(crate) use self::signature::{DEFAULT_SIGNATURE, is_settled};
use crate::store::RootIds;
use crate::{BatchedStatCache, Change, Field, RecordBatch};

/// Options of `cache`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CacheConfig {
    /// The file that remembers; without it memory does, until the program ends.
    ///
    /// It is created, for its owner alone, and used by one run at a time. What is known of a root is kept apart from
    /// other roots, so jobs may share a file one after the other. A file that is damaged, or of another version, is
    /// renamed to FILE.damaged-TIME with a warning, and everything is new then. Removing the file forgets everything.
    pub path: Option<PathBuf>,

    /// What the root is called in `path`: `id = "archive"`, or one for each root, `id = { "/mnt/a" = "archive" }`.
    ///
    /// Without it that is the absolute path of the root as the job names it. An id keeps what is known of a tree that
    /// is mounted elsewhere. Devices play no part, as their numbers change on NFS and btrfs.
    pub id: Option<RootIds>,

    /// The fields that must be the same for an entry to be unchanged.
    ///
    /// Of the default, those count that come in. Leave `ctime` out where it moves without a change, as after a restore
    /// or a change of owner, or on file systems that make it up (FAT, some FUSE and CIFS mounts); leave `inode` out where
    /// numbers do not last (FAT, CIFS without server inodes, many FUSE mounts). Without `ctime` a change that sets the
    /// old size and mtime again is not noticed. A value that the file system does not give counts as changed.
    pub signature: Vec<Field>,

    /// Whether to send a record, marked as deleted, for what was there in an earlier run and is gone; needs `path`.
    ///
    /// It holds what was remembered. Only a directory that was read whole shows that something is gone; what the job
    /// leaves out now is not gone. Stages that add up what there is leave such records out.
    pub deleted: bool,

    /// Entries to remember in memory; 1,000,000 unless something is said, at about 300 bytes each.
    ///
    /// Entries beyond that are marked new in each run. A path of more than 256 bytes counts as several entries.
    pub max_entries: Option<std::num::NonZeroUsize>,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            path: None,
            id: None,
            signature: DEFAULT_SIGNATURE.to_vec(),
            deleted: false,
            max_entries: None,
        }
    }
}

/// The kind `cache`: records in, the same records out, each marked.
///
/// It remembers in a file, or in memory and by path from one run to the next of the jobs that share this value: those of
/// one [`Registry`](statline_pipeline::Registry), or of clones of this. An entry whose times are not older than two
/// seconds when it is looked at is never called unchanged in the next run: a later change could have left the same
/// times. That an entry is gone is noticed only with a file.
///
/// [`BatchedStatCache`] says what an entry takes in memory. While a run goes on, what it will remember takes 170 bytes
/// and the path more for each entry that is new or changed. With a file, memory is bounded: some 100 MiB at the most, or
/// what one directory takes, at about 80 bytes an entry; and 300 bytes for each directory of which entries are missing,
/// until the end of the run.
#[derive(Clone, Debug)]
pub struct Cache {
    memory: Memory,
    /// Bytes that may wait for the ends of their directories, where a file remembers.
    most_waiting: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            memory: Memory::default(),
            most_waiting: disk::MOST_WAITING,
        }
    }
}

impl Cache {
    /// Remembers in `cache`, which the host may use and clear as it likes, unless a job names a file.
    pub fn new(cache: BatchedStatCache) -> Cache {
        Cache {
            memory: Memory::Given(cache),
            ..Cache::default()
        }
    }
}

impl Kind for Cache {
    type Config = CacheConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>, Vec<Field>);

    fn about(&self) -> &'static str {
        "marks records as new, changed or unchanged since the last run"
    }

    fn declare(&self, config: Option<&CacheConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        let mut signature = Vec::new();
        if let Some(config) = config {
            signature = check_signature(&config.signature, ports);
            self.check_place(config, ports);
        }
        let mut properties = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.clone())
            .unwrap_or_default();
        // A stream that states no fields is trusted to have them all, this one too.
        if !properties.fields.is_empty() {
            properties.fields.insert(Field::Change.to_string());
        }
        if config.is_some_and(|config| config.deleted) {
            properties.order = properties
                .order
                .lost("a cache that tells what was deleted adds records out of order");
        }
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
            signature,
        )
    }

    fn open(
        &self,
        config: CacheConfig,
        (input, out, signature): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        match &config.path {
            Some(path) => {
                let marker = DiskMarker::open(path, &config, signature, stage)?;
                let marker = marker.with_most_waiting(self.most_waiting);
                marker.start((&input, &out), stage)
            }
            None => self
                .memory
                .open(config.max_entries, (&input, &out), signature, stage),
        }
    }
}

impl Cache {
    /// Reports options that make no sense together.
    fn check_place(&self, config: &CacheConfig, ports: &mut Declare<'_>) {
        if let Some(path) = &config.path {
            if path.as_os_str().is_empty() {
                ports.problem("path", "an empty path names no file", None);
            }
            if config.max_entries.is_some() {
                let message = "a cache in a file has no limit of entries";
                let help = "take `max_entries` out, or `path`";
                ports.problem("max_entries", message, Some(help.to_owned()));
            }
            return;
        }
        let help = Some("add the path of the file to remember in, as `path`".to_owned());
        if config.id.is_some() {
            let message = "a cache in memory goes by paths, not by ids";
            ports.problem("id", message, help.clone());
        }
        if config.deleted {
            let message = "a cache in memory does not know what is gone";
            ports.problem("deleted", message, help);
        }
        if config.max_entries.is_some() && matches!(self.memory, Memory::Given(_)) {
            ports.problem(
                "max_entries",
                "the program that runs this job has set how many entries are remembered",
                Some("take `max_entries` out".to_owned()),
            );
        }
    }
}

/// The numbers that the report shows.
#[derive(Default)]
struct Counters {
    new: Counter,
    changed: Counter,
    unchanged: Counter,
    forgotten: Counter,
}

impl Counters {
    fn of(context: &Context) -> Counters {
        Counters {
            new: context.counter("new"),
            changed: context.counter("changed"),
            unchanged: context.counter("unchanged"),
            forgotten: context.counter("not_remembered"),
        }
    }

    fn count(&self, changes: &[Change]) {
        let mut counts = [0; 4];
        for change in changes {
            counts[*change as usize] += 1;
        }
        self.new.add(counts[Change::New as usize]);
        self.changed.add(counts[Change::Changed as usize]);
        self.unchanged.add(counts[Change::Unchanged as usize]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
