//! Names of one directory whose metadata several workers may fetch.
//!
//! While metadata is wanted of all that is listed, `enumerate` fetches it itself, right after the names: the directory is
//! open, what the kernel needs is in this processor's cache, and a network file system that sees its listing followed by
//! stats fetches attributes with the names. Whoever lists a chunk claims parts of it, and so does everybody else who has
//! nothing better to do.
//!
//! Whatever this does, it is only ever a saving. What is not fetched here, for whatever reason, `stat` fetches, and it is
//! `stat` that reports what cannot be read. One thing must stay true: every name of a chunk is claimed once, and handed
//! on by who claimed it, with metadata or without.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use statline_pipeline::{Pulse, StageError, Watch};
use statline_platform::{DirNode, Entries, Fault, Handle, Kind, Metadata, Name};

use crate::descent::Descent;
use crate::directories::Wish;
use crate::enumerate::Scan;
use crate::politeness::{Escort, pass};

/// How long a call may go on before the worker looks up: whether it is still wanted on this mount, and whether somebody
/// could help.
pub(crate) const SPELL: Duration = Duration::from_millis(10);

/// What is done sooner than another worker is woken is not worth being shared out.
const WORTH_SHARING: Duration = Duration::from_micros(100);

/// The fewest names that are worth sharing out, however quick the calls are.
const PIECE: usize = 32;

/// A call that takes longer did not come from memory.
pub(crate) const FROM_MEMORY: Duration = Duration::from_micros(10);

/// Names of one directory.
pub(crate) struct Chunk {
    directory: Arc<DirNode>,
    names: Arc<Entries>,
    end: usize,
    /// The first that nobody has claimed.
    next: AtomicUsize,
    /// How many workers take part beside the one that listed it.
    helpers: AtomicUsize,
    /// Whether a call hung. Then nobody asks any more: each of the other names may cost a thread, and its time.
    hangs: AtomicBool,
}

impl Chunk {
    pub(crate) fn new(directory: &Arc<DirNode>, names: &Arc<Entries>) -> Chunk {
        Chunk {
            directory: Arc::clone(directory),
            end: names.len(),
            names: Arc::clone(names),
            next: AtomicUsize::new(0),
            helpers: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
        }
    }

    /// One more worker takes part, until what this returns is dropped.
    pub(crate) fn help(self: &Arc<Chunk>) -> Helper {
        self.helpers.fetch_add(1, Ordering::Relaxed);
        Helper(Arc::clone(self))
    }

    pub(crate) fn has_helpers(&self) -> bool {
        self.helpers.load(Ordering::Relaxed) > 0
    }

    /// How many nobody has claimed.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.left() == 0
    }

    /// Whether so much is left that it takes longer than to wake somebody, when a call takes so long.
    pub(crate) fn is_worth_sharing(&self, latency: Duration) -> bool {
        self.left() > fitting(latency, WORTH_SHARING).min(PIECE)
    }

    /// How many names one worker should claim, of `workers` that could take part, when a call takes so long: such a part
    /// that nobody has long to do when the others are done.
    pub(crate) fn part(&self, workers: usize, latency: Duration) -> usize {
        let least = fitting(latency, WORTH_SHARING).min(PIECE);
        (self.left() / workers.max(1)).clamp(least, fitting(latency, SPELL).max(least))
    }

    /// Claims so many of the names, or as many as there are.
    pub(crate) fn claim(self: &Arc<Chunk>, count: usize) -> Option<Claim> {
        if self.is_exhausted() {
            return None;
        }
        let start = self.next.fetch_add(count, Ordering::Relaxed);
        (start < self.end).then(|| Claim {
            chunk: Arc::clone(self),
            names: start..self.end.min(start + count),
            lost: None,
        })
    }
}

/// How many calls fit into a time, one at least.
fn fitting(latency: Duration, time: Duration) -> usize {
    let count = time.as_nanos() / latency.as_nanos().max(1);
    usize::try_from(count).unwrap_or(usize::MAX).max(1)
}

/// A worker that takes part in a chunk.
pub(crate) struct Helper(Arc<Chunk>);

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.helpers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names that one worker has claimed, those left out that it has handed on.
pub(crate) struct Claim {
    chunk: Arc<Chunk>,
    names: Range<usize>,
    /// Set when the call under way was given up: how many of its own steps were done.
    lost: Option<u64>,
}

impl Claim {
    pub(crate) fn directory(&self) -> &DirNode {
        &self.chunk.directory
    }

    /// Whether nothing is to be asked of the directory any more.
    fn is_hopeless(&self, worker: &Descent) -> bool {
        self.chunk.hangs.load(Ordering::Relaxed) || worker.is_hopeless(&self.chunk.directory)
    }

