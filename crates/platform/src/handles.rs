//! Directory handles counted against a budget, evictable, and reopened from an ancestor by node.
//!
//! Stages hold nodes for as long as they like; a worker pins a node's handle for the length of a
//! call. What must stay true, because it is what makes the budget free of deadlock: **nobody waits
//! while holding a pin**. Whoever finds no room lets go of everything, waits for a release, and
//! starts again. The one exception, a lister that is blocked on a full channel, needs a lease, and
//! there are fewer leases than descriptors.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::handle_cache::{Cursor, HandleCache, Slot, SlotId};
use crate::{Backend, DirNode, Entries, Fault, Handle, Name, open_file_limit};

/// A lister, and beside it what one opening takes at a time: an ancestor and two directories below
/// it.
const MIN_BUDGET: usize = 4;

/// Handles in the cache are of use to nobody beyond this.
const MAX_DEFAULT_BUDGET: u64 = 4096;

/// How long a wait may last before `cancelled` is asked again.
const SLICE: Duration = Duration::from_millis(20);

/// The open directories of one scan, never more than a budget. Clones share them.
#[derive(Clone, Debug)]
pub struct Handles(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    backend: Arc<dyn Backend>,
    leases: usize,
    state: Mutex<State>,
    /// Notified when a descriptor or a lease may have become free, if anybody waits for one.
    released: Condvar,
}

#[derive(Debug)]
struct State {
    cache: HandleCache,
    /// Leases taken.
    listing: usize,
    waiting: usize,
    opened: u64,
    reopened: u64,
}

/// What a [`Handles`] did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleStats {
    /// Descriptors in use now.
    pub open: usize,
    /// The most that were in use at a time.
    pub peak: usize,
    /// Directories opened for the first time.
    pub opened: u64,
    /// Directories opened again, mostly after their handle had been evicted.
    pub reopened: u64,
    /// Handles closed to make room.
    pub evicted: u64,
}

/// Half of the process's soft limit of open files, at most 4,096, at least 8.
#[must_use]
pub fn default_budget() -> usize {
    let (soft, _) = open_file_limit();
    (soft / 2).clamp(8, MAX_DEFAULT_BUDGET) as usize
}

/// What an open directory is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To stat and open in it, which any number of threads may do at once.
    Share,
    /// To list it, which moves the handle's position.
    List,
}

impl Purpose {
    /// Where the position of a slot is, if the slot serves the purpose: two cannot list with one.
    fn admit(self, cache: &mut HandleCache, id: SlotId) -> Option<Cursor> {
        match self {
            Purpose::Share => Some(Cursor::Moved),
            Purpose::List => cache.take_cursor(id),
        }
    }

    /// The state of the position of a handle that is opened for the purpose.
    fn cursor(self) -> Cursor {
        match self {
            Purpose::Share => Cursor::Start,
            Purpose::List => Cursor::Taken,
        }
    }
}

