//! The work that a scan has found and not yet done: directories to read, and chunks of names to fetch the metadata of.
//!
//! Each worker keeps what it found itself and takes the newest first, so that the scan goes deep and the frontier stays
//! small. Whoever has more than one thing to do gives half of it to the queue of its mount as soon as somebody could
//! help, that is, while fewer are at work on the mount than its limit allows. Workers belong to one mount at a time, so
//! a slow mount never holds up another. Siblings wait as one packed list of names: a directory of a million directories
//! costs some thirty bytes for each, not a node.
//!
//! One thing must stay true: `pending` counts every directory that is waiting or being read, and every chunk in a queue,
//! so that it is zero exactly when the scan is over. It is therefore raised for the children before it is lowered for
//! their parent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use statline_platform::{DirNode, Entries, Handles};

use crate::chunk::Chunk;
use crate::mount::Mount;
use crate::reading::Reading;

/// How long a worker without work sleeps before it looks whether the run is stopping: one of those that sleep does, the
/// others are woken by it.
const SLICE: Duration = Duration::from_millis(20);

/// How long the others sleep.
const LONG: Duration = Duration::from_secs(1);

/// From how many on siblings are worth the time to give back the memory that they do not need: what was gathered by
/// growing may hold twice as much as it must, and in a directory of a million directories all of it waits.
const MANY: usize = 64;

/// A directory whose children wait, or are about to be opened. When nobody is left of them, it is closed.
pub(crate) struct Parent {
    node: Arc<DirNode>,
    /// Absent if others may want it open.
    handles: Option<Handles>,
}

impl Parent {
    pub(crate) fn new(node: &Arc<DirNode>, handles: Option<&Handles>) -> Arc<Parent> {
        Arc::new(Parent {
            node: Arc::clone(node),
            handles: handles.cloned(),
        })
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Some(handles) = &self.handles {
            handles.retire(&self.node);
        }
    }
}

/// Sibling directories that wait.
pub(crate) struct Siblings {
    parent: Arc<Parent>,
    names: Arc<Entries>,
    /// Whether they are reached by following symbolic links.
    followed: bool,
    /// The first that nobody has taken.
    next: usize,
    /// The first that is not among these.
    end: usize,
}

impl Siblings {
    pub(crate) fn new(parent: &Arc<Parent>, mut names: Entries, followed: bool) -> Siblings {
        if names.len() >= MANY {
            names.shrink_to_fit();
        }
        Siblings {
            parent: Arc::clone(parent),
            followed,
            next: 0,
            end: names.len(),
            names: Arc::new(names),
        }
    }

    fn take(&mut self) -> Next {
        let name = self.names.name(self.next);
        self.next += 1;
        let above = &self.parent.node;
        let node = match self.followed {
            true => DirNode::child_followed(above, name),
            false => DirNode::child(above, name),
        };
        Next::Directory(node, Some(Arc::clone(&self.parent)))
    }

    fn len(&self) -> usize {
        self.end - self.next
    }

    /// Takes the second half out.
    fn split(&mut self) -> Siblings {
        let middle = self.end - self.len() / 2;
        let half = Siblings {
            parent: Arc::clone(&self.parent),
            names: Arc::clone(&self.names),
            followed: self.followed,
            next: middle,
            end: self.end,
        };
        self.end = middle;
        half
    }
}

/// What all workers of a scan share.
pub(crate) struct Frontier {
    queues: Mutex<Queues>,
    wake: Condvar,
    pending: AtomicUsize,
    /// How many workers are at work, on all mounts together.
    at_work: AtomicUsize,
    /// Set when a worker ends early: the others are to look why.
    cut: AtomicBool,
    /// Starts one more worker, if there is one in reserve.
    call_up: Box<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Default)]
struct Queues {
    mounts: Vec<Queue>,
    /// Workers that sleep, those left out that were woken and have not looked yet.
    sleepers: usize,
    woken: usize,
    /// Workers that were called up and have not looked yet.
    coming: usize,
    /// Whether one of them wakes by itself now and then.
    has_watch: bool,
}

/// The work on one mount that anybody may take.
struct Queue {
    mount: Arc<Mount>,
    /// Directories that were begun. They hold descriptors, so they come first.
    begun: VecDeque<Box<Reading>>,
    chunks: VecDeque<Arc<Chunk>>,
    siblings: VecDeque<Siblings>,
    roots: Vec<Arc<DirNode>>,
}

