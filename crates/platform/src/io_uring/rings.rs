//! The rings of a backend, lent to whoever asks about many names.
//!
//! One thing must stay true: there are few of them, however many threads ask. A ring takes a descriptor, which the budget
//! of directories knows nothing of, and has threads of the kernel at work. Where many threads ask, many calls are under
//! way without rings; whoever gets none asks in the ordinary way.

use std::sync::{Mutex, TryLockError};

use super::ring::Ring;
use crate::open_file_limit;

/// More rings than this are never made.
const MOST: u64 = 32;

/// At most one in so many descriptors that the process may open is a ring's.
const SHARE: u64 = 16;

/// The rings. See the head of this file.
#[derive(Debug)]
pub(super) struct Rings(Vec<Mutex<Place>>);

/// Where a ring is, or may be made.
#[derive(Debug)]
enum Place {
    Empty,
    Ring(Box<Ring>),
    /// The system refused to make one, or the one that was here failed. It would do so again.
    GivenUp,
}

impl Rings {
    pub(super) fn with_first(first: Ring) -> Rings {
        let count = (open_file_limit().0 / SHARE).clamp(1, MOST);
        let first = Place::Ring(Box::new(first));
        let others = (1..count).map(|_| Place::Empty);
        Rings(
            std::iter::once(first)
                .chain(others)
                .map(Mutex::new)
                .collect(),
        )
    }

    /// Has `ask` use a ring; it says whether the ring still serves. Returns what else it says, nothing if there is no ring
    /// to spare.
    pub(super) fn lend<T>(&self, ask: impl FnOnce(&mut Ring) -> (bool, T)) -> Option<T> {
        for place in &self.0 {
            let mut place = match place.try_lock() {
                Ok(place) => place,
                // Whoever used it panicked, and may have left calls under way.
                Err(TryLockError::Poisoned(place)) => place.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let Some(ring) = place.ready() else {
                continue;
            };
            let (serves, told) = ask(ring);
            if !serves {
                *place = Place::GivenUp;
            }
            return Some(told);
        }
        None
    }
}

impl Place {
    /// The ring, made if there was none, unless it is not to be had or calls of an earlier user are still under way.
    fn ready(&mut self) -> Option<&mut Ring> {
        if let Place::Empty = self {
            *self = Ring::new().map_or(Place::GivenUp, |ring| Place::Ring(Box::new(ring)));
        }
        match self {
            Place::Ring(ring) => ring.is_clear().then_some(ring),
            _ => None,
        }
    }
}

#[cfg(test)]
impl Rings {
    /// The memory of the rings that there are.
    pub(super) fn slots(&self) -> Vec<std::sync::Weak<super::ring::Slots>> {
        let places = self.0.iter().map(|place| match place.lock() {
            Ok(place) => place,
            Err(place) => place.into_inner(),
        });
        places
            .filter_map(|place| match &*place {
                Place::Ring(ring) => Some(ring.slots()),
                _ => None,
            })
            .collect()
    }
}
