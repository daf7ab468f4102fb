//! What must hold of the parser of directory records for any bytes: it neither panics nor reads beyond them, and it finds
//! what a second parser finds, written from the format's description alone.
//!
//! Shared by the fuzz target and the test that replays its seeds.

use statline_platform::{DirentError, Entries, parse_dirents};

/// An entry as the second parser sees it.
struct Record<'a> {
    inode: u64,
    position: i64,
    length: usize,
    d_type: u8,
    name: &'a [u8],
}

/// Checks the parser on `buffer`.
pub(crate) fn dirents(buffer: &[u8]) {
    let mut entries = Entries::default();
    let result = parse_dirents(buffer, &mut entries);
    let (expected, expected_result) = parse(buffer);
    assert_eq!(result, expected_result);
    let expected: Vec<_> = (expected.iter())
        .filter(|record| record.name != b"." && record.name != b"..")
        .collect();
    assert_eq!(entries.len(), expected.len());
    for (index, record) in expected.iter().enumerate() {
        assert_eq!(entries.name(index).as_bytes(), record.name);
        assert_eq!(entries.inode_hint(index), record.inode);
        assert_eq!(entries.kind(index).is_none(), record.d_type == 0);
    }

    // Each entry is among the bytes, and takes a header, a name and its NUL of them. The kernel aligns records to eight
    // bytes; the parser does not insist.
    assert!(entries.len() * 21 <= buffer.len());

    // What is appended to leaves what was there before alone.
    let before = entries.len();
    let _ = parse_dirents(buffer, &mut entries);
    assert_eq!(entries.len(), 2 * before);
}

/// One record after the other, a field at a time.
fn parse(buffer: &[u8]) -> (Vec<Record<'_>>, Result<Option<i64>, DirentError>) {
    let mut records = Vec::new();
    let mut offset = 0;
    while offset != buffer.len() {
        let Some(record) = record(&buffer[offset..]) else {
            return (records, Err(DirentError { offset }));
        };
        offset += record.length;
        records.push(record);
    }
    let last = records.last().map(|record| record.position);
    (records, Ok(last))
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let inode = u64::from_ne_bytes(bytes.get(0..8)?.try_into().ok()?);
    let position = i64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    let length = u16::from_ne_bytes(bytes.get(16..18)?.try_into().ok()?).into();
    let d_type = *bytes.get(18)?;
    let mut name: &[u8] = &[];
    for end in 19.. {
        if end >= length {
            return None;
        }
        match *bytes.get(end)? {
            0 => break,
            b'/' => return None,
            _ => name = &bytes[19..=end],
        }
    }
    if name.is_empty() || length > bytes.len() {
        return None;
    }
    Some(Record {
        inode,
        position,
        length,
        d_type,
        name,
    })
}
