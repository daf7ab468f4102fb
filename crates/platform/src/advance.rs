//! Notices a directory that stops advancing.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

/// Notices that listing a directory has come back to where it was before, which a sound file system
/// never lets it: a broken one can list the same few names for ever.
///
/// Keeps one earlier position and compares each new one with it, and takes a new one to keep after
/// 1, 2, 4, … chunks, so that a circle of any length is found within some three rounds of it.
/// Source: R. P. Brent, An improved Monte Carlo factorization algorithm, BIT 20 (1980).
///
/// One thread at a time lists with a handle, so no ordering is needed.
#[derive(Debug)]
pub(crate) struct Advance {
    kept: AtomicI64,
    /// Chunks since then.
    chunks: AtomicU64,
    /// After how many another position is kept.
    limit: AtomicU64,
}

/// A position that no directory reports for the end of a chunk.
const NOWHERE: i64 = i64::MIN;

impl Default for Advance {
    fn default() -> Advance {
        Advance::new()
    }
}

impl Advance {
    pub(crate) const fn new() -> Advance {
        Advance {
            kept: AtomicI64::new(NOWHERE),
            chunks: AtomicU64::new(0),
            limit: AtomicU64::new(1),
        }
    }

    /// Starts again at the first entry.
    #[cfg(any(unix, test))]
    pub(crate) fn rewind(&self) {
        self.kept.store(NOWHERE, Relaxed);
        self.chunks.store(0, Relaxed);
        self.limit.store(1, Relaxed);
    }

    /// Whether a chunk that ends at `position` shows that the listing goes in a circle.
    pub(crate) fn circles(&self, position: i64) -> bool {
        if self.kept.load(Relaxed) == position {
            return true;
        }
        let chunks = self.chunks.load(Relaxed) + 1;
        if chunks == self.limit.load(Relaxed) {
            self.kept.store(position, Relaxed);
            self.limit.store(chunks * 2, Relaxed);
            self.chunks.store(0, Relaxed);
        } else {
            self.chunks.store(chunks, Relaxed);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_of_any_length_are_noticed_and_a_long_directory_is_not_one() {
        for lead in [0, 1, 7] {
            for length in 1..50 {
                let advance = Advance::new();
                let chunk = (1..).find(|&chunk: &i64| {
                    let position = if chunk < lead {
                        chunk
                    } else {
                        lead + (chunk - lead) % length
                    };
                    advance.circles(position)
                });
                let chunk = chunk.unwrap();
                assert!(
                    chunk <= 3 * (lead + length) + 2,
                    "{lead} + {length}: {chunk}"
                );
            }
        }
        let advance = Advance::new();
        assert!((0..100_000).all(|position| !advance.circles(position)));
        advance.rewind();
        assert!((0..100_000).all(|position| !advance.circles(position)));
    }
}
