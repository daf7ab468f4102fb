//! The thread that keeps an eye on a run: calls that do not come back, stages that show no sign of life, and the job's
//! time limit.
//!
//! A watched call that has not moved for `stall_after` is given up and its worker replaced. When for `stall_timeout` no
//! call has come back though some are under way, no more are made, so that a run ends however many places hang. One
//! thing must stay true: time is counted in ticks of this thread, not read from a clock, so that a process that was
//! stopped for an hour has not stalled for an hour.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::config::PipelineSettings;
use crate::crew::{Crew, PostId};
use crate::monitor::Monitored;
use crate::stall::Stalled;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::{Sample, WatchedSlot};
use crate::worker::{Post, Worker};

/// The longest time between two looks.
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// How many looks fit into the shortest time that matters.
const TICKS: u32 = 8;

/// What the watchdog watches and may do.
pub(crate) struct Watchdog {
    monitored: Arc<Monitored>,
    crew: Arc<Crew>,
    posts: Vec<WatchedPost>,
    stages: Vec<WatchedStage>,
    stall_after: Duration,
    stall_timeout: Duration,
    /// When the job's time is up.
    deadline: Option<Instant>,
    /// How long no call has come back though some are under way.
    barren: Duration,
}

/// A post whose holder's calls are watched.
struct WatchedPost {
    id: PostId,
    post: Post,
    slot: Arc<dyn WatchedSlot>,
    seen: Sample,
    still: Duration,
}

/// A stage, watched for signs of life.
struct WatchedStage {
    posts: Vec<Post>,
    beats: u64,
    still: Duration,
    /// Set when it has come back, if it is on record as stalled.
    stalled: Option<Arc<AtomicBool>>,
}

impl WatchedStage {
    fn comes_back(&mut self) {
        if let Some(returned) = self.stalled.take() {
            returned.store(true, Ordering::Release);
        }
    }
}

impl Watchdog {
    pub(crate) fn new(
        monitored: &Arc<Monitored>,
        crew: &Arc<Crew>,
        settings: &PipelineSettings,
    ) -> Watchdog {
        let stages = monitored.stages.iter().map(|_| WatchedStage {
            posts: Vec::new(),
            beats: 0,
            still: Duration::ZERO,
            stalled: None,
        });
        Watchdog {
            stages: stages.collect(),
            monitored: Arc::clone(monitored),
            crew: Arc::clone(crew),
            posts: Vec::new(),
            stall_after: settings.stall_after.duration(),
            stall_timeout: settings.stall_timeout.duration(),
            // A limit beyond what the clock can tell is none.
            deadline: settings
                .max_runtime
                .and_then(|limit| monitored.began.checked_add(limit.duration())),
            barren: Duration::ZERO,
        }
    }

    /// Watches one more worker.
    pub(crate) fn watch(&mut self, id: PostId, worker: &Worker) {
        match &worker.slot {
            Some(slot) => self.watch_calls(id, worker.post.clone(), Arc::clone(slot)),
            None => self.stages[id.stage].posts.push(worker.post.clone()),
        }
    }

    fn watch_calls(&mut self, id: PostId, post: Post, slot: Arc<dyn WatchedSlot>) {
        self.posts.push(WatchedPost {
            id,
            post,
            seen: slot.sample(),
            slot,
            still: Duration::ZERO,
        });
    }

    /// Watches until the sending end of `over` goes. Sets `timed_out` if it stopped the run for want of time.
    pub(crate) fn run(mut self, over: &Receiver<()>, timed_out: &OnceLock<()>) {
        let shortest = self.stall_after.min(self.stall_timeout);
        let tick = (shortest / TICKS).min(LONGEST_TICK);
        loop {
            let left = self
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match over.recv_timeout(left.map_or(tick, |left| left.min(tick))) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if left.is_some_and(|left| left <= tick) {
                let _ = timed_out.set(());
                self.monitored.health.stop();
                self.deadline = None;
            }
            // Threads of a run that stops have a deadline of their own.
            if !self.monitored.health.stopping() {
                self.look_at_calls(tick);
                self.look_at_stages(tick);
            }
        }
        for stage in &mut self.stages {
            if !stage.posts.iter().any(|post| post.meter.is_at_work()) {
                stage.comes_back();
            }
        }
    }

    fn look_at_calls(&mut self, tick: Duration) {
        for newcomer in self.crew.newcomers() {
            self.watch_calls(newcomer.id, newcomer.post, newcomer.slot);
        }
        let (mut hangs, mut moves) = (false, false);
        for post in &mut self.posts {
            let sample = post.slot.sample();
            if sample != post.seen {
                moves |= sample.has_progress_since(&post.seen);
                post.seen = sample;
                post.still = Duration::ZERO;
            } else if sample.inside {
                post.still += tick;
                hangs = true;
            }
            // Whoever waits for a reader does not fail to get on.
            moves |= post.post.meter.is_blocked();
        }
        match (moves, hangs) {
            (true, _) => self.barren = Duration::ZERO,
            (false, true) => self.barren += tick,
            (false, false) => {}
        }
        if self.barren >= self.stall_timeout {
            self.monitored.health.give_up();
        }
        let given_up = self.monitored.health.has_given_up();
        for place in 0..self.posts.len() {
            let post = &self.posts[place];
            let overdue = post.still >= self.stall_after || (given_up && post.still >= tick);
            if post.seen.inside && overdue {
                self.replace(place);
            }
        }
    }

    /// Lets another thread go on where a call does not come back.
    fn replace(&mut self, place: usize) {
        let watched = &mut self.posts[place];
        let Some(seized) = watched.slot.seize(watched.seen) else {
            return;
        };
        let stalled = Stalled {
            stage: &self.monitored.stages[watched.id.stage].name,
            operation: seized.operation,
            subject: &seized.subject,
            given_up: true,
            length: watched.still,
        };
        let noticed = self.monitored.began.elapsed();
        self.monitored
            .stalls
            .add(&stalled, noticed, seized.returned);
        watched.slot = seized.slot;
        watched.still = Duration::ZERO;
        // Before its thread starts: a slot without a call.
        watched.seen = watched.slot.sample();
        let worker = Worker {
            actor: seized.actor,
            post: watched.post.clone(),
            slot: Some(Arc::clone(&watched.slot)),
            replaced: seized.replaced,
        };
        self.crew.start(watched.id, worker);
    }

    /// Notes stages of which nothing is heard. That is all: how long a stage may think is not known here.
    fn look_at_stages(&mut self, tick: Duration) {
        for (stage, monitored) in self.stages.iter_mut().zip(&self.monitored.stages) {
            let beats = monitored.meter.beats();
            let at_work = stage.posts.iter().any(|post| post.meter.is_at_work());
            if beats != stage.beats || !at_work {
                stage.beats = beats;
                stage.still = Duration::ZERO;
                stage.comes_back();
                continue;
            }
            stage.still += tick;
            if stage.still >= self.stall_after && stage.stalled.is_none() {
                let stalled = Stalled {
                    stage: &monitored.name,
                    operation: "work",
                    subject: b"",
                    given_up: false,
                    length: stage.still,
                };
                let returned = Arc::new(AtomicBool::new(false));
                let noticed = self.monitored.began.elapsed();
                self.monitored
                    .stalls
                    .add(&stalled, noticed, Arc::clone(&returned));
                stage.stalled = Some(returned);
            }
        }
    }
}
