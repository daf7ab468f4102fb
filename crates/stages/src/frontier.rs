//! The directories that a scan has found and not yet read.
//!
//! Each worker keeps those it found itself and takes the newest first, so that the scan goes deep and the frontier
//! stays small; a worker without any takes the oldest of another. Siblings wait as one packed list of names: a
//! directory of a million directories costs some thirty bytes for each, not a node.
//!
//! One thing must stay true: `pending` counts every directory that is waiting or being read, so that it is zero exactly
//! when the scan is over. It is therefore raised for the children before it is lowered for their parent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::deque::{Injector, Steal, Stealer, Worker};
use statline_platform::{DirNode, Entries};

/// How long a worker without work sleeps before it looks whether the run is stopping.
const SLICE: Duration = Duration::from_millis(20);

/// From how many on siblings are worth the time to give back the memory that they do not need: what was gathered by
/// growing may hold twice as much as it must, and in a directory of a million directories all of it waits.
const MANY: usize = 64;

/// Sibling directories that wait.
pub(crate) struct Siblings {
    parent: Arc<DirNode>,
    names: Entries,
    /// Whether they are reached by following symbolic links.
    followed: bool,
    /// The first that nobody has taken.
    next: usize,
}

impl Siblings {
    pub(crate) fn new(parent: &Arc<DirNode>, mut names: Entries, followed: bool) -> Siblings {
        if names.len() >= MANY {
            names.shrink_to_fit();
        }
        Siblings {
            parent: Arc::clone(parent),
            names,
            followed,
            next: 0,
        }
    }

    fn take(&mut self) -> Arc<DirNode> {
        let name = self.names.name(self.next);
        self.next += 1;
        if self.followed {
            DirNode::child_followed(&self.parent, name)
        } else {
            DirNode::child(&self.parent, name)
        }
    }

    fn len(&self) -> usize {
        self.names.len() - self.next
    }
}

/// What all workers of a scan share.
pub(crate) struct Frontier {
    roots: Injector<Arc<DirNode>>,
    stealers: Vec<Stealer<Siblings>>,
    pending: AtomicUsize,
    /// How many workers sleep; only then is there anyone to wake.
    sleepers: AtomicUsize,
    wake: (Mutex<()>, Condvar),
}

/// One worker's part of the frontier.
pub(crate) struct LocalFrontier {
    shared: Arc<Frontier>,
    own: Worker<Siblings>,
    /// This worker's place among the stealers.
    place: usize,
}

/// What a worker is to do next.
pub(crate) enum Next {
    /// Read this directory, then call [`LocalFrontier::finished`].
    Directory(Arc<DirNode>),
    /// Nothing for now; [`wait`](LocalFrontier::wait) and ask again.
    Nothing,
    /// The scan is over.
    End,
}

impl Frontier {
    /// The frontier of a scan of these roots, shared out to so many workers.
    pub(crate) fn share(roots: Vec<Arc<DirNode>>, workers: usize) -> Vec<LocalFrontier> {
        let own: Vec<Worker<Siblings>> = (0..workers).map(|_| Worker::new_lifo()).collect();
        let shared = Arc::new(Frontier {
            roots: Injector::new(),
            stealers: own.iter().map(Worker::stealer).collect(),
            pending: AtomicUsize::new(roots.len()),
            sleepers: AtomicUsize::new(0),
            wake: (Mutex::new(()), Condvar::new()),
        });
        roots.into_iter().for_each(|root| shared.roots.push(root));
        own.into_iter()
            .enumerate()
            .map(|(place, own)| LocalFrontier {
                shared: Arc::clone(&shared),
                own,
                place,
            })
            .collect()
    }

    fn wake_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // The lock orders this against a worker between its look at the frontier and its sleep.
            let _guard = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.1.notify_all();
        }
    }
}

impl LocalFrontier {
    /// Adds directories found in one that is being read.
    pub(crate) fn push(&mut self, siblings: Siblings) {
        if siblings.len() > 0 {
            self.shared
                .pending
                .fetch_add(siblings.len(), Ordering::SeqCst);
            self.own.push(siblings);
            self.shared.wake_sleepers();
        }
    }

    /// The next directory to read.
    pub(crate) fn next(&mut self) -> Next {
        if let Some(siblings) = self.own.pop() {
            return Next::Directory(self.take_one(siblings));
        }
        if let Some(root) = retry(|| self.shared.roots.steal()) {
            return Next::Directory(root);
        }
        let others = self.shared.stealers.len();
        for offset in 1..others {
            let victim = &self.shared.stealers[(self.place + offset) % others];
            if let Some(siblings) = retry(|| victim.steal()) {
                return Next::Directory(self.take_one(siblings));
            }
        }
        if self.shared.pending.load(Ordering::SeqCst) == 0 {
            Next::End
        } else {
            Next::Nothing
        }
    }

    /// Takes the first of some siblings; the rest waits here, where others can find it.
    fn take_one(&mut self, mut siblings: Siblings) -> Arc<DirNode> {
        let node = siblings.take();
        if siblings.len() > 0 {
            self.own.push(siblings);
            self.shared.wake_sleepers();
        }
        node
    }

    /// A directory has been read, and what was found in it pushed.
    pub(crate) fn finished(&mut self) {
        if self.shared.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.wake_sleepers();
        }
    }

    /// Whether some worker has nothing to do.
    pub(crate) fn has_sleepers(&self) -> bool {
        self.shared.sleepers.load(Ordering::Relaxed) > 0
    }

    /// Sleeps until there may be something to do, a short while at the longest.
    pub(crate) fn wait(&self) {
        let shared = &*self.shared;
        shared.sleepers.fetch_add(1, Ordering::SeqCst);
        let guard = shared.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = shared.roots.is_empty()
            && shared.stealers.iter().all(Stealer::is_empty)
            && shared.pending.load(Ordering::SeqCst) > 0;
        if idle {
            drop(shared.wake.1.wait_timeout(guard, SLICE));
        }
        shared.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn retry<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(found) => return Some(found),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}
