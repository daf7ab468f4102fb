//! The thread that sets the limits of a run's mounts by what workers measure there.
//!
//! One thing must stay true: it waits for nothing but the next tick, so a mount that hangs keeps no other from being
//! adapted.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use serde::Serialize;
use statline_pipeline::StageError;

use super::limit::Total;
use super::{Controller, Interval, Reason};
use crate::mount::Mount;

/// How often it looks.
const TICK: Duration = Duration::from_millis(25);

/// How many decisions a report shows of each mount: the first half, and the last.
const SHOWN: usize = 64;

/// Sets the limits of the mounts of one run. It ends when it is dropped.
pub(crate) struct Governor {
    governed: Arc<Mutex<Vec<Governed>>>,
    began: Instant,
    /// Its thread lives as long as this.
    alive: OnceLock<Sender<()>>,
}

/// Told of each decision.
pub(crate) type Decided = dyn Fn(&Mount, &History) + Send + Sync;

/// A mount whose limit is set.
pub(crate) struct Governed {
    mount: Weak<Mount>,
    controller: Controller,
    before: Total,
    history: History,
    decided: Arc<Decided>,
}

/// The decisions on one mount.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct History {
    /// How many there were; not all of many are kept.
    pub(crate) decisions: usize,
    pub(crate) steps: Vec<Step>,
}

/// One decision.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Since the run began.
    pub(crate) at_ms: u64,
    /// How many threads may be at work from then on.
    pub(crate) threads: usize,
    /// What a call took on average, where something was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_second: Option<f64>,
    pub(crate) reason: &'static str,
}

impl History {
    /// How many threads there are to begin with is a decision as well.
    fn beginning(since: Duration, threads: usize, reason: Reason) -> History {
        let mut history = History::default();
        history.add(Step {
            at_ms: milliseconds(since),
            threads,
            latency_us: None,
            calls_per_second: None,
            reason: reason.as_str(),
        });
        history
    }

    fn add(&mut self, step: Step) {
        self.decisions += 1;
        if self.steps.len() == SHOWN {
            self.steps.remove(SHOWN / 2);
        }
        self.steps.push(step);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Governed {
    /// Looks at what was measured since the last time. Returns whether the mount is still in use.
    fn tick(&mut self, elapsed: Duration, since: Duration) -> bool {
        let Some(mount) = self.mount.upgrade() else {
            return false;
        };
        let now = mount.limit.total();
        let allowed = mount.limit.allowed();
        let (calls, busy) = (now.calls - self.before.calls, now.busy - self.before.busy);
        let active = (now.active + self.before.active) as f64 / 2.0;
        let interval = Interval {
            elapsed,
            calls,
            busy,
            active,
            // Who waits for a reader is at work and not inside a call.
            starved: now.active.min(self.before.active) < allowed
                || busy.as_secs_f64() < 0.5 * active * elapsed.as_secs_f64(),
        };
        self.before = now;
        let decision = self.controller.observe(&interval);
        if decision.limit != allowed {
            mount.limit.allow(decision.limit);
            let latency = busy.as_secs_f64() * 1e6 / calls as f64;
            self.history.add(Step {
                at_ms: milliseconds(since),
                threads: decision.limit,
                latency_us: (calls > 0).then_some(latency),
                calls_per_second: Some(calls as f64 / elapsed.as_secs_f64()),
                reason: decision.reason.as_str(),
            });
            (self.decided)(&mount, &self.history);
        }
        true
    }
}

impl Governor {
    pub(crate) fn new() -> Governor {
        Governor {
            governed: Arc::default(),
            began: Instant::now(),
            alive: OnceLock::new(),
        }
    }

    /// Reports what one more mount begins with, and has its limit follow the controller from now on, if there is one.
    pub(crate) fn add(
        &self,
        mount: &Arc<Mount>,
        controller: Option<Controller>,
        decided: &Arc<Decided>,
    ) {
        let reason = match controller {
            Some(_) => Reason::Profile,
            None => Reason::Fixed,
        };
        let history = History::beginning(self.began.elapsed(), mount.limit.allowed(), reason);
        decided(mount, &history);
        let Some(controller) = controller else {
            return;
        };
        let mut all = self.governed.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Governed {
            mount: Arc::downgrade(mount),
            controller,
            before: mount.limit.total(),
            history,
            decided: Arc::clone(decided),
        });
    }

    /// Starts its thread, once.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(crate) fn start(&self) -> Result<(), StageError> {
        if self.alive.get().is_some() {
            return Ok(());
        }
        let (alive, over) = channel::bounded(0);
        let (governed, began) = (Arc::clone(&self.governed), self.began);
        thread::Builder::new()
            .name("governor".to_owned())
            .spawn(move || run(&governed, began, &over))
            .map_err(|error| StageError::failed(format!("cannot start a thread: {error}")))?;
        let _ = self.alive.set(alive);
        Ok(())
    }
}

fn run(governed: &Mutex<Vec<Governed>>, began: Instant, over: &Receiver<()>) {
    let mut last = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(TICK) {
        let now = Instant::now();
        let (elapsed, since) = (now - last, now - began);
        last = now;
        let mut all = governed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|governed| governed.tick(elapsed, since));
    }
}
