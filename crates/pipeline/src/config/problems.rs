//! All that is wrong in a job, gathered by every step from the parser to the graph and shown at
//! once.
//!
//! What must stay true: every span in it is a byte range of the text that it holds, so a problem
//! can always be shown in its line.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::location::{Location, Origin};
use super::problem::{Problem, Severity};
use super::render;
use super::text::JobText;
use super::tree::Place;

/// More are not kept: a file with so many is something else than a job.
pub(super) const MOST: usize = 1000;

/// All that is wrong in a job.
///
/// As an error it displays every problem with its line, in the order of the file;
/// [`Problems::render`] does the same in colour.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    text: Option<Arc<JobText>>,
    /// Where the keys of the job are, by their paths.
    places: HashMap<String, Place>,
    list: Vec<Problem>,
    /// Whether there were more than it keeps.
    is_cut: bool,
}

impl Problems {
    /// No problems yet, in the file called `name` that holds `text`.
    pub fn in_file(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            text: Some(Arc::new(JobText::new(name.into(), text.into()))),
            ..Self::default()
        }
    }

    /// No problems yet, in a job that has no file.
    pub fn without_file() -> Self {
        Self::default()
    }

    /// Adds one. One that has a path and no span gets the span of that key, or of the table that
    /// should hold it.
    ///
    /// Of thousands, some are dropped; never all of the errors.
    pub fn push(&mut self, mut problem: Problem) {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        if self.list.len() >= MOST && (!is_error(&problem) || self.list.iter().any(is_error)) {
            self.is_cut = true;
            return;
        }
        if *problem.location.origin() == Origin::Nowhere
            && let Some(origin) = self.place(problem.location.path())
        {
            problem.location = Location::with_origin(problem.location.path().to_owned(), origin);
        }
        self.list.push(problem);
    }

    /// Whether anybody would see what to do about one problem more. To find a name that was meant takes time, and a
    /// file with thousands of wrong ones is something else than a job.
    pub(crate) fn wants_help(&self) -> bool {
        self.list.len() < render::MOST_SHOWN
    }

    /// Whether the job can't run.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What the job can't run with, in the order of the file.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.iter()
            .filter(|problem| problem.severity == Severity::Error)
    }

    /// What the job runs with, though perhaps not as meant, in the order of the file.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.iter()
            .filter(|problem| problem.severity == Severity::Warning)
    }

    /// Each problem once, in the order of the file; then those of `--set`, then those that have no
    /// place.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut seen = HashSet::new();
        let mut sorted: Vec<_> = self
            .list
            .iter()
            .filter(|problem| {
                seen.insert((position(problem), problem.location.path(), &problem.message))
            })
            .collect();
        sorted.sort_by_key(|problem| position(problem));
        sorted.into_iter()
    }

    /// Every problem with its line, and how many they are; with the escape sequences for a terminal
    /// if `colour` says so.
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn text(&self) -> Option<&Arc<JobText>> {
        self.text.as_ref()
    }

    /// From here on the problems of these keys can be shown in their lines.
    pub(super) fn set_places(&mut self, places: HashMap<String, Place>) {
        self.places = places;
    }

    fn place(&self, mut path: &str) -> Option<Origin> {
        let mut element = None;
        loop {
            if let Some(place) = self.places.get(path) {
                let element = element.and_then(|index: usize| place.elements.get(index));
                return Some(element.unwrap_or(&place.origin).clone());
            }
            let (container, last) = path.split_at(path.rfind(['.', '['])?);
            let index = last
                .strip_prefix('[')
                .and_then(|last| last.strip_suffix(']'));
            element = index.and_then(|index| index.parse().ok());
            path = container;
        }
    }
}

/// Sorts as the problems are shown.
fn position(problem: &Problem) -> (u8, usize) {
    match problem.location.origin() {
        Origin::Text(span) => (0, span.start),
        Origin::Override(_) => (1, 0),
        Origin::Nowhere => (2, 0),
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Problems {}

/// One problem as a program reads it. Line and column count from 1, the column in characters.
#[derive(serde::Serialize)]
struct Row<'p> {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The `--set` argument that the value was given in.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<&'p str>,
    path: &'p str,
    message: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'p str>,
}

impl Serialize for Problems {
    /// A list of the problems in the order of [`Problems::iter`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        for problem in self.iter() {
            let location = &problem.location;
            let place = self.text.as_ref().zip(location.span());
            let place = place.map(|(text, span)| text.position(span.start));
            let set = match location.origin() {
                Origin::Override(set) => Some(&**set),
                Origin::Text(_) | Origin::Nowhere => None,
            };
            rows.serialize_element(&Row {
                severity: problem.severity,
                file: self.text.as_ref().map(|text| text.name()),
                line: place.map(|place| place.line),
                column: place.map(|place| place.column),
                set,
                path: location.path(),
                message: &problem.message,
                help: problem.help.as_deref(),
            })?;
        }
        rows.end()
    }
}
