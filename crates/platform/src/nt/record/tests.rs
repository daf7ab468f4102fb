use proptest::prelude::*;

use super::*;
use crate::nt::fixtures::{Row, buffer};
use crate::{Fields, Timestamp};

const DIRECTORY: u32 = ATTRIBUTE_DIRECTORY;
const REPARSE: u32 = ATTRIBUTE_REPARSE_POINT;

fn names(entries: &Entries) -> Vec<&[u8]> {
    (0..entries.len())
        .map(|index| entries.name(index).as_bytes())
        .collect()
}

fn parsed(class: DirectoryClass, bytes: &[u8]) -> (Entries, Result<usize, RecordError>) {
    let mut entries = Entries::default();
    let result = parse_records(class, bytes, Some(9), &mut entries);
    (entries, result)
}

#[test]
fn each_class_tells_the_same_of_an_entry_as_far_as_it_tells() {
    let row = Row {
        times: [
            116_444_736_000_000_000,
            116_444_736_000_000_001,
            116_444_735_999_999_999,
            0,
        ],
        size: 5 << 40,
        allocated: 3 << 30,
        attributes: 0x21,
        id: 0x1234_5678_9ABC_DEF0,
        ..Row::named("Größe.txt")
    };
    for class in DirectoryClass::ALL {
        let (entries, result) = parsed(class, &buffer(class, std::slice::from_ref(&row)));
        assert_eq!(result, Ok(1));
        assert_eq!(names(&entries), ["Größe.txt".as_bytes()]);
        let metadata = entries.metadata(0).unwrap();
        let second = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds,
        };
        assert_eq!(metadata.kind(), Some(Kind::File));
        assert_eq!(entries.kind(0), Some(Kind::File));
        assert_eq!(metadata.size(), Some(5 << 40));
        assert_eq!(metadata.allocated(), Some(3 << 30));
        assert_eq!(metadata.attributes(), Some(0x21));
        assert_eq!(metadata.born(), Some(second(0, 0)));
        assert_eq!(metadata.accessed(), Some(second(0, 100)));
        assert_eq!(metadata.modified(), Some(second(-1, 999_999_900)));
        assert_eq!(metadata.device(), Some(9));
        let has_id = !matches!(class, DirectoryClass::Full | DirectoryClass::Directory);
        let id = has_id.then(|| FileId::from(0x1234_5678_9ABC_DEF0_u64));
        assert_eq!(metadata.file_id(), id, "{class:?}");
        let absent = Fields::MODE
            | Fields::UID
            | Fields::GID
            | Fields::NLINK
            | Fields::RDEV
            | Fields::MOUNT_ID
            // Not kept, so the record says 0.
            | Fields::CHANGED;
        assert!(!metadata.fields().intersects(absent), "{class:?}");
    }
}

#[test]
fn ids_of_128_bits_are_kept_whole() {
    let row = Row {
        id: u128::MAX - 1,
        ..Row::named("refs")
    };
    let class = DirectoryClass::IdExtd;
    let (entries, _) = parsed(class, &buffer(class, &[row]));
    let metadata = entries.metadata(0).unwrap();
    assert_eq!(metadata.file_id(), Some(FileId::from(u128::MAX - 1)));
}

#[test]
fn numbers_that_mean_none_are_absent_and_with_them_the_volume() {
    for (class, ids) in [
        (DirectoryClass::IdExtd, [0, u128::MAX]),
        (DirectoryClass::IdFull, [0, u128::from(u64::MAX)]),
        (DirectoryClass::IdBoth, [0, u128::from(u64::MAX)]),
    ] {
        for id in ids {
            let row = Row {
                id,
                ..Row::named("mounted")
            };
            let (entries, _) = parsed(class, &buffer(class, &[row]));
            let metadata = entries.metadata(0).unwrap();
            assert_eq!((metadata.file_id(), metadata.device()), (None, None));
        }
    }
}

#[test]
fn only_what_stands_for_another_name_is_a_link() {
    const SYMLINK: u32 = 0xA000_000C;
    const MOUNT_POINT: u32 = 0xA000_0003;
    const CLOUD: u32 = 0x9000_001A;
    const DEDUPLICATED: u32 = 0x8000_0013;
    for (attributes, tag, kind) in [
        (0x20, 0, Kind::File),
        (DIRECTORY, 0, Kind::Directory),
        (REPARSE, SYMLINK, Kind::Symlink),
        (REPARSE | DIRECTORY, SYMLINK, Kind::Symlink),
        (REPARSE | DIRECTORY, MOUNT_POINT, Kind::Symlink),
        (REPARSE | DIRECTORY, CLOUD, Kind::Directory),
        (REPARSE, DEDUPLICATED, Kind::File),
        // Nobody says what it is.
        (REPARSE | DIRECTORY, 0, Kind::Symlink),
        // No reparse point, so no tag but the size of extended attributes.
        (DIRECTORY, SYMLINK, Kind::Directory),
    ] {
        for class in DirectoryClass::ALL {
            let row = Row {
                attributes,
                tag,
                ..Row::named("x")
            };
            let (entries, _) = parsed(class, &buffer(class, &[row]));
            let is_told = class != DirectoryClass::Directory || attributes & REPARSE == 0;
            let expected = if is_told { kind } else { Kind::Symlink };
            assert_eq!(
                entries.kind(0),
                Some(expected),
                "{class:?} {attributes:x} {tag:x}"
            );
        }
    }
}

