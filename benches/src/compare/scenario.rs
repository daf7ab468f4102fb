//! A scenario: what is walked, by whom, in which state, and what everybody is divided by.

use std::time::Duration;

use super::site::{Cache, Part, Place};

/// One comparison of the report.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// By which it is chosen on the command line.
    pub(super) name: &'static str,
    pub(super) title: String,
    /// What was done and what 1.0 means, for readers: a paragraph of Markdown.
    pub(super) about: String,
    pub(super) place: Place,
    pub(super) cache: Cache,
    /// Floors on so many threads, tried before anything else; the best becomes the yardstick. Empty where
    /// the first entrant is the yardstick.
    pub(super) sweep: Sweep,
    pub(super) entrants: Vec<Entrant>,
    pub(super) figure: Figure,
    /// A measurement lasts at least so long: a program is run several times in a row if need be.
    pub(super) least: Duration,
    /// The longest that anybody is waited for.
    pub(super) limit: Duration,
    /// The longest that those are waited for that run once.
    pub(super) limit_once: Duration,
}

impl Scenario {
    /// Whether everybody runs once before being measured. It would be for nothing where each run finds a new state.
    pub(super) fn warms_up(&self) -> bool {
        let renewed = matches!(
            self.place,
            Place::Striped { .. } | Place::Slow { .. } | Place::Two { .. }
        );
        self.cache == Cache::Kept && !renewed && self.figure == Figure::Time
    }
}

/// Floors that are tried on different numbers of threads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sweep {
    /// From the most to the fewest.
    pub(super) threads: Vec<u32>,
    pub(super) inode_order: bool,
}

/// What is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Time,
    PeakMemory,
}

/// A contender in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entrant {
    /// Whose command it is.
    pub(super) contender: String,
    /// What it is called in the table, if otherwise.
    pub(super) label: Option<&'static str>,
    pub(super) part: Part,
    /// The label of the entrant that it is divided by; the scenario's yardstick where there is none.
    pub(super) against: Option<&'static str>,
    /// Run once, not in every round: it takes long, and its ratio is far from any that matters.
    pub(super) once: bool,
}

impl Entrant {
    pub(super) fn new(contender: impl Into<String>) -> Self {
        Self {
            contender: contender.into(),
            label: None,
            part: Part::Whole,
            against: None,
            once: false,
        }
    }

    pub(super) fn called(self, label: &'static str) -> Self {
        Self {
            label: Some(label),
            ..self
        }
    }

    pub(super) fn on(self, part: Part) -> Self {
        Self { part, ..self }
    }

    pub(super) fn against(self, label: &'static str) -> Self {
        Self {
            against: Some(label),
            ..self
        }
    }

    pub(super) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    pub(super) fn label(&self) -> &str {
        self.label.unwrap_or(&self.contender)
    }
}
