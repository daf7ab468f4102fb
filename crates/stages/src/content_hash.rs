//! The digest of what is in a file.

use std::fmt;

/// The BLAKE3 digest of a file's contents: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(contents: &[u8]) -> ContentHash {
        ContentHash(*blake3::hash(contents).as_bytes())
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Appends the digest as it is written.
    pub fn write_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(digest: [u8; 32]) -> ContentHash {
        ContentHash(digest)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_other_programs_write_it() {
        // As b3sum prints it for no input.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let hash = ContentHash::of(b"");
        assert_eq!(hash.to_string(), empty);
        let mut written = Vec::new();
        hash.write_hex(&mut written);
        assert_eq!(written, empty.as_bytes());
    }
}
