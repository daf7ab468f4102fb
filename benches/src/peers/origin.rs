//! The algorithm that statline grew out of: everything into a list, then everything again.
//!
//! The paths of the whole tree are collected on one thread; their metadata is read by path on a rayon pool; the result is
//! sorted by path. It holds every full path and every metadata at once, which is what its peak memory shows. The code that it
//! came from also asked for each metadata twice and kept each path twice; that is left out, since it is beside the point.

use std::fs::{self, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::Tally;

pub(super) fn walk(root: &Path, threads: NonZeroUsize) -> Tally {
    let mut tally = Tally::default();
    let paths = list(root, &mut tally);
    let Ok(pool) = ThreadPoolBuilder::new().num_threads(threads.get()).build() else {
        tally.errors += 1;
        return tally;
    };
    // Failures stay in the list: a second list, without them, would not be the algorithm's fault.
    let mut found: Vec<(PathBuf, io::Result<Metadata>)> = pool.install(|| {
        let stat = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path);
            (path, metadata)
        };
        paths.into_par_iter().map(stat).collect()
    });
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, metadata) in found {
        tally.take(metadata);
    }
    tally
}

fn list(root: &Path, tally: &mut Tally) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            tally.errors += 1;
            continue;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                tally.errors += 1;
                continue;
            };
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths
}
