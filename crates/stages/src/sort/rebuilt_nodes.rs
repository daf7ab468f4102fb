//! Nodes of directories, made again from the paths in sorted runs.
//!
//! Roots are the nodes that came in. Below them, the directories of the last entry are kept: in path order the next
//! entry shares most of them. In another order some that were made lately are kept beside.

use std::collections::HashMap;
use std::sync::Arc;

use statline_platform::{DirNode, NameBuf};

use super::path_key::{self, component_end};
use crate::byte_prefix;
use crate::packed::take_varint;

/// Memory that directories made lately may take, in bytes.
const MOST_LATELY: usize = 1 << 20;

/// The roots of all rows, by their paths.
pub(crate) type Roots = HashMap<Box<[u8]>, Arc<DirNode>, foldhash::fast::RandomState>;

/// Makes nodes.
pub(crate) struct RebuiltNodes {
    roots: Roots,
    /// The path of the last directory, and the nodes of it and of all above it, the root first.
    path: Vec<u8>,
    above: Vec<Level>,
    lately: Option<Lately>,
}

struct Level {
    /// Where its path ends within that of the last directory.
    end: usize,
    node: Arc<DirNode>,
}

#[derive(Default)]
struct Lately {
    nodes: HashMap<Box<[u8]>, Arc<DirNode>, foldhash::fast::RandomState>,
    bytes: usize,
}

impl RebuiltNodes {
    /// `in_path_order` says whether directories come in the order of their paths.
    pub(crate) fn new(roots: Roots, in_path_order: bool) -> RebuiltNodes {
        RebuiltNodes {
            roots,
            path: Vec::new(),
            above: Vec::new(),
            lately: (!in_path_order).then(Lately::default),
        }
    }

    /// The node of a directory; `followed` are the depths at which links lead to it or to one above it. `None` if there
    /// was no such root, or it can be no path.
    pub(super) fn node(&mut self, path: &[u8], followed: &[u8]) -> Option<&Arc<DirNode>> {
        if self.above.is_empty() || self.path != path {
            self.turn_to(path, followed)?;
        }
        self.above.last().map(|level| &level.node)
    }

    fn turn_to(&mut self, path: &[u8], followed: &[u8]) -> Option<()> {
        let shared = byte_prefix::shared(&self.path, path);
        while self
            .above
            .pop_if(|level| !is_above(level.end, shared, path))
            .is_some()
        {}
        self.path.clear();
        self.path.extend_from_slice(path);
        loop {
            let start = match self.above.last() {
                Some(level) if level.end == path.len() => return Some(()),
                // Behind the separator.
                Some(level) => level.end + 1,
                None => 0,
            };
            let end = component_end(path, start);
            let node = self.make(path, start, end, followed)?;
            self.above.push(Level { end, node });
        }
    }

    /// The node of the directory that the component at a place of a path names.
    fn make(
        &mut self,
        path: &[u8],
        start: usize,
        end: usize,
        followed: &[u8],
    ) -> Option<Arc<DirNode>> {
        let Some(parent) = self.above.last().map(|level| &level.node) else {
            return self.roots.get(&path[..end]).cloned();
        };
        let known = self
            .lately
            .as_ref()
            .and_then(|lately| lately.nodes.get(&path[..end]));
        if let Some(known) = known {
            return Some(Arc::clone(known));
        }
        let name = NameBuf::new(&path[start..end]).ok()?;
        let node = match is_followed(parent.depth() + 1, followed)? {
            true => DirNode::child_followed(parent, name.as_name()),
            false => DirNode::child(parent, name.as_name()),
        };
        if let Some(lately) = &mut self.lately {
            lately.add(&path[..end], &node);
        }
        Some(node)
    }
}

impl Lately {
    fn add(&mut self, path: &[u8], node: &Arc<DirNode>) {
        // Which of them will be wanted again nobody knows; those that are will soon be back.
        if self.bytes > MOST_LATELY {
            *self = Lately::default();
        }
        self.bytes += node.heap_bytes() + path.len() + size_of::<(Box<[u8]>, Arc<DirNode>)>();
        self.nodes.insert(path.into(), Arc::clone(node));
    }
}

/// Whether a directory whose path ends at `end`, and begins as `path` does for `shared` bytes, is `path` or above it.
fn is_above(end: usize, shared: usize, path: &[u8]) -> bool {
    end <= shared
        && path
            .get(end)
            .is_none_or(|&byte| byte == path_key::SEPARATOR)
}

fn is_followed(depth: u32, mut followed: &[u8]) -> Option<bool> {
    while !followed.is_empty() {
        if take_varint(&mut followed)? == u64::from(depth) {
            return Some(true);
        }
    }
    Some(false)
}
