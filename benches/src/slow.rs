//! A mount that answers slowly: what it is like, and the process that serves it.
//!
//! `slowfs` is that process, and [`Mount`] is how `compare` starts it. What must stay true: a mount ends with whoever started it.
//! The process serves until its standard input ends, and the kernel closes the other end of that pipe when this process
//! ends, however it does.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroU64;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, IoError};

/// A generated tree behind a mount, and how it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Slow {
    /// Directories in each directory
    #[arg(long, default_value_t = 10)]
    pub fan_out: u64,
    /// Levels of directories
    #[arg(long, default_value_t = 4)]
    pub depth: u64,
    /// Files in each directory, the root included
    #[arg(long, default_value_t = 30)]
    pub files: u64,
    /// Microseconds that each call takes
    #[arg(long, default_value_t = 0)]
    pub latency_us: u64,
    /// Calls that are quick before the first that is not
    #[arg(long, default_value_t = 0)]
    pub after: u64,
    /// Calls that take their time before all are quick again [default: all]
    #[arg(long)]
    pub calls: Option<u64>,
    /// Calls that are served at a time; the others wait [default: any number]
    #[arg(long)]
    pub at_once: Option<NonZeroU64>,
}

impl Slow {
    /// Entries below the root; `None` where there is no such number.
    #[must_use]
    pub fn entries(&self) -> Option<u64> {
        let mut level: u64 = 1;
        let mut directories: u64 = 1;
        for _ in 0..self.depth {
            level = level.checked_mul(self.fan_out)?;
            directories = directories.checked_add(level)?;
        }
        directories
            .checked_mul(self.files)?
            .checked_add(directories - 1)
    }

    /// As options of the program `slowfs`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let Self {
            fan_out,
            depth,
            files,
            latency_us,
            after,
            calls,
            at_once,
        } = *self;
        let mut options = vec![
            ("--fan-out", fan_out),
            ("--depth", depth),
            ("--files", files),
        ];
        for (option, value) in [("--latency-us", latency_us), ("--after", after)] {
            if value > 0 {
                options.push((option, value));
            }
        }
        options.extend(calls.map(|calls| ("--calls", calls)));
        options.extend(at_once.map(|calls| ("--at-once", calls.get())));
        options
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value.to_string()])
            .collect()
    }
}

/// What was asked of a mount, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Calls of the kernel.
    pub calls: u64,
    /// Those that looked a name up.
    pub lookups: u64,
    /// Calls that somebody waited for at a time, in the middle of all looks at it.
    pub at_once_median: u64,
    /// The most that were seen.
    pub at_once_most: u64,
}

/// A mount that is being served by a process of its own.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Mount {
    /// Starts `program`, which is `slowfs`, and waits until its mount is there.
    ///
    /// # Errors
    /// When it cannot be started, or cannot mount: then it has said why on standard error.
    pub fn start(program: &Path, slow: &Slow) -> Result<Self, IoError> {
        let arguments = slow.arguments().into_iter().map(OsString::from);
        let mut child = Command::new(program)
            .args(arguments)
            // What is typed at a terminal is for `compare`, which then ends this in the ordinary way.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .during("start", program)?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("it has no standard output"))
            .during("start", program)?;
        let mut mount = Self {
            path: PathBuf::new(),
            child,
            output: BufReader::new(output),
        };
        mount.path = mount.line().during("mount with", program)?.into();
        Ok(mount)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts, and tells what was asked.
    ///
    /// # Errors
    /// When the process did not tell.
    pub fn end(mut self) -> Result<Served, IoError> {
        drop(self.child.stdin.take());
        let path = self.path.clone();
        let line = self.line().during("unmount", &path)?;
        serde_json::from_str(&line)
            .map_err(io::Error::other)
            .during("understand what was said of", &path)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the process that serves it ended"));
        }
        Ok(line.trim_end_matches('\n').to_owned())
    }
}

impl Drop for Mount {
    /// The same for a mount that nobody asks: standard input ends, the process unmounts, and is waited for.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!(
                "cannot wait for what serves {}: {error}",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: Slow = Slow {
        fan_out: 10,
        depth: 2,
        files: 3,
        latency_us: 0,
        after: 0,
        calls: None,
        at_once: None,
    };

    #[test]
    fn entries_are_directories_below_the_root_and_files_in_all() {
        assert_eq!(TREE.entries(), Some(110 + 111 * 3));
        let root_alone = Slow { depth: 0, ..TREE };
        assert_eq!(root_alone.entries(), Some(3));
        let beyond = Slow {
            fan_out: u64::MAX,
            ..TREE
        };
        assert_eq!(beyond.entries(), None);
    }

    #[test]
    fn what_is_not_asked_for_is_not_on_the_command_line() {
        assert_eq!(
            TREE.arguments().join(" "),
            "--fan-out 10 --depth 2 --files 3"
        );
        let stepping = Slow {
            latency_us: 5_000,
            after: 7,
            calls: Some(8),
            at_once: NonZeroU64::new(4),
            ..TREE
        };
        assert!(
            stepping
                .arguments()
                .join(" ")
                .ends_with("--latency-us 5000 --after 7 --calls 8 --at-once 4")
        );
    }

    /// A script in place of `slowfs`.
    fn script(directory: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("slowfs");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_mount_ends_when_its_input_does_and_tells_what_was_asked() {
        let directory = tempfile::tempdir().unwrap();
        let served = r#"{"calls":9,"lookups":5,"at_once_median":2,"at_once_most":4}"#;
        let program = script(
            directory.path(),
            &format!("echo /somewhere; cat >/dev/null; echo '{served}'"),
        );
        let mount = Mount::start(&program, &TREE).unwrap();
        assert_eq!(mount.path(), Path::new("/somewhere"));
        let served = mount.end().unwrap();
        assert_eq!((served.calls, served.at_once_median), (9, 2));
    }

    #[test]
    fn a_process_that_cannot_mount_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let program = script(directory.path(), "exit 1");
        let message = Mount::start(&program, &TREE).unwrap_err().to_string();
        assert!(message.contains("ended"), "{message}");
    }
}
