//! A number of bytes with its unit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Decimal, ParseQuantityError};

/// A number of bytes, written with its unit: `64MiB`, `10MB`, `1.5GiB`, `512B`.
///
/// `KiB`, `MiB`, … are powers of 1024 and `kB`, `MB`, … powers of 1000; a letter alone is a power
/// of 1024, as in `dd` and `du`. A bare number is refused.
///
/// ```
/// use statline_pipeline::ByteSize;
///
/// let size: ByteSize = "1.5KiB".parse()?;
/// assert_eq!(size.bytes(), 1536);
/// assert!("64".parse::<ByteSize>().is_err());
/// # Ok::<(), statline_pipeline::ParseQuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The units by the name that [`Display`](fmt::Display) gives them, the largest first within a
/// family.
const BINARY: [(&str, u64); 6] = [
    ("EiB", 1 << 60),
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DECIMAL: [(&str, u64); 6] = [
    ("EB", 1_000_000_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];
/// Other ways to write them, which people use.
const ALIASES: [(&str, u64); 8] = [
    ("KB", 1_000),
    ("k", 1 << 10),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("P", 1 << 50),
    ("E", 1 << 60),
];
/// What a message offers.
const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"];

impl ByteSize {
    /// What the message about a wrong value asks for.
    pub(crate) const EXPECTED: &str = "a size such as \"64MiB\"";
    /// The name that serde sees.
    pub(crate) const NAME: &str = "ByteSize";

    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes; the largest size there is when that is more than it can hold.
    pub const fn from_kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// So many times 1024² bytes; the largest size there is when that is more than it can hold.
    pub const fn from_mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let example = "64MiB";
        let whole = || text.to_owned();
        let (number, unit) = Decimal::split(text.trim(), text, example)?;
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Err(ParseQuantityError::NoUnit {
                text: whole(),
                example,
            });
        }
        let factor = if unit == "B" {
            1
        } else {
            let mut known = BINARY.iter().chain(&DECIMAL).chain(&ALIASES);
            let found = known.find(|(name, _)| *name == unit);
            found
                .map(|(_, factor)| *factor)
                .ok_or_else(|| ParseQuantityError::UnknownUnit {
                    text: whole(),
                    unit: unit.to_owned(),
                    units: &UNITS,
                })?
        };
        if factor == 1 && !number.is_whole() {
            return Err(ParseQuantityError::Fraction { text: whole() });
        }
        let bytes = number
            .times(factor)
            .and_then(|bytes| u64::try_from(bytes).ok());
        bytes
            .map(Self)
            .ok_or_else(|| ParseQuantityError::TooLarge { text: whole() })
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that gives a whole number, so that nothing is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match BINARY
            .iter()
            .find(exact)
            .or_else(|| DECIMAL.iter().find(exact))
        {
            Some((name, factor)) => f.pad(&format!("{}{name}", self.0 / factor)),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(Self::NAME, ByteSizeVisitor)
    }
}

struct ByteSizeVisitor;

impl<'de> Visitor<'de> for ByteSizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ByteSize::EXPECTED)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<ByteSize, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Self::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "size",
            "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(B|[kKMGTPE]|[kKMGTPE]B|[KMGTPE]iB)\s*$",
            "examples": ["64MiB", "10MB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ByteSize;

    fn parse(text: &str) -> Result<u64, String> {
        text.parse::<ByteSize>()
            .map(ByteSize::bytes)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn units_of_1000_and_of_1024_are_told_apart() {
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("10MB"), Ok(10_000_000));
        assert_eq!(parse("10M"), Ok(10 << 20));
        assert_eq!(parse("4 KiB"), Ok(4096));
        assert_eq!(parse("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse("512B"), Ok(512));
        assert_eq!(parse("0B"), Ok(0));
        assert_eq!(parse("15EiB"), Ok(15 << 60));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |text| parse(text).expect_err("must be refused");
        insta::assert_snapshot!(message("64"), @r#""64" has no unit, write it like "64MiB""#);
        insta::assert_snapshot!(message("64mib"), @r#""64mib" has the unknown unit "mib", write "MiB""#);
        insta::assert_snapshot!(
            message("3 parsecs"),
            @r#""3 parsecs" has the unknown unit "parsecs", known units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"#
        );
        insta::assert_snapshot!(message("lots"), @r#""lots" is not a number with a unit, write it like "64MiB""#);
        insta::assert_snapshot!(message(""), @r#""" is not a number with a unit, write it like "64MiB""#);
        insta::assert_snapshot!(message("-1MiB"), @r#""-1MiB" is negative"#);
        insta::assert_snapshot!(message("1.5B"), @r#""1.5B" is a fraction of the smallest unit"#);
        insta::assert_snapshot!(message("1.2.3MiB"), @r#""1.2.3MiB" is not a number with a unit, write it like "64MiB""#);
        insta::assert_snapshot!(message("16EiB"), @r#""16EiB" is too large"#);
        assert!(message(&format!("{}B", "9".repeat(99))).ends_with("is too large"));
    }

    proptest! {
        #[test]
        fn every_size_survives_being_written(bytes: u64, shift in 0_u32..64) {
            let size = ByteSize::from_bytes(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in r"\PC{0,12}|[0-9.]{0,40}[kMGiB ]{0,4}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
