//! The records that getdents64 writes, read as plain bytes.
//!
//! The kernel is trusted for sense but not for memory: a record that does not fit ends the listing instead of reading past it.

/// Offsets inside `struct linux_dirent64`: inode (8), position (8), record length (2), type (1), then the name.
const LENGTH_AT: usize = 16;
const TYPE_AT: usize = 18;
const NAME_AT: usize = 19;

/// One name of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dirent {
    pub(super) inode: u64,
    pub(super) kind: Kind,
    /// Where the name starts in the bytes that were parsed. It ends with a zero byte.
    pub(super) name_at: usize,
}

/// What a name stands for, as far as descending is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Other,
    /// The file system does not say; statx does.
    Unknown,
}

/// The records in `bytes`, without `.` and `..`.
pub(super) fn parse(bytes: &[u8]) -> impl Iterator<Item = Dirent> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at;
            let record = bytes.get(start..)?;
            let header = record.first_chunk::<NAME_AT>()?;
            let length = usize::from(u16::from_ne_bytes([
                header[LENGTH_AT],
                header[LENGTH_AT + 1],
            ]));
            let name = record.get(NAME_AT..length)?;
            at = start + length;
            if name.starts_with(b".\0") || name.starts_with(b"..\0") {
                continue;
            }
            let [i0, i1, i2, i3, i4, i5, i6, i7, ..] = *header;
            let kind = match header[TYPE_AT] {
                libc::DT_DIR => Kind::Directory,
                libc::DT_UNKNOWN => Kind::Unknown,
                _ => Kind::Other,
            };
            let inode = u64::from_ne_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
            return Some(Dirent {
                inode,
                kind,
                name_at: start + NAME_AT,
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inode: u64, kind: u8, name: &[u8]) -> Vec<u8> {
        let length = (NAME_AT + name.len() + 1).next_multiple_of(8);
        let mut bytes = Vec::new();
        bytes.extend(inode.to_ne_bytes());
        bytes.extend(0_u64.to_ne_bytes());
        bytes.extend((length as u16).to_ne_bytes());
        bytes.push(kind);
        bytes.extend(name);
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn the_dots_are_left_out_and_names_that_start_with_them_are_not() {
        let names: [&[u8]; 5] = [b".", b"..", b".a", b"..a", b"..."];
        let bytes: Vec<u8> = names
            .iter()
            .flat_map(|name| record(7, libc::DT_REG, name))
            .collect();
        let found: Vec<&[u8]> = parse(&bytes)
            .map(|entry| {
                bytes[entry.name_at..]
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap()
            })
            .collect();
        assert_eq!(found, [b".a".as_slice(), b"..a", b"..."]);
    }

    #[test]
    fn kinds_and_inodes_are_read() {
        let mut bytes = record(1, libc::DT_DIR, b"d");
        bytes.extend(record(u64::MAX, libc::DT_LNK, b"\xff\xfe"));
        bytes.extend(record(3, libc::DT_UNKNOWN, b"u"));
        let found: Vec<_> = parse(&bytes)
            .map(|entry| (entry.inode, entry.kind))
            .collect();
        assert_eq!(
            found,
            [
                (1, Kind::Directory),
                (u64::MAX, Kind::Other),
                (3, Kind::Unknown)
            ]
        );
    }

    #[test]
    fn a_record_that_is_cut_off_ends_the_listing() {
        let mut bytes = record(1, libc::DT_REG, b"whole");
        let second = record(2, libc::DT_REG, b"cut off somewhere");
        for kept in 0..second.len() {
            bytes.truncate(32);
            bytes.extend(&second[..kept]);
            assert_eq!(parse(&bytes).count(), 1, "{kept} bytes kept");
        }
    }

    #[test]
    fn a_record_of_no_length_ends_the_listing() {
        assert_eq!(parse(&[0; 64]).count(), 0);
    }
}
