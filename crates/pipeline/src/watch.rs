//! Workers whose calls may never come back: a stat on a mount whose server is gone.
//!
//! A thread inside such a call cannot be stopped, so its work is taken from it. While a worker makes a watched call,
//! everything that it is (its ports, what it gathered, what it was about to do) lies in a slot that both it and the
//! run's watchdog can reach. Either the call comes back and the worker takes it out again, or the watchdog does, lets it
//! give the call up, and starts it anew on another thread.
//!
//! One thing must stay true: what lies in the slot is taken out once. A thread that comes back to an empty slot has no
//! ports, no place on any ledger and nothing to say; its late answer is dropped.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};

use crate::meter::WorkerMeter;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Actor, StageError, Stop};

/// What a worker is made of whose calls are watched. [`Opening::watched`](crate::Opening::watched) adds it to a stage.
///
/// Unlike an [`Actor`], it is run again on another thread, with all that it holds, after a call that had to be given up.
pub trait Watched: Send + Sized + 'static {
    /// As [`Actor::run`]. After a call that was given up it is called anew, and must go on where it was.
    ///
    /// # Errors
    /// As [`Actor::run`].
    fn run(worker: &mut Watch<Self>) -> Result<(), StageError>;

    /// What the call under way does, and to what: `("stat", b"/mnt/a/b")`. So many of its steps are
    /// [done](Pulse::done), 0 if it tells none.
    fn call(&self, done: u64) -> (&'static str, Vec<u8>);

    /// The call under way is not waited for any longer. Whatever was given to it is lost.
    fn give_up(&mut self, done: u64);
}

/// A worker whose calls are watched. It stands for the worker itself, but inside a call.
pub struct Watch<T> {
    /// Absent inside a call, and for good once the worker was replaced.
    worker: Option<Box<T>>,
    slot: Arc<Slot<T>>,
}

/// What was lost of a worker that uses its state though it was replaced.
const REPLACED: &str = "a replaced worker has nothing left; pass the error of `call` on";

impl<T> Deref for Watch<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.worker.as_deref().expect(REPLACED)
    }
}

impl<T> DerefMut for Watch<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.worker.as_deref_mut().expect(REPLACED)
    }
}

impl<T: Watched> Watch<T> {
    pub(crate) fn new(
        worker: Box<T>,
        replaced: &Arc<AtomicBool>,
        meter: &Arc<WorkerMeter>,
    ) -> Watch<T> {
        Watch {
            worker: Some(worker),
            slot: Arc::new(Slot {
                pulse: Pulse::default(),
                replaced: Arc::clone(replaced),
                returned: Arc::default(),
                meter: Arc::clone(meter),
                inside: Mutex::new(Inside {
                    calls: 0,
                    worker: None,
                }),
            }),
        }
    }

    pub(crate) fn slot(&self) -> Arc<dyn WatchedSlot> {
        Arc::clone(&self.slot) as _
    }

    /// Makes a call that may not come back. It gets no hold of the worker: what it needs, it takes along, and what is
    /// lost with it, the worker must be able to do without. A call of many steps tells them, and a wait that can be
    /// cancelled says that it is [alive](Pulse::alive), so that only a single step counts as hanging.
    ///
    /// # Errors
    /// [`StageError::Stopped`] if the call took so long that another thread went on in place of this one. Pass it on at
    /// once; the worker is gone, and using it panics.
    pub fn call<R>(&mut self, call: impl FnOnce(&Pulse) -> R) -> Result<R, StageError> {
        self.slot.enter(self.worker.take());
        let answer = call(&self.slot.pulse);
        self.worker = self.slot.leave();
        match self.worker {
            Some(_) => Ok(answer),
            None => Err(StageError::Stopped(Stop::Replaced)),
        }
    }

    /// Runs `rest`, in which the worker sleeps because its stage has more threads than pay at the moment. That is neither
    /// service nor a wait for input: it is counted apart, and the stage counts as having a thread less meanwhile.
    /// Whoever sleeps must wake when the run stops.
    pub fn parked<R>(&mut self, rest: impl FnOnce(&mut T) -> R) -> R {
        let meter = Arc::clone(&self.slot.meter);
        meter.while_parked(|| rest(self))
    }
}

impl<T: Watched> Actor for Watch<T> {
    fn run(&mut self) -> Result<(), StageError> {
        T::run(self)
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        // A call that panicked left the worker where it was. The watchdog keeps slots for as long as it runs, and the
        // worker's ports must not outlive its thread.
        let left = self.slot.lock().worker.take();
        if left.is_none() && self.worker.is_none() {
            // A late call that panicked has come back as well.
            self.slot.returned.store(true, Ordering::Release);
        }
    }
}

/// Says how a watched call gets on.
#[derive(Debug, Default)]
pub struct Pulse {
    done: AtomicU64,
    beats: AtomicU64,
}

impl Pulse {
    /// So many steps of the call are done.
    #[inline]
    pub fn done(&self, steps: u64) {
        self.done.store(steps, Ordering::Relaxed);
    }

