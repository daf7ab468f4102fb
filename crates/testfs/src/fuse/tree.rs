//! A tree described in a few words, and the truth about it: what a scan of it must find.
//!
//! Entries named one by one are stored; directories filled by a [`Shape`] are computed. Both are
//! known by an inode number from which everything else follows, so the file system that serves a
//! tree keeps no state for it. The same code answers the kernel and enumerates the truth.

use std::collections::HashMap;

use super::shape::Shape;

/// The inode number of the root: FUSE demands this one.
pub(crate) const ROOT: u64 = 1;

/// Inode numbers hold the number of a shape, from one, above so many bits, and an entry's number
/// within the shape in them.
const SHAPE_BITS: u32 = 48;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// An entry of a tree, as a scan should find it if no rule interferes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path relative to the root of the tree.
    pub path: Vec<u8>,
    /// The type.
    pub kind: Kind,
    /// The size in bytes as `stat` tells it.
    pub size: u64,
    /// The inode number.
    pub inode: u64,
}

/// How many entries of each sort a tree has, its root not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Directories.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// All others.
    pub others: u64,
}

/// A generated tree.
///
/// ```
/// use statline_testfs::fuse::{Shape, Tree};
///
/// let tree = Tree::new()
///     .file("notes/today", 120)
///     .symlink("latest", "notes/today")
///     .shape("large", Shape::files(10_000_000))
///     .shape("deep", Shape::chain(5_000, 200));
/// assert_eq!(tree.totals().files, 10_000_001);
/// let first = tree.entries().next().map(|entry| entry.path);
/// assert_eq!(first.as_deref(), Some(b"notes".as_slice()));
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    /// What is stored; inode number less one.
    nodes: Vec<Node>,
    by_name: HashMap<(u64, Vec<u8>), u64>,
    /// Each shape with the directory that it fills.
    shapes: Vec<(u64, Shape)>,
}

#[derive(Clone, Debug)]
struct Node {
    name: Vec<u8>,
    parent: u64,
    kind: Kind,
    size: u64,
    /// Of a symbolic link.
    target: Vec<u8>,
    children: Vec<u64>,
    shape: Option<usize>,
}

