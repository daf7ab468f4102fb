//! Suggest skeleton.

/// The help for a name that isn't known: `did you mean "walk"?`, or the known names if they are few.
///
/// `what` names them in the plural, as in `known stages: a, b`.
pub(crate) fn did_you_mean<'k>(
    _name: &str,
    _what: &str,
    _known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    None
}