#[test]
fn the_directory_and_its_parent_are_counted_and_are_not_among_the_entries() {
    let class = DirectoryClass::IdFull;
    let rows = [".", "..", "...", ".a", "..a"].map(Row::named);
    let (entries, result) = parsed(class, &buffer(class, &rows));
    assert_eq!(result, Ok(5));
    assert_eq!(names(&entries), [&b"..."[..], b".a", b"..a"]);
}

#[test]
fn lone_surrogates_trailing_dots_and_device_names_are_names() {
    let class = DirectoryClass::IdExtd;
    let mut rows = ["dot.", "space ", "con", "nul.txt", "a:b"]
        .map(Row::named)
        .to_vec();
    rows.push(Row {
        name: vec![0x61, 0xD800],
        ..Row::named("")
    });
    let (entries, result) = parsed(class, &buffer(class, &rows));
    assert_eq!(result, Ok(6));
    let expected: [&[u8]; 6] = [
        b"dot.",
        b"space ",
        b"con",
        b"nul.txt",
        b"a:b",
        b"a\xED\xA0\x80",
    ];
    assert_eq!(names(&entries), expected);
}

#[test]
fn names_that_would_lead_elsewhere_are_refused_after_what_came_before() {
    for class in DirectoryClass::ALL {
        for bad in ["..\\up", "a/b", "a\0b", ""] {
            let rows = [Row::named("good"), Row::named(bad)];
            let bytes = buffer(class, &rows);
            let offset = bytes.len() - rows[1].record(class).len();
            let (entries, result) = parsed(class, &bytes);
            assert_eq!(result, Err(RecordError { offset }), "{bad:?}");
            assert_eq!(names(&entries), [b"good"]);
        }
    }
}

#[test]
fn a_name_longer_than_any_list_takes_is_refused() {
    let class = DirectoryClass::IdFull;
    let row = Row {
        name: vec![0x20AC; 22_000],
        ..Row::named("")
    };
    let (entries, result) = parsed(class, &buffer(class, &[row]));
    assert_eq!(result, Err(RecordError { offset: 0 }));
    assert!(entries.is_empty());
}

#[test]
fn lengths_beyond_the_record_are_refused() {
    for class in DirectoryClass::ALL {
        let rows = [Row::named("first"), Row::named("second")];
        let whole = buffer(class, &rows);
        let with = |at: usize, number: u32| {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            parsed(class, &bytes).1
        };
        let refused = Err(RecordError { offset: 0 });
        // A record that ends within its own fixed part or name, or with nothing behind it, or beyond the buffer.
        let fixed = class.layout().name as u32;
        for next in [
            1,
            63,
            fixed - 1,
            fixed + 9,
            whole.len() as u32,
            1 << 20,
            u32::MAX,
        ] {
            assert_eq!(with(NEXT, next), refused, "{class:?}: next {next}");
        }
        // A name that reaches into the next record, or ends between two bytes of a unit.
        for length in [100, 9, u32::MAX, u32::MAX - 1] {
            assert_eq!(
                with(NAME_LENGTH, length),
                refused,
                "{class:?}: length {length}"
            );
        }
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let unit = prop_oneof![8 => 0x20u16..0x7F, 1 => any::<u16>(), 1 => 0xD7F0u16..0xE010];
    let allowed = unit.prop_filter("no name", |unit| ![0, 0x2F, 0x5C].contains(unit));
    (
        prop::collection::vec(allowed, 1..40),
        any::<[i64; 4]>(),
        any::<(u64, u64, u32, u32, u128)>(),
    )
        .prop_map(
            |(name, times, (size, allocated, attributes, tag, id))| Row {
                name,
                times,
                size,
                allocated,
                attributes,
                tag,
                id,
            },
        )
}

fn any_class() -> impl Strategy<Value = DirectoryClass> {
    prop::sample::select(&DirectoryClass::ALL[..])
}

proptest! {
    // A panic, so also a read out of bounds, fails these: the parser has no `unsafe`.
    #[test]
    fn any_bytes_are_parsed_or_refused(
        class in any_class(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = parsed(class, &bytes);
    }

    #[test]
    fn well_formed_records_round_trip_and_cut_ones_never_invent_a_name(
        class in any_class(),
        rows in prop::collection::vec(any_row(), 0..12),
        cut in any::<prop::sample::Index>(),
        damage in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut bytes = buffer(class, &rows);
        let (entries, result) = parsed(class, &bytes);
        prop_assert_eq!(result, Ok(rows.len()));
        let is_entry = |row: &&Row| row.name != [0x2E] && row.name != [0x2E, 0x2E];
        let rows: Vec<&Row> = rows.iter().filter(is_entry).collect();
        prop_assert_eq!(entries.len(), rows.len());
        for (index, row) in rows.iter().enumerate() {
            let name = wtf8::decode(entries.name(index).as_bytes());
            prop_assert_eq!(name.as_ref(), Some(&row.name));
            let metadata = entries.metadata(index).unwrap();
            prop_assert_eq!(metadata.size(), Some(row.size));
            prop_assert_eq!(metadata.allocated(), Some(row.allocated));
            let times = [
                metadata.born(), metadata.accessed(), metadata.modified(), metadata.changed(),
            ];
            prop_assert_eq!(times, row.times.map(filetime::timestamp));
        }

        bytes.truncate(cut.index(bytes.len() + 1));
        let (kept, _) = parsed(class, &bytes);
        prop_assert!(kept.len() <= entries.len());
        for index in 0..kept.len() {
            prop_assert_eq!(kept.name(index).as_bytes(), entries.name(index).as_bytes());
        }
        if !bytes.is_empty() {
            let at = damage.0.index(bytes.len());
            bytes[at] = damage.1;
            let _ = parsed(class, &bytes);
        }
    }
}
