//! The records that `getdents64(2)` fills a buffer with.
//!
//! Bytes in, entries out: no system call, so it compiles and is tested on every system. The buffer
//! comes from the kernel, but names in it come from file systems that anyone may write, so no
//! length in it is believed.

use crate::{Entries, Kind};

// include/linux/dirent.h:
// struct linux_dirent64 {
//     u64 d_ino; s64 d_off; unsigned short d_reclen; unsigned char d_type; char d_name[];
// }
const INODE: usize = 0;
const POSITION: usize = 8;
const RECORD_LENGTH: usize = 16;
const TYPE: usize = 18;
const NAME: usize = 19;

/// Appends the entries in `buffer`, a result of `getdents64(2)`, without `.` and `..`.
///
/// Returns where the last record says that the next one is (an opaque number), or `None` if there
/// was no record.
///
/// # Errors
/// [`DirentError`] at the first record that breaks the format, which includes a name that is empty
/// or holds a slash: as a name it would lead elsewhere. The entries before it are appended.
pub fn parse_dirents(buffer: &[u8], out: &mut Entries) -> Result<Option<i64>, DirentError> {
    let mut position = None;
    let mut offset = 0;
    while offset < buffer.len() {
        let malformed = DirentError { offset };
        let rest = &buffer[offset..];
        let header: &[u8; NAME] = rest.first_chunk().ok_or(malformed)?;
        let length = usize::from(u16::from_ne_bytes(field(header, RECORD_LENGTH)));
        let name = rest.get(NAME..length).and_then(name_in).ok_or(malformed)?;
        if name != b".\0" && name != b"..\0" {
            let kind = kind_of_type(header[TYPE]);
            out.push_terminated(name, kind, u64::from_ne_bytes(field(header, INODE)));
        }
        position = Some(i64::from_ne_bytes(field(header, POSITION)));
        offset += length;
    }
    Ok(position)
}

fn field<const N: usize>(header: &[u8; NAME], at: usize) -> [u8; N] {
    std::array::from_fn(|index| header[at + index])
}

/// The name at the start of `bytes`, with its NUL.
#[inline]
fn name_in(bytes: &[u8]) -> Option<&[u8]> {
    let end = end_of_name(bytes)?;
    (bytes[end] == 0 && end > 0).then(|| &bytes[..=end])
}

/// Where the first NUL or slash is. Names are short, and every one passes here: eight bytes at a time.
#[inline]
fn end_of_name(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::MAX / 0xFF;
    const SLASHES: u64 = LOW * b'/' as u64;
    // The highest bit of a byte that is zero, and perhaps of bytes above that one.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & (LOW << 7);
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word) | zeros(word ^ SLASHES);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let end = rest.iter().position(|&byte| byte == 0 || byte == b'/');
    end.map(|end| words.len() * 8 + end)
}

/// The kind for a `d_type`; `None` for `DT_UNKNOWN`, which many file systems give for everything.
pub(crate) const fn kind_of_type(d_type: u8) -> Option<Kind> {
    match d_type {
        0 => None,
        // `DTTOIF`: a type is the upper four bits of a mode.
        1..16 => Some(Kind::from_mode((d_type as u32) << 12)),
        _ => Some(Kind::Other),
    }
}

