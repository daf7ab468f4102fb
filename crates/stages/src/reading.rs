//! How one directory is read: opened, listed chunk by chunk, the kinds of its entries found out, metadata fetched ahead.
//!
//! Each step that asks the file system is a watched call, which gets no hold of the worker. One thing must stay true:
//! whatever call hangs, what is kept here says where to go on. A directory whose opening or listing hangs has failed; an
//! entry that hangs is reported, and its siblings are handled.

mod listing;
mod resolve;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use statline_pipeline::{Pulse, StageError, Watch};
use statline_platform::{DirNode, Entries, Fault, Kind, Listing};

use crate::DirectoryStatus;
use crate::admission::Admission;
use crate::chunk::{self, Chunk};
use crate::descent::Descent;
use crate::directories::after_cancel;
use crate::frontier::Parent;
use crate::stale::{STALE_REPETITIONS, is_stale};
use listing::{Read, take_over_metadata};

/// What was sent of a directory.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) entries: u64,
    pub(crate) directories: u64,
}

/// Chunks of one directory that others may still be at work on while the next is listed.
const CHUNKS: usize = 2;

/// How many directories in another one are all opened soon after it was listed.
const FEW: u64 = 256;

/// Whether a directory is done with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Finished,
    /// Another worker goes on with it.
    HandedOver,
}

/// What comes of one step.
enum After {
    Next(Box<Reading>),
    Over(Progress),
}

const FINISHED: After = After::Over(Progress::Finished);

/// A directory that is being read. Boxed, because it goes to and fro between the steps and the worker.
pub(crate) struct Reading {
    node: Arc<DirNode>,
    /// Kept open until this is.
    parent: Option<Arc<Parent>>,
    /// Kept open for the directories in it, once there are any.
    itself: Option<Arc<Parent>>,
    follows_links: bool,
    /// Its path below the root, as the exclude patterns want it.
    prefix: Vec<u8>,
    /// Away while it is listed.
    listing: Option<Listing>,
    sent: Sent,
    /// How many names were listed, those that are not handed on included.
    listed: u64,
    /// The names last listed, until they are handed on.
    names: Arc<Entries>,
    /// How often it was opened anew because its server had forgotten it.
    reopened: u32,
    /// How the listing of the chunk ended: whether there is more.
    more: io::Result<bool>,
    /// Those of the names that are not handed on: excluded, vanished, or with an error record of their own.
    dropped: Vec<u32>,
    /// The names as workers claim them, and whether others were asked to.
    chunk: Option<(Arc<Chunk>, bool)>,
    /// Those of chunks before that were left to others.
    left: Vec<Arc<Chunk>>,
    /// Whether `stat` may have something to ask for here.
    is_left_to_stat: bool,
    /// When metadata came with the names last listed, if it did.
    looked_at: Option<SystemTime>,
    step: Step,
    /// Set when nothing more is to be read.
    ending: Option<Ending>,
    /// Set when the call under way was given up: how many of its own steps were done.
    lost: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    List,
    /// Kinds are asked for that the listing did not tell.
    Resolve,
    /// The names are handed on, with their metadata where that is wanted.
    HandOn,
    /// The directory is let go of, which may ask the file system, too.
    Close,
}

/// How a directory ends once it has been let go of.
enum Ending {
    Complete,
    Excluded,
    Failed(&'static str, io::Error),
    /// Its end is told elsewhere.
    Elsewhere,
}

impl Reading {
    /// Reads a directory of the frontier to its end.
    pub(crate) fn read(
        worker: &mut Watch<Descent>,
        node: &Arc<DirNode>,
        parent: Option<Arc<Parent>>,
    ) -> Result<Progress, StageError> {
        let config = &worker.scan.config;
        if config.max_depth.is_some_and(|max| node.depth() >= max) {
            return worker.skip(node).map(|()| Progress::Finished);
        }
        let follows_links = config.follow_symlinks;
        let names = worker.spare.take().unwrap_or_default();
        let mut reading = Reading::new(node, parent, names, follows_links);
        reading.is_left_to_stat = worker.wish.is_none();
        let excludes = &worker.scan.excludes;
        excludes.write_prefix(node, &mut reading.prefix);
        reading.go_on(worker)
    }

    fn new(
        node: &Arc<DirNode>,
        parent: Option<Arc<Parent>>,
        names: Arc<Entries>,
        follows_links: bool,
    ) -> Box<Reading> {
        Box::new(Reading {
            node: Arc::clone(node),
            parent,
            itself: None,
            follows_links,
            prefix: Vec::new(),
            listing: None,
            sent: Sent::default(),
            listed: 0,
            reopened: 0,
            names,
            more: Ok(true),
            dropped: Vec::new(),
            chunk: None,
            left: Vec::new(),
            is_left_to_stat: false,
            looked_at: None,
            step: Step::Open,
            ending: None,
            lost: None,
        })
    }

