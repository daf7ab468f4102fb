//! A worker of `enumerate`: takes directories from the frontier, has them read, sends what was found.
//!
//! Workers descend in parallel. Names go out as they are read, many directories in one message; the directories among
//! them go to the frontier. Two things must stay true: every directory that is met ends in exactly one `DirectoryEnd`,
//! and one that was not read whole ends as `Failed` with an error record, or as `Excluded` or `Vanished`; and all that
//! a worker knows is in [`Descent`], so that another thread can go on where a call hangs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statline_pipeline::{ErrorRecord, Outlet, Scope, StageError, Stop, Unread, Watch, Watched};
use statline_platform::{DirNode, Entries, Filesystem, Identity, error_code, is_cancelled};

use crate::directories::Errand;
use crate::enumerate::Scan;
use crate::frontier::{LocalFrontier, Next};
use crate::opened_roots::First;
use crate::reading::{Reading, Sent};
use crate::stat_ahead::StatAhead;
use crate::{DirectoryEnd, DirectoryStatus, EntryBatch};

/// Entries that make a message full.
const BATCH: usize = 1024;

/// How long a name may wait in a worker for others to travel with.
const PATIENCE: Duration = Duration::from_millis(2);

/// Why a directory was not read, where no error tells.
const EXCLUDED: &str = "excluded";
const VANISHED: &str = "vanished";

/// Names that were read and not yet sent.
pub(crate) struct Pending {
    pub(crate) batch: EntryBatch,
    /// When the oldest was read.
    since: Instant,
}

impl Pending {
    fn new(follows_links: bool) -> Pending {
        let mut batch = EntryBatch::with_capacity(BATCH);
        batch.set_follows_links(follows_links);
        Pending {
            batch,
            since: Instant::now(),
        }
    }
}

/// A worker of `enumerate`.
pub(crate) struct Descent {
    pub(crate) scan: Arc<Scan>,
    out: Outlet<EntryBatch>,
    pub(crate) frontier: LocalFrontier,
    pub(crate) pending: Pending,
    first: Vec<First>,
    /// The directory being read.
    pub(crate) reading: Option<Box<Reading>>,
    /// Memory for the next chunk of names.
    pub(crate) spare: Entries,
    /// What each device holds, asked once.
    pub(crate) filesystems: HashMap<u64, Option<Filesystem>>,
    /// Fetches metadata too, where all that is listed is for one `stat`.
    pub(crate) ahead: Option<StatAhead>,
    pub(crate) errand: Arc<Errand>,
}

impl Watched for Descent {
    fn run(worker: &mut Watch<Descent>) -> Result<(), StageError> {
        worker.ahead = worker.scan.directories.only_wish().map(StatAhead::new);
        worker.send_first()?;
        if let Some(reading) = worker.reading.take() {
            reading.resume(worker)?;
            worker.frontier.finished();
        }
        loop {
            match worker.frontier.next() {
                Next::Directory(node) => {
                    Reading::read(worker, &node)?;
                    worker.frontier.finished();
                }
                Next::Nothing => {
                    // Whoever sleeps keeps nothing that others could work on.
                    worker.flush()?;
                    if worker.scan.context.is_stopping() {
                        return Err(StageError::Stopped(Stop::Cancelled));
                    }
                    // Who is told while sending leaves a directory half read, and the frontier never ends.
                    if worker.out.has_enough() {
                        return Err(StageError::ENOUGH);
                    }
                    worker.frontier.wait();
                }
                Next::End => return worker.flush(),
            }
        }
    }

    fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        match &self.reading {
            Some(reading) => reading.call(done),
            None => ("open", Vec::new()),
        }
    }

    fn give_up(&mut self, done: u64) {
        if let Some(reading) = &mut self.reading {
            self.errand
                .give_up(reading.directory(), reading.hangs_with_its_device(done));
            reading.give_up(done);
        }
        self.errand = Errand::new(&self.scan.directories);
    }
}

