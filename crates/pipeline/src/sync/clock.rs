//! The model's clock: a task that ends waits with a timeout, one at a time, at random moments.
//!
//! Without a clock no wait ever times out. A scenario that must come to its end without one shows that every waiter is
//! woken by what it waits for, and that its timeout is not what keeps it going: a wake-up that gets lost leaves all
//! tasks blocked, which shuttle reports as a deadlock.

use std::cell::RefCell;
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Condvar;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;

/// A wait with a timeout that is under way.
struct Timer {
    id: u64,
    wakes: Arc<Condvar>,
    fired: bool,
}

#[derive(Default)]
struct Timers {
    next: u64,
    armed: Vec<Timer>,
}

thread_local! {
    /// All tasks of a schedule run on one thread of the system, and none is switched away from in the middle of an
    /// access.
    static TIMERS: RefCell<Timers> = RefCell::default();
}

/// Starts a timer for a wait on `wakes`.
pub(super) fn arm(wakes: &Arc<Condvar>) -> u64 {
    TIMERS.with_borrow_mut(|timers| {
        timers.next += 1;
        timers.armed.push(Timer {
            id: timers.next,
            wakes: Arc::clone(wakes),
            fired: false,
        });
        timers.next
    })
}

/// Ends a timer; says whether its time was up.
pub(super) fn disarm(id: u64) -> bool {
    TIMERS.with_borrow_mut(|timers| {
        let at = timers.armed.iter().position(|timer| timer.id == id);
        at.is_some_and(|at| timers.armed.swap_remove(at).fired)
    })
}

/// Runs a scenario without a clock.
pub(crate) fn without<R>(scenario: impl FnOnce() -> R) -> R {
    // What a failed schedule of another test may have left.
    TIMERS.with_borrow_mut(|timers| timers.armed.clear());
    scenario()
}

/// Runs a scenario in which waits with a timeout end at any moment.
pub(crate) fn with<R>(scenario: impl FnOnce() -> R) -> R {
    without(|| {
        let over = Arc::new(AtomicBool::new(false));
        let clock = {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    if let Some(wakes) = fire() {
                        wakes.notify_all();
                    }
                    thread::yield_now();
                }
            })
        };
        let result = scenario();
        over.store(true, Ordering::SeqCst);
        clock.join().unwrap();
        result
    })
}

/// Lets the time of some wait be up. A timer stays armed until its waiter has seen that, since it may not have gone to
/// sleep yet.
fn fire() -> Option<Arc<Condvar>> {
    TIMERS.with_borrow_mut(|timers| {
        if timers.armed.is_empty() {
            return None;
        }
        let at = thread_rng().gen_range(0..timers.armed.len());
        let timer = &mut timers.armed[at];
        timer.fired = true;
        Some(Arc::clone(&timer.wakes))
    })
}
