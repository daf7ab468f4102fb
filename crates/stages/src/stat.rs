//! `stat`: fetches the metadata of names.
//!
//! A worker takes a batch, pins each directory in it for as long as it asks for the entries there, and hands on what it
//! got. One thing must stay true: of each name that comes in, exactly one of three goes out: a record, an error record,
//! or one more on the `vanished` count.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Actor, Context, Counter, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, ErrorRecord, Inlet, InputPort,
    Kind, Opening, Order, Outlet, OutputPort, Properties, Scope, StageError, Stop, ThreadSetting,
    Threading,
};
use statline_platform::{
    Backend, DirNode, Fields, Filesystem, Kind as EntryKind, Metadata, Name, error_code,
    is_cancelled,
};

use crate::directories::{BackendSetting, Directories, Wish, backend};
use crate::error_codes;
use crate::fields::StatFields;
use crate::{EntryBatch, RecordBatch, Rows};

/// Options of `stat`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatConfig {
    /// What to fetch; the less, the cheaper on network file systems.
    pub fields: StatFields,
    /// Whether to read where symbolic links lead, as the field `target`.
    pub targets: bool,
    /// The system calls to use.
    pub backend: BackendSetting,
}

/// The kind `stat`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stat;

impl Kind for Stat {
    type Config = StatConfig;
    type Ports = (InputPort<EntryBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "fetches the metadata of names"
    }

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, config: Option<&StatConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        error_codes::declare(ports);
        let order = ports
            .incoming(DEFAULT_INPUT)
            .map_or(Order::Unknown, |stream| stream.properties.order.clone());
        let mut fields: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        if let Some(config) = config {
            fields.extend(config.fields.to_fields().names().map(str::to_owned));
            fields.extend(config.targets.then(|| "target".to_owned()));
        }
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, Properties { order, fields }),
        )
    }

    fn open(
        &self,
        config: StatConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let backend = backend(config.backend)?;
        let directories = Directories::of_run(stage, &backend)?;
        directories.note_wish(Wish {
            fields: config.fields.to_fields(),
            backend: Arc::clone(&backend),
        });
        let threads = match stage.threads() {
            ThreadSetting::Auto => directories.threads(),
            ThreadSetting::Count(count) => count,
        };
        let vanished = stage.context().counter("vanished");
        for _ in 0..threads {
            let context = stage.context().clone();
            stage.worker(|ends| {
                Ok(StatWorker {
                    input: ends.input(&input),
                    out: ends.output(&output),
                    fields: config.fields.to_fields(),
                    targets: config.targets,
                    backend: Arc::clone(&backend),
                    directories: Arc::clone(&directories),
                    context,
                    vanished: vanished.clone(),
                    inode_order: HashMap::new(),
                    order: Vec::new(),
                    failed: Vec::new(),
                })
            })?;
        }
        Ok(())
    }
}

struct StatWorker {
    input: Inlet<EntryBatch>,
    out: Outlet<RecordBatch>,
    fields: Fields,
    targets: bool,
    backend: Arc<dyn Backend>,
    directories: Arc<Directories>,
    context: Context,
    vanished: Counter,
    /// Whether a device likes to be asked in the order of inode numbers.
    inode_order: HashMap<u64, bool>,
    /// The entries of a group in the order in which they are asked for; kept for its memory.
    order: Vec<u32>,
    /// The entries of a batch that have no record; kept for its memory.
    failed: Vec<u32>,
}

impl Actor for StatWorker {
    fn run(&mut self) -> Result<(), StageError> {
        while let Some(batch) = self.input.recv()? {
            let records = self.stat_batch(batch)?;
            if !records.is_empty() {
                self.out.send(records)?;
            }
        }
        Ok(())
    }
}

impl StatWorker {
    fn stat_batch(&mut self, mut batch: EntryBatch) -> Result<RecordBatch, StageError> {
        let mut metadata = batch.take_metadata();
        self.failed.clear();
        for (directory, range) in batch.groups() {
            self.order.clear();
            for index in range {
                if !self.is_known(&batch, index, &mut metadata[index]) {
                    self.order.push(index as u32);
                }
            }
            if !self.order.is_empty() {
                self.stat_group(&batch, directory, &mut metadata)?;
            }
        }
        let mut records = RecordBatch::new(batch, metadata);
        if self.targets {
            self.read_targets(&mut records)?;
        }
        for end in records.ends() {
            if end.directories == 0 {
                self.directories.handles.retire(&end.directory);
            }
        }
        if !self.failed.is_empty() {
            self.failed.sort_unstable();
            let mut row = 0;
            let mut failed = self.failed.iter().copied().peekable();
            records.retain(|_| {
                let keep = failed.next_if_eq(&row).is_none();
                row += 1;
                keep
            });
        }
        Ok(records)
    }

