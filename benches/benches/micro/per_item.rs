//! Times for one item of work that is done many items at a time.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, SamplingMode};

/// Measures a round of `items` items as so many iterations, so that the time of an iteration is that of an item.
///
/// `round` tells how long it took: what it does before and after is not counted.
pub(crate) fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    items: usize,
    mut round: impl FnMut() -> Duration,
) {
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let rounds = iterations.div_ceil(items as u64);
            let elapsed: Duration = (0..rounds).map(|_| round()).sum();
            elapsed.mul_f64(iterations as f64 / (rounds * items as u64) as f64)
        });
    });
}
