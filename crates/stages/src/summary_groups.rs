//! Totals broken down by a property of the entries.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_platform::{Kind as EntryKind, Metadata};

use crate::Row;
use crate::encode::{push_number, text_or_base64};
use crate::field::Field;

/// So many values get totals of their own.
const MOST_GROUPS: usize = 4096;

/// The value of entries that don't tell what they are grouped by.
const UNKNOWN: &[u8] = b"unknown";

/// What totals are broken down by.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Regular files by what follows the last dot of the name, in lower case; empty if there is none.
    Extension,
    /// All entries by the user id of their owner.
    Owner,
    /// Regular files by the time since their contents last changed, up to the start of the run.
    Age,
    /// Regular files by size.
    Size,
}

impl GroupBy {
    /// The name by which a job asks for it.
    pub fn as_str(self) -> &'static str {
        match self {
            GroupBy::Extension => "extension",
            GroupBy::Owner => "owner",
            GroupBy::Age => "age",
            GroupBy::Size => "size",
        }
    }

    pub(crate) fn needs(self) -> Field {
        match self {
            GroupBy::Extension => Field::Path,
            GroupBy::Owner => Field::Uid,
            GroupBy::Age => Field::Mtime,
            GroupBy::Size => Field::Size,
        }
    }

    /// The values that come in an order of their own, each with where it ends.
    fn buckets(self) -> Option<&'static [(&'static str, u64)]> {
        const DAY: u64 = 86_400;
        const YEAR: u64 = 365 * DAY;
        match self {
            GroupBy::Extension | GroupBy::Owner => None,
            GroupBy::Age => Some(&[
                ("0d-1d", DAY),
                ("1d-7d", 7 * DAY),
                ("7d-30d", 30 * DAY),
                ("30d-90d", 90 * DAY),
                ("90d-1y", YEAR),
                ("1y-2y", 2 * YEAR),
                ("2y-5y", 5 * YEAR),
                ("5y+", u64::MAX),
            ]),
            GroupBy::Size => Some(&[
                ("0", 1),
                ("1B-4KiB", 4 << 10),
                ("4KiB-64KiB", 64 << 10),
                ("64KiB-1MiB", 1 << 20),
                ("1MiB-16MiB", 16 << 20),
                ("16MiB-256MiB", 256 << 20),
                ("256MiB-4GiB", 4 << 30),
                ("4GiB-64GiB", 64 << 30),
                ("64GiB+", u64::MAX),
            ]),
        }
    }
}

/// What some entries come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many there are.
    pub entries: u64,
    /// The sizes of regular files and symbolic links. Further names of one file add nothing.
    pub apparent_bytes: u64,
    /// The space taken. Further names of one file add nothing.
    pub allocated_bytes: u64,
}

/// The share of the entries that have one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The value, if it is UTF-8. Ranges run up to and without their upper end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
    /// The value in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value_b64: Option<String>,
    /// What they come to.
    #[serde(flatten)]
    pub share: Share,
}

/// Totals by one property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Which property.
    pub by: GroupBy,
    /// Ranges in their order; other values by the space that they take, the greatest first.
    pub groups: Vec<Group>,
    /// What all values together come to for which there was no room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other: Option<Share>,
}

/// A breakdown under way.
pub(crate) struct Groups {
    by: GroupBy,
    /// Nanoseconds since the epoch that ages count from.
    now: i128,
    shares: HashMap<Box<[u8]>, Share, foldhash::fast::RandomState>,
    other: Option<Share>,
    /// The value of the row at hand; kept for its memory.
    value: Vec<u8>,
}

impl Groups {
    pub(crate) fn new(by: GroupBy, now: i128) -> Groups {
        Groups {
            by,
            now,
            shares: HashMap::default(),
            other: None,
            value: Vec::new(),
        }
    }

    /// Adds an entry with the sizes that it adds.
    pub(crate) fn add(&mut self, row: &Row<'_>, sizes: (Option<u64>, Option<u64>)) {
        if self.by != GroupBy::Owner && row.kind != Some(EntryKind::File) {
            return;
        }
        self.value.clear();
        self.write_value(row);
        let has_room = self.shares.len() < MOST_GROUPS;
        let share = match self.shares.get_mut(&self.value[..]) {
            Some(share) => share,
            None if has_room => self.shares.entry(self.value[..].into()).or_default(),
            None => self.other.get_or_insert_default(),
        };
        share.entries += 1;
        share.apparent_bytes = share.apparent_bytes.saturating_add(sizes.0.unwrap_or(0));
        share.allocated_bytes = share.allocated_bytes.saturating_add(sizes.1.unwrap_or(0));
    }

    fn write_value(&mut self, row: &Row<'_>) {
        let metadata = row.metadata;
        match self.by {
            GroupBy::Extension => {
                self.value.extend_from_slice(extension(row.name.as_bytes()));
                self.value.make_ascii_lowercase();
            }
            GroupBy::Owner => match metadata.and_then(Metadata::uid) {
                Some(uid) => push_number(&mut self.value, uid),
                None => self.value.extend_from_slice(UNKNOWN),
            },
            GroupBy::Age => {
                let value = match metadata.and_then(Metadata::modified) {
                    Some(time) => {
                        let age = (self.now - time.as_nanoseconds()).div_euclid(1_000_000_000);
                        // Ages beyond 64 bits of seconds don't occur; only a time yet to come fails here.
                        u64::try_from(age).map_or("future", |age| self.bucket(age))
                    }
                    None => return self.value.extend_from_slice(UNKNOWN),
                };
                self.value.extend_from_slice(value.as_bytes());
            }
            GroupBy::Size => match metadata.and_then(Metadata::size) {
                Some(size) => {
                    let bucket = self.bucket(size);
                    self.value.extend_from_slice(bucket.as_bytes());
                }
                None => self.value.extend_from_slice(UNKNOWN),
            },
        }
    }

    fn bucket(&self, value: u64) -> &'static str {
        let buckets = self.by.buckets().unwrap_or_default();
        let found = buckets.iter().find(|(_, end)| value < *end);
        found.or(buckets.last()).map_or("", |(name, _)| name)
    }

    pub(crate) fn list(&self) -> Breakdown {
        let mut shares: Vec<(&[u8], &Share)> = self
            .shares
            .iter()
            .map(|(value, share)| (&value[..], share))
            .collect();
        match self.by.buckets() {
            // Times to come are before all ages, what is unknown after all.
            Some(buckets) => shares.sort_unstable_by_key(|(value, _)| {
                let place = buckets
                    .iter()
                    .position(|(name, _)| name.as_bytes() == *value);
                match place {
                    Some(place) => place + 1,
                    None if *value == UNKNOWN => usize::MAX,
                    None => 0,
                }
            }),
            None => shares.sort_unstable_by(|(a_value, a), (b_value, b)| {
                let rank =
                    |share: &Share| (share.allocated_bytes, share.apparent_bytes, share.entries);
                rank(b).cmp(&rank(a)).then(a_value.cmp(b_value))
            }),
        }
        let groups = shares.into_iter().map(|(value, share)| {
            let (value, value_b64) = text_or_base64(value);
            Group {
                value,
                value_b64,
                share: *share,
            }
        });
        Breakdown {
            by: self.by,
            groups: groups.collect(),
            other: self.other,
        }
    }
}

/// What follows the last dot, unless that is the first byte or the last one.
fn extension(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => &name[dot + 1..],
        _ => b"",
    }
}
