//! Mounts that are made up, to try controllers on: workers go round between two scarce things, the processors and the
//! places of a server, and a latency that any number of calls can wait for at once.
//!
//! It is event by event and draws its numbers from a seed, so a run is the same each time. Places are given in the
//! order of asking, so when a call will be over is known when it begins, and there is one event for each call. Very
//! short calls are simulated several at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Bounds, Controller, Decision, Interval, Reason};

/// Nanoseconds from the beginning of the run.
type Time = u64;

/// How long an interval is.
pub(super) const TICK: Time = 25 * MILLISECOND;
pub(super) const MICROSECOND: Time = 1_000;
pub(super) const MILLISECOND: Time = 1_000 * MICROSECOND;
pub(super) const SECOND: Time = 1_000 * MILLISECOND;

/// The machine of the experiments, and the most workers in them.
pub(super) const CORES: usize = 2;
pub(super) const MAX: usize = 512;

/// Calls shorter than this are simulated together.
const GRAIN: Time = 20 * MICROSECOND;

/// Something that chooses the limit.
pub(super) trait Policy {
    /// The limit to begin with.
    fn start(&self) -> usize;

    fn observe(&mut self, interval: &Interval) -> Decision;
}

impl Policy for (usize, Controller) {
    fn start(&self) -> usize {
        self.0
    }

    fn observe(&mut self, interval: &Interval) -> Decision {
        self.1.observe(interval)
    }
}

/// The controller, beginning at `start`.
pub(super) fn controller(start: usize, max: usize, cores: usize) -> (usize, Controller) {
    (start, Controller::new(Bounds { min: 1, max }, start, cores))
}

/// How calls are answered. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// Any number of calls wait for this at once.
    pub(super) latency: Time,
    /// How much single calls differ: 0.5 is from half to one and a half.
    pub(super) spread: f64,
    /// Calls that the server works on at once, and how long it works on each.
    pub(super) servers: Option<(usize, Time)>,
    /// Calls are answered from memory. Then their time is that of the processor, as a gauge has it.
    pub(super) from_memory: bool,
    /// Processor time of a call, the daemon's included.
    pub(super) cpu: Time,
    /// Processor time that a worker takes between two calls.
    pub(super) between: Time,
    /// By how much processor times grow with each doubling of the workers beyond the processors.
    pub(super) crowding: f64,
    pub(super) cores: usize,
    /// The share of each processor that other processes leave.
    pub(super) share: f64,
    /// In each interval everything takes longer or shorter by a factor of up to this: 0.3 is ± 30 %.
    pub(super) weather: f64,
    /// Kinds of calls: how often in a hundred, and how many times as long as a stat.
    pub(super) kinds: Vec<(u32, f64)>,
}

impl Mount {
    /// Calls that take so much latency and processor time, on [`CORES`] processors.
    pub(super) fn new(latency: Time, cpu: Time) -> Mount {
        Mount {
            latency,
            spread: 0.2,
            servers: None,
            from_memory: false,
            cpu,
            between: 500,
            crowding: 0.03,
            cores: CORES,
            share: 1.0,
            weather: 0.05,
            kinds: vec![(100, 1.0)],
        }
    }

    pub(super) fn served_by(self, servers: usize, service: Time) -> Mount {
        Mount {
            servers: Some((servers, service)),
            ..self
        }
    }

    pub(super) fn all_from_memory(self) -> Mount {
        Mount {
            from_memory: true,
            ..self
        }
    }

    pub(super) fn weather(self, weather: f64) -> Mount {
        Mount { weather, ..self }
    }

    pub(super) fn share(self, share: f64) -> Mount {
        Mount { share, ..self }
    }

    /// Calls in a second that so many workers cannot exceed, and come near to if calls take turns nicely.
    fn ceiling_of(&self, workers: f64) -> f64 {
        let mean = |of: fn(f64) -> f64| {
            let sum = self
                .kinds
                .iter()
                .map(|(share, times)| f64::from(*share) * of(*times));
            sum.sum::<f64>() / 100.0 / SECOND as f64
        };
        let (long, short) = (mean(|times| times), mean(f64::sqrt));
        let cores = self.cores as f64;
        let crowd = 1.0 + self.crowding * (workers / cores).max(1.0).log2();
        let each = (1.0 / SECOND as f64 * self.between as f64 + short * self.cpu as f64) * crowd
            / self.share;
        let (places, service) = self.servers.unwrap_or((1, 0));
        let service = long * service as f64;
        let alone = each + service + long * self.latency as f64;
        (workers / alone)
            .min(cores / each)
            .min(places as f64 / service)
    }

