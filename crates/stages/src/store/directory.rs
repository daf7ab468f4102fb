//! What a store keeps of one directory: its entries by name, packed into one value.
//!
//! An entry is found by bisection without unpacking the others, and is copied into the next value as it is. One thing
//! must stay true: bytes are never trusted. Whatever a value holds, reading it ends in entries or in `None`.

use std::cmp::Ordering;

use statline_platform::{Metadata, Timestamp};

use crate::packed::{
    push_bytes, push_metadata, push_varint, take_bytes, take_metadata, take_varint, unzigzag,
    zigzag,
};

/// The version of the form of a value.
const FORM: u8 = 1;
/// A value may not become longer.
const LONGEST: usize = 1 << 31;

/// What is remembered of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) metadata: Metadata,
    /// Whether a change after the look would show in the times.
    pub(crate) is_settled: bool,
    /// When it was looked at, in milliseconds since the epoch; not later.
    pub(crate) looked_at: i64,
}

/// So many milliseconds since the epoch, and not more.
pub(crate) fn milliseconds(time: Timestamp) -> i64 {
    let milliseconds = time.as_nanoseconds().div_euclid(1_000_000);
    i64::try_from(milliseconds).unwrap_or(i64::MIN)
}

/// The entries in a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory<'a> {
    /// Fields that an entry shares with it are not written again.
    base: Metadata,
    /// Times of looks count from here.
    looked_at: i64,
    /// Where each entry begins, four bytes each.
    places: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Directory<'a> {
    /// The entries in a value, none if it is empty; `None` if it cannot be one.
    pub(crate) fn read(value: &'a [u8]) -> Option<Directory<'a>> {
        if value.is_empty() {
            return Some(Directory::default());
        }
        let mut rest = value.strip_prefix(&[FORM])?;
        let count = usize::try_from(take_varint(&mut rest)?).ok()?;
        let looked_at = unzigzag(take_varint(&mut rest)?);
        let base = take_metadata(&Metadata::default(), &mut rest)?;
        let (places, entries) = rest.split_at_checked(count.checked_mul(4)?)?;
        Some(Directory {
            base,
            looked_at,
            places,
            entries,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() / 4
    }

    fn place(&self, index: usize) -> Option<usize> {
        let (place, _) = self.places.get(index * 4..)?.split_first_chunk::<4>()?;
        Some(u32::from_le_bytes(*place) as usize)
    }

    /// The name of an entry.
    pub(crate) fn name(&self, index: usize) -> Option<&'a [u8]> {
        let mut rest = self.entries.get(self.place(index)?..)?;
        take_bytes(&mut rest)
    }

    /// The place of an entry.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle)?.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// An entry.
    pub(crate) fn get(&self, index: usize) -> Option<Remembered> {
        let mut rest = self.entries.get(self.place(index)?..)?;
        take_bytes(&mut rest)?;
        unpack((&self.base, self.looked_at), rest)
    }

    /// An entry as it is packed.
    fn packed(&self, index: usize) -> Option<&'a [u8]> {
        let start = self.place(index)?;
        let end = match index + 1 < self.len() {
            true => self.place(index + 1)?,
            false => self.entries.len(),
        };
        self.entries.get(start..end)
    }

    /// Whether all of it can be read, in the order of the names.
    pub(crate) fn is_sound(&self) -> bool {
        let mut before = None;
        let mut end = 0;
        (0..self.len()).all(|index| {
            let name = self.name(index);
            let in_order = before.is_none_or(|before| before < name);
            let follows = self.place(index) == Some(end);
            end += self.packed(index).map_or(0, <[u8]>::len);
            before = Some(name);
            in_order && follows && name.is_some() && self.get(index).is_some()
        })
    }
}

/// Packs an entry behind its name.
fn pack(base: (&Metadata, i64), name: &[u8], entry: &Remembered, out: &mut Vec<u8>) {
    let (metadata, looked_at) = base;
    push_bytes(out, name);
    out.push(entry.is_settled.into());
    push_varint(out, zigzag(entry.looked_at.wrapping_sub(looked_at)));
    push_metadata(metadata, &entry.metadata, out);
}

