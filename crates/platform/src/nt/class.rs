//! The classes of directory information, and where each keeps what.
//!
//! One row of a table for each class instead of one struct: the beginning is the same in all, and what differs are three
//! offsets. One thing must stay true: [`DirectoryClass::ALL`] is in the order in which they are tried, the best first.
//! Sources: ntifs.h, and [MS-FSCC] 2.4.

/// What one record of a directory is to hold, by the name that Windows has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DirectoryClass {
    /// `FileIdExtdDirectoryInformation`: file ids of 128 bits, and a field of its own for the reparse tag. Windows 8.1
    /// and later, on NTFS and ReFS.
    IdExtd,
    /// `FileIdFullDirectoryInformation`: file ids of 64 bits. What most file systems have.
    IdFull,
    /// `FileIdBothDirectoryInformation`: the same, and names of eight and three letters, which some make up when asked.
    IdBoth,
    /// `FileFullDirectoryInformation`: no file ids.
    Full,
    /// `FileDirectoryInformation`: neither file ids nor reparse tags. Every file system has it.
    Directory,
}

/// Where a class keeps what differs from class to class; offsets in bytes from the beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The name, to whose beginning the fixed part reaches.
    pub(super) name: usize,
    pub(super) id: Id,
    /// The reparse tag, where the attributes say that there is one.
    pub(super) tag: Option<usize>,
}

/// Where the number of the file is, if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    None,
    /// 64 bits.
    Narrow(usize),
    /// 128 bits.
    Wide(usize),
}

/// `EaSize`, which holds the tag of whatever is a reparse point: that cannot have extended attributes.
const EA_SIZE: usize = 64;

impl DirectoryClass {
    /// Every class, the one that tells most first.
    pub const ALL: [DirectoryClass; 5] = [
        DirectoryClass::IdExtd,
        DirectoryClass::IdFull,
        DirectoryClass::IdBoth,
        DirectoryClass::Full,
        DirectoryClass::Directory,
    ];

    /// Its number in `FILE_INFORMATION_CLASS`.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            DirectoryClass::IdExtd => 60,
            DirectoryClass::IdFull => 38,
            DirectoryClass::IdBoth => 37,
            DirectoryClass::Full => 2,
            DirectoryClass::Directory => 1,
        }
    }

    /// The name that Windows has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DirectoryClass::IdExtd => "FileIdExtdDirectoryInformation",
            DirectoryClass::IdFull => "FileIdFullDirectoryInformation",
            DirectoryClass::IdBoth => "FileIdBothDirectoryInformation",
            DirectoryClass::Full => "FileFullDirectoryInformation",
            DirectoryClass::Directory => "FileDirectoryInformation",
        }
    }

    /// What to try where a file system does not have this one. `IdBoth` is left out: whoever has it has `IdFull`, and
    /// without the short names, which it costs time to make.
    #[cfg(any(windows, test))]
    pub(crate) const fn next(self) -> Option<DirectoryClass> {
        match self {
            DirectoryClass::IdExtd => Some(DirectoryClass::IdFull),
            DirectoryClass::IdFull | DirectoryClass::IdBoth => Some(DirectoryClass::Full),
            DirectoryClass::Full => Some(DirectoryClass::Directory),
            DirectoryClass::Directory => None,
        }
    }

    pub(super) const fn layout(self) -> Layout {
        match self {
            DirectoryClass::IdExtd => Layout {
                name: 88,
                id: Id::Wide(72),
                tag: Some(68),
            },
            DirectoryClass::IdFull => Layout {
                name: 80,
                id: Id::Narrow(72),
                tag: Some(EA_SIZE),
            },
            DirectoryClass::IdBoth => Layout {
                name: 104,
                id: Id::Narrow(96),
                tag: Some(EA_SIZE),
            },
            DirectoryClass::Full => Layout {
                name: 68,
                id: Id::None,
                tag: Some(EA_SIZE),
            },
            DirectoryClass::Directory => Layout {
                name: 64,
                id: Id::None,
                tag: None,
            },
        }
    }
}

#[cfg(all(test, windows))]
mod tests {
    use std::mem::offset_of;

    use windows_sys::Wdk::Storage::FileSystem::{
        FILE_DIRECTORY_INFORMATION, FILE_FULL_DIR_INFORMATION, FILE_ID_BOTH_DIR_INFORMATION,
        FILE_ID_EXTD_DIR_INFORMATION, FILE_ID_FULL_DIR_INFORMATION,
    };

    use super::*;

    #[test]
    fn the_table_says_what_the_headers_say() {
        let from_headers = [
            (
                DirectoryClass::IdExtd,
                offset_of!(FILE_ID_EXTD_DIR_INFORMATION, FileName),
                Id::Wide(offset_of!(FILE_ID_EXTD_DIR_INFORMATION, FileId)),
                Some(offset_of!(FILE_ID_EXTD_DIR_INFORMATION, ReparsePointTag)),
            ),
            (
                DirectoryClass::IdFull,
                offset_of!(FILE_ID_FULL_DIR_INFORMATION, FileName),
                Id::Narrow(offset_of!(FILE_ID_FULL_DIR_INFORMATION, FileId)),
                Some(offset_of!(FILE_ID_FULL_DIR_INFORMATION, EaSize)),
            ),
            (
                DirectoryClass::IdBoth,
                offset_of!(FILE_ID_BOTH_DIR_INFORMATION, FileName),
                Id::Narrow(offset_of!(FILE_ID_BOTH_DIR_INFORMATION, FileId)),
                Some(offset_of!(FILE_ID_BOTH_DIR_INFORMATION, EaSize)),
            ),
            (
                DirectoryClass::Full,
                offset_of!(FILE_FULL_DIR_INFORMATION, FileName),
                Id::None,
                Some(offset_of!(FILE_FULL_DIR_INFORMATION, EaSize)),
            ),
            (
                DirectoryClass::Directory,
                offset_of!(FILE_DIRECTORY_INFORMATION, FileName),
                Id::None,
                None,
            ),
        ];
        for (class, name, id, tag) in from_headers {
            assert_eq!(class.layout(), Layout { name, id, tag }, "{class:?}");
        }
    }
}
