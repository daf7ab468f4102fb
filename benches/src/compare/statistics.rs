//! Medians, and ratios that are taken before the median and not after it.

/// The middle of some numbers and their ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The ratios of two series, given as what both took in each round. Noise that lasts for a round hits both and cancels out; it would not if the
/// medians were divided.
pub(super) fn ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Spread> {
    Spread::of(pairs.into_iter().map(|(own, floor)| own / floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        let spread = Spread::of([9.0, 1.0, 5.0]);
        assert_eq!(
            spread,
            Some(Spread {
                median: 5.0,
                min: 1.0,
                max: 9.0
            })
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median),
            Some(3.0)
        );
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_slow_round_does_not_move_the_ratio() {
        // The second round was ten times slower for everybody.
        let spread = ratios([(2.0, 1.0), (20.0, 10.0), (2.2, 1.0)]);
        assert_eq!(
            spread,
            Some(Spread {
                median: 2.0,
                min: 2.0,
                max: 2.2
            })
        );
    }
}
