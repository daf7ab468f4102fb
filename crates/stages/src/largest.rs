//! The largest files of a scan.
//!
//! One thing must stay true: the list depends on what was scanned, not on the order in which it came. So a file with
//! several names stands on it once, under the name that is first in path order, whichever of them came first.

use std::cmp::Ordering;
use std::sync::Arc;

use statline_platform::{DirNode, FileId, Metadata, NameBuf, compare_paths};

use crate::Row;
use crate::encode::text_or_base64;
use crate::summary::LargeFile;

/// A file, under the first of its names so far.
struct Candidate {
    bytes: u64,
    directory: Arc<DirNode>,
    name: NameBuf,
    /// What its further names are known by, if it has any.
    identity: Option<(u64, FileId)>,
}

impl Candidate {
    /// How it stands on the list to a file of this size and name: less if it comes further up, as the larger one, and
    /// of two alike as the one whose path is first.
    fn compare(&self, bytes: u64, row: &Row<'_>) -> Ordering {
        bytes.cmp(&self.bytes).then_with(|| {
            compare_paths(
                (&self.directory, self.name.as_name().as_bytes()),
                (row.directory, row.name.as_bytes()),
            )
        })
    }
}

/// The largest files so far. No path is put together before the list is read.
pub(crate) struct Largest {
    capacity: usize,
    /// In the order of the list.
    list: Vec<Candidate>,
}

impl Largest {
    /// So many files at the most.
    pub(crate) fn new(capacity: usize) -> Largest {
        Largest {
            capacity,
            list: Vec::new(),
        }
    }

    /// Adds a name of a regular file.
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64, row: &Row<'_>) {
        let is_full = self.list.len() == self.capacity;
        if is_full && self.list.last().is_none_or(|least| bytes < least.bytes) {
            return;
        }
        self.insert(bytes, row);
    }

    /// A name that pushed a file off the list may itself be pushed off; should a better name of that file come, it gets
    /// on again, for by that name it would never have left.
    fn insert(&mut self, bytes: u64, row: &Row<'_>) {
        let place = self
            .list
            .partition_point(|file| file.compare(bytes, row).is_lt());
        let identity = row.metadata.and_then(shared_identity);
        if identity.is_some()
            && let Some(known) = self.list.iter().position(|file| file.identity == identity)
        {
            if known < place {
                return;
            }
            self.list.remove(known);
        }
        let candidate = Candidate {
            bytes,
            directory: Arc::clone(row.directory),
            name: row.name.into(),
            identity,
        };
        self.list.insert(place, candidate);
        self.list.truncate(self.capacity);
    }

    /// The files, the largest first.
    pub(crate) fn list(&self) -> Vec<LargeFile> {
        let files = self.list.iter();
        files
            .map(|file| {
                let mut path = Vec::new();
                let name = file.name.as_name();
                file.directory.write_entry_path(name, &mut path);
                let (path, path_b64) = text_or_base64(&path);
                LargeFile {
                    path,
                    path_b64,
                    bytes: file.bytes,
                }
            })
            .collect()
    }
}

/// What tells a file that may have other names.
fn shared_identity(metadata: &Metadata) -> Option<(u64, FileId)> {
    let has_others = metadata.nlink().is_some_and(|nlink| nlink > 1);
    has_others.then_some((metadata.device()?, metadata.file_id()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{child, file, root};
    use crate::{RecordBatch, Rows};

    /// A few files of few sizes with up to three names each, in two directories.
    fn names() -> impl Strategy<Value = Vec<(u64, String)>> {
        let names = prop::collection::btree_set((0..2_u8, 0..9_u8), 1..14);
        let files = names.prop_flat_map(|names| {
            let paths: Vec<String> = names
                .iter()
                .map(|(directory, name)| format!("{}/{name}", ["d", "d!"][usize::from(*directory)]))
                .collect();
            prop::collection::vec(0..6_u64, paths.len())
                .prop_map(move |files| files.into_iter().zip(paths.clone()).collect::<Vec<_>>())
        });
        files.prop_shuffle()
    }

    proptest! {
        #[test]
        fn the_list_is_the_same_in_any_order(names in names(), capacity in 0..6_usize) {
            let directories = ["d", "d!"].map(|name| child(&root("r"), name.as_bytes()));
            let mut batch = RecordBatch::default();
            // Which names each file has, in path order: a directory's contents before its sibling "d!".
            let mut files: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for (number, path) in &names {
                files.entry(*number).or_default().push(format!("r/{path}"));
            }
            for (number, path) in &names {
                let (directory, name) = path.split_once('/').unwrap();
                let name = NameBuf::new(name.as_bytes()).unwrap();
                let metadata = file(|metadata| {
                    metadata
                        .set_nlink(files[number].len() as u64)
                        .set_device(1)
                        .set_file_id((*number).into());
                });
                batch.push_row(&Row {
                    directory: &directories[usize::from(directory == "d!")],
                    name: name.as_name(),
                    kind: None,
                    metadata: Some(&metadata),
                    target: None,
                    change: None,
                    remembered: false,
                    hash: None,
                });
            }
            let mut largest = Largest::new(capacity);
            for (row, (number, _)) in batch.rows().zip(&names) {
                largest.add(number / 2, &row);
            }
            let in_path_order = |path: &String| path.replace('/', "\0");
            let mut expected: Vec<(u64, String)> = files
                .into_iter()
                .map(|(number, paths)| (number / 2, paths.into_iter().min_by_key(in_path_order).unwrap()))
                .collect();
            expected.sort_by_key(|(bytes, path)| (std::cmp::Reverse(*bytes), in_path_order(path)));
            expected.truncate(capacity);
            let list = largest.list().into_iter();
            let list: Vec<_> = list.map(|file| (file.bytes, file.path.unwrap())).collect();
            prop_assert_eq!(list, expected);
        }
    }
}