    /// Goes on after a call that was given up.
    pub(crate) fn resume(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Progress, StageError> {
        let Some(done) = self.lost.take() else {
            return self.go_on(worker);
        };
        let stalled = io::Error::from(Fault::Stalled);
        let over = match (self.hanging(done), self.step) {
            (Some(entry), _) => {
                self.drop_entry(worker, entry, &stalled)?;
                return self.go_on(worker);
            }
            // All was read by then.
            (None, Step::Close) => self.end(worker),
            (None, Step::Open) if done == 0 => self.fail(worker, "open", stalled),
            (None, _) => self.fail(worker, "list", stalled),
        };
        over.map(|()| Progress::Finished)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &DirNode {
        &self.node
    }

    /// The call under way, for whoever finds that it hangs.
    pub(crate) fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        match (self.hanging(done), self.step) {
            (Some(entry), _) => ("stat", self.path_of(entry)),
            (None, Step::Open) if done == 0 => ("open", self.node.path_bytes()),
            (None, Step::Close) => ("close", self.node.path_bytes()),
            (None, _) => ("list", self.node.path_bytes()),
        }
    }

    /// Whether a call that hangs shows that the whole file system does, rather than what is mounted on one of its
    /// directories.
    pub(crate) fn hangs_with_its_device(&self, done: u64) -> bool {
        match (self.hanging(done), self.step) {
            (Some(entry), _) => self.names.kind(entry as usize) != Some(Kind::Directory),
            (None, step) => step != Step::Open || done > 0,
        }
    }

    /// The call under way is not waited for any longer.
    pub(crate) fn give_up(&mut self, done: u64) {
        self.lost = Some(done);
    }

    /// Reads on to the end of the directory, or until the worker is not wanted on its mount any more.
    pub(crate) fn go_on(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Progress, StageError> {
        loop {
            let asks = matches!(self.step, Step::Open | Step::List | Step::Resolve);
            if asks && worker.is_hopeless(&self.node) {
                let operation = if self.step == Step::Open {
                    "open"
                } else {
                    "list"
                };
                self.fail(worker, operation, Fault::Stalled.into())?;
                return Ok(Progress::Finished);
            }
            if self.listing.is_some()
                && worker.frontier.is_over()
                && let Some(mount) = worker.frontier.mount().cloned()
            {
                worker.frontier.hand_over(&mount, self);
                return Ok(Progress::HandedOver);
            }
            let after = match self.step {
                Step::Open => self.open(worker)?,
                Step::List => self.list(worker)?,
                Step::Resolve => self.resolve(worker)?,
                Step::HandOn => self.hand_on(worker)?,
                Step::Close => {
                    self.end(worker)?;
                    FINISHED
                }
            };
            match after {
                After::Next(reading) => self = reading,
                After::Over(progress) => return Ok(progress),
            }
        }
    }

    /// Makes a watched call, during which this lies with the worker.
    fn call_out<R>(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
        call: impl FnOnce(&Pulse) -> R,
    ) -> Result<(Box<Reading>, R), StageError> {
        let errand = Arc::clone(&worker.errand);
        worker.reading = Some(self);
        let answer = worker.call(|pulse| {
            let answer = call(pulse);
            drop(errand);
            answer
        })?;
        let reading = worker.reading.take();
        Ok((
            reading.expect("it was put there, and nobody else takes it"),
            answer,
        ))
    }

    fn open(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let (scan, node) = (Arc::clone(&worker.scan), Arc::clone(&self.node));
        let here = worker.frontier.mount().cloned();
        let escort = worker.escort();
        let parent = self.parent.take();
        let names = worker.calls_are_quick().then(|| self.room_for_names());
        let since = SystemTime::now();
        let opening = move |pulse: &Pulse| {
            let opened = listing::open(&scan, &node, here.as_ref(), names, escort.as_ref(), pulse);
            // Closing it may ask the file system, too.
            drop(parent);
            opened
        };
        let (mut reading, opened) = self.call_out(worker, opening)?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                worker.returned(1);
                let error = after_cancel(&worker.scan.context, error);
                return reading.fail(worker, "open", error).map(|()| FINISHED);
            }
        };
        worker.returned(1 + opened.read.as_ref().map_or(0, |read| read.calls));
        let ending = match opened.admission {
            Admission::Enter => {
                reading.step = Step::List;
                if let Some(read) = opened.read {
                    return reading.take_over(worker, opened.listing, read, since);
                }
                reading.listing = Some(opened.listing);
                let Some(mount) = opened.elsewhere else {
                    return Ok(After::Next(reading));
                };
                worker.frontier.hand_over(&mount, reading);
                return Ok(After::Over(Progress::HandedOver));
            }
            Admission::Skip => Ending::Excluded,
            Admission::Elsewhere => Ending::Elsewhere,
            Admission::Refuse(fault) => Ending::Failed("open", fault.into()),
        };
        reading.listing = Some(opened.listing);
        reading.close(worker, ending, true).map(|()| FINISHED)
    }

