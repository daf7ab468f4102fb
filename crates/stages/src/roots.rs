//! Where a scan begins.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use statline_platform::{path_from_bytes, with_slashes};

/// The fact by which a stage states where its scan begins: a list of absolute [`RootPath`]s.
pub(crate) const ROOTS: &str = "roots";

/// A root as a job names it: a string, or `{ base64 = "…" }` for a path that is not UTF-8.
///
/// On Windows its separators become slashes, as everywhere below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPath(PathBuf);

impl RootPath {
    /// This path.
    pub fn new(path: impl Into<PathBuf>) -> RootPath {
        let path = path.into();
        match with_slashes(&path) {
            Cow::Owned(slashed) => RootPath(slashed),
            Cow::Borrowed(_) => RootPath(path),
        }
    }

    /// The root from the file system's own root on. Links in it are not resolved: it is what was named.
    pub(crate) fn absolute(&self) -> RootPath {
        // That fails only where the working directory is gone; then the path is all there is.
        RootPath::new(std::path::absolute(&self.0).unwrap_or_else(|_| self.0.clone()))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Serialize for RootPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(path) => serializer.serialize_str(path),
            None => serializer.collect_map([(
                "base64",
                BASE64_STANDARD.encode(self.0.as_os_str().as_encoded_bytes()),
            )]),
        }
    }
}

impl<'de> Deserialize<'de> for RootPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RootPath, D::Error> {
        struct RootVisitor;

        impl<'de> Visitor<'de> for RootVisitor {
            type Value = RootPath;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a path such as \"/data\", or { base64 = \"…\" } for one that is not UTF-8",
                )
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<RootPath, E> {
                match path {
                    "" => Err(E::custom(
                        "an empty path names nothing; write \".\" for the current directory",
                    )),
                    path if path.contains('\0') => {
                        Err(E::custom("a path cannot hold a NUL character"))
                    }
                    path => Ok(RootPath::new(path)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RootPath, A::Error> {
                let map = MapAccessDeserializer::new(map);
                EncodedPath::deserialize(map).map(|path| RootPath::new(path.base64))
            }
        }

        deserializer.deserialize_any(RootVisitor)
    }
}

/// The table of a path that is not UTF-8.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedPath {
    #[serde(deserialize_with = "path_from_base64")]
    base64: PathBuf,
}

fn path_from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    let bytes = BASE64_STANDARD
        .decode(&*text)
        .map_err(|_| de::Error::custom(format!("{text:?} is not base64")))?;
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(de::Error::custom(
            "a path is not empty and holds no NUL byte",
        ));
    }
    path_from_bytes(bytes).ok_or_else(|| de::Error::custom("not a path of this system"))
}

impl JsonSchema for RootPath {
    fn schema_name() -> Cow<'static, str> {
        "RootPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "properties": { "base64": { "type": "string" } }, "required": ["base64"] }
            ]
        })
    }
}

/// Leaves out what another root covers: the same directory named twice, and, if `nested` says so, a directory below
/// another root. The order stays. Each root comes with what it resolves to.
///
/// A root that does not exist is kept, so that opening it tells.
pub(crate) fn merge_roots(roots: Vec<(PathBuf, Option<PathBuf>)>, nested: bool) -> Vec<PathBuf> {
    let covers = |other: usize, this: usize| match (&roots[other].1, &roots[this].1) {
        (Some(a), Some(b)) if a == b => other < this,
        (Some(a), Some(b)) => nested && b.starts_with(a),
        _ => false,
    };
    let covered: Vec<bool> = (0..roots.len())
        .map(|this| (0..roots.len()).any(|other| other != this && covers(other, this)))
        .collect();
    let roots = roots.into_iter().zip(covered);
    roots
        .filter(|(_, covered)| !covered)
        .map(|((path, _), _)| path)
        .collect()
}
