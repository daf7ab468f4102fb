//! Sets of metadata fields.
//!
//! What a stage asks for and what a file system gave are both such sets. The names are those that
//! users write in configurations and read in outputs.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
