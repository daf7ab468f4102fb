//! Where the time of each stage goes: service, wait and blocked, kept by the ports so that no author has to think of
//! it.
//!
//! * *service*: a worker has a message (a source: owes one) and works on it, or on what it gathered from several;
//! * *wait*: it has none and its input is empty;
//! * *blocked*: it has a result and the next queue is full;
//! * *parked*: its stage has more threads than pay at the moment, and lets it sleep.
//!
//! One thing must stay true: the four never overlap, so for each worker they add up to its wall time. The clock is
//! read once a message, and twice more only when a queue was empty or full. The histograms hold one interval a message:
//! service and wait one for each received (a source's service: for each sent), blocked one for each sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Recorders a stage has at most: enough that its workers rarely meet, few enough that 512 threads stay cheap.
const MAX_SHARDS: usize = 4;

/// An hour; longer intervals are recorded as this.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A histogram of durations in nanoseconds, of two significant digits (36 KiB).
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("the bounds are constant and valid")
}

/// One kind of interval: how many, how long, how distributed.
#[derive(Clone)]
pub(crate) struct Intervals {
    pub(crate) histogram: Histogram<u64>,
    pub(crate) total: Duration,
}

impl Intervals {
    fn new() -> Intervals {
        Intervals {
            histogram: new_histogram(),
            total: Duration::ZERO,
        }
    }

    fn record(&mut self, interval: Duration) {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds);
        self.total += interval;
    }

    fn add(&mut self, other: &Intervals) {
        // Equal bounds: adding cannot fail.
        let _ = self.histogram.add(&other.histogram);
        self.total += other.total;
    }
}

/// What is measured of one stage, or of some of its workers.
#[derive(Clone)]
pub(crate) struct Measures {
    pub(crate) service: Intervals,
    pub(crate) wait: Intervals,
    pub(crate) blocked: Intervals,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) items_in: u64,
    pub(crate) items_out: u64,
}

impl Measures {
    fn new() -> Measures {
        Measures {
            service: Intervals::new(),
            wait: Intervals::new(),
            blocked: Intervals::new(),
            messages_in: 0,
            messages_out: 0,
            items_in: 0,
            items_out: 0,
        }
    }
}

/// All that is measured of one stage. Shared by its workers and whoever takes snapshots.
pub(crate) struct StageMeter {
    shards: Vec<Mutex<Measures>>,
    /// Signs of life of its workers.
    beats: AtomicU64,
    presence: Mutex<Presence>,
    counters: Mutex<BTreeMap<&'static str, Counter>>,
    facts: Mutex<BTreeMap<&'static str, serde_json::Value>>,
    result: Mutex<Option<serde_json::Value>>,
}

impl StageMeter {
    pub(crate) fn new() -> StageMeter {
        StageMeter {
            shards: (0..MAX_SHARDS)
                .map(|_| Mutex::new(Measures::new()))
                .collect(),
            beats: AtomicU64::new(0),
            presence: Mutex::default(),
            counters: Mutex::new(BTreeMap::new()),
            facts: Mutex::new(BTreeMap::new()),
            result: Mutex::new(None),
        }
    }

    pub(crate) fn total(&self) -> Measures {
        let mut total = Measures::new();
        for shard in &self.shards {
            let shard = lock(shard);
            total.service.add(&shard.service);
            total.wait.add(&shard.wait);
            total.blocked.add(&shard.blocked);
            total.messages_in += shard.messages_in;
            total.messages_out += shard.messages_out;
            total.items_in += shard.items_in;
            total.items_out += shard.items_out;
        }
        total
    }

    /// So many threads of the stage have begun, at that moment.
    pub(crate) fn joined(&self, threads: usize, at: Instant) {
        lock(&self.presence).change(at, |presence| presence.started += threads);
    }

    /// The time of its threads until that moment.
    pub(crate) fn thread_time(&self, until: Instant) -> ThreadTime {
        lock(&self.presence).until(until)
    }

    /// Some worker of the stage is alive.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    pub(crate) fn counter(&self, name: &'static str) -> Counter {
        lock(&self.counters).entry(name).or_default().clone()
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        lock(&self.counters)
            .iter()
            .map(|(name, counter)| ((*name).to_owned(), counter.get()))
            .collect()
    }

    pub(crate) fn set_fact(&self, name: &'static str, value: serde_json::Value) {
        lock(&self.facts).insert(name, value);
    }

    pub(crate) fn facts(&self) -> BTreeMap<String, serde_json::Value> {
        lock(&self.facts)
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    pub(crate) fn set_result(&self, result: serde_json::Value) {
        *lock(&self.result) = Some(result);
    }

    pub(crate) fn result(&self) -> Option<serde_json::Value> {
        lock(&self.result).clone()
    }
}

