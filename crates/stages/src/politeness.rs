//! How much a job may ask of a mount, whatever it could take: calls at a time, and calls a second.
//!
//! Every call that `enumerate` and `stat` make to a mount passes its gate. One thing must stay true: whoever is inside
//! waits for nothing but the mount and the clock, so a gate can never hold up itself.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use statline_pipeline::{Context, Pulse};
use statline_platform::Fault;

use crate::mount::MountKey;

/// How long a wait may last before it is asked whether the run stops.
const SLICE: Duration = Duration::from_millis(20);

/// How many entries one thread asks for, one after the other, before it looks up.
const PIECE: usize = 32;

/// What a run may ask of each of its mounts: the least that any of its stages allows.
#[derive(Debug)]
pub(crate) struct Politeness {
    max_concurrency: AtomicUsize,
    max_ops_per_second: AtomicU64,
    gates: Mutex<HashMap<MountKey, Arc<Gate>>>,
}

impl Default for Politeness {
    fn default() -> Politeness {
        Politeness {
            max_concurrency: AtomicUsize::new(usize::MAX),
            max_ops_per_second: AtomicU64::new(u64::MAX),
            gates: Mutex::default(),
        }
    }
}

impl Politeness {
    /// Notes what one stage allows. Called while it opens.
    pub(crate) fn restrict(
        &self,
        concurrency: Option<NonZeroU32>,
        ops_per_second: Option<NonZeroU32>,
    ) {
        if let Some(most) = concurrency {
            self.max_concurrency
                .fetch_min(most.get() as usize, Ordering::Relaxed);
        }
        if let Some(most) = ops_per_second {
            self.max_ops_per_second
                .fetch_min(u64::from(most.get()), Ordering::Relaxed);
        }
    }

    /// The gate of a mount, one for all stages, whichever of its keys each of them met it by.
    pub(crate) fn gate(self: &Arc<Politeness>, keys: [MountKey; 2]) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.iter().find_map(|key| gates.get(key)).cloned();
        let gate = known.unwrap_or_else(|| {
            Arc::new(Gate {
                politeness: Arc::clone(self),
                state: Mutex::new(State {
                    inside: 0,
                    next: Instant::now(),
                }),
                left: Condvar::new(),
            })
        });
        gates.extend(keys.map(|key| (key, Arc::clone(&gate))));
        gate
    }
}

/// The gate of one mount.
#[derive(Debug)]
pub(crate) struct Gate {
    politeness: Arc<Politeness>,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many are inside.
    inside: usize,
    /// When the next call is due.
    next: Instant,
}

/// What a call takes along to pass a gate that may hold it up.
#[derive(Clone)]
pub(crate) struct Escort {
    gate: Arc<Gate>,
    context: Context,
}

/// The right to make calls to a mount, until it is dropped.
pub(crate) struct Passage<'a> {
    escort: Option<&'a Escort>,
    /// How many at a time.
    at_once: usize,
}

impl Gate {
    /// What a call needs to pass, if anything.
    pub(crate) fn escort(self: &Arc<Gate>, context: &Context) -> Option<Escort> {
        let politeness = &*self.politeness;
        let restricts = politeness.max_concurrency.load(Ordering::Relaxed) != usize::MAX
            || politeness.max_ops_per_second.load(Ordering::Relaxed) != u64::MAX;
        restricts.then(|| Escort {
            gate: Arc::clone(self),
            context: context.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Escort {
    fn check(&self, pulse: &Pulse) -> io::Result<()> {
        pulse.alive();
        match self.context.is_stopping() || self.context.has_given_up() {
            true => Err(Fault::Cancelled.into()),
            false => Ok(()),
        }
    }
}

/// Waits until there is room for whoever makes so many calls at a time, or for as many as may be under way at all.
///
/// # Errors
/// [`Fault::Cancelled`] if the run stops, or makes no more calls.
pub(crate) fn pass<'a>(
    escort: Option<&'a Escort>,
    mut at_once: usize,
    pulse: &Pulse,
) -> io::Result<Passage<'a>> {
    if let Some(escort) = escort {
        let gate = &*escort.gate;
        let most = gate.politeness.max_concurrency.load(Ordering::Relaxed);
        at_once = at_once.min(most);
        let mut state = gate.lock();
        while state.inside + at_once > most {
            let woken = gate.left.wait_timeout(state, SLICE);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
            escort.check(pulse)?;
        }
        state.inside += at_once;
    }
    Ok(Passage { escort, at_once })
}

impl Passage<'_> {
    /// How many entries to ask for before more are paid for.
    pub(crate) fn piece(&self) -> usize {
        let piece = match self.at_once {
            1 => PIECE,
            at_once => at_once,
        };
        let Some(escort) = self.escort else {
            return piece;
        };
        let politeness = &escort.gate.politeness;
        let rate = politeness.max_ops_per_second.load(Ordering::Relaxed);
        // What a slice allows, so that nobody is late for a stop.
        let fits = u128::from(rate) * SLICE.as_millis() / 1000;
        usize::try_from(fits.max(1)).map_or(piece, |fits| piece.min(fits))
    }

    /// Waits until so many calls are due.
    ///
    /// # Errors
    /// As [`pass`].
    pub(crate) fn spend(&self, calls: usize, pulse: &Pulse) -> io::Result<()> {
        let Some(escort) = self.escort else {
            return Ok(());
        };
        let politeness = &escort.gate.politeness;
        let rate = politeness.max_ops_per_second.load(Ordering::Relaxed);
        if rate == u64::MAX {
            return Ok(());
        }
        let takes = Duration::from_secs_f64(calls as f64 / rate as f64);
        let due = {
            let mut state = escort.gate.lock();
            // What was not asked for is not saved up.
            let due = state.next.max(Instant::now());
            state.next = due + takes;
            due
        };
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
            escort.check(pulse)?;
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if let Some(escort) = self.escort {
            escort.gate.lock().inside -= self.at_once;
            escort.gate.left.notify_all();
        }
    }
}
