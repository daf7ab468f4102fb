//! What it costs to hand a message on.
//!
//! A job's channels are crossbeam's, with a ledger, a bound in bytes, a look at whether the run stops, and the meter. Metering
//! cannot be turned off, so what all that costs together is the difference to bare channels between as many threads.
//!
//! - `hop/1` and `hop/2`: one channel, and two with a stage between that passes on; all ends at work at the same time. They
//!   do nothing else, so they meet at the channel all the time, which is the worst case, and depends on the scheduler.
//! - `hop/apart`: the receiving end begins when the sending end is done; the times of both are added up. This is the work
//!   alone, without caches that two cores take from each other and without waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode};
use crossbeam::channel;
use statline_pipeline::testing::Items;
use statline_pipeline::{
    Builder, Errors, Job, Outcome, Outlet, Sink, Source, StageError, Transform,
};

/// A job's default, and room enough that neither end waits for each single message.
const CAPACITIES: [usize; 2] = [16, 1024];

/// Messages, and the capacity of the channel, where one end works after the other.
const APART: usize = 4096;

/// A chain of threads that hands so many messages from end to end: channels, capacity, messages.
type Chain = fn(usize, usize, u64) -> Duration;

pub(crate) fn measure(criterion: &mut Criterion) {
    let chains: [(&str, Chain); 2] = [("crossbeam", bare), ("pipeline", stages)];
    for channels in [1, 2] {
        let mut group = criterion.benchmark_group(format!("hop/{channels}"));
        group.sampling_mode(SamplingMode::Flat);
        for capacity in CAPACITIES {
            for (name, chain) in chains {
                group.bench_function(BenchmarkId::new(name, capacity), |bencher| {
                    bencher.iter_custom(|messages| chain(channels, capacity, messages));
                });
            }
        }
    }
    let mut group = criterion.benchmark_group("hop/apart");
    crate::per_item::measure(&mut group, "crossbeam", APART, bare_apart);
    crate::per_item::measure(&mut group, "pipeline", APART, stages_apart);
}

/// Bare channels between threads.
fn bare(channels: usize, capacity: usize, messages: u64) -> Duration {
    let items: Vec<u64> = (0..messages).collect();
    let start = Instant::now();
    let received = thread::scope(|scope| {
        let (sender, mut last) = channel::bounded(capacity);
        scope.spawn(move || {
            for item in items {
                if sender.send(item).is_err() {
                    break;
                }
            }
        });
        for _ in 1..channels {
            let (sender, next) = channel::bounded(capacity);
            let before = std::mem::replace(&mut last, next);
            scope.spawn(move || {
                for item in before {
                    if sender.send(item).is_err() {
                        break;
                    }
                }
            });
        }
        let end = scope.spawn(move || last.into_iter().count() as u64);
        end.join().expect("counting does not panic")
    });
    let elapsed = start.elapsed();
    assert_eq!(received, messages);
    elapsed
}

/// The same as a job: a source, stages that pass on, a sink.
fn stages(channels: usize, capacity: usize, messages: u64) -> Duration {
    let mut builder = Builder::new("hop");
    let mut last = builder
        .source("in", Items((0..messages).collect::<Vec<u64>>()))
        .done();
    for number in 1..channels {
        let pass = builder.transform(&format!("pass-{number}"), Pass);
        last = pass.capacity(capacity).reads(&last).done();
    }
    builder
        .sink("out", Discard)
        .capacity(capacity)
        .reads(&last)
        .done();
    let job = builder.build().expect("the job is sound");
    let start = Instant::now();
    run(job, messages);
    start.elapsed()
}

fn run(job: Job, messages: u64) {
    let report = job.run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let received = report.stage("out").map(|stage| stage.messages_in);
    assert_eq!(received, Some(messages));
}

fn bare_apart() -> Duration {
    let (sender, receiver) = channel::bounded(APART);
    let start = Instant::now();
    for item in 0..APART as u64 {
        if sender.send(item).is_err() {
            break;
        }
    }
    drop(sender);
    assert_eq!(receiver.into_iter().count(), APART);
    start.elapsed()
}

fn stages_apart() -> Duration {
    let turns = Arc::new(Turns {
        sent: Barrier::new(2),
        nanoseconds: AtomicU64::new(0),
    });
    let mut builder = Builder::new("hop");
    let first = builder.source("in", First(Arc::clone(&turns))).done();
    let second = Second {
        turns: Arc::clone(&turns),
        start: None,
        left: APART,
    };
    builder
        .sink("out", second)
        .capacity(APART)
        .reads(&first)
        .done();
    run(builder.build().expect("the job is sound"), APART as u64);
    Duration::from_nanos(turns.nanoseconds.load(Ordering::Relaxed))
}

/// What keeps the ends of a channel from working at the same time, and the time of both.
struct Turns {
    sent: Barrier,
    nanoseconds: AtomicU64,
}

impl Turns {
    fn add(&self, start: Instant) {
        let elapsed = start.elapsed().as_nanos() as u64;
        self.nanoseconds.fetch_add(elapsed, Ordering::Relaxed);
    }
}

struct First(Arc<Turns>);

impl Source for First {
    type Out = u64;

    fn run(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
        let start = Instant::now();
        let sent = (0..APART as u64).try_for_each(|item| out.send(item));
        self.0.add(start);
        self.0.sent.wait();
        sent
    }
}

struct Second {
    turns: Arc<Turns>,
    start: Option<Instant>,
    left: usize,
}

impl Sink for Second {
    type In = u64;

    fn write(&mut self, _: u64, _: &Errors) -> Result<(), StageError> {
        self.left -= 1;
        let turns = &self.turns;
        let start = self.start.get_or_insert_with(|| {
            turns.sent.wait();
            Instant::now()
        });
        if self.left == 0 {
            self.turns.add(*start);
        }
        Ok(())
    }
}

struct Pass;

impl Transform for Pass {
    type In = u64;
    type Out = u64;

    fn apply(&mut self, message: u64, out: &mut Outlet<u64>) -> Result<(), StageError> {
        out.send(message)
    }
}

struct Discard;

impl Sink for Discard {
    type In = u64;

    fn write(&mut self, _: u64, _: &Errors) -> Result<(), StageError> {
        Ok(())
    }
}
