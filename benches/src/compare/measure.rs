//! One run of one program: time, processor time, peak memory, and what it found.
//!
//! The clock runs from before the process is started until it has been waited for, so start and exit count for everybody.
//! Peak memory is what the kernel accounted for. It carries the starting process's own peak across exec, so a child
//! never reads less than this process; the table marks what is no larger.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::contender::{Contender, MARK, RECORDS};
use super::count::{self, CountFrom, Found};
use crate::error::{IoContext, IoError};
use crate::raw;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) peak_bytes: u64,
    /// `None` where the program does not say.
    pub(super) found: Option<Found>,
    /// The program says that it could not read everything.
    pub(super) incomplete: bool,
}

/// Why a run gave no measurement.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program ended otherwise than well.
    #[error("{status}: {complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The first line on its standard error.
        complaint: String,
    },
    /// The program ended well and did not say what it found.
    #[error("its output says no number of entries")]
    Mute,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A program that ended, and did not fail.
struct Ended {
    wall: Duration,
    usage: raw::Usage,
    incomplete: bool,
}

/// Runs programs and keeps what they write in one directory, over and over.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    scratch: &'a Path,
}

impl<'a> Bench<'a> {
    pub(super) fn new(scratch: &'a Path) -> Self {
        Self { scratch }
    }

    /// Runs a contender once.
    pub(super) fn run(&self, contender: &Contender) -> Result<Measurement, RunError> {
        let ended = self.spawn(contender, &contender.arguments, contender.count)?;
        let found = self.found(contender)?;
        Ok(Measurement {
            wall: ended.wall,
            cpu: ended.usage.cpu,
            peak_bytes: ended.usage.peak_bytes,
            found,
            incomplete: ended.incomplete,
        })
    }

    /// Asks a contender once, untimed, how many entries there are, where that takes a run of its own.
    pub(super) fn extra_count(&self, contender: &Contender) -> Result<Option<Found>, RunError> {
        if contender.count != CountFrom::ExtraRun {
            return Ok(None);
        }
        let mut arguments = contender.arguments.clone();
        arguments.extend(["--format", "json"].map(Into::into));
        self.spawn(contender, &arguments, CountFrom::Report)?;
        let found = count::run_report(&self.stdout())?;
        found.ok_or(RunError::Mute).map(Some)
    }

    fn spawn(
        &self,
        contender: &Contender,
        arguments: &[std::ffi::OsString],
        count: CountFrom,
    ) -> Result<Ended, RunError> {
        for left in [self.records(), self.mark()] {
            if left.try_exists().during("look for", &left)? {
                fs::remove_file(&left).during("remove", &left)?;
            }
        }
        let stdout: Stdio = match count {
            CountFrom::Report | CountFrom::Stdout { .. } => create(&self.stdout())?.into(),
            CountFrom::Records | CountFrom::ExtraRun | CountFrom::Nowhere => Stdio::null(),
        };
        let program = &contender.program;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(create(&self.stderr())?);
        let start = Instant::now();
        let child = command.spawn().during("start", program)?;
        let usage = raw::wait(child.id()).during("wait for", program)?;
        let wall = start.elapsed();
        let status = usage.status;
        let incomplete =
            contender.incomplete_status.is_some() && status.code() == contender.incomplete_status;
        if status.success() || incomplete {
            Ok(Ended {
                wall,
                usage,
                incomplete,
            })
        } else {
            Err(RunError::Failed {
                status,
                complaint: self.complaint(),
            })
        }
    }

    fn found(&self, contender: &Contender) -> Result<Option<Found>, RunError> {
        let found = match contender.count {
            CountFrom::Report => count::report(&self.stdout())?,
            CountFrom::Stdout { and_root } => Some(count::lines(&self.stdout(), and_root)?),
            CountFrom::Records => count::records(&self.records(), &self.mark())?,
            CountFrom::ExtraRun | CountFrom::Nowhere => return Ok(None),
        };
        found.ok_or(RunError::Mute).map(Some)
    }

    fn complaint(&self) -> String {
        let text = fs::read(self.stderr()).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .next()
            .unwrap_or("it said nothing")
            .to_owned()
    }

    fn stdout(&self) -> PathBuf {
        self.scratch.join("stdout")
    }

    fn stderr(&self) -> PathBuf {
        self.scratch.join("stderr")
    }

    fn records(&self) -> PathBuf {
        self.scratch.join(RECORDS)
    }

    fn mark(&self) -> PathBuf {
        self.scratch.join(MARK)
    }
}

fn create(path: &Path) -> Result<File, IoError> {
    File::create(path).during("create", path)
}

#[cfg(test)]
mod tests {
    use super::super::contender::Version;
    use super::*;

    fn shell(script: &str, count: CountFrom) -> Contender {
        Contender {
            name: "sh",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            count,
            version: Version::OfThisCrate,
            incomplete_status: None,
        }
    }

    #[test]
    fn a_run_is_timed_counted_and_accounted_for() {
        let scratch = tempfile::tempdir().unwrap();
        let contender = shell(
            "sleep 0.05; echo root; echo a; echo b",
            CountFrom::Stdout { and_root: true },
        );
        let measured = Bench::new(scratch.path()).run(&contender).unwrap();
        assert!(measured.wall >= Duration::from_millis(50));
        assert!(measured.peak_bytes > 100 * 1024);
        assert_eq!(
            measured.found,
            Some(Found {
                entries: 2,
                errors: 0
            })
        );
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let scratch = tempfile::tempdir().unwrap();
        let contender = shell("echo out of cheese >&2; exit 3", CountFrom::Nowhere);
        let message = Bench::new(scratch.path())
            .run(&contender)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains('3') && message.contains("out of cheese"),
            "{message}"
        );
    }

    #[test]
    fn records_and_the_mark_of_the_run_before_are_gone() {
        let scratch = tempfile::tempdir().unwrap();
        for left in [RECORDS, MARK] {
            fs::write(scratch.path().join(left), "old\n").unwrap();
        }
        let contender = shell("exit 0", CountFrom::Records);
        assert!(matches!(
            Bench::new(scratch.path()).run(&contender),
            Err(RunError::Io(_))
        ));
        assert!(!scratch.path().join(MARK).exists());
    }

    #[test]
    fn a_run_that_says_it_is_incomplete_is_measured_and_says_so() {
        let scratch = tempfile::tempdir().unwrap();
        let contender = Contender {
            incomplete_status: Some(3),
            ..shell("exit 3", CountFrom::Nowhere)
        };
        let bench = Bench::new(scratch.path());
        assert!(bench.run(&contender).unwrap().incomplete);
        let complete = shell("exit 0", CountFrom::Nowhere);
        assert!(!bench.run(&complete).unwrap().incomplete);
    }

    #[test]
    fn a_run_of_its_own_that_tells_no_totals_is_mute() {
        let scratch = tempfile::tempdir().unwrap();
        let contender = shell("echo '{}'", CountFrom::ExtraRun);
        assert!(matches!(
            Bench::new(scratch.path()).extra_count(&contender),
            Err(RunError::Mute)
        ));
    }
}
