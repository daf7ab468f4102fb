//! Which directories are open: the bookkeeping behind [`Handles`](super::Handles), without a system
//! call or a lock.
//!
//! What must stay true: `slots in use + opening ≤ budget`. Every descriptor is either in a slot or
//! was granted by [`HandleCache::grant`] to a thread that is opening it; a slot taken away to make
//! room passes on to that grant, and its handle must be closed before anything is opened with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::{DirNode, Handle};

/// A slot's number. Means the same slot as long as the slot is pinned.
pub(super) type SlotId = usize;

/// An open directory in the cache.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) handle: Arc<Handle>,
    /// Also keeps the node's address from being used again while it is a key.
    node: Arc<DirNode>,
    pins: usize,
    /// When it was last unpinned: its key among the idle ones.
    idle_since: u64,
    cursor: Cursor,
    /// Whether `index` leads here. If not, it is closed once nobody pins it.
    shared: bool,
}

/// Where the handle's position in the directory's list of names is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// At the first name.
    Start,
    /// Elsewhere.
    Moved,
    /// Somebody is listing with it.
    Taken,
}

/// The open directories. See the head of this file.
#[derive(Debug)]
pub(super) struct HandleCache {
    budget: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    /// By the address of the node.
    index: HashMap<usize, SlotId>,
    /// Slots that nobody pins, the longest idle first.
    idle: BTreeMap<u64, SlotId>,
    clock: u64,
    /// Descriptors granted and not in a slot yet.
    opening: usize,
    peak: usize,
    evicted: u64,
}

impl HandleCache {
    pub(super) fn new(budget: usize) -> HandleCache {
        HandleCache {
            budget,
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            idle: BTreeMap::new(),
            clock: 0,
            opening: 0,
            peak: 0,
            evicted: 0,
        }
    }

    /// Descriptors in use: in slots, or granted.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len() + self.opening
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The slot that holds `node`'s directory, for everyone.
    pub(super) fn find(&self, node: &DirNode) -> Option<SlotId> {
        self.index.get(&key(node)).copied()
    }

    /// Keeps a slot from being evicted until [`HandleCache::unpin`].
    pub(super) fn pin(&mut self, id: SlotId) -> Arc<Handle> {
        let slot = slot(&mut self.slots, id);
        if slot.pins == 0 {
            self.idle.remove(&slot.idle_since);
        }
        slot.pins += 1;
        Arc::clone(&slot.handle)
    }

    /// Takes back a pin. A slot that comes back is to be closed, outside of any lock.
    #[must_use]
    pub(super) fn unpin(&mut self, id: SlotId) -> Option<Slot> {
        let slot = slot(&mut self.slots, id);
        slot.pins -= 1;
        if slot.pins > 0 {
            return None;
        }
        if !slot.shared {
            return self.take(id);
        }
        self.clock += 1;
        slot.idle_since = self.clock;
        self.idle.insert(self.clock, id);
        None
    }

    /// Takes the cursor of a slot, if it is free. Returns where it was.
    pub(super) fn take_cursor(&mut self, id: SlotId) -> Option<Cursor> {
        let slot = slot(&mut self.slots, id);
        let found = std::mem::replace(&mut slot.cursor, Cursor::Taken);
        (found != Cursor::Taken).then_some(found)
    }

    /// Gives back the cursor of a slot that was listed with.
    pub(super) fn release_cursor(&mut self, id: SlotId) {
        slot(&mut self.slots, id).cursor = Cursor::Moved;
    }

    /// Grants the opening of `count` directories. Slots that come back were taken away for that,
    /// and must be closed first. `None` if there is no room, and none can be made.
    #[must_use]
    pub(super) fn grant(&mut self, count: usize) -> Option<Vec<Slot>> {
        let excess = (self.open() + count).saturating_sub(self.budget);
        if excess > self.idle.len() {
            return None;
        }
        let evicted = self.evict(excess);
        self.opening += count;
        self.peak = self.peak.max(self.open());
        Some(evicted)
    }

    /// Takes back `count` grants that were not used.
    pub(super) fn revoke(&mut self, count: usize) {
        self.opening -= count;
    }

    /// Takes the `count` longest idle slots away, or all idle ones if there are fewer.
    #[must_use]
    pub(super) fn evict(&mut self, count: usize) -> Vec<Slot> {
        let mut evicted = Vec::new();
        while evicted.len() < count
            && let Some((_, id)) = self.idle.pop_first()
        {
            evicted.extend(self.take(id));
        }
        self.evicted += evicted.len() as u64;
        evicted
    }

    /// Puts a handle that was opened with a grant into a slot, pinned once.
    pub(super) fn insert(
        &mut self,
        node: Arc<DirNode>,
        handle: Arc<Handle>,
        cursor: Cursor,
        shared: bool,
    ) -> SlotId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if shared {
            self.index.insert(key(&node), id);
        }
        self.slots[id] = Some(Slot {
            handle,
            node,
            pins: 1,
            idle_since: 0,
            cursor,
            shared,
        });
        self.opening -= 1;
        id
    }

    /// Makes a pinned slot nobody else's: the next one who wants the directory opens it anew.
    pub(super) fn detach(&mut self, id: SlotId) {
        let slot = slot(&mut self.slots, id);
        if std::mem::replace(&mut slot.shared, false) {
            self.index.remove(&key(&slot.node));
        }
    }

    fn take(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.slots[id].take()?;
        self.free.push(id);
        if slot.shared {
            self.index.remove(&key(&slot.node));
        }
        Some(slot)
    }
}

fn key(node: &DirNode) -> usize {
    std::ptr::from_ref(node).addr()
}

/// A slot that is in use. Not a method, so that the other fields stay free.
fn slot(slots: &mut [Option<Slot>], id: SlotId) -> &mut Slot {
    slots[id]
        .as_mut()
        .expect("a slot that somebody pins or that is idle is in use")
}