/// Unpacks an entry, from behind its name.
fn unpack(base: (&Metadata, i64), bytes: &[u8]) -> Option<Remembered> {
    let (metadata, looked_at) = base;
    let (&settled, mut rest) = bytes.split_first()?;
    let offset = unzigzag(take_varint(&mut rest)?);
    Some(Remembered {
        is_settled: settled == 1,
        looked_at: looked_at.checked_add(offset)?,
        metadata: take_metadata(metadata, &mut rest)?,
    })
}

/// Entries on their way into a value, in any order.
#[derive(Default)]
pub(crate) struct Fresh {
    base: Metadata,
    looked_at: i64,
    entries: Vec<u8>,
    /// Where each begins and ends.
    places: Vec<(u32, u32)>,
    too_long: bool,
}

impl Fresh {
    /// Entries that will be merged into this value.
    pub(crate) fn into(before: &Directory<'_>) -> Fresh {
        Fresh {
            base: before.base.clone(),
            looked_at: before.looked_at,
            ..Fresh::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn push(&mut self, name: &[u8], entry: &Remembered) {
        if self.places.is_empty() && self.base == Metadata::default() {
            (self.base, self.looked_at) = (entry.metadata.clone(), entry.looked_at);
        }
        let start = self.entries.len();
        pack((&self.base, self.looked_at), name, entry, &mut self.entries);
        match (u32::try_from(start), u32::try_from(self.entries.len())) {
            (Ok(start), Ok(end)) => self.places.push((start, end)),
            _ => self.too_long = true,
        }
    }

    fn packed(&self, index: usize) -> &[u8] {
        let (start, end) = self.places[index];
        &self.entries[start as usize..end as usize]
    }

    /// Puts the entries in the order of their names. Of two with one name the later stays.
    pub(crate) fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        let name = |(start, _): &(u32, u32)| {
            let mut rest = &self.entries[*start as usize..];
            take_bytes(&mut rest).unwrap_or_default()
        };
        places.sort_by(|a, b| name(a).cmp(name(b)).then(b.cmp(a)));
        places.dedup_by(|a, b| name(a) == name(b));
        self.places = places;
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn name(&self, index: usize) -> &[u8] {
        let mut rest = self.packed(index);
        take_bytes(&mut rest).unwrap_or_default()
    }

    /// The memory that they take, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() + self.places.capacity() * size_of::<(u32, u32)>()
    }
}

/// Packs entries into a value.
pub(crate) struct DirectoryWriter {
    base: Metadata,
    looked_at: i64,
    places: Vec<u8>,
    entries: Vec<u8>,
    too_long: bool,
}

impl DirectoryWriter {
    /// Continues a value, so that its entries can be copied, with these entries.
    pub(crate) fn after(before: &Directory<'_>, fresh: &Fresh) -> DirectoryWriter {
        let (base, looked_at) = match before.len() {
            0 => (fresh.base.clone(), fresh.looked_at),
            _ => (before.base.clone(), before.looked_at),
        };
        DirectoryWriter {
            base,
            looked_at,
            places: Vec::new(),
            entries: Vec::new(),
            too_long: fresh.too_long,
        }
    }

    fn begin(&mut self) {
        match u32::try_from(self.entries.len()) {
            Ok(place) if self.entries.len() < LONGEST => {
                self.places.extend_from_slice(&place.to_le_bytes());
            }
            _ => self.too_long = true,
        }
    }

    /// Adds an entry of the value that this one continues. Names come in order, each once.
    pub(crate) fn copy(&mut self, before: &Directory<'_>, index: usize) {
        if let Some(packed) = before.packed(index) {
            self.begin();
            self.entries.extend_from_slice(packed);
        }
    }

    /// Adds one of the entries that it was announced.
    pub(crate) fn add(&mut self, fresh: &Fresh, index: usize) {
        self.begin();
        if fresh.looked_at == self.looked_at && fresh.base == self.base {
            self.entries.extend_from_slice(fresh.packed(index));
            return;
        }
        let mut rest = fresh.packed(index);
        let name = take_bytes(&mut rest).unwrap_or_default();
        if let Some(entry) = unpack((&fresh.base, fresh.looked_at), rest) {
            pack(
                (&self.base, self.looked_at),
                name,
                &entry,
                &mut self.entries,
            );
        }
    }