    fn list(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let Some(mut listing) = self.listing.take() else {
            let error = Fault::Stalled.into();
            return self.fail(worker, "list", error).map(|()| FINISHED);
        };
        let names = self.room_for_names();
        let (quick, escort) = (worker.calls_are_quick(), worker.escort());
        let since = SystemTime::now();
        let (reading, (listing, read)) = self.call_out(worker, move |pulse| {
            let read = listing::read(&mut listing, names, quick, escort.as_ref(), pulse);
            (listing, read)
        })?;
        worker.returned(read.calls);
        reading.take_over(worker, listing, read, since)
    }

    /// Memory for the names that are listed next.
    fn room_for_names(&mut self) -> Entries {
        // Others may still be at work on the names listed before.
        let names = Arc::get_mut(&mut self.names).map(std::mem::take);
        names.unwrap_or_default()
    }

    /// Goes on with names that were listed. That began at the given time.
    fn take_over(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
        listing: Listing,
        read: Read,
        since: SystemTime,
    ) -> Result<After, StageError> {
        let Read {
            mut names, more, ..
        } = read;
        let more = more.map_err(|error| after_cancel(&worker.scan.context, error));
        // Nothing was read of it, so it may begin anew; later nobody knows where in another listing this one was.
        if more.as_ref().is_err_and(is_stale)
            && self.sent.entries == 0
            && names.is_empty()
            && self.reopened < STALE_REPETITIONS
        {
            self.reopened += 1;
            listing.retire();
            self.step = Step::Open;
            return Ok(After::Next(self));
        }
        self.looked_at = names.metadata(0).is_some().then_some(since);
        if self.looked_at.is_some() {
            let kept = take_over_metadata(&mut names, self.follows_links);
            worker.scan.fetched.add(kept);
        }
        self.listing = Some(listing);
        self.more = more;
        self.listed += names.len() as u64;
        match Arc::get_mut(&mut self.names) {
            Some(before) => *before = names,
            None => self.names = Arc::new(names),
        }
        self.dropped.clear();
        if self.names.is_empty() {
            return self.after_names(worker);
        }
        let excludes = &worker.scan.excludes;
        if excludes.any() {
            let (names, prefix) = (&self.names, &mut self.prefix);
            let excluded = (0..names.len()).filter(|&entry| {
                let is_directory = names.kind(entry) == Some(Kind::Directory);
                excludes.matches(prefix, names.name(entry), is_directory)
            });
            self.dropped.extend(excluded.map(|entry| entry as u32));
            worker.scan.excluded.add(self.dropped.len() as u64);
        }
        self.step = Step::Resolve;
        Ok(After::Next(self))
    }

    /// Hands the names on, with their metadata where that is wanted. Others may help.
    fn hand_on(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        while let Some((chunk, mut shared)) = self.chunk.take() {
            let mut claim = None;
            if !chunk.is_exhausted() {
                let helpers = if shared { 0 } else { worker.frontier.helpers() };
                if helpers > 0 && worker.is_worth_sharing(&chunk) {
                    worker.frontier.offer(&chunk, helpers);
                    shared = true;
                }
                claim = chunk.claim(worker.share_of(&chunk, shared)?);
            }
            let Some(claim) = claim else {
                if shared {
                    worker.frontier.withdraw(&chunk);
                }
                self.chunk = self.left.pop().map(|chunk| (chunk, true));
                continue;
            };
            let handle = self.listing.as_ref().map(Listing::shared_handle);
            self.chunk = Some((Arc::clone(&chunk), shared));
            worker.reading = Some(self);
            let rest = chunk::fetch(worker, claim, handle)?;
            let reading = worker.reading.take();
            self = reading.expect("it was put there, and nobody else takes it");
            if let Some(rest) = rest {
                self.left.extend(self.chunk.take().map(|(chunk, _)| chunk));
                self.chunk = Some((rest.into_chunk(), false));
                return Ok(After::Next(self));
            }
            // While others are at work on these, more names can be listed.
            let lists_on = matches!(self.more, Ok(true)) && self.left.len() < CHUNKS;
            if shared && lists_on && chunk.has_helpers() && !chunk.is_exhausted() {
                self.left.extend(self.chunk.take().map(|(chunk, _)| chunk));
                break;
            }
        }
        self.after_names(worker)
    }

