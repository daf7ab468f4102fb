//! How a node comes to its open directory: from the cache, from an ancestor, or from the root down.
//!
//! An attempt first decides everything under one lock ([`Plan`]), then makes the system calls
//! without it. It takes all the descriptors that it needs at once or none, so no two attempts can
//! each hold what the other waits for.

use std::fs::File;
use std::io::{self, ErrorKind::NotFound};
use std::sync::Arc;

use super::cache::{Cursor, HandleCache, SlotId};
use super::{Handles, Pin, Pinned, Shared};
use crate::{DirNode, Fault, Handle, Name};

/// What an open directory is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
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
    /// Pins `node`'s handle for `purpose`, and tells where its position is. Who lists has a lease from here on.
    pub(super) fn acquire(
        &self,
        node: &Arc<DirNode>,
        purpose: Purpose,
        cancelled: &dyn Fn() -> bool,
    ) -> io::Result<(Pin, Cursor)> {
        let mut obstacles = Obstacles::default();
        loop {
            if cancelled() {
                return Err(Fault::Cancelled.into());
            }
            let (from, refusal) = match self.plan(node, purpose) {
                Plan::Ready(pin, cursor) => return Ok((pin, cursor)),
                Plan::Wait => continue,
                Plan::Open(mut opening) => match self.open(&mut opening, cancelled) {
                    Ok(opened) => return Ok(self.keep(opening, opened, purpose)),
                    Err(refusal) => (opening.from.take().map(|pin| self.pinned(pin)), refusal),
                },
            };
            obstacles.get_over(self, refusal, from)?;
        }
    }

    /// Opens the regular file `name` in the directory of `node` for reading, see
    /// [`Backend::open_file`](crate::Backend::open_file). The file's descriptor is not counted: half of the process's
    /// limit is left for such things.
    ///
    /// # Errors
    /// As [`Handles::pin`], and whatever the system says of the file.
    pub fn open_file(
        &self,
        node: &Arc<DirNode>,
        name: Name<'_>,
        follow: bool,
        cancelled: &dyn Fn() -> bool,
    ) -> io::Result<File> {
        let mut obstacles = Obstacles::default();
        loop {
            let pinned = self.pin(node, cancelled)?;
            match self.0.backend.open_file(&pinned, name, follow) {
                Ok(file) => return Ok(file),
                Err(error) => obstacles.get_over(self, error.into(), Some(pinned))?,
            }
        }
    }

    /// Decides, in one go, how to come to `node`'s handle: it is there, or there is room to open
    /// it, or a release must be waited for (which this does).
    fn plan<'a>(&'a self, node: &'a Arc<DirNode>, purpose: Purpose) -> Plan<'a> {
        let mut state = self.0.lock();
        let lease = purpose == Purpose::List;
        if lease && state.listing >= state.leases {
            self.0.wait(state);
            return Plan::Wait;
        }
        let cache = &mut state.cache;
        let mut from = cache.find(node);
        let (mut last, mut above) = (Step::Enter(node), Vec::new());
        if let Some(id) = from {
            if let Some(cursor) = purpose.admit(cache, id) {
                let pin = cache.pin(id);
                state.listing += usize::from(lease);
                return Plan::Ready(pin, cursor);
            }
            // Somebody else is listing with this handle, or it was listed to its end: a second one has
            // a position of its own.
            last = Step::Duplicate(node);
        }
        let mut ancestors = node.parent();
        while let (None, Some(ancestor)) = (from, ancestors) {
            from = cache.find(ancestor);
            if from.is_none() {
                above.push(ancestor);
            }
            ancestors = ancestor.parent();
        }
        // A descent has two directories open at a time, the one it comes from and the next.
        let grants = (1 + above.len()).min(2);
        // Pinned first, or making room could take it away.
        let from = from.map(|id| cache.pin(id));
        let Some(evicted) = cache.grant(grants) else {
            if let Some(pin) = from {
                let closing = cache.unpin(pin.let_go());
                debug_assert!(closing.is_none(), "it was found, so it is shared and stays");
            }
            self.0.wait(state);
            return Plan::Wait;
        };
        state.listing += usize::from(lease);
        drop(state);
        // Before anything is opened with the grants.
        drop(evicted);
        Plan::Open(Opening {
            shared: &self.0,
            from,
            last,
            above,
            grants,
            lease,
        })
    }

    /// Opens the directories of an opening one below the other, from the topmost to the last.
    fn open(
        &self,
        opening: &mut Opening<'_>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Opened, Refusal> {
        let backend = &self.0.backend;
        let (mut parent, mut current): (Option<Handle>, Option<Handle>) = (None, None);
        let (mut first, mut again) = (0, 0);
        for place in (0..=opening.above.len()).rev() {
            if cancelled() {
                return Err(io::Error::from(Fault::Cancelled).into());
            }
            if current.is_some() {
                // Closes the directory above the one that we are in, or lets go of where we began:
                // there are never more than two.
                parent = current.take();
                opening.let_go_of_from();
            }
            let step = opening.step(place);
            let from = opening.from.as_ref().map(|pin| &*pin.handle);
            let base = parent.as_ref().or(from);
            let node = step.node();
            let known = node.identity().is_some();
            let handle = match (step, base) {
                (Step::Duplicate(_), Some(base)) => backend.open_child(base, Name::DOT, false),
                (Step::Enter(_), Some(base)) => {
                    backend.open_child(base, node.name(), node.is_followed())
                }
                (_, None) => backend.open_root(node.root_path()),
            };
            // It was there and is not found again, so it was removed or moved away; what is below it
            // may live on elsewhere, and nobody can say that it has vanished.
            let handle = handle.map_err(|error| match known && error.kind() == NotFound {
                true => Fault::Replaced.into(),
                false => error,
            })?;
            if !node.confirm(backend.identify(&handle)?) {
                return Err(io::Error::from(Fault::Replaced).into());
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
    fn keep(&self, mut opening: Opening<'_>, opened: Opened, purpose: Purpose) -> (Pin, Cursor) {
        let Opened {
            handle,
            parent,
            first,
            again,
        } = opened;
        let (handle, from) = (Arc::new(handle), opening.from.take().map(Pin::let_go));
        let (mut surplus, mut parent) = (None, parent);
        let (pin, cursor, closing) = self.0.release(|state| {
            state.opened += first;
            state.reopened += again;
            let cache = &mut state.cache;

            // Another thread may have been quicker. What it opened serves as well, unless both list.
            let theirs = match opening.last {
                Step::Enter(node) => cache.find(node),
                Step::Duplicate(_) => None,
            };
            let usable = theirs.and_then(|id| Some((id, purpose.admit(cache, id)?)));
            let (pin, cursor) = if let Some((id, cursor)) = usable {
                surplus = Some(handle);
                (cache.pin(id), cursor)
            } else {
                let shared = theirs.is_none() && matches!(opening.last, Step::Enter(_));
                let node = Arc::clone(opening.last.node());
                opening.grants -= 1;
                let pin = cache.insert(node, handle, purpose.cursor(), shared);
                (pin, Cursor::Start)
            };
            if let Some(node) = opening.above.first()
                && cache.find(node).is_none()
                && let Some(parent) = parent.take()
            {
                opening.grants -= 1;
                let node = Arc::clone(node);
                let parent = cache.insert(node, Arc::new(parent), Cursor::Start, true);
                let closing = cache.unpin(parent.let_go());
                debug_assert!(closing.is_none(), "it is shared, so it stays");
            }
            // From here on it is the listing's.
            opening.lease = false;
            (pin, cursor, from.and_then(|slot| cache.unpin(slot)))
        });
        self.0.close(closing);
        // Closed before their grants go back.
        drop((surplus, parent));
        drop(opening);
        (pin, cursor)
    }
}

/// How to come to a handle.
enum Plan<'a> {
    /// It is there.
    Ready(Pin, Cursor),
    /// There is room to open it.
    Open(Opening<'a>),
    /// There was no room; something may have been released since.
    Wait,
}

/// What is needed to open a directory. What is left of it goes back when this is dropped.
struct Opening<'a> {
    shared: &'a Shared,
    /// An open directory above (or the directory itself, for a duplicate), to begin with.
    from: Option<Pin>,
    last: Step<'a>,
    /// The directories above that must be opened first, from the nearest up to where `from` is; up to the root if there
    /// is none. Empty as a rule.
    above: Vec<&'a Arc<DirNode>>,
    /// How many directories may be opened.
    grants: usize,
    /// Whether it has one, see [`Handles::list`].
    lease: bool,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    /// Opens the directory in the one above it.
    Enter(&'a Arc<DirNode>),
    /// Opens the directory once more, for a second lister.
    Duplicate(&'a Arc<DirNode>),
}

impl<'a> Step<'a> {
    fn node(self) -> &'a Arc<DirNode> {
        match self {
            Step::Enter(node) | Step::Duplicate(node) => node,
        }
    }
}

impl<'a> Opening<'a> {
    /// What is to be opened so many levels above the directory.
    fn step(&self, levels: usize) -> Step<'a> {
        match levels {
            0 => self.last,
            _ => Step::Enter(self.above[levels - 1]),
        }
    }

    fn let_go_of_from(&mut self) {
        if let Some(pin) = self.from.take() {
            self.shared.unpin(pin, |_| {});
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.let_go_of_from();
        if self.grants > 0 || self.lease {
            self.shared.release(|state| {
                state.cache.revoke(self.grants);
                state.listing -= usize::from(self.lease);
            });
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

/// How often a directory is looked for anew that the server has forgotten.
const STALE_REPETITIONS: u32 = 3;

/// Why an [`Opening`] led nowhere.
struct Refusal {
    error: io::Error,
    /// It says that there is no descriptor, and there was one.
    baseless: bool,
}

impl From<io::Error> for Refusal {
    /// Called while all that was opened on the way is open still: what that will give back was not there to be had.
    fn from(error: io::Error) -> Refusal {
        let lack = matches!(Obstacle::of(&error), Some(Obstacle::NoDescriptor));
        Refusal {
            baseless: lack && is_descriptor_free(),
            error,
        }
    }
}

/// How often in a row a lack of descriptors is believed while there are some. Now and then one was just set free by
/// another thread; if it goes on, it is the file system that says so, of itself, and no waiting here helps.
const MOST_REFUSALS: u32 = 8;

/// Whether this process gets a descriptor from the system now.
#[cfg(unix)]
fn is_descriptor_free() -> bool {
    // The descriptor comes first: whether the path can be opened is another matter.
    let opened = std::fs::File::open("/");
    opened.map_or_else(
        |error| !matches!(Obstacle::of(&error), Some(Obstacle::NoDescriptor)),
        |_| true,
    )
}

#[cfg(not(unix))]
fn is_descriptor_free() -> bool {
    true
}

/// What stood in the way of opening something, so far.
#[derive(Default)]
struct Obstacles {
    /// How often a server had forgotten a directory.
    stale: u32,
    /// Whether a descriptor was lacking before.
    starved: bool,
    /// How often in a row one was lacking though there were some.
    refusals: u32,
}

impl Obstacles {
    /// Makes way for another attempt, or passes the error on if none is worthwhile. `from` is where the attempt began.
    fn get_over(
        &mut self,
        handles: &Handles,
        refusal: Refusal,
        from: Option<Pinned>,
    ) -> io::Result<()> {
        let Refusal { error, baseless } = refusal;
        match Obstacle::of(&error) {
            // The process or the system has no descriptor left. What is idle here is given up
            // at once; if that was not enough, a wait comes before each further attempt.
            Some(Obstacle::NoDescriptor) => {
                self.refusals = if baseless { self.refusals + 1 } else { 0 };
                if self.refusals == MOST_REFUSALS {
                    return Err(error);
                }
                drop(from);
                handles
                    .0
                    .give_way(std::mem::replace(&mut self.starved, true));
            }
            // The server has forgotten a directory on the way: once more, from further up.
            Some(Obstacle::Stale) if self.stale < STALE_REPETITIONS => {
                self.stale += 1;
                from.into_iter().for_each(|pinned| handles.discard(pinned));
            }
            _ => return Err(error),
        }
        Ok(())
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

    #[cfg(windows)]
    fn of(error: &io::Error) -> Option<Obstacle> {
        use windows_sys::Win32::Foundation::{
            ERROR_NETNAME_DELETED, ERROR_NO_SYSTEM_RESOURCES, ERROR_TOO_MANY_OPEN_FILES,
        };
        match error.raw_os_error()?.cast_unsigned() {
            ERROR_TOO_MANY_OPEN_FILES | ERROR_NO_SYSTEM_RESOURCES => Some(Obstacle::NoDescriptor),
            // A connection was lost, and the handles of its time with it.
            ERROR_NETNAME_DELETED => Some(Obstacle::Stale),
            _ => None,
        }
    }

    #[cfg(not(any(unix, windows)))]
    fn of(_error: &io::Error) -> Option<Obstacle> {
        None
    }
}
