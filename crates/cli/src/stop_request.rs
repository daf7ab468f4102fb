//! How often a program was asked to stop.
//!
//! The same request may arrive several times: timeout(1) sends its signal to the program and then to the whole group,
//! and a terminal sends to a group of which one member forwards. One thing must stay true: one request never counts as
//! two, for the second ends the program at once.

use std::time::{Duration, Instant};

/// What comes sooner after the first request is the same one again.
const SAME: Duration = Duration::from_millis(300);

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct StopRequests {
    first: Option<Instant>,
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopRequest {
    /// It asks to stop.
    First,
    /// It is the first one once more.
    Same,
    /// It asks to stop at once.
    Second,
}

impl StopRequests {
    /// One more, at this time.
    pub(crate) fn add(&mut self, now: Instant) -> StopRequest {
        match self.first {
            None => {
                self.first = Some(now);
                StopRequest::First
            }
            Some(first) if now.saturating_duration_since(first) < SAME => StopRequest::Same,
            Some(_) => StopRequest::Second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_once_is_the_same_and_what_comes_later_is_not() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut requests = StopRequests::default();
        assert_eq!(requests.add(at(0)), StopRequest::First);
        assert_eq!(requests.add(at(0)), StopRequest::Same);
        assert_eq!(requests.add(at(299)), StopRequest::Same);
        assert_eq!(requests.add(at(300)), StopRequest::Second);
        assert_eq!(requests.add(at(301)), StopRequest::Second);
    }
}
