//! How one directory is read: opened, listed chunk by chunk, the kinds of its entries found out, metadata fetched ahead.
//!
//! Each step that asks the file system is a watched call, which gets no hold of the worker. One thing must stay true:
//! whatever call hangs, what is kept here says where to go on. A directory whose opening or listing hangs has failed; an
//! entry that hangs is reported, and its siblings are handled.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use statline_pipeline::{Pulse, StageError, Watch};
use statline_platform::{
    Backend, DirNode, Entries, Fault, Fields, Filesystem, Handle, Kind, Listing,
};

use crate::DirectoryStatus;
use crate::admission::Admission;
use crate::chunk::{self, Chunk, FROM_MEMORY};
use crate::descent::Descent;
use crate::directories::after_cancel;
use crate::enumerate::Scan;
use crate::frontier::{Parent, Siblings};
use crate::links::leads_nowhere;
use crate::mount::{Mount, MountKey};
use crate::politeness::{Escort, pass};
use crate::stale::{STALE_REPETITIONS, is_stale};

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
        let mut prefix = Vec::new();
        worker.scan.excludes.write_prefix(node, &mut prefix);
        let reading = Box::new(Reading {
            node: Arc::clone(node),
            parent,
            itself: None,
            follows_links: config.follow_symlinks,
            prefix,
            listing: None,
            sent: Sent::default(),
            listed: 0,
            reopened: 0,
            names: Arc::new(std::mem::take(&mut worker.spare)),
            more: Ok(true),
            dropped: Vec::new(),
            chunk: None,
            left: Vec::new(),
            is_left_to_stat: worker.wish.is_none(),
            looked_at: None,
            step: Step::Open,
            ending: None,
            lost: None,
        });
        reading.go_on(worker)
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
            (None, Step::Open) => self.fail(worker, "open", stalled),
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
            (None, Step::Open) => ("open", self.node.path_bytes()),
            (None, Step::Close) => ("close", self.node.path_bytes()),
            (None, _) => ("list", self.node.path_bytes()),
        }
    }

    /// Whether a call that hangs shows that the whole file system does, rather than what is mounted on one of its
    /// directories.
    pub(crate) fn hangs_with_its_device(&self, done: u64) -> bool {
        match (self.hanging(done), self.step) {
            (Some(entry), _) => self.names.kind(entry as usize) != Some(Kind::Directory),
            (None, step) => step != Step::Open,
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
        worker.returned(1);
        let reading = worker.reading.take();
        Ok((
            reading.expect("it was put there, and nobody else takes it"),
            answer,
        ))
    }

    fn open(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let (scan, node) = (Arc::clone(&worker.scan), Arc::clone(&self.node));
        let here = worker.frontier.mount().map(|mount| mount.key);
        let escort = worker.escort();
        let parent = self.parent.take();
        let opening = move |pulse: &Pulse| {
            let passage = pass(escort.as_ref(), 1, pulse)?;
            passage.spend(1, pulse)?;
            let opened = open(&scan, &node, here, pulse);
            // Closing it may ask the file system, too.
            drop(parent);
            opened
        };
        let (mut reading, opened) = self.call_out(worker, opening)?;
        let (listing, elsewhere) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let error = after_cancel(&worker.scan.context, error);
                return reading.fail(worker, "open", error).map(|()| FINISHED);
            }
        };
        let node = Arc::clone(&reading.node);
        reading.listing = Some(listing);
        let ending = match worker.scan.admit(&node, |on| worker.filesystem(on)) {
            Admission::Enter => {
                reading.step = Step::List;
                let Some(mount) = elsewhere else {
                    return Ok(After::Next(reading));
                };
                worker.frontier.hand_over(&mount, reading);
                return Ok(After::Over(Progress::HandedOver));
            }
            Admission::Skip => Ending::Excluded,
            Admission::Elsewhere => Ending::Elsewhere,
            Admission::Refuse(fault) => Ending::Failed("open", fault.into()),
        };
        reading.close(worker, ending, true).map(|()| FINISHED)
    }

    fn list(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let Some(mut listing) = self.listing.take() else {
            let error = Fault::Stalled.into();
            return self.fail(worker, "list", error).map(|()| FINISHED);
        };
        // Others may still be at work on the names listed before.
        let mut names = Arc::get_mut(&mut self.names)
            .map(std::mem::take)
            .unwrap_or_default();
        let since = SystemTime::now();
        let escort = worker.escort();
        let (mut reading, (listing, mut names, more)) = self.call_out(worker, move |pulse| {
            names.clear();
            let more = pass(escort.as_ref(), 1, pulse).and_then(|passage| {
                passage.spend(1, pulse)?;
                listing.read(&mut names)
            });
            (listing, names, more)
        })?;
        let more = more.map_err(|error| after_cancel(&worker.scan.context, error));
        // Nothing was read of it, so it may begin anew; later nobody knows where in another listing this one was.
        if more.as_ref().is_err_and(is_stale)
            && reading.sent.entries == 0
            && names.is_empty()
            && reading.reopened < STALE_REPETITIONS
        {
            reading.reopened += 1;
            listing.retire();
            reading.step = Step::Open;
            return Ok(After::Next(reading));
        }
        reading.looked_at = names.metadata(0).is_some().then_some(since);
        if reading.looked_at.is_some() {
            let kept = take_over_metadata(&mut names, reading.follows_links);
            worker.scan.fetched.add(kept);
        }
        reading.listing = Some(listing);
        reading.more = more;
        reading.listed += names.len() as u64;
        reading.names = Arc::new(names);
        reading.dropped.clear();
        let excludes = &worker.scan.excludes;
        if excludes.any() {
            let (names, prefix) = (&reading.names, &mut reading.prefix);
            let excluded = (0..names.len()).filter(|&entry| {
                let is_directory = names.kind(entry) == Some(Kind::Directory);
                excludes.matches(prefix, names.name(entry), is_directory)
            });
            reading.dropped.extend(excluded.map(|entry| entry as u32));
            worker.scan.excluded.add(reading.dropped.len() as u64);
        }
        reading.step = Step::Resolve;
        Ok(After::Next(reading))
    }

    /// Finds the directories among the names and puts them on the frontier.
    fn resolve(self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        let unresolved: Vec<u32> = self.unresolved().collect();
        let (mut reading, resolved) = match (unresolved.is_empty(), &self.listing) {
            (false, Some(listing)) => {
                let (handle, chunk) = (listing.shared_handle(), Arc::clone(&self.names));
                let (backend, follow) = (Arc::clone(&worker.scan.backend), self.follows_links);
                let escort = worker.escort();
                self.call_out(worker, move |pulse| {
                    let escort = escort.as_ref();
                    resolve_all(
                        &*backend, &handle, &chunk, unresolved, follow, escort, pulse,
                    )
                })?
            }
            _ => (self, Vec::new()),
        };
        let (mut followed, mut leading) = (Entries::default(), Vec::new());
        for (entry, found) in resolved {
            let name = entry as usize;
            match found {
                Ok(Resolved {
                    kind,
                    leads_to_directory,
                }) => {
                    let became_known = reading.names.kind(name).is_none();
                    if became_known {
                        // A call that was given up may still read the chunk; then this goes on with a copy.
                        Arc::make_mut(&mut reading.names).set_kind(name, kind);
                    }
                    let chunk = &reading.names;
                    let excludes = &worker.scan.excludes;
                    if became_known
                        && kind == Kind::Directory
                        && excludes.matches(&mut reading.prefix, chunk.name(name), true)
                    {
                        worker.scan.excluded.add(1);
                        reading.dropped.push(entry);
                    } else if leads_to_directory {
                        followed.push(chunk.name(name).as_bytes(), None, 0);
                        leading.push(entry);
                    }
                }
                Err(error) => reading.drop_entry(worker, entry, &error)?,
            }
        }
        reading.dropped.sort_unstable();
        let mut plain = Entries::default();
        for entry in 0..reading.names.len() {
            if reading.names.kind(entry) == Some(Kind::Directory) && !reading.drops(entry) {
                plain.push(reading.names.name(entry).as_bytes(), None, 0);
            }
        }
        // A followed link stands for its directory; who finds that another is one knows that nobody looks into it.
        for &entry in &leading {
            Arc::make_mut(&mut reading.names).set_kind(entry as usize, Kind::Directory);
        }
        reading.arrange(worker);
        let names = &reading.names;
        reading.sent.directories += (plain.len() + followed.len()) as u64;
        reading.sent.entries += names.len() as u64;
        if !(plain.is_empty() && followed.is_empty()) {
            let handles = &worker.scan.directories.handles;
            let parent = reading.itself.get_or_insert_with(|| {
                Parent::new(&reading.node, (!reading.is_left_to_stat).then_some(handles))
            });
            let (plain, followed) = (
                Siblings::new(parent, plain, false),
                Siblings::new(parent, followed, true),
            );
            worker.frontier.push(plain);
            worker.frontier.push(followed);
        }
        if let Some(looked_at) = reading.looked_at {
            worker.hand_on_known(&reading.node, &reading.names, looked_at.into())?;
            return reading.after_names(worker);
        }
        if reading.is_left_to_stat {
            worker.hand_on(&reading.node, &reading.names, 0..reading.names.len())?;
            return reading.after_names(worker);
        }
        reading.chunk = Some((Arc::new(Chunk::new(&reading.node, &reading.names)), false));
        reading.step = Step::HandOn;
        Ok(After::Next(reading))
    }

    /// Takes out what is not handed on, and puts the rest into the order in which the disk likes to be asked, if it is
    /// the disk that is asked.
    fn arrange(&mut self, worker: &Descent) {
        let mount = worker.frontier.mount();
        let sorts = !self.is_left_to_stat
            && mount.is_some_and(|mount| {
                let filesystem = mount.filesystem;
                mount.limit.latency() > FROM_MEMORY
                    && filesystem.is_some_and(|found| found.profile().inode_order)
            });
        if self.dropped.is_empty() && !sorts {
            return;
        }
        let kept = |entry: &u32| !self.drops(*entry as usize);
        let mut order: Vec<u32> = (0..self.names.len() as u32).filter(kept).collect();
        if sorts {
            order.sort_unstable_by_key(|&entry| self.names.inode_hint(entry as usize));
        }
        let mut names = Entries::with_capacity(order.len());
        for entry in order.into_iter().map(|entry| entry as usize) {
            names.append_range(&self.names, entry..entry + 1);
        }
        self.names = Arc::new(names);
        self.dropped.clear();
    }

    /// Hands the names on, with their metadata where that is wanted. Others may help.
    fn hand_on(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<After, StageError> {
        while let Some((chunk, mut shared)) = self.chunk.take() {
            let helpers = if shared { 0 } else { worker.frontier.helpers() };
            if helpers > 0 && worker.is_worth_sharing(&chunk) {
                worker.frontier.offer(&chunk, helpers);
                shared = true;
            }
            let Some(claim) = chunk.claim(worker.share_of(&chunk, shared)) else {
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
            Ok(true) if limit.is_some_and(|limit| self.listed > limit) => {
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
        reading.end(worker)
    }

    fn end(mut self: Box<Self>, worker: &mut Descent) -> Result<(), StageError> {
        worker.spare = Arc::get_mut(&mut self.names)
            .map(std::mem::take)
            .unwrap_or_default();
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

    /// The entries of the chunk of which more must be asked to know the directories among them.
    fn unresolved(&self) -> impl Iterator<Item = u32> {
        let entries = 0..self.names.len() as u32;
        entries.filter(|&entry| {
            let asks = match self.names.kind(entry as usize) {
                None => true,
                Some(kind) => self.follows_links && kind == Kind::Symlink,
            };
            asks && !self.dropped.contains(&entry)
        })
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

/// Keeps metadata that came with the names, as some systems give both in one call, but not that of a link that stands
/// for something else: the listing describes the link. Returns of how many entries it is kept.
fn take_over_metadata(chunk: &mut Entries, follows_links: bool) -> u64 {
    let mut kept = 0;
    for entry in 0..chunk.len() {
        match follows_links && chunk.kind(entry) == Some(Kind::Symlink) {
            true => chunk.forget_metadata(entry),
            false => kept += u64::from(chunk.metadata(entry).is_some()),
        }
    }
    kept
}

/// Opens a directory to list it, and finds out which mount it is on, unless it is the one that it was looked for on.
fn open(
    scan: &Scan,
    node: &Arc<DirNode>,
    here: Option<MountKey>,
    pulse: &Pulse,
) -> io::Result<(Listing, Option<Arc<Mount>>)> {
    let listing = scan.directories.handles.list(node, &|| {
        pulse.alive();
        scan.context.is_stopping() || scan.context.has_given_up()
    })?;
    let key = node.identity().map(MountKey::from);
    let elsewhere = key.filter(|_| key != here).map(|key| {
        scan.mounts.known(key).unwrap_or_else(|| {
            scan.mounts
                .of(key, node, Filesystem::of(listing.handle()).ok())
        })
    });
    Ok((listing, elsewhere))
}

/// What an entry turned out to be.
struct Resolved {
    kind: Kind,
    /// It is a symbolic link to follow, and leads to a directory.
    leads_to_directory: bool,
}

fn resolve_all(
    backend: &dyn Backend,
    handle: &Handle,
    chunk: &Entries,
    unresolved: Vec<u32>,
    follow: bool,
    escort: Option<&Escort>,
    pulse: &Pulse,
) -> Vec<(u32, io::Result<Resolved>)> {
    let kind_of = |entry: usize, follow| {
        let metadata = backend.stat(handle, chunk.name(entry), Fields::KIND, follow)?;
        Ok::<_, io::Error>(metadata.kind().unwrap_or(Kind::Other))
    };
    let resolve = |entry: usize| {
        pass(escort, 1, pulse)?.spend(1, pulse)?;
        let kind = match chunk.kind(entry) {
            Some(kind) => kind,
            None => kind_of(entry, false)?,
        };
        let leads_to_directory = match follow && kind == Kind::Symlink {
            true => match kind_of(entry, true) {
                Ok(target) => target == Kind::Directory,
                Err(error) if leads_nowhere(&error) => false,
                Err(error) => return Err(error),
            },
            false => false,
        };
        Ok(Resolved {
            kind,
            leads_to_directory,
        })
    };
    let each = unresolved.into_iter().zip(1..).map(|(entry, done)| {
        let resolved = resolve(entry as usize);
        pulse.done(done);
        (entry, resolved)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use statline_platform::Metadata;

    use super::*;

    #[test]
    fn metadata_of_a_followed_link_is_asked_for_and_that_of_others_is_not() {
        let listed = || {
            let mut chunk = Entries::default();
            for kind in [Kind::File, Kind::Symlink, Kind::Directory] {
                chunk.push_with_metadata(b"name", Metadata::with_kind(kind));
            }
            chunk
        };
        let known = |chunk: &Entries| {
            let is_known = |entry| chunk.metadata(entry).is_some();
            [0, 1, 2].map(is_known)
        };
        let mut chunk = listed();
        assert_eq!(take_over_metadata(&mut chunk, false), 3);
        assert_eq!(known(&chunk), [true; 3]);
        assert_eq!(take_over_metadata(&mut chunk, true), 2);
        assert_eq!(known(&chunk), [true, false, true]);
        assert_eq!(chunk.kind(1), Some(Kind::Symlink));
    }
}
