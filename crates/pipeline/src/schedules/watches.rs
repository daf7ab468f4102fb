//! Workers whose calls are watched, taken out of their calls at any moment.

use std::sync::Arc;

use shuttle::thread;

use super::{below, explore};
use crate::meter::{StageMeter, WorkerMeter};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::{Watch, Watched};
use crate::{Actor, StageError, Stop};

/// How many calls a worker has to make.
const CALLS: usize = 3;

/// Makes calls one after the other, each of which is either made or given up.
struct Counter {
    /// What became of each call, in order.
    made: Arc<Mutex<Vec<bool>>>,
    /// Set while somebody holds the worker.
    held: Arc<AtomicBool>,
    lost: bool,
}

impl Counter {
    fn note(&self, made: bool) {
        assert!(
            !self.held.swap(true, Ordering::SeqCst),
            "two hold one worker"
        );
        self.made.lock().unwrap().push(made);
        self.held.store(false, Ordering::SeqCst);
    }

    fn noted(&self) -> usize {
        self.made.lock().unwrap().len()
    }
}

impl Watched for Counter {
    fn run(counter: &mut Watch<Counter>) -> Result<(), StageError> {
        if std::mem::take(&mut counter.lost) {
            counter.note(false);
        }
        while counter.noted() < CALLS {
            counter.call(|pulse| {
                thread::yield_now();
                pulse.done(1);
                thread::yield_now();
            })?;
            counter.note(true);
        }
        Ok(())
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        ("call", Vec::new())
    }

    fn give_up(&mut self, _: u64) {
        assert!(!self.lost);
        self.lost = true;
    }
}

#[test]
fn each_call_is_made_or_given_up_once_whenever_its_worker_is_replaced() {
    explore(|| {
        let made: Arc<Mutex<Vec<bool>>> = Arc::default();
        let counter = Counter {
            made: Arc::clone(&made),
            held: Arc::default(),
            lost: false,
        };
        let replaced: Arc<AtomicBool> = Arc::default();
        let meter = Arc::new(WorkerMeter::new(&Arc::new(StageMeter::new()), 0, false));
        let mut watch = Watch::new(Box::new(counter), &replaced, &meter);
        let mut slot = watch.slot();
        let mut threads = vec![thread::spawn(move || {
            let result = watch.run();
            // A worker is replaced exactly if its last call does not get it back.
            let stopped = matches!(result, Err(StageError::Stopped(Stop::Replaced)));
            assert_eq!(stopped, replaced.load(Ordering::SeqCst));
        })];
        let mut seizures = 0;
        for _ in 0..1 + below(6) {
            let seen = slot.sample();
            thread::yield_now();
            let Some(seized) = slot.seize(seen) else {
                continue;
            };
            seizures += 1;
            slot = seized.slot;
            let mut actor = seized.actor;
            threads.push(thread::spawn(move || {
                let _ = actor.run();
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let made = made.lock().unwrap();
        assert_eq!(made.len(), CALLS);
        assert_eq!(made.iter().filter(|made| !**made).count(), seizures);
    });
}
