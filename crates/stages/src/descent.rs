//! A worker of `enumerate`: takes directories from the frontier, has them read, sends what was found.
//!
//! Workers descend in parallel. Names go out as they are read, many directories in one message; the directories among
//! them go to the frontier. Two things must stay true: every directory that is met ends in exactly one `DirectoryEnd`,
//! and one that was not read whole ends as `Failed` with an error record, or as `Excluded` or `Vanished`; and all that
//! a worker knows is in [`Descent`], so that another thread can go on where a call hangs.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statline_pipeline::{ErrorRecord, Outlet, Scope, StageError, Stop, Unread, Watch, Watched};
use statline_platform::{DirNode, Entries, Metadata, Timestamp, error_code, is_cancelled};

use crate::chunk::{self, Chunk, Claim, FROM_MEMORY};
use crate::concurrency::Gauge;
use crate::directories::{Errand, Wish};
use crate::enumerate::Scan;
use crate::frontier::{LocalFrontier, Next};
use crate::opened_roots::First;
use crate::politeness::Escort;
use crate::reading::{Progress, Reading, Sent};
use crate::{DirectoryEnd, DirectoryStatus, EntryBatch};

/// Entries that make a message full.
const BATCH: usize = 1024;

/// Where many are at work, each gathers less, so that all together never hold more than this.
const GATHERED: usize = 64 * BATCH;

/// How long a name may wait in a worker for others to travel with.
const PATIENCE: Duration = Duration::from_millis(2);

/// How long one may whose metadata was fetched: nobody waits for it to ask for more.
const PATIENCE_WITH_METADATA: Duration = Duration::from_millis(200);

/// Where many are at work, so much longer for each of them: of hundreds of threads those that read messages get a
/// processor seldom, and find more of them than a channel holds.
const PATIENCE_FOR_EACH: Duration = Duration::from_millis(2);

/// But no longer than this.
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// Why a directory was not read, where no error tells.
const EXCLUDED: &str = "excluded";
const VANISHED: &str = "vanished";

/// A worker of `enumerate`.
pub(crate) struct Descent {
    pub(crate) scan: Arc<Scan>,
    out: Outlet<EntryBatch>,
    pub(crate) frontier: LocalFrontier,
    /// Names that were read and not yet sent.
    pending: EntryBatch,
    /// When the oldest of them was read.
    since: Instant,
    first: Vec<First>,
    /// The directory being read.
    pub(crate) reading: Option<Box<Reading>>,
    /// The names whose metadata is being fetched.
    pub(crate) claim: Option<Claim>,
    /// Memory for the next chunk of names.
    pub(crate) spare: Option<Arc<Entries>>,
    /// Memory for the order in which entries are asked for.
    pub(crate) order: Vec<u32>,
    /// What is fetched here, where all that is listed is for one `stat`.
    pub(crate) wish: Option<Wish>,
    gauge: Gauge,
    pub(crate) errand: Arc<Errand>,
}

impl Watched for Descent {
    fn run(worker: &mut Watch<Descent>) -> Result<(), StageError> {
        worker.wish = worker.scan.directories.only_wish();
        worker.begins();
        worker.send_first()?;
        if let Some(claim) = worker.claim.take() {
            claim.resume(worker)?;
        }
        // After a call that hung the next one may hang as well: nothing is to wait for that.
        worker.flush()?;
        if let Some(reading) = worker.reading.take() {
            let progress = reading.resume(worker)?;
            worker.note(progress);
        }
        loop {
            match worker.frontier.next() {
                Next::Directory(node, parent) => {
                    let progress = Reading::read(worker, &node, parent)?;
                    worker.note(progress);
                }
                Next::Begun(reading) => {
                    let progress = reading.go_on(worker)?;
                    worker.note(progress);
                }
                Next::Chunk(chunk) => take_part(worker, &chunk)?,
                Next::Nothing => {
                    // Whoever sleeps keeps nothing that others could work on.
                    if worker.wish.is_none() {
                        worker.flush()?;
                    }
                    if worker.scan.context.is_stopping() {
                        return Err(StageError::Stopped(Stop::Cancelled));
                    }
                    // Who is told while sending leaves a directory half read, and the frontier never ends.
                    if worker.out.has_enough() {
                        return Err(StageError::ENOUGH);
                    }
                    let due = worker.due();
                    worker.parked(|worker| worker.frontier.wait(due));
                    worker.begins();
                    worker.flush_if_due()?;
                }
                Next::End => return worker.flush(),
            }
        }
    }

    fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        match (&self.claim, &self.reading) {
            (Some(claim), _) => claim.call(done),
            (None, Some(reading)) => reading.call(done),
            (None, None) => ("open", Vec::new()),
        }
    }

    fn give_up(&mut self, done: u64) {
        let errand = std::mem::replace(&mut self.errand, Errand::new(&self.scan.directories));
        if let Some(claim) = &mut self.claim {
            errand.give_up(claim.directory(), claim.hangs_with_its_device(done));
            claim.give_up(done);
        } else if let Some(reading) = &mut self.reading {
            errand.give_up(reading.directory(), reading.hangs_with_its_device(done));
            reading.give_up(done);
        }
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
            pending: EntryBatch::default(),
            since: Instant::now(),
            first,
            reading: None,
            claim: None,
            spare: None,
            order: Vec::new(),
            wish: None,
            gauge: Gauge::new(),
            errand: Errand::new(&scan.directories),
            scan: Arc::clone(scan),
        }
    }

    fn send_first(&mut self) -> Result<(), StageError> {
        for first in std::mem::take(&mut self.first) {
            match first {
                First::Row(directory, name, kind) => {
                    self.pending_for(1).extend(&directory, |entries| {
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

    /// What is gathered, with room for so many more.
    pub(crate) fn pending_for(&mut self, entries: usize) -> &mut EntryBatch {
        if self.pending.is_empty() {
            self.since = self.gauge.last();
            self.pending = EntryBatch::with_capacity(entries.max(self.full()));
            self.pending
                .set_follows_links(self.scan.config.follow_symlinks);
            self.pending.set_urgent(self.interleaved().is_some());
        }
        &mut self.pending
    }

    /// How many names to hand on at once where attributes come along with names only while somebody stats them, and that
    /// is not done here.
    fn interleaved(&self) -> Option<usize> {
        let filesystem = self.frontier.mount()?.filesystem?;
        let profile = filesystem.profile();
        (self.wish.is_none() && profile.interleave).then_some(profile.chunk)
    }

    /// How many entries make a message full.
    fn full(&self) -> usize {
        if let Some(chunk) = self.interleaved() {
            return chunk;
        }
        // Those count as well that have nothing to do at the moment: what they sent is still on its way.
        let mount = self.frontier.mount();
        let allowed = mount.map_or(1, |mount| mount.limit.allowed());
        (GATHERED / self.frontier.at_work().max(allowed)).clamp(1, BATCH)
    }

    fn flush(&mut self) -> Result<(), StageError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let full = std::mem::take(&mut self.pending);
        self.out.send(full)?;
        self.begins();
        Ok(())
    }

    pub(crate) fn flush_if_due(&mut self) -> Result<(), StageError> {
        let waited = self.gauge.last().saturating_duration_since(self.since);
        if self.pending.len() >= self.full() || waited >= self.patience() {
            self.flush()?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        if self.wish.is_none() {
            return PATIENCE;
        }
        let workers = u32::try_from(self.frontier.at_work()).unwrap_or(u32::MAX);
        (PATIENCE_FOR_EACH.saturating_mul(workers)).clamp(PATIENCE_WITH_METADATA, MOST_PATIENCE)
    }

    /// When what is gathered is to go on, if there is anything.
    fn due(&self) -> Option<Instant> {
        (!self.pending.is_empty()).then(|| self.since + self.patience())
    }

    /// Hands on some of the names of a directory.
    pub(crate) fn hand_on(
        &mut self,
        directory: &Arc<DirNode>,
        names: &Entries,
        range: Range<usize>,
    ) -> Result<(), StageError> {
        self.pending_for(range.len())
            .append_range(directory, names, range);
        self.flush_if_due()
    }

    /// Hands on names of a directory that came with metadata, which was asked for at that time.
    pub(crate) fn hand_on_known(
        &mut self,
        directory: &Arc<DirNode>,
        names: &Entries,
        looked_at: Timestamp,
    ) -> Result<(), StageError> {
        let pending = self.pending_for(names.len());
        pending.append_range(directory, names, 0..names.len());
        pending.note_looked_at(looked_at);
        self.flush_if_due()
    }

    /// Hands on some of the names of a directory. `metadata` is that of all that was gathered before, and theirs.
    pub(crate) fn hand_on_fetched(
        &mut self,
        directory: &Arc<DirNode>,
        names: &Entries,
        range: Range<usize>,
        metadata: Vec<Metadata>,
    ) -> Result<(), StageError> {
        self.pending.append_range(directory, names, range);
        self.pending.put_metadata(metadata);
        self.flush_if_due()
    }

    /// What a call to the mount at work takes along.
    pub(crate) fn escort(&self) -> Option<Escort> {
        let mount = self.frontier.mount()?;
        mount.gate.escort(&self.scan.context)
    }

    /// The worker has waited for something that is not its mount.
    fn begins(&mut self) {
        let mount = self.frontier.mount();
        self.gauge.restart(mount.map(|mount| &mount.limit));
    }

    /// So many calls to the mount at work have come back.
    pub(crate) fn returned(&mut self, calls: u64) {
        if let Some(mount) = self.frontier.mount() {
            self.gauge.returned(calls, &mount.limit);
        }
    }

    /// A call to the mount at work has come back that never takes long as a rule.
    pub(crate) fn count_call(&mut self) {
        self.gauge.count();
    }

    /// How many names of a chunk to claim: no more than fill a message. If they do not fit into what is gathered, that is
    /// sent first.
    pub(crate) fn share_of(&mut self, chunk: &Chunk, shared: bool) -> Result<usize, StageError> {
        let part = match self.frontier.mount() {
            Some(mount) => {
                // Those who were woken are not at work yet.
                let workers = if shared { mount.limit.allowed() } else { 1 };
                chunk.part(workers, mount.limit.latency())
            }
            None => chunk.left(),
        };
        let full = self.full();
        let part = part.min(chunk.left()).clamp(1, full);
        if self.pending.len() + part > full {
            self.flush()?;
        }
        Ok(part)
    }

    /// Whether the mount at work answers from memory, and gives no attributes along with names for which it would have to
    /// be asked about those names first.
    pub(crate) fn calls_are_quick(&self) -> bool {
        self.frontier.mount().is_some_and(|mount| {
            let filesystem = mount.filesystem;
            mount.limit.latency() <= FROM_MEMORY
                && filesystem.is_some_and(|found| !found.profile().interleave)
        })
    }

    pub(crate) fn is_worth_sharing(&self, chunk: &Chunk) -> bool {
        let mount = self.frontier.mount();
        mount.is_some_and(|mount| chunk.is_worth_sharing(mount.limit.latency()))
    }

    fn note(&mut self, progress: Progress) {
        if progress == Progress::Finished {
            self.frontier.finished();
        }
    }

    /// Whether nothing is to be asked of a directory's file system any more, because it does not answer.
    pub(crate) fn is_hopeless(&self, node: &DirNode) -> bool {
        self.scan.context.has_given_up() || self.scan.directories.is_dead(node)
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
        self.pending_for(0).push_end(DirectoryEnd {
            directory: Arc::clone(node),
            entries: sent.entries,
            directories: sent.directories,
            status,
        });
        self.flush_if_due()
    }
}

/// Fetches metadata of a chunk that another worker listed, as long as there is something left of it.
fn take_part(worker: &mut Watch<Descent>, chunk: &Arc<Chunk>) -> Result<(), StageError> {
    let _helper = chunk.help();
    while let Some(claim) = chunk.claim(worker.share_of(chunk, true)?) {
        if let Some(rest) = chunk::fetch(worker, claim, None)? {
            // Others are to finish what was claimed.
            worker.frontier.offer(&rest.into_chunk(), 0);
            return Ok(());
        }
        if worker.frontier.is_over() {
            return Ok(());
        }
    }
    Ok(())
}
