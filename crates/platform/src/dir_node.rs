//! The place of a directory in its tree, without a descriptor.
//!
//! Records, queues and sorted runs hold nodes; [`Handles`](crate::Handles) opens them when they are
//! needed. A node links to its parent, so a path is put together only where one is written: a tree
//! 5,000 levels deep has paths of a megabyte. For the same reason nothing here may recurse along
//! the chain, dropping included.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
#[cfg(unix)]
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

#[cfg(unix)]
use crate::Metadata;
use crate::{FileId, Name, with_slashes};

/// What tells a directory from every other: compared at each reopening, and for loops and mount
/// points.
///
/// Two are equal if device and file id are. The mount is not compared: it tells a bind mount from
/// the directory that it shows.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The device of the file system.
    pub device: u64,
    /// The directory's number in it.
    pub file_id: FileId,
    /// The mount, where the system tells.
    pub mount_id: Option<u64>,
}

impl Identity {
    /// The identity in the metadata of an open directory.
    #[cfg(unix)]
    pub(crate) fn from_metadata(metadata: &Metadata) -> io::Result<Identity> {
        match (metadata.device(), metadata.file_id()) {
            (Some(device), Some(file_id)) => Ok(Identity {
                device,
                file_id,
                mount_id: metadata.mount_id(),
            }),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.device == other.device && self.file_id == other.file_id
    }
}

impl Eq for Identity {}

/// A directory's place: its parent's node and its name there, or the path of a root.
pub struct DirNode {
    parent: Option<Arc<DirNode>>,
    /// With a trailing NUL. The path as the user gave it for a root, one component for every other
    /// node.
    name: Box<[u8]>,
    depth: u32,
    followed: bool,
    /// Where [`Handles`](crate::Handles) put this directory last. Only a hint.
    slot: AtomicU32,
    identity: OnceLock<Identity>,
}

impl DirNode {
    /// The node of a root, named by a path. The empty path is the current directory, whose entries
    /// then have paths of their names alone. On Windows its separators become slashes.
    #[must_use]
    pub fn root(path: &Path) -> Arc<DirNode> {
        Arc::new(DirNode {
            parent: None,
            name: terminate(with_slashes(path).as_os_str().as_encoded_bytes()),
            depth: 0,
            followed: true,
            slot: AtomicU32::new(u32::MAX),
            identity: OnceLock::new(),
        })
    }

    /// The directory `name` in `parent`. Opening it refuses a symbolic link.
    #[must_use]
    pub fn child(parent: &Arc<DirNode>, name: Name<'_>) -> Arc<DirNode> {
        DirNode::below(parent, name, false)
    }

    /// The directory that the symbolic link `name` in `parent` leads to. Opening it follows the
    /// link, each time.
    #[must_use]
    pub fn child_followed(parent: &Arc<DirNode>, name: Name<'_>) -> Arc<DirNode> {
        DirNode::below(parent, name, true)
    }

    fn below(parent: &Arc<DirNode>, name: Name<'_>, followed: bool) -> Arc<DirNode> {
        Arc::new(DirNode {
            parent: Some(Arc::clone(parent)),
            name: terminate(name.as_bytes()),
            // Saturates where no tree can be: each level takes memory for its node.
            depth: parent.depth.saturating_add(1),
            followed,
            slot: AtomicU32::new(u32::MAX),
            identity: OnceLock::new(),
        })
    }

    /// The directory that this one is in, `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<&Arc<DirNode>> {
        self.parent.as_ref()
    }