impl Queue {
    fn new(mount: &Arc<Mount>) -> Queue {
        Queue {
            mount: Arc::clone(mount),
            begun: VecDeque::new(),
            chunks: VecDeque::new(),
            siblings: VecDeque::new(),
            roots: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.begun.is_empty()
            && self.chunks.is_empty()
            && self.siblings.is_empty()
            && self.roots.is_empty()
    }

    fn note_length(&self) {
        let length = self.begun.len() + self.chunks.len() + self.siblings.len() + self.roots.len();
        self.mount.queued.store(length, Ordering::Relaxed);
        self.mount.begun.store(self.begun.len(), Ordering::Relaxed);
    }
}

/// One worker's part of the frontier.
pub(crate) struct LocalFrontier {
    shared: Arc<Frontier>,
    /// Siblings on the mount that it works on.
    own: VecDeque<Siblings>,
    mount: Option<Arc<Mount>>,
    /// It was called up and has not looked yet.
    is_coming: bool,
}

/// What a worker is to do next.
pub(crate) enum Next {
    /// Read this directory, then call [`LocalFrontier::finished`]. Its parent is not needed any more when it is open.
    Directory(Arc<DirNode>, Option<Arc<Parent>>),
    /// Read the rest of this one, then call [`LocalFrontier::finished`].
    Begun(Box<Reading>),
    /// Take part in fetching the metadata of these names.
    Chunk(Arc<Chunk>),
    /// Nothing for now; [`wait`](LocalFrontier::wait) and ask again.
    Nothing,
    /// The scan is over.
    End,
}

impl Frontier {
    /// The frontier of a scan of these roots, each on its mount. `call_up` starts one more worker if it can.
    pub(crate) fn new(
        roots: Vec<(Arc<Mount>, Arc<DirNode>)>,
        call_up: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Arc<Frontier> {
        let frontier = Frontier {
            queues: Mutex::default(),
            wake: Condvar::new(),
            pending: AtomicUsize::new(roots.len()),
            at_work: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            call_up: Box::new(call_up),
        };
        let mut queues = frontier.lock();
        for (mount, root) in roots {
            let queue = queues.of(&mount);
            queue.roots.push(root);
            queue.note_length();
        }
        drop(queues);
        Arc::new(frontier)
    }

    /// The part of a worker that is there from the beginning, or of one that is called up.
    pub(crate) fn part(self: &Arc<Frontier>, is_called_up: bool) -> LocalFrontier {
        LocalFrontier {
            shared: Arc::clone(self),
            own: VecDeque::new(),
            mount: None,
            is_coming: is_called_up,
        }
    }

    /// More may be at work now than before: wakes them if there is work that nobody does.
    pub(crate) fn limits_changed(&self) {
        let mut queues = self.lock();
        let wanted: usize = queues
            .mounts
            .iter()
            .map(|queue| {
                queue
                    .mount
                    .queued
                    .load(Ordering::Relaxed)
                    .min(queue.mount.limit.room())
            })
            .sum();
        self.summon(&mut queues, wanted);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has so many workers look for work: those that are on their way already, sleepers, and others that are called up.
    fn summon(&self, queues: &mut Queues, workers: usize) {
        let missing = workers.saturating_sub(queues.woken + queues.coming);
        let asleep = (queues.sleepers - queues.woken).min(missing);
        queues.woken += asleep;
        (0..asleep).for_each(|_| self.wake.notify_one());
        for _ in asleep..missing {
            if !(self.call_up)() {
                break;
            }
            queues.coming += 1;
        }
    }

    /// Wakes everybody.
    fn wake_all(&self) {
        let mut queues = self.lock();
        queues.woken = queues.sleepers;
        self.wake.notify_all();
    }

    fn done(&self) {
        if self.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake_all();
        }
    }
}

impl Queues {
    fn of(&mut self, mount: &Arc<Mount>) -> &mut Queue {
        let known = self
            .mounts
            .iter()
            .position(|queue| Arc::ptr_eq(&queue.mount, mount));
        let place = known.unwrap_or_else(|| {
            self.mounts.push(Queue::new(mount));
            self.mounts.len() - 1
        });
        &mut self.mounts[place]
    }
}

impl LocalFrontier {
    /// The mount that the worker works on.
    pub(crate) fn mount(&self) -> Option<&Arc<Mount>> {
        self.mount.as_ref()
    }

    /// Adds directories found in one that is being read.
    pub(crate) fn push(&mut self, siblings: Siblings) {
        if siblings.len() > 0 {
            self.shared
                .pending
                .fetch_add(siblings.len(), Ordering::SeqCst);
            self.own.push_back(siblings);
            self.share(false);
        }
    }