    /// The most that the best of all limits up to `max` could bring, and the least limit that could bring nearly as much.
    pub(super) fn ceiling(&self, max: usize) -> (f64, usize) {
        let most = (1..=max)
            .map(|workers| self.ceiling_of(workers as f64))
            .fold(0.0, f64::max);
        let least = (1..=max).find(|workers| self.ceiling_of(*workers as f64) >= 0.95 * most);
        (most, least.unwrap_or(1))
    }

    /// Stats, and openings and listings between them.
    pub(super) fn mixed(self) -> Mount {
        Mount {
            kinds: vec![(70, 1.0), (15, 2.0), (15, 4.0)],
            ..self
        }
    }
}

/// What happens in the course of a run, from each moment on.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) mounts: Vec<(Time, Mount)>,
    /// For how many workers there is work.
    pub(super) work: Vec<(Time, usize)>,
    pub(super) length: Time,
    pub(super) seed: u64,
}

impl Scenario {
    pub(super) fn of(mount: Mount, length: Time) -> Scenario {
        Scenario {
            mounts: vec![(0, mount)],
            work: Vec::new(),
            length,
            seed: 1,
        }
    }

    pub(super) fn then(mut self, at: Time, mount: Mount) -> Scenario {
        self.mounts.push((at, mount));
        self
    }

    pub(super) fn work(mut self, at: Time, workers: usize) -> Scenario {
        self.work.push((at, workers));
        self
    }

    pub(super) fn seed(self, seed: u64) -> Scenario {
        Scenario { seed, ..self }
    }
}

/// One interval of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    /// When it ended.
    pub(super) at: Time,
    /// The limit during it.
    pub(super) limit: usize,
    pub(super) calls: u64,
    pub(super) reason: Reason,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Course(pub(super) Vec<Tick>);

impl Course {
    fn between(&self, from: Time, to: Time) -> impl Iterator<Item = &Tick> {
        self.0
            .iter()
            .filter(move |tick| tick.at > from && tick.at <= to)
    }

    /// Calls in a second.
    pub(super) fn rate(&self, from: Time, to: Time) -> f64 {
        let calls: u64 = self.between(from, to).map(|tick| tick.calls).sum();
        calls as f64 * SECOND as f64 / (to - from) as f64
    }

    /// The limit on average.
    pub(super) fn limit(&self, from: Time, to: Time) -> f64 {
        let (mut sum, mut ticks) = (0, 0);
        for tick in self.between(from, to) {
            sum += tick.limit;
            ticks += 1;
        }
        sum as f64 / ticks as f64
    }

    /// The limit that was there most of the time.
    pub(super) fn usual_limit(&self, from: Time, to: Time) -> usize {
        let mut limits: Vec<usize> = self.between(from, to).map(|tick| tick.limit).collect();
        limits.sort_unstable();
        limits[limits.len() / 2]
    }

    /// How long after `from` the limit came to lie within these, for the first time.
    pub(super) fn reaches(&self, from: Time, least: usize, most: usize) -> Option<Time> {
        self.0
            .iter()
            .find(|tick| tick.at > from && (least..=most).contains(&tick.limit))
            // The decision was made where the interval began.
            .map(|tick| tick.at.saturating_sub(TICK).saturating_sub(from))
    }
}

/// Draws numbers: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xA076_1D64_78BD_642F))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A factor of up to `by` more or less.
    fn around(&mut self, by: f64) -> f64 {
        1.0 + by * (2.0 * self.unit() - 1.0)
    }
}

/// Places that are given in the order of asking.
struct Places(BinaryHeap<Reverse<Time>>);

impl Places {
    fn new(places: usize) -> Places {
        Places((0..places).map(|_| Reverse(0)).collect())
    }

    /// When a stay of this length is over, asked for now.
    fn stay(&mut self, now: Time, length: Time) -> Time {
        let Reverse(free) = self.0.pop().expect("there is a place");
        let over = free.max(now) + length;
        self.0.push(Reverse(over));
        over
    }
}

struct World<'a> {
    scenario: &'a Scenario,
    random: Random,
    processors: Places,
    servers: Option<Places>,
    mount: usize,
    /// Calls that will come back: when, how many at once, and the time spent in each.
    calls: BinaryHeap<Reverse<(Time, u64, Time)>>,
    active: usize,
    weather: f64,
}

