//! The search for the least number of workers with (nearly) the most throughput.
//!
//! Two limits are compared by what came back under them: the rate must grow with the number of workers by at least a
//! certain exponent ([`WEIGHT`]), so doubling them is worth it if it brings some 6 % more. The search begins by doubling, goes on in
//! one direction in growing steps while that is better, then tries the other and smaller steps, and *holds* where
//! neither is better. While it holds it tries both sides now and then, and at once when the rate surprises; when the
//! rate jumps, it begins anew.
//!
//! How long a comparison takes depends on how clear it is. Twice the rate after a single sample is; otherwise the two limits
//! take turns, so that what else changes meanwhile counts for both. More workers must be clearly better, fewer need not
//! be: where both are alike, the search leans towards fewer.
//!
//! What must stay true: an interval in which workers lacked work decides nothing.

use super::level::{Level, Noise, Sample};
use super::{Bounds, Decision, Interval, Reason};

/// What more workers must bring: the exponent by which the rate must grow with their number. Where every call takes
/// its share of something scarce, holding there costs as large a share of the throughput that there is to be had.
const WEIGHT: f64 = 0.08;

/// Calls that take less than this come from memory, on the processor of whoever asks: more workers than processors would
/// get no more. (One from memory takes about a microsecond, one from a daemon some ten, one from a quick disk eighty.)
const FROM_MEMORY: f64 = 5e-6;

/// Less than that is taken for memory even where the other was wrong before.
const SURELY_MEMORY: f64 = 2.5e-6;

/// They no longer do after so many samples in a row above the first, or two above the second. There is room in between
/// for processors that are shared with other processes.
const SLOW: u32 = 8;
const HARDLY_MEMORY: f64 = 10e-6;
const CERTAINLY_NOT: f64 = 40e-6;

/// On a disk of this machine less is enough, for more workers than pay cost little there; and after so many samples in a
/// row of calls from memory, they are from memory again.
const SLOW_ON_DISK: u32 = 2;
const QUICK_ON_DISK: u32 = 4;

/// Steps are factors; these are their binary logarithms. The first step of a search and the longest that success leads to.
const FIRST_STEP: f64 = 1.0;
const LONGEST_STEP: f64 = 2.0;

/// The shortest steps. Where doubling brings less than it must, a smaller step up is hardly worth a comparison.
const SHORTEST_MORE: f64 = 1.0;
const SHORTEST_FEWER: f64 = 0.5;

/// A sample has so many calls at least, unless they do not come.
const CALLS: f64 = 12.0;

/// A sample takes so many seconds at most.
const LONGEST_SAMPLE: f64 = 1.0;

/// Of two limits one is better if the difference is so many times as large as its standard deviation: the one with more
/// workers, and the one with fewer.
const CERTAINTY_MORE: f64 = 2.0;
const CERTAINTY_FEWER: f64 = 0.5;

/// So many samples are taken at one of two limits before going back to the other, so that what changes on the mount
/// meanwhile counts for both.
const LEG: u32 = 3;

/// After so many stays at the limit that is tried a comparison ends.
const LEGS: u32 = 4;

/// In which share of a sample's time calls may come back that began under another limit, and by which share the workers
/// may be off the limit.
const LATE_CALLS: f64 = 0.125;
const LATE_WORKERS: f64 = 0.2;

/// After so many samples in a row of which that can't be said, a comparison ends.
const EARLY: u32 = 8;

/// Seconds from one try to the next while nothing better is found: to begin with, and at the most.
const FIRST_PAUSE: f64 = 0.2;
const LONGEST_PAUSE: f64 = 1.6;

/// Seconds between the tries of one search.
const REST: f64 = 0.05;

/// A rate that is off by this factor in two samples in a row is that of another mount, so to speak.
const SHIFT: f64 = 1.7;

/// One that is off by this factor needs no second sample.
const JUMP: f64 = 4.0;

/// One that is off by so many standard deviations, and by this share, is worth a try before its time.
const SURPRISE: f64 = 4.0;
const DRIFT: f64 = 0.1;

/// After so many intervals in a row without enough work a try is given up.
const STARVED: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    More,
    Fewer,
}

impl Direction {
    const fn shortest_step(self) -> f64 {
        match self {
            Direction::More => SHORTEST_MORE,
            Direction::Fewer => SHORTEST_FEWER,
        }
    }

    fn other(self) -> Direction {
        match self {
            Direction::More => Direction::Fewer,
            Direction::Fewer => Direction::More,
        }
    }
}

/// What the search is at.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// At the base, until it is time for a try.
    Hold { left: f64 },
    /// At another limit, to compare it with the base, or back at the base for the same purpose.
    Try(Trial),
    /// A worker for each processor, as long as calls are answered from memory.
    Memory { slow: u32 },
}

