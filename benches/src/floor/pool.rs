//! Work that a thread gives away, and how threads wait for it.
//!
//! Each worker keeps its own stack and comes here only when it has nothing, or when it has too much while somebody waits. What
//! must stay true: the walk is over exactly when all threads wait and nothing is queued, because only a running thread
//! makes work.

use std::collections::VecDeque;
use std::ffi::CString;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::raw::NameBuffer;

/// A piece of work.
#[derive(Debug)]
pub(super) enum Job {
    /// Open a directory and read it. A pending child keeps its parent open, so a walk that goes deep first holds one
    /// descriptor a level at most.
    Open { parent: Arc<OwnedFd>, name: CString },
    /// Read a directory that is open.
    Read(Arc<OwnedFd>),
    /// Stat some names of a chunk: how a directory of a million files keeps every thread busy.
    Stat {
        directory: Arc<OwnedFd>,
        names: Arc<NameBuffer>,
        slots: Vec<Slot>,
    },
}

/// A name to stat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) inode: u64,
    /// Where the name starts in its [`NameBuffer`].
    pub(super) name_at: u32,
    /// The listing did not say whether it is a directory.
    pub(super) unknown: bool,
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Pool {
    threads: usize,
    queue: Mutex<Queue>,
    woken: Condvar,
    /// Waiting threads for which nothing is queued. Written under the lock of `queue`, read without it: it is a hint.
    hungry: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    waiting: usize,
    finished: bool,
}

impl Pool {
    pub(super) fn new(threads: NonZeroUsize, first: Job) -> Self {
        Self {
            threads: threads.get(),
            queue: Mutex::new(Queue {
                jobs: VecDeque::from([first]),
                ..Queue::default()
            }),
            woken: Condvar::new(),
            hungry: AtomicUsize::new(0),
        }
    }

    /// How many threads would take a job at once. One relaxed load: cheap enough to ask often.
    pub(super) fn hungry(&self) -> usize {
        self.hungry.load(Ordering::Relaxed)
    }

    /// Gives jobs away.
    pub(super) fn give(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut queue = self.lock();
        let before = queue.jobs.len();
        queue.jobs.extend(jobs);
        let wakes = (queue.jobs.len() - before).min(queue.waiting);
        self.update_hungry(&queue);
        drop(queue);
        for _ in 0..wakes {
            self.woken.notify_one();
        }
    }

    /// Takes the oldest job, which is the one nearest the root and so likely the largest. Waits when there is none; `None` when
    /// the walk is over.
    pub(super) fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        queue.waiting += 1;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.waiting -= 1;
                self.update_hungry(&queue);
                return Some(job);
            }
            if queue.waiting == self.threads {
                queue.finished = true;
                self.woken.notify_all();
            }
            if queue.finished {
                return None;
            }
            self.update_hungry(&queue);
            queue = self
                .woken
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn update_hungry(&self, queue: &Queue) {
        self.hungry.store(
            queue.waiting.saturating_sub(queue.jobs.len()),
            Ordering::Relaxed,
        );
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