impl World<'_> {
    fn mount(&self) -> &Mount {
        &self.scenario.mounts[self.mount].1
    }

    fn begin_call(&mut self, now: Time) {
        let scenario = self.scenario;
        while matches!(scenario.mounts.get(self.mount + 1), Some((from, _)) if *from <= now) {
            self.enter(self.mount + 1);
        }
        let mount = &scenario.mounts[self.mount].1;
        let mut kind = (self.random.unit() * 100.0) as u32;
        let times = mount
            .kinds
            .iter()
            .find(|(share, _)| {
                let found = kind < *share;
                kind = kind.saturating_sub(*share);
                found
            })
            .map_or(1.0, |(_, times)| *times);
        let weather = self.weather;
        let around = self.random.around(mount.spread) * weather;
        let scale = |time: Time, by: f64| (time as f64 * by) as Time;
        let crowd = (self.active as f64 / mount.cores as f64).max(1.0).log2();
        let slowed = (1.0 + mount.crowding * crowd) * weather / mount.share;
        let cpu = scale(mount.cpu, slowed * times.sqrt());
        let between = scale(mount.between, slowed);
        let latency = scale(mount.latency, around * times);
        let service = mount
            .servers
            .map(|(_, service)| scale(service, around * times));
        let least = cpu + between + latency + service.unwrap_or(0);
        let calls = (GRAIN / least.max(1)).max(1);
        let mut over = self.processors.stay(now, (cpu + between) * calls);
        if let (Some(service), Some(servers)) = (service, &mut self.servers) {
            over = servers.stay(over, service * calls);
        }
        over += latency * calls;
        let spent = match mount.from_memory {
            true => cpu * calls,
            false => (over - now).saturating_sub(between * calls),
        };
        self.calls.push(Reverse((over, calls, spent)));
    }

    fn enter(&mut self, mount: usize) {
        self.mount = mount;
        let found = self.mount();
        let (cores, servers) = (found.cores, found.servers);
        self.processors = Places::new(cores);
        self.servers = servers.map(|(places, _)| Places::new(places));
    }
}

/// Lets `policy` find its way through a scenario.
pub(super) fn run(scenario: &Scenario, policy: &mut dyn Policy) -> Course {
    let mut world = World {
        scenario,
        random: Random::new(scenario.seed),
        processors: Places::new(1),
        servers: None,
        mount: 0,
        calls: BinaryHeap::new(),
        active: 0,
        weather: 1.0,
    };
    world.enter(0);
    let mut limit = policy.start();
    let mut course = Vec::new();
    let mut begin = 0;
    while begin < scenario.length {
        let end = begin + TICK;
        world.weather = 1.0 + world.mount().weather * (2.0 * world.random.unit() - 1.0);
        let work = scenario
            .work
            .iter()
            .rfind(|(from, _)| *from <= begin)
            .map_or(usize::MAX, |(_, work)| *work);
        let allowed = limit.min(work);
        while world.active < allowed {
            world.active += 1;
            world.begin_call(begin);
        }
        let (mut calls, mut busy, mut worked, mut at) = (0, 0, 0u128, begin);
        while let Some(Reverse((over, count, spent))) = world.calls.peek().copied() {
            if over > end {
                break;
            }
            world.calls.pop();
            worked += world.active as u128 * u128::from(over - at);
            at = over;
            calls += count;
            busy += spent;
            if world.active > allowed {
                world.active -= 1;
            } else {
                world.begin_call(over);
            }
        }
        worked += world.active as u128 * u128::from(end - at);
        let interval = Interval {
            elapsed: Duration::from_nanos(TICK),
            calls,
            busy: Duration::from_nanos(busy),
            active: worked as f64 / TICK as f64,
            starved: work < limit,
        };
        let decision = policy.observe(&interval);
        course.push(Tick {
            at: end,
            limit,
            calls,
            reason: decision.reason,
        });
        limit = decision.limit;
        begin = end;
    }
    Course(course)
}

/// Any mount, from a disk that is nearly in memory to a server far away.
pub(super) fn random_mount(seed: u64) -> Mount {
    let mut random = Random::new(seed);
    // Evenly spread over orders of magnitude.
    let mut between = |from: Time, to: Time| {
        (from as f64 * (to as f64 / from as f64).powf(random.unit())) as Time
    };
    let latency = between(5 * MICROSECOND, 20 * MILLISECOND);
    let cpu = between(4 * MICROSECOND, 60 * MICROSECOND);
    let servers = between(1, 64) as usize;
    let service = between(50 * MICROSECOND, 5 * MILLISECOND);
    let latency = if random.next().is_multiple_of(4) {
        0
    } else {
        latency
    };
    let mut mount =
        Mount::new(latency, cpu).weather([0.03, 0.1, 0.3][(random.next() % 3) as usize]);
    mount.crowding = 0.08 * random.unit();
    mount.spread = 0.8 * random.unit();
    if random.next().is_multiple_of(2) {
        mount = mount.served_by(servers, service);
    }
    if random.next().is_multiple_of(2) {
        mount = mount.mixed();
    }
    mount
}