impl Handles {
    /// Keeps at most `budget` directories open; a budget below four counts as four.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, budget: usize) -> Handles {
        let budget = budget.max(MIN_BUDGET);
        let state = State {
            cache: HandleCache::new(budget),
            listing: 0,
            waiting: 0,
            opened: 0,
            reopened: 0,
        };
        Handles(Arc::new(Shared {
            backend,
            leases: budget / 4,
            state: Mutex::new(state),
            released: Condvar::new(),
        }))
    }

    /// The backend that opens the directories.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// Opens a root and makes its node. Waits for a descriptor if there is none, and cannot be
    /// cancelled: roots are opened before a scan begins.
    ///
    /// A relative path is resolved again when the root is reopened, so the process should not
    /// change its working directory meanwhile; if it does, the reopening fails.
    ///
    /// # Errors
    /// What the system says of the path.
    pub fn open_root(&self, path: &Path) -> io::Result<Arc<DirNode>> {
        let node = DirNode::root(path);
        self.pin(&node, &|| false)?;
        Ok(node)
    }

    /// The open directory of `node`, opened if need be, kept open until the result is dropped.
    ///
    /// While it waits for a descriptor it calls `cancelled` at least every 20 ms. A thread that
    /// holds a [`Pinned`] must not wait for anything that another thread's pin may hold up, another
    /// `pin` included.
    ///
    /// # Errors
    /// What the system says; [`Fault::Replaced`] if the directory is another one than when it was
    /// first opened; [`Fault::Cancelled`] if `cancelled` returned true. Never for a lack of
    /// descriptors.
    pub fn pin(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Pinned> {
        self.acquire(node, Purpose::Share, cancelled)
            .map(|(pinned, _)| pinned)
    }

    /// Starts listing `node` from its first entry.
    ///
    /// A lister may keep its descriptor while it waits to hand on what it read. So that descriptors
    /// are left for those who take it, listing needs one of a limited number of leases (a quarter
    /// of the budget), and waits for one if need be. Other threads may pin the directory meanwhile
    /// and share its handle.
    ///
    /// # Errors
    /// As [`Handles::pin`].
    pub fn list(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Listing> {
        let lease = self.lease(cancelled)?;
        let (pinned, cursor) = self.acquire(node, Purpose::List, cancelled)?;
        // From here on the cursor is given back whatever happens.
        let listing = Listing {
            pinned,
            _lease: lease,
        };
        if cursor != Cursor::Start {
            self.0.backend.rewind(&listing.pinned)?;
        }
        Ok(listing)
    }

    /// Gives up a handle that turned out to be stale (`ESTALE`): the next [`Handles::pin`] opens
    /// the directory anew. Others that have it pinned keep it.
    pub fn discard(&self, pinned: Pinned) {
        pinned.shared.lock().cache.detach(pinned.slot);
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> HandleStats {
        let state = self.0.lock();
        HandleStats {
            open: state.cache.open(),
            peak: state.cache.peak(),
            opened: state.opened,
            reopened: state.reopened,
            evicted: state.cache.evicted(),
        }
    }

    fn lease(&self, cancelled: &dyn Fn() -> bool) -> io::Result<Lease> {
        let mut state = self.0.lock();
        while state.listing == self.0.leases {
            self.0.wait(state);
            if cancelled() {
                return Err(Fault::Cancelled.into());
            }
            state = self.0.lock();
        }
        state.listing += 1;
        Ok(Lease(Arc::clone(&self.0)))
    }

    fn acquire(
        &self,
        node: &Arc<DirNode>,
        purpose: Purpose,
        cancelled: &dyn Fn() -> bool,
    ) -> io::Result<(Pinned, Cursor)> {
        let mut may_be_stale = true;
        let mut starved = false;
        loop {
            if cancelled() {
                return Err(Fault::Cancelled.into());
            }
            let (from, error) = match self.plan(node, purpose) {
                Plan::Ready(pinned, cursor) => return Ok((pinned, cursor)),
                Plan::Wait => continue,
                Plan::Open(mut opening) => match self.open(&mut opening, cancelled) {
                    Ok(opened) => return Ok(self.keep(opening, opened, purpose)),
                    Err(error) => (opening.from, error),
                },
            };
            match Obstacle::of(&error) {
                // The process or the system has no descriptor left. What is idle here is given up
                // at once; if that was not enough, a wait comes before each further attempt.
                Some(Obstacle::NoDescriptor) => {
                    drop(from);
                    self.0.give_way(std::mem::replace(&mut starved, true));
                }
                // The server has forgotten the directory that we started from: once more, from
                // further up.
                Some(Obstacle::Stale) if may_be_stale && from.is_some() => {
                    may_be_stale = false;
                    from.into_iter().for_each(|pinned| self.discard(pinned));
                }
                _ => return Err(error),
            }
        }
    }

    /// Decides, in one go, how to come to `node`'s handle: it is there, or there is room to open
    /// it, or a release must be waited for (which this does).
    fn plan(&self, node: &Arc<DirNode>, purpose: Purpose) -> Plan {
        let mut state = self.0.lock();
        let cache = &mut state.cache;
        let mut from = cache.find(node);
        let mut steps = Vec::new();
        if let Some(id) = from {
            if let Some(cursor) = purpose.admit(cache, id) {
                let handle = cache.pin(id);
                return Plan::Ready(self.pinned(id, handle), cursor);
            }
            // Somebody else is listing with this handle; a second one has a position of its own.
            steps.push(Step::Duplicate(Arc::clone(node)));
        } else {
            steps.push(Step::Enter(Arc::clone(node)));
        }
        let mut above = node.parent();
        while let (None, Some(ancestor)) = (from, above) {
            from = cache.find(ancestor);
            if from.is_none() {
                steps.push(Step::Enter(Arc::clone(ancestor)));
            }
            above = ancestor.parent();
        }
        // A descent has two directories open at a time, the one it comes from and the next.
        let grants = steps.len().min(2);
        // Pinned first, or making room could take it away.
        let handle = from.map(|id| cache.pin(id));
        let Some(evicted) = cache.grant(grants) else {
            if let Some(id) = from {
                let closing = cache.unpin(id);
                debug_assert!(closing.is_none(), "it was found, so it is shared and stays");
            }
            self.0.wait(state);
            return Plan::Wait;
        };
        drop(state);
        let from = from.zip(handle).map(|(id, handle)| self.pinned(id, handle));
        // Before anything is opened with the grants.
        drop(evicted);
        Plan::Open(Opening {
            from,
            steps,
            grants: Grants {
                shared: Arc::clone(&self.0),
                count: grants,
            },
        })
    }

    /// Opens the directories of `opening.steps` one below the other, from the last to the first.
    fn open(&self, opening: &mut Opening, cancelled: &dyn Fn() -> bool) -> io::Result<Opened> {
        let backend = &self.0.backend;
        let (mut parent, mut current): (Option<Handle>, Option<Handle>) = (None, None);
        let (mut first, mut again) = (0, 0);
        for step in opening.steps.iter().rev() {
            if cancelled() {
                return Err(Fault::Cancelled.into());
            }
            if current.is_some() {
                // Closes the directory above the one that we are in, or lets go of where we began:
                // there are never more than two.
                parent = current.take();
                opening.from = None;
            }
            let base = parent.as_ref().or(opening.from.as_deref());
            let node = step.node();
            let handle = match (step, base) {
                (Step::Duplicate(_), Some(base)) => backend.open_child(base, Name::DOT, false)?,
                (Step::Enter(_), Some(base)) => {
                    backend.open_child(base, node.name(), node.is_followed())?
                }
                (_, None) => backend.open_root(node.root_path())?,
            };
            let known = node.identity().is_some();
            if !node.confirm(backend.identify(&handle)?) {
                return Err(Fault::Replaced.into());
            }
            if known {
                again += 1
            } else {
                first += 1
            }
            current = Some(handle);
        }
        let handle = current.expect("there is at least one step");
        Ok(Opened {
            handle,
            parent,
            first,
            again,
        })
    }

    /// Puts what was opened into the cache: the directory pinned, its parent idle, because the
    /// directory's siblings often come next.
    fn keep(&self, mut opening: Opening, opened: Opened, purpose: Purpose) -> (Pinned, Cursor) {
        let Opened {
            handle,
            parent,
            first,
            again,
        } = opened;
        let mut state = self.0.lock();
        state.opened += first;
        state.reopened += again;
        let cache = &mut state.cache;

        let step = &opening.steps[0];
        // Another thread may have been quicker. What it opened serves as well, unless both list.
        let theirs = match step {
            Step::Enter(node) => cache.find(node),
            Step::Duplicate(_) => None,
        };
        let usable = theirs.and_then(|id| Some((id, purpose.admit(cache, id)?)));
        let (pinned, cursor, surplus) = if let Some((id, cursor)) = usable {
            let theirs = cache.pin(id);
            (self.pinned(id, theirs), cursor, Some(handle))
        } else {
            let shared = theirs.is_none() && matches!(step, Step::Enter(_));
            let handle = Arc::new(handle);
            let node = Arc::clone(step.node());
            let id = cache.insert(node, Arc::clone(&handle), purpose.cursor(), shared);
            opening.grants.count -= 1;
            (self.pinned(id, handle), Cursor::Start, None)
        };
        let parent = match (parent, opening.steps.get(1)) {
            (Some(parent), Some(step)) if cache.find(step.node()).is_none() => {
                let node = Arc::clone(step.node());
                let id = cache.insert(node, Arc::new(parent), Cursor::Start, true);
                opening.grants.count -= 1;
                let closing = cache.unpin(id);
                debug_assert!(closing.is_none(), "it is shared, so it stays");
                None
            }
            (parent, _) => parent,
        };
        drop(state);
        // Closed before their grants go back.
        drop((surplus, parent));
        drop(opening);
        (pinned, cursor)
    }

    fn pinned(&self, slot: SlotId, handle: Arc<Handle>) -> Pinned {
        Pinned {
            shared: Arc::clone(&self.0),
            slot,
            handle: ManuallyDrop::new(handle),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way, so what a panicking thread left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a release, but not longer than [`SLICE`].
    fn wait(&self, mut state: MutexGuard<'_, State>) {
        state.waiting += 1;
        let woken = self.released.wait_timeout(state, SLICE);
        let (mut state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
    }

    /// Changes the state such that others may go on.
    fn release<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.released.notify_all();
        }
        result
    }

    /// Closes everything idle, for want of a descriptor in the whole process. Waits for a release
    /// if that is nothing, or if told to.
    fn give_way(&self, wait: bool) {
        let evicted = self.release(|state| state.cache.evict(usize::MAX));
        let waits = wait || evicted.is_empty();
        drop(evicted);
        if waits {
            self.wait(self.lock());
        }
    }
}

/// How to come to a handle.
enum Plan {
    /// It is there.
    Ready(Pinned, Cursor),
    /// There is room to open it.
    Open(Opening),
    /// There was no room; something may have been released since.
    Wait,
}

/// What is needed to open a directory. Holds nothing that others wait for but its grants.
struct Opening {
    /// An open directory above (or the directory itself, for a duplicate), to begin with.
    from: Option<Pinned>,
    /// The directory, then those above it up to where `from` is; up to the root if there is none.
    steps: Vec<Step>,
    grants: Grants,
}

enum Step {
    /// Opens the directory in the one above it.
    Enter(Arc<DirNode>),
    /// Opens the directory once more, for a second lister.
    Duplicate(Arc<DirNode>),
}

impl Step {
    fn node(&self) -> &Arc<DirNode> {
        match self {
            Step::Enter(node) | Step::Duplicate(node) => node,
        }
    }
}

/// What an [`Opening`] led to.
struct Opened {
    handle: Handle,
    /// The directory above, if it was opened on the way.
    parent: Option<Handle>,
    first: u64,
    again: u64,
}

/// The right to open directories. What is left of it goes back when this is dropped.
struct Grants {
    shared: Arc<Shared>,
    count: usize,
}

impl Drop for Grants {
    fn drop(&mut self) {
        if self.count > 0 {
            self.shared.release(|state| state.cache.revoke(self.count));
        }
    }
}

/// The right to list, see [`Handles::list`].
#[derive(Debug)]
struct Lease(Arc<Shared>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release(|state| state.listing -= 1);
    }
}

/// Errors that are about descriptors and handles rather than about the directory.
enum Obstacle {
    NoDescriptor,
    Stale,
}

impl Obstacle {
    #[cfg(unix)]
    fn of(error: &io::Error) -> Option<Obstacle> {
        match error.raw_os_error()? {
            libc::EMFILE | libc::ENFILE => Some(Obstacle::NoDescriptor),
            libc::ESTALE => Some(Obstacle::Stale),
            _ => None,
        }
    }

    #[cfg(not(unix))]
    fn of(_error: &io::Error) -> Option<Obstacle> {
        None
    }
}

/// An open directory that stays open while this exists.
#[derive(Debug)]
pub struct Pinned {
    shared: Arc<Shared>,
    slot: SlotId,
    /// Let go of before the slot is unpinned: only then does evicting the slot close the directory.
    handle: ManuallyDrop<Arc<Handle>>,
}

impl Deref for Pinned {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the handle is not used again.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
        let closing: Option<Slot> = self.shared.release(|state| state.cache.unpin(self.slot));
        drop(closing);
    }
}

/// A directory being listed. Holds one of a limited number of leases, and its handle.
#[derive(Debug)]
pub struct Listing {
    pinned: Pinned,
    _lease: Lease,
}

impl Listing {
    /// The open directory.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.pinned
    }

    /// Appends the next entries to `out`; false at the end. See [`Backend::read_names`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, out: &mut Entries) -> io::Result<bool> {
        self.pinned.shared.backend.read_names(&self.pinned, out)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.pinned
            .shared
            .lock()
            .cache
            .release_cursor(self.pinned.slot);
    }
}
