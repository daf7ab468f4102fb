//! What the controller says to it, and why, for the report.

/// Between which numbers of threads the limit stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At least one.
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// How many workers may be at work from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) limit: usize,
    pub(crate) reason: Reason,
}

/// Why the limit is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The job says so, or there is no choice.
    Fixed,
    /// What such a file system is taken to be worth before anything is measured.
    Profile,
    /// Too few calls have come back to judge.
    Measuring,
    /// Workers lack work, so nothing is to be learned.
    Starved,
    /// Calls are answered from memory, so there is a worker for each processor.
    FromMemory,
    /// Trying whether more workers bring more.
    TryMore,
    /// Trying whether fewer bring as much.
    TryFewer,
    /// More brought more.
    MoreHelped,
    /// Fewer brought as much.
    FewerSuffice,
    /// More did not bring more.
    MoreDidNotHelp,
    /// Fewer brought less.
    FewerDidNotSuffice,
    /// Calls have become slower, so the search begins anew.
    Slower,
    /// Calls have become quicker, so the search begins anew.
    Quicker,
    /// Neither more nor fewer were better.
    Settled,
}

impl Reason {
    /// For the report.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Reason::Fixed => "fixed",
            Reason::Profile => "profile",
            Reason::Measuring => "measuring",
            Reason::Starved => "starved",
            Reason::FromMemory => "from_memory",
            Reason::TryMore => "try_more",
            Reason::TryFewer => "try_fewer",
            Reason::MoreHelped => "more_helped",
            Reason::FewerSuffice => "fewer_suffice",
            Reason::MoreDidNotHelp => "more_did_not_help",
            Reason::FewerDidNotSuffice => "fewer_did_not_suffice",
            Reason::Slower => "slower",
            Reason::Quicker => "quicker",
            Reason::Settled => "settled",
        }
    }
}
