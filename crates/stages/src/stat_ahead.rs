//! Metadata fetched by `enumerate` itself, right after the names.
//!
//! While calls are answered from memory, a core that lists can fetch the metadata of what it has just read cheaper than
//! any other: the directory is open, and all that the kernel needs is in this processor's cache. So a worker of
//! `enumerate` does that as long as every worker has directories to read, which keeps every core busy. Where some have
//! none (one huge directory), or where calls take long (a cold cache, a network), names go on alone and `stat` works on
//! them with its own threads.
//!
//! One thing must stay true: it is only ever a saving. What is not fetched here, for whatever reason, `stat` fetches,
//! and it is `stat` that reports what cannot be read.

use std::time::{Duration, Instant};

use statline_pipeline::Pulse;
use statline_platform::{Concurrency, Entries, Filesystem, Handle, Metadata};

use crate::directories::Wish;

/// A call that takes longer did not come from memory.
const FROM_MEMORY: Duration = Duration::from_micros(10);

/// How many chunks in a row must have been slow to stop trying: one may be slow because the thread lost its core.
const SLOW: u32 = 4;

/// After how many chunks another try is made then.
const PAUSE: u32 = 64;

/// Fetches ahead for one worker.
pub(crate) struct StatAhead {
    wish: Wish,
    /// How many chunks were slow in a row.
    slow: u32,
    /// Chunks to leave alone before the next try.
    pause: u32,
    order: Vec<u32>,
}

impl StatAhead {
    pub(crate) fn new(wish: Wish) -> StatAhead {
        StatAhead {
            wish,
            slow: 0,
            pause: 0,
            order: Vec::new(),
        }
    }

    /// Whether the next chunk is worth a try. Asked once for each.
    pub(crate) fn tries(&mut self, filesystem: Option<Filesystem>) -> bool {
        let local = filesystem
            .is_some_and(|found| matches!(found.profile().stat_threads, Concurrency::PerCore(_)));
        let tries = local && self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        tries
    }

    /// Fetches the metadata of a chunk of names, all in the directory of `handle`, and appends it to `metadata`, one
    /// without fields where it got none. Says how many it got.
    pub(crate) fn fetch(
        &mut self,
        chunk: &Entries,
        handle: &Handle,
        follow: bool,
        mut metadata: Vec<Metadata>,
        pulse: &Pulse,
    ) -> (Vec<Metadata>, u64) {
        metadata.reserve(chunk.len());
        self.order.clear();
        self.order.extend(0..chunk.len() as u32);
        let Wish { fields, backend } = &self.wish;
        let began = Instant::now();
        let mut fetched = 0;
        backend.stat_each(
            handle,
            chunk,
            &self.order,
            *fields,
            follow,
            // In the order of the chunk, so each comes to its place.
            &mut |index, result| {
                fetched += u64::from(result.is_ok());
                metadata.push(result.unwrap_or_default());
                pulse.done(u64::from(index) + 1);
            },
        );
        if began.elapsed() > FROM_MEMORY * self.order.len() as u32 {
            self.slow += 1;
        } else {
            self.slow = 0;
        }
        if self.slow >= SLOW {
            (self.slow, self.pause) = (0, PAUSE);
        }
        (metadata, fetched)
    }
}
