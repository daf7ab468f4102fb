//! Sizes and lengths of time as people write them: `64MiB`, `2h30m`.
//!
//! The options of every stage take them, so they are wherever a job has a number that would need a
//! unit.
//!
//! What must stay true: a bare number is never accepted. `64` may mean bytes to one reader and
//! megabytes to the next, and `30` seconds or minutes.

mod byte_size;
mod period;

pub use byte_size::ByteSize;
pub use period::Period;

/// Why a text is not a size or a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantityError {
    /// There is no number where one should be.
    #[error("{text:?} is not a number with a unit, write it like {example:?}")]
    NoNumber {
        /// What was to be parsed.
        text: String,
        /// A text that could be.
        example: &'static str,
    },
    /// The number stands alone.
    #[error("{text:?} has no unit, write it like {example:?}")]
    NoUnit {
        /// What was to be parsed.
        text: String,
        /// A text that could be.
        example: &'static str,
    },
    /// The unit does not exist.
    #[error("{text:?} has the unknown unit {unit:?}, {}", known_units(.unit, .units))]
    UnknownUnit {
        /// What was to be parsed.
        text: String,
        /// The unit in it.
        unit: String,
        /// The units that there are.
        units: &'static [&'static str],
    },
    /// The parts of a length of time do not go from large to small: `30m2h`.
    #[error("{text:?} must name each unit once, the largest first, as in {example:?}")]
    Order {
        /// What was to be parsed.
        text: String,
        /// A text that could be.
        example: &'static str,
    },
    /// The number is below zero.
    #[error("{text:?} is negative")]
    Negative {
        /// What was to be parsed.
        text: String,
    },
    /// The smallest unit was given with a fraction: `1.5B`.
    #[error("{text:?} is a fraction of the smallest unit")]
    Fraction {
        /// What was to be parsed.
        text: String,
    },
    /// More than 64 bits hold.
    #[error("{text:?} is too large")]
    TooLarge {
        /// What was to be parsed.
        text: String,
    },
}

/// The unit that was probably meant, or all of them.
fn known_units(unit: &str, units: &[&str]) -> String {
    match units.iter().find(|known| known.eq_ignore_ascii_case(unit)) {
        Some(known) => format!("write {known:?}"),
        None => format!("known units: {}", units.join(", ")),
    }
}

/// A decimal number as it was written: 1.5 has the digits 15, one of them behind the point.
struct Decimal {
    digits: u128,
    scale: u32,
}

impl Decimal {
    /// The number at the start of `rest`, and what follows it; the error is about the whole of
    /// `text`.
    fn split<'t>(
        rest: &'t str,
        text: &str,
        example: &'static str,
    ) -> Result<(Self, &'t str), ParseQuantityError> {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let text = || text.to_owned();
        if after.starts_with('-') && number.is_empty() {
            return Err(ParseQuantityError::Negative { text: text() });
        }
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(ParseQuantityError::NoNumber {
                text: text(),
                example,
            });
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse();
        let scale = u32::try_from(fraction.len());
        // 10³⁰ is far more than a quantity can use, and a power of ten that fits.
        match (digits, scale) {
            (Ok(digits), Ok(scale)) if scale <= 30 => Ok((Self { digits, scale }, after)),
            _ => Err(ParseQuantityError::TooLarge { text: text() }),
        }
    }

    fn is_whole(&self) -> bool {
        self.scale == 0
    }

    /// The number times `unit`, rounded down.
    fn times(&self, unit: u64) -> Option<u128> {
        Some(self.digits.checked_mul(u128::from(unit))? / 10_u128.pow(self.scale))
    }
}
