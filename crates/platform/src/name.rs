//! The name of one directory entry.
//!
//! Names are bytes: what the system calls take and give on Unix, WTF-8 on Windows. They are kept
//! with a trailing NUL, so that a call on an entry needs neither a copy nor a check. That NUL is
//! always there and is the only one: everything that makes a [`Name`] sees to it.

use std::fmt;

/// The name of an entry, or the empty name, which stands for the directory itself.
///
/// Order and equality are those of the bytes.
// Holds the trailing NUL. It does not disturb the order: no other byte of a name is as small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The empty name: the directory itself, not one of its entries.
    pub const EMPTY: Name<'static> = Name(b"\0");

    /// The directory itself, as an entry of itself.
    pub(crate) const DOT: Name<'static> = Name(b".\0");

    /// Takes bytes that end with their only NUL.
    pub(crate) fn from_terminated(bytes: &'a [u8]) -> Name<'a> {
        debug_assert_eq!(
            bytes.iter().position(|&byte| byte == 0),
            Some(bytes.len() - 1),
            "one NUL, at the end"
        );
        Name(bytes)
    }

    /// The bytes of the name, without the NUL.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        &self.0[..self.0.len() - 1]
    }

    /// Whether this is the empty name, the directory itself.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.len() == 1
    }

    /// The name as the standard library takes it.
    #[cfg(unix)]
    #[must_use]
    pub fn to_os_str(self) -> &'a std::ffi::OsStr {
        std::os::unix::ffi::OsStrExt::from_bytes(self.as_bytes())
    }

    /// The name as a system call takes it.
    #[cfg(unix)]
    #[must_use]
    pub fn as_c_str(self) -> &'a std::ffi::CStr {
        // SAFETY: `self.0` ends with a NUL and holds no other, see `from_terminated`,
        // `NameBuf::new` and `Entries::push`.
        unsafe { std::ffi::CStr::from_bytes_with_nul_unchecked(self.0) }
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A [`Name`] that owns its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameBuf(Box<[u8]>);

impl NameBuf {
    /// Makes a name from bytes without a NUL. The empty name, `.` and `..` are names.
    ///
    /// # Errors
    /// [`InvalidName`] if the bytes hold a slash (they would be a path then) or a NUL, or on
    /// Windows a backslash.
    pub fn new(bytes: &[u8]) -> Result<NameBuf, InvalidName> {
        let forbidden = |&byte: &u8| byte == b'/' || byte == 0 || (cfg!(windows) && byte == b'\\');
        if let Some(position) = bytes.iter().position(forbidden) {
            return Err(InvalidName {
                byte: bytes[position],
                position,
            });
        }
        Ok(NameBuf::terminate(bytes))
    }

    /// The name itself.
    #[must_use]
    pub fn as_name(&self) -> Name<'_> {
        Name::from_terminated(&self.0)
    }

    fn terminate(bytes: &[u8]) -> NameBuf {
        let mut name = Vec::with_capacity(bytes.len() + 1);
        name.extend_from_slice(bytes);
        name.push(0);
        NameBuf(name.into_boxed_slice())
    }
}

impl From<Name<'_>> for NameBuf {
    fn from(name: Name<'_>) -> NameBuf {
        NameBuf(name.0.into())
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

/// Bytes that cannot be the name of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name cannot hold the byte {byte:#04x} (at offset {position})")]
pub struct InvalidName {
    byte: u8,
    position: usize,
}

impl From<InvalidName> for std::io::Error {
    fn from(error: InvalidName) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_would_be_a_path_or_cut_short() {
        assert_eq!(
            NameBuf::new(b"a/b"),
            Err(InvalidName {
                byte: b'/',
                position: 1
            })
        );
        assert_eq!(
            NameBuf::new(b"ab\0"),
            Err(InvalidName {
                byte: 0,
                position: 2
            })
        );
    }

    #[test]
    fn names_compare_like_their_bytes() {
        let names: [&[u8]; 6] = [b"", b"\x01", b"a", b"a\x01", b"ab", b"\xff"];
        for a in names {
            for b in names {
                let (a_name, b_name) = (NameBuf::new(a).unwrap(), NameBuf::new(b).unwrap());
                assert_eq!(a_name.as_name().cmp(&b_name.as_name()), a.cmp(b));
                assert_eq!(a_name.as_name().as_bytes(), a);
            }
        }
    }

    #[test]
    fn debug_output_escapes_what_a_terminal_would_obey() {
        assert_eq!(
            format!("{:?}", NameBuf::new(b"a\x1b\n\xff").unwrap()),
            r#""a\x1b\n\xff""#
        );
    }
}
