//! Whole numbers within bounds, as the framework's keys take them.

use std::fmt;

use serde::de::{self, Visitor};

/// Reads a whole number within bounds.
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
    /// What is expected, for messages.
    pub(super) expected: &'static str,
}

impl Range {
    fn check<E: de::Error>(&self, value: u64) -> Result<usize, E> {
        let in_range = (self.low..=self.high).contains(&value);
        let value = usize::try_from(value).ok().filter(|_| in_range);
        value.ok_or_else(|| {
            E::invalid_value(de::Unexpected::Other("another number"), &self.expected)
        })
    }
}

impl Visitor<'_> for Range {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<usize, E> {
        // Whatever is negative is as wrong as zero.
        self.check(u64::try_from(value).unwrap_or(0))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<usize, E> {
        self.check(value)
    }
}
