//! Paths of this system as the bytes that statline keeps.
//!
//! One thing must stay true: below a root every path is written with `/`, on Windows too, so that scans of one tree from
//! two systems compare. Nothing is lost by it: no name of Windows has a slash or a backslash in it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The path with `/` for `\` on Windows; the same path elsewhere.
#[must_use]
pub fn with_slashes(path: &Path) -> Cow<'_, Path> {
    #[cfg(windows)]
    if path.as_os_str().as_encoded_bytes().contains(&b'\\') {
        use std::os::windows::ffi::{OsStrExt, OsStringExt};
        let slash = |unit| match unit == u16::from(b'\\') {
            true => u16::from(b'/'),
            false => unit,
        };
        let units: Vec<u16> = path.as_os_str().encode_wide().map(slash).collect();
        return Cow::Owned(PathBuf::from(std::ffi::OsString::from_wide(&units)));
    }
    Cow::Borrowed(path)
}

/// The path whose bytes these are, as [`DirNode::write_path`](crate::DirNode::write_path) writes them; `None` if no path
/// of this system has such bytes.
#[must_use]
pub fn path_from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
    #[cfg(windows)]
    {
        use std::os::windows::ffi::OsStringExt;
        let units = crate::nt::units_of(&bytes)?;
        Some(PathBuf::from(std::ffi::OsString::from_wide(&units)))
    }
    #[cfg(not(any(unix, windows)))]
    {
        String::from_utf8(bytes).ok().map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_path_make_the_path_again() {
        let path = Path::new("Größe/😀");
        let bytes = path.as_os_str().as_encoded_bytes().to_vec();
        assert_eq!(path_from_bytes(bytes), Some(path.to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_backslash_is_a_letter() {
        assert_eq!(with_slashes(Path::new(r"a\b")), Path::new(r"a\b"));
    }

    #[cfg(windows)]
    #[test]
    fn all_separators_become_slashes_and_lone_surrogates_stay() {
        use std::os::windows::ffi::OsStringExt;
        for (path, expected) in [
            (r"C:\data\sub", "C:/data/sub"),
            ("C:/data", "C:/data"),
            (r"\\?\C:\data", "//?/C:/data"),
            (r"\\server\share\x", "//server/share/x"),
        ] {
            let slashed = with_slashes(Path::new(path));
            assert_eq!(slashed.as_os_str(), expected);
        }
        let lone = std::ffi::OsString::from_wide(&[0x61, 0x5C, 0xD800]);
        let slashed = with_slashes(Path::new(&lone));
        assert_eq!(slashed.as_os_str().as_encoded_bytes(), b"a/\xED\xA0\x80");
        assert_eq!(
            path_from_bytes(b"a\\\xED\xA0\x80".to_vec()),
            Some(PathBuf::from(lone))
        );
        assert_eq!(path_from_bytes(b"\xFF".to_vec()), None);
    }
}
