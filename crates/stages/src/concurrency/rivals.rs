//! Other ways to find the limit, to compare the controller with: each in the few lines that matter.
//!
//! Their constants are those of their descriptions, or a guess where there are none. They were not tuned to the mounts of
//! the experiment; the controller's were.

use super::level::Sample;
use super::simulation::{MAX, Policy};
use super::{Decision, Interval, Reason};

/// Enough calls to judge by, the same for all.
const CALLS: f64 = 12.0;

/// Chooses the next limit from the present one and what came of it.
pub(super) trait Rule {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64;
}

/// Gives a rule what it needs, and keeps what says nothing from it.
pub(super) struct Ruled<R> {
    limit: f64,
    gathered: Sample,
    rule: R,
}

impl<R: Rule> Ruled<R> {
    pub(super) fn new(start: usize, rule: R) -> Ruled<R> {
        Ruled {
            limit: start as f64,
            gathered: Sample::default(),
            rule,
        }
    }
}

impl<R: Rule> Policy for Ruled<R> {
    fn start(&self) -> usize {
        self.limit as usize
    }

    fn observe(&mut self, interval: &Interval) -> Decision {
        if interval.starved {
            self.gathered = Sample::default();
        } else {
            self.gathered.add(interval);
            if self.gathered.calls() >= CALLS {
                let next = self.rule.next(self.limit, &self.gathered);
                self.limit = next.clamp(1.0, MAX as f64);
                self.gathered = Sample::default();
            }
        }
        Decision {
            limit: self.limit as usize,
            reason: Reason::Settled,
        }
    }
}

/// The least latency of the last two seconds or so.
#[derive(Default)]
struct Floor {
    least: f64,
    /// The least since `age` was zero, which takes over when that is old.
    coming: f64,
    age: u32,
}

impl Floor {
    fn of(&mut self, latency: f64) -> f64 {
        if self.age == 0 {
            (self.least, self.coming) = (self.coming, latency);
        }
        self.age = (self.age + 1) % 40;
        self.coming = self.coming.min(latency);
        if self.least == 0.0 {
            self.least = latency;
        }
        self.least = self.least.min(latency);
        self.least
    }
}

/// One more as long as calls are about as quick as they can be, else a fifth fewer.
#[derive(Default)]
pub(super) struct Aimd(Floor);

impl Rule for Aimd {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64 {
        if sample.latency() > 1.5 * self.0.of(sample.latency()) {
            limit * 0.8
        } else {
            limit + 1.0
        }
    }
}

/// TCP Vegas: the calls beyond those that the least latency explains are queued somewhere. A few of them are right.
#[derive(Default)]
pub(super) struct Vegas {
    floor: Floor,
    /// Whether there has been a queue; until then the limit doubles.
    queued: bool,
}

impl Rule for Vegas {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64 {
        let queue = limit * (1.0 - self.floor.of(sample.latency()) / sample.latency());
        let unit = limit.log2().max(1.0);
        if queue > 3.0 * unit {
            self.queued = true;
            limit - unit
        } else if queue < 1.5 * unit {
            if self.queued {
                limit + unit
            } else {
                limit * 2.0
            }
        } else {
            limit
        }
    }
}

/// The gradient limiter of Netflix' concurrency-limits: short-term over long-term latency, and room for a queue.
#[derive(Default)]
pub(super) struct Gradient {
    long: f64,
}

impl Rule for Gradient {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64 {
        let short = sample.latency();
        if self.long == 0.0 {
            self.long = short;
        }
        self.long += (short - self.long) * 0.02;
        if self.long > 2.0 * short {
            self.long *= 0.95;
        }
        let gradient = (1.5 * self.long / short).clamp(0.5, 1.0);
        let next = limit * gradient + limit.sqrt().max(1.0);
        limit + (next - limit) * 0.5
    }
}

/// Always on the way: goes on while the rate grows, and turns round when it falls.
#[derive(Default)]
pub(super) struct Climber {
    rate: f64,
    fewer: bool,
}

impl Rule for Climber {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64 {
        // Each step has to bring what it costs, or the top would be anywhere on a plateau.
        let worth = if self.fewer { 0.97 } else { 1.03 };
        if sample.rate() < self.rate * worth {
            self.fewer = !self.fewer;
        }
        self.rate = sample.rate();
        if self.fewer {
            (limit / 1.25).min(limit - 1.0)
        } else {
            (limit * 1.25).max(limit + 1.0)
        }
    }
}

/// Doubles while that brings at least 40 % more, then holds, tries a quarter more and a quarter fewer once in a second,
/// and begins anew when the latency is off twice in a row. Comparisons are of single samples.
#[derive(Default)]
pub(super) struct Doubling {
    phase: Doubled,
    /// Rate and limit to go back to, and the latency to expect.
    rate: f64,
    base: f64,
    latency: f64,
    off: u32,
    held: u32,
}

#[derive(Default)]
enum Doubled {
    #[default]
    Begin,
    Climb,
    Fall,
    Hold,
    More,
    Fewer,
}

impl Doubling {
    fn settle(&mut self, sample: &Sample, limit: f64) -> f64 {
        self.phase = Doubled::Hold;
        (self.latency, self.off) = (0.0, 0);
        self.base = limit;
        self.rate = sample.rate();
        limit
    }
}

impl Rule for Doubling {
    fn next(&mut self, limit: f64, sample: &Sample) -> f64 {
        let rate = sample.rate();
        let gain = rate / self.rate;
        match self.phase {
            Doubled::Begin => {
                (self.phase, self.rate, self.base) = (Doubled::Climb, rate, limit);
                limit * 2.0
            }
            Doubled::Climb if gain >= 1.4 => {
                (self.rate, self.base) = (rate, limit);
                limit * 2.0
            }
            Doubled::Fall if gain >= 0.9 => {
                (self.rate, self.base) = (rate, limit);
                (limit / 2.0).max(1.0)
            }
            Doubled::More if gain >= 1.08 => self.settle(sample, limit),
            Doubled::Fewer if gain >= 0.95 => self.settle(sample, limit),
            Doubled::Climb | Doubled::Fall | Doubled::More | Doubled::Fewer => {
                self.settle(sample, self.base)
            }
            Doubled::Hold => {
                if self.latency == 0.0 {
                    self.latency = sample.latency();
                }
                let times = sample.latency() / self.latency;
                self.off = if (1.0 / 1.7..1.7).contains(&times) {
                    0
                } else {
                    self.off + 1
                };
                self.held += 1;
                self.rate = rate;
                if self.off >= 2 {
                    (self.phase, self.base) = (Doubled::Climb, limit);
                    if times < 1.0 {
                        self.phase = Doubled::Fall;
                        return (limit / 2.0).max(1.0);
                    }
                    return limit * 2.0;
                }
                match self.held % 80 {
                    40 => {
                        self.phase = Doubled::More;
                        (limit * 1.25).max(limit + 1.0)
                    }
                    0 => {
                        self.phase = Doubled::Fewer;
                        (limit / 1.25).min(limit - 1.0)
                    }
                    _ => limit,
                }
            }
        }
    }
}

/// The limit to start with for good, as tools do that have a thread for each processor, or an option for their number.
pub(super) struct Stay;

impl Rule for Stay {
    fn next(&mut self, limit: f64, _: &Sample) -> f64 {
        limit
    }
}