/// A comparison of another limit with the base.
#[derive(Clone, Copy, Debug)]
struct Trial {
    level: Level,
    direction: Direction,
    step: f64,
    /// Whether the limit is that of the base for now.
    back: bool,
    /// Stays at the other limit, this one included.
    legs: u32,
    /// Samples of this stay, and those that came too early.
    samples: u32,
    early: u32,
}

/// Finds the limit of one mount.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    bounds: Bounds,
    /// One worker for each processor, within the bounds.
    cores: usize,
    /// The least that there are while calls wait for a disk of this machine, if it is one.
    on_disk: Option<usize>,
    /// The best limit so far.
    base: Level,
    phase: Phase,
    /// Steps that are known to lead to nothing better from the base.
    more_fails: f64,
    fewer_fails: f64,
    /// Seconds to hold when the search comes to nothing new.
    pause: f64,
    /// Which way to try first after a pause.
    first: Direction,
    /// Calls quicker than that come from memory.
    memory_below: f64,
    /// Samples in a row of such calls.
    quick: u32,
    /// Whether the last sample was off.
    off: bool,
    /// Samples in a row that came too early while holding.
    early: u32,
    gathered: Sample,
    /// Seconds until all that comes back was called under this limit.
    unsettled: f64,
    noise: Noise,
    starved: u32,
}

impl Controller {
    /// A search that begins at `start`, on a machine with so many processors.
    pub(crate) fn new(bounds: Bounds, start: usize, cores: usize) -> Controller {
        let min = bounds.min.max(1);
        let bounds = Bounds {
            min,
            max: bounds.max.max(min),
        };
        Controller {
            bounds,
            cores: cores.clamp(bounds.min, bounds.max),
            on_disk: None,
            base: Level::new(start.clamp(bounds.min, bounds.max)),
            phase: Phase::Hold { left: 0.0 },
            more_fails: f64::INFINITY,
            fewer_fails: f64::INFINITY,
            pause: FIRST_PAUSE,
            first: Direction::More,
            memory_below: FROM_MEMORY,
            quick: 0,
            off: false,
            early: 0,
            gathered: Sample::default(),
            unsettled: f64::INFINITY,
            noise: Noise::new(),
            starved: 0,
        }
    }

    /// The mount is on a disk of this machine: at least so many workers are at work while calls wait for it. Its cache is
    /// cold here and hot there, so what fewer of them do in one place says little of the next, and those too many cost next
    /// to nothing.
    pub(crate) fn on_disk(mut self, least: usize) -> Controller {
        self.on_disk = Some(least.clamp(self.bounds.min, self.bounds.max));
        self
    }

    /// Takes in what happened under the limit of the last decision, or under the one to start with.
    pub(crate) fn observe(&mut self, interval: &Interval) -> Decision {
        let before = self.limit();
        let reason = self.judge(interval);
        let limit = self.limit();
        if limit != before {
            self.unsettled = f64::INFINITY;
        }
        Decision { limit, reason }
    }

    fn limit(&self) -> usize {
        match &self.phase {
            Phase::Hold { .. } => self.base.limit(),
            Phase::Try(trial) if trial.back => self.base.limit(),
            Phase::Try(trial) => trial.level.limit(),
            Phase::Memory { .. } => self.cores,
        }
    }

    fn judge(&mut self, interval: &Interval) -> Reason {
        if interval.starved {
            return self.starve();
        }
        self.starved = 0;
        self.gathered.add(interval);
        let sample = self.gathered;
        let enough = sample.calls() >= CALLS && sample.elapsed() >= sample.latency();
        let waited = sample.elapsed() >= LONGEST_SAMPLE && sample.calls() > 0.0;
        if !(enough || waited) || sample.active() <= 0.0 || sample.elapsed() <= 0.0 {
            return Reason::Measuring;
        }
        self.gathered = Sample::default();
        if let Some(reason) = self.remember_memory(&sample) {
            return reason;
        }
        let early = self.is_early(&sample);
        match self.phase {
            Phase::Hold { left } => self.hold(&sample, early, left),
            Phase::Try(trial) => self.compare(&sample, early, trial),
            Phase::Memory { .. } => Reason::FromMemory,
        }
    }

    fn starve(&mut self) -> Reason {
        self.gathered = Sample::default();
        self.starved = self.starved.saturating_add(1);
        if self.starved >= STARVED && matches!(self.phase, Phase::Try(_)) {
            self.phase = Phase::Hold { left: REST };
        }
        Reason::Starved
    }

    /// Whether some of a sample still belongs to another limit.
    fn is_early(&mut self, sample: &Sample) -> bool {
        // Calls that began under the other limit come back within one latency.
        let unsettled = self.unsettled.min(sample.latency());
        self.unsettled = (unsettled - sample.elapsed()).max(0.0);
        let workers = sample.active() / self.limit() as f64;
        unsettled > sample.elapsed() * LATE_CALLS || (workers - 1.0).abs() > LATE_WORKERS
    }