    /// The names as a chunk of their own, for others to claim.
    pub(crate) fn into_chunk(self) -> Arc<Chunk> {
        Arc::new(Chunk {
            directory: Arc::clone(&self.chunk.directory),
            names: Arc::clone(&self.chunk.names),
            end: self.names.end,
            next: AtomicUsize::new(self.names.start),
            helpers: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
        })
    }

    /// The entry that a call hangs on. It may also be the directory that does, when nothing of it is open yet.
    fn hanging(&self, done: u64) -> Option<usize> {
        let entry = self.names.start + usize::try_from(done).ok()?;
        self.names.contains(&entry).then_some(entry)
    }

    /// What the call under way is about.
    pub(crate) fn call(&self, done: u64) -> (&'static str, Vec<u8>) {
        let path = match self.hanging(done) {
            Some(entry) => self.path_of(entry),
            None => self.chunk.directory.path_bytes(),
        };
        ("stat", path)
    }

    /// Whether a call that hangs shows that the whole file system does: on a directory's name something may be mounted.
    pub(crate) fn hangs_with_its_device(&self, done: u64) -> bool {
        let entry = self.hanging(done);
        entry.is_some_and(|entry| self.chunk.names.kind(entry) != Some(Kind::Directory))
    }

    /// The call under way is not waited for any longer.
    pub(crate) fn give_up(&mut self, done: u64) {
        self.lost = Some(done);
        self.chunk.hangs.store(true, Ordering::Relaxed);
    }

    fn path_of(&self, entry: usize) -> Vec<u8> {
        let mut path = Vec::new();
        let name: Name<'_> = self.chunk.names.name(entry);
        self.chunk.directory.write_entry_path(name, &mut path);
        path
    }

    /// Goes on after a call that was given up: reports what hung, and leaves the rest to `stat`.
    pub(crate) fn resume(mut self, worker: &mut Descent) -> Result<(), StageError> {
        let hung = self.lost.take().and_then(|done| self.hanging(done));
        let Some(hung) = hung else {
            return worker.hand_on(&self.chunk.directory, &self.chunk.names, self.names);
        };
        worker.report("stat", self.path_of(hung), &Fault::Stalled.into())?;
        for names in [self.names.start..hung, hung + 1..self.names.end] {
            worker.hand_on(&self.chunk.directory, &self.chunk.names, names)?;
        }
        Ok(())
    }
}

/// Fetches the metadata of what was claimed and hands it on, for as long as the worker is wanted on the mount; `handle` is
/// the open directory, where the worker has it. Returns what is left then.
pub(crate) fn fetch(
    worker: &mut Watch<Descent>,
    mut claim: Claim,
    handle: Option<Arc<Handle>>,
) -> Result<Option<Claim>, StageError> {
    while !claim.names.is_empty() {
        let wish = match worker.wish.take() {
            Some(wish) if !claim.is_hopeless(worker) => wish,
            wish => {
                worker.wish = wish;
                return claim.resume(worker).map(|()| None);
            }
        };
        let directory = match &handle {
            Some(handle) => Directory::Open(Arc::clone(handle)),
            None => Directory::ToBeOpened(Arc::clone(&worker.scan)),
        };
        let (escort, follow) = (worker.escort(), worker.scan.config.follow_symlinks);
        let pending = worker.pending_for(claim.names.len());
        // What is gathered already was asked for before this.
        if pending.looked_at().is_none() {
            pending.note_looked_at(SystemTime::now().into());
        }
        let mut spell = Spell {
            directory,
            escort,
            wish,
            follow,
            chunk: Arc::clone(&claim.chunk),
            names: claim.names.clone(),
            metadata: pending.take_metadata(),
            order: std::mem::take(&mut worker.order),
            fetched: 0,
        };
        let errand = Arc::clone(&worker.errand);
        worker.claim = Some(claim);
        let spell = worker.call(move |pulse| {
            spell.run(pulse);
            drop(errand);
            spell
        })?;
        let called = worker.claim.take();
        claim = called.expect("it was put there, and nobody else takes it");
        worker.wish = Some(spell.wish);
        worker.order = spell.order;
        worker.scan.fetched.add(spell.fetched);
        let done = claim.names.start..spell.names.start;
        claim.names.start = done.end;
        worker.returned(done.len() as u64);
        let (directory, names) = (&claim.chunk.directory, &claim.chunk.names);
        worker.hand_on_fetched(directory, names, done, spell.metadata)?;
        if !claim.names.is_empty() && worker.frontier.is_over() {
            return Ok(Some(claim));
        }
    }
    Ok(None)
}

