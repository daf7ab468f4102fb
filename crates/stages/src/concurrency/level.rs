//! What is known of one limit: how fast calls came back under it, and how sure that is.
//!
//! Rates are kept as logarithms, for what counts is by which factor one is above another. The noise is what a rate
//! differs by from one sample to the next under the same limit.

use super::Interval;

/// How many samples a level remembers: what is older counts for less and less.
const MEMORY: f64 = 16.0;

/// The share of the newest difference in the estimate of the noise.
const FORGETTING: f64 = 0.125;

/// The noise that is assumed to begin with, as a standard deviation of the logarithm of the rate.
const FIRST_NOISE: f64 = 0.08;

/// The noise is never taken to be less, or a quiet beginning would make the controller too sure.
const LEAST_NOISE: f64 = 0.02;

/// Nor to be more: a jump of the rate is news, not noise.
const MOST_NOISE: f64 = 0.4;

/// Intervals added up until they say something. Times are in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    elapsed: f64,
    calls: f64,
    busy: f64,
    worked: f64,
}

impl Sample {
    pub(super) fn add(&mut self, interval: &Interval) {
        let elapsed = interval.elapsed.as_secs_f64();
        self.elapsed += elapsed;
        self.calls += interval.calls as f64;
        self.busy += interval.busy.as_secs_f64();
        self.worked += interval.active * elapsed;
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.elapsed
    }

    pub(super) fn calls(&self) -> f64 {
        self.calls
    }

    /// Calls in a second.
    pub(super) fn rate(&self) -> f64 {
        self.calls / self.elapsed
    }

    /// How many workers there were on average.
    pub(super) fn active(&self) -> f64 {
        self.worked / self.elapsed
    }

    /// How long one call took on average.
    pub(super) fn latency(&self) -> f64 {
        self.busy / self.calls
    }
}

/// The rate under one limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    limit: usize,
    log_rate: f64,
    samples: f64,
    calls: f64,
    newest: f64,
}

impl Level {
    pub(super) fn new(limit: usize) -> Level {
        Level {
            limit,
            log_rate: 0.0,
            samples: 0.0,
            calls: 0.0,
            newest: 0.0,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many samples count, and whether there is any.
    pub(super) fn samples(&self) -> f64 {
        self.samples
    }

    pub(super) fn log_rate(&self) -> f64 {
        self.log_rate
    }

    /// Takes a sample in. It needs calls and workers.
    pub(super) fn add(&mut self, sample: &Sample, noise: &mut Noise) {
        let log_rate = sample.rate().ln();
        if self.samples > 0.0 {
            noise.differ(log_rate - self.newest);
        }
        self.newest = log_rate;
        let kept = self.samples.min(MEMORY - 1.0);
        if self.samples > 0.0 {
            self.calls *= kept / self.samples;
        }
        self.calls += sample.calls();
        self.samples = kept + 1.0;
        self.log_rate += (log_rate - self.log_rate) / self.samples;
    }

    /// How far the mean may be off, as a variance.
    pub(super) fn variance(&self, noise: &Noise) -> f64 {
        noise.variance() / self.samples + COUNTING / self.calls
    }
}

/// Counting some few calls is inexact: those under way at either end may or may not be in. They come rather
/// regularly, so it is less than if they came by chance, which would be 1.
const COUNTING: f64 = 0.25;

/// By how much samples differ though the limit is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    variance: f64,
}

impl Noise {
    pub(super) fn new() -> Noise {
        Noise {
            variance: FIRST_NOISE * FIRST_NOISE,
        }
    }

    /// Two samples in a row differed by so much.
    fn differ(&mut self, by: f64) {
        // Of two numbers drawn alike the difference has twice the variance.
        let seen = (by * by / 2.0).min(MOST_NOISE * MOST_NOISE);
        self.variance += (seen - self.variance) * FORGETTING;
    }

    pub(super) fn variance(&self) -> f64 {
        self.variance.max(LEAST_NOISE * LEAST_NOISE)
    }
}