/// What an inode number stands for.
enum Place<'a> {
    Stored(&'a Node),
    /// An entry of a shape, never its directory 0, which is stored.
    Computed {
        index: usize,
        shape: &'a Shape,
        number: u64,
    },
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty tree: a root and nothing in it.
    #[must_use]
    pub fn new() -> Self {
        let root = Node {
            name: Vec::new(),
            parent: ROOT,
            kind: Kind::Directory,
            size: 0,
            target: Vec::new(),
            children: Vec::new(),
            shape: None,
        };
        Self {
            nodes: vec![root],
            by_name: HashMap::new(),
            shapes: Vec::new(),
        }
    }

    /// A tree whose root is filled by `shape`.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self::new().shape("", shape)
    }

    /// Adds a directory, and those above it that are missing.
    ///
    /// Names may hold any bytes but NUL and `/`, here and in all that follows.
    ///
    /// # Panics
    /// If the path is empty, has an empty component, `.`, `..` or a NUL, or leads through something
    /// else than a directory; or if there is something else of that name. So in all that follows.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<[u8]>) -> Self {
        self.make_directory(path.as_ref());
        self
    }

    /// Adds a file of `size` bytes, all zero, and the directories above it that are missing.
    ///
    /// # Panics
    /// See [`Tree::directory`].
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, size: u64) -> Self {
        self.add(path.as_ref(), Kind::File, size, Vec::new())
    }

    /// Adds a symbolic link, and the directories above it that are missing.
    ///
    /// # Panics
    /// See [`Tree::directory`].
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let target = target.as_ref().to_vec();
        self.add(path.as_ref(), Kind::Symlink, target.len() as u64, target)
    }

    /// Adds a pipe, a socket or a device, and the directories above it that are missing.
    ///
    /// # Panics
    /// If `kind` is another, and see [`Tree::directory`].
    #[must_use]
    pub fn special(self, path: impl AsRef<[u8]>, kind: Kind) -> Self {
        let special = !matches!(kind, Kind::File | Kind::Directory | Kind::Symlink);
        assert!(special, "{kind:?} is not special");
        self.add(path.as_ref(), kind, 0, Vec::new())
    }

    /// Fills a directory with `shape`, and adds it where it is missing. An empty path is the root.
    /// Entries may be added one by one beside those of the shape; they are listed first.
    ///
    /// # Panics
    /// If the directory has a shape, or an entry whose name could be one of the shape's (begins
    /// with `d` or `f`), and see [`Tree::directory`].
    #[must_use]
    pub fn shape(mut self, path: impl AsRef<[u8]>, shape: Shape) -> Self {
        let path = path.as_ref();
        let directory = if path.is_empty() {
            ROOT
        } else {
            self.make_directory(path)
        };
        let index = self.shapes.len();
        let node = self.stored_mut(directory);
        assert!(node.shape.replace(index).is_none(), "{path:?} has a shape");
        for child in node.children.clone() {
            let name = &self.stored(child).name;
            assert!(!shape.claims(name), "{name:?} may be a name of the shape");
        }
        self.shapes.push((directory, shape));
        self
    }

    /// All entries, a directory before what is in it, the root not among them.
    ///
    /// This takes no memory but a path and a place for each level. It goes through the whole tree:
    /// ask [`Tree::totals`] for numbers only.
    #[must_use]
    pub fn entries(&self) -> TreeEntries<'_> {
        TreeEntries {
            tree: self,
            path: Vec::new(),
            levels: vec![Level {
                directory: ROOT,
                position: 0,
                length: 0,
            }],
        }
    }

    /// How many entries the tree has, in no time whatever its size.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in &self.nodes[1..] {
            match node.kind {
                Kind::Directory => totals.directories += 1,
                Kind::File => totals.files += 1,
                _ => totals.others += 1,
            }
        }
        for (_, shape) in &self.shapes {
            totals.directories += shape.directories_below();
            totals.files += shape.files_below();
        }
        totals
    }

    pub(crate) fn kind(&self, inode: u64) -> Option<Kind> {
        Some(match self.place(inode)? {
            Place::Stored(node) => node.kind,
            Place::Computed { shape, number, .. } if shape.is_directory(number) => Kind::Directory,
            Place::Computed { .. } => Kind::File,
        })
    }

    pub(crate) fn size(&self, inode: u64) -> Option<u64> {
        Some(match self.place(inode)? {
            Place::Stored(node) => node.size,
            Place::Computed { shape, number, .. } if shape.is_directory(number) => 0,
            Place::Computed { shape, .. } => shape.size_of_files(),
        })
    }

    /// The number of links that a local file system would tell.
    pub(crate) fn links(&self, inode: u64) -> Option<u32> {
        let subdirectories = match self.place(inode)? {
            Place::Stored(node) if node.kind == Kind::Directory => {
                let stored = node.children.iter();
                let stored = stored.filter(|&&child| self.stored(child).kind == Kind::Directory);
                let computed = node
                    .shape
                    .map_or(0, |index| self.shapes[index].1.subdirectories(0));
                stored.count() as u64 + computed
            }
            Place::Computed { shape, number, .. } if shape.is_directory(number) => {
                shape.subdirectories(number)
            }
            _ => return Some(1),
        };
        Some(u32::try_from(subdirectories).map_or(u32::MAX, |count| count.saturating_add(2)))
    }

    pub(crate) fn target(&self, inode: u64) -> Option<&[u8]> {
        match self.place(inode)? {
            Place::Stored(node) if node.kind == Kind::Symlink => Some(&node.target),
            _ => None,
        }
    }

    /// The directory that `inode` is in; the root is in itself.
    pub(crate) fn parent(&self, inode: u64) -> Option<u64> {
        Some(match self.place(inode)? {
            Place::Stored(node) => node.parent,
            Place::Computed {
                index,
                shape,
                number,
            } => self.inode(index, shape.parent(number)),
        })
    }

    /// The name of `inode`; that of the root is empty.
    pub(crate) fn name(&self, inode: u64) -> Option<Vec<u8>> {
        Some(match self.place(inode)? {
            Place::Stored(node) => node.name.clone(),
            Place::Computed { shape, number, .. } => shape.name(number),
        })
    }

    /// The path of `inode` relative to the root, which is empty itself.
    pub(crate) fn path(&self, mut inode: u64) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        while inode != ROOT {
            names.push(self.name(inode)?);
            inode = self.parent(inode)?;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// The entry called `name` in `directory`.
    pub(crate) fn lookup(&self, directory: u64, name: &[u8]) -> Option<u64> {
        let (index, number) = match self.place(directory)? {
            Place::Stored(node) => {
                if let Some(&inode) = self.by_name.get(&(directory, name.to_vec())) {
                    return Some(inode);
                }
                (node.shape?, 0)
            }
            Place::Computed { index, number, .. } => (index, number),
        };
        Some(self.inode(index, self.shapes[index].1.find(number, name)?))
    }

    /// The entry at `position` of `directory`, in the order in which they are listed.
    pub(crate) fn at(&self, directory: u64, position: u64) -> Option<u64> {
        let (index, number, position) = match self.place(directory)? {
            Place::Stored(node) => {
                let stored = node.children.len() as u64;
                if position < stored {
                    return Some(node.children[position as usize]);
                }
                (node.shape?, 0, position - stored)
            }
            Place::Computed { shape, number, .. } if !shape.is_directory(number) => return None,
            Place::Computed { index, number, .. } => (index, number, position),
        };
        Some(self.inode(index, self.shapes[index].1.at(number, position)?))
    }

    fn place(&self, inode: u64) -> Option<Place<'_>> {
        let number = inode & ((1 << SHAPE_BITS) - 1);
        match (inode >> SHAPE_BITS).checked_sub(1) {
            None => self
                .nodes
                .get(usize::try_from(inode.checked_sub(1)?).ok()?)
                .map(Place::Stored),
            Some(index) => {
                let index = usize::try_from(index).ok()?;
                let (_, shape) = self.shapes.get(index)?;
                let known = number != 0 && shape.contains(number);
                known.then_some(Place::Computed {
                    index,
                    shape,
                    number,
                })
            }
        }
    }

    /// The inode number of an entry of a shape.
    fn inode(&self, index: usize, number: u64) -> u64 {
        if number == 0 {
            self.shapes[index].0
        } else {
            (index as u64 + 1) << SHAPE_BITS | number
        }
    }

    fn stored(&self, inode: u64) -> &Node {
        &self.nodes[inode as usize - 1]
    }

    fn stored_mut(&mut self, inode: u64) -> &mut Node {
        &mut self.nodes[inode as usize - 1]
    }

    fn add(mut self, path: &[u8], kind: Kind, size: u64, target: Vec<u8>) -> Self {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (self.make_directory(&path[..slash]), &path[slash + 1..]),
            None => (ROOT, path),
        };
        self.insert(parent, name, kind, size, target);
        self
    }

    /// The inode number of the stored directory at `path`, which is made where it is missing.
    fn make_directory(&mut self, path: &[u8]) -> u64 {
        path.split(|&byte| byte == b'/').fold(ROOT, |parent, name| {
            match self.by_name.get(&(parent, name.to_vec())) {
                Some(&inode) => {
                    let kind = self.stored(inode).kind;
                    assert_eq!(kind, Kind::Directory, "{name:?} in {path:?}");
                    inode
                }
                None => self.insert(parent, name, Kind::Directory, 0, Vec::new()),
            }
        })
    }

    fn insert(&mut self, parent: u64, name: &[u8], kind: Kind, size: u64, target: Vec<u8>) -> u64 {
        let sound = !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
        assert!(sound && name.len() <= 255, "{name:?} is no name");
        let claimed = self
            .stored(parent)
            .shape
            .is_some_and(|index| self.shapes[index].1.claims(name));
        assert!(
            !claimed,
            "{name:?} may be a name of the shape of its directory"
        );
        let inode = self.nodes.len() as u64 + 1;
        let previous = self.by_name.insert((parent, name.to_vec()), inode);
        assert!(previous.is_none(), "there is something called {name:?}");
        let name = name.to_vec();
        self.nodes.push(Node {
            name,
            parent,
            kind,
            size,
            target,
            children: Vec::new(),
            shape: None,
        });
        self.stored_mut(parent).children.push(inode);
        inode
    }
}

