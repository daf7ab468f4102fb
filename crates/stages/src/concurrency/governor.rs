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
use super::{Controller, Interval};
use crate::mount::Mount;

/// How often it looks.
const TICK: Duration = Duration::from_millis(25);

/// How many decisions a report shows of each mount: the first half, and the last.
const SHOWN: usize = 64;

/// Sets the limits of the mounts of one run. It ends when it is dropped.
pub(crate) struct Governor {
    governed: Arc<Mutex<Vec<Governed>>>,
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
    /// Since the mount was met.
    pub(crate) at_ms: u64,
    /// How many threads may be at work from then on.
    pub(crate) threads: usize,
    /// What a call took on average.
    pub(crate) latency_us: f64,
    pub(crate) calls_per_second: f64,
    pub(crate) reason: &'static str,
}

impl History {
    fn add(&mut self, step: Step) {
        self.decisions += 1;
        if self.steps.len() == SHOWN {
            self.steps.remove(SHOWN / 2);
        }
        self.steps.push(step);
    }
}

impl Governed {
    pub(crate) fn new(
        mount: &Arc<Mount>,
        controller: Controller,
        decided: &Arc<Decided>,
    ) -> Governed {
        Governed {
            mount: Arc::downgrade(mount),
            controller,
            before: mount.limit.total(),
            history: History::default(),
            decided: Arc::clone(decided),
        }
    }

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
            let latency = match calls {
                0 => 0.0,
                calls => busy.as_secs_f64() * 1e6 / calls as f64,
            };
            self.history.add(Step {
                at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
                threads: decision.limit,
                latency_us: latency,
                calls_per_second: calls as f64 / elapsed.as_secs_f64(),
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
            alive: OnceLock::new(),
        }
    }

    /// Sets the limit of one more mount from now on.
    pub(crate) fn add(&self, governed: Governed) {
        let mut all = self.governed.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(governed);
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
        let governed = Arc::clone(&self.governed);
        thread::Builder::new()
            .name("governor".to_owned())
            .spawn(move || run(&governed, &over))
            .map_err(|error| StageError::failed(format!("cannot start a thread: {error}")))?;
        let _ = self.alive.set(alive);
        Ok(())
    }
}

fn run(governed: &Mutex<Vec<Governed>>, over: &Receiver<()>) {
    let began = Instant::now();
    let mut last = began;
    while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(TICK) {
        let now = Instant::now();
        let (elapsed, since) = (now - last, now - began);
        last = now;
        let mut all = governed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|governed| governed.tick(elapsed, since));
    }
}