/// A record that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed directory record at offset {offset}")]
pub struct DirentError {
    /// Where in the buffer the record starts, in bytes.
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &[u8], d_type: u8, inode: u64, position: i64) -> Vec<u8> {
        let length = (NAME + name.len() + 1).next_multiple_of(8);
        let mut record = Vec::new();
        record.extend(inode.to_ne_bytes());
        record.extend(position.to_ne_bytes());
        record.extend(u16::try_from(length).unwrap().to_ne_bytes());
        record.push(d_type);
        record.extend(name);
        record.push(0);
        // The kernel leaves what was in the padding before.
        record.resize(length, b'/');
        record
    }

    fn any_name() -> impl Strategy<Value = Vec<u8>> {
        let byte = any::<u8>().prop_filter("ends a name", |byte| *byte != 0 && *byte != b'/');
        prop::collection::vec(byte, 1..256)
    }

    fn names(entries: &Entries) -> Vec<&[u8]> {
        (0..entries.len())
            .map(|index| entries.name(index).as_bytes())
            .collect()
    }

    #[test]
    fn an_unknown_type_is_no_kind() {
        let mut entries = Entries::default();
        let buffer = [
            record(b"unknown", 0, 5, 1),
            record(b"link", 10, 6, 2),
            record(b"whiteout", 14, 7, 3),
        ];
        assert_eq!(parse_dirents(&buffer.concat(), &mut entries), Ok(Some(3)));
        assert_eq!(names(&entries), [&b"unknown"[..], b"link", b"whiteout"]);
        assert_eq!(
            [0, 1, 2].map(|i| entries.kind(i)),
            [None, Some(Kind::Symlink), Some(Kind::Other)]
        );
        assert_eq!(entries.inode_hint(1), 6);
    }

    #[test]
    fn the_directory_and_its_parent_are_not_among_the_entries() {
        let mut entries = Entries::default();
        let all: [&[u8]; 5] = [b".", b"..", b"...", b".a", b"..a"];
        let buffer: Vec<u8> = all.iter().flat_map(|name| record(name, 4, 1, 9)).collect();
        assert_eq!(parse_dirents(&buffer, &mut entries), Ok(Some(9)));
        assert_eq!(names(&entries), all[2..]);
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused_after_what_came_before() {
        for bad in [&b"../up"[..], b"/etc", b"a/b", b""] {
            let good = record(b"good", 8, 1, 1);
            let mut entries = Entries::default();
            let result =
                parse_dirents(&[good.clone(), record(bad, 8, 2, 2)].concat(), &mut entries);
            assert_eq!(
                result,
                Err(DirentError { offset: good.len() }),
                "{}",
                bad.escape_ascii()
            );
            assert_eq!(names(&entries), [b"good"]);
        }
    }

    #[test]
    fn a_record_without_length_ends_the_parsing() {
        let mut bad = record(b"name", 8, 1, 1);
        bad[RECORD_LENGTH..TYPE].fill(0);
        assert_eq!(
            parse_dirents(&bad, &mut Entries::default()),
            Err(DirentError { offset: 0 })
        );
    }

    proptest! {
        // A panic, so also a read out of bounds, fails these: the parser has no `unsafe`.
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_dirents(&bytes, &mut Entries::default());
        }

        #[test]
        fn well_formed_records_round_trip_and_cut_ones_never_invent_a_name(
            rows in prop::collection::vec((any_name(), 0u8..20, any::<u64>()), 0..12),
            cut in any::<prop::sample::Index>(),
            damage in any::<Option<(prop::sample::Index, u8)>>(),
        ) {
            let records = rows.iter().map(|(name, kind, inode)| record(name, *kind, *inode, 4));
            let mut buffer: Vec<u8> = records.flatten().collect();
            let is_entry = |name: &[u8]| name != b"." && name != b"..";
            let expected: Vec<_> = rows.iter().filter(|row| is_entry(&row.0)).collect();
            let mut entries = Entries::default();
            let last = (!rows.is_empty()).then_some(4);
            prop_assert_eq!(parse_dirents(&buffer, &mut entries), Ok(last));
            prop_assert_eq!(entries.len(), expected.len());
            for (index, (name, kind, inode)) in expected.iter().enumerate() {
                prop_assert_eq!(entries.name(index).as_bytes(), &name[..]);
                prop_assert_eq!(entries.kind(index), kind_of_type(*kind));
                prop_assert_eq!(entries.inode_hint(index), *inode);
            }

            buffer.truncate(cut.index(buffer.len() + 1));
            let mut entries = Entries::default();
            let _ = parse_dirents(&buffer, &mut entries);
            prop_assert!(entries.len() <= expected.len());
            for (index, (name, ..)) in expected.iter().enumerate().take(entries.len()) {
                prop_assert_eq!(entries.name(index).as_bytes(), &name[..]);
            }
            if let (Some((at, byte)), false) = (damage, buffer.is_empty()) {
                let at = at.index(buffer.len());
                buffer[at] = byte;
                let _ = parse_dirents(&buffer, &mut Entries::default());
            }
        }
    }
}
