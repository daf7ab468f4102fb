//! Entries in any order in, in the order of their keys out, within a limit of memory.
//!
//! They are gathered in one buffer. When it is full it becomes a run; where it never is, nothing is written.

use statline_pipeline::StageError;

use crate::byte_prefix;

use super::{Entry, Merge, Spill, SpillOptions, block_bytes};

/// An entry in the buffer.
pub(crate) struct Item {
    /// The first bytes of its key, which settle most comparisons.
    prefix: u64,
    at: u32,
    key: u32,
    payload: u32,
}

/// The share of the buffer that the list of its entries may take, of so many parts.
const INDEX_SHARE: usize = 4;

/// Sorts entries: a key and a payload, plain bytes both.
pub(crate) struct ExternalSort {
    options: SpillOptions,
    /// Keys and payloads, one behind the other.
    bytes: Vec<u8>,
    items: Vec<Item>,
    spill: Option<Spill>,
}

impl ExternalSort {
    /// What is retained stays within `options.memory`, but for an entry that is larger by itself.
    pub(crate) fn new(options: SpillOptions) -> ExternalSort {
        ExternalSort {
            options,
            bytes: Vec::new(),
            items: Vec::new(),
            spill: None,
        }
    }

    /// Bytes that are gathered at the most, and entries.
    fn room(&self) -> (usize, usize) {
        // Beside it there is what writing a run takes (a block as it is, compressed, and a table for that), and the old
        // buffer while it grows.
        let memory = self.options.memory;
        let room = memory.saturating_sub(memory / 8 + 4 * block_bytes(memory));
        let items = room / INDEX_SHARE;
        let bytes = (room - items).min(u32::MAX as usize);
        (bytes, items / size_of::<Item>())
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// If memory is full and the directory takes no more, or the run is stopping.
    ///
    /// # Panics
    /// If one entry is larger than 4 GiB.
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<(), StageError> {
        let (room, most) = self.room();
        let length = key.len() + payload.len();
        if !self.items.is_empty() && (self.items.len() >= most || self.bytes.len() + length > room)
        {
            self.close_run()?;
        }
        grow(&mut self.bytes, length, room);
        grow(&mut self.items, 1, most);
        let size = |length: usize| u32::try_from(length).expect("an entry of 4 GiB");
        self.items.push(Item {
            prefix: byte_prefix::head(key),
            at: size(self.bytes.len()),
            key: size(key.len()),
            payload: size(payload.len()),
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.spill.is_none()
    }

    #[cfg(test)]
    pub(super) fn has_spilled(&self) -> bool {
        self.spill.is_some()
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// As [`push`](ExternalSort::push).
    pub(crate) fn finish(mut self) -> Result<Sorted, StageError> {
        if self.spill.is_none() {
            self.sort();
            return Ok(Sorted::Memory {
                bytes: self.bytes,
                items: self.items.into_iter(),
            });
        }
        if !self.items.is_empty() {
            self.close_run()?;
        }
        let spill = self.spill.take();
        // Its memory is for merging now.
        drop(self);
        match spill {
            Some(spill) => spill.merge().map(Box::new).map(Sorted::Merge),
            None => Ok(Sorted::Memory {
                bytes: Vec::new(),
                items: Vec::new().into_iter(),
            }),
        }
    }

    fn sort(&mut self) {
        let bytes = &self.bytes[..];
        self.items.sort_unstable_by(|a, b| {
            let by_key = || item_key(bytes, a).cmp(item_key(bytes, b));
            // Equal keys stay as they came. Entries of no bytes lie where the next one begins.
            let place = |item: &Item| (item.at, item.payload);
            a.prefix
                .cmp(&b.prefix)
                .then_with(by_key)
                .then_with(|| place(a).cmp(&place(b)))
        });
    }

    fn close_run(&mut self) -> Result<(), StageError> {
        self.sort();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::create(self.options.clone())?),
        };
        let mut run = spill.run();
        for item in &self.items {
            run.push(item_key(&self.bytes, item), item_payload(&self.bytes, item))?;
        }
        run.finish()?;
        self.items.clear();
        self.bytes.clear();
        Ok(())
    }
}

/// Entries in order.
pub(crate) enum Sorted {
    Memory {
        bytes: Vec<u8>,
        items: std::vec::IntoIter<Item>,
    },
    Merge(Box<Merge>),
}

impl Sorted {
    /// The next entry: its key and its payload.
    ///
    /// # Errors
    /// If the temporary file cannot be read, or the run is stopping.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>, StageError> {
        match self {
            Sorted::Memory { bytes, items } => Ok(items
                .next()
                .map(|item| (item_key(bytes, &item), item_payload(bytes, &item)))),
            Sorted::Merge(merge) => merge.next(),
        }
    }
}

impl Sorted {
    /// What was read is not what was written.
    #[cold]
    pub(crate) fn damaged(&self) -> StageError {
        match self {
            Sorted::Memory { .. } => StageError::failed("sorted entries changed in memory"),
            Sorted::Merge(merge) => merge.damaged(),
        }
    }
}

fn item_key<'b>(bytes: &'b [u8], item: &Item) -> &'b [u8] {
    &bytes[item.at as usize..][..item.key as usize]
}

fn item_payload<'b>(bytes: &'b [u8], item: &Item) -> &'b [u8] {
    &bytes[item.at as usize + item.key as usize..][..item.payload as usize]
}

/// Makes room for so many more: twice as much as is needed, but not beyond `most` unless it must be.
fn grow<T>(vector: &mut Vec<T>, more: usize, most: usize) {
    let needed = vector.len() + more;
    if needed > vector.capacity() {
        // While it grows there are both the old memory and the new. So it grows for the last time when it is small.
        let wanted = match needed > most / 8 {
            true => most,
            false => 2 * needed,
        };
        vector.reserve_exact(wanted.max(needed) - vector.len());
    }
}