    /// The name in the parent; [`Name::EMPTY`] for a root.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        if self.is_root() {
            Name::EMPTY
        } else {
            Name::from_terminated(&self.name)
        }
    }

    /// How many directories are above this one: 0 for a root.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether this is a root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether opening this directory follows a symbolic link: roots, and nodes made by
    /// [`DirNode::child_followed`].
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followed
    }

    /// What the directory was when it was first opened; `None` before that.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Notes what the directory was, as known from another node of it, unless this one knows.
    /// Whoever opens it compares.
    pub fn expect_identity(&self, identity: Identity) {
        let _ = self.identity.set(identity);
    }

    pub(crate) fn slot_hint(&self) -> usize {
        self.slot.load(Relaxed) as usize
    }

    pub(crate) fn set_slot_hint(&self, slot: usize) {
        self.slot
            .store(u32::try_from(slot).unwrap_or(u32::MAX), Relaxed);
    }

    /// Notes what the directory is. Returns whether that is what it was before, if it was opened
    /// before.
    pub(crate) fn confirm(&self, found: Identity) -> bool {
        *self.identity.get_or_init(|| found) == found
    }

    /// This node, its parent, and so on up to the root.
    #[must_use]
    pub fn ancestors(&self) -> Ancestors<'_> {
        Ancestors(Some(self))
    }

    /// The path of the root above this node, as it was given.
    #[must_use]
    pub fn root_path(&self) -> &Path {
        let root = self.ancestors().last().unwrap_or(self);
        // SAFETY: the bytes are those of the path that `DirNode::root` made.
        Path::new(unsafe { OsStr::from_encoded_bytes_unchecked(root.bytes()) })
    }

    /// Appends the path: the root's as it was given, then one component per level. No slash is
    /// doubled.
    pub fn write_path(&self, out: &mut Vec<u8>) {
        // Two walks up instead of a list of ancestors: one for the length, one that fills in from
        // the end.
        let mut length = 0;
        for node in self.ancestors() {
            length += node.bytes().len() + usize::from(node.needs_separator());
        }
        let start = out.len();
        out.resize(start + length, 0);
        let mut end = out.len();
        for node in self.ancestors() {
            let bytes = node.bytes();
            end -= bytes.len();
            out[end..end + bytes.len()].copy_from_slice(bytes);
            if node.needs_separator() {
                end -= 1;
                out[end] = b'/';
            }
        }
    }

    /// Appends the path of the entry `name` in this directory; of the directory itself if the name
    /// is empty.
    pub fn write_entry_path(&self, name: Name<'_>, out: &mut Vec<u8>) {
        self.write_path(out);
        if !name.is_empty() {
            if self.separates_children() {
                out.push(b'/');
            }
            out.extend_from_slice(name.as_bytes());
        }
    }

    /// Appends the path of the entry `name` in this directory, as seen from the root: without the
    /// root's own path, and without a slash in front. Nothing for the root itself.
    pub fn write_relative_path(&self, name: Name<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_entry_path(name, out);
        let root = self.ancestors().last().unwrap_or(self);
        let mut skipped = root.bytes().len();
        if out.len() > start + skipped && root.separates_children() {
            skipped += 1;
        }
        out.drain(start..start + skipped);
    }

    /// The path, see [`DirNode::write_path`].
    #[must_use]
    pub fn path_bytes(&self) -> Vec<u8> {
        let mut path = Vec::new();
        self.write_path(&mut path);
        path
    }

    /// The memory that this node takes, in bytes, its ancestors not included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // Two counters in front of what an `Arc` holds; allocators round to 16 bytes.
        size_of::<DirNode>() + 2 * size_of::<usize>() + self.name.len().next_multiple_of(16)
    }

    fn bytes(&self) -> &[u8] {
        &self.name[..self.name.len() - 1]
    }

    /// Whether a slash belongs between this path and a name below it.
    fn separates_children(&self) -> bool {
        !(self.is_root() && (self.bytes().is_empty() || self.bytes().ends_with(b"/")))
    }

    fn needs_separator(&self) -> bool {
        self.parent
            .as_ref()
            .is_some_and(|parent| parent.separates_children())
    }
}