impl Descent {
    pub(crate) fn new(
        scan: &Arc<Scan>,
        out: Outlet<EntryBatch>,
        frontier: LocalFrontier,
        first: Vec<First>,
    ) -> Descent {
        Descent {
            out,
            frontier,
            pending: Pending::new(scan.config.follow_symlinks),
            first,
            reading: None,
            spare: Entries::default(),
            filesystems: HashMap::new(),
            ahead: None,
            errand: Errand::new(&scan.directories),
            scan: Arc::clone(scan),
        }
    }

    fn send_first(&mut self) -> Result<(), StageError> {
        for first in std::mem::take(&mut self.first) {
            match first {
                First::Row(directory, name, kind) => {
                    self.pending.batch.extend(&directory, |entries| {
                        entries.push(name.as_name().as_bytes(), Some(kind), 0)
                    });
                }
                First::Unreadable(node, error) => {
                    self.directory_failed(&node, Sent::default(), "open", &error)?
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StageError> {
        if self.pending.batch.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(
            &mut self.pending,
            Pending::new(self.scan.config.follow_symlinks),
        );
        self.out.send(full.batch)
    }

    pub(crate) fn flush_if_due(&mut self) -> Result<(), StageError> {
        if self.pending.batch.len() >= BATCH || self.pending.since.elapsed() >= PATIENCE {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether nothing is to be asked of a directory's file system any more, because it does not answer.
    pub(crate) fn is_hopeless(&self, node: &DirNode) -> bool {
        self.scan.context.has_given_up() || self.scan.directories.is_dead(node)
    }

    /// What a device holds, as far as it was asked for.
    pub(crate) fn filesystem(&self, identity: &Identity) -> Option<Filesystem> {
        self.filesystems.get(&identity.device).copied().flatten()
    }

    /// Ends a directory that the job leaves out.
    pub(crate) fn skip(&mut self, node: &Arc<DirNode>) -> Result<(), StageError> {
        self.scan.skipped.add(1);
        self.end(node, Sent::default(), DirectoryStatus::Excluded)
    }

    /// Ends a directory that the job leaves out, and of which nobody could know that it does.
    pub(crate) fn skip_unforeseen(&mut self, node: &Arc<DirNode>) -> Result<(), StageError> {
        self.note_unread(node, EXCLUDED);
        self.skip(node)
    }

    fn note_unread(&self, node: &DirNode, reason: &'static str) {
        self.out.errors().note_unread(Unread {
            subject: node.path_bytes(),
            scope: Scope::Subtree,
            reason: Cow::Borrowed(reason),
        });
    }

    /// Ends a directory that could not be opened, or not be read any further.
    pub(crate) fn directory_failed(
        &mut self,
        node: &Arc<DirNode>,
        sent: Sent,
        operation: &'static str,
        error: &io::Error,
    ) -> Result<(), StageError> {
        if is_cancelled(error) {
            return Err(StageError::Stopped(Stop::Cancelled));
        }
        if error.kind() == io::ErrorKind::NotFound && sent.entries == 0 && !node.is_root() {
            self.scan.vanished_directories.add(1);
            // Where it is now, and what is in it, is not known.
            self.note_unread(node, VANISHED);
            return self.end(node, sent, DirectoryStatus::Vanished);
        }
        self.report(operation, node.path_bytes(), error)?;
        self.end(node, sent, DirectoryStatus::Failed)
    }

    /// Reports something below which nothing was read.
    pub(crate) fn report(
        &self,
        operation: &'static str,
        subject: Vec<u8>,
        error: &io::Error,
    ) -> Result<(), StageError> {
        let (code, message) = (error_code(error), error.to_string());
        let record = ErrorRecord::new(operation, subject, code, message, Scope::Subtree);
        self.out.errors().report(record)
    }

    /// Ends a directory.
    pub(crate) fn end(
        &mut self,
        node: &Arc<DirNode>,
        sent: Sent,
        status: DirectoryStatus,
    ) -> Result<(), StageError> {
        self.pending.batch.push_end(DirectoryEnd {
            directory: Arc::clone(node),
            entries: sent.entries,
            directories: sent.directories,
            status,
        });
        self.flush_if_due()
    }
}
