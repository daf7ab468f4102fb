//! The digest of a file's contents, with what proves later that it still holds.

use statline_platform::{FileId, Timestamp};

use super::keys::Root;
use crate::ContentHash;
use crate::packed::{push_time, push_varint, take_time, take_varint};

/// The digest of a file's contents, and what the file was when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    /// When that was looked at; not later.
    pub(crate) looked_at: Timestamp,
    pub(crate) hash: ContentHash,
}

/// The version of the form of a value.
const FORM: u8 = 1;

impl Digest {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(self.hash.as_bytes());
        push_varint(&mut bytes, self.size);
        for time in [self.modified, self.changed, self.looked_at] {
            push_time(&mut bytes, time);
        }
        bytes
    }

    /// The digest in a value; `None` if it holds none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Digest> {
        let rest = bytes.strip_prefix(&[FORM])?;
        let (hash, mut rest) = rest.split_first_chunk::<32>()?;
        let digest = Digest {
            size: take_varint(&mut rest)?,
            modified: take_time(&mut rest)?,
            changed: take_time(&mut rest)?,
            looked_at: take_time(&mut rest)?,
            hash: ContentHash::from(*hash),
        };
        rest.is_empty().then_some(digest)
    }
}

pub(super) fn key(root: Root, file: FileId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&root.0.to_be_bytes());
    key[4..].copy_from_slice(&file.as_u128().to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    #[test]
    fn it_is_read_as_it_was_written_and_a_part_of_it_not_at_all() {
        let digest = Digest {
            size: 1 << 40,
            modified: time(-5, 999_999_999),
            changed: time(1_772_000_000, 1),
            looked_at: time(1_772_000_009, 0),
            hash: ContentHash::of(b"x"),
        };
        let bytes = digest.to_bytes();
        assert_eq!(Digest::read(&bytes), Some(digest));
        for end in 0..bytes.len() {
            assert_eq!(Digest::read(&bytes[..end]), None);
        }
        assert_eq!(Digest::read(&[&bytes[..], b"x"].concat()), None);
    }
}
