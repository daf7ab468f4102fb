//! Both ends of the pipe between a parent and its child.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

use super::Role;
use crate::exit::Failure;
use crate::signal_queue::SignalQueue;
use crate::stop_request::{StopRequest, StopRequests};

/// Tells a child the number of its parent and of the descriptor that takes its verdict: `1234:5`.
pub(super) const VARIABLE: &str = "STATLINE_PARENT";

/// The time for the kernel to clear up after a child that has said its last word, or is dead.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// The time for a child to end after the second request to.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(1);

/// Between two looks whether the child is dead without the kernel saying so.
const LOOK: Duration = Duration::from_secs(1);

/// What is handed on to the child. Other signals end the parent as ever, and the child with it.
const FORWARDED: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1];

/// A name for each open descriptor.
const DESCRIPTORS: &str = "/dev/fd";

/// The child's end of the pipe.
static VERDICT: OnceLock<File> = OnceLock::new();

/// Finds out what this process is, and if it is the parent, is it to the end.
pub(crate) fn begin() -> Result<Role, Failure> {
    if let Some(told) = std::env::var_os(VARIABLE) {
        be_a_child(&told.to_string_lossy())?;
        return Ok(Role::Worker);
    }
    Ok(match start_again() {
        Ok((child, verdict)) => {
            let end = attend(child, verdict, &FORWARDED);
            if let Some(signal) = end.killed_by {
                // A shell would have told. It sees a program that ended by itself.
                let name = signal_hook::low_level::signal_name(signal);
                let name = name.map_or_else(|| format!("signal {signal}"), str::to_owned);
                let _ = writeln!(io::stderr(), "error: killed by {name}");
            }
            Role::Done(end.status)
        }
        // Then there is one process, as if there were no stuck mounts.
        Err(_) => Role::Worker,
    })
}

/// Says the exit status to the parent, if there is one, and lets go of the standard streams.
///
/// What follows may get stuck in the kernel; this does not before the status is said.
pub(crate) fn tell(status: u8) {
    let Some(mut verdict) = VERDICT.get() else {
        return;
    };
    // A parent that is gone needs no status.
    let _ = verdict.write_all(&[status]);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// Ties this process to the parent that [`VARIABLE`] names.
fn be_a_child(told: &str) -> Result<(), Failure> {
    // First, so that no death of the parent goes unnoticed: before this, it is another process that is the parent now.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let named = told.split_once(':').and_then(|(parent, descriptor)| {
        let parent = Pid::from_raw(parent.parse().ok()?)?;
        Some((parent, descriptor.parse::<u32>().ok()?))
    });
    let is_parent = |parent: &Pid| rustix::process::getppid() == Some(*parent);
    let Some((_, descriptor)) = named.filter(|(parent, _)| is_parent(parent)) else {
        return Err(Failure::failed(format!(
            "{VARIABLE}={told} names a parent process that is not there; it is not to be set by hand"
        )));
    };
    // Without waiting: opening a pipe that nobody reads would.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = format!("{DESCRIPTORS}/{descriptor}");
    if let Ok(verdict) = rustix::fs::open(path, flags, Mode::empty()) {
        // Nobody has set it before.
        let _ = VERDICT.set(verdict.into());
    }
    Ok(())
}

/// Starts this program a second time, as a child.
fn start_again() -> io::Result<(Child, PipeReader)> {
    if !Path::new(DESCRIPTORS).exists() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut command = Command::new(std::env::current_exe()?);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    start(&mut command)
}

/// Starts a program that gives its verdict through the pipe that [`VARIABLE`] names.
fn start(command: &mut Command) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    // The child inherits it.
    rustix::io::fcntl_setfd(&writer, FdFlags::empty())?;
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let parent = std::process::id();
    let told = format!("{parent}:{}", writer.as_raw_fd());
    let child = command.env(VARIABLE, told).spawn()?;
    Ok((child, reader))
}

/// What became of a child.
#[derive(Debug, PartialEq)]
struct End {
    status: u8,
    /// The signal that killed it without a verdict, if that is not one that was forwarded.
    killed_by: Option<i32>,
}

impl End {
    fn with(status: u8) -> End {
        End {
            status,
            killed_by: None,
        }
    }