/// A number that a stage counts up and that the report shows, such as `vanished`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    value: Arc<AtomicU64>,
}

impl Counter {
    /// Adds to the number.
    pub fn add(&self, by: u64) {
        self.value.fetch_add(by, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// How many threads a stage has, and has had.
#[derive(Default)]
struct Presence {
    /// When the numbers last changed.
    since: Option<Instant>,
    started: usize,
    /// Of those that were started.
    parked: usize,
    /// Until then.
    time: ThreadTime,
}

/// The time of all threads of a stage together. A thread that is done counts on: had it more to do, it could.
#[derive(Clone, Copy, Default)]
pub(crate) struct ThreadTime {
    /// In which they could work.
    pub(crate) at_hand: Duration,
    /// In which they were parked.
    pub(crate) parked: Duration,
}

impl Presence {
    fn until(&self, at: Instant) -> ThreadTime {
        let since = self.since.unwrap_or(at);
        let length = at.saturating_duration_since(since);
        let times =
            |threads: usize| length.saturating_mul(u32::try_from(threads).unwrap_or(u32::MAX));
        ThreadTime {
            at_hand: self.time.at_hand + times(self.started.saturating_sub(self.parked)),
            parked: self.time.parked + times(self.parked),
        }
    }

    fn change(&mut self, at: Instant, change: impl FnOnce(&mut Presence)) {
        self.time = self.until(at);
        self.since = self.since.max(Some(at));
        change(self);
    }
}

/// A thread that is parked, until this is dropped.
struct Parked<'m> {
    meter: &'m WorkerMeter,
    since: Instant,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let WorkerMeter { stage, .. } = self.meter;
        let now = Instant::now();
        lock(&stage.presence).change(now, |presence| presence.parked -= 1);
        // What it was doing before goes on.
        lock(&self.meter.clock).apart += now.duration_since(self.since);
        self.meter.parked.store(false, Ordering::Relaxed);
        stage.beat();
    }
}

/// The clock of one worker thread. Its ports share it; nobody else does.
pub(crate) struct WorkerMeter {
    stage: Arc<StageMeter>,
    shard: usize,
    has_input: bool,
    /// It waits for room in a queue at this moment.
    blocked: AtomicBool,
    /// It sleeps at this moment since there are more threads than pay.
    parked: AtomicBool,
    clock: Mutex<Clock>,
}

struct Clock {
    /// When the interval under way began.
    mark: Instant,
    /// What of it was spent blocked or parked.
    apart: Duration,
    doing: Doing,
}

/// What a worker does in the interval under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Waits for input.
    Waiting,
    /// Works on a message that it received.
    Serving,
    /// Works on no message in particular: a source on its next one, a batch on what it gathered, a sort on all that it
    /// holds. It counts as service, but is no interval of the histogram.
    OwnWork,
    /// Its thread has not started, or is done.
    Absent,
}

impl WorkerMeter {
    pub(crate) fn new(stage: &Arc<StageMeter>, worker: usize, has_input: bool) -> WorkerMeter {
        WorkerMeter {
            stage: Arc::clone(stage),
            shard: worker % MAX_SHARDS,
            has_input,
            blocked: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            clock: Mutex::new(Clock {
                mark: Instant::now(),
                apart: Duration::ZERO,
                doing: Doing::Absent,
            }),
        }
    }

