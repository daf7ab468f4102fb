//! How the program ends: the exit status, and what is said when a command could not do its work.
//!
//! Two things must stay true: the statuses are those that `--help` and the manual document, and [`leave`] is the only way
//! out.

use statline_pipeline::{Outcome, Problems, ReadError};

use crate::escape::escaped_message;
use crate::parent;
use crate::terminal::{Palette, Terminal};

/// The statuses as `--help` shows them.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0        complete
  1        failed, or out of time: no output has its name
  2        a mistake in the arguments or in the job
  3        finished, but something could not be read; the outputs are written and say so
  130, 143 stopped by SIGINT, SIGTERM; a second signal ends the program at once";

/// The statuses of `diff`, which are those of diff(1), as `--help` shows them.
pub(crate) const DIFF_STATUS: &str = "\
Exit status:
  0        there are no differences
  1        there are differences
  2        trouble: a mistake in the arguments, a side that cannot be read or relied on, or something that could not be
           looked at; the differences that were found are written all the same if the scans came to their end
  130, 143 stopped by SIGINT, SIGTERM; a second signal ends the program at once";

/// The statuses of `bench` as `--help` shows them.
pub(crate) const BENCH_STATUS: &str = "\
Exit status:
  0        measured, and both ways found the same entries
  1        failed
  2        a mistake in the arguments
  3        measured, but something could not be read, or the two ways did not find the same entries
  130, 143 stopped by SIGINT, SIGTERM; a second signal ends the program at once";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did everything.
    Complete,
    /// It could not do its work.
    Failed,
    /// It was asked for something wrong.
    Usage,
    /// It did its work, but something could not be read.
    Incomplete,
    /// It found differences.
    Different,
    /// It could not compare everything.
    Trouble,
    /// This signal stopped it.
    Signal(i32),
    /// The child process that did the work ended with this status.
    OfChild(u8),
}

impl Exit {
    /// The status for a run that ended so, and that this signal may have cancelled.
    pub(crate) fn of_run(outcome: Outcome, signal: Option<i32>) -> Exit {
        match (outcome, signal) {
            (Outcome::Complete, _) => Exit::Complete,
            (Outcome::Incomplete, _) => Exit::Incomplete,
            (Outcome::Cancelled, Some(signal)) => Exit::Signal(signal),
            (Outcome::Cancelled | Outcome::Failed, _) => Exit::Failed,
        }
    }

    fn status(self) -> u8 {
        match self {
            Exit::Complete => 0,
            Exit::Failed | Exit::Different => 1,
            Exit::Usage | Exit::Trouble => 2,
            Exit::Incomplete => 3,
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Exit::OfChild(status) => status,
        }
    }
}

/// Ends the program, whatever its other threads do.
///
/// Everything that is to be printed has been flushed. Nothing is cleared up on the way: what does that waits for locks,
/// and a thread that is stuck may hold them.
pub(crate) fn leave(exit: Exit) -> ! {
    let status = exit.status();
    parent::tell(status);
    #[cfg(unix)]
    signal_hook::low_level::exit(status.into());
    #[cfg(not(unix))]
    std::process::exit(status.into());
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: What,
}

#[derive(Debug)]
enum What {
    Message(String),
    Problems(Box<Problems>),
}

impl Failure {
    /// A mistake in the arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Usage,
            what: What::Message(message.into()),
        }
    }

    /// Something that the system refused.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Failed,
            what: What::Message(message.into()),
        }
    }

    /// The same with the status that diff(1) has for trouble.
    pub(crate) fn into_trouble(self) -> Failure {
        Failure {
            exit: Exit::Trouble,
            ..self
        }
    }

    /// Says it on standard error, and returns the status.
    pub(crate) fn tell(&self, terminal: &Terminal) -> Exit {
        let Palette { error, reset, .. } = terminal.error_palette();
        terminal.say(&match &self.what {
            What::Message(message) => {
                format!("{error}error{reset}: {}\n", escaped_message(message))
            }
            What::Problems(problems) => problems.render(terminal.colours_errors()),
        });
        self.exit
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        Failure {
            exit: Exit::Usage,
            what: What::Problems(Box::new(problems)),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        Failure::usage(error.to_string())
    }
}
