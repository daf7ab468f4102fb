//! `std::fs` alone: what a program does that has not thought about it.
//!
//! A stack instead of recursion, so that depth costs heap and not stack.

use std::fs;
use std::path::Path;

use super::Tally;

pub(super) fn walk(root: &Path) -> Tally {
    let mut tally = Tally::default();
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
            let metadata = fs::symlink_metadata(&path);
            let descend = metadata.as_ref().is_ok_and(fs::Metadata::is_dir);
            tally.take(metadata);
            if descend {
                pending.push(path);
            }
        }
    }
    tally
}