/// What one call does, and what it takes along.
struct Spell {
    directory: Directory,
    escort: Option<Escort>,
    wish: Wish,
    follow: bool,
    chunk: Arc<Chunk>,
    /// What is left to do.
    names: Range<usize>,
    /// Of all that is gathered, and of what was done.
    metadata: Vec<Metadata>,
    order: Vec<u32>,
    fetched: u64,
}

enum Directory {
    Open(Arc<Handle>),
    ToBeOpened(Arc<Scan>),
}

impl Spell {
    fn run(&mut self, pulse: &Pulse) {
        // What could not be asked for, `stat` asks for, and finds out what the matter is.
        if self.ask(pulse).is_err() {
            let all = self.metadata.len() + self.names.len();
            self.metadata.resize(all, Metadata::default());
            self.names.start = self.names.end;
        }
    }

    fn ask(&mut self, pulse: &Pulse) -> io::Result<()> {
        let pinned;
        let handle: &Handle = match &self.directory {
            Directory::Open(handle) => handle,
            Directory::ToBeOpened(scan) => {
                let cancelled = || {
                    pulse.alive();
                    scan.context.is_stopping() || scan.context.has_given_up()
                };
                let handles = &scan.directories.handles;
                pinned = handles.pin(&self.chunk.directory, &cancelled)?;
                &pinned
            }
        };
        let Wish { fields, backend } = &self.wish;
        let passage = pass(self.escort.as_ref(), backend.calls_at_once(), pulse)?;
        let piece = passage.piece();
        let (began, first) = (Instant::now(), self.names.start);
        while !self.names.is_empty() {
            let end = self.names.end.min(self.names.start + piece);
            self.order.clear();
            self.order.extend(self.names.start as u32..end as u32);
            passage.spend(self.order.len(), pulse)?;
            let (metadata, fetched) = (&mut self.metadata, &mut self.fetched);
            // In the order of the chunk, so each comes to its place.
            let mut sink = |entry: u32, result: io::Result<Metadata>| {
                match result {
                    Ok(found) => {
                        *fetched += 1;
                        metadata.push(found);
                    }
                    Err(_) => metadata.push(Metadata::default()),
                }
                pulse.done((entry as usize - first) as u64 + 1);
            };
            let names = &self.chunk.names;
            backend.stat_each(handle, names, &self.order, *fields, self.follow, &mut sink);
            self.names.start = end;
            if !self.names.is_empty() && began.elapsed() >= SPELL {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn chunk(names: usize) -> Arc<Chunk> {
        let mut entries = Entries::default();
        (0..names).for_each(|number| entries.push(format!("{number}").as_bytes(), None, 0));
        Arc::new(Chunk::new(
            &DirNode::root(Path::new("/")),
            &Arc::new(entries),
        ))
    }

    proptest! {
        #[test]
        fn every_name_is_claimed_once_whatever_is_handed_back(
            names in 0usize..200,
            sizes in prop::collection::vec(1usize..40, 1..30),
        ) {
            let mut chunks = vec![chunk(names)];
            let mut claimed = Vec::new();
            let mut sizes = sizes.into_iter().cycle();
            while let Some(chunk) = chunks.pop() {
                let size = sizes.next().unwrap();
                let Some(mut claim) = chunk.claim(size) else {
                    continue;
                };
                chunks.push(chunk);
                // Half of it is done, the rest handed back.
                let done = claim.names.start..claim.names.start + claim.names.len().div_ceil(2);
                claim.names.start = done.end;
                claimed.extend(done);
                chunks.push(claim.into_chunk());
            }
            claimed.sort_unstable();
            prop_assert_eq!(claimed, (0..names).collect::<Vec<_>>());
        }

        #[test]
        fn parts_are_neither_nothing_nor_more_than_a_spell(
            names in 1usize..5000,
            workers in 1usize..600,
            nanoseconds in 0u64..100_000_000,
        ) {
            let latency = Duration::from_nanos(nanoseconds);
            let part = chunk(names).part(workers, latency);
            prop_assert!(part >= 1);
            prop_assert!(part == 1 || part as u32 * latency <= SPELL, "{part} × {latency:?}");
        }
    }

    #[test]
    fn slow_calls_are_shared_out_one_by_one_and_quick_ones_in_pieces() {
        let chunk = chunk(1000);
        assert_eq!(chunk.part(512, Duration::from_millis(5)), 1);
        assert_eq!(chunk.part(512, Duration::from_micros(1)), PIECE);
        assert_eq!(chunk.part(2, Duration::from_micros(1)), 500);
    }
}
