//! The key `threads`: on how many threads a stage runs.
//!
//! In a job it is `"auto"`, a number, or `{ min = 2, max = 64 }`; on a command line `auto`, `8` or `2..64`. One thing must
//! stay true: every number in a setting that was read is from 1 to [`ThreadSetting::MOST`], and no `min` is above its
//! `max`.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::whole_number::Range;

/// How many threads a stage runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadSetting {
    /// As many as pay.
    Auto,
    /// Exactly so many: 1 to 512.
    Count(usize),
    /// As many as pay, within bounds: for kinds that can vary their number while they run
    /// ([`Threading::Adaptive`](crate::Threading::Adaptive)).
    Range {
        /// The fewest: 1 to `max`.
        min: usize,
        /// The most: up to 512.
        max: usize,
    },
}

impl ThreadSetting {
    /// The most threads that a stage may have.
    pub const MOST: usize = 512;

    /// The number of threads, where `auto` means one for each core that the process may use.
    pub fn resolve(self) -> usize {
        self.resolve_to(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// The number of threads, where `auto` of them pay: a range means the number in it that is nearest to that.
    pub fn resolve_to(self, auto: usize) -> usize {
        match self {
            ThreadSetting::Auto => auto,
            ThreadSetting::Count(count) => count,
            // Not `clamp`, which panics if a program has mixed the two up.
            ThreadSetting::Range { min, max } => auto.min(max).max(min),
        }
    }

    /// The setting as one number, if it leaves no choice.
    pub fn count(self) -> Option<usize> {
        match self {
            ThreadSetting::Count(count) => Some(count),
            ThreadSetting::Range { min, max } if min == max => Some(min),
            ThreadSetting::Auto | ThreadSetting::Range { .. } => None,
        }
    }

    /// A range, unless it has no number in it or one that no stage may have; then what is wrong with it.
    fn range(min: usize, max: usize) -> Result<ThreadSetting, String> {
        for bound in [min, max] {
            if !(1..=ThreadSetting::MOST).contains(&bound) {
                return Err(format!("{bound} is not {NUMBER}"));
            }
        }
        match min <= max {
            true => Ok(ThreadSetting::Range { min, max }),
            false => Err(format!(
                "at least {min} and at most {max} threads leaves no number; write the smaller one as min"
            )),
        }
    }
}

/// As a job writes it.
impl Serialize for ThreadSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            ThreadSetting::Auto => serializer.serialize_str("auto"),
            ThreadSetting::Count(count) => serializer.serialize_u64(count as u64),
            ThreadSetting::Range { min, max } => {
                let mut bounds = serializer.serialize_map(Some(2))?;
                bounds.serialize_entry("min", &min)?;
                bounds.serialize_entry("max", &max)?;
                bounds.end()
            }
        }
    }
}

/// As a command line writes it.
impl fmt::Display for ThreadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadSetting::Auto => f.write_str("auto"),
            ThreadSetting::Count(count) => write!(f, "{count}"),
            ThreadSetting::Range { min, max } => write!(f, "{min}..{max}"),
        }
    }
}

/// From a command line: `auto`, `8`, `2..64`.
impl FromStr for ThreadSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<ThreadSetting, String> {
        let number = |text: &str| {
            let number: Option<usize> = text.parse().ok();
            number.ok_or_else(|| {
                format!("expected \"auto\", {NUMBER}, or a range such as 2..64, found {text:?}")
            })
        };
        if text == "auto" {
            return Ok(ThreadSetting::Auto);
        }
        if let Some((min, max)) = text.split_once("..") {
            return ThreadSetting::range(number(min)?, number(max)?);
        }
        match number(text)? {
            count if (1..=ThreadSetting::MOST).contains(&count) => Ok(ThreadSetting::Count(count)),
            count => Err(format!("{count} is not {NUMBER}")),
        }
    }
}

impl<'de> Deserialize<'de> for ThreadSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for as a number, so that one can come from a variable; the visitor takes text and
        // tables as well.
        deserializer.deserialize_u64(ThreadVisitor)
    }
}

const NUMBER: &str = "a number of threads from 1 to 512";

const fn number(expected: &'static str) -> Range {
    Range {
        low: 1,
        high: ThreadSetting::MOST as u64,
        expected,
    }
}

/// `{ min = 2, max = 64 }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min: Bound,
    max: Bound,
}

struct Bound(usize);

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(number(NUMBER)).map(Bound)
    }
}

struct ThreadVisitor;

impl ThreadVisitor {
    /// What to write in place of a number that is out of range.
    const NUMBER: &str = "\"auto\" or a number of threads from 1 to 512";
}

impl<'de> Visitor<'de> for ThreadVisitor {
    type Value = ThreadSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"auto\", {NUMBER}, or {{ min = 2, max = 64 }}")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<ThreadSetting, E> {
        let number = number(Self::NUMBER).visit_i64(value);
        number.map(ThreadSetting::Count)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<ThreadSetting, E> {
        let number = number(Self::NUMBER).visit_u64(value);
        number.map(ThreadSetting::Count)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ThreadSetting, E> {
        match text {
            "auto" => Ok(ThreadSetting::Auto),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ThreadSetting, A::Error> {
        let bounds = Bounds::deserialize(MapAccessDeserializer::new(map))?;
        ThreadSetting::range(bounds.min.0, bounds.max.0).map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_is_the_nearest_number_in_it() {
        let range = ThreadSetting::Range { min: 4, max: 16 };
        assert_eq!(
            [1, 4, 9, 16, 99].map(|auto| range.resolve_to(auto)),
            [4, 4, 9, 16, 16]
        );
        assert_eq!(ThreadSetting::Count(3).resolve_to(9), 3);
        assert_eq!(ThreadSetting::Auto.resolve_to(9), 9);
    }

    #[test]
    fn what_a_command_line_may_not_say() {
        let problem = |text: &str| text.parse::<ThreadSetting>().unwrap_err();
        assert_eq!(problem("0"), "0 is not a number of threads from 1 to 512");
        assert_eq!(
            problem("513"),
            "513 is not a number of threads from 1 to 512"
        );
        assert_eq!(
            problem("0..4"),
            "0 is not a number of threads from 1 to 512"
        );
        assert_eq!(
            problem("4..600"),
            "600 is not a number of threads from 1 to 512"
        );
        assert_eq!(
            problem("8..4"),
            "at least 8 and at most 4 threads leaves no number; write the smaller one as min"
        );
        for text in ["", "many", "-1", "2..", "..4", "2..=4", "2..4..6", "1.5"] {
            let said = problem(text);
            assert!(said.starts_with("expected \"auto\", a number"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(min in 1..=512_usize, more in 0..512_usize, which in 0..3) {
            let setting = match which {
                0 => ThreadSetting::Auto,
                1 => ThreadSetting::Count(min),
                _ => ThreadSetting::Range { min, max: (min + more).min(512) },
            };
            prop_assert_eq!(setting.to_string().parse(), Ok(setting));
            let written = toml::Value::try_from(setting).unwrap();
            prop_assert_eq!(written.try_into::<ThreadSetting>(), Ok(setting));
        }
    }
}
