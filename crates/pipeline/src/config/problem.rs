//! Problem skeleton.
use super::Location;
use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The job can't run.
    Error,
    /// The job runs, though perhaps not as meant.
    Warning,
}

/// One thing that is wrong in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the job can run all the same.
    pub severity: Severity,
    /// Where.
    pub location: Location,
    /// What is wrong: lower-case, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// Something that the job can't run with.
    pub fn error(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            location,
            message: message.into(),
            help: None,
        }
    }

    /// Something that the job runs with, though perhaps not as meant.
    pub fn warning(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            location,
            message: message.into(),
            help: None,
        }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All that is wrong in a job.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// No problems yet, in the file called `file_name` that holds `text`.
    pub fn in_file(_file_name: impl Into<String>, _text: impl Into<String>) -> Self {
        Self::default()
    }

    /// No problems yet, in a job that a program builds.
    pub fn of_program() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Whether the job can't run.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// The problems in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// All of them as text for a person.
    pub fn render(&self, _colour: bool) -> String {
        String::new()
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.list.extend(problems);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
