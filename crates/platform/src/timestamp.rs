//! Points in time as file systems keep them: from long before 1970 to long after what 32 bits hold.

use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, to the nanosecond, in the whole range that file systems have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, also when those are negative. Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_nanoseconds(self) -> i128 {
        self.seconds as i128 * 1_000_000_000 + self.nanoseconds as i128
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        // A `SystemTime` is an `i64` of seconds at most, on every system.
        let seconds =
            |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp {
                seconds: seconds(after),
                nanoseconds: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Timestamp {
                        seconds: -seconds(before),
                        nanoseconds: 0,
                    },
                    nanoseconds => Timestamp {
                        seconds: -seconds(before) - 1,
                        nanoseconds: 1_000_000_000 - nanoseconds,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_the_epoch_keep_their_nanoseconds_positive() {
        let before = Timestamp::from(UNIX_EPOCH - Duration::new(1, 250_000_000));
        assert_eq!(
            before,
            Timestamp {
                seconds: -2,
                nanoseconds: 750_000_000
            }
        );
        assert_eq!(before.as_nanoseconds(), -1_250_000_000);
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_secs(3)),
            Timestamp {
                seconds: -3,
                nanoseconds: 0
            }
        );
        assert!(before < Timestamp::default());
    }
}