impl Drop for DirNode {
    fn drop(&mut self) {
        // The derived way would recurse once per level.
        let mut parent = self.parent.take();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl fmt::Debug for DirNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the parent: a chain may be thousands of levels long.
        f.debug_struct("DirNode")
            .field("name", &format_args!("\"{}\"", self.bytes().escape_ascii()))
            .field("depth", &self.depth)
            .field("identity", &self.identity.get())
            .finish_non_exhaustive()
    }
}

/// A node and those above it, see [`DirNode::ancestors`].
#[derive(Clone, Debug)]
pub struct Ancestors<'a>(Option<&'a DirNode>);

impl<'a> Iterator for Ancestors<'a> {
    type Item = &'a DirNode;

    fn next(&mut self) -> Option<&'a DirNode> {
        let node = self.0?;
        self.0 = node.parent.as_deref();
        Some(node)
    }
}

/// Compares two entries, each given as its directory and its name there, in path order: component
/// by component, by bytes.
///
/// So a directory (the empty name, or its name in its parent) comes right before its contents,
/// whatever bytes its siblings' names hold. Roots are ordered by the bytes of their paths. No path
/// is built, and entries of one directory cost one comparison of their names.
#[must_use]
pub fn compare_paths(a: (&DirNode, &[u8]), b: (&DirNode, &[u8])) -> Ordering {
    compare(a, b, true)
}

/// As [`compare_paths`], by what of the paths is below the roots: that of one entry in two trees is equal.
#[must_use]
pub fn compare_relative_paths(a: (&DirNode, &[u8]), b: (&DirNode, &[u8])) -> Ordering {
    compare(a, b, false)
}

fn compare(a: (&DirNode, &[u8]), b: (&DirNode, &[u8]), with_roots: bool) -> Ordering {
    let (mut a_node, mut a_next) = a;
    let (mut b_node, mut b_next) = b;
    if std::ptr::eq(a_node, b_node) {
        return a_next.cmp(b_next);
    }
    let components =
        |node: &DirNode, name: &[u8]| u64::from(node.depth) + u64::from(!name.is_empty());
    let (a_components, b_components) = (components(a_node, a_next), components(b_node, b_next));

    // Up to the same depth; `*_next` is then the component right below the node.
    while a_node.depth > b_node.depth {
        let Some(parent) = a_node.parent.as_deref() else {
            break;
        };
        a_next = a_node.bytes();
        a_node = parent;
    }
    while b_node.depth > a_node.depth {
        let Some(parent) = b_node.parent.as_deref() else {
            break;
        };
        b_next = b_node.bytes();
        b_node = parent;
    }
    // If these components are equal, one path is the start of the other (or both are equal).
    let mut order = a_next.cmp(b_next).then(a_components.cmp(&b_components));
    // The difference nearest to the root decides. Above a common ancestor there is none.
    while !std::ptr::eq(a_node, b_node) {
        if with_roots || !a_node.is_root() || !b_node.is_root() {
            order = a_node.bytes().cmp(b_node.bytes()).then(order);
        }
        let (Some(a_parent), Some(b_parent)) = (a_node.parent.as_deref(), b_node.parent.as_deref())
        else {
            break;
        };
        (a_node, b_node) = (a_parent, b_parent);
    }
    order
}

