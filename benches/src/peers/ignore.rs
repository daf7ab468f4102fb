//! The ignore crate's parallel walker, with nothing ignored.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{self, Sender};

use ignore::{DirEntry, Error, WalkBuilder, WalkState};

use super::Tally;

/// A thread's tally, sent when the walker drops the thread's closure: no atomic is touched per entry.
struct Sending {
    tally: Tally,
    to: Sender<Tally>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        // The receiver outlives the walk.
        let _ = self.to.send(self.tally);
    }
}

impl Sending {
    fn visit(&mut self, entry: Result<DirEntry, Error>) -> WalkState {
        match entry {
            Ok(entry) if entry.depth() == 0 => {}
            entry => self.tally.take(entry.and_then(|entry| entry.metadata())),
        }
        WalkState::Continue
    }
}

pub(super) fn walk(root: &Path, threads: NonZeroUsize) -> Tally {
    let (to, tallies) = mpsc::channel();
    WalkBuilder::new(root)
        .standard_filters(false)
        .threads(threads.get())
        .build_parallel()
        .run(|| {
            // Captured whole, through a method: a closure that touched the tally alone would take a copy of it.
            let mut sending = Sending {
                tally: Tally::default(),
                to: to.clone(),
            };
            Box::new(move |entry| sending.visit(entry))
        });
    drop(to);
    let mut total = Tally::default();
    tallies.iter().for_each(|tally| total.merge(tally));
    total
}
