//! Which directories are open: the bookkeeping behind [`Handles`](super::Handles), without a system
//! call or a lock.
//!
//! What must stay true: `slots in use + loose ≤ budget`. A descriptor that is in no slot is *loose*:
//! somebody is opening it, with a grant, or closing it. It counts until it is really closed and
//! handed back by [`HandleCache::revoke`], or put into a slot.

use std::sync::Arc;

use super::Pin;
use crate::{DirNode, Handle};

/// A slot's number. Means the same slot as long as the slot is pinned.
pub(super) type SlotId = usize;

/// An open directory in the cache.
#[derive(Debug)]
pub(super) struct Slot {
    handle: Arc<Handle>,
    node: Arc<DirNode>,
    pins: usize,
    /// The idle slots that were unpinned right before and right after this one.
    older: SlotId,
    newer: SlotId,
    cursor: Cursor,
    /// Whether [`HandleCache::find`] leads here. If not, it is closed once nobody pins it.
    shared: bool,
}

/// No slot.
const NONE: SlotId = SlotId::MAX;

/// Where the handle's position in the directory's list of names is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// At the first name.
    Start,
    /// Elsewhere.
    Moved,
    /// Somebody is listing with it.
    Taken,
    /// There is none any more: the handle cannot be listed with.
    Gone,
}

/// The open directories. See the head of this file.
#[derive(Debug)]
pub(super) struct HandleCache {
    budget: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    /// The ends of the list of slots that nobody pins, which the slots themselves link.
    oldest: SlotId,
    newest: SlotId,
    idle: usize,
    /// Descriptors outside of slots, being opened or closed.
    loose: usize,
    peak: usize,
    evicted: u64,
}

impl HandleCache {
    /// Lets so many fewer descriptors be in use, from when that many are closed.
    pub(super) fn lower_budget(&mut self, by: usize) {
        self.budget = self.budget.saturating_sub(by);
    }

    /// Lets so many more descriptors be in use.
    pub(super) fn raise_budget(&mut self, by: usize) {
        self.budget += by;
    }

    pub(super) fn new(budget: usize) -> HandleCache {
        HandleCache {
            budget,
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            idle: 0,
            loose: 0,
            peak: 0,
            evicted: 0,
        }
    }

    /// Descriptors in use, in slots and loose.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len() + self.loose
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The slot that holds `node`'s directory, for everyone.
    pub(super) fn find(&self, node: &DirNode) -> Option<SlotId> {
        // A node remembers the slot it was put into last; whether it is still there, the slot tells.
        let id = node.slot_hint();
        let slot = self.slots.get(id)?.as_ref()?;
        (slot.shared && std::ptr::eq(&*slot.node, node)).then_some(id)
    }

    /// Keeps a slot from being evicted until [`HandleCache::unpin`].
    pub(super) fn pin(&mut self, id: SlotId) -> Pin {
        if slot(&mut self.slots, id).pins == 0 {
            self.unlink(id);
        }
        let slot = slot(&mut self.slots, id);
        slot.pins += 1;
        Pin {
            slot: id,
            handle: Arc::clone(&slot.handle),
        }
    }

    /// Takes back a pin. A slot that comes back is loose now: to be closed, outside of any lock, and
    /// then revoked.
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
        self.link(id);
        None
    }

    /// Gives `node`'s directory up, as nobody is expected to want it again. A slot that comes back
    /// is loose now, see [`HandleCache::unpin`]; while somebody pins it, it is closed after that.
    #[must_use]
    pub(super) fn retire(&mut self, node: &DirNode) -> Option<Slot> {
        let id = self.find(node)?;
        if slot(&mut self.slots, id).pins > 0 {
            self.detach(id);
            return None;
        }
        self.unlink(id);
        self.take(id)
    }

    /// Takes the cursor of a slot, if it is there and free. Returns where it was.
    pub(super) fn take_cursor(&mut self, id: SlotId) -> Option<Cursor> {
        let slot = slot(&mut self.slots, id);
        let found = slot.cursor;
        if matches!(found, Cursor::Taken | Cursor::Gone) {
            return None;
        }
        slot.cursor = Cursor::Taken;
        Some(found)
    }

    /// Gives back the cursor of a slot that was listed with, unless it is gone for good.
    pub(super) fn release_cursor(&mut self, id: SlotId, gone: bool) {
        slot(&mut self.slots, id).cursor = match gone {
            true => Cursor::Gone,
            false => Cursor::Moved,
        };
    }

    /// Grants the opening of one directory if there is room without taking anything away.
    pub(super) fn grant_spare(&mut self) -> bool {
        let spare = self.open() < self.budget;
        self.loose += usize::from(spare);
        self.peak = self.peak.max(self.open());
        spare
    }

    /// Grants the opening of `count` directories. Slots that come back were taken away for that, and
    /// must be closed first. `None` if there is no room, and none can be made.
    #[must_use]
    pub(super) fn grant(&mut self, count: usize) -> Option<Vec<Slot>> {
        let excess = (self.open() + count).saturating_sub(self.budget);
        if excess > self.idle {
            return None;
        }
        // What the evicted slots leave is part of the grant.
        let evicted = self.evict(excess);
        self.loose += count - evicted.len();
        self.peak = self.peak.max(self.open());
        Some(evicted)
    }

    /// Takes back `count` grants that were not used, or loose descriptors that were closed.
    pub(super) fn revoke(&mut self, count: usize) {
        self.loose -= count;
    }

    /// Takes the `count` longest idle slots away, or all idle ones if there are fewer. They are
    /// loose now, see [`HandleCache::unpin`].
    #[must_use]
    pub(super) fn evict(&mut self, count: usize) -> Vec<Slot> {
        let mut evicted = Vec::new();
        while evicted.len() < count && self.oldest != NONE {
            let id = self.oldest;
            self.unlink(id);
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
    ) -> Pin {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if shared {
            node.set_slot_hint(id);
        }
        let pin = Pin {
            slot: id,
            handle: Arc::clone(&handle),
        };
        self.slots[id] = Some(Slot {
            handle,
            node,
            pins: 1,
            older: NONE,
            newer: NONE,
            cursor,
            shared,
        });
        self.loose -= 1;
        pin
    }

    /// Makes a pinned slot nobody else's: the next one who wants the directory opens it anew.
    pub(super) fn detach(&mut self, id: SlotId) {
        slot(&mut self.slots, id).shared = false;
    }

    fn take(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.slots[id].take()?;
        self.free.push(id);
        self.loose += 1;
        Some(slot)
    }

    /// Puts a slot at the newer end of the idle ones.
    fn link(&mut self, id: SlotId) {
        let newest = std::mem::replace(&mut self.newest, id);
        let added = slot(&mut self.slots, id);
        (added.older, added.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = id,
            newest => slot(&mut self.slots, newest).newer = id,
        }
        self.idle += 1;
    }

    /// Takes a slot out of the idle ones.
    fn unlink(&mut self, id: SlotId) {
        let Slot { older, newer, .. } = *slot(&mut self.slots, id);
        match older {
            NONE => self.oldest = newer,
            older => slot(&mut self.slots, older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => slot(&mut self.slots, newer).older = older,
        }
        self.idle -= 1;
    }
}

/// A slot that is in use. Not a method, so that the other fields stay free.
fn slot(slots: &mut [Option<Slot>], id: SlotId) -> &mut Slot {
    slots[id]
        .as_mut()
        .expect("a slot that somebody pins or that is idle is in use")
}
