//! The threads of a run: who starts them, and who hears of their ends.
//!
//! One thing must stay true: each post ends once, though several threads may have held it.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam::channel::Sender;

use crate::fault::{Fault, FaultKind};
use crate::monitor::Monitored;
use crate::reserve::Recruiter;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::watch::WatchedSlot;
use crate::worker::{Ending, Post, Worker, discard, work};

/// One worker's place among those of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PostId {
    /// The stage, in the order in which messages travel.
    pub(crate) stage: usize,
    /// Counted through all stages.
    pub(crate) worker: usize,
}

/// What a run hears of its posts. Of each it hears the beginning before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// There is one more post.
    CalledUp(PostId),
    /// A post has ended.
    Ended(PostId, Ending),
}

/// Starts threads and keeps hold of them.
pub(crate) struct Crew {
    monitored: Arc<Monitored>,
    news: Sender<News>,
    /// How many posts there have been.
    posts: AtomicUsize,
    threads: Mutex<Vec<Thread>>,
    /// Those who were called up and are not watched yet.
    newcomers: Mutex<Vec<Newcomer>>,
    /// Set when all have a thread who are to have one from the beginning.
    staffed: OnceLock<()>,
}

/// A worker that was called up, for whoever watches its calls.
pub(crate) struct Newcomer {
    pub(crate) id: PostId,
    pub(crate) post: Post,
    pub(crate) slot: Arc<dyn WatchedSlot>,
}

struct Thread {
    post: PostId,
    handle: JoinHandle<()>,
    replaced: Arc<AtomicBool>,
    slot: Option<Arc<dyn WatchedSlot>>,
}

impl Crew {
    /// Each post's end will be told through `news`.
    pub(crate) fn new(monitored: &Arc<Monitored>, news: Sender<News>) -> Crew {
        Crew {
            monitored: Arc::clone(monitored),
            news,
            posts: AtomicUsize::new(0),
            threads: Mutex::default(),
            newcomers: Mutex::default(),
            staffed: OnceLock::new(),
        }
    }

    /// All who are to have a thread from the beginning have one, so others may get what is left.
    pub(crate) fn staffed(&self) {
        let _ = self.staffed.set(());
    }

    /// A post for one more worker of a stage.
    pub(crate) fn post(&self, stage: usize) -> PostId {
        PostId {
            stage,
            worker: self.posts.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Starts a thread for a worker. One that cannot be started is a fault, and an end.
    pub(crate) fn start(&self, post: PostId, worker: Worker) {
        if let Err((error, worker)) = self.try_start(post, Box::new(worker)) {
            self.monitored.health.record(Fault {
                stage: self.monitored.stages[post.stage].name.clone(),
                kind: FaultKind::Open,
                message: format!("cannot start a thread: {error}"),
            });
            self.discard(post, *worker);
            self.tell(News::Ended(post, Ending::Cut));
        }
    }

    /// Starts a thread for a worker, or gives it back with the reason.
    fn try_start(&self, post: PostId, worker: Box<Worker>) -> Result<(), (io::Error, Box<Worker>)> {
        let monitored = Arc::clone(&self.monitored);
        let news = self.news.clone();
        let (replaced, slot) = (Arc::clone(&worker.replaced), worker.slot.clone());
        let name = monitored.stages[post.stage].name.clone();
        // What a thread that cannot be started was to do is lost, so the worker is handed over beside it.
        let seat = Arc::new(Mutex::new(Some(worker)));
        let taken = Arc::clone(&seat);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let worker = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stage = &monitored.stages[post.stage].name;
            if let Some(worker) = worker
                && let Some(ending) = work(*worker, stage, &monitored.health)
            {
                // Nobody listens only when the run has been left.
                let _ = news.send(News::Ended(post, ending));
            }
        });
        let handle = match thread {
            Ok(handle) => handle,
            Err(error) => {
                let worker = seat.lock().unwrap_or_else(PoisonError::into_inner).take();
                // Nobody else has taken it: there is no thread.
                return worker.map_or(Ok(()), |worker| Err((error, worker)));
            }
        };
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
        Ok(())
    }

    fn tell(&self, news: News) {
        // Nobody listens only when the run has been left.
        let _ = self.news.send(news);
    }

    /// Those who were called up since this was asked last.
    pub(crate) fn newcomers(&self) -> Vec<Newcomer> {
        let mut newcomers = self
            .newcomers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *newcomers)
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

/// A crew, as the reserve of one stage knows it.
pub(crate) struct StageCrew {
    pub(crate) crew: Arc<Crew>,
    pub(crate) stage: usize,
}

impl Recruiter for StageCrew {
    fn announce(&self) -> PostId {
        let post = self.crew.post(self.stage);
        self.crew.tell(News::CalledUp(post));
        post
    }

    fn start(&self, id: PostId, worker: Box<Worker>) -> Result<(), Box<Worker>> {
        // A stage that is called up early must not take the last threads from those without which nothing goes.
        self.crew.staffed.wait();
        let newcomer = worker.slot.clone().map(|slot| Newcomer {
            id,
            post: worker.post.clone(),
            slot,
        });
        let began = Instant::now();
        self.crew
            .try_start(id, worker)
            .map_err(|(_, worker)| worker)?;
        let stage = &self.crew.monitored.stages[self.stage];
        stage.threads.fetch_add(1, Ordering::Relaxed);
        stage.meter.joined(1, began);
        let mut newcomers = (self.crew.newcomers.lock()).unwrap_or_else(PoisonError::into_inner);
        newcomers.extend(newcomer);
        Ok(())
    }

    fn withdraw(&self, post: PostId, ending: Ending) {
        self.crew.tell(News::Ended(post, ending));
    }
}