    /// Puts the value into `out`: an empty one if there is no entry, or too much to be kept. Returns whether everything
    /// is in it.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.too_long || self.places.is_empty() {
            return !self.too_long;
        }
        out.push(FORM);
        push_varint(out, (self.places.len() / 4) as u64);
        push_varint(out, zigzag(self.looked_at));
        push_metadata(&Metadata::default(), &self.base, out);
        out.extend_from_slice(&self.places);
        out.extend_from_slice(&self.entries);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::samples;

    type Entries = BTreeMap<Vec<u8>, Remembered>;

    fn entries() -> impl Strategy<Value = Entries> {
        let notes = prop::collection::vec((any::<bool>(), any::<i32>()), 24);
        (samples(), notes).prop_map(|(samples, notes)| {
            let entries = samples.into_iter().zip(notes);
            let entries = entries.map(|(sample, (is_settled, looked_at))| {
                let remembered = Remembered {
                    metadata: sample.metadata,
                    is_settled,
                    looked_at: i64::from(looked_at) * 1_000_000,
                };
                (sample.name, remembered)
            });
            entries.collect()
        })
    }

    /// What differs, in an order of its own, merged into what was there.
    fn written(before: &Directory<'_>, entries: &Entries, base: &Directory<'_>) -> Vec<u8> {
        let is_same = |name: &[u8], entry: &Remembered| {
            before.find(name).and_then(|at| before.get(at)).as_ref() == Some(entry)
        };
        let mut fresh = Fresh::into(base);
        for (name, entry) in entries.iter().rev() {
            if !is_same(name, entry) {
                let stale = Remembered {
                    looked_at: 7,
                    ..entry.clone()
                };
                fresh.push(name, &stale);
                fresh.push(name, entry);
            }
        }
        fresh.sort();
        let mut writer = DirectoryWriter::after(before, &fresh);
        let mut next = 0;
        for (name, entry) in entries {
            match is_same(name, entry) {
                true => writer.copy(before, before.find(name).unwrap()),
                false => {
                    assert_eq!(fresh.name(next), name);
                    writer.add(&fresh, next);
                    next += 1;
                }
            }
        }
        assert_eq!(next, fresh.len());
        let mut value = Vec::new();
        assert!(writer.finish(&mut value));
        value
    }

    fn all(directory: &Directory<'_>) -> Entries {
        let entries = (0..directory.len()).map(|at| {
            (
                directory.name(at).unwrap().to_vec(),
                directory.get(at).unwrap(),
            )
        });
        entries.collect()
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written_also_over_what_was_there(
            before in entries(), added in entries(), kept in prop::collection::vec(any::<bool>(), 24),
            another_base in any::<bool>(),
        ) {
            let none = Directory::default();
            let first = written(&none, &before, &none);
            let directory = Directory::read(&first).unwrap();
            prop_assert!(directory.is_sound());
            prop_assert_eq!(&all(&directory), &before);
            let mut after: Entries =
                before.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(entry, _)| entry).collect();
            after.extend(added);
            let base = if another_base { &none } else { &directory };
            let second = written(&directory, &after, base);
            let directory = Directory::read(&second).unwrap();
            prop_assert!(directory.is_sound());
            prop_assert_eq!(&all(&directory), &after);
            for (at, name) in after.keys().enumerate() {
                prop_assert_eq!(directory.find(name), Some(at));
                let other = [name, &b"\x01"[..]].concat();
                prop_assert_eq!(directory.find(&other).is_some(), after.contains_key(&other));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            entries in entries(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let none = Directory::default();
            let mut value = written(&none, &entries, &none);
            for (at, byte) in damage {
                if !value.is_empty() {
                    let at = at.index(value.len());
                    value[at] = byte;
                }
            }
            if let Some(directory) = Directory::read(&value) {
                let _ = directory.is_sound();
                for at in 0..directory.len().min(100) {
                    let _ = (directory.name(at), directory.get(at));
                }
                let _ = directory.find(b"name");
                let mut writer = DirectoryWriter::after(&directory, &Fresh::default());
                writer.copy(&directory, 0);
                let _ = writer.finish(&mut Vec::new());
            }
        }
    }
}
