//! A length of time with its units.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Decimal, ParseQuantityError};

/// A length of time, written with its units: `50ms`, `30s`, `2h30m`, `7d`.
///
/// The largest unit comes first and none comes twice. A bare number is refused.
///
/// ```
/// use statline_pipeline::Period;
/// use std::time::Duration;
///
/// let period: Period = "2h30m".parse()?;
/// assert_eq!(period.duration(), Duration::from_secs(9000));
/// assert!("30".parse::<Period>().is_err());
/// # Ok::<(), statline_pipeline::ParseQuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// The units in nanoseconds, the largest first. Weeks are read and never written.
const UNITS: [(&str, u64); 8] = [
    ("w", 7 * 86_400 * SECOND),
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
const SECOND: u64 = 1_000_000_000;
const NAMES: [&str; 8] = ["w", "d", "h", "m", "s", "ms", "us", "ns"];

impl Period {
    /// What the message about a wrong value asks for.
    pub(crate) const EXPECTED: &str = "a time such as \"30s\" or \"2h30m\"";
    /// The name that serde sees.
    pub(crate) const NAME: &str = "Period";

    /// The period that lasts so long.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// How long it lasts.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Period {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let example = "2h30m";
        let whole = || text.to_owned();
        let mut rest = text.trim();
        let mut nanoseconds = 0_u128;
        let mut units = UNITS.iter();
        let mut first = true;
        while first || !rest.is_empty() {
            first = false;
            let (number, after) = Decimal::split(rest, text, example)?;
            let after = after.trim_start();
            let end = after
                .find(|character: char| character.is_ascii_digit() || character.is_whitespace())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            // Both characters that Unicode has for micro.
            let unit = if matches!(unit, "µs" | "μs") {
                "us"
            } else {
                unit
            };
            if unit.is_empty() {
                return Err(ParseQuantityError::NoUnit {
                    text: whole(),
                    example: "30s",
                });
            }
            let Some((_, factor)) = units.find(|(name, _)| *name == unit) else {
                return Err(if NAMES.contains(&unit) {
                    ParseQuantityError::Order {
                        text: whole(),
                        example,
                    }
                } else {
                    ParseQuantityError::UnknownUnit {
                        text: whole(),
                        unit: unit.to_owned(),
                        units: &NAMES,
                    }
                });
            };
            if *factor == 1 && !number.is_whole() {
                return Err(ParseQuantityError::Fraction { text: whole() });
            }
            nanoseconds = number
                .times(*factor)
                .and_then(|part| nanoseconds.checked_add(part))
                .ok_or_else(|| ParseQuantityError::TooLarge { text: whole() })?;
            rest = after.trim_start();
        }
        let seconds = u64::try_from(nanoseconds / u128::from(SECOND));
        let seconds = seconds.map_err(|_| ParseQuantityError::TooLarge { text: whole() })?;
        let below = (nanoseconds % u128::from(SECOND)) as u32;
        Ok(Self(Duration::new(seconds, below)))
    }
}

impl fmt::Display for Period {
    /// Every unit that is not zero, so that nothing is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut rest = self.0.as_nanos();
        for (name, factor) in UNITS.iter().filter(|(name, _)| *name != "w") {
            let factor = u128::from(*factor);
            if rest >= factor {
                text.push_str(&format!("{}{name}", rest / factor));
                rest %= factor;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(Self::NAME, PeriodVisitor)
    }
}

struct PeriodVisitor;

impl<'de> Visitor<'de> for PeriodVisitor {
    type Value = Period;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Period::EXPECTED)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Period, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Self::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "period",
            "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*(w|d|h|m|s|ms|us|µs|μs|ns)\s*)+$",
            "examples": ["30s", "2h30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Period;

    fn parse(text: &str) -> Result<Duration, String> {
        text.parse::<Period>()
            .map(Period::duration)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn units_add_up() {
        assert_eq!(parse("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("2h30m"), Ok(Duration::from_secs(9_000)));
        assert_eq!(parse("2h 30 m"), Ok(Duration::from_secs(9_000)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse("1w"), parse("7d"));
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse("250µs"), parse("250us"));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |text| parse(text).expect_err("must be refused");
        insta::assert_snapshot!(message("30"), @r#""30" has no unit, write it like "30s""#);
        insta::assert_snapshot!(message("2h30"), @r#""2h30" has no unit, write it like "30s""#);
        insta::assert_snapshot!(message("30S"), @r#""30S" has the unknown unit "S", write "s""#);
        insta::assert_snapshot!(
            message("5min"),
            @r#""5min" has the unknown unit "min", known units: w, d, h, m, s, ms, us, ns"#
        );
        insta::assert_snapshot!(
            message("30m2h"),
            @r#""30m2h" must name each unit once, the largest first, as in "2h30m""#
        );
        insta::assert_snapshot!(message("soon"), @r#""soon" is not a number with a unit, write it like "2h30m""#);
        insta::assert_snapshot!(message(""), @r#""" is not a number with a unit, write it like "2h30m""#);
        insta::assert_snapshot!(message("-30s"), @r#""-30s" is negative"#);
        insta::assert_snapshot!(message("1.s"), @r#""1.s" is not a number with a unit, write it like "2h30m""#);
        insta::assert_snapshot!(message("0.5ns"), @r#""0.5ns" is a fraction of the smallest unit"#);
        insta::assert_snapshot!(message("99999999999999999999w"), @r#""99999999999999999999w" is too large"#);
    }

    proptest! {
        #[test]
        fn every_period_survives_being_written(seconds: u64, nanoseconds in 0_u32..1_000_000_000, shift in 0_u32..64) {
            let period = Period::new(Duration::new(seconds >> shift, nanoseconds));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn no_text_panics(text in r"\PC{0,12}|([0-9.]{0,30}[dhmsunµ ]{0,2}){0,4}") {
            let _ = text.parse::<Period>();
        }
    }
}