    /// Enters, keeps or leaves the state in which no experiments are made.
    fn remember_memory(&mut self, sample: &Sample) -> Option<Reason> {
        if let Phase::Memory { slow } = &mut self.phase {
            // Some may be slow because workers lost their processors to other processes.
            *slow = match sample.latency() {
                latency if latency < HARDLY_MEMORY => 0,
                latency if latency < CERTAINLY_NOT => *slow + 1,
                _ => *slow + SLOW / 2,
            };
            return match self.on_disk {
                Some(least) if *slow >= SLOW_ON_DISK => {
                    Some(self.begin_anew(least, Direction::More))
                }
                None if *slow >= SLOW => {
                    // A file system that is about as quick as memory must not go in and out for ever.
                    self.memory_below = (self.memory_below / 2.0).max(SURELY_MEMORY);
                    Some(self.begin_anew(self.cores, Direction::More))
                }
                _ => Some(Reason::FromMemory),
            };
        }
        let is_quick = sample.latency() < self.memory_below;
        self.quick = if is_quick { self.quick + 1 } else { 0 };
        // Far below the number of processors it would be a leap in the dark, and far above it as well, but on a disk.
        let near = self.limit() <= self.cores && 2 * self.limit() >= self.cores;
        let is_sure = near || (self.on_disk.is_some() && self.quick >= QUICK_ON_DISK);
        if is_quick && is_sure {
            self.phase = Phase::Memory { slow: 0 };
            return Some(Reason::FromMemory);
        }
        let is_cold = sample.latency() > HARDLY_MEMORY;
        let least = self
            .on_disk
            .filter(|least| is_cold && self.limit() < *least)?;
        Some(self.begin_anew(least, Direction::More))
    }

    /// Searches from `limit`, of which nothing is known: the sample that gave rise to it may be half of what was.
    fn begin_anew(&mut self, limit: usize, direction: Direction) -> Reason {
        self.base = Level::new(limit);
        self.noise = Noise::new();
        self.phase = Phase::Hold { left: 0.0 };
        self.forget(direction);
        match direction {
            Direction::More => Reason::Slower,
            Direction::Fewer => Reason::Quicker,
        }
    }

    fn forget(&mut self, direction: Direction) {
        self.more_fails = f64::INFINITY;
        self.fewer_fails = f64::INFINITY;
        self.pause = FIRST_PAUSE;
        self.first = direction;
        self.off = false;
    }

    fn hold(&mut self, sample: &Sample, early: bool, left: f64) -> Reason {
        let left = left - sample.elapsed();
        self.phase = Phase::Hold { left };
        if early && self.early < EARLY {
            self.early += 1;
            return Reason::Settled;
        }
        self.early = 0;
        if self.base.samples() > 0.0 {
            let by = sample.rate().ln() - self.base.log_rate();
            let towards = if by < 0.0 {
                Direction::More
            } else {
                Direction::Fewer
            };
            if by.abs() > JUMP.ln() || (by.abs() > SHIFT.ln() && self.off) {
                return self.begin_anew(self.base.limit(), towards);
            }
            self.off = by.abs() > SHIFT.ln();
            if self.off {
                return Reason::Settled;
            }
            let doubt = (self.base.variance(&self.noise) + self.noise.variance()).sqrt();
            if by.abs() > SURPRISE * doubt && by.abs() > DRIFT {
                self.base = Level::new(self.base.limit());
                self.look_around(towards);
                self.set_fails(towards, FIRST_STEP * 2.0);
                self.phase = Phase::Hold { left: 0.0 };
                return Reason::Settled;
            }
        }
        self.base.add(sample, &mut self.noise);
        if left > 0.0 {
            return Reason::Settled;
        }
        self.next_try()
    }

    /// Begins the next try of this search, or of another if this one is over.
    fn next_try(&mut self) -> Reason {
        for direction in [self.first, self.first.other()] {
            let fails = self.fails(direction);
            let step = (fails / 2.0).min(FIRST_STEP);
            if step >= direction.shortest_step() && self.begin_try(step, direction) {
                return match direction {
                    Direction::More => Reason::TryMore,
                    Direction::Fewer => Reason::TryFewer,
                };
            }
        }
        // Neither way is better: look again after a while.
        self.phase = Phase::Hold { left: self.pause };
        self.pause = (self.pause * 2.0).min(LONGEST_PAUSE);
        self.look_around(self.first.other());
        Reason::Settled
    }

    /// The next tries are the shortest steps, one this way and one the other.
    fn look_around(&mut self, first: Direction) {
        self.more_fails = SHORTEST_MORE * 2.0;
        self.fewer_fails = SHORTEST_FEWER * 2.0;
        self.first = first;
    }

