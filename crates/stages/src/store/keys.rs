//! Under which keys a store keeps directories.
//!
//! One thing must stay true: two directories of one root never share a key.

use statline_platform::{DirNode, Name};

/// The number of a root in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Root(pub(crate) u32);

/// Longer paths are kept by their digest.
const LONGEST: usize = 512;

/// What a key is made of, after the root's number.
const TOP: u8 = 0;
const PATH: u8 = 1;
const DIGEST: u8 = 2;

/// The key of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    bytes: Vec<u8>,
}

impl Key {
    /// The key of what holds the row of the root itself and nothing else.
    pub(crate) fn top(root: Root) -> Key {
        let mut key = Key::default();
        key.begin(root, TOP);
        key
    }

    /// The key of the directory at a path below the root.
    pub(crate) fn of_path(root: Root, path: &[u8]) -> Key {
        let mut key = Key::default();
        key.begin(root, PATH);
        key.bytes.extend_from_slice(path);
        key.shorten();
        key
    }

    /// The key of a directory.
    pub(crate) fn of(root: Root, directory: &DirNode) -> Key {
        let mut key = Key::default();
        key.set(root, directory);
        key
    }

    /// Becomes the key of a directory.
    pub(crate) fn set(&mut self, root: Root, directory: &DirNode) {
        self.begin(root, PATH);
        directory.write_relative_path(Name::EMPTY, &mut self.bytes);
        self.shorten();
    }

    fn begin(&mut self, root: Root, form: u8) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&root.0.to_be_bytes());
        self.bytes.push(form);
    }

    fn shorten(&mut self) {
        let path = &self.bytes[5..];
        if path.len() > LONGEST {
            let digest = blake3::hash(path);
            self.bytes.truncate(4);
            self.bytes.push(DIGEST);
            self.bytes.extend_from_slice(digest.as_bytes());
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the keys of all directories below this one begin with, but for those that are kept by a digest; `None` if this
    /// one is. What follows is the path from here on.
    pub(crate) fn below(&self) -> Option<Vec<u8>> {
        let path = self.bytes.strip_prefix(&self.bytes[..4])?;
        match path {
            [PATH] => Some(self.bytes.clone()),
            [PATH, ..] => Some([&self.bytes[..], b"/"].concat()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{child, root};

    #[test]
    fn a_directory_has_the_key_of_its_path_and_no_other() {
        let top = root("/some/where");
        let one = Root(1);
        assert_eq!(Key::of(one, &top), Key::of_path(one, b""));
        assert_ne!(Key::of(one, &top), Key::top(one));
        let below = child(&child(&top, b"a"), b"b\xff");
        assert_eq!(Key::of(one, &below), Key::of_path(one, b"a/b\xff"));
        assert_ne!(Key::of(one, &below), Key::of(Root(2), &below));
        assert!(
            Key::of(one, &below)
                .bytes()
                .starts_with(&Key::of_path(one, b"a").below().unwrap())
        );
        assert!(
            Key::of(one, &below)
                .bytes()
                .starts_with(&Key::of(one, &top).below().unwrap())
        );
        assert_eq!(Key::top(one).below(), None);
        let mut deep = top;
        let mut keys = std::collections::HashSet::new();
        for _ in 0..200 {
            deep = child(&deep, b"long name");
            let key = Key::of(one, &deep);
            assert!(key.bytes().len() <= 5 + LONGEST);
            assert_eq!(key.below().is_none(), key.bytes()[4] == DIGEST);
            assert!(keys.insert(key));
        }
    }
}
