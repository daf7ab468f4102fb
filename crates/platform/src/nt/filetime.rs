//! Times as Windows keeps them: units of 100 ns since 1601.

use crate::Timestamp;

/// 1970-01-01 in those units.
const EPOCH: i128 = 116_444_736_000_000_000;

const UNITS_PER_SECOND: i128 = 10_000_000;

/// The point in time, exact to the unit, before 1970 as well as after. `None` for 0, which file systems give for times
/// that they do not keep.
pub(crate) fn timestamp(filetime: i64) -> Option<Timestamp> {
    if filetime == 0 {
        return None;
    }
    let units = i128::from(filetime) - EPOCH;
    Some(Timestamp {
        // 64 bits of units are far less than 64 bits of seconds.
        seconds: units.div_euclid(UNITS_PER_SECOND) as i64,
        nanoseconds: units.rem_euclid(UNITS_PER_SECOND) as u32 * 100,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_on_both_sides_of_1970_are_exact() {
        let epoch = 116_444_736_000_000_000;
        for (filetime, seconds, nanoseconds) in [
            (epoch, 0, 0),
            (epoch + 1, 0, 100),
            (epoch - 1, -1, 999_999_900),
            (epoch - 10_000_000, -1, 0),
            (1, -11_644_473_600, 100),
            (-1, -11_644_473_601, 999_999_900),
        ] {
            let expected = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(timestamp(filetime), Some(expected), "{filetime}");
        }
        assert_eq!(timestamp(0), None);
    }

    proptest! {
        #[test]
        fn no_time_is_rounded(filetime in any::<i64>().prop_filter("no time", |time| *time != 0)) {
            let time = timestamp(filetime).unwrap();
            prop_assert!(time.nanoseconds < 1_000_000_000);
            prop_assert_eq!(time.as_nanoseconds(), (i128::from(filetime) - EPOCH) * 100);
        }
    }
}
