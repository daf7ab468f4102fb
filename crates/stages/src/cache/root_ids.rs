//! By what a store knows a root again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use statline_pipeline::StageError;
use statline_platform::DirNode;

use crate::store::{Root, Store, StoreError};

/// The option `id`: one for the only root, or one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RootIds {
    /// The id of the root.
    One(String),
    /// The ids of roots, by their paths as the job names them.
    Each(BTreeMap<PathBuf, String>),
}

impl<'de> Deserialize<'de> for RootIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RootIds, D::Error> {
        struct RootIdsVisitor;

        impl<'de> Visitor<'de> for RootIdsVisitor {
            type Value = RootIds;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "an id such as \"archive\", or one for each root, { \"/mnt/a\" = \"archive\" }",
                )
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<RootIds, E> {
                match id {
                    "" => Err(E::custom("an empty id tells nothing apart")),
                    id => Ok(RootIds::One(id.to_owned())),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RootIds, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(RootIds::Each)
            }
        }

        deserializer.deserialize_any(RootIdsVisitor)
    }
}

impl JsonSchema for RootIds {
    fn schema_name() -> Cow<'static, str> {
        "RootIds".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "additionalProperties": { "type": "string" } }
            ]
        })
    }
}

/// What a store calls the root at `path`. With links followed a tree has other contents, so it counts as another one.
pub(crate) fn store_id(ids: Option<&RootIds>, path: &Path, follows_links: bool) -> Vec<u8> {
    let given = match ids {
        None => None,
        Some(RootIds::One(id)) => Some(id.as_bytes()),
        Some(RootIds::Each(ids)) => ids.get(path).map(String::as_bytes),
    };
    let mut id = Vec::new();
    if follows_links {
        id.extend_from_slice(b"links followed, ");
    }
    match given {
        Some(given) => {
            id.extend_from_slice(b"id ");
            id.extend_from_slice(given);
        }
        None => {
            id.extend_from_slice(b"path ");
            let path = match path.as_os_str().is_empty() {
                true => Path::new("."),
                false => path,
            };
            // That fails only where the working directory is gone; then the path is all there is.
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            // Without slashes that mean nothing.
            let tidy: PathBuf = absolute.components().collect();
            id.extend_from_slice(tidy.as_os_str().as_encoded_bytes());
        }
    }
    id
}

/// The roots of a run in its store.
pub(super) struct Roots {
    store: Arc<Store>,
    ids: Option<RootIds>,
    /// By path, one map for each answer to whether links are followed.
    known: [HashMap<PathBuf, Root>; 2],
}

impl Roots {
    pub(super) fn new(store: &Arc<Store>, ids: Option<RootIds>) -> Roots {
        Roots {
            store: Arc::clone(store),
            ids,
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
        let id = store_id(self.ids.as_ref(), path, follows_links);
        let root = self.store.root(&id).map_err(StageError::failed)?;
        let other = known.iter().find(|(_, other)| **other == root);
        if let Some((other, _)) = other
            && self.ids.is_some()
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

/// An error of a store as that of a stage.
impl From<StoreError> for StageError {
    fn from(error: StoreError) -> StageError {
        StageError::failed(error)
    }
}
