//! What files come to that have something in common: how many they are, and what all but one of each group take.
//!
//! One thing must stay true: a name is no file. Names of one file are one copy, however many there are, and a file with
//! names that were not met stays when all that were met are deleted.

use serde::{Deserialize, Serialize};
use statline_platform::{FileId, Metadata};

use crate::{Field, Row};

/// The version of the form of [`Repetition`]. It changes when a field changes its meaning or goes; new fields do not
/// change it.
pub const REPETITION_SCHEMA: u32 = 1;

/// What a stage of the kind `repeated` has found. Sums stop at 2⁶⁴−1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Repetition {
    /// [`REPETITION_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The fields that files of a group have in common.
    pub by: Vec<Field>,
    /// Groups of at least two files.
    pub groups: u64,
    /// The files in them.
    pub files: u64,
    /// The names of these files.
    pub names: u64,
    /// The sizes of all files of a group but the one that is dearest to delete. Files with names that were not met do
    /// not count: deleting those that were would free nothing.
    pub freeable_apparent_bytes: u64,
    /// The same of the space that they take. Blocks that files share, as copies made by reference do, count for each.
    pub freeable_allocated_bytes: u64,
}

/// The files of one group, of which those come one after the other that are names of one file.
#[derive(Debug, Default)]
pub(crate) struct Group {
    files: u64,
    names: u64,
    apparent: Freeable,
    allocated: Freeable,
    /// A file stays anyhow, because it has names elsewhere.
    one_stays: bool,
    last: Option<File>,
}

/// A file whose names are being met.
#[derive(Debug)]
struct File {
    /// `None` if it cannot be told from others.
    identity: Option<(u64, FileId)>,
    links: u64,
    names: u64,
    size: u64,
    allocated: u64,
}

/// What files take that can be deleted, and the one of them that takes most.
#[derive(Debug, Default)]
struct Freeable {
    sum: u64,
    most: u64,
}

impl Freeable {
    fn add(&mut self, bytes: u64) {
        self.sum = self.sum.saturating_add(bytes);
        self.most = self.most.max(bytes);
    }

    fn but_one(&self, one_stays: bool) -> u64 {
        match one_stays {
            true => self.sum,
            false => self.sum - self.most,
        }
    }
}

impl Group {
    /// Adds a name. Whether it is that of another file than the name before.
    pub(crate) fn add(&mut self, row: &Row<'_>) -> bool {
        let identity = row.metadata.and_then(identity);
        self.names += 1;
        if let Some(last) = &mut self.last
            && identity.is_some()
            && last.identity == identity
        {
            last.names += 1;
            return false;
        }
        self.close_file();
        let number = |get: fn(&Metadata) -> Option<u64>| row.metadata.and_then(get);
        self.last = Some(File {
            identity,
            links: number(Metadata::nlink).unwrap_or(1),
            names: 1,
            size: number(Metadata::size).unwrap_or(0),
            allocated: number(Metadata::allocated).unwrap_or(0),
        });
        self.files += 1;
        true
    }

    /// How many files it has.
    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    fn close_file(&mut self) {
        let Some(file) = self.last.take() else {
            return;
        };
        if file.names < file.links {
            self.one_stays = true;
        } else {
            self.apparent.add(file.size);
            self.allocated.add(file.allocated);
        }
    }

    /// Adds what it comes to, and begins anew.
    pub(crate) fn close(&mut self, total: &mut Repetition) {
        let mut group = std::mem::take(self);
        if group.files < 2 {
            return;
        }
        group.close_file();
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        total.groups += 1;
        total.files += group.files;
        total.names += group.names;
        add(
            &mut total.freeable_apparent_bytes,
            group.apparent.but_one(group.one_stays),
        );
        add(
            &mut total.freeable_allocated_bytes,
            group.allocated.but_one(group.one_stays),
        );
    }
}

fn identity(metadata: &Metadata) -> Option<(u64, FileId)> {
    Some((metadata.device()?, metadata.file_id()?))
}
