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

mod cache;
mod opening;

use cache::{Cursor, HandleCache, Slot, SlotId};
use opening::Purpose;

use crate::{Backend, DirNode, Entries, Handle, open_file_limit};

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
    state: Mutex<State>,
    /// Notified when a descriptor or a lease may have become free, if anybody waits for one.
    released: Condvar,
}

#[derive(Debug)]
struct State {
    cache: HandleCache,
    /// Leases there are.
    leases: usize,
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

impl Handles {
    /// Keeps at most `budget` directories open; a budget below four counts as four.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, budget: usize) -> Handles {
        let budget = budget.max(MIN_BUDGET);
        let state = State {
            cache: HandleCache::new(budget),
            leases: budget / 4,
            listing: 0,
            waiting: 0,
            opened: 0,
            reopened: 0,
        };
        Handles(Arc::new(Shared {
            backend,
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
    /// What the system says; [`Fault::Replaced`](crate::Fault::Replaced) if the directory is another one than when it was
    /// first opened; [`Fault::Cancelled`](crate::Fault::Cancelled) if `cancelled` returned true. Never for a lack of
    /// descriptors.
    pub fn pin(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Pinned> {
        self.acquire(node, Purpose::Share, cancelled)
            .map(|(pin, _)| self.pinned(pin))
    }

    /// Starts listing `node` from its first entry.
    ///
    /// A lister may keep its descriptor while it waits to hand on what it read. So that descriptors
    /// are left for those who take it, listing needs one of a limited number of leases (a quarter
    /// of the budget), and waits for one if need be. Other threads may pin the directory meanwhile
    /// and share its handle.
    ///
    /// A thread that has a [`Listing`] must not start another one: it might wait for itself.
    ///
    /// # Errors
    /// As [`Handles::pin`].
    pub fn list(&self, node: &Arc<DirNode>, cancelled: &dyn Fn() -> bool) -> io::Result<Listing> {
        let (pin, cursor) = self.acquire(node, Purpose::List, cancelled)?;
        // From here on the cursor and the lease are given back whatever happens.
        let listing = Listing {
            shared: Arc::clone(&self.0),
            pin: ManuallyDrop::new(pin),
            ended: false,
            retired: false,
            lingers: false,
        };

        if cursor != Cursor::Start {
            self.0.backend.rewind(listing.handle())?;
        }
        Ok(listing)
    }

    /// How many directories can be listed at a time.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.0.lock().leases
    }

    /// Gives up a handle that turned out to be stale (`ESTALE`): the next [`Handles::pin`] opens
    /// the directory anew. Others that have it pinned keep it.
    pub fn discard(&self, pinned: Pinned) {
        pinned.shared.lock().cache.detach(pinned.pin.slot);
    }

    /// Closes `node`'s directory now, or when nobody pins it any more, as it has been read whole and
    /// nothing below it is left to open. Should it be wanted again, it is reopened.
    ///
    /// Closing soon is cheaper than closing late: what the kernel keeps of an open directory is still
    /// in the processor's cache then.
    pub fn retire(&self, node: &DirNode) {
        let closing = self.0.lock().cache.retire(node);
        self.0.close(closing);
    }

    /// Makes up for what a thread holds that is inside a call which does not come back: a lease, and
    /// the descriptors of one opening. Others would wait for them for ever.
    pub fn write_off(&self) {
        self.0.release(|state| {
            state.leases += 1;
            state.cache.raise_budget(MIN_BUDGET);
        });
    }

    /// Undoes one [`Handles::write_off`], as the call has come back and its thread has let go of what
    /// it held.
    pub fn undo_write_off(&self) {
        self.0.release(|state| {
            state.leases -= 1;
            state.cache.lower_budget(MIN_BUDGET);
        });
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

    fn pinned(&self, pin: Pin) -> Pinned {
        Pinned {
            shared: Arc::clone(&self.0),
            pin: ManuallyDrop::new(pin),
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

    /// Gives a pin back, and makes the `change` that goes with it under the same lock.
    fn unpin(&self, pin: Pin, change: impl FnOnce(&mut State)) {
        let slot = pin.let_go();
        let closing = self.release(|state| {
            change(state);
            state.cache.unpin(slot)
        });
        self.close(closing);
    }

    /// Closes what came out of the cache; only then does its descriptor count as free.
    fn close(&self, closing: Option<Slot>) {
        if closing.is_some() {
            drop(closing);
            self.release(|state| state.cache.revoke(1));
        }
    }

    /// Closes everything idle, for want of a descriptor in the whole process. Waits for a release
    /// if that is nothing, or if told to.
    fn give_way(&self, wait: bool) {
        let evicted = self.lock().cache.evict(usize::MAX);
        let count = evicted.len();
        drop(evicted);
        self.release(|state| state.cache.revoke(count));
        if wait || count == 0 {
            self.wait(self.lock());
        }
    }
}

/// A slot that this keeps from being evicted. Whoever has one gives it back with [`Shared::unpin`].
#[derive(Debug)]
struct Pin {
    slot: SlotId,
    handle: Arc<Handle>,
}

impl Pin {
    /// Lets go of the handle, before the slot is unpinned: only then does evicting the slot close the directory.
    fn let_go(self) -> SlotId {
        self.slot
    }
}

/// An open directory that stays open while this exists.
#[derive(Debug)]
pub struct Pinned {
    shared: Arc<Shared>,
    pin: ManuallyDrop<Pin>,
}

impl Deref for Pinned {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.pin.handle
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
        let pin = unsafe { ManuallyDrop::take(&mut self.pin) };
        self.shared.unpin(pin, |_| {});
    }
}

/// A directory being listed. Holds one of a limited number of leases, and its handle.
#[derive(Debug)]
pub struct Listing {
    shared: Arc<Shared>,
    pin: ManuallyDrop<Pin>,
    /// Whether the end was seen.
    ended: bool,
    /// Whether to close the directory instead of keeping it for others.
    retired: bool,
    /// Whether to keep it as it is, though the end was seen.
    lingers: bool,
}

impl Listing {
    /// The open directory.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.pin.handle
    }

    /// The open directory, for a call that may outlast the listing.
    #[must_use]
    pub fn shared_handle(&self) -> Arc<Handle> {
        Arc::clone(&self.pin.handle)
    }

    /// Appends the next entries to `out`; false at the end. See [`Backend::read_names`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, out: &mut Entries) -> io::Result<bool> {
        let more = self.shared.backend.read_names(&self.pin.handle, out);
        self.ended |= matches!(more, Ok(false));
        more
    }

    /// Ends the listing and closes the directory, as nobody is expected to want it again; what
    /// others have pinned, they keep. See [`Handles::retire`].
    pub fn retire(mut self) {
        self.retired = true;
    }

    /// Ends the listing and keeps the directory open just as it is, for whoever opens what is in it right away and
    /// then calls [`Handles::retire`].
    ///
    /// That is the cheapest for directories with a few others in them, of which nothing else is wanted: each has one
    /// descriptor, opened once and closed soon. One that is merely dropped keeps a descriptor that holds less of the
    /// kernel's memory, which takes two more calls; that is for a directory that may stay open for long.
    pub fn linger(mut self) {
        self.lingers = true;
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
        let pin = unsafe { ManuallyDrop::take(&mut self.pin) };
        let (shared, slot) = (&self.shared, pin.slot);
        let finishes = self.ended && !self.retired && !self.lingers;
        // It takes a second descriptor for a moment.
        let spare = finishes && shared.lock().cache.grant_spare();
        let finished = spare && shared.backend.finish_listing(&pin.handle);
        shared.unpin(pin, |state| {
            state.cache.release_cursor(slot, finished);
            state.cache.revoke(usize::from(spare));
            if self.retired {
                state.cache.detach(slot);
            }
            state.listing -= 1;
        });
    }
}
