//! A point in time as a job writes it: how long before the run, or when.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use statline_pipeline::Period;
use statline_platform::Timestamp as FileTime;

/// A point in time: `30d` before the run began, a date or a time as RFC 3339 writes them, or `@` and seconds since the
/// epoch. A date begins at midnight UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// As it was written.
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Ago(Period),
    At(FileTime),
}

impl Moment {
    /// The time that it is in a run that began then.
    pub(crate) fn resolve(&self, began: Timestamp) -> FileTime {
        match self.meaning {
            Meaning::At(time) => time,
            Meaning::Ago(period) => {
                // Both fit: 64 bits of seconds are far less than 128 bits of nanoseconds.
                let back = i128::try_from(period.duration().as_nanos()).unwrap_or(i128::MAX);
                from_nanoseconds(began.as_nanosecond().saturating_sub(back))
            }
        }
    }
}

fn from_nanoseconds(nanoseconds: i128) -> FileTime {
    const SECOND: i128 = 1_000_000_000;
    let seconds = nanoseconds.div_euclid(SECOND);
    let out_of_range = if seconds < 0 { i64::MIN } else { i64::MAX };
    FileTime {
        seconds: i64::try_from(seconds).unwrap_or(out_of_range),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(SECOND)).unwrap_or_default(),
    }
}

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no point in time, as in \"30d\" (before the run), \"2026-01-31\", \"2026-01-31T08:00:00Z\" or \"@1767225600\""
)]
pub struct ParseMomentError(String);

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Moment, ParseMomentError> {
        let meaning = match text.strip_prefix('@') {
            Some(seconds) => seconds.parse().ok().map(|seconds| {
                Meaning::At(FileTime {
                    seconds,
                    nanoseconds: 0,
                })
            }),
            // Only with dashes: 20260131 may be meant as a number of anything.
            None if text.get(4..5) == Some("-") => date_or_time(text).map(Meaning::At),
            None => text.parse().ok().map(Meaning::Ago),
        };
        let text = text.to_owned();
        match meaning {
            Some(meaning) => Ok(Moment { text, meaning }),
            None => Err(ParseMomentError(text)),
        }
    }
}

fn date_or_time(text: &str) -> Option<FileTime> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) if text.len() == "2026-01-31".len() => {
            let date: Date = text.parse().ok()?;
            date.to_zoned(TimeZone::UTC).ok()?.timestamp()
        }
        Err(_) => return None,
    };
    Some(from_nanoseconds(time.as_nanosecond()))
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        struct MomentVisitor;

        impl Visitor<'_> for MomentVisitor {
            type Value = Moment;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a point in time such as \"30d\" (before the run) or \"2026-01-31\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(MomentVisitor)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A point in time: so long before the run began, a date or time in RFC 3339, or @ and seconds since the epoch.",
            "examples": ["30d", "2026-01-31", "2026-01-31T08:00:00Z", "@1767225600"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    #[test]
    fn moments_are_read_in_each_of_their_forms() {
        let began: Timestamp = "2026-03-01T00:00:10.5Z".parse().unwrap();
        for (text, expected) in [
            ("10s", time(1_772_323_200, 500_000_000)),
            ("10s500ms", time(1_772_323_200, 0)),
            ("1d", time(1_772_236_810, 500_000_000)),
            ("2026-03-01", time(1_772_323_200, 0)),
            (
                "2026-03-01T01:00:00.25+01:00",
                time(1_772_323_200, 250_000_000),
            ),
            ("1969-12-31T23:59:59.75Z", time(-1, 750_000_000)),
            ("@-5", time(-5, 0)),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.resolve(began), expected, "{text}");
        }
    }

    #[test]
    fn what_could_mean_several_things_is_refused() {
        for text in [
            "",
            "30",
            "20260301",
            "@",
            "@1.5",
            "yesterday",
            "2026-03-01T10",
            "2026-13-01",
            "-1d",
            "ä🦀",
        ] {
            let error = text.parse::<Moment>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{text:?} is no point"))
            );
        }
    }
}
