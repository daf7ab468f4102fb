//! The roots of a run, and what its store calls them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use statline_pipeline::StageError;
use statline_platform::DirNode;

use crate::store::{Root, Store};

/// The roots of a run in its store.
pub(super) struct Roots {
    store: Arc<Store>,
    /// Whether the job says what its roots are called.
    has_ids: bool,
    /// By path, one map for each answer to whether links are followed.
    known: [HashMap<PathBuf, Root>; 2],
}

impl Roots {
    pub(super) fn new(store: &Arc<Store>, has_ids: bool) -> Roots {
        Roots {
            store: Arc::clone(store),
            has_ids,
            known: Default::default(),
        }
    }

    /// The root above a directory.
    ///
    /// # Errors
    /// If another root has the same id: their contents would be taken for each other's.
    pub(super) fn above(
        &mut self,
        directory: &DirNode,
        follows_links: bool,
    ) -> Result<Root, StageError> {
        let path = directory.root_path();
        let known = &mut self.known[usize::from(follows_links)];
        if let Some(root) = known.get(path) {
            return Ok(*root);
        }
        let id = self.store.id_of(path, follows_links);
        let root = self.store.root(&id)?;
        let other = known.iter().find(|(_, other)| **other == root);
        if let Some((other, _)) = other
            && self.has_ids
        {
            return Err(StageError::failed(format!(
                "the roots {} and {} have the same id in the cache; give each its own, as in \
                 id = {{ {:?} = \"a\", {:?} = \"b\" }}",
                other.display(),
                path.display(),
                other.display().to_string(),
                path.display().to_string(),
            )));
        }
        known.insert(path.to_owned(), root);
        Ok(root)
    }
}
