//! What a difference tells of the other side: in what an entry differs, and what it was there.

use serde::{Deserialize, Serialize};

use crate::Field;

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldSet(u32);

impl FieldSet {
    /// The set of no field.
    pub const EMPTY: FieldSet = FieldSet(0);

    /// Adds a field.
    pub fn insert(&mut self, field: Field) {
        self.0 |= bit(field);
    }

    /// Whether a field is in it.
    #[must_use]
    pub fn contains(self, field: Field) -> bool {
        self.0 & bit(field) != 0
    }

    /// Whether no field is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields in it, in the order of outputs.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL
            .into_iter()
            .filter(move |&field| self.contains(field))
    }

    /// As a number, for the order of sorts.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The set that has this number; bits that stand for no field are dropped.
    pub(crate) fn from_bits(bits: u32) -> FieldSet {
        let known: FieldSet = Field::ALL.into_iter().collect();
        FieldSet(bits & known.0)
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        fields.into_iter().for_each(|field| set.insert(field));
        set
    }
}

impl Serialize for FieldSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<FieldSet, D::Error> {
        let fields = Vec::<Field>::deserialize(deserializer)?;
        Ok(fields.into_iter().collect())
    }
}

fn bit(field: Field) -> u32 {
    // There are fewer fields than bits, which a test looks after.
    1 << field as u32
}

/// What a record was on the other side of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Former<'a> {
    /// The fields in which the two sides differ.
    pub differs: FieldSet,
    /// The size that it had, in bytes.
    pub size: Option<u64>,
    /// The path that it had, if it was another.
    pub path: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_place_of_its_own_in_a_set() {
        assert!(Field::ALL.len() <= 32);
        for field in Field::ALL {
            let set: FieldSet = [field].into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), [field]);
            assert_eq!(FieldSet::from_bits(set.bits()), set);
        }
        let all: FieldSet = Field::ALL.into_iter().collect();
        assert_eq!(FieldSet::from_bits(u32::MAX), all);
        assert_eq!(all.iter().collect::<Vec<_>>(), Field::ALL);
        assert!(FieldSet::EMPTY.is_empty() && !all.is_empty());
    }
}
