//! What it costs to take an entry out of what `getdents64(2)` fills a buffer with.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use statline_benches::random::Random;
use statline_benches::tree::name;
use statline_platform::{Entries, parse_dirents};

/// As large as the buffers that statline reads directories with.
const BUFFER: usize = 64 * 1024;

pub(crate) fn measure(criterion: &mut Criterion) {
    let (buffer, count) = buffer();
    let mut entries = Entries::default();
    let mut group = criterion.benchmark_group("getdents");
    crate::per_item::measure(&mut group, "parse", count, || {
        entries.clear();
        let start = Instant::now();
        let position = parse_dirents(black_box(&buffer), &mut entries);
        let elapsed = start.elapsed();
        assert!(position.is_ok() && entries.len() == count);
        elapsed
    });
}

/// A full buffer of one directory, with `.` and `..`, and how many entries there are besides.
fn buffer() -> (Vec<u8>, usize) {
    const DIRECTORY: u8 = 4;
    const FILE: u8 = 8;
    let mut random = Random::new(1, 0);
    let mut buffer = Vec::with_capacity(BUFFER);
    push(&mut buffer, b".", DIRECTORY);
    push(&mut buffer, b"..", DIRECTORY);
    let mut count = 0;
    while push(&mut buffer, &name::file(&mut random, count as u64), FILE) {
        count += 1;
    }
    (buffer, count)
}

/// Appends a `struct linux_dirent64` as the kernel lays it out, if there is room.
fn push(buffer: &mut Vec<u8>, name: &[u8], d_type: u8) -> bool {
    const HEADER: usize = 19;
    let start = buffer.len();
    let length = (HEADER + name.len() + 1).next_multiple_of(8);
    if start + length > BUFFER {
        return false;
    }
    // The inode number and the place of the next record: any will do.
    buffer.extend((start as u64).to_ne_bytes());
    buffer.extend((start as i64).to_ne_bytes());
    let record_length = u16::try_from(length).expect("a name has at most 255 bytes");
    buffer.extend(record_length.to_ne_bytes());
    buffer.push(d_type);
    buffer.extend(name);
    buffer.resize(start + length, 0);
    true
}