    fn fails(&mut self, direction: Direction) -> f64 {
        match direction {
            Direction::More => self.more_fails,
            Direction::Fewer => self.fewer_fails,
        }
    }

    fn set_fails(&mut self, direction: Direction, step: f64) {
        match direction {
            Direction::More => self.more_fails = step,
            Direction::Fewer => self.fewer_fails = step,
        }
    }

    /// Whether there is anything to try in that direction.
    fn begin_try(&mut self, step: f64, direction: Direction) -> bool {
        let base = self.base.limit();
        let factor = step.exp2();
        let on_disk = self.on_disk.filter(|least| base >= *least);
        let limit = match direction {
            Direction::More => ((base as f64 * factor).round() as usize).max(base + 1),
            Direction::Fewer => {
                ((base as f64 / factor).round() as usize).min(base.saturating_sub(1))
            }
        }
        .clamp(on_disk.unwrap_or(self.bounds.min), self.bounds.max);
        if limit == base {
            self.set_fails(direction, 0.0);
            self.phase = Phase::Hold { left: 0.0 };
            return false;
        }
        self.phase = Phase::Try(Trial {
            level: Level::new(limit),
            direction,
            step,
            back: false,
            legs: 1,
            samples: 0,
            early: 0,
        });
        true
    }

    fn compare(&mut self, sample: &Sample, early: bool, mut trial: Trial) -> Reason {
        let direction = trial.direction;
        let (mut base, mut level) = (self.base, trial.level);
        let seen = if trial.back { &mut base } else { &mut level };
        seen.add(sample, &mut self.noise);
        let ratio = (level.limit() as f64 / base.limit() as f64).ln();
        let gain = level.log_rate() - base.log_rate();
        // More than the number of workers can explain, or less: it is the mount that has changed.
        let doubt = (base.variance(&self.noise) + level.variance(&self.noise)).sqrt();
        let margin = SHIFT.ln().max(SURPRISE * doubt);
        let (least, most) = (ratio.min(0.0) - margin, ratio.max(0.0) + margin);
        if !early && !(least..=most).contains(&gain) {
            let faster = (gain > 0.0) != trial.back;
            let towards = if faster {
                Direction::Fewer
            } else {
                Direction::More
            };
            return self.begin_anew(self.limit(), towards);
        }
        let better = gain - WEIGHT * ratio;
        let (more, fewer) = (CERTAINTY_MORE * doubt, CERTAINTY_FEWER * doubt);
        // Whichever has more workers has to be clearly better.
        let (to_win, to_lose) = match direction {
            Direction::More => (more, fewer),
            Direction::Fewer => (fewer, more),
        };
        // What comes back late makes more workers look worse and fewer look better than they are.
        let counts = |towards| !early || (direction == towards && !trial.back);
        if counts(Direction::More) && better > to_win {
            return self.accept(level, &trial);
        }
        if counts(Direction::Fewer) && better < -to_lose {
            self.base = base;
            return self.refuse(&trial);
        }
        if !early {
            (self.base, trial.level) = (base, level);
            trial.samples += 1;
        } else {
            trial.early += 1;
            if trial.early > EARLY {
                return self.refuse(&trial);
            }
        }
        if trial.samples >= LEG {
            if trial.legs >= LEGS && trial.back {
                return if better > 0.0 {
                    self.accept(level, &trial)
                } else {
                    self.refuse(&trial)
                };
            }
            trial.legs += u32::from(trial.back);
            trial.back = !trial.back;
            (trial.samples, trial.early) = (0, 0);
        }
        self.phase = Phase::Try(trial);
        match direction {
            Direction::More => Reason::TryMore,
            Direction::Fewer => Reason::TryFewer,
        }
    }

    /// The limit that was tried is the better one.
    fn accept(&mut self, level: Level, trial: &Trial) -> Reason {
        self.base = level;
        self.set_fails(trial.direction.other(), trial.step);
        self.set_fails(trial.direction, f64::INFINITY);
        self.first = trial.direction;
        self.pause = FIRST_PAUSE;
        self.begin_try((trial.step * 2.0).min(LONGEST_STEP), trial.direction);
        match trial.direction {
            Direction::More => Reason::MoreHelped,
            Direction::Fewer => Reason::FewerSuffice,
        }
    }

    /// The limit that was tried is not.
    fn refuse(&mut self, trial: &Trial) -> Reason {
        self.set_fails(trial.direction, trial.step);
        self.phase = Phase::Hold { left: REST };
        match trial.direction {
            Direction::More => Reason::MoreDidNotHelp,
            Direction::Fewer => Reason::FewerDidNotSuffice,
        }
    }
}
