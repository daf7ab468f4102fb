//! What a sort goes by: fields of records, each in one direction.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use statline_platform::compare_paths;

use crate::field::number;
use crate::{ContentHash, Field, Row};

/// A field and a direction, written `size` or `-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct SortKey {
    /// What to compare.
    pub field: Field,
    /// Whether the largest comes first.
    pub descending: bool,
}

impl SortKey {
    /// By path, a directory right before its contents.
    pub const PATH: SortKey = SortKey {
        field: Field::Path,
        descending: false,
    };

    /// How two rows stand to each other by this key. What is absent is smaller than everything that is there.
    pub(crate) fn compare(self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        let order = match self.field {
            Field::Path => compare_paths(
                (a.directory, a.name.as_bytes()),
                (b.directory, b.name.as_bytes()),
            ),
            Field::Target => a.target.cmp(&b.target),
            Field::Hash => a.hash.cmp(&b.hash),
            Field::FormerPath => a.former.path.cmp(&b.former.path),
            field => number(field, a).cmp(&number(field, b)),
        };
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }

    /// A number that decides most comparisons by this key without the row: where two differ, the rows stand to each
    /// other as the numbers do.
    pub(crate) fn prefix(self, row: &Row<'_>) -> u128 {
        let prefix = match self.field {
            // Only a walk up the directories would tell.
            Field::Path => 0,
            Field::Target => bytes_prefix(row.target.unwrap_or_default()),
            Field::FormerPath => bytes_prefix(row.former.path.unwrap_or_default()),
            Field::Hash => bytes_prefix(row.hash.map_or(&[], |hash| &hash.as_bytes()[..])),
            field => number(field, row).map_or(0, |number| number.saturating_add(1)),
        };
        if self.descending { !prefix } else { prefix }
    }

    /// Appends the value as bytes that stand to those of other rows as the rows do by this key. No such value is the
    /// beginning of another, so values of several keys may follow each other.
    ///
    /// Paths have a form of their own (`sort/path_key.rs`): they are rebuilt from it.
    pub(crate) fn push_bytes(self, row: &Row<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        match self.field {
            Field::Path => {}
            Field::Target => push_terminated(row.target, out),
            Field::FormerPath => push_terminated(row.former.path, out),
            Field::Hash => match row.hash {
                Some(hash) => {
                    out.push(1);
                    out.extend_from_slice(hash.as_bytes());
                }
                None => out.push(0),
            },
            // How many bytes it has, then those: a number of more bytes is larger.
            field => match number(field, row) {
                Some(number) => {
                    let bytes = number.to_be_bytes();
                    let zeros = number.leading_zeros() as usize / 8;
                    out.push(1 + (bytes.len() - zeros) as u8);
                    out.extend_from_slice(&bytes[zeros..]);
                }
                None => out.push(0),
            },
        }
        if self.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// Takes off the front what [`push_bytes`](SortKey::push_bytes) has put there; `None` if that cannot be.
    pub(crate) fn skip_bytes(self, bytes: &mut &[u8]) -> Option<()> {
        let plain = |byte: u8| if self.descending { !byte } else { byte };
        let first = || bytes.first().map(|&byte| usize::from(plain(byte)));
        let length = match self.field {
            Field::Path => 0,
            Field::Target | Field::FormerPath => match first()? {
                0 => 1,
                _ => {
                    let mut pairs = bytes.windows(2);
                    let end = pairs.position(|pair| plain(pair[0]) == 0 && plain(pair[1]) == 0);
                    end? + 2
                }
            },
            Field::Hash => match first()? {
                0 => 1,
                _ => 1 + size_of::<ContentHash>(),
            },
            _ => first()?.max(1),
        };
        *bytes = bytes.get(length..)?;
        Some(())
    }

    /// Whether two rows that both have this prefix are equal by this key.
    pub(crate) fn is_all(self, prefix: u128) -> bool {
        match self.field {
            Field::Path | Field::Hash => false,
            // No target or path holds a zero: one at the end is padding, and it ends before that.
            Field::Target | Field::FormerPath => {
                let prefix = if self.descending { !prefix } else { prefix };
                prefix & 0xff == 0
            }
            // A file id of 128 bits all set would be the exception; no file system has it.
            _ => true,
        }
    }
}

/// Appends bytes so that the end of a shorter value is smaller than what a longer one goes on with.
fn push_terminated(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(bytes) = bytes else {
        out.push(0);
        return;
    };
    out.push(1);
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn bytes_prefix(bytes: &[u8]) -> u128 {
    let mut prefix = [0; 16];
    let length = bytes.len().min(prefix.len());
    prefix[..length].copy_from_slice(&bytes[..length]);
    u128::from_be_bytes(prefix)
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.descending { "-" } else { "" };
        write!(f, "{sign}{}", self.field)
    }
}

/// A text that names no field to sort by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field is called {name:?}; there are {known}")]
pub struct UnknownSortKey {
    name: String,
    known: String,
}

impl FromStr for SortKey {
    type Err = UnknownSortKey;

    fn from_str(text: &str) -> Result<SortKey, UnknownSortKey> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let field = Field::ALL.into_iter().find(|field| field.as_str() == name);
        let field = field.ok_or_else(|| UnknownSortKey {
            name: name.to_owned(),
            known: Field::ALL.map(Field::as_str).join(", "),
        })?;
        Ok(SortKey { field, descending })
    }
}

impl<'de> Deserialize<'de> for SortKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SortKey, D::Error> {
        /// What could have been meant, in the direction that was.
        static ASCENDING: LazyLock<Vec<&str>> =
            LazyLock::new(|| Field::ALL.map(Field::as_str).to_vec());
        static DESCENDING: LazyLock<Vec<&str>> = LazyLock::new(|| {
            let names = Field::ALL.map(|field| format!("-{field}"));
            names.map(|name| &*name.leak()).to_vec()
        });
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|_| match text.starts_with('-') {
            true => de::Error::unknown_variant(&text, &DESCENDING),
            false => de::Error::unknown_variant(&text, &ASCENDING),
        })
    }
}

impl From<SortKey> for String {
    fn from(key: SortKey) -> String {
        key.to_string()
    }
}

impl JsonSchema for SortKey {
    fn schema_name() -> Cow<'static, str> {
        "SortKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Field::ALL.map(Field::as_str);
        json_schema!({
            "type": "string",
            "description": "A field, with a minus in front for the other direction.",
            "pattern": format!("^-?({})$", names.join("|")),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ended_bytes_compare_as_the_bytes_do_whatever_follows(
            a in prop::option::of(prop::collection::vec(0u8..3, 0..5)), b in prop::option::of(prop::collection::vec(0u8..3, 0..5)),
            follows in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let ended = |bytes: &Option<Vec<u8>>, follows: &[u8]| {
                let mut out = Vec::new();
                push_terminated(bytes.as_deref(), &mut out);
                out.extend_from_slice(follows);
                out
            };
            prop_assert!(a == b || ended(&a, &follows).cmp(&ended(&b, &[])) == a.cmp(&b));
        }
    }

    #[test]
    fn keys_read_as_they_are_written() {
        for name in Field::ALL {
            for text in [name.to_string(), format!("-{name}")] {
                assert_eq!(text.parse::<SortKey>().unwrap().to_string(), text);
            }
        }
        let error = "-sise".parse::<SortKey>().unwrap_err().to_string();
        assert!(error.starts_with("no field is called \"sise\"; there are path, kind, "));
        assert!("--size".parse::<SortKey>().is_err());
    }
}
