//! What a sort goes by: fields of records, each in one direction.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use statline_platform::{Fields, Kind, Metadata, Timestamp, compare_paths};

use crate::record_batch::Change;
use crate::row::Row;

/// A field to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The whole path, component by component.
    Path,
    /// The last component.
    Name,
    /// How far below its root.
    Depth,
    /// The target of a symbolic link.
    Target,
    /// The mark of a cache.
    Change,
    /// One field of the metadata.
    Metadata(Fields),
}

impl Field {
    const OWN: [(&'static str, Field); 5] = [
        ("path", Field::Path),
        ("name", Field::Name),
        ("depth", Field::Depth),
        ("target", Field::Target),
        ("change", Field::Change),
    ];

    fn names() -> impl Iterator<Item = &'static str> {
        let own = Field::OWN.iter().map(|(name, _)| *name);
        own.chain(Fields::ALL.names())
    }

    fn from_name(name: &str) -> Option<Field> {
        let own = Field::OWN.iter().find(|(known, _)| *known == name);
        own.map(|(_, field)| *field)
            .or_else(|| Fields::from_field_name(name).map(Field::Metadata))
    }

    /// The field's name in options and in what a stage says of its output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Metadata(field) => field.names().next().unwrap_or_default(),
            own => Field::OWN
                .iter()
                .find(|(_, field)| *field == own)
                .map_or("", |(name, _)| *name),
        }
    }

    /// Whether every record has it, whatever was fetched.
    pub(crate) fn is_always_there(self) -> bool {
        matches!(self, Field::Path | Field::Name | Field::Depth)
    }
}

/// A field and a direction, written `size` or `-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SortKey {
    pub(crate) field: Field,
    pub(crate) descending: bool,
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
            Field::Name => a.name.cmp(&b.name),
            Field::Target => a.target.cmp(&b.target),
            Field::Depth | Field::Change | Field::Metadata(_) => {
                self.number(a).cmp(&self.number(b))
            }
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
            Field::Name => bytes_prefix(row.name.as_bytes()),
            Field::Target => bytes_prefix(row.target.unwrap_or_default()),
            Field::Depth | Field::Change | Field::Metadata(_) => self
                .number(row)
                .map_or(0, |number| number.saturating_add(1)),
        };
        if self.descending { !prefix } else { prefix }
    }

    /// Whether two rows that both have this prefix are equal by this key.
    pub(crate) fn is_all(self, prefix: u128) -> bool {
        match self.field {
            Field::Path => false,
            // No name and no target holds a zero: one at the end is padding, and the name ends before it.
            Field::Name | Field::Target => {
                let prefix = if self.descending { !prefix } else { prefix };
                prefix & 0xff == 0
            }
            // A file id of 128 bits all set would be the exception; no file system has it.
            Field::Depth | Field::Change | Field::Metadata(_) => true,
        }
    }

    fn number(self, row: &Row<'_>) -> Option<u128> {
        match self.field {
            Field::Depth => Some(row.depth().into()),
            Field::Change => row.change.map(|change| match change {
                Change::New => 0,
                Change::Changed => 1,
                Change::Unchanged => 2,
            }),
            Field::Metadata(Fields::KIND) => row.kind.map(kind_number),
            Field::Metadata(field) => row.metadata.and_then(|metadata| number(metadata, field)),
            Field::Path | Field::Name | Field::Target => None,
        }
    }
}

/// The value of a field as a number in the order of the values.
fn number(metadata: &Metadata, field: Fields) -> Option<u128> {
    match field {
        Fields::KIND => metadata.kind().map(kind_number),
        Fields::MODE => metadata.mode().map(Into::into),
        Fields::UID => metadata.uid().map(Into::into),
        Fields::GID => metadata.gid().map(Into::into),
        Fields::SIZE => metadata.size().map(Into::into),
        Fields::ALLOCATED => metadata.allocated().map(Into::into),
        Fields::NLINK => metadata.nlink().map(Into::into),
        Fields::INODE => metadata.file_id().map(|id| id.as_u128()),
        Fields::DEVICE => metadata.device().map(Into::into),
        Fields::RDEV => metadata.rdev().map(Into::into),
        Fields::ACCESSED => metadata.accessed().map(time_number),
        Fields::MODIFIED => metadata.modified().map(time_number),
        Fields::CHANGED => metadata.changed().map(time_number),
        Fields::BORN => metadata.born().map(time_number),
        Fields::ATTRIBUTES => metadata.attributes().map(Into::into),
        Fields::MOUNT_ID => metadata.mount_id().map(Into::into),
        _ => None,
    }
}

fn kind_number(kind: Kind) -> u128 {
    kind as u128
}

fn time_number(time: Timestamp) -> u128 {
    // Flipping the sign bit makes the order of unsigned numbers that of signed ones.
    let seconds = time.seconds.cast_unsigned() ^ (1 << 63);
    u128::from(seconds) << 32 | u128::from(time.nanoseconds)
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
        write!(f, "{sign}{}", self.field.name())
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
        let field = Field::from_name(name).ok_or_else(|| UnknownSortKey {
            name: name.to_owned(),
            known: Field::names().collect::<Vec<_>>().join(", "),
        })?;
        Ok(SortKey { field, descending })
    }
}

impl TryFrom<String> for SortKey {
    type Error = UnknownSortKey;

    fn try_from(text: String) -> Result<SortKey, UnknownSortKey> {
        text.parse()
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
        let names: Vec<&str> = Field::names().collect();
        json_schema!({
            "type": "string",
            "description": "A field, with a minus in front for the other direction.",
            "pattern": format!("^-?({})$", names.join("|")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_are_written() {
        for name in Field::names() {
            for text in [name.to_owned(), format!("-{name}")] {
                assert_eq!(text.parse::<SortKey>().unwrap().to_string(), text);
            }
        }
        let error = "-sise".parse::<SortKey>().unwrap_err().to_string();
        assert!(error.starts_with("no field is called \"sise\"; there are path, name, "));
        assert!("--size".parse::<SortKey>().is_err());
    }

    #[test]
    fn times_before_the_epoch_come_first() {
        let at = |seconds, nanoseconds| {
            time_number(Timestamp {
                seconds,
                nanoseconds,
            })
        };
        let ordered = [
            at(i64::MIN, 0),
            at(-2, 9),
            at(-1, 0),
            at(0, 0),
            at(0, 1),
            at(1, 0),
        ];
        assert!(ordered.is_sorted());
    }
}
