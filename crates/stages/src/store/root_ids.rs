//! By what a store knows a root again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

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
pub(super) fn root_id(ids: Option<&RootIds>, path: &Path, follows_links: bool) -> Vec<u8> {
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
