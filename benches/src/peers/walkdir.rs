//! The walkdir crate.

use std::path::Path;

use super::Tally;

pub(super) fn walk(root: &Path) -> Tally {
    let mut tally = Tally::default();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        tally.take(entry.and_then(|entry| entry.metadata()));
    }
    tally
}
