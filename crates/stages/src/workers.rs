//! Threads inside one stage, on a pool of its own: never the global one, which belongs to the host.
//!
//! Without the feature `parallel`, or without a pool, the same calls do the same on the caller's thread. So whoever
//! uses them is written once, and its result must not depend on which it was.

use std::cmp::Ordering;

use statline_pipeline::StageError;

/// What a stage works with when it has much to do at once.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    #[cfg(feature = "parallel")]
    pool: Option<rayon::ThreadPool>,
}

#[cfg(feature = "parallel")]
impl Workers {
    /// So many threads; one needs no pool.
    pub(crate) fn new(threads: usize) -> Result<Workers, StageError> {
        if threads < 2 {
            return Ok(Workers::default());
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("worker-{index}"))
            .build()
            .map_err(|error| {
                StageError::failed(format!("could not start {threads} threads: {error}"))
            })?;
        Ok(Workers { pool: Some(pool) })
    }

    /// Whether there is a pool.
    pub(crate) fn are_several(&self) -> bool {
        self.pool.is_some()
    }

    /// Calls `work` with each of `items`, in no order.
    pub(crate) fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Send + Sync) {
        use rayon::prelude::*;
        match &self.pool {
            Some(pool) => pool.install(|| items.into_par_iter().for_each(work)),
            None => items.into_iter().for_each(work),
        }
    }

    /// Sorts `items` by an order in which no two are equal.
    pub(crate) fn sort<T: Send>(
        &self,
        items: &mut [T],
        compare: impl Fn(&T, &T) -> Ordering + Send + Sync,
    ) {
        use rayon::prelude::*;
        match &self.pool {
            Some(pool) => pool.install(|| items.par_sort_unstable_by(compare)),
            None => items.sort_unstable_by(compare),
        }
    }

    /// Applies `make` to each of `items`; the results are in their order.
    pub(crate) fn map<T: Sync, R: Send>(
        &self,
        items: &[T],
        make: impl Fn(&T) -> R + Send + Sync,
    ) -> Vec<R> {
        use rayon::prelude::*;
        match &self.pool {
            Some(pool) => pool.install(|| items.par_iter().map(make).collect()),
            None => items.iter().map(make).collect(),
        }
    }
}

#[cfg(not(feature = "parallel"))]
impl Workers {
    pub(crate) fn new(_threads: usize) -> Result<Workers, StageError> {
        Ok(Workers::default())
    }

    pub(crate) fn are_several(&self) -> bool {
        false
    }

    pub(crate) fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Send + Sync) {
        items.into_iter().for_each(work);
    }

    pub(crate) fn sort<T: Send>(
        &self,
        items: &mut [T],
        compare: impl Fn(&T, &T) -> Ordering + Send + Sync,
    ) {
        items.sort_unstable_by(compare);
    }

    pub(crate) fn map<T: Sync, R: Send>(
        &self,
        items: &[T],
        make: impl Fn(&T) -> R + Send + Sync,
    ) -> Vec<R> {
        items.iter().map(make).collect()
    }
}
