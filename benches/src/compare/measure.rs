//! One measurement of one program: time, processor time, peak memory, and what it found.
//!
//! The clock runs from before the process is started until it has been waited for, so start and exit count for everybody.
//! Peak memory is what the kernel accounted for. It carries the starting process's own peak across exec, so a child
//! never reads less than this process; the tables mark what is no larger. What must stay true: no run outlasts its limit, and
//! none is left behind, for each is a group of processes that is ended as one.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::contender::{Contender, MARK, RECORDS, REPORT};
use super::count::{self, CountFrom, Found};
use super::stop::Stop;
use crate::error::{IoContext, IoError};
use crate::raw;

/// Between two looks whether everything is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What one measurement took: a run, or several one after the other.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) peak_bytes: u64,
    /// Of each run; nothing where the program does not say.
    pub(super) found: Vec<Found>,
    /// The program says that it could not read everything.
    pub(super) incomplete: bool,
}

impl Measurement {
    /// Both together.
    fn and(mut self, next: Self) -> Self {
        self.found.extend(next.found);
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_bytes: self.peak_bytes.max(next.peak_bytes),
            found: self.found,
            incomplete: self.incomplete || next.incomplete,
        }
    }
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
    /// It took longer than anybody wants to wait, and was ended.
    #[error("it was ended after {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The program is not there.
    #[error("{0}")]
    Missing(String),
    /// Everything is to end.
    #[error("stopped")]
    Stopped,
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
    stop: &'a Stop,
}

impl<'a> Bench<'a> {
    pub(super) fn new(scratch: &'a Path, stop: &'a Stop) -> Self {
        Self { scratch, stop }
    }

    /// Runs a contender over `roots`, `passes` times one after the other, each no longer than `limit`.
    pub(super) fn run(
        &self,
        contender: &Contender,
        roots: &[PathBuf],
        passes: u32,
        limit: Duration,
    ) -> Result<Measurement, RunError> {
        let mut all = self.pass(contender, roots, limit)?;
        for _ in 1..passes {
            all = all.and(self.pass(contender, roots, limit)?);
        }
        Ok(all)
    }

    fn pass(
        &self,
        contender: &Contender,
        roots: &[PathBuf],
        limit: Duration,
    ) -> Result<Measurement, RunError> {
        let ended = self.spawn(contender, roots, limit)?;
        let found = self.found(contender, roots.len() as u64)?;
        // What it wrote is not to take memory from whoever comes next.
        self.clear()?;
        Ok(Measurement {
            wall: ended.wall,
            cpu: ended.usage.cpu,
            peak_bytes: ended.usage.peak_bytes,
            found: found.into_iter().collect(),
            incomplete: ended.incomplete,
        })
    }

    fn spawn(
        &self,
        contender: &Contender,
        roots: &[PathBuf],
        limit: Duration,
    ) -> Result<Ended, RunError> {
        self.clear()?;
        let stdout: Stdio = match contender.count {
            CountFrom::Report | CountFrom::Stdout { .. } => create(&self.stdout())?.into(),
            CountFrom::Records | CountFrom::RunReport | CountFrom::Nowhere => Stdio::null(),
        };
        let program = &contender.program;
        let mut command = Command::new(program);
        command
            .args(contender.arguments(roots, self.scratch))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(create(&self.stderr())?);
        let start = Instant::now();
        let child = command.spawn().during("start", program)?;
        let pid = Pid::from_child(&child);
        let cut = self.outlast(pid, start, limit).during("watch", program);
        if !matches!(cut, Ok(None)) {
            // It may have ended in this moment.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let usage = raw::wait(child.id()).during("wait for", program)?;
        let wall = start.elapsed();
        if let Some(error) = cut? {
            return Err(error);
        }
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

    /// Waits until a process has ended; tells why that is not waited for any longer.
    fn outlast(&self, pid: Pid, start: Instant, limit: Duration) -> io::Result<Option<RunError>> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            if self.stop.is_requested() {
                return Ok(Some(RunError::Stopped));
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Some(RunError::TimedOut(limit)));
            }
            let slice = left.min(LOOK).try_into().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&slice)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn found(&self, contender: &Contender, roots: u64) -> Result<Option<Found>, RunError> {
        let found = match contender.count {
            CountFrom::Report => count::report(&self.stdout())?,
            CountFrom::Stdout { and_root } => Some(count::lines(
                &self.stdout(),
                if and_root { roots } else { 0 },
            )?),
            CountFrom::Records => count::records(&self.path(RECORDS), &self.path(MARK), roots)?,
            CountFrom::RunReport => count::run_report(&self.path(REPORT), roots)?,
            CountFrom::Nowhere => return Ok(None),
        };
        found.ok_or(RunError::Mute).map(Some)
    }

