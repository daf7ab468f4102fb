//! The small parent process of a scan: it starts the same program again, waits for the verdict, and returns it.
//!
//! A thread that is stuck in the kernel, in a FUSE or NFS mount that does not answer, survives even SIGKILL. As long as
//! it does, its process is not reaped: whoever waits for that waits for ever, a cron job as well as a shell. So what may
//! get stuck happens in a child, and this process touches no file system. It forwards signals, and ends when the child
//! has said its exit status through a pipe, has died, or had its last warning.
//!
//! How the two work together:
//!
//! - The child is the same program with the same arguments, streams, group and terminal. [`VARIABLE`](os::VARIABLE) tells it whose
//!   child it is, and which descriptor is the pipe. It cannot be taken out of the environment without `unsafe`; but it
//!   names the parent, so it means nothing to any other process. The descriptor stays open in the child for the same
//!   reason, beside the one that is written to: whoever starts programs there must not rely on that pipe's end.
//! - The child's only way out is [`exit::leave`](crate::exit::leave): the status into the pipe, then the standard
//!   streams to `/dev/null`, for whoever reads them waits for their end, and a stuck thread would keep them open; then
//!   the end. The parent gives the kernel [`GRACE`](os::GRACE) to clear up, so that usually nothing of the child is left
//!   when the command returns.
//! - A child that dies without a word has its own status, or 128 and the number of the signal that killed it. If one of
//!   its threads is stuck then, no wait ever tells of its death. Its state in `/proc` does, where there is one.
//! - The parent forwards the signals that it gets, whoever sent them. A terminal's Ctrl-C, and what is sent to the
//!   group, arrives at the child twice then, within moments; the rule that makes timeout(1)'s two signals one (see
//!   `stop_request.rs`) makes these one. To tell who sent a signal takes C code in the build, and would not help with
//!   signals to the group. From the second request to stop the parent leaves within [`LAST_WAIT`](os::LAST_WAIT).
//! - It takes signals over only when the child is there, so that a child inherits what was ignored: nohup(1) works.
//!   Signals that stop and continue are left to the terminal, which sends them to both.
//! - The child dies with its parent, on Linux by order of the kernel, so `kill -9` leaves nobody behind. A child that
//!   finds another parent than the one named does not start.
//!
//! Where a program cannot start itself, or has no `/dev/fd`, the work is done in one process, as well as that goes.
//!
//! One thing must stay true: whatever happens to the child and in the kernel, the parent returns, and never says that
//! all went well unless the child did.

#[cfg(unix)]
#[path = "parent_unix.rs"]
mod os;
#[cfg(not(unix))]
#[path = "parent_none.rs"]
mod os;

pub(crate) use os::{begin, tell};

/// What a process is in this game.
pub(crate) enum Role {
    /// The parent of a child that has done the work, and has this exit status.
    #[cfg_attr(not(unix), expect(dead_code, reason = "all is done in one process"))]
    Done(u8),
    /// Who does the work.
    Worker,
}
