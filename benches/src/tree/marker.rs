//! The file beside a tree that says who made it and from what.
//!
//! What must stay true: it is written after the last entry, so where it is, the tree was once whole.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Counts, Error, Parameters};
use crate::error::IoContext;

/// Raised when the same parameters come to mean another tree.
const VERSION: u32 = 1;

/// What a marker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u32,
    pub(super) parameters: Parameters,
    pub(super) counts: Counts,
}

impl Marker {
    pub(super) fn new(parameters: Parameters, counts: Counts) -> Self {
        Self {
            version: VERSION,
            parameters,
            counts,
        }
    }

    /// Where the marker of a tree lies: beside it, not in it, so that it is not measured.
    pub(super) fn path(root: &Path) -> Result<PathBuf, Error> {
        let mut name = root
            .file_name()
            .ok_or_else(|| Error::Nameless(root.to_owned()))?
            .to_owned();
        name.push(".tree.json");
        Ok(root.with_file_name(name))
    }

    /// Reads a marker; `None` when there is none, or when it is of another version and so describes another tree.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.try_exists().during("look for", path)? {
            return Ok(None);
        }
        let text = fs::read_to_string(path).during("read", path)?;
        let marker: Self = serde_json::from_str(&text).map_err(|source| Error::Marker {
            path: path.to_owned(),
            source,
        })?;
        Ok((marker.version == VERSION).then_some(marker))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(|source| Error::Marker {
            path: path.to_owned(),
            source,
        })?;
        fs::write(path, text + "\n").during("write", path)?;
        Ok(())
    }
}
