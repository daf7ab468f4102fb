//! Tells the first name of a file from its further ones.
//!
//! A file is remembered from its first name to its last: when as many names were met as it has links, it is forgotten.
//! What stays in memory are the files that have names outside of what is scanned.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use statline_platform::{FileId, Metadata};

/// The files with several names that have been met.
#[derive(Default)]
pub(crate) struct HardLinks {
    /// Names still to come, by device and file.
    expected: HashMap<(u64, FileId), u64, foldhash::fast::RandomState>,
    repeated: u64,
    /// Whether a row could not be told from others.
    unknown: bool,
}

impl HardLinks {
    /// Whether a file that is no directory is met for the first time, as far as its metadata tells.
    #[inline]
    pub(crate) fn is_first(&mut self, metadata: Option<&Metadata>) -> bool {
        match metadata.and_then(|metadata| metadata.nlink()) {
            Some(0 | 1) => true,
            nlink => self.is_first_of(nlink, metadata),
        }
    }

    fn is_first_of(&mut self, nlink: Option<u64>, metadata: Option<&Metadata>) -> bool {
        let identity = metadata.and_then(|found| Some((found.device()?, found.file_id()?)));
        let (Some(nlink), Some(identity)) = (nlink, identity) else {
            self.unknown = true;
            return true;
        };
        match self.expected.entry(identity) {
            Entry::Vacant(entry) => {
                entry.insert(nlink - 1);
                true
            }
            Entry::Occupied(mut entry) => {
                self.repeated += 1;
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
                false
            }
        }
    }

    /// How many further names were met; `None` if that can't be told.
    pub(crate) fn repeated(&self) -> Option<u64> {
        (!self.unknown).then_some(self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::file;

    fn link(device: u64, inode: u64, nlink: u64) -> Metadata {
        file(|metadata| {
            metadata
                .set_device(device)
                .set_file_id(inode.into())
                .set_nlink(nlink);
        })
    }

    proptest! {
        #[test]
        fn each_file_is_first_once_in_any_order(
            names in Just((0..40_u64).flat_map(|file| vec![file; file as usize % 5 + 1]).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut links = HardLinks::default();
            let mut firsts = 0;
            for &name in &names {
                // Two file systems with the same inode numbers.
                let metadata = link(name % 2, name / 2, name % 5 + 1);
                firsts += u64::from(links.is_first(Some(&metadata)));
            }
            prop_assert_eq!(firsts, 40);
            prop_assert_eq!(links.repeated(), Some(names.len() as u64 - 40));
            prop_assert!(links.expected.is_empty(), "all names were met");
        }
    }

    #[test]
    fn files_that_cannot_be_told_apart_each_count() {
        let no_device = file(|metadata| {
            metadata.set_nlink(2).set_file_id(7_u64.into());
        });
        let mut links = HardLinks::default();
        assert!(links.is_first(Some(&no_device)));
        assert!(links.is_first(Some(&no_device)));
        assert_eq!(links.repeated(), None);
        let mut links = HardLinks::default();
        assert!(links.is_first(None));
        assert_eq!(links.repeated(), None);
    }
}
