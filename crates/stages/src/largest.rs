//! The largest files of a scan.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Row;
use crate::encode::text_or_base64;
use crate::summary::LargeFile;

/// A file, greater if it comes further up in the list: the larger one, and of two alike the one whose path is less.
type Candidate = (u64, Reverse<Vec<u8>>);

/// The largest files so far. A path is put together only for a file that gets on the list.
pub(crate) struct Largest {
    capacity: usize,
    /// The least one first.
    list: BinaryHeap<Reverse<Candidate>>,
}

impl Largest {
    pub(crate) fn new(capacity: usize) -> Largest {
        Largest {
            capacity,
            list: BinaryHeap::new(),
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, bytes: u64, row: &Row<'_>) {
        if self.list.len() == self.capacity
            && self
                .list
                .peek()
                .is_some_and(|Reverse(least)| bytes < least.0)
        {
            return;
        }
        self.list.push(Reverse((bytes, Reverse(row.path_bytes()))));
        if self.list.len() > self.capacity {
            self.list.pop();
        }
    }

    pub(crate) fn list(&self) -> Vec<LargeFile> {
        let mut list: Vec<&Candidate> = self.list.iter().map(|Reverse(file)| file).collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.into_iter()
            .map(|(bytes, Reverse(path))| {
                let (path, path_b64) = text_or_base64(path);
                LargeFile {
                    path,
                    path_b64,
                    bytes: *bytes,
                }
            })
            .collect()
    }
}
