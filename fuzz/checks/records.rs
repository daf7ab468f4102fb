//! What must hold of the parser of Windows' directory records for any bytes: it neither panics nor reads beyond them, and
//! it finds what a second parser finds, written from the format's description alone.
//!
//! The first byte of an input chooses the class. Shared by the fuzz target and the test that replays its seeds.

use statline_platform::{DirectoryClass, Entries, Metadata, RecordError, parse_records};

/// An entry as the second parser sees it.
struct Record {
    name: Vec<u8>,
    created: i64,
    size: u64,
    attributes: u32,
    id: Option<u128>,
}

/// Checks the parser on `input`.
pub(crate) fn records(input: &[u8]) {
    let Some((choice, buffer)) = input.split_first() else {
        return;
    };
    let classes = DirectoryClass::ALL;
    let class = classes[usize::from(*choice) % classes.len()];
    let mut entries = Entries::default();
    let result = parse_records(class, buffer, Some(7), &mut entries);
    let (all, expected_result) = parse(class, buffer);
    assert_eq!(result, expected_result);
    let is_entry = |record: &&Record| record.name != b"." && record.name != b"..";
    let expected: Vec<_> = all.iter().filter(is_entry).collect();
    assert_eq!(entries.len(), expected.len());
    for (index, record) in expected.iter().enumerate() {
        assert_eq!(entries.name(index).as_bytes(), record.name);
        let metadata = entries.metadata(index).expect("it came with the name");
        assert_eq!(metadata.kind(), entries.kind(index));
        assert_eq!(metadata.size(), Some(record.size));
        assert_eq!(metadata.attributes(), Some(record.attributes.into()));
        let id = record.id.filter(|id| *id != 0);
        if let Some(found) = metadata.file_id() {
            assert_eq!(Some(found.as_u128()), id);
        }
        check_time(metadata, record.created);
    }

    // Each entry is among the bytes, and takes the fixed part of its class and a unit of a name of them.
    assert!(entries.len() * (64 + 2) <= buffer.len());

    // What is appended to leaves what was there before alone.
    let before = entries.len();
    let _ = parse_records(class, buffer, None, &mut entries);
    assert_eq!(entries.len(), 2 * before);
}

fn check_time(metadata: &Metadata, created: i64) {
    const FROM_1601_TO_1970: i128 = 11_644_473_600;
    let expected =
        (created != 0).then(|| i128::from(created) * 100 - FROM_1601_TO_1970 * 1_000_000_000);
    let found = metadata.born().map(|time| time.as_nanoseconds());
    assert_eq!(found, expected);
}

/// One record after the other, a field at a time.
fn parse(class: DirectoryClass, buffer: &[u8]) -> (Vec<Record>, Result<usize, RecordError>) {
    let mut records: Vec<Record> = Vec::new();
    let mut offset = 0;
    let result = loop {
        if offset == buffer.len() {
            break Ok(records.len());
        }
        let Some((record, next)) = record(class, &buffer[offset..]) else {
            break Err(RecordError { offset });
        };
        records.push(record);
        if next == 0 {
            break Ok(records.len());
        }
        offset += next;
    };
    (records, result)
}

/// The first record, and where the next one is. None if it is malformed.
fn record(class: DirectoryClass, bytes: &[u8]) -> Option<(Record, usize)> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let next = u32_at(0)? as usize;
    let length = u32_at(60)? as usize;
    let (name_at, id) = match class.number() {
        60 => (88, Some(72)),
        38 => (80, Some(72)),
        37 => (104, Some(96)),
        2 => (68, None),
        1 => (64, None),
        _ => unreachable!("there is no other"),
    };
    let end = if next == 0 { bytes.len() } else { next };
    // What follows the last record is not there; a record ends in the buffer.
    let lies_within = name_at + length <= end && (next == 0 || next < bytes.len());
    if !lies_within || length % 2 == 1 {
        return None;
    }
    let mut name = Vec::new();
    let mut at = name_at;
    while at < name_at + length {
        let unit = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let first = u32::from(unit(at));
        at += 2;
        let mut code = first;
        if (0xD800..0xDC00).contains(&first) && at < name_at + length {
            let second = u32::from(unit(at));
            if (0xDC00..0xE000).contains(&second) {
                code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                at += 2;
            }
        }
        match code {
            0 | 0x2F | 0x5C => return None,
            0..0x80 => name.push(code as u8),
            0x80..0x800 => {
                name.extend([0xC0 | code >> 6, 0x80 | code & 0x3F].map(|byte| byte as u8))
            }
            0x800..0x10000 => name.extend(
                [
                    0xE0 | code >> 12,
                    0x80 | code >> 6 & 0x3F,
                    0x80 | code & 0x3F,
                ]
                .map(|byte| byte as u8),
            ),
            _ => name.extend(
                [
                    0xF0 | code >> 18,
                    0x80 | code >> 12 & 0x3F,
                    0x80 | code >> 6 & 0x3F,
                    0x80 | code & 0x3F,
                ]
                .map(|byte| byte as u8),
            ),
        }
    }
    if name.is_empty() || name.len() > 65_535 {
        return None;
    }
    let id = match (id, class.number()) {
        (Some(at), 60) => Some(u128::from(u64_at(at)?) | u128::from(u64_at(at + 8)?) << 64),
        (Some(at), _) => Some(u64_at(at)?.into()),
        (None, _) => None,
    };
    let record = Record {
        name,
        created: u64_at(8)?.cast_signed(),
        size: u64_at(40)?,
        attributes: u32_at(56)?,
        id,
    };
    Some((record, next))
}
