//! What a system call tells about an entry.
//!
//! One plain struct for every backend, and a mask of the fields in it that were really filled: file
//! systems leave fields out, and a zero that nobody gave must never look like an answer. Fields
//! outside the mask are zero inside, so that equality needs no mask.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

bitflags::bitflags! {
    /// A set of metadata fields: the ones to fetch, or the ones that were filled.
    // The first 13 bits are those of the mask of `statx(2)`, so that translating costs an AND;
    // `statx.rs` asserts it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Fields: u32 {
        /// The kind of the entry.
        const KIND = 1 << 0;
        /// The permission bits.
        const MODE = 1 << 1;
        /// The number of hard links.
        const NLINK = 1 << 2;
        /// The owner.
        const UID = 1 << 3;
        /// The group.
        const GID = 1 << 4;
        /// The last access.
        const ACCESSED = 1 << 5;
        /// The last change of the contents.
        const MODIFIED = 1 << 6;
        /// The last change of the inode.
        const CHANGED = 1 << 7;
        /// The file's number in its file system.
        const INODE = 1 << 8;
        /// The size in bytes.
        const SIZE = 1 << 9;
        /// The space taken, in bytes.
        const ALLOCATED = 1 << 10;
        /// The creation.
        const BORN = 1 << 11;
        /// The mount that the entry is on, as `/proc/self/mountinfo` numbers it.
        const MOUNT_ID = 1 << 12;
        /// The device of the file system.
        const DEVICE = 1 << 16;
        /// The device that a device file stands for.
        const RDEV = 1 << 17;
        /// The attribute bits of `statx(2)`.
        const ATTRIBUTES = 1 << 18;

        /// What `stat(2)` gives on every Unix.
        const BASIC = ((1 << 11) - 1) | Self::DEVICE.bits() | Self::RDEV.bits();
        /// Everything.
        const ALL = ((1 << 13) - 1)
            | Self::DEVICE.bits() | Self::RDEV.bits() | Self::ATTRIBUTES.bits();
    }
}

/// The names that users give to single fields.
const FIELD_NAMES: [(&str, Fields); 16] = [
    ("kind", Fields::KIND),
    ("mode", Fields::MODE),
    ("uid", Fields::UID),
    ("gid", Fields::GID),
    ("size", Fields::SIZE),
    ("allocated", Fields::ALLOCATED),
    ("nlink", Fields::NLINK),
    ("inode", Fields::INODE),
    ("device", Fields::DEVICE),
    ("rdev", Fields::RDEV),
    ("atime", Fields::ACCESSED),
    ("mtime", Fields::MODIFIED),
    ("ctime", Fields::CHANGED),
    ("btime", Fields::BORN),
    ("attributes", Fields::ATTRIBUTES),
    ("mount_id", Fields::MOUNT_ID),
];

impl Fields {
    /// The field that a user calls `name` (`"size"`, `"mtime"`, …).
    #[must_use]
    pub fn from_field_name(name: &str) -> Option<Fields> {
        FIELD_NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }

    /// The names of the fields in this set, as users write them, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FIELD_NAMES
            .iter()
            .filter(move |(_, field)| self.contains(*field))
            .map(|(name, _)| *name)
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// Something that this crate has no name for, such as a whiteout or a Solaris door.
    Other,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Kind; 8] = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::BlockDevice,
        Kind::CharDevice,
        Kind::Other,
    ];

    /// The kind's name in configurations and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::BlockDevice => "block_device",
            Kind::CharDevice => "char_device",
            Kind::Other => "other",
        }
    }

    /// The kind in the upper bits of a Unix mode (`S_IFMT`; the values are the same on every Unix).
    #[must_use]
    pub const fn from_mode(mode: u32) -> Kind {
        match mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink,
            0o010_000 => Kind::Fifo,
            0o140_000 => Kind::Socket,
            0o060_000 => Kind::BlockDevice,
            0o020_000 => Kind::CharDevice,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.into()))
    }
}

/// A text that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of entry is called \"{}\"", .0.escape_default())]
pub struct UnknownKind(String);

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

/// A point in time, to the nanosecond, in the whole range that file systems have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, also when those are negative. Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_nanoseconds(self) -> i128 {
        self.seconds as i128 * 1_000_000_000 + self.nanoseconds as i128
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        // A `SystemTime` is an `i64` of seconds at most, on every system.
        let seconds =
            |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp {
                seconds: seconds(after),
                nanoseconds: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Timestamp {
                        seconds: -seconds(before),
                        nanoseconds: 0,
                    },
                    nanoseconds => Timestamp {
                        seconds: -seconds(before) - 1,
                        nanoseconds: 1_000_000_000 - nanoseconds,
                    },
                }
            }
        }
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
        /// The device of the file system, encoded as `std::os::unix::fs::MetadataExt::dev` has it.
        device, set_device: u64 = DEVICE;
        /// The device that a block or character device file stands for, encoded as
        /// `MetadataExt::rdev` has it.
        rdev, set_rdev: u64 = RDEV;
        /// The attribute bits of `statx(2)` (`STATX_ATTR_*`). Bits that the file system does not
        /// support are 0.
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
    use std::time::Duration;

    #[test]
    fn every_field_has_exactly_one_name() {
        let mut all = Fields::empty();
        for name in Fields::ALL.names() {
            let field = Fields::from_field_name(name).unwrap();
            assert!(!all.intersects(field), "{name} is named twice");
            all |= field;
        }
        assert_eq!(all, Fields::ALL);
        assert_eq!(Fields::from_field_name("SIZE"), None);
    }

    #[test]
    fn kinds_round_trip_through_their_names() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!(
            "dir\n".parse::<Kind>().unwrap_err().to_string(),
            r#"no kind of entry is called "dir\n""#
        );
    }

    #[test]
    fn times_before_the_epoch_keep_their_nanoseconds_positive() {
        let before = Timestamp::from(UNIX_EPOCH - Duration::new(1, 250_000_000));
        assert_eq!(
            before,
            Timestamp {
                seconds: -2,
                nanoseconds: 750_000_000
            }
        );
        assert_eq!(before.as_nanoseconds(), -1_250_000_000);
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_secs(3)),
            Timestamp {
                seconds: -3,
                nanoseconds: 0
            }
        );
        assert!(before < Timestamp::default());
    }

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
    fn file_ids_keep_all_bits() {
        let id = u128::from(u64::MAX) << 32 | 7;
        assert_eq!(FileId::from(id).as_u128(), id);
        assert_eq!(FileId::from(id).to_string(), id.to_string());
        assert!(FileId::from(u128::from(u64::MAX) + 1) > FileId::from(u64::MAX));
    }
}
