//! A batch on its way through `stat`, from names to records.
//!
//! It goes to and fro between a worker's steps and the worker. One thing must stay true: whatever call hangs, what is kept
//! here says which entry it was about, and what is left to ask for.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use statline_pipeline::{ErrorRecord, Pulse, Scope, StageError, Stop, Watch};
use statline_platform::{
    DirNode, Fault, Fields, Kind as EntryKind, Metadata, Pinned, error_code, is_cancelled,
};

use super::fetching::{Fetching, Question};
use super::worker::StatWorker;
use crate::directories::{Errand, after_cancel};
use crate::mount::{Mount, MountKey, Turn};
use crate::{EntryBatch, RecordBatch};

/// See the head of this file.
pub(super) struct Work {
    batch: Arc<EntryBatch>,
    /// One for each entry; without fields where nothing is known yet. Away while a group is asked for.
    metadata: Vec<Metadata>,
    /// Whether each entry was taken from memory; empty if none was.
    remembered: Vec<bool>,
    /// Entries that have no record: vanished, or with an error record.
    failed: Vec<u32>,
    /// Groups in which an entry hung; a second one is not waited for.
    hung: Vec<usize>,
    asking: Asking,
    /// The right to be at work on the mount that is asked.
    turn: Option<Turn>,
    /// Set when the call under way was given up: how many of its own steps were done.
    lost: Option<u64>,
}

/// What a call under way is about.
#[derive(Clone)]
struct Asking {
    operation: &'static str,
    group: usize,
    directory: Option<Arc<DirNode>>,
    /// The entries in the order in which they are asked for.
    order: Arc<Vec<u32>>,
    /// How many of them were asked for before.
    first: usize,
}

impl Work {
    pub(super) fn new(mut batch: EntryBatch) -> Work {
        batch.note_looked_at(SystemTime::now().into());
        Work {
            metadata: batch.take_metadata(),
            batch: Arc::new(batch),
            remembered: Vec::new(),
            failed: Vec::new(),
            hung: Vec::new(),
            asking: Asking {
                operation: "stat",
                group: 0,
                directory: None,
                order: Arc::default(),
                first: 0,
            },
            turn: None,
            lost: None,
        }
    }

    /// Accounts for what hangs. What was fetched with it is lost and fetched again.
    pub(super) fn resume(mut self, worker: &mut Watch<StatWorker>) -> Result<Work, StageError> {
        // Whoever waits for the next turn must not hold one.
        self.turn = None;
        self.metadata.resize(self.batch.len(), Metadata::default());
        if self
            .metadata
            .iter()
            .all(|metadata| metadata.fields().is_empty())
        {
            self.remembered.clear();
        }
        if let Some(done) = self.lost.take() {
            let Asking {
                operation,
                group,
                order,
                first,
                ..
            } = self.asking.clone();
            let done_of_call = usize::try_from(done).unwrap_or(usize::MAX);
            let hung = first.saturating_add(done_of_call).min(order.len());
            // Without a single entry that hangs it is the directory, and all in it.
            let hangs = match self.hanging(done) {
                Some(_) if !self.hung.contains(&group) => hung..hung + 1,
                Some(_) => hung..order.len(),
                None => 0..order.len(),
            };
            self.hung.push(group);
            let error = Fault::Stalled.into();
            for &entry in &order[hangs] {
                self.entry_failed(worker, entry, operation, &error)?;
            }
        }
        Ok(self)
    }

