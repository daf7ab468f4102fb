//! How long an answer is held back.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::random::Draw;

/// How long an answer is held back. A [`Duration`] becomes [`Latency::Fixed`], a range of them
/// [`Latency::Uniform`], a switch [`Latency::Switched`].
#[derive(Clone, Debug)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two, both included, drawn with the seed of the mount.
    Uniform(Duration, Duration),
    /// Exponentially distributed around this mean, drawn with the seed of the mount: most answers
    /// are quick, few take long, none more than 37 times the mean.
    Exponential(Duration),
    /// What the switch says when the call comes in.
    Switched(LatencySwitch),
}

impl Latency {
    /// The latency of one call.
    pub(crate) fn draw(&self, draw: &mut Draw) -> Duration {
        match self {
            Self::Fixed(latency) => *latency,
            Self::Uniform(least, most) => *least + most.saturating_sub(*least).mul_f64(draw.unit()),
            // What is drawn is less than 1 by 2^-53 at least, so the logarithm has a bound.
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - draw.unit()).ln()),
            Self::Switched(switch) => switch.get(),
        }
    }
}

impl From<Duration> for Latency {
    fn from(latency: Duration) -> Self {
        Self::Fixed(latency)
    }
}

impl From<RangeInclusive<Duration>> for Latency {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self::Uniform(*range.start(), *range.end())
    }
}

impl From<LatencySwitch> for Latency {
    fn from(switch: LatencySwitch) -> Self {
        Self::Switched(switch)
    }
}

/// A latency that is changed while the file system is in use. Copies share the value; it begins
/// at zero.
#[derive(Clone, Default)]
pub struct LatencySwitch(Arc<AtomicU64>);

impl LatencySwitch {
    /// Calls that come in from now on take `latency`, at most some 584 years.
    pub fn set(&self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanoseconds, Ordering::Relaxed);
    }

    /// What calls take now.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for LatencySwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "now {:?}", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(10);

    #[test]
    fn drawn_latencies_stay_within_their_bounds_and_around_their_mean() {
        let mut draw = Draw::new(7);
        let uniform = Latency::from(MEAN..=2 * MEAN);
        let mut total = Duration::ZERO;
        for _ in 0..10_000 {
            let drawn = uniform.draw(&mut draw);
            assert!((MEAN..=2 * MEAN).contains(&drawn), "{drawn:?}");
            let drawn = Latency::Exponential(MEAN).draw(&mut draw);
            assert!(drawn <= 37 * MEAN, "{drawn:?}");
            total += drawn;
        }
        let mean = total / 10_000;
        assert!(
            (MEAN.mul_f64(0.9)..MEAN.mul_f64(1.1)).contains(&mean),
            "{mean:?}"
        );
    }
}
