//! What a system call tells about an entry.
//!
//! One plain struct for every backend, and a mask of the fields in it that were really filled: file
//! systems leave fields out, and a zero that nobody gave must never look like an answer. Fields
//! outside the mask are zero inside, so that equality needs no mask.

use std::fmt;

use crate::{Fields, Kind, Timestamp};

/// A file's number in its file system: 64 bits on Unix, 128 on ReFS.
// Two halves instead of a `u128`, which would align every struct that holds one to 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    high: u64,
    low: u64,
}

impl FileId {
    /// The lower 64 bits: the whole inode number on Unix.
    #[must_use]
    pub const fn low(self) -> u64 {
        self.low
    }

    /// The whole number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

impl From<u64> for FileId {
    fn from(low: u64) -> FileId {
        FileId { high: 0, low }
    }
}

impl From<u128> for FileId {
    fn from(id: u128) -> FileId {
        FileId {
            high: (id >> 64) as u64,
            low: id as u64,
        }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_u128().fmt(f)
    }
}

/// The metadata of an entry, as far as it was asked for and the file system has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Which of the values below count. The others are zero.
    fields: Fields,
    uid: u32,
    gid: u32,
    mode: u16,
    kind: Option<Kind>,
    size: u64,
    allocated: u64,
    nlink: u64,
    file_id: FileId,
    device: u64,
    rdev: u64,
    attributes: u64,
    mount_id: u64,
    /// Seconds and nanoseconds apart, which saves the padding: accessed, modified, changed, born.
    seconds: [i64; 4],
    nanoseconds: [u32; 4],
}

const _: () = assert!(size_of::<Metadata>() <= 136);

const ACCESSED: usize = 0;
const MODIFIED: usize = 1;
const CHANGED: usize = 2;
const BORN: usize = 3;