    /// The call waits for something that is no call of the system, and would notice being cancelled.
    pub fn alive(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

struct Slot<T> {
    pulse: Pulse,
    replaced: Arc<AtomicBool>,
    /// A call that was given up has come back after all.
    returned: Arc<AtomicBool>,
    meter: Arc<WorkerMeter>,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    /// How many calls were begun.
    calls: u64,
    /// The worker, during a call.
    worker: Option<Box<T>>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        // Nothing under this lock panics half-way.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, worker: Option<Box<T>>) {
        let mut inside = self.lock();
        inside.calls += 1;
        inside.worker = worker;
        self.pulse.done(0);
    }

    fn leave(&self) -> Option<Box<T>> {
        let worker = self.lock().worker.take();
        if worker.is_none() {
            self.returned.store(true, Ordering::Release);
        }
        worker
    }
}

/// How far the calls of a worker have come: equal twice means that nothing has moved in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Whether a call is under way.
    pub(crate) inside: bool,
    calls: u64,
    done: u64,
    beats: u64,
}

impl Sample {
    /// Whether a call, or a step of one, has come back since `before`. That one has begun is no sign of that.
    pub(crate) fn has_progress_since(&self, before: &Sample) -> bool {
        let progress = |sample: &Sample| {
            let completed = sample.calls - u64::from(sample.inside);
            (completed, sample.done)
        };
        progress(self) != progress(before)
    }
}

/// A worker taken out of a call that does not come back.
pub(crate) struct Seized {
    pub(crate) operation: &'static str,
    pub(crate) subject: Vec<u8>,
    /// The worker, to be run on another thread.
    pub(crate) actor: Box<dyn Actor>,
    pub(crate) slot: Arc<dyn WatchedSlot>,
    /// Of the thread that takes over.
    pub(crate) replaced: Arc<AtomicBool>,
    /// Whether the call has come back meanwhile.
    pub(crate) returned: Arc<AtomicBool>,
}

/// The watchdog's end of a slot, whatever the worker is.
pub(crate) trait WatchedSlot: Send + Sync {
    fn sample(&self) -> Sample;

    /// What the call under way does, unless things have moved since `seen`.
    fn call(&self, seen: Sample) -> Option<(&'static str, Vec<u8>)>;

    /// Takes the worker out, unless things have moved since `seen`.
    fn seize(&self, seen: Sample) -> Option<Seized>;
}

impl<T: Watched> Slot<T> {
    fn sample_of(&self, inside: &Inside<T>) -> Sample {
        Sample {
            inside: inside.worker.is_some(),
            calls: inside.calls,
            done: self.pulse.done.load(Ordering::Relaxed),
            beats: self.pulse.beats.load(Ordering::Relaxed),
        }
    }
}

impl<T: Watched> WatchedSlot for Slot<T> {
    fn sample(&self) -> Sample {
        self.sample_of(&self.lock())
    }

    fn call(&self, seen: Sample) -> Option<(&'static str, Vec<u8>)> {
        let inside = self.lock();
        let unmoved = self.sample_of(&inside) == seen;
        let worker = inside.worker.as_ref().filter(|_| unmoved);
        worker.map(|worker| worker.call(seen.done))
    }

    fn seize(&self, seen: Sample) -> Option<Seized> {
        let mut inside = self.lock();
        if self.sample_of(&inside) != seen {
            return None;
        }
        let mut worker = inside.worker.take()?;
        self.replaced.store(true, Ordering::Release);
        drop(inside);
        let (operation, subject) = worker.call(seen.done);
        worker.give_up(seen.done);
        let replaced = Arc::default();
        let watch = Watch::new(worker, &replaced, &self.meter);
        Some(Seized {
            operation,
            subject,
            slot: watch.slot(),
            actor: Box::new(watch),
            replaced,
            returned: Arc::clone(&self.returned),
        })
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;
    use crate::meter::StageMeter;

    /// Knows how many steps were done when it was given up.
    struct Stepping(Option<u64>);

    impl Watched for Stepping {
        fn run(_: &mut Watch<Stepping>) -> Result<(), StageError> {
            Ok(())
        }

        fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
            ("step", Vec::new())
        }

        fn give_up(&mut self, done: u64) {
            self.0 = Some(done);
        }
    }

    fn watch() -> Watch<Stepping> {
        let meter = Arc::new(WorkerMeter::new(&Arc::new(StageMeter::new()), 0, false));
        Watch::new(Box::new(Stepping(None)), &Arc::default(), &meter)
    }

    #[test]
    fn a_call_that_has_moved_since_it_was_looked_at_is_not_given_up() {
        let mut watch = watch();
        let slot = watch.slot();
        let answer = watch.call(|pulse| {
            let seen = slot.sample();
            pulse.done(1);
            assert!(slot.seize(seen).is_none());
            let seen = slot.sample();
            pulse.alive();
            assert!(slot.seize(seen).is_none());
            slot.sample()
        });
        let seen = answer.unwrap();
        assert_eq!(watch.0, None);
        // The next call is another one, though it has not moved either.
        let answer = watch.call(|_| slot.seize(seen).is_none());
        assert!(answer.unwrap());
    }

    #[test]
    fn a_call_that_stands_still_is_given_up_at_the_step_that_it_stands_at() {
        let mut watch = watch();
        let slot = watch.slot();
        let answer = watch.call(|pulse| {
            pulse.done(7);
            let seized = slot.seize(slot.sample());
            assert!(seized.is_some_and(|seized| seized.operation == "step"));
        });
        assert!(matches!(answer, Err(StageError::Stopped(Stop::Replaced))));
    }
}
