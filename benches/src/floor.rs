//! The yardstick: what walking a tree costs when nothing is done with it.
//!
//! Every directory is opened once, relative to its parent; its names are read with getdents64; every name gets one statx,
//! relative to the open directory. Nothing is kept, sorted or written. No program that knows the metadata of every entry can
//! make fewer calls, so its time is what others are divided by.
//!
//! What must stay true: it is as fast as the same loop in C. A slow floor flatters everybody who stands on it. So there is
//! no allocation per entry, no copy of a name that is not a directory's, and threads meet only when one of them is idle.

mod dirent;
mod pool;
mod worker;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde::Serialize;

use crate::error::{IoContext, IoError};
use crate::raw;
use pool::{Job, Pool};
use worker::Worker;

/// In which order the entries of one chunk of names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As the directory gave them.
    Readdir,
    /// By inode number: far fewer seeks on a cold ext4.
    Inode,
}

/// How to walk.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads, the calling one included.
    pub threads: NonZeroUsize,
    /// Order within a chunk.
    pub order: Order,
    /// Only read names: no statx, except where the file system does not say what is a directory.
    pub list_only: bool,
}

impl Options {
    /// All metadata, on one thread for each core.
    #[must_use]
    pub fn on_all_cores(order: Order) -> Self {
        Self {
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            order,
            list_only: false,
        }
    }
}

/// What a walk saw, and which calls it made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Names found below the root, which is not counted itself.
    pub entries: u64,
    /// Calls of openat, one for each directory.
    pub openat: u64,
    /// Calls of getdents64, at least two for each directory: only an empty answer means the end.
    pub getdents64: u64,
    /// Calls of statx.
    pub statx: u64,
    /// Calls that failed. A floor with errors has not seen everything.
    pub errors: u64,
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            openat: self.openat + other.openat,
            getdents64: self.getdents64 + other.getdents64,
            statx: self.statx + other.statx,
            errors: self.errors + other.errors,
        }
    }
}

/// Walks the tree below `root`.
///
/// # Errors
///
/// When the root cannot be opened. Failures further down are counted, not returned.
pub fn walk(root: &Path, options: Options) -> Result<Counts, IoError> {
    let opened = raw::open_root(root).during("open the directory", root)?;
    let pool = Pool::new(options.threads, Job::Read(Arc::new(opened)));
    let below = thread::scope(|scope| {
        // The calling thread is one of the workers: a walk on one thread starts none.
        let others: Vec<_> = (1..options.threads.get())
            .map(|_| scope.spawn(|| Worker::new(&pool, options).run()))
            .collect();
        let own = Worker::new(&pool, options).run();
        others
            .into_iter()
            .fold(own, |sum, thread| match thread.join() {
                Ok(counts) => sum.add(counts),
                Err(panic) => std::panic::resume_unwind(panic),
            })
    });
    Ok(Counts {
        openat: 1,
        ..Counts::default()
    }
    .add(below))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::tree::{self, Parameters, Shape};

    fn options(threads: usize) -> Options {
        Options {
            threads: NonZeroUsize::new(threads).unwrap(),
            order: Order::Readdir,
            list_only: false,
        }
    }

    fn tree_of(shape: Shape, entries: u64) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        tree::make(
            &directory.path().join("tree"),
            Parameters {
                entries,
                seed: 5,
                shape,
            },
        )
        .unwrap();
        directory
    }

    #[test]
    fn counts_what_walkdir_counts_on_any_number_of_threads() {
        let directory = tree_of(Shape::Realistic, 5_000);
        let root = directory.path().join("tree");
        let listed = walkdir::WalkDir::new(&root)
            .min_depth(1)
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>();
        let directories = listed
            .iter()
            .filter(|entry| entry.file_type().is_dir())
            .count() as u64;
        for threads in [1, 2, 7] {
            let counts = walk(&root, options(threads)).unwrap();
            assert_eq!(counts.entries, listed.len() as u64);
            assert_eq!(
                counts.statx, counts.entries,
                "one statx for each entry, no more"
            );
            assert_eq!(
                counts.openat,
                directories + 1,
                "each directory and the root, once"
            );
            assert_eq!(counts.errors, 0);
        }
    }

    #[test]
    fn a_directory_of_many_chunks_is_shared_out_without_loss() {
        let directory = tree_of(Shape::Wide, 20_000);
        let root = directory.path().join("tree");
        for order in [Order::Readdir, Order::Inode] {
            let counts = walk(
                &root,
                Options {
                    order,
                    ..options(8)
                },
            )
            .unwrap();
            assert_eq!(
                (counts.entries, counts.statx, counts.openat),
                (20_000, 20_000, 1)
            );
        }
    }

    #[test]
    fn a_chain_deeper_than_any_path_is_walked_to_its_end() {
        let directory = tree_of(Shape::Deep, 6_000);
        let counts = walk(&directory.path().join("tree"), options(2)).unwrap();
        assert_eq!((counts.entries, counts.errors), (6_000, 0));
    }

    #[test]
    fn listing_only_calls_no_statx() {
        let directory = tree_of(Shape::Realistic, 500);
        let counts = walk(
            &directory.path().join("tree"),
            Options {
                list_only: true,
                ..options(2)
            },
        )
        .unwrap();
        assert_eq!((counts.entries, counts.statx), (500, 0));
    }

    #[test]
    fn a_symbolic_link_is_an_entry_and_never_a_way_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inside")).unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("inside/out")).unwrap();
        let counts = walk(directory.path(), options(1)).unwrap();
        assert_eq!(counts.entries, 2);
    }

    #[test]
    fn a_root_that_is_missing_is_named_in_the_error() {
        let message = walk(Path::new("/no/such/place"), options(1))
            .unwrap_err()
            .to_string();
        let parts: BTreeSet<bool> = ["open the directory", "/no/such/place"]
            .map(|part| message.contains(part))
            .into();
        assert_eq!(parts, [true].into(), "{message}");
    }
}
