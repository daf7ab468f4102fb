//! The threads of a run: who starts them, and who hears of their ends.
//!
//! One thing must stay true: each post ends once, though several threads may have held it.

use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam::channel::Sender;

use crate::fault::{Fault, FaultKind};
use crate::monitor::Monitored;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::WatchedSlot;
use crate::worker::{Ending, Worker, discard, work};

/// One worker's place among those of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PostId {
    /// The stage, in the order in which messages travel.
    pub(crate) stage: usize,
    /// Counted through all stages.
    pub(crate) worker: usize,
}

/// Starts threads and keeps hold of them.
pub(crate) struct Crew {
    monitored: Arc<Monitored>,
    endings: Sender<(PostId, Ending)>,
    threads: Mutex<Vec<Thread>>,
}

struct Thread {
    post: PostId,
    handle: JoinHandle<()>,
    replaced: Arc<AtomicBool>,
    slot: Option<Arc<dyn WatchedSlot>>,
}

impl Crew {
    /// Each post's end will be told through `endings`.
    pub(crate) fn new(monitored: &Arc<Monitored>, endings: Sender<(PostId, Ending)>) -> Crew {
        Crew {
            monitored: Arc::clone(monitored),
            endings,
            threads: Mutex::default(),
        }
    }

    /// Starts a thread for a worker. One that cannot be started is a fault, and an end.
    pub(crate) fn start(&self, post: PostId, worker: Worker) {
        let monitored = Arc::clone(&self.monitored);
        let endings = self.endings.clone();
        let (replaced, slot) = (Arc::clone(&worker.replaced), worker.slot.clone());
        let name = monitored.stages[post.stage].name.clone();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let stage = &monitored.stages[post.stage].name;
            if let Some(ending) = work(worker, stage, &monitored.health) {
                // Nobody listens only when the run has been left.
                let _ = endings.send((post, ending));
            }
        });
        match thread {
            Ok(handle) => {
                let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
                // Threads that have come back too late; as long as nobody joins them, their memory stays.
                let late = |thread: &mut Thread| {
                    thread.replaced.load(Ordering::Acquire) && thread.handle.is_finished()
                };
                for thread in threads.extract_if(.., late) {
                    let _ = thread.handle.join();
                }
                threads.push(Thread {
                    post,
                    handle,
                    replaced,
                    slot,
                });
            }
            Err(error) => {
                self.monitored.health.record(Fault {
                    stage: self.monitored.stages[post.stage].name.clone(),
                    kind: FaultKind::Open,
                    message: format!("cannot start a thread: {error}"),
                });
                let _ = self.endings.send((post, Ending::Cut));
            }
        }
    }

    /// Lets go of a worker that never got a thread.
    pub(crate) fn discard(&self, post: PostId, worker: Worker) {
        let stage = &self.monitored.stages[post.stage].name;
        discard(worker.actor, stage, &self.monitored.health);
    }

    /// What the holder of a post is doing, if it is inside a watched call.
    pub(crate) fn call_of(&self, post: PostId) -> Option<(&'static str, Vec<u8>)> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders = threads.iter().rev().filter(|thread| thread.post == post);
        let slot = holders.next()?.slot.as_ref()?;
        slot.call(slot.sample())
    }

    /// Waits until the threads are gone whose posts have ended. Those of the posts that are `left`, and those that were
    /// replaced and are still inside their calls, are left alone.
    pub(crate) fn join(&self, left: &[PostId]) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            let stays = left.contains(&thread.post) || thread.replaced.load(Ordering::Acquire);
            if !stays || thread.handle.is_finished() {
                // The thread catches every panic of its worker.
                let _ = thread.handle.join();
            }
        }
    }
}
