//! Numbers as people read them.
//!
//! One thing must stay true: these go to people only. Machines get whole numbers in base units.

use std::time::Duration;

/// Which powers sizes are shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// Of 1024: KiB, MiB.
    Binary,
    /// Of 1000: kB, MB.
    Si,
}

/// `1,064,111`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.06M`: a count in a narrow column.
pub(crate) fn short_count(number: u64) -> String {
    if number < 10_000 {
        return count(number);
    }
    let (scaled, unit) = scale(number as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]);
    format!("{}{unit}", three_digits(scaled))
}

/// `755 k/s`.
pub(crate) fn rate(number: u64, elapsed: Duration) -> String {
    if elapsed.is_zero() {
        return "– /s".to_owned();
    }
    let each = number as f64 / elapsed.as_secs_f64();
    let (scaled, unit) = scale(each, 1000.0, &["", "k", "M", "G", "T"]);
    format!("{} {unit}/s", three_digits(scaled))
}

/// `323.0 GiB`, or `346.8 GB` in SI units.
pub(crate) fn bytes(number: u64, units: Units) -> String {
    let (scaled, unit) = match units {
        Units::Binary => scale(
            number as f64,
            1024.0,
            &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
        ),
        Units::Si => scale(
            number as f64,
            1000.0,
            &["B", "kB", "MB", "GB", "TB", "PB", "EB"],
        ),
    };
    match unit {
        "B" => format!("{number} B"),
        unit => format!("{scaled:.1} {unit}"),
    }
}

/// `1.41 s`, `2 min 05 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => short_duration(duration),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `0.9 ms`, `11 µs`: a duration in a narrow column.
pub(crate) fn short_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos() as f64;
    let (scaled, unit) = match nanoseconds {
        0.0 => return "0".to_owned(),
        ..1e3 => (nanoseconds, "ns"),
        ..1e6 => (nanoseconds / 1e3, "µs"),
        ..1e9 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    match scaled {
        ..10.0 if unit == "s" => format!("{scaled:.2} {unit}"),
        ..10.0 if unit != "ns" => format!("{scaled:.1} {unit}"),
        ..100.0 if unit == "s" => format!("{scaled:.1} {unit}"),
        _ => format!("{scaled:.0} {unit}"),
    }
}

/// `41%`. What is there is never shown as nothing.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        ..0.5 => "<1%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn scale<'u>(mut number: f64, step: f64, units: &[&'u str]) -> (f64, &'u str) {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be shown as 1000 is shown as 1.00 of the next.
    while number >= step - 0.5 {
        let Some(next) = units.next() else { break };
        number /= step;
        unit = next;
    }
    (number, unit)
}

fn three_digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        let shown = [0, 999, 1000, 1_064_111, 12_345_678].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "1,064,111", "12,345,678"]);
    }

    #[test]
    fn narrow_counts_have_three_digits() {
        let shown = [0, 9_999, 10_000, 99_960, 999_700, 1_064_111, u64::MAX].map(short_count);
        assert_eq!(
            shown,
            ["0", "9,999", "10.0k", "100k", "1.00M", "1.06M", "18.4E"]
        );
    }

    #[test]
    fn rates_are_by_the_second() {
        assert_eq!(rate(1_064_111, Duration::from_millis(1410)), "755 k/s");
        assert_eq!(rate(5, Duration::from_secs(2)), "2.50 /s");
        assert_eq!(rate(5, Duration::ZERO), "– /s");
    }

    #[test]
    fn sizes_have_the_units_asked_for() {
        assert_eq!(bytes(1023, Units::Binary), "1023 B");
        assert_eq!(bytes(1536, Units::Binary), "1.5 KiB");
        assert_eq!(bytes(323 << 30, Units::Binary), "323.0 GiB");
        assert_eq!(bytes(1_500_000, Units::Si), "1.5 MB");
        assert_eq!(bytes(u64::MAX, Units::Binary), "16.0 EiB");
    }

    #[test]
    fn durations_keep_what_matters() {
        let shown = [0, 640, 11_000, 900_000, 1_410_000_000, 75_000_000_000]
            .map(|nanoseconds| duration(Duration::from_nanos(nanoseconds)));
        assert_eq!(
            shown,
            ["0", "640 ns", "11 µs", "0.9 ms", "1.41 s", "1 min 15 s"].map(|text| match text {
                "0.9 ms" => "900 µs",
                text => text,
            })
        );
        assert_eq!(duration(Duration::from_secs(7_500)), "2 h 05 min");
    }

    #[test]
    fn a_little_is_not_nothing() {
        let shown = [0.0, 0.001, 0.41, 0.996, 1.0].map(percent);
        assert_eq!(shown, ["0%", "<1%", "41%", "100%", "100%"]);
    }
}
