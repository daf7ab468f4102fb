//! The records that `NtQueryDirectoryFile` fills a buffer with.
//!
//! Bytes in, entries with their metadata out: no system call, so it compiles, is tested and fuzzed on every system. One
//! thing must stay true: no length or offset in the buffer is believed, because file systems of anybody fill it.
//!
//! A record is a fixed part, the same up to byte 64 in every class, and a name behind it. Records are 8-byte aligned as a
//! rule; the parser does not insist. Source: [MS-FSCC] 2.4.

use super::class::{DirectoryClass, Id};
use super::{filetime, wtf8};
use crate::{Entries, FileId, Kind, Metadata};

/// From this record to the next, 0 in the last one.
const NEXT: usize = 0;
const CREATED: usize = 8;
const ACCESSED: usize = 16;
const WRITTEN: usize = 24;
const CHANGED: usize = 32;
const SIZE: usize = 40;
const ALLOCATED: usize = 48;
const ATTRIBUTES: usize = 56;
/// Of the name, in bytes.
const NAME_LENGTH: usize = 60;
/// Up to here all classes are the same.
const COMMON: usize = 64;

pub(crate) const ATTRIBUTE_DIRECTORY: u32 = 0x10;
pub(crate) const ATTRIBUTE_REPARSE_POINT: u32 = 0x400;

/// What a reparse tag has set that stands for another name: symbolic links, junctions, mounted volumes.
const NAME_SURROGATE: u32 = 0x2000_0000;

/// The longest name that [`Entries`] take, in bytes. Windows has none that comes near.
const LONGEST_NAME: usize = u16::MAX as usize;

/// Appends the entries in `buffer`, an answer of `NtQueryDirectoryFile` for `class`, each with its metadata, without `.`
/// and `..`. They are on the volume with the number `volume`, if that is known.
///
/// Returns how many records there were, those two included.
///
/// # Errors
/// [`RecordError`] at the first record that breaks the format, which includes a name that is empty or holds a separator
/// or a NUL: as a name it would lead elsewhere. The entries before it are appended.
pub fn parse_records(
    class: DirectoryClass,
    buffer: &[u8],
    volume: Option<u64>,
    out: &mut Entries,
) -> Result<usize, RecordError> {
    let mut name = Vec::new();
    let mut records = 0;
    let mut offset = 0;
    while offset < buffer.len() {
        let malformed = RecordError { offset };
        let record = Record::at(&buffer[offset..], class).ok_or(malformed)?;
        name.clear();
        wtf8::encode(record.name, &mut name);
        if !is_name(&name) {
            return Err(malformed);
        }
        records += 1;
        if name != b"." && name != b".." {
            out.push_with_metadata(&name, record.metadata(class, volume));
        }
        match record.next {
            0 => break,
            next => offset += next,
        }
    }
    Ok(records)
}

/// Whether a name is one component and fits.
fn is_name(name: &[u8]) -> bool {
    let leads_elsewhere = |byte: &u8| matches!(byte, b'/' | b'\\' | 0);
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.iter().any(leads_elsewhere)
}

/// What an entry is, by its attributes and its reparse tag.
///
/// A reparse point is a link only if its tag stands for another name: what is compressed, deduplicated or kept in a cloud
/// is an ordinary entry. Where there is an attribute and no tag, which some classes and Wine do, it may lead anywhere.
pub(crate) fn kind(attributes: u32, tag: u32) -> Kind {
    let is_link = attributes & ATTRIBUTE_REPARSE_POINT != 0 && (tag == 0 || is_surrogate(tag));
    match () {
        () if is_link => Kind::Symlink,
        () if attributes & ATTRIBUTE_DIRECTORY != 0 => Kind::Directory,
        () => Kind::File,
    }
}

pub(crate) const fn is_surrogate(tag: u32) -> bool {
    tag & NAME_SURROGATE != 0
}

/// A file's number; `None` for those that say that there is none.
pub(crate) fn file_id(id: u128, width: u32) -> Option<FileId> {
    let all_ones = u128::MAX >> (128 - width);
    (id != 0 && id != all_ones).then(|| FileId::from(id))
}

/// One record, its parts found to be within the buffer.
struct Record<'a> {
    /// At least as long as the fixed part of its class.
    bytes: &'a [u8],
    /// In UTF-16.
    name: &'a [u8],
    next: usize,
}

impl<'a> Record<'a> {
    fn at(rest: &'a [u8], class: DirectoryClass) -> Option<Record<'a>> {
        let next = number(rest.get(..COMMON)?, NEXT);
        let length = usize::try_from(number(rest, NAME_LENGTH)).ok()?;
        let next = usize::try_from(next).ok()?;
        let bytes = match next {
            0 => rest,
            next => rest.get(..next)?,
        };
        // A record that another is to follow, and none does.
        if next == rest.len() {
            return None;
        }
        let begin = class.layout().name;
        let name = bytes.get(begin..begin.checked_add(length)?)?;
        length
            .is_multiple_of(2)
            .then_some(Record { bytes, name, next })
    }

    fn metadata(&self, class: DirectoryClass, volume: Option<u64>) -> Metadata {
        let layout = class.layout();
        let attributes = number(self.bytes, ATTRIBUTES);
        let tag = layout.tag.map_or(0, |at| number(self.bytes, at));
        let mut metadata = Metadata::with_kind(kind(attributes, tag));
        metadata
            .set_attributes(attributes.into())
            .set_size(long(self.bytes, SIZE))
            .set_allocated(long(self.bytes, ALLOCATED));
        let time = |at| filetime::timestamp(long(self.bytes, at).cast_signed());
        if let Some(time) = time(CREATED) {
            metadata.set_born(time);
        }
        if let Some(time) = time(ACCESSED) {
            metadata.set_accessed(time);
        }
        if let Some(time) = time(WRITTEN) {
            metadata.set_modified(time);
        }
        if let Some(time) = time(CHANGED) {
            metadata.set_changed(time);
        }
        let id = match layout.id {
            Id::None => None,
            Id::Narrow(at) => Some(file_id(long(self.bytes, at).into(), 64)),
            Id::Wide(at) => {
                let (low, high) = (long(self.bytes, at), long(self.bytes, at + 8));
                Some(file_id(u128::from(high) << 64 | u128::from(low), 128))
            }
        };
        if let Some(Some(id)) = id {
            metadata.set_file_id(id);
        }
        // An entry that has no number where others have may be on another volume.
        if let Some(volume) = volume
            && id != Some(None)
        {
            metadata.set_device(volume);
        }
        metadata
    }
}

/// The 32 bits at `at`, which is in the fixed part.
fn number(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| record[at + index]))
}

/// The 64 bits at `at`, which is in the fixed part.
fn long(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| record[at + index]))
}

/// A record that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed directory record at offset {offset}")]
pub struct RecordError {
    /// Where in the buffer the record starts, in bytes.
    pub offset: usize,
}

#[cfg(test)]
mod tests;
