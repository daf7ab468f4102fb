//! The same work, done the way that other Rust programs do it.
//!
//! Each peer lists everything below a directory and takes the metadata of every entry, with its crate's own means and on the
//! settings that its documentation gives for speed. What must stay true: a peer is used as well as its authors would
//! use it. A comparison with a badly used library is worth nothing.

mod ignore;
mod jwalk;
mod origin;
mod standard;
mod walkdir;

use std::fs::Metadata;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;

use serde::Serialize;

/// A way to walk a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// `std::fs`: read_dir and symlink_metadata on full paths, one thread.
    Std,
    /// The walkdir crate, one thread.
    Walkdir,
    /// The jwalk crate; metadata on its threads.
    Jwalk,
    /// The ignore crate's parallel walker, all filters off; metadata on its threads.
    Ignore,
    /// statline's origin: list all paths, then stat them with rayon, then sort them.
    Origin,
}

/// What a peer found. The root is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Entries whose metadata was read.
    pub entries: u64,
    /// Failures. A path longer than the system takes is one.
    pub errors: u64,
}

impl Tally {
    fn add(&mut self, metadata: &Metadata) {
        self.entries += 1;
        // The compiler must not find out that nobody wants to know.
        black_box(metadata.len());
    }

    fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.errors += other.errors;
    }

    fn take<E>(&mut self, metadata: Result<Metadata, E>) {
        match metadata {
            Ok(metadata) => self.add(&metadata),
            Err(_) => self.errors += 1,
        }
    }
}

impl Peer {
    /// Walks the tree below `root`, on `threads` threads where the peer has them.
    #[must_use]
    pub fn walk(self, root: &Path, threads: NonZeroUsize) -> Tally {
        match self {
            Self::Std => standard::walk(root),
            Self::Walkdir => walkdir::walk(root),
            Self::Jwalk => jwalk::walk(root, threads),
            Self::Ignore => ignore::walk(root, threads),
            Self::Origin => origin::walk(root, threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::tree::{self, Parameters, Shape};

    #[test]
    fn all_peers_count_the_same_entries() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        tree::make(
            &root,
            Parameters {
                entries: 3_000,
                seed: 4,
                shape: Shape::Realistic,
            },
        )
        .unwrap();
        for peer in Peer::value_variants() {
            let tally = peer.walk(&root, NonZeroUsize::new(2).unwrap());
            assert_eq!(
                tally,
                Tally {
                    entries: 3_000,
                    errors: 0
                },
                "{peer:?}"
            );
        }
    }

    #[test]
    fn all_peers_report_a_root_that_is_missing() {
        for peer in Peer::value_variants() {
            let tally = peer.walk(Path::new("/no/such/place"), NonZeroUsize::MIN);
            assert_eq!(
                tally,
                Tally {
                    entries: 0,
                    errors: 1
                },
                "{peer:?}"
            );
        }
    }
}