    /// How many workers are at work, on all mounts together: one at least.
    pub(crate) fn at_work(&self) -> usize {
        self.shared.at_work.load(Ordering::Relaxed).max(1)
    }

    /// The next thing to do.
    pub(crate) fn next(&mut self) -> Next {
        if self.is_over() {
            self.step_back();
        }
        if let Some(reading) = self.take_begun() {
            return Next::Begun(reading);
        }
        if let Some(siblings) = self.own.pop_back() {
            return self.take_one(siblings);
        }
        if let Some(next) = self.take_shared() {
            return next;
        }
        match self.shared.pending.load(Ordering::SeqCst) {
            0 => Next::End,
            _ => Next::Nothing,
        }
    }

    /// Whether more are at work on the mount than should be, so that this worker is to hand back what it has.
    pub(crate) fn is_over(&self) -> bool {
        self.mount
            .as_ref()
            .is_some_and(|mount| mount.limit.is_over())
    }

    /// How many could take part in fetching the metadata of a chunk, as far as nothing else waits for them.
    pub(crate) fn helpers(&self) -> usize {
        self.mount.as_ref().map_or(0, |mount| {
            let queued = mount.queued.load(Ordering::Relaxed);
            mount.limit.room().saturating_sub(queued)
        })
    }

    /// Lets others take part in a chunk.
    pub(crate) fn offer(&mut self, chunk: &Arc<Chunk>, helpers: usize) {
        let Some(mount) = &self.mount else {
            return;
        };
        self.shared.pending.fetch_add(1, Ordering::SeqCst);
        let mut queues = self.shared.lock();
        let queue = queues.of(mount);
        queue.chunks.push_back(Arc::clone(chunk));
        queue.note_length();
        self.shared.summon(&mut queues, helpers);
    }

    /// Takes back a chunk that was offered: nothing is left of it. Others may have noticed before.
    pub(crate) fn withdraw(&mut self, chunk: &Arc<Chunk>) {
        let Some(mount) = &self.mount else {
            return;
        };
        let mut queues = self.shared.lock();
        let queue = queues.of(mount);
        let place = queue
            .chunks
            .iter()
            .position(|other| Arc::ptr_eq(other, chunk));
        let found = place.and_then(|place| queue.chunks.remove(place));
        queue.note_length();
        drop(queues);
        if found.is_some() {
            self.shared.done();
        }
    }

    /// Hands a directory on that was begun, to whoever works on its mount.
    pub(crate) fn hand_over(&mut self, mount: &Arc<Mount>, reading: Box<Reading>) {
        let mut queues = self.shared.lock();
        let queue = queues.of(mount);
        queue.begun.push_back(reading);
        queue.note_length();
        let room = mount.limit.room().min(1);
        self.shared.summon(&mut queues, room);
    }

    /// A directory has been read, and what was found in it pushed.
    pub(crate) fn finished(&mut self) {
        self.shared.done();
    }

    /// Gives work away while others could help.
    fn share(&mut self, all: bool) {
        let Some(mount) = &self.mount else {
            return;
        };
        let helpers = match all {
            true => mount.limit.room(),
            false => self.helpers(),
        };
        let spare = self.own.len() > 1 || self.own.front().is_some_and(|only| only.len() > 1);
        if !all && (helpers == 0 || !spare) {
            return;
        }
        let mut given: VecDeque<Siblings> = match (all, self.own.len()) {
            (true, _) => self.own.drain(..).collect(),
            (false, 1) => self.own.iter_mut().map(Siblings::split).collect(),
            // The oldest are the nearest to the root, and the most is below them.
            (false, lists) => self.own.drain(..lists / 2).collect(),
        };
        // Whoever takes one shares it out in turn.
        let wanted = helpers.min(given.len());
        let mut queues = self.shared.lock();
        let queue = queues.of(mount);
        queue.siblings.append(&mut given);
        queue.note_length();
        self.shared.summon(&mut queues, wanted);
    }

    /// Takes the first of some siblings; the rest waits here.
    fn take_one(&mut self, mut siblings: Siblings) -> Next {
        let next = siblings.take();
        if siblings.len() > 0 {
            self.own.push_back(siblings);
            self.share(false);
        }
        next
    }