    /// What comes when names were handed on.
    fn after_names(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let limit = worker.scan.config.max_entries_per_directory;
        match std::mem::replace(&mut self.more, Ok(true)) {
            Ok(_) if limit.is_some_and(|limit| self.listed > limit) => {
                let error = Fault::TooManyEntries.into();
                self.fail(worker, "list", error).map(|()| FINISHED)
            }
            Ok(true) => {
                self.step = Step::List;
                Ok(After::Next(self))
            }
            Ok(false) => {
                let retires = self.sent.directories == 0 && !self.is_left_to_stat;
                self.close(worker, Ending::Complete, retires)
                    .map(|()| FINISHED)
            }
            Err(error) => self.fail(worker, "list", error).map(|()| FINISHED),
        }
    }

    fn fail(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
        operation: &'static str,
        error: io::Error,
    ) -> Result<(), StageError> {
        self.close(worker, Ending::Failed(operation, error), false)
    }

    /// Lets go of the directory, then ends it: what comes then may wait, and whoever waits holds no directory.
    fn close(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
        ending: Ending,
        retires: bool,
    ) -> Result<(), StageError> {
        (self.step, self.ending) = (Step::Close, Some(ending));
        let itself = self.itself.take();
        let Some(listing) = self.listing.take() else {
            return self.end(worker);
        };
        // The directories in it are opened right away, unless they are many.
        let lingers = itself.is_some() && !self.is_left_to_stat && self.sent.directories <= FEW;
        let (reading, ()) = self.call_out(worker, move |_| {
            match (retires, lingers) {
                (true, _) => listing.retire(),
                (false, true) => listing.linger(),
                (false, false) => drop(listing),
            }
            drop(itself);
        })?;
        worker.count_call();
        reading.end(worker)
    }

    fn end(mut self: Box<Self>, worker: &mut Descent) -> Result<(), StageError> {
        worker.spare = Some(self.names);
        match self.ending.take() {
            Some(Ending::Complete) => worker.end(&self.node, self.sent, DirectoryStatus::Complete),
            Some(Ending::Excluded) => worker.skip_unforeseen(&self.node),
            Some(Ending::Failed(operation, error)) => {
                worker.directory_failed(&self.node, self.sent, operation, &error)
            }
            Some(Ending::Elsewhere) | None => Ok(()),
        }
    }

    /// Accounts for an entry that will not be handed on.
    fn drop_entry(
        &mut self,
        worker: &Descent,
        entry: u32,
        error: &io::Error,
    ) -> Result<(), StageError> {
        self.dropped.push(entry);
        if error.kind() == io::ErrorKind::NotFound {
            worker.scan.vanished.add(1);
            return Ok(());
        }
        // It is there, so whoever counts what came of the directory must not take it for gone.
        self.sent.entries += 1;
        worker.report("stat", self.path_of(entry), error)
    }

    fn drops(&self, entry: usize) -> bool {
        let dropped = |dropped: &u32| (*dropped as usize).cmp(&entry);
        self.dropped.binary_search_by(dropped).is_ok()
    }

    /// The entry that a call hangs on, if it is about single entries.
    fn hanging(&self, done: u64) -> Option<u32> {
        let done = usize::try_from(done).ok()?;
        match self.step {
            Step::Resolve => self.unresolved().nth(done),
            Step::Open | Step::List | Step::HandOn | Step::Close => None,
        }
    }

    fn path_of(&self, entry: u32) -> Vec<u8> {
        let mut path = Vec::new();
        let name = self.names.name(entry as usize);
        self.node.write_entry_path(name, &mut path);
        path
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_hangs_when_a_directory_was_opened_and_is_listed_in_one_call_is_the_listing() {
        let reading = Reading::new(&DirNode::root(Path::new("d")), None, Arc::default(), false);
        let operation = |done| reading.call(done).0;
        assert_eq!([0, 1, 2].map(operation), ["open", "list", "list"]);
        // Something else may be mounted on what cannot be opened.
        let with_device = |done| reading.hangs_with_its_device(done);
        assert_eq!([0, 1].map(with_device), [false, true]);
    }
}
