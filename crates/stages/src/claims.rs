//! Batches whose rows are worked on by several threads at once, one claim at a time.
//!
//! A batch of a thousand large files on one thread, while the others have nothing to do, would take as long as on a
//! machine with one core. So whoever takes a batch in puts it here, cut into claims, and all threads take from it. One
//! thing must stay true: a batch is handed out once, whole, to whoever finished its last claim.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{ContentHash, RecordBatch};

/// How long a wait lasts at the most before the run's health is looked at.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// The batches that have claims left to take.
#[derive(Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
    /// Told whenever there may be something new to take, or nobody who would bring it.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: VecDeque<(Arc<OpenBatch>, VecDeque<Range<usize>>)>,
    /// How many threads are about to bring a batch.
    bringing: usize,
}

/// A batch that is being worked on.
pub(crate) struct OpenBatch {
    pub(crate) records: RecordBatch,
    found: Mutex<Found>,
}

struct Found {
    hashes: Vec<Option<ContentHash>>,
    /// Claims that are not finished.
    left: usize,
}

/// Rows of a batch, for one thread.
pub(crate) struct Claim {
    pub(crate) batch: Arc<OpenBatch>,
    /// Those left to do.
    pub(crate) rows: Range<usize>,
}

/// While this lives, others know that a batch may come. See [`Claims::expect`].
pub(crate) struct Expected<'a>(&'a Claims);

impl Claims {
    /// Puts a batch up whose digests are known but for those in `claims`, of which there is at least one.
    pub(crate) fn put(
        &self,
        records: RecordBatch,
        hashes: Vec<Option<ContentHash>>,
        claims: VecDeque<Range<usize>>,
    ) {
        let found = Found {
            hashes,
            left: claims.len(),
        };
        let batch = Arc::new(OpenBatch {
            records,
            found: Mutex::new(found),
        });
        lock(&self.state).open.push_back((batch, claims));
        self.changed.notify_all();
    }

    /// The next rows to work on, of the batch that came first.
    pub(crate) fn take(&self) -> Option<Claim> {
        let mut state = lock(&self.state);
        let (batch, claims) = state.open.front_mut()?;
        let (batch, rows) = (Arc::clone(batch), claims.pop_front());
        if claims.is_empty() {
            state.open.pop_front();
        }
        rows.map(|rows| Claim { batch, rows })
    }

    /// Announces that this thread asks for a batch.
    pub(crate) fn expect(&self) -> Expected<'_> {
        lock(&self.state).bringing += 1;
        Expected(self)
    }

    /// Waits for something to take as long as somebody may bring it, but not longer than [`SLICE`]. Whether there is no
    /// hope left.
    pub(crate) fn is_over(&self) -> bool {
        let hopes = |state: &mut State| state.open.is_empty() && state.bringing > 0;
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), SLICE, hopes);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.open.is_empty() && state.bringing == 0
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).bringing -= 1;
        self.0.changed.notify_all();
    }
}

impl Claim {
    /// Notes a digest.
    pub(crate) fn found(&self, row: usize, hash: ContentHash) {
        lock(&self.batch.found).hashes[row] = Some(hash);
    }

    /// Ends the claim. Returns the batch if it was the last one.
    pub(crate) fn finish(self) -> Option<RecordBatch> {
        let mut found = lock(&self.batch.found);
        found.left -= 1;
        if found.left > 0 {
            return None;
        }
        let hashes = std::mem::take(&mut found.hashes);
        drop(found);
        // Others may still hold it for a moment, and a thread that hangs for good.
        let mut records = match Arc::try_unwrap(self.batch) {
            Ok(batch) => batch.records,
            Err(shared) => shared.records.clone(),
        };
        records.set_hashes(hashes);
        Some(records)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use crate::fixtures::records;

    #[test]
    fn a_batch_is_handed_out_whole_by_the_last_of_many_threads() {
        let claims = Claims::default();
        let names: [&[u8]; 5] = [b"0", b"1", b"2", b"3", b"4"];
        for _ in 0..200 {
            let rows = (1..5).map(|row| row..row + 1).collect();
            claims.put(records(&names), vec![None; 5], rows);
        }
        let work = || {
            let mut batches = Vec::new();
            while let Some(claim) = claims.take() {
                for row in claim.rows.clone() {
                    claim.found(row, ContentHash::of(&[row as u8]));
                }
                batches.extend(claim.finish());
            }
            batches
        };
        let batches: Vec<RecordBatch> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            let threads = threads.into_iter();
            threads.flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(batches.len(), 200);
        for batch in &batches {
            let hashes: Vec<_> = batch.rows().map(|row| row.hash.copied()).collect();
            let expected = (0..5).map(|row| (row > 0).then(|| ContentHash::of(&[row])));
            assert!(expected.eq(hashes));
        }
        assert!(claims.is_over());
    }

    #[test]
    fn it_is_not_over_while_somebody_may_bring_a_batch() {
        let claims = Claims::default();
        let expected = claims.expect();
        assert!(!claims.is_over());
        let one = std::iter::once(0..1).collect();
        claims.put(records(&[b"a"]), vec![None], one);
        drop(expected);
        assert!(!claims.is_over());
        assert!(claims.take().is_some());
        assert!(claims.is_over());
    }
}