    /// Takes a directory that was begun on the mount. It holds descriptors: if more were opened while it waits, there might
    /// be none left in the end.
    fn take_begun(&mut self) -> Option<Box<Reading>> {
        let mount = self.mount.as_ref()?;
        if mount.begun.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut queues = self.shared.lock();
        let queue = queues.of(mount);
        let reading = queue.begun.pop_front();
        queue.note_length();
        reading
    }

    /// Takes something from the queue of the mount, or of another one that may have more workers.
    fn take_shared(&mut self) -> Option<Next> {
        let shared = Arc::clone(&self.shared);
        let mut queues = shared.lock();
        if std::mem::take(&mut self.is_coming) {
            queues.coming -= 1;
        }
        let mut exhausted = 0;
        let next = loop {
            let Some(queue) = self.queue_to_work_on(&mut queues) else {
                break None;
            };
            let next = if let Some(reading) = queue.begun.pop_front() {
                Some(Next::Begun(reading))
            } else if let Some(chunk) = queue.chunks.front() {
                match chunk.is_exhausted() {
                    true => {
                        queue.chunks.pop_front();
                        exhausted += 1;
                        None
                    }
                    false => Some(Next::Chunk(Arc::clone(chunk))),
                }
            } else if let Some(siblings) = queue.siblings.pop_back() {
                self.own.push_back(siblings);
                None
            } else {
                queue.roots.pop().map(|root| Next::Directory(root, None))
            };
            queue.note_length();
            if next.is_some() || !self.own.is_empty() {
                break next;
            }
        };
        drop(queues);
        (0..exhausted).for_each(|_| shared.done());
        match self.own.pop_back() {
            Some(siblings) => Some(self.take_one(siblings)),
            None => next,
        }
    }

    /// The queue of a mount that has work and that this worker may work on.
    fn queue_to_work_on<'q>(&mut self, queues: &'q mut Queues) -> Option<&'q mut Queue> {
        let own = self.mount.as_ref();
        let is_own = |queue: &Queue| own.is_some_and(|own| Arc::ptr_eq(own, &queue.mount));
        let stays = queues
            .mounts
            .iter()
            .position(|queue| is_own(queue) && !queue.is_empty());
        if let Some(place) = stays {
            return Some(&mut queues.mounts[place]);
        }
        self.leave();
        let other = queues
            .mounts
            .iter()
            .position(|queue| !queue.is_empty() && queue.mount.limit.enter())?;
        self.mount = Some(Arc::clone(&queues.mounts[other].mount));
        self.shared.at_work.fetch_add(1, Ordering::Relaxed);
        Some(&mut queues.mounts[other])
    }