    /// That of a child that died without a verdict, after these signals.
    fn of_death(ended: ExitStatus, received: &[i32]) -> End {
        match ended.signal() {
            Some(signal) => End {
                status: status_of_signal(signal),
                killed_by: Some(signal).filter(|signal| !received.contains(signal)),
            },
            None => {
                let code = ended.code().and_then(|code| u8::try_from(code).ok());
                End::with(code.unwrap_or(1))
            }
        }
    }
}

/// How it ends if the child does not end first.
struct Ending {
    at: Instant,
    status: u8,
}

/// Waits for the end of a child, and forwards signals to it.
fn attend(mut child: Child, verdict: PipeReader, forwarded: &[i32]) -> End {
    let pid = Pid::from_child(&child);
    let mut queue = SignalQueue::new().ok();
    for &signal in [SIGCHLD].iter().chain(forwarded) {
        // What cannot be watched for does to the parent what it always does, and ends the child with it.
        let _ = queue.as_mut().map(|queue| queue.add(signal));
    }
    let mut verdict = Some(verdict);
    let mut said = None;
    let mut received = Vec::new();
    let mut requests = StopRequests::default();
    let mut ending: Option<Ending> = None;
    let mut looked = Instant::now();
    loop {
        for signal in queue.iter_mut().flat_map(SignalQueue::pending) {
            if signal == SIGCHLD {
                continue;
            }
            if !received.contains(&signal) {
                received.push(signal);
            }
            if let Some(signal) = Signal::from_named_raw(signal) {
                // It is not reaped yet, so it is this child or its remains.
                let _ = rustix::process::kill_process(pid, signal);
            }
            let now = Instant::now();
            if matches!(signal, SIGINT | SIGTERM) && requests.add(now) == StopRequest::Second {
                let status = status_of_signal(signal);
                ending.get_or_insert(Ending {
                    at: now + LAST_WAIT,
                    status,
                });
            }
        }
        // Asked before the verdict is read: what a dead child has said is in the pipe.
        let ended = child.try_wait().transpose();
        if let Some(status) = verdict.as_mut().and_then(read_verdict) {
            let at = Instant::now() + GRACE;
            said = status;
            verdict = None;
            if let Some(status) = status {
                ending = Some(Ending { at, status });
            }
        }
        match (ended, said) {
            (Some(_), Some(status)) => return End::with(status),
            (Some(Ok(ended)), None) => return End::of_death(ended, &received),
            // Somebody else has reaped it: whoever started this program had it ignore the death of children.
            (Some(Err(_)), None) => return End::with(1),
            (None, _) => {}
        }
        let now = Instant::now();
        if said.is_none() && ending.is_none() && now.duration_since(looked) >= LOOK {
            looked = now;
            ending = status_of_remains(pid).map(|status| Ending {
                at: now + GRACE,
                status,
            });
        }
        if let Some(Ending { status, .. }) = ending.as_ref().filter(|ending| ending.at <= now) {
            // It has said all that it had to say, or had its time.
            let _ = child.kill();
            return End::with(*status);
        }
        let until = ending.as_ref().map_or(looked + LOOK, |ending| ending.at);
        wait(&queue, &verdict, until.saturating_duration_since(now));
    }
}

/// What is in the pipe: `None` for nothing yet, `Some(None)` when nothing can come any more.
fn read_verdict(verdict: &mut PipeReader) -> Option<Option<u8>> {
    let mut status = [0];
    match verdict.read(&mut status) {
        Ok(0) => Some(None),
        Ok(_) => Some(Some(status[0])),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        Err(_) => Some(None),
    }
}

/// Waits for a signal or something in the pipe.
fn wait(queue: &Option<SignalQueue>, verdict: &Option<PipeReader>, time: Duration) {
    match queue {
        Some(queue) => queue.wait(verdict.as_ref().map(AsFd::as_fd), Some(time)),
        // Without signals a death is seen by looking.
        None => std::thread::sleep(time.min(GRACE)),
    }
}

fn status_of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

/// The exit status of a child that is dead and that the kernel has not let go of, if it is.
fn status_of_remains(pid: Pid) -> Option<u8> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    remains(&stat, std::process::id())
}

