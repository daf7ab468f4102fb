//! The program `statline`: built, started under limits, watched, waited for.
//!
//! One thing must stay true: nothing here waits without a limit, because what is tested is whether it ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::suite::Broken;

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(2);

/// How long after the end of a process its standard error may stay open.
const LET_GO: Duration = Duration::from_secs(1);

/// Builds `statline` as this program was built, and says where it is.
pub(crate) fn build() -> Result<PathBuf, Broken> {
    let own = std::env::current_exe()?;
    let profile = own.parent().ok_or("this program is in no directory")?;
    let target = profile
        .parent()
        .ok_or("this program is in no target directory")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/Cargo.toml");
    command
        .args(["build", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target);
    if profile.file_name() == Some(OsStr::new("release")) {
        command.arg("--release");
    }
    if !command.status()?.success() {
        return Err("cannot build statline".into());
    }
    Ok(profile.join("statline"))
}

/// `statline` with arguments, to be started.
#[derive(Debug)]
pub(crate) struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// What a shell does first: limits, redirections, control groups.
    before: String,
    directory: Option<PathBuf>,
    stdout: Option<fs::File>,
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    began: Instant,
    stderr: Option<Told>,
    /// The most that it and its children had resident, in bytes.
    peak: u64,
    /// The most descriptors that one of them had open.
    descriptors: usize,
}

/// What it says on standard error, read as it comes.
#[derive(Debug)]
struct Told {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Told {
    fn read(mut pipe: ChildStderr) -> Told {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                text.extend_from_slice(&buffer[..count]);
            }
        });
        Told { text, reader }
    }

    /// All of it, once the process has ended; and whether it ended there, or somebody holds on to it.
    fn all(self) -> (String, bool) {
        let deadline = Instant::now() + LET_GO;
        while !self.reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        (
            String::from_utf8_lossy(&text).into_owned(),
            self.reader.is_finished(),
        )
    }
}

/// One that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    /// Whether nobody holds on to its standard error: who reads it to its end is not kept waiting.
    pub(crate) let_go: bool,
    pub(crate) took: Duration,
    pub(crate) peak: u64,
    pub(crate) descriptors: usize,
}

impl Ended {
    /// The exit status; 128 and the number of the signal that killed it.
    pub(crate) fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let signal = || 128 + self.status.signal().unwrap_or_default();
        self.status.code().unwrap_or_else(signal)
    }
}

impl Program {
    pub(crate) fn new(
        program: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Program {
        Program {
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            before: String::new(),
            directory: None,
            stdout: None,
        }
    }

    /// Lets a shell do something first, such as `ulimit -n 64`.
    pub(crate) fn after(mut self, command: impl AsRef<str>) -> Program {
        self.before.push_str(command.as_ref());
        self.before.push_str(" && ");
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Program {
        self.directory = Some(directory.to_owned());
        self
    }

    pub(crate) fn stdout(mut self, file: fs::File) -> Program {
        self.stdout = Some(file);
        self
    }

    pub(crate) fn start(self) -> io::Result<Running> {
        let mut command = match self.before.is_empty() {
            true => Command::new(&self.program),
            false => {
                let mut shell = Command::new("sh");
                let script = format!("{}exec \"$0\" \"$@\"", self.before);
                shell.arg("-c").arg(script).arg(&self.program);
                shell
            }
        };
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(self.stdout.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            // A signal to the suite's group is for the suite, which ends what it started.
            .process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().map(Told::read);
        Ok(Running {
            child,
            began: Instant::now(),
            stderr,
            peak: 0,
            descriptors: 0,
        })
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self, patience: Duration) -> Result<Result<Ended, Running>, Broken> {
        Ok(self.start()?.wait(patience)?)
    }
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process"))?;
        match kill_process(pid, signal) {
            // It has just ended.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Looks at the process and says whether it has ended.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        let (peak, descriptors) = tree_of(self.child.id());
        self.peak = self.peak.max(peak);
        self.descriptors = self.descriptors.max(descriptors);
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, but not longer than `patience` from now; then it comes back.
    pub(crate) fn wait(mut self, patience: Duration) -> io::Result<Result<Ended, Running>> {
        let deadline = Instant::now() + patience;
        loop {
            if self.has_ended()? {
                let took = self.began.elapsed();
                let status = self.child.wait()?;
                let told = self.stderr.take().map(Told::all);
                let (stderr, let_go) = told.unwrap_or_default();
                return Ok(Ok(Ended {
                    status,
                    stderr,
                    let_go,
                    took,
                    peak: self.peak,
                    descriptors: self.descriptors,
                }));
            }
            if Instant::now() > deadline {
                return Ok(Err(self));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the process is about something, which `is_so` tells.
    pub(crate) fn wait_until(
        &mut self,
        patience: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        while !is_so() {
            if self.has_ended()? || Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
        Ok(true)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was not waited for. What hangs in a mount ends with the mount, which outlives this.
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in descendants(self.child.id()) {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }
}

/// The resident peaks of a process and its children together, in bytes, and the most descriptors of one of them.
fn tree_of(pid: u32) -> (u64, usize) {
    descendants(pid)
        .into_iter()
        .fold((0, 0), |(peak, most), pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let own = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .and_then(|value| value.trim().strip_suffix(" kB"))
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or_default();
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            (peak + own * 1024, most.max(descriptors))
        })
}

/// A process and all below it.
fn descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    all
}
