//! What the stages of a run that list leave out by pattern, for those who must tell a name that is left out from one
//! that is gone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use statline_pipeline::{Opening, StageError};
use statline_platform::{DirNode, Name};

use crate::exclude::Excludes;

/// Shared through [`Opening::resource`].
#[derive(Default)]
pub(crate) struct LeftOut {
    /// The roots of the stages that have patterns, as they were named.
    by_root: Mutex<Vec<(PathBuf, Arc<Excludes>)>>,
}

impl LeftOut {
    /// What is left out in the run.
    pub(crate) fn of_run(stage: &Opening<'_>) -> Result<Arc<LeftOut>, StageError> {
        stage.resource(|| Ok(LeftOut::default()))
    }

    /// Notes what is left out below a root. Called while the stage opens.
    pub(crate) fn note(&self, root: &Path, excludes: &Arc<Excludes>) {
        if excludes.any() {
            let mut by_root = self.by_root.lock().unwrap_or_else(PoisonError::into_inner);
            by_root.push((root.to_owned(), Arc::clone(excludes)));
        }
    }

    /// What is left out of a directory.
    pub(crate) fn of_directory(&self, directory: &DirNode) -> Patterns {
        let by_root = self.by_root.lock().unwrap_or_else(PoisonError::into_inner);
        if by_root.is_empty() {
            return Patterns::default();
        }
        let root = directory.root_path();
        let sets = by_root.iter().filter(|(known, _)| known == root);
        let sets = sets.map(|(_, excludes)| {
            let mut prefix = Vec::new();
            excludes.write_prefix(directory, &mut prefix);
            (Arc::clone(excludes), prefix)
        });
        Patterns {
            sets: sets.collect(),
        }
    }
}

/// The patterns that leave out entries of one directory.
#[derive(Default)]
pub(crate) struct Patterns {
    /// Each with the path that its patterns are about.
    sets: Vec<(Arc<Excludes>, Vec<u8>)>,
}

impl Patterns {
    /// Whether an entry is left out.
    pub(crate) fn match_entry(&mut self, name: Name<'_>, is_directory: bool) -> bool {
        let mut sets = self.sets.iter_mut();
        sets.any(|(excludes, prefix)| excludes.matches(prefix, name, is_directory))
    }
}