macro_rules! values {
    ($($(#[$doc:meta])* $get:ident, $set:ident: $type:ty = $field:ident;)*) => { $(
        $(#[$doc])*
        #[inline]
        #[must_use]
        pub fn $get(&self) -> Option<$type> {
            self.fields.contains(Fields::$field).then_some(self.$get)
        }

        #[doc = concat!("Fills [`Metadata::", stringify!($get), "`].")]
        #[inline]
        pub fn $set(&mut self, value: $type) -> &mut Metadata {
            self.fields |= Fields::$field;
            self.$get = value;
            self
        }
    )* };
}

macro_rules! times {
    ($($(#[$doc:meta])* $get:ident, $set:ident = $field:ident;)*) => { $(
        $(#[$doc])*
        #[inline]
        #[must_use]
        pub fn $get(&self) -> Option<Timestamp> {
            let time = Timestamp { seconds: self.seconds[$field], nanoseconds: self.nanoseconds[$field] };
            self.fields.contains(Fields::$field).then_some(time)
        }

        #[doc = concat!("Fills [`Metadata::", stringify!($get), "`].")]
        #[inline]
        pub fn $set(&mut self, time: Timestamp) -> &mut Metadata {
            self.fields |= Fields::$field;
            self.seconds[$field] = time.seconds;
            self.nanoseconds[$field] = time.nanoseconds;
            self
        }
    )* };
}

impl Metadata {
    /// Metadata of which only the kind is known.
    #[must_use]
    pub fn with_kind(kind: Kind) -> Metadata {
        Metadata {
            fields: Fields::KIND,
            kind: Some(kind),
            ..Metadata::default()
        }
    }

    /// The fields that were really filled.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// Forgets all but these fields.
    #[inline]
    pub fn keep(&mut self, fields: Fields) {
        let gone = self.fields - fields;
        if !gone.is_empty() {
            self.forget(gone);
        }
    }

    // A test for each field: a loop over those that are set takes ten times as long, and this is called for every
    // directory.
    fn forget(&mut self, gone: Fields) {
        self.fields -= gone;
        if gone.contains(Fields::KIND) {
            self.kind = None;
        }
        if gone.contains(Fields::MODE) {
            self.mode = 0;
        }
        if gone.contains(Fields::INODE) {
            self.file_id = FileId::default();
        }
        for (value, field) in [(&mut self.uid, Fields::UID), (&mut self.gid, Fields::GID)] {
            if gone.contains(field) {
                *value = 0;
            }
        }
        for (value, field) in [
            (&mut self.size, Fields::SIZE),
            (&mut self.allocated, Fields::ALLOCATED),
            (&mut self.nlink, Fields::NLINK),
            (&mut self.device, Fields::DEVICE),
            (&mut self.rdev, Fields::RDEV),
            (&mut self.attributes, Fields::ATTRIBUTES),
            (&mut self.mount_id, Fields::MOUNT_ID),
        ] {
            if gone.contains(field) {
                *value = 0;
            }
        }
        for (time, field) in [
            (ACCESSED, Fields::ACCESSED),
            (MODIFIED, Fields::MODIFIED),
            (CHANGED, Fields::CHANGED),
            (BORN, Fields::BORN),
        ] {
            if gone.contains(field) {
                (self.seconds[time], self.nanoseconds[time]) = (0, 0);
            }
        }
    }

    /// What the entry is.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Fills [`Metadata::kind`].
    #[inline]
    pub fn set_kind(&mut self, kind: Kind) -> &mut Metadata {
        self.fields |= Fields::KIND;
        self.kind = Some(kind);
        self
    }

    /// The permission bits, with set-user-id, set-group-id and sticky: at most `0o7777`.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> Option<u32> {
        self.fields
            .contains(Fields::MODE)
            .then_some(u32::from(self.mode))
    }

    /// Fills [`Metadata::mode`] from a Unix mode; the bits of the kind are ignored.
    #[inline]
    pub fn set_mode(&mut self, mode: u32) -> &mut Metadata {
        self.fields |= Fields::MODE;
        self.mode = (mode & 0o7777) as u16;
        self
    }

    values! {
        /// The user id of the owner.
        uid, set_uid: u32 = UID;
        /// The group id.
        gid, set_gid: u32 = GID;
        /// The size in bytes; the length of the target for a symbolic link.
        size, set_size: u64 = SIZE;
        /// The space taken in bytes: 512 times what the system counts as blocks. Smaller than the
        /// size for sparse files.
        allocated, set_allocated: u64 = ALLOCATED;
        /// The number of hard links.
        nlink, set_nlink: u64 = NLINK;
        /// The number of the file in its file system. Together with the device it identifies the
        /// file.
        file_id, set_file_id: FileId = INODE;
        /// The device of the file system, encoded as `std::os::unix::fs::MetadataExt::dev` has it; the
        /// serial number of the volume on Windows.
        device, set_device: u64 = DEVICE;
        /// The device that a block or character device file stands for, encoded as
        /// `MetadataExt::rdev` has it.
        rdev, set_rdev: u64 = RDEV;
        /// The attribute bits of `statx(2)` (`STATX_ATTR_*`); those of Windows there
        /// (`FILE_ATTRIBUTE_*`). Bits that the file system does not support are 0.
        attributes, set_attributes: u64 = ATTRIBUTES;
        /// The mount that the entry is on, as `/proc/self/mountinfo` numbers it.
        mount_id, set_mount_id: u64 = MOUNT_ID;
    }

    times! {
        /// The last access to the contents. Most mounts update it rarely.
        accessed, set_accessed = ACCESSED;
        /// The last change of the contents.
        modified, set_modified = MODIFIED;
        /// The last change of the inode: contents, owner, mode, links.
        changed, set_changed = CHANGED;
        /// The creation.
        born, set_born = BORN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_filled_is_no_answer() {
        let mut metadata = Metadata::with_kind(Kind::File);
        assert_eq!(
            (metadata.size(), metadata.mode(), metadata.born()),
            (None, None, None)
        );
        metadata.set_size(0).set_mode(0o100_644);
        assert_eq!((metadata.size(), metadata.mode()), (Some(0), Some(0o644)));
        assert_eq!(
            metadata.fields(),
            Fields::KIND | Fields::SIZE | Fields::MODE
        );
    }

    #[test]
    fn what_is_not_kept_is_as_if_it_had_never_been_filled() {
        let time = |seconds| Timestamp {
            seconds,
            nanoseconds: 7,
        };
        let mut all = Metadata::with_kind(Kind::File);
        all.set_mode(1)
            .set_uid(2)
            .set_gid(3)
            .set_nlink(4)
            .set_size(5);
        all.set_allocated(6)
            .set_file_id(7u64.into())
            .set_device(8)
            .set_rdev(9);
        all.set_attributes(10)
            .set_mount_id(11)
            .set_accessed(time(12));
        all.set_modified(time(13))
            .set_changed(time(14))
            .set_born(time(15));
        assert_eq!(all.fields(), Fields::ALL);
        for field in Fields::ALL {
            let mut without = all.clone();
            without.keep(Fields::ALL - field);
            assert_eq!(without.fields(), Fields::ALL - field);
            let mut only = all.clone();
            only.keep(field);
            // Equality looks at what is inside, too.
            only.keep(Fields::empty());
            assert_eq!(only, Metadata::default());
        }
        let mut size = Metadata::default();
        size.set_size(5);
        all.keep(Fields::SIZE);
        assert_eq!(all, size);
    }

    #[test]
    fn file_ids_keep_all_bits() {
        let id = u128::from(u64::MAX) << 32 | 7;
        assert_eq!(FileId::from(id).as_u128(), id);
        assert_eq!(FileId::from(id).to_string(), id.to_string());
        assert!(FileId::from(u128::from(u64::MAX) + 1) > FileId::from(u64::MAX));
    }
}