    /// The call under way, for whoever finds that it hangs.
    pub(super) fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        let mut path = Vec::new();
        if let Some(directory) = &self.asking.directory {
            match self.hanging(done) {
                Some(entry) => {
                    let name = self.batch.entries().name(entry as usize);
                    directory.write_entry_path(name, &mut path);
                }
                None => directory.write_path(&mut path),
            }
        }
        (self.asking.operation, path)
    }

    /// The call under way is not waited for any longer.
    pub(super) fn give_up(&mut self, done: u64, errand: &Errand) {
        if let Some(directory) = &self.asking.directory {
            let entry = self.hanging(done).map(|entry| entry as usize);
            let kind = entry.and_then(|entry| self.batch.entries().kind(entry));
            // On a directory's name something may be mounted that hangs.
            let of_device = entry.is_some() && kind != Some(EntryKind::Directory);
            errand.give_up(directory, of_device);
        }
        self.lost = Some(done);
    }

    /// The entry that the call under way hangs on, if it is about single entries.
    fn hanging(&self, done: u64) -> Option<u32> {
        let done = usize::try_from(done).ok()?;
        let Asking { order, first, .. } = &self.asking;
        let single = self.asking.operation != "open";
        order.get(first + done).copied().filter(|_| single)
    }

    /// Makes a watched call, during which this lies with the worker.
    fn call_out<R>(
        mut self,
        worker: &mut Watch<StatWorker>,
        asking: Asking,
        call: impl FnOnce(&Pulse) -> R,
    ) -> Result<(Work, R), StageError> {
        self.asking = asking;
        let errand = Arc::clone(&worker.errand);
        worker.work = Some(self);
        let answer = worker.call(|pulse| {
            let answer = call(pulse);
            drop(errand);
            answer
        })?;
        let work = worker.work.take();
        Ok((
            work.expect("it was put there, and nobody else takes it"),
            answer,
        ))
    }

    /// Fetches all that is asked for and sends the records.
    pub(super) fn finish(mut self, worker: &mut Watch<StatWorker>) -> Result<(), StageError> {
        let mut start = 0;
        let mut group = 0;
        let mut asks = worker.shared.targets;
        // The batch is shared with calls that were given up, so it is not borrowed while others are made.
        while let Some((directory, end)) = self.batch.group(group) {
            let directory = Arc::clone(directory);
            let mut order = std::mem::take(&mut worker.spare);
            order.clear();
            if let Some(recaller) = &mut worker.recaller {
                let (metadata, remembered) = (&mut self.metadata, &mut self.remembered);
                recaller.recall(&self.batch, &directory, start..end, metadata, remembered)?;
            }
            for entry in start..end {
                if !self.is_known(&worker.shared, entry) {
                    order.push(entry as u32);
                }
            }
            match order.is_empty() {
                true => worker.spare = order,
                false => {
                    asks = true;
                    self = self.stat_group(worker, group, directory, order)?;
                }
            }
            (start, group) = (end, group + 1);
        }
        let targets = match worker.shared.targets {
            true => {
                let (work, targets) = self.read_targets(worker)?;
                self = work;
                Some(targets)
            }
            false => None,
        };
        self.find_changed_kinds(worker)?;
        // Who brought all metadata with the names has let go of the directories, too.
        for end in self.batch.ends() {
            if asks && end.directories == 0 {
                worker.shared.directories.handles.retire(&end.directory);
            }
        }
        self.send(worker, targets)
    }

    /// Whether all that was asked for is known of an entry without a call, or known not to be had.
    fn is_known(&mut self, shared: &Fetching, entry: usize) -> bool {
        // Whoever brought metadata with the names brought what the file system has of it.
        if !self.metadata[entry].fields().is_empty() {
            // It may be more than was asked for.
            self.metadata[entry].keep(shared.fields);
            return true;
        }
        match self.batch.entries().kind(entry) {
            Some(kind) if shared.fields == Fields::KIND => {
                self.metadata[entry] = Metadata::with_kind(kind);
                true
            }
            _ => self.has_failed(entry),
        }
    }

    fn has_failed(&self, entry: usize) -> bool {
        !self.failed.is_empty() && self.failed.contains(&(entry as u32))
    }

    /// Asks for entries of one directory.
    fn stat_group(
        mut self,
        worker: &mut Watch<StatWorker>,
        group: usize,
        directory: Arc<DirNode>,
        order: Vec<u32>,
    ) -> Result<Work, StageError> {
        if worker.is_hopeless(&directory) {
            let error = Fault::Stalled.into();
            return self.group_failed(worker, &order, "stat", &error);
        }
        let mount = directory.identity().map(MountKey::from);
        let mount = mount.and_then(|key| worker.shared.mounts.known(key));
        if let Some(mount) = &mount {
            debug_assert!(self.turn.is_none(), "whoever holds a turn waits for none");
            self.turn = mount.turn();
            if self.turn.is_none() {
                self.turn = worker.parked(|worker| {
                    let context = &worker.shared.context;
                    mount.wait_for_turn(|| context.is_stopping())
                });
            }
            if self.turn.is_none() {
                return Err(StageError::Stopped(Stop::Cancelled));
            }
            if mount.limit.room() > 0 && worker.input.has_more() {
                worker.shared.context.call_up();
            }
        }
        worker.gauge.restart(None);
        let asking = Asking {
            operation: "open",
            group,
            directory: Some(Arc::clone(&directory)),
            order: Arc::new(order),
            first: 0,
        };
        let (mut work, unasked) = self.ask(worker, &directory, mount, asking)?;
        work.turn = None;
        match unasked {
            Some((order, error)) => work.group_failed(worker, &order, "open", &error),
            None => Ok(work),
        }
    }

    /// Asks for entries of one directory. Returns those that were not asked for as it cannot be opened.
    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn ask(
        mut self,
        worker: &mut Watch<StatWorker>,
        directory: &Arc<DirNode>,
        mount: Option<Arc<Mount>>,
        mut asking: Asking,
    ) -> Result<(Work, Option<(Vec<u32>, io::Error)>), StageError> {
        let mut mount = mount;
        let mut opened: Option<Pinned> = None;
        while asking.first < asking.order.len() {
            let pinned = match opened.take() {
                Some(pinned) => pinned,
                None => {
                    asking.operation = "open";
                    let call = {
                        let (shared, directory) =
                            (Arc::clone(&worker.shared), Arc::clone(directory));
                        let mount = mount.clone();
                        move |pulse: &Pulse| shared.open(&directory, mount, pulse)
                    };
                    let (work, opened) = self.call_out(worker, asking.clone(), call)?;
                    self = work;
                    let (pinned, found) = match opened {
                        Ok(opened) => opened,
                        Err(error) => {
                            let error = after_cancel(&worker.shared.context, error);
                            let unasked = asking.order[asking.first..].to_vec();
                            return Ok((self, Some((unasked, error))));
                        }
                    };
                    mount = found;
                    pinned
                }
            };
            // The one given to the last call is still with the work.
            self.asking.order = Arc::default();
            if asking.first == 0 && asks_in_inode_order(mount.as_deref()) {
                let entries = self.batch.entries();
                let order = Arc::make_mut(&mut asking.order);
                order.sort_unstable_by_key(|&entry| entries.inode_hint(entry as usize));
            }
            asking.operation = "stat";
            let call = {
                let (shared, batch) = (Arc::clone(&worker.shared), Arc::clone(&self.batch));
                let (directory, asking) = (Arc::clone(directory), asking.clone());
                let metadata = std::mem::take(&mut self.metadata);
                let gate = mount.as_ref().map(|mount| &mount.gate);
                let escort = gate.and_then(|gate| gate.escort(&shared.context));
                move |pulse: &Pulse| {
                    let question = Question {
                        batch: &batch,
                        directory: &directory,
                        order: &asking.order[asking.first..],
                        escort: escort.as_ref(),
                    };
                    shared.stat_some(&question, pinned, metadata, pulse)
                }
            };
            let (work, answers) = self.call_out(worker, asking.clone(), call)?;
            self = work;
            self.metadata = answers.metadata;
            opened = answers.pinned;
            asking.first += answers.done;
            if let Some(mount) = &mount {
                worker.gauge.returned(answers.done as u64, &mount.limit);
            }
            for (entry, error) in answers.errors {
                let error = after_cancel(&worker.shared.context, error);
                if is_cancelled(&error) {
                    return Err(StageError::Stopped(Stop::Cancelled));
                }
                self.entry_failed(worker, entry, "stat", &error)?;
            }
        }
        self.asking.order = Arc::default();
        worker.spare = Arc::unwrap_or_clone(asking.order);
        Ok((self, None))
    }

    fn group_failed(
        mut self,
        worker: &mut Watch<StatWorker>,
        order: &[u32],
        operation: &'static str,
        error: &io::Error,
    ) -> Result<Work, StageError> {
        if is_cancelled(error) {
            return Err(StageError::Stopped(Stop::Cancelled));
        }
        for &entry in order {
            self.entry_failed(worker, entry, operation, error)?;
        }
        Ok(self)
    }

    /// Accounts for a name that will have no record.
    fn entry_failed(
        &mut self,
        worker: &StatWorker,
        entry: u32,
        operation: &'static str,
        error: &io::Error,
    ) -> Result<(), StageError> {
        self.failed.push(entry);
        if error.kind() == io::ErrorKind::NotFound {
            worker.shared.vanished.add(1);
            return Ok(());
        }
        self.report(worker, entry as usize, operation, error, Scope::Entry)
    }

    fn report(
        &self,
        worker: &StatWorker,
        entry: usize,
        operation: &'static str,
        error: &io::Error,
        scope: Scope,
    ) -> Result<(), StageError> {
        let (directory, _) = self.batch.group_of(entry);
        let mut path = Vec::new();
        directory.write_entry_path(self.batch.entries().name(entry), &mut path);
        let (code, message) = (error_code(error), error.to_string());
        let record = ErrorRecord::new(operation, path, code, message, scope);
        worker.out.errors().report(record)
    }

    /// Reports what was not listed as a directory and is one: nobody has looked into it.
    fn find_changed_kinds(&self, worker: &StatWorker) -> Result<(), StageError> {
        let entries = self.batch.entries();
        for (entry, metadata) in self.metadata.iter().enumerate() {
            let as_listed = match entries.kind(entry) {
                None | Some(EntryKind::Directory) => true,
                Some(_) => metadata.kind() != Some(EntryKind::Directory),
            };
            if !as_listed {
                let error = Fault::KindChanged.into();
                self.report(worker, entry, "stat", &error, Scope::Subtree)?;
            }
        }
        Ok(())
    }

    /// Reads where the symbolic links of the batch lead.
    fn read_targets(
        mut self,
        worker: &mut Watch<StatWorker>,
    ) -> Result<(Work, Targets), StageError> {
        let mut targets = Targets::default();
        let mut start = 0;
        let mut group = 0;
        while let Some((directory, end)) = self.batch.group(group) {
            let directory = Arc::clone(directory);
            let is_link = |entry: &usize| {
                self.metadata[*entry].kind() == Some(EntryKind::Symlink) && !self.has_failed(*entry)
            };
            let links: Vec<u32> = (start..end).filter(is_link).map(|row| row as u32).collect();
            (start, group) = (end, group + 1);
            if links.is_empty() {
                continue;
            }
            if worker.is_hopeless(&directory) {
                let error = Fault::Stalled.into();
                self = self.group_failed(worker, &links, "readlink", &error)?;
                continue;
            }
            let asking = Asking {
                operation: "readlink",
                group: group - 1,
                directory: Some(Arc::clone(&directory)),
                order: Arc::new(links),
                first: 0,
            };
            let call = {
                let (shared, batch) = (Arc::clone(&worker.shared), Arc::clone(&self.batch));
                let links = Arc::clone(&asking.order);
                move |pulse: &Pulse| shared.read_links(&batch, &directory, &links, pulse)
            };
            let (work, found) = self.call_out(worker, asking, call)?;
            self = work;
            for (entry, target) in found {
                match target {
                    Ok(target) => targets.push(entry, &target),
                    Err(error) => {
                        let error = after_cancel(&worker.shared.context, error);
                        if is_cancelled(&error) {
                            return Err(StageError::Stopped(Stop::Cancelled));
                        }
                        self.entry_failed(worker, entry, "readlink", &error)?;
                    }
                }
            }
        }
        Ok((self, targets))
    }

    fn send(mut self, worker: &mut StatWorker, targets: Option<Targets>) -> Result<(), StageError> {
        let batch = Arc::unwrap_or_clone(self.batch);
        let count = batch.len();
        let mut records = RecordBatch::new(batch, self.metadata);
        if let Some(targets) = &targets {
            records.set_targets((0..count as u32).map(|entry| targets.of(entry)));
        }
        if !self.remembered.is_empty() {
            records.set_remembered(&self.remembered);
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
        match records.is_empty() {
            true => Ok(()),
            false => worker.out.send(records),
        }
    }
}

/// Where symbolic links lead, in the order of their entries.
#[derive(Default)]
struct Targets {
    bytes: Vec<u8>,
    /// Each entry with the place of its target among the bytes.
    places: Vec<(u32, std::ops::Range<usize>)>,
}

impl Targets {
    fn push(&mut self, entry: u32, target: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(target);
        self.places.push((entry, start..self.bytes.len()));
    }

    fn of(&self, entry: u32) -> &[u8] {
        let place = self
            .places
            .binary_search_by_key(&entry, |(entry, _)| *entry);
        place.map_or(&[], |place| &self.bytes[self.places[place].1.clone()])
    }
}

/// Whether a mount likes to be asked in the order of inode numbers.
fn asks_in_inode_order(mount: Option<&Mount>) -> bool {
    let filesystem = mount.and_then(|mount| mount.filesystem);
    filesystem.is_some_and(|found| found.profile().inode_order)
}
