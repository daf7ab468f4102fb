//! The name that was probably meant.
//!
//! One suggestion or none: a list of guesses leaves the work to the reader.

/// So many known names are listed when none is near.
const MOST_LISTED: usize = 12;

/// Longer names are not compared, in characters.
const LONGEST: usize = 32;

/// The help for a name that isn't known: `did you mean "walk"?`, or all of the known names if they
/// are few.
///
/// `what` says what they are, in the plural, as in `known stages: a, b`.
pub(crate) fn did_you_mean<'k>(
    name: &str,
    what: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    let known: Vec<_> = known.into_iter().collect();
    if let Some(near) = closest(name, known.iter().copied()) {
        return Some(format!("did you mean {near:?}?"));
    }
    let few = (1..=MOST_LISTED).contains(&known.len());
    few.then(|| format!("known {what}: {}", known.join(", ")))
}

/// The known name that differs from `name` by a slip of the fingers, the first of them when several
/// do.
pub(crate) fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Case, and the habits of other formats, are not what makes a name another one.
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    let length = name.chars().count();
    // Nothing that long is a slip of a known name, and the distance takes the product of the
    // lengths.
    if length > LONGEST {
        return None;
    }
    let distance = |known: &str| {
        let known_length = known.chars().count();
        let most = length.max(known_length).div_ceil(3);
        if known_length > LONGEST || length.abs_diff(known_length) > most {
            return None;
        }
        Some(strsim::osa_distance(&name, &plain(known))).filter(|distance| *distance <= most)
    };
    known
        .into_iter()
        .filter_map(|known| Some((distance(known)?, known)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_is_seen_through_and_a_stranger_is_not() {
        let help = |name| did_you_mean(name, "stages", ["walk", "group", "max_entries"]);
        assert_eq!(help("wlak").as_deref(), Some("did you mean \"walk\"?"));
        assert_eq!(help("Walk").as_deref(), Some("did you mean \"walk\"?"));
        assert_eq!(
            help("max-entries").as_deref(),
            Some("did you mean \"max_entries\"?")
        );
        assert_eq!(
            help("enumerate").as_deref(),
            Some("known stages: walk, group, max_entries")
        );
        assert_eq!(
            help(&"x".repeat(100_000)).as_deref(),
            Some("known stages: walk, group, max_entries")
        );
        assert_eq!(did_you_mean("walk", "stages", []), None);
        assert_eq!(did_you_mean("x", "stages", ["a-long-name"; 40]), None);
    }
}