fn terminate(bytes: &[u8]) -> Box<[u8]> {
    let mut terminated = Vec::with_capacity(bytes.len() + 1);
    terminated.extend_from_slice(bytes);
    terminated.push(0);
    terminated.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NameBuf;
    use proptest::prelude::*;

    fn child(parent: &Arc<DirNode>, name: &[u8]) -> Arc<DirNode> {
        DirNode::child(parent, NameBuf::new(name).unwrap().as_name())
    }

    #[test]
    fn paths_join_without_doubling_a_slash() {
        let c = NameBuf::new(b"c").unwrap();
        for (root, expected) in [
            ("/", "/a/b"),
            ("dir", "dir/a/b"),
            ("dir/", "dir/a/b"),
            (".", "./a/b"),
            ("", "a/b"),
        ] {
            let node = child(&child(&DirNode::root(Path::new(root)), b"a"), b"b");
            assert_eq!(node.path_bytes(), expected.as_bytes());
            assert_eq!(node.root_path(), Path::new(root));
            let mut entry = b"> ".to_vec();
            node.write_entry_path(c.as_name(), &mut entry);
            assert_eq!(entry, format!("> {expected}/c").as_bytes());
            let mut relative = b"> ".to_vec();
            node.write_relative_path(c.as_name(), &mut relative);
            assert_eq!(relative, b"> a/b/c");
        }
        for (root, expected) in [("/", "/c"), ("dir", "dir/c"), ("dir/", "dir/c"), ("", "c")] {
            let node = DirNode::root(Path::new(root));
            let (mut entry, mut relative, mut itself) = (Vec::new(), Vec::new(), Vec::new());
            node.write_entry_path(c.as_name(), &mut entry);
            node.write_relative_path(c.as_name(), &mut relative);
            node.write_relative_path(Name::EMPTY, &mut itself);
            assert_eq!(
                (&entry[..], &relative[..]),
                (expected.as_bytes(), &b"c"[..])
            );
            assert_eq!(
                (node.path_bytes(), itself),
                (root.as_bytes().to_vec(), Vec::new())
            );
            assert!(node.name().is_empty());
        }
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_levels_is_dropped_without_recursion() {
        let mut node = DirNode::root(Path::new("root"));
        for _ in 0..100_000 {
            node = child(&node, b"d");
        }
        assert_eq!(node.depth(), 100_000);
        let lengthy = node.path_bytes();
        assert_eq!(lengthy.len(), "root".len() + 2 * 100_000);
        // A small stack makes the test fail whatever the default is.
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || drop(node))
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn an_identity_once_taken_must_be_met_again() {
        let node = DirNode::root(Path::new("root"));
        let identity = |file: u64, mount_id| Identity {
            device: 1,
            file_id: file.into(),
            mount_id,
        };
        assert!(node.confirm(identity(2, None)));
        assert!(node.confirm(identity(2, Some(3))));
        assert!(!node.confirm(identity(4, None)));
        assert_eq!(node.identity(), Some(&identity(2, None)));
    }

    /// Few names, of few and tricky bytes, so that paths often share a beginning; `.` sorts before
    /// `/`.
    fn component() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b".a\xff".to_vec()), 1..3)
    }

    proptest! {
        #[test]
        fn path_order_is_the_order_of_component_lists(
            paths in prop::collection::vec(
                (0usize..2, prop::collection::vec(component(), 0..4), prop::option::of(component())),
                2..6,
            ),
            share in any::<bool>(),
        ) {
            let roots = [DirNode::root(Path::new("r")), DirNode::root(Path::new("r2"))];
            let mut made: Vec<(Vec<Vec<u8>>, Arc<DirNode>)> = Vec::new();
            let mut rows = Vec::new();
            for (root, directories, name) in &paths {
                let mut node = Arc::clone(&roots[*root]);
                let mut list = vec![node.path_bytes()];
                for directory in directories {
                    list.push(directory.clone());
                    // With and without sharing nodes: the order must not depend on it.
                    let known = made.iter().find(|(other, _)| share && *other == list);
                    node = known.map_or_else(|| child(&node, directory), |(_, node)| Arc::clone(node));
                    made.push((list.clone(), Arc::clone(&node)));
                }
                list.extend(name.clone());
                rows.push((list, node, name.clone().unwrap_or_default()));
            }
            for (a_list, a_node, a_name) in &rows {
                for (b_list, b_node, b_name) in &rows {
                    let order = compare_paths((a_node, a_name), (b_node, b_name));
                    prop_assert_eq!(order, a_list.cmp(b_list));
                    let order = compare_relative_paths((a_node, a_name), (b_node, b_name));
                    prop_assert_eq!(order, a_list[1..].cmp(&b_list[1..]));
                }
            }
        }
    }
}