/// The exit status in a line of `/proc/PID/stat`, if that is of a dead child of `parent`.
fn remains(stat: &str, parent: u32) -> Option<u8> {
    // The name in front of it may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // Where `/proc` is that of other processes, the number may be anybody's.
    if fields.next() != Some("Z") || fields.next()?.parse() != Ok(parent) {
        return None;
    }
    let wait_status = fields.next_back().and_then(|code| code.parse().ok());
    let killed = ExitStatus::from_raw(wait_status.unwrap_or(0));
    Some(match (killed.signal(), killed.code()) {
        (Some(signal), _) => status_of_signal(signal),
        // Nobody gets out without a verdict and well, so this is a code that may not be seen.
        (None, Some(0) | None) => status_of_signal(signal_hook::consts::SIGKILL),
        (None, Some(code)) => u8::try_from(code).unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a shell script as a child, and how long that took.
    fn attended(script: &str) -> (End, Duration) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let start_of_it = Instant::now();
        let (child, verdict) = start(&mut command).expect("a shell");
        let (sender, end) = std::sync::mpsc::channel();
        // The signals of the test program are its own.
        std::thread::spawn(move || sender.send(attend(child, verdict, &[])));
        let end = end.recv_timeout(Duration::from_secs(30));
        (end.expect("an end"), start_of_it.elapsed())
    }

    /// Shell: says the status 3.
    const SAY: &str = r#"printf '\003' >"/dev/fd/${STATLINE_PARENT#*:}"; "#;

    #[test]
    fn the_status_of_a_child_is_passed_on() {
        assert_eq!(attended("exit 0").0, End::with(0));
        assert_eq!(attended("exit 7").0, End::with(7));
        assert_eq!(attended(&format!("{SAY} exit 3")).0, End::with(3));
    }

    #[test]
    fn what_a_child_has_said_counts_whatever_becomes_of_it() {
        assert_eq!(attended(&format!("{SAY} exit 0")).0, End::with(3));
        assert_eq!(attended(&format!("{SAY} kill -KILL $$")).0, End::with(3));
    }

    #[test]
    fn a_child_that_does_not_end_after_its_verdict_is_left() {
        let (end, time) = attended(&format!("{SAY} kill -STOP $$; exit 9"));
        assert_eq!(end, End::with(3));
        assert!(time >= GRACE, "{time:?}");
    }

    #[test]
    fn the_signal_that_killed_a_child_is_in_the_status() {
        for (name, signal, status) in [("KILL", 9, 137), ("TERM", 15, 143)] {
            let end = End {
                status,
                killed_by: Some(signal),
            };
            assert_eq!(attended(&format!("kill -{name} $$")).0, end);
        }
    }

    #[test]
    fn a_dead_process_is_seen_before_it_is_reaped() {
        let mut killed = Command::new("sh");
        let mut killed = killed.args(["-c", "kill -TERM $$"]).spawn().expect("sh");
        let pid = Pid::from_child(&killed);
        let mut alive = Command::new("cat");
        let alive = alive.stdin(std::process::Stdio::piped());
        let mut alive = alive.spawn().expect("cat");
        // It stays as it is until somebody waits for it, like one with a stuck thread.
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).expect("a child");
        if Path::new("/proc/self/stat").exists() {
            assert_eq!(status_of_remains(pid), Some(143));
        }
        assert_eq!(status_of_remains(Pid::from_child(&alive)), None);
        alive.kill().expect("is there");
        alive.wait().expect("is a child");
        killed.wait().expect("is a child");
    }

    #[test]
    fn a_line_of_proc_tells_who_is_dead() {
        let line = |name: &str, state: &str, code: &str| {
            format!("12 ({name}) {state} 7 12 {}{code}\n", "0 ".repeat(46))
        };
        let remains = |line: &str| remains(line, 7);
        assert_eq!(remains(&line("statline", "S", "0")), None);
        assert_eq!(remains(&line("a) Z 1", "D", "9")), None);
        assert_eq!(remains(&line("a) S 1", "Z", "9")), Some(137));
        assert_eq!(remains(&line("statline", "Z", "139")), Some(139));
        assert_eq!(remains(&line("statline", "Z", "768")), Some(3));
        assert_eq!(remains(&line("statline", "Z", "0")), Some(137));
        assert_eq!(remains(""), None);
        assert_eq!(super::remains(&line("statline", "Z", "9"), 8), None);
    }
}
