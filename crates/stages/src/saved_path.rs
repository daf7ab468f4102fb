//! From the paths of a saved scan back to directories and names.
//!
//! One thing must stay true: a row that is put in its place has the path that it came with.

use std::path::Path;
use std::sync::Arc;

use statline_platform::{DirNode, NameBuf, path_from_bytes};

use crate::roots::RootPath;

/// The nodes of the directories of the row that was put in its place last, from its root down.
pub(crate) struct SavedPaths {
    roots: Vec<Root>,
    /// The root of the last row, and the directories below it on the way to that row.
    at: usize,
    below: Vec<Arc<DirNode>>,
}

struct Root {
    node: Arc<DirNode>,
    path: Vec<u8>,
}

impl Root {
    fn new(path: &Path) -> Root {
        Root {
            node: DirNode::root(path),
            path: path.as_os_str().as_encoded_bytes().to_vec(),
        }
    }

    /// What of a path is below this root; empty for the root itself, `None` if the path is elsewhere.
    fn strip<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = path.strip_prefix(self.path.as_slice())?;
        let separated = self.path.is_empty() || self.path.ends_with(b"/");
        match rest {
            [] => Some(rest),
            rest if separated => Some(rest),
            [b'/', rest @ ..] if !rest.is_empty() => Some(rest),
            _ => None,
        }
    }
}

impl SavedPaths {
    /// For a scan of these roots, as they were given.
    pub(crate) fn new(roots: &[RootPath]) -> SavedPaths {
        let mut roots: Vec<Root> = roots.iter().map(|root| Root::new(root.as_path())).collect();
        if roots.is_empty() {
            // It is not known: then a path begins where it begins.
            roots = vec![Root::new(Path::new("/")), Root::new(Path::new(""))];
        }
        SavedPaths {
            roots,
            at: 0,
            below: Vec::new(),
        }
    }

    /// The directory that a row is in and its name there, the name of a root being empty. `None` if that is no path of an
    /// entry below one of the roots.
    pub(crate) fn place(
        &mut self,
        path: &[u8],
        is_directory: bool,
    ) -> Option<(Arc<DirNode>, NameBuf)> {
        let candidates = self.roots.iter().enumerate();
        let (at, rest) = candidates
            .filter_map(|(at, root)| Some((at, root.strip(path)?)))
            // A root below another has its rows itself.
            .min_by_key(|(_, rest)| rest.len())?;
        if rest.is_empty() {
            return match is_directory {
                true => Some((Arc::clone(&self.roots[at].node), NameBuf::new(b"").ok()?)),
                false => lone(path),
            };
        }
        if at != self.at {
            self.at = at;
            self.below.clear();
        }
        let mut components = rest.split(|&byte| byte == b'/');
        let name = component(components.next_back()?)?;
        let mut depth = 0;
        for directory in components {
            let known = self.below.get(depth);
            if known.is_none_or(|node| node.name().as_bytes() != directory) {
                let directory = component(directory)?;
                self.below.truncate(depth);
                let parent = self.below.last().unwrap_or(&self.roots[at].node);
                let node = DirNode::child(parent, directory.as_name());
                self.below.push(node);
            }
            depth += 1;
        }
        self.below.truncate(depth);
        let directory = self.below.last().unwrap_or(&self.roots[at].node);
        Some((Arc::clone(directory), name))
    }
}

/// A root that is no directory is an entry of its parent.
fn lone(path: &[u8]) -> Option<(Arc<DirNode>, NameBuf)> {
    let path = path_from_bytes(path.to_vec())?;
    let name = path.file_name()?.as_encoded_bytes();
    Some((DirNode::root(path.parent()?), NameBuf::new(name).ok()?))
}

fn component(name: &[u8]) -> Option<NameBuf> {
    match name {
        b"" | b"." | b".." => None,
        name => NameBuf::new(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(roots: &[&str]) -> SavedPaths {
        let roots: Vec<RootPath> = roots.iter().map(RootPath::new).collect();
        SavedPaths::new(&roots)
    }

    #[test]
    fn rows_get_the_paths_that_they_came_with() {
        for (roots, rows) in [
            (
                &["dir"][..],
                &["dir", "dir/a", "dir/a/b", "dir/a/c", "dir/d/b"][..],
            ),
            (&["/"], &["/", "/a", "/a/b"]),
            (&["dir/"], &["dir/", "dir/a", "dir/a/b"]),
            (&["."], &[".", "./a", "./a/b"]),
            (
                &["a", "a/b/c", "ab"],
                &["a", "a/b", "a/b/c", "a/b/c/d", "ab", "ab/a"],
            ),
            (&[], &["/x/y", "x/y", "x"]),
        ] {
            let mut saved = paths(roots);
            for row in rows {
                let (directory, name) = saved.place(row.as_bytes(), true).unwrap();
                let mut path = Vec::new();
                directory.write_entry_path(name.as_name(), &mut path);
                assert_eq!(path, row.as_bytes(), "{roots:?}");
                let is_root = roots.contains(row);
                assert_eq!(name.as_name().is_empty(), is_root, "{row} of {roots:?}");
            }
        }
    }

    #[test]
    fn neighbours_share_their_directory() {
        let mut saved = paths(&["r"]);
        let (first, _) = saved.place(b"r/a/b/x", false).unwrap();
        let (second, _) = saved.place(b"r/a/b/y", false).unwrap();
        let (above, _) = saved.place(b"r/a/z", false).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(first.parent().unwrap(), &above));
    }

    #[test]
    fn what_is_no_path_of_an_entry_is_refused() {
        let mut saved = paths(&["r"]);
        for path in [
            "", "s", "rs", "r//a", "r/a//b", "r/", "r/../x", "r/./x", "r/a\0b",
        ] {
            assert!(saved.place(path.as_bytes(), true).is_none(), "{path:?}");
        }
    }

    #[test]
    fn a_root_that_is_no_directory_is_an_entry_of_its_parent() {
        let mut saved = paths(&["dir/file"]);
        let (directory, name) = saved.place(b"dir/file", false).unwrap();
        assert_eq!(directory.root_path(), Path::new("dir"));
        assert_eq!(name.as_name().as_bytes(), b"file");
    }
}
