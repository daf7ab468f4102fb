//! The jwalk crate.
//!
//! It reads directories on a rayon pool and yields entries in order on the calling thread. Metadata is asked for in
//! `process_read_dir`, which runs on the pool; asked for in the loop, it would run on one thread.

use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::path::Path;

use jwalk::{Parallelism, WalkDirGeneric};

use super::Tally;

/// No state for a directory; for an entry, its metadata if it could be had.
type State = ((), Option<Metadata>);

pub(super) fn walk(root: &Path, threads: NonZeroUsize) -> Tally {
    let walker = WalkDirGeneric::<State>::new(root)
        .skip_hidden(false)
        .min_depth(1)
        .parallelism(Parallelism::RayonNewPool(threads.get()))
        .process_read_dir(|_depth, _path, (), children| {
            for entry in children.iter_mut().flatten() {
                entry.client_state = entry.metadata().ok();
            }
        });
    let mut tally = Tally::default();
    for entry in walker {
        match entry {
            Ok(entry) => {
                // A directory that was listed and then could not be read is yielded as an entry with an error inside.
                tally.errors += u64::from(
                    entry
                        .read_children
                        .as_ref()
                        .is_some_and(|children| children.error().is_some()),
                );
                tally.take(entry.client_state.ok_or(()));
            }
            Err(_) => tally.errors += 1,
        }
    }
    tally
}