    /// Whether all that was asked for is known of an entry without a call.
    fn is_known(&self, batch: &EntryBatch, index: usize, metadata: &mut Metadata) -> bool {
        // Whoever brought metadata with the names brought what the file system has of it.
        if !metadata.fields().is_empty() {
            return true;
        }
        match batch.entries().kind(index) {
            Some(kind) if self.fields == Fields::KIND => {
                *metadata = Metadata::with_kind(kind);
                true
            }
            _ => false,
        }
    }

    fn stat_group(
        &mut self,
        batch: &EntryBatch,
        directory: &Arc<DirNode>,
        metadata: &mut [Metadata],
    ) -> Result<(), StageError> {
        let entries = batch.entries();
        let context = &self.context;
        let pinned = match self
            .directories
            .handles
            .pin(directory, &|| context.is_stopping())
        {
            Ok(pinned) => pinned,
            Err(error) => return self.group_failed(batch, directory, &error),
        };
        if self.order.len() > 1 && likes_inode_order(&mut self.inode_order, directory, &pinned) {
            self.order
                .sort_unstable_by_key(|&index| entries.inode_hint(index as usize));
        }
        let mut errors = Vec::new();
        let follow = batch.follows_links();
        self.backend.stat_each(
            &pinned,
            entries,
            &self.order,
            self.fields,
            follow,
            &mut |index, result| match result {
                Ok(found) => metadata[index as usize] = found,
                Err(error) => errors.push((index, error)),
            },
        );
        if follow {
            // A link that leads nowhere is described itself, as `find -L` does.
            errors.retain(|(index, _)| {
                let name = entries.name(*index as usize);
                match self.backend.stat(&pinned, name, self.fields, false) {
                    Ok(found) => metadata[*index as usize] = found,
                    Err(_) => return true,
                }
                false
            });
        }
        // Reporting may wait for a full channel; whoever waits holds no directory.
        drop(pinned);
        for (index, error) in errors {
            self.entry_failed(
                directory,
                entries.name(index as usize),
                index,
                "stat",
                &error,
            )?;
        }
        Ok(())
    }

    fn group_failed(
        &mut self,
        batch: &EntryBatch,
        directory: &Arc<DirNode>,
        error: &io::Error,
    ) -> Result<(), StageError> {
        if is_cancelled(error) {
            return Err(StageError::Stopped(Stop::Cancelled));
        }
        for index in std::mem::take(&mut self.order) {
            self.entry_failed(
                directory,
                batch.entries().name(index as usize),
                index,
                "open",
                error,
            )?;
        }
        Ok(())
    }

    /// Accounts for a name that will have no record.
    fn entry_failed(
        &mut self,
        directory: &DirNode,
        name: Name<'_>,
        index: u32,
        operation: &'static str,
        error: &io::Error,
    ) -> Result<(), StageError> {
        self.failed.push(index);
        if error.kind() == io::ErrorKind::NotFound {
            self.vanished.add(1);
            return Ok(());
        }
        let mut path = Vec::new();
        directory.write_entry_path(name, &mut path);
        let record = ErrorRecord::new(
            operation,
            path,
            error_code(error),
            error.to_string(),
            Scope::Entry,
        );
        self.out.errors().report(record)
    }

    fn read_targets(&mut self, records: &mut RecordBatch) -> Result<(), StageError> {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(records.len());
        let mut errors = Vec::new();
        for (directory, range) in records.entries().groups() {
            let links = range.clone().any(|row| is_link(&records.metadata()[row]));
            let context = &self.context;
            let pinned = match links {
                true => self
                    .directories
                    .handles
                    .pin(directory, &|| context.is_stopping())
                    .map(Some),
                false => Ok(None),
            };
            for row in range {
                if is_link(&records.metadata()[row]) {
                    let name = records.entries().entries().name(row);
                    let read = match &pinned {
                        Ok(Some(pinned)) => self.backend.read_link(pinned, name, &mut bytes),
                        Ok(None) => Ok(()),
                        Err(error) if is_cancelled(error) => {
                            return Err(StageError::Stopped(Stop::Cancelled));
                        }
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    if let Err(error) = read {
                        errors.push((Arc::clone(directory), row, error));
                    }
                }
                ends.push(bytes.len());
            }
        }
        let mut start = 0;
        let targets = ends
            .into_iter()
            .map(|end| &bytes[std::mem::replace(&mut start, end)..end]);
        records.set_targets(targets);
        for (directory, row, error) in errors {
            let index = row as u32;
            if !self.failed.contains(&index) {
                let name = records.entries().entries().name(row);
                self.entry_failed(&directory, name, index, "readlink", &error)?;
            }
        }
        Ok(())
    }
}

fn is_link(metadata: &Metadata) -> bool {
    metadata.kind() == Some(EntryKind::Symlink)
}

fn likes_inode_order(
    known: &mut HashMap<u64, bool>,
    directory: &DirNode,
    handle: &statline_platform::Handle,
) -> bool {
    let Some(identity) = directory.identity() else {
        return false;
    };
    *known.entry(identity.device).or_insert_with(|| {
        Filesystem::of(handle).is_ok_and(|filesystem| filesystem.profile().inode_order)
    })
}