    fn clear(&self) -> Result<(), IoError> {
        for left in [RECORDS, MARK, REPORT] {
            let left = self.path(left);
            if left.try_exists().during("look for", &left)? {
                fs::remove_file(&left).during("remove", &left)?;
            }
        }
        Ok(())
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
        self.path("stdout")
    }

    fn stderr(&self) -> PathBuf {
        self.path("stderr")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

fn create(path: &Path) -> Result<File, IoError> {
    File::create(path).during("create", path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::super::contender::{Reads, Version, Word};
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, count: CountFrom) -> Contender {
        Contender {
            name: "sh".into(),
            program: "/bin/sh".into(),
            words: ["-c", script].map(Word::from).to_vec(),
            count,
            version: Version::OfThisCrate,
            reads: Reads::All,
            incomplete_status: None,
        }
    }

    fn run(contender: &Contender, passes: u32, limit: Duration) -> Result<Measurement, RunError> {
        let scratch = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        Bench::new(scratch.path(), &stop).run(contender, &["/".into()], passes, limit)
    }

    #[test]
    fn a_run_is_timed_counted_and_accounted_for() {
        let contender = shell(
            "sleep 0.05; echo root; echo a; echo b",
            CountFrom::Stdout { and_root: true },
        );
        let measured = run(&contender, 1, LONG).unwrap();
        assert!(measured.wall >= Duration::from_millis(50));
        assert!(measured.peak_bytes > 100 * 1024);
        assert_eq!(
            measured.found,
            [Found {
                entries: 2,
                errors: 0
            }]
        );
    }

    #[test]
    fn passes_add_up_and_one_that_found_less_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let seen = scratch.path().join("seen");
        // The first pass says 7 and the second 6.
        let script = format!(
            "sleep 0.05; n=7; [ -e {0} ] && n=6; touch {0}; echo \"{{\\\"entries\\\": $n}}\"",
            seen.display()
        );
        let measured = run(&shell(&script, CountFrom::Report), 2, LONG).unwrap();
        assert!(measured.wall >= Duration::from_millis(100));
        let found: Vec<u64> = measured.found.iter().map(|found| found.entries).collect();
        assert_eq!(found, [7, 6]);
    }

    #[test]
    fn whoever_outlasts_the_limit_is_ended_with_all_that_it_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        let pipe = format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd());
        let script = format!("(sleep 60; echo lives) > {pipe} & wait");
        let limit = Duration::from_secs(2);
        let error = run(&shell(&script, CountFrom::Nowhere), 1, limit).unwrap_err();
        assert!(matches!(error, RunError::TimedOut(_)), "{error}");
        drop(writer);
        let mut said = String::new();
        // Comes to its end when nobody has the pipe open any more.
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
    }

    #[test]
    fn a_request_to_end_ends_the_run() {
        let scratch = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        stop.request();
        let contender = shell("sleep 1000", CountFrom::Nowhere);
        let outcome = Bench::new(scratch.path(), &stop).run(&contender, &[], 1, LONG);
        assert!(matches!(outcome, Err(RunError::Stopped)));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let contender = shell("echo out of cheese >&2; exit 3", CountFrom::Nowhere);
        let message = run(&contender, 1, LONG).unwrap_err().to_string();
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
        let stop = Stop::default();
        assert!(matches!(
            Bench::new(scratch.path(), &stop).run(&contender, &[], 1, LONG),
            Err(RunError::Io(_))
        ));
        assert!(!scratch.path().join(MARK).exists());
    }

    #[test]
    fn a_run_that_says_it_is_incomplete_is_measured_and_says_so() {
        let contender = Contender {
            incomplete_status: Some(3),
            ..shell("exit 3", CountFrom::Nowhere)
        };
        assert!(run(&contender, 1, LONG).unwrap().incomplete);
        let complete = shell("exit 0", CountFrom::Nowhere);
        assert!(!run(&complete, 1, LONG).unwrap().incomplete);
    }

    #[test]
    fn a_program_that_tells_no_number_is_mute() {
        let contender = shell("echo 7", CountFrom::Report);
        assert!(matches!(run(&contender, 1, LONG), Err(RunError::Mute)));
    }
}