    fn measures(&self) -> MutexGuard<'_, Measures> {
        lock(&self.stage.shards[self.shard])
    }

    /// Runs `wait`, a wait for room in a queue; says how long it took.
    pub(crate) fn while_blocked<R>(&self, wait: impl FnOnce() -> R) -> (R, Duration) {
        let since = Instant::now();
        self.blocked.store(true, Ordering::Relaxed);
        let result = wait();
        self.blocked.store(false, Ordering::Relaxed);
        self.stage.beat();
        (result, since.elapsed())
    }

    /// Runs `rest`, in which the worker sleeps since its stage has more threads than pay.
    pub(crate) fn while_parked<R>(&self, rest: impl FnOnce() -> R) -> R {
        let since = Instant::now();
        lock(&self.stage.presence).change(since, |presence| presence.parked += 1);
        self.parked.store(true, Ordering::Relaxed);
        let _parked = Parked { meter: self, since };
        rest()
    }

    /// Whether the worker waits for room in a queue.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether the worker waits for nothing that other workers do.
    pub(crate) fn is_at_work(&self) -> bool {
        let doing = lock(&self.clock).doing;
        let rests = self.is_blocked() || self.parked.load(Ordering::Relaxed);
        !rests && matches!(doing, Doing::Serving | Doing::OwnWork)
    }

    /// The thread starts: what came before was not its time.
    pub(crate) fn start(&self) {
        let mut clock = lock(&self.clock);
        // Whoever replaces a worker goes on with its interval.
        if clock.doing == Doing::Absent {
            (clock.mark, clock.doing) = (Instant::now(), Doing::OwnWork);
        }
    }

    /// The thread is done; what it was doing last is accounted for.
    pub(crate) fn stop(&self) {
        self.turn(Doing::Absent);
    }

    /// The worker asks for input: the message it had, if any, has been served.
    pub(crate) fn asks(&self) {
        self.stage.beat();
        self.turn(Doing::Waiting);
    }

    /// The worker asked in vain, or was told that there will be no more, and goes on without a message.
    pub(crate) fn got_nothing(&self) {
        lock(&self.clock).doing = Doing::OwnWork;
    }

    /// A message was there at once.
    pub(crate) fn got_at_once(&self, items: u64) {
        lock(&self.clock).doing = Doing::Serving;
        self.measures().received(items, Duration::ZERO);
    }

    /// The worker has been waiting: for a message of so many items, or in vain.
    pub(crate) fn waited(&self, items: Option<u64>) {
        let mut clock = lock(&self.clock);
        let wait = clock.turn();
        match items {
            Some(items) => {
                clock.doing = Doing::Serving;
                self.measures().received(items, wait);
            }
            None => {
                clock.doing = Doing::OwnWork;
                self.measures().wait.total += wait;
            }
        }
    }

    /// The worker is about to hand over a message. Without inputs, that is what ends an interval of service.
    pub(crate) fn hands_over(&self) {
        self.stage.beat();
        if !self.has_input {
            let service = lock(&self.clock).turn();
            self.measures().service.record(service);
        }
    }

    /// A message of so many items went out after `blocked`.
    pub(crate) fn handed_over(&self, items: u64, blocked: Duration) {
        if !blocked.is_zero() {
            lock(&self.clock).apart += blocked;
        }
        let mut measures = self.measures();
        measures.blocked.record(blocked);
        measures.messages_out += 1;
        measures.items_out += items;
    }

    /// The worker was blocked, and no message of the data went out.
    pub(crate) fn was_blocked(&self, blocked: Duration) {
        if !blocked.is_zero() {
            lock(&self.clock).apart += blocked;
            self.measures().blocked.total += blocked;
        }
    }

    /// Accounts for the interval under way and starts the next.
    fn turn(&self, next: Doing) {
        let mut clock = lock(&self.clock);
        let before = std::mem::replace(&mut clock.doing, next);
        if before == Doing::Waiting && next == Doing::Waiting {
            return;
        }
        let length = clock.turn();
        let mut measures = self.measures();
        match before {
            Doing::Waiting => measures.wait.total += length,
            Doing::Serving => measures.service.record(length),
            Doing::OwnWork => measures.service.total += length,
            Doing::Absent => {}
        }
    }
}

impl Measures {
    fn received(&mut self, items: u64, wait: Duration) {
        self.wait.record(wait);
        self.messages_in += 1;
        self.items_in += items;
    }
}

impl Clock {
    /// Ends the interval under way, starts the next, and returns the length of the first without what it was blocked
    /// or parked.
    fn turn(&mut self) -> Duration {
        let now = Instant::now();
        let length = now.duration_since(self.mark).saturating_sub(self.apart);
        self.mark = now;
        self.apart = Duration::ZERO;
        length
    }
}

/// Figures stay usable after a panic elsewhere: each lock guards plain numbers that are whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_threads_begins_with_each_and_leaves_out_what_they_are_parked() {
        let seconds = Duration::from_secs;
        let began = Instant::now();
        let mut presence = Presence::default();
        presence.change(began, |presence| presence.started += 1);
        presence.change(began + seconds(10), |presence| presence.started += 3);
        presence.change(began + seconds(12), |presence| presence.parked += 2);
        presence.change(began + seconds(15), |presence| presence.parked -= 1);
        let time = presence.until(began + seconds(20));
        assert_eq!(time.at_hand, seconds(10 + 2 * 4 + 3 * 2 + 5 * 3));
        assert_eq!(time.parked, seconds(3 * 2 + 5));
        // Two threads saw the clock in one order and came here in the other.
        presence.change(began + seconds(11), |presence| presence.parked -= 1);
        let time = presence.until(began + seconds(16));
        assert_eq!(time.at_hand, seconds(10 + 2 * 4 + 3 * 2 + 4));
        assert_eq!(time.parked, seconds(3 * 2));
    }
}
