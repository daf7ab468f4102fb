//! The first page of a store: what the file is, and how much of it counts.
//!
//! It is looked at before the database sees anything. One thing must stay true: a file of somebody else is told from a
//! store that is damaged, because the one is left alone and the other is moved out of the way. So the magic stands there
//! twice: damage in one place leaves the other.

use super::pages::{PAGE, is_sound, seal};

/// What a store begins with. The line ends show what was copied as text.
const MAGIC: &[u8; 16] = b"STATLINE-STORE\r\n";
/// Where it stands again.
const SECOND: usize = 2048;
/// The version of the whole format: pages, keys, values.
pub(crate) const VERSION: u32 = 1;

/// What the first page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Random; goes into every checksum.
    pub(crate) salt: u64,
    /// Bytes of data in the pages that follow.
    pub(crate) length: u64,
    /// Whether the database was once whole. Until then there is nothing to lose.
    pub(crate) ready: bool,
}

/// What the first bytes of a file show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// There are none.
    Empty,
    /// They are not a store's.
    NotOurs,
    /// They are a store's of another version.
    Foreign(u32),
    /// They are a store's, or were.
    Damaged,
    Sound(Header),
}

impl Header {
    /// That of a store without data.
    pub(crate) fn new(salt: u64) -> Header {
        Header {
            salt,
            length: 0,
            ready: false,
        }
    }

    pub(crate) fn to_page(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[..16].copy_from_slice(MAGIC);
        page[16..20].copy_from_slice(&VERSION.to_le_bytes());
        page[20..28].copy_from_slice(&self.salt.to_le_bytes());
        page[28..36].copy_from_slice(&self.length.to_le_bytes());
        page[36] = self.ready.into();
        page[SECOND..SECOND + 16].copy_from_slice(MAGIC);
        // Whoever reads it does not know the salt yet.
        seal(&mut page, 0, 0);
        page
    }

    /// Looks at the first bytes of a file, a page if there are so many.
    pub(crate) fn read(bytes: &[u8]) -> FirstPage {
        let begins = bytes.starts_with(MAGIC) || MAGIC.starts_with(bytes);
        let second = bytes.get(SECOND..SECOND + 16);
        if bytes.is_empty() {
            return FirstPage::Empty;
        }
        if !begins && second != Some(MAGIC) {
            return FirstPage::NotOurs;
        }
        if bytes.len() < PAGE || !is_sound(&bytes[..PAGE], 0, 0) {
            return FirstPage::Damaged;
        }
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        match (number(16) as u32, bytes[36]) {
            (VERSION, ready @ (0 | 1)) => FirstPage::Sound(Header {
                salt: number(20),
                length: number(28),
                ready: ready == 1,
            }),
            (VERSION, _) => FirstPage::Damaged,
            (version, _) => FirstPage::Foreign(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_no_damaged_byte_passes() {
        let header = Header {
            length: 12345,
            ready: true,
            ..Header::new(77)
        };
        let page = header.to_page();
        assert_eq!(Header::read(&page), FirstPage::Sound(header));
        for at in 0..PAGE {
            let mut page = page;
            page[at] ^= 0x10;
            assert_eq!(Header::read(&page), FirstPage::Damaged, "byte {at}");
            let cut = if at == 0 {
                FirstPage::Empty
            } else {
                FirstPage::Damaged
            };
            page[at] ^= 0x10;
            assert_eq!(Header::read(&page[..at]), cut, "cut at {at}");
        }
    }

    #[test]
    fn other_versions_and_other_files_are_told_apart() {
        let mut page = Header::new(1).to_page();
        page[16] = 9;
        seal(&mut page, 0, 0);
        assert_eq!(Header::read(&page), FirstPage::Foreign(9));
        assert_eq!(Header::read(b"[pipeline]"), FirstPage::NotOurs);
        assert_eq!(Header::read(&[0; PAGE]), FirstPage::NotOurs);
    }
}