/// The entries of a [`Tree`]: see [`Tree::entries`].
#[derive(Debug)]
pub struct TreeEntries<'a> {
    tree: &'a Tree,
    /// The path of the directory that is being gone through.
    path: Vec<u8>,
    levels: Vec<Level>,
}

/// A directory that is being gone through.
#[derive(Debug)]
struct Level {
    directory: u64,
    /// Of the entry that is next.
    position: u64,
    /// How long the path of this directory is.
    length: usize,
}

impl Iterator for TreeEntries<'_> {
    type Item = TreeEntry;

    fn next(&mut self) -> Option<TreeEntry> {
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.length);
            let Some(inode) = self.tree.at(level.directory, level.position) else {
                self.levels.pop();
                continue;
            };
            level.position += 1;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&self.tree.name(inode)?);
            let kind = self.tree.kind(inode)?;
            if kind == Kind::Directory {
                self.levels.push(Level {
                    directory: inode,
                    position: 0,
                    length: self.path.len(),
                });
            }
            let size = self.tree.size(inode)?;
            return Some(TreeEntry {
                path: self.path.clone(),
                kind,
                size,
                inode,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_names_every_entry_once_and_each_path_leads_back_to_it() {
        let tree = Tree::new()
            .file("a/b/stored", 7)
            .symlink("a/link", "b")
            .special("pipe", Kind::Fifo)
            .directory(b"l\xfe")
            .shape("a/b", Shape::balanced(3, 2, 2).file_size(5));
        let tree = tree.shape("", Shape::chain(3, 8)).file("a/x", 1);
        let mut seen = Totals::default();
        for entry in tree.entries() {
            match entry.kind {
                Kind::Directory => seen.directories += 1,
                Kind::File => seen.files += 1,
                _ => seen.others += 1,
            }
            assert_eq!(tree.path(entry.inode).as_ref(), Some(&entry.path));
            let found = entry
                .path
                .split(|&byte| byte == b'/')
                .try_fold(ROOT, |directory, name| tree.lookup(directory, name));
            assert_eq!(found, Some(entry.inode), "{entry:?}");
        }
        assert_eq!(seen, tree.totals());
        // a, b, l\xfe; 3 + 9 in a/b; 3 in the chain.
        assert_eq!(seen.directories, 3 + 12 + 3);
        assert_eq!(seen.files, 2 + 13 * 2);
    }

    #[test]
    #[should_panic(expected = "may be a name of the shape")]
    fn a_name_that_the_shape_of_its_directory_may_give_is_refused() {
        let _ = Tree::of(Shape::files(3)).file("f1", 0);
    }
}
