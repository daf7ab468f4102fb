//! Edges, ledgers, faults and whole workers under thousands of schedules, chosen at random and by PCT (Burckhardt et al.,
//! ASPLOS 2010), which changes the priorities of threads at few random moments and so finds what needs a certain order.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --profile schedules -p statline-pipeline --lib schedules -- --nocapture
//! ```
//!
//! After each test one line says how many schedules there have been so far; the last one is the sum. A failure prints
//! the seed of its schedule, with `SHUTTLE_RANDOM_SEED=…` it is the first of the next run, or the schedule itself, for
//! `shuttle::replay`. What goes wrong in a scenario, and where, is drawn from the schedule too.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::Message;
use crate::edge::Capacity;

mod edges;
mod faults;
mod reserve;
mod watches;
mod workers;

/// Schedules of each of the two sorts for each scenario.
const SCHEDULES: usize = 10_000;

/// How often PCT changes priorities in a schedule: orders of one more event than this are found.
const CHANGES: usize = 3;

/// Steps after which a schedule counts as one that never ends: some fifty times what the longest needs.
const ENDLESS: usize = 200_000;

static EXPLORED: AtomicUsize = AtomicUsize::new(0);
static DEADLOCKS: AtomicUsize = AtomicUsize::new(0);

/// Runs the scenario under many schedules; fails with the first under which it panics, blocks or does not end.
fn explore(scenario: fn()) {
    explore_with(RandomScheduler::new(SCHEDULES), scenario);
    explore_with(PctScheduler::new(CHANGES, SCHEDULES), scenario);
}

fn explore_with(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(ENDLESS);
    config.silence_warnings = true;
    // Unoptimised frames are large.
    config.stack_size = 1 << 18;
    let runner = Runner::new(scheduler, config);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            EXPLORED.fetch_add(1, Ordering::Relaxed);
            scenario();
        })
    }));
    if let Err(panic) = &outcome
        && is_deadlock(&**panic)
    {
        DEADLOCKS.fetch_add(1, Ordering::Relaxed);
    }
    println!(
        "schedules: {}, deadlocks: {}",
        EXPLORED.load(Ordering::Relaxed),
        DEADLOCKS.load(Ordering::Relaxed)
    );
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Whether shuttle says that all tasks were blocked, or that they went on for ever.
fn is_deadlock(panic: &(dyn Any + Send)) -> bool {
    let said = panic.downcast_ref::<String>();
    said.is_some_and(|said| said.starts_with("deadlock!") || said.contains("max_steps"))
}

/// A number from 0 up to and without `limit`, which belongs to the schedule.
fn below(limit: usize) -> usize {
    thread_rng().gen_range(0..limit)
}

/// A message that knows where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    source: usize,
    number: usize,
    weight: usize,
}

impl Message for Item {
    fn weight(&self) -> usize {
        self.weight
    }
}

/// A few messages of one source: some weigh nothing, some more than a whole channel may hold.
fn items(source: usize, count: usize) -> Vec<Item> {
    let item = |number| Item {
        source,
        number,
        weight: below(4) * 10,
    };
    (0..count).map(item).collect()
}

/// Room for one or two messages, and for all bytes of any two or hardly for one message.
fn some_capacity() -> Capacity {
    Capacity {
        messages: 1 + below(2),
        bytes: [5, 20, 60][below(3)],
    }
}

/// Whether each source's messages are in the order in which it sent them, none twice.
fn in_order(received: &[Item]) -> bool {
    (0..received.len()).all(|at| {
        let item = received[at];
        let mut earlier = received[..at].iter();
        earlier.all(|other| other.source != item.source || other.number < item.number)
    })
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_unstable();
    items
}
