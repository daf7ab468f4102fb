//! What is looked at in each case, and what was found wrong.

use std::fmt;

/// A count that must be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oracle {
    /// O1: something that is there is neither a record, nor named by an error row, nor below a directory that ended as
    /// failed, excluded or vanished, nor in the `vanished` count.
    Loss,
    /// O2: a record of something that is not below the root, or is not there.
    Escape,
    /// O3: two records for one name of one directory.
    Duplicate,
    /// O4: exit status, outcome or mark disagree with what is missing.
    Lie,
    /// O5: too much memory, too many descriptors, too late.
    Bound,
    /// O6: a published file that a reader rejects, or whose mark does not match it; something left that was not
    /// published.
    Output,
}

impl Oracle {
    pub(crate) const ALL: [Oracle; 6] = [
        Oracle::Loss,
        Oracle::Escape,
        Oracle::Duplicate,
        Oracle::Lie,
        Oracle::Bound,
        Oracle::Output,
    ];

    /// What a case looks at that scans a tree of which everything is known.
    pub(crate) const RECORDS: &[Oracle] = &[
        Oracle::Loss,
        Oracle::Escape,
        Oracle::Duplicate,
        Oracle::Lie,
        Oracle::Bound,
    ];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Oracle::Loss => "O1 silent loss",
            Oracle::Escape => "O2 escape or phantom",
            Oracle::Duplicate => "O3 duplicate",
            Oracle::Lie => "O4 lie",
            Oracle::Bound => "O5 bound exceeded",
            Oracle::Output => "O6 invalid output",
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// What one case found wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<(Oracle, String)>,
    /// Set where what was to happen did not happen: then it was no case.
    pub(crate) void: bool,
}

impl Findings {
    pub(crate) fn add(&mut self, oracle: Oracle, what: impl Into<String>) {
        self.violations.push((oracle, what.into()));
    }

    /// Adds a violation unless `holds`.
    pub(crate) fn check(&mut self, oracle: Oracle, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(oracle, what());
        }
    }
}

/// A few of many, for a message.
pub(crate) fn some_of<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names
        .by_ref()
        .take(4)
        .map(|name| format!("{:?}", name.escape_ascii().to_string()))
        .collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
