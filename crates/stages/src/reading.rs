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
    Backend, DirNode, Entries, Fault, Fields, Filesystem, Handle, Kind, Listing, Metadata,
};

use crate::DirectoryStatus;
use crate::admission::Admission;
use crate::descent::Descent;
use crate::directories::after_cancel;
use crate::enumerate::Scan;
use crate::frontier::Siblings;
use crate::links::leads_nowhere;
use crate::stale::{STALE_REPETITIONS, is_stale};

/// What was sent of a directory.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) entries: u64,
    pub(crate) directories: u64,
    /// Those whose metadata was fetched ahead.
    fetched: u64,
}

/// A directory that is being read. Boxed, because it goes to and fro between the steps and the worker.
pub(crate) struct Reading {
    node: Arc<DirNode>,
    follows_links: bool,
    /// Its path below the root, as the exclude patterns want it.
    prefix: Vec<u8>,
    /// Away while it is listed.
    listing: Option<Listing>,
    sent: Sent,
    /// How many names were listed, those that are not handed on included.
    listed: u64,
    /// The names last listed, until they are handed on.
    chunk: Arc<Entries>,
    /// How often it was opened anew because its server had forgotten it.
    reopened: u32,
    /// How the listing of the chunk ended: whether there is more.
    more: io::Result<bool>,
    /// Those of the chunk that are not handed on: excluded, vanished, or with an error record of their own.
    dropped: Vec<u32>,
    /// What was fetched ahead: metadata of all that waits to be sent and of the chunk.
    fetched: Option<Vec<Metadata>>,
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
    /// Metadata is fetched ahead.
    Fetch,
    /// The chunk is handed on.
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
    pub(crate) fn read(worker: &mut Watch<Descent>, node: &Arc<DirNode>) -> Result<(), StageError> {
        let config = &worker.scan.config;
        if config.max_depth.is_some_and(|max| node.depth() >= max) {
            return worker.skip(node);
        }
        let mut prefix = Vec::new();
        worker.scan.excludes.write_prefix(node, &mut prefix);
        let reading = Box::new(Reading {
            node: Arc::clone(node),
            follows_links: config.follow_symlinks,
            prefix,
            listing: None,
            sent: Sent::default(),
            listed: 0,
            reopened: 0,
            chunk: Arc::new(std::mem::take(&mut worker.spare)),
            more: Ok(true),
            dropped: Vec::new(),
            fetched: None,
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
    ) -> Result<(), StageError> {
        if let Some(done) = self.lost.take() {
            let stalled = io::Error::from(Fault::Stalled);
            match (self.hanging(done), self.step) {
                (Some(entry), _) => self.drop_entry(worker, entry, &stalled)?,
                // All was read by then.
                (None, Step::Close) => return self.end(worker),
                (None, Step::Open) => return self.fail(worker, "open", stalled),
                (None, _) => return self.fail(worker, "list", stalled),
            }
            if self.step == Step::Fetch {
                // `stat` fetches the rest of the chunk.
                self.step = Step::HandOn;
            }
        }
        self.go_on(worker)
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
            (Some(entry), _) => self.chunk.kind(entry as usize) != Some(Kind::Directory),
            (None, step) => step != Step::Open,
        }
    }

    /// The call under way is not waited for any longer.
    pub(crate) fn give_up(&mut self, done: u64) {
        self.lost = Some(done);
    }

    fn go_on(mut self: Box<Self>, worker: &mut Watch<Descent>) -> Result<(), StageError> {
        loop {
            let asks = matches!(self.step, Step::Open | Step::List | Step::Resolve);
            if asks && worker.is_hopeless(&self.node) {
                let operation = if self.step == Step::Open {
                    "open"
                } else {
                    "list"
                };
                return self.fail(worker, operation, Fault::Stalled.into());
            }
            let next = match self.step {
                Step::Open => self.open(worker)?,
                Step::List => self.list(worker)?,
                Step::Resolve => self.resolve(worker)?,
                Step::Fetch => self.fetch(worker)?,
                Step::HandOn => self.hand_on(worker)?,
                Step::Close => return self.end(worker),
            };
            match next {
                Some(reading) => self = reading,
                None => return Ok(()),
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

    fn open(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Option<Box<Reading>>, StageError> {
        let (scan, node) = (Arc::clone(&worker.scan), Arc::clone(&self.node));
        let above = node.parent().and_then(|parent| parent.identity());
        let known = above
            .map(|above| above.device)
            .filter(|device| worker.filesystems.contains_key(device));
        let opening = move |pulse: &Pulse| open(&scan, &node, known, pulse);
        let (mut reading, opened) = self.call_out(worker, opening)?;
        let (listing, filesystem) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let error = after_cancel(&worker.scan.context, error);
                return reading.fail(worker, "open", error).map(|()| None);
            }
        };
        let node = Arc::clone(&reading.node);
        if let (Some(found), Some(identity)) = (filesystem, node.identity()) {
            worker.filesystems.insert(identity.device, found);
        }
        reading.listing = Some(listing);
        let ending = match worker.scan.admit(&node, |on| worker.filesystem(on)) {
            Admission::Enter => {
                reading.step = Step::List;
                return Ok(Some(reading));
            }
            Admission::Skip => Ending::Excluded,
            Admission::Elsewhere => Ending::Elsewhere,
            Admission::Refuse(fault) => Ending::Failed("open", fault.into()),
        };
        reading.close(worker, ending, true).map(|()| None)
    }

    fn list(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Option<Box<Reading>>, StageError> {
        let Some(mut listing) = self.listing.take() else {
            let error = Fault::Stalled.into();
            return self.fail(worker, "list", error).map(|()| None);
        };
        // Nobody else has the chunk by now, but for a call that was given up.
        let mut chunk = Arc::get_mut(&mut self.chunk)
            .map(std::mem::take)
            .unwrap_or_default();
        let since = SystemTime::now();
        let (mut reading, (listing, mut chunk, more)) = self.call_out(worker, move |_| {
            chunk.clear();
            let more = listing.read(&mut chunk);
            (listing, chunk, more)
        })?;
        // Nothing was read of it, so it may begin anew; later nobody knows where in another listing this one was.
        if more.as_ref().is_err_and(is_stale)
            && reading.sent.entries == 0
            && chunk.is_empty()
            && reading.reopened < STALE_REPETITIONS
        {
            reading.reopened += 1;
            listing.retire();
            reading.step = Step::Open;
            return Ok(Some(reading));
        }
        if chunk.metadata(0).is_some() {
            worker.pending.batch.note_looked_at(since.into());
            reading.sent.fetched += take_over_metadata(&mut chunk, reading.follows_links);
        }
        reading.listing = Some(listing);
        reading.more = more;
        reading.listed += chunk.len() as u64;
        reading.chunk = Arc::new(chunk);
        reading.dropped.clear();
        let excludes = &worker.scan.excludes;
        if excludes.any() {
            let (chunk, prefix) = (&reading.chunk, &mut reading.prefix);
            let excluded = (0..chunk.len()).filter(|&entry| {
                let is_directory = chunk.kind(entry) == Some(Kind::Directory);
                excludes.matches(prefix, chunk.name(entry), is_directory)
            });
            reading.dropped.extend(excluded.map(|entry| entry as u32));
            worker.scan.excluded.add(reading.dropped.len() as u64);
        }
        reading.step = Step::Resolve;
        Ok(Some(reading))
    }

    /// Finds the directories of the chunk and puts them on the frontier.
    fn resolve(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Option<Box<Reading>>, StageError> {
        let unresolved: Vec<u32> = self.unresolved().collect();
        let (mut reading, resolved) = match (unresolved.is_empty(), &self.listing) {
            (false, Some(listing)) => {
                let (handle, chunk) = (listing.shared_handle(), Arc::clone(&self.chunk));
                let (backend, follow) = (Arc::clone(&worker.scan.backend), self.follows_links);
                self.call_out(worker, move |pulse| {
                    resolve_all(&*backend, &handle, &chunk, unresolved, follow, pulse)
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
                    let became_known = reading.chunk.kind(name).is_none();
                    if became_known {
                        // A call that was given up may still read the chunk; then this goes on with a copy.
                        Arc::make_mut(&mut reading.chunk).set_kind(name, kind);
                    }
                    let chunk = &reading.chunk;
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
        for entry in 0..reading.chunk.len() {
            if reading.chunk.kind(entry) == Some(Kind::Directory) && !reading.drops(entry) {
                plain.push(reading.chunk.name(entry).as_bytes(), None, 0);
            }
        }
        // A followed link stands for its directory; who finds that another is one knows that nobody looks into it.
        for &entry in &leading {
            Arc::make_mut(&mut reading.chunk).set_kind(entry as usize, Kind::Directory);
        }
        reading.sent.directories += (plain.len() + followed.len()) as u64;
        let frontier = &mut worker.frontier;
        frontier.push(Siblings::new(&reading.node, plain, false));
        frontier.push(Siblings::new(&reading.node, followed, true));
        reading.step = Step::Fetch;
        Ok(Some(reading))
    }

    fn fetch(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Option<Box<Reading>>, StageError> {
        let handle = match &self.listing {
            Some(listing) if self.goes_ahead(worker) => Some(listing.shared_handle()),
            _ => None,
        };
        let (mut reading, fetched) = match (handle, worker.ahead.take()) {
            (Some(handle), Some(mut ahead)) => {
                let batch = &mut worker.pending.batch;
                batch.note_looked_at(SystemTime::now().into());
                let metadata = batch.take_metadata();
                let (chunk, follow) = (Arc::clone(&self.chunk), self.follows_links);
                let (mut reading, (ahead, metadata, count)) =
                    self.call_out(worker, move |pulse| {
                        let (metadata, count) =
                            ahead.fetch(&chunk, &handle, follow, metadata, pulse);
                        (ahead, metadata, count)
                    })?;
                worker.ahead = Some(ahead);
                reading.sent.fetched += count;
                (reading, Some(metadata))
            }
            (_, ahead) => {
                worker.ahead = ahead;
                (self, None)
            }
        };
        reading.fetched = fetched;
        reading.step = Step::HandOn;
        Ok(Some(reading))
    }

    /// Whether to fetch the metadata of the names just read here: as long as nobody lacks work. Asked for every chunk,
    /// because in a huge directory the others run out of work meanwhile.
    fn goes_ahead(&self, worker: &mut Descent) -> bool {
        if self.chunk.is_empty()
            || self.chunk.metadata(0).is_some()
            || !self.dropped.is_empty()
            || worker.frontier.has_sleepers()
            || worker.is_hopeless(&self.node)
        {
            return false;
        }
        let identity = self.node.identity();
        let filesystem = identity.and_then(|identity| worker.filesystem(identity));
        worker
            .ahead
            .as_mut()
            .is_some_and(|ahead| ahead.tries(filesystem))
    }

    fn hand_on(
        mut self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<Option<Box<Reading>>, StageError> {
        self.dropped.sort_unstable();
        self.dropped.dedup();
        let batch = &mut worker.pending.batch;
        let mut start = 0;
        for &entry in &self.dropped {
            batch.append_range(&self.node, &self.chunk, start..entry as usize);
            start = entry as usize + 1;
        }
        batch.append_range(&self.node, &self.chunk, start..self.chunk.len());
        if let Some(metadata) = self.fetched.take() {
            batch.put_metadata(metadata);
        }
        self.sent.entries += (self.chunk.len() - self.dropped.len()) as u64;
        let limit = worker.scan.config.max_entries_per_directory;
        match std::mem::replace(&mut self.more, Ok(true)) {
            Ok(true) if limit.is_some_and(|limit| self.listed > limit) => {
                let error = Fault::TooManyEntries.into();
                self.fail(worker, "list", error).map(|()| None)
            }
            Ok(true) => {
                worker.flush_if_due()?;
                self.step = Step::List;
                Ok(Some(self))
            }
            Ok(false) => self.complete(worker).map(|()| None),
            Err(error) => self.fail(worker, "list", error).map(|()| None),
        }
    }

    fn complete(self: Box<Self>, worker: &mut Watch<Descent>) -> Result<(), StageError> {
        let sent = self.sent;
        worker.scan.fetched.add(sent.fetched);
        let retires = sent.directories == 0 && sent.fetched == sent.entries;
        self.close(worker, Ending::Complete, retires)
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
        let Some(listing) = self.listing.take() else {
            return self.end(worker);
        };
        let (reading, ()) = self.call_out(worker, move |_| match retires {
            true => listing.retire(),
            false => drop(listing),
        })?;
        reading.end(worker)
    }

    fn end(mut self: Box<Self>, worker: &mut Descent) -> Result<(), StageError> {
        worker.spare = Arc::get_mut(&mut self.chunk)
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
        let entries = 0..self.chunk.len() as u32;
        entries.filter(|&entry| {
            let asks = match self.chunk.kind(entry as usize) {
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
            Step::Fetch => u32::try_from(done).ok().filter(|_| done < self.chunk.len()),
            Step::Open | Step::List | Step::HandOn | Step::Close => None,
        }
    }

    fn path_of(&self, entry: u32) -> Vec<u8> {
        let mut path = Vec::new();
        let name = self.chunk.name(entry as usize);
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

/// Opens a directory to list it, and asks what it is on unless that is `known` of its device.
fn open(
    scan: &Scan,
    node: &Arc<DirNode>,
    known: Option<u64>,
    pulse: &Pulse,
) -> io::Result<(Listing, Option<Option<Filesystem>>)> {
    let listing = scan.directories.handles.list(node, &|| {
        pulse.alive();
        scan.context.is_stopping() || scan.context.has_given_up()
    })?;
    let device = node.identity().map(|identity| identity.device);
    let asks = device.is_none() || device != known;
    let filesystem = asks.then(|| Filesystem::of(listing.handle()).ok());
    Ok((listing, filesystem))
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
    pulse: &Pulse,
) -> Vec<(u32, io::Result<Resolved>)> {
    let kind_of = |entry: usize, follow| {
        let metadata = backend.stat(handle, chunk.name(entry), Fields::KIND, follow)?;
        Ok::<_, io::Error>(metadata.kind().unwrap_or(Kind::Other))
    };
    let resolve = |entry: usize| {
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