    /// Leaves its mount's work to others, as there are more at work than should be.
    fn step_back(&mut self) {
        let Some(mount) = &self.mount else {
            return;
        };
        if mount.limit.leave_if_over() {
            self.share(true);
            self.mount = None;
            self.shared.at_work.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn leave(&mut self) {
        if let Some(mount) = self.mount.take() {
            mount.limit.leave();
            self.shared.at_work.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sleeps until there may be something to do, or until `due`. Of all that sleep, one at a time wakes soon by itself.
    pub(crate) fn wait(&mut self, due: Option<Instant>) {
        let shared = &*self.shared;
        let mut queues = shared.lock();
        let has_work = queues
            .mounts
            .iter()
            .any(|queue| !queue.is_empty() && queue.mount.limit.room() > 0);
        if has_work || shared.pending.load(Ordering::SeqCst) == 0 {
            return;
        }
        let watches = !std::mem::replace(&mut queues.has_watch, true);
        queues.sleepers += 1;
        let is_cut = shared.cut.load(Ordering::SeqCst);
        let time = if watches || is_cut { SLICE } else { LONG };
        let time = due.map_or(time, |due| {
            time.min(due.saturating_duration_since(Instant::now()))
        });
        let woken = shared.wake.wait_timeout(queues, time);
        let (mut queues, _) = woken.unwrap_or_else(PoisonError::into_inner);
        queues.sleepers -= 1;
        queues.woken = queues.woken.saturating_sub(1);
        if watches {
            queues.has_watch = false;
        }
    }
}

impl Drop for LocalFrontier {
    fn drop(&mut self) {
        self.leave();
        // Whoever ends before the scan is over knows of a reason that concerns the others.
        if self.shared.pending.load(Ordering::SeqCst) > 0 {
            self.shared.cut.store(true, Ordering::SeqCst);
            self.shared.wake_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A frontier with one root, how often somebody was called up, and the root's children to come.
    struct Scan {
        frontier: Arc<Frontier>,
        called_up: Arc<AtomicUsize>,
        root: Arc<DirNode>,
    }

    fn scan(mounts: &[&Arc<Mount>]) -> Scan {
        let root = DirNode::root(Path::new("/root"));
        let roots = mounts
            .iter()
            .map(|mount| (Arc::clone(mount), Arc::clone(&root)));
        let called_up = Arc::new(AtomicUsize::new(0));
        Scan {
            frontier: Frontier::new(roots.collect(), {
                let called_up = Arc::clone(&called_up);
                move || {
                    called_up.fetch_add(1, Ordering::Relaxed);
                    true
                }
            }),
            called_up,
            root,
        }
    }

    fn siblings(parent: &Arc<DirNode>, count: usize) -> Siblings {
        let mut names = Entries::default();
        (0..count).for_each(|number| names.push(format!("d{number}").as_bytes(), None, 0));
        Siblings::new(&Parent::new(parent, None), names, false)
    }

    fn directory(next: Next) -> Option<String> {
        match next {
            Next::Directory(node, _) => Some(String::from_utf8(node.path_bytes()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn half_of_what_a_worker_has_goes_to_whoever_may_help() {
        let mount = Mount::with_limit(2);
        let scan = scan(&[&mount]);
        let (mut busy, mut idle) = (scan.frontier.part(false), scan.frontier.part(false));
        assert!(directory(busy.next()).is_some());
        assert!(matches!(idle.next(), Next::Nothing));
        busy.push(siblings(&scan.root, 4));
        busy.finished();
        assert!(directory(idle.next()).is_some());
        let rest = [&mut busy, &mut idle].map(|worker| {
            let mut read = 0;
            while directory(worker.next()).is_some() {
                read += 1;
            }
            read
        });
        // One had been taken by then.
        assert_eq!(rest, [2, 1]);
        (0..4).for_each(|_| busy.finished());
        assert!(matches!(busy.next(), Next::End));
        assert!(matches!(idle.next(), Next::End));
    }

    #[test]
    fn whoever_is_one_too_many_leaves_everything_to_the_others() {
        let mount = Mount::with_limit(2);
        let scan = scan(&[&mount, &mount]);
        let (mut one, mut other) = (scan.frontier.part(false), scan.frontier.part(false));
        assert!(directory(one.next()).is_some());
        assert!(directory(other.next()).is_some());
        one.push(siblings(&scan.root, 3));
        mount.limit.allow(1);
        assert!(one.is_over());
        assert!(matches!(one.next(), Next::Nothing));
        assert!(!other.is_over());
        let read = (0..3).filter_map(|_| directory(other.next())).count();
        assert_eq!(read, 3);
    }

    #[test]
    fn a_mount_that_is_full_does_not_hold_up_another() {
        let (slow, quick) = (Mount::with_limit(1), Mount::with_limit(1));
        let scan = scan(&[&slow, &slow, &quick]);
        let (mut one, mut other) = (scan.frontier.part(false), scan.frontier.part(false));
        assert!(directory(one.next()).is_some());
        assert!(directory(other.next()).is_some());
        assert!(Arc::ptr_eq(other.mount().unwrap(), &quick));
    }

    #[test]
    fn no_more_are_called_up_than_there_is_work_for() {
        let mount = Mount::with_limit(100);
        let scan = scan(&[&mount]);
        let mut worker = scan.frontier.part(false);
        assert!(directory(worker.next()).is_some());
        worker.push(siblings(&scan.root, 50));
        worker.push(siblings(&scan.root, 50));
        // The one who comes shares out in turn.
        assert!(scan.called_up.load(Ordering::Relaxed) <= 2);
        let mut called_up = scan.frontier.part(true);
        assert!(directory(called_up.next()).is_some());
    }

    #[test]
    fn a_worker_that_ends_early_wakes_those_that_sleep() {
        let mount = Mount::with_limit(2);
        let scan = scan(&[&mount]);
        let mut worker = scan.frontier.part(false);
        assert!(directory(worker.next()).is_some());
        let mut sleeper = scan.frontier.part(false);
        std::thread::scope(|scope| {
            let sleeping = scope.spawn(move || {
                assert!(matches!(sleeper.next(), Next::Nothing));
                sleeper.wait(None);
            });
            drop(worker);
            // It would come back by itself after a moment; that it comes back at all is what matters.
            sleeping.join().unwrap();
        });
        assert!(scan.frontier.cut.load(Ordering::SeqCst));
    }
}
