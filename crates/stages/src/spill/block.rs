//! Sorted entries as blocks of few bytes: of each key what it does not share with the one before, and the whole
//! compressed.
//!
//! LZ4 in its block format: a block is written and read once, and most often stays in the system's cache, so what counts
//! is time. It takes away two thirds of what rows of a file system leave. One thing must stay true: what is read back is
//! not trusted; reading ends in entries or in `None`, never in a panic.

use std::ops::Range;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::byte_prefix;
use crate::packed::{push_varint, take_varint};

/// The lengths in front of a block: compressed, and as it was.
pub(super) const HEADER: usize = 8;

/// No byte of LZ4 stands for more.
const MOST_SHRUNK: usize = 255;

/// Makes blocks of entries.
pub(crate) struct Blocks {
    /// A block with so many bytes takes no more entries.
    full: usize,
    raw: Vec<u8>,
    last_key: Vec<u8>,
    table: CompressTable,
    /// Blocks that are finished, one behind the other.
    sealed: Vec<u8>,
    /// The bytes of the largest entry so far.
    longest: usize,
}

impl Blocks {
    /// Blocks of about so many bytes before they are compressed.
    pub(crate) fn new(full: usize) -> Blocks {
        Blocks {
            full,
            raw: Vec::with_capacity(full + full / 8),
            last_key: Vec::new(),
            table: CompressTable::small(),
            sealed: Vec::new(),
            longest: 0,
        }
    }

    /// Appends an entry, whose key must not be smaller than the one before.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) {
        debug_assert!(self.raw.is_empty() || *key >= *self.last_key, "sorted");
        // A block is read without those before it.
        let shared = match self.raw.is_empty() {
            true => 0,
            false => byte_prefix::shared(&self.last_key, key),
        };
        push_varint(&mut self.raw, shared as u64);
        push_varint(&mut self.raw, (key.len() - shared) as u64);
        push_varint(&mut self.raw, payload.len() as u64);
        self.raw.extend_from_slice(&key[shared..]);
        self.raw.extend_from_slice(payload);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.longest = self.longest.max(key.len() + payload.len());
        if self.raw.len() >= self.full {
            self.seal();
        }
    }

    /// Finishes the block under way, if there is one.
    pub(crate) fn seal(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let start = self.sealed.len();
        let most = get_maximum_output_size(self.raw.len());
        self.sealed.resize(start + HEADER + most, 0);
        let out = &mut self.sealed[start + HEADER..];
        let length = compress_into_with_table(&self.raw, out, &mut self.table)
            .expect("there is room for the longest result that there can be");
        self.sealed.truncate(start + HEADER + length);
        let header = &mut self.sealed[start..start + HEADER];
        header[..4].copy_from_slice(&count(length));
        header[4..].copy_from_slice(&count(self.raw.len()));
        self.raw.clear();
    }

    /// Finishes the last block, and gives back the memory that only more entries would need.
    pub(crate) fn finish(&mut self) {
        self.seal();
        self.raw = Vec::new();
        self.sealed.shrink_to_fit();
    }

    /// The blocks that are finished.
    pub(crate) fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Forgets the blocks that are finished.
    pub(crate) fn clear(&mut self) {
        self.sealed.clear();
    }

    /// The bytes of the largest entry so far.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }
}

/// A length as a header has it.
fn count(length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("an entry of 4 GiB");
    length.to_le_bytes()
}

/// The lengths that a header states: of the block as it is in the file, and of what is in it.
pub(super) fn lengths(header: [u8; HEADER]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = header;
    let length = |bytes| u32::from_le_bytes(bytes) as usize;
    (length([a, b, c, d]), length([e, f, g, h]))
}

/// A block that is being read.
#[derive(Default)]
pub(super) struct Block {
    raw: Vec<u8>,
    at: usize,
    key: Vec<u8>,
    payload: Range<usize>,
}

impl Block {
    /// Goes on with another block, of `length` bytes; whether it can be one.
    pub(super) fn load(&mut self, compressed: &[u8], length: usize) -> bool {
        self.at = 0;
        self.raw.clear();
        if length / MOST_SHRUNK > compressed.len() {
            return false;
        }
        self.raw.resize(length, 0);
        decompress_into(compressed, &mut self.raw).is_ok_and(|found| found == length)
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == self.raw.len()
    }

    /// Goes to the next entry; `None` if what is there cannot be one.
    #[inline]
    pub(super) fn advance(&mut self) -> Option<()> {
        let mut rest = self.raw.get(self.at..)?;
        let mut length = || usize::try_from(take_varint(&mut rest)?).ok();
        let (shared, own, payload) = (length()?, length()?, length()?);
        let own = rest.get(..own)?;
        let start = self.raw.len() - rest.len() + own.len();
        let end = start.checked_add(payload)?;
        if shared > self.key.len() || end > self.raw.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(own);
        self.payload = start..end;
        self.at = end;
        Some(())
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        &self.raw[self.payload.clone()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_blocks_are_read_without_panic(
            raw in prop::collection::vec(any::<u8>(), 0..64), flip in any::<prop::sample::Index>(), to in any::<u8>(),
        ) {
            let mut blocks = Blocks::new(1 << 10);
            let mut keys: Vec<&[u8]> = raw.chunks(3).collect();
            keys.sort_unstable();
            keys.iter().for_each(|key| blocks.push(key, key));
            blocks.seal();
            let mut bytes = blocks.sealed().to_vec();
            if let Some(at) = bytes.len().checked_sub(1) {
                bytes[flip.index(at + 1)] = to;
            }
            let Some((header, rest)) = bytes.split_first_chunk() else {
                return Ok(());
            };
            let mut block = Block::default();
            let (_, length) = lengths(*header);
            if block.load(rest, length) {
                while !block.is_over() && block.advance().is_some() {
                    let _ = (block.key(), block.payload());
                }
            }
        }
    }
}
