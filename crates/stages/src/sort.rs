//! The stage kind `sort`: takes every record, puts them in order, then sends them.
//!
//! Records are gathered in memory (`sort/gathered.rs`). When that is full they are sorted and written as a *run*
//! (`sort/spilled.rs`, on the core in `spill.rs`); at the end the runs are *merged* into the output. Where all records
//! fit, the one run stays in memory and is read off. `sort/sorter.rs` is the stage at work.
//!
//! What must stay true: the output depends on the records alone, not on the order in which they came, nor on how they
//! were cut into batches, nor on the number of threads, nor on the limit of memory. That is why the path is always the
//! last key. (Two records of one path, as from a root that is scanned twice, are in the order in which they came.)

mod ends;
mod gathered;
mod order;
mod packed_row;
mod path_key;
mod rebuilt_nodes;
mod sorter;
mod spilled;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    ByteSize, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Order, OutputPort,
    Properties, StageError,
};

use crate::field::{come_as_records, need_each};
use crate::omissions;
use crate::spill::{Spill, SpillOptions};
use crate::{Field, RecordBatch, SortKey};
use sorter::Sorter;

// Other stages write rows to disk in the same form.
pub(crate) use packed_row::{RowPacker, RowUnpacker};
pub(crate) use rebuilt_nodes::{RebuiltNodes, Roots};
pub(crate) use spilled::note_root;

/// Records in a batch that the stage sends, and in one that it gathers.
const BATCH: usize = 1024;

/// With less than that there is no room for runs beside what merging them takes.
const LEAST_MEMORY: ByteSize = ByteSize::from_mib(8);

/// Options of the kind `sort`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SortConfig {
    /// The fields to sort by, the first one first; `-size` for descending.
    ///
    /// Paths are compared component by component and by bytes, so a directory is followed at once by its contents.
    /// Records that are equal in all of these fields are in the order of their paths. A value that is absent counts as
    /// smaller than any other: such records come first, or last where the field is descending. Kinds are in the order
    /// file, directory, symlink, fifo, socket, block_device, char_device, other; marks in the order new, changed,
    /// unchanged, deleted, added, removed, renamed, unknown, copy, update, delete.
    #[serde(default = "by_path")]
    pub by: Vec<SortKey>,

    /// Keep only so many records, the first ones of the order.
    ///
    /// The others are thrown away as they come, so that memory and time are bounded by this number, however many
    /// records come in; no more than `memory_limit` is used for it, either. The ends of directories are not passed on:
    /// they speak of entries that were left out.
    #[serde(default)]
    pub limit: Option<NonZeroUsize>,

    /// The memory that the stage may use; at least 8MiB.
    ///
    /// Records, the nodes of their directories, and all that sorting them takes are counted. What does not fit is
    /// written to `spill_dir` in sorted runs, some tens of bytes for a record, and merged at the end; the order is the
    /// same whatever the limit. In memory a record takes about 230 bytes, so by default a million of them fit.
    #[serde(default = "default_memory")]
    pub memory_limit: ByteSize,

    /// The directory for what does not fit in memory; by default that of the system for temporary files.
    ///
    /// It should be on a disk: where it is a tmpfs, it is memory as well. The file has no name there (on Unix) and is
    /// gone with the process, however that ends.
    #[serde(default)]
    pub spill_dir: Option<PathBuf>,
}

fn by_path() -> Vec<SortKey> {
    vec![SortKey::PATH]
}

fn default_memory() -> ByteSize {
    ByteSize::from_mib(256)
}

impl Default for SortConfig {
    fn default() -> SortConfig {
        SortConfig {
            by: by_path(),
            limit: None,
            memory_limit: default_memory(),
            spill_dir: None,
        }
    }
}

impl SortConfig {
    fn spill_directory(&self) -> PathBuf {
        self.spill_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// The kind `sort`: records in, the same records out, in order.
///
/// It holds every record until its input ends, in memory or, what does not fit, in a temporary file. With the feature
/// `parallel` the sorting is spread over a pool of threads of its own.
///
/// The ends of directories are sent after all records, in path order. What was spilled comes with nodes made anew: they
/// tell the same paths and identities, but are not the nodes that came in, and an end has another node than the rows of
/// its directory. Who joins the two by their nodes, as a cache does, belongs before the sort.
///
/// Counters: `runs` that were written, `spilled_bytes` as they are in the file, `merge_passes` over them, the last one
/// included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sort;

impl Kind for Sort {
    type Config = SortConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "puts records in order, or keeps the first of an order"
    }

    fn declare(&self, config: Option<&SortConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config {
            check_keys(&config.by, ports);
            if config.memory_limit < LEAST_MEMORY {
                let message = format!("{} is too little to sort in", config.memory_limit);
                let help = format!("allow at least {LEAST_MEMORY}");
                ports.problem("memory_limit", message, Some(help));
            }
        }
        ports.holds_everything();
        let fields = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.fields.clone())
            .unwrap_or_default();
        let order = config.map_or(Order::Unknown, |config| {
            Order::By(
                keys_with_path(&config.by)
                    .map(|key| key.to_string())
                    .collect(),
            )
        });
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, Properties { order, fields }),
        )
    }

    fn open(
        &self,
        config: SortConfig,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        omissions::state(stage.context(), "sort", &config)?;
        if let Some(directory) = &config.spill_dir {
            // What the job names is looked at now, not when hours have passed.
            Spill::create(SpillOptions {
                directory: directory.clone(),
                memory: 0,
                context: None,
            })?;
        }
        Spill::announce(stage.context());
        let sorter = Sorter::new(&config, Some(stage.context()));
        stage.transform(&input, &out, |_| Ok(sorter))
    }
}

/// Reports keys that cannot be sorted by.
fn check_keys(by: &[SortKey], ports: &mut Declare<'_>) {
    if by.is_empty() {
        let help = "name a field, or take `by` out to sort by path";
        ports.problem("by", "there is no field to sort by", Some(help.into()));
    }
    let fields: Vec<Field> = by.iter().map(|key| key.field).collect();
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].contains(field) {
            let message = format!("\"{field}\" is listed twice");
            ports.problem(&format!("by[{at}]"), message, None);
        }
    }
    // Whoever sends anything else has the wrong type.
    if come_as_records(ports) {
        need_each(ports, "by", &fields);
    }
}

/// The keys that decide anything: nothing after the path does, and the path decides last.
fn keys_with_path(by: &[SortKey]) -> impl Iterator<Item = SortKey> {
    let path = by.iter().position(|key| key.field == Field::Path);
    let (before, path) = match path {
        Some(at) => (&by[..at], by[at]),
        None => (by, SortKey::PATH),
    };
    before.iter().copied().chain([path])
}

#[cfg(test)]
mod tests;
