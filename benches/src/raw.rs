//! System calls, made directly: the only `unsafe` of this crate.
//!
//! The floor may not go through a library that statline goes through as well, and must be as fast as a loop in C; so the calls
//! that it counts are made here by number, and a name is handed to the kernel where the kernel wrote it, uncopied and
//! unmeasured. What must stay true: every offset into a [`NameBuffer`] is the start of some C string inside it, because the
//! last byte of the buffer is zero and the kernel is never told about that byte.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// What a thread offers to getdents64. A larger buffer saves nothing that can be measured.
const BUFFER_BYTES: usize = 64 * 1024;

/// Opens the root of a walk. It is followed when it is a symbolic link: the user named it.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    openat(libc::AT_FDCWD, &path, 0)
}

/// Opens a directory below an open one, refusing anything that is not a directory.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    openat(parent.as_raw_fd(), name, libc::O_NOFOLLOW)
}

fn openat(parent: RawFd, name: &CStr, extra: libc::c_int) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC | extra;
    // SAFETY: `name` is a C string that outlives the call; the other arguments are integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_openat, parent, name.as_ptr(), flags, 0) })?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else knows it. Descriptors fit into an `i32`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Room for one answer of getdents64.
#[derive(Debug)]
pub(crate) struct NameBuffer {
    /// One byte longer than what the kernel is offered. That last byte is zero and is never written, so a C string that
    /// starts anywhere in here also ends in here.
    bytes: Box<[u8]>,
}

impl NameBuffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER_BYTES + 1].into_boxed_slice(),
        }
    }

    /// Reads the next names of a directory over the previous ones. Returns how many bytes were written; 0 at the end.
    pub(crate) fn fill(&mut self, directory: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: the pointer is good for writing `BUFFER_BYTES` bytes, one fewer than `bytes` holds.
        let written = check(unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                directory.as_raw_fd(),
                self.bytes.as_mut_ptr(),
                BUFFER_BYTES,
            )
        })?;
        Ok(written as usize)
    }

    /// What the last [`fill`](Self::fill) wrote.
    pub(crate) fn filled(&self, bytes: usize) -> &[u8] {
        &self.bytes[..bytes.min(BUFFER_BYTES)]
    }

    /// The name that starts at `offset`.
    pub(crate) fn name(&self, offset: usize) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[offset..]).unwrap_or_default()
    }

    /// Calls statx for the name that starts at `offset`, and returns its mode.
    pub(crate) fn stat(&self, directory: BorrowedFd<'_>, offset: usize) -> io::Result<u16> {
        let name = self.bytes[offset..].as_ptr();
        let mut answer = MaybeUninit::<libc::statx>::uninit();
        // SAFETY: `name` points into `bytes` (the slice above is checked, and never empty below the last byte), where the
        // zero that nobody overwrites ends the string at the latest. `answer` has room for one `struct statx`.
        check(unsafe {
            libc::syscall(
                libc::SYS_statx,
                directory.as_raw_fd(),
                name,
                libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT,
                libc::STATX_BASIC_STATS,
                answer.as_mut_ptr(),
            )
        })?;
        // SAFETY: the call succeeded, so the kernel filled the whole structure, zeros where it knew nothing.
        Ok(unsafe { answer.assume_init() }.stx_mode)
    }
}

/// What a child process used, as the kernel accounted for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) status: ExitStatus,
    /// Time on a processor, in user mode and in the kernel together.
    pub(crate) cpu: Duration,
    /// The largest resident set.
    pub(crate) peak_bytes: u64,
}

/// Waits for a child process and takes its account. The child must not be waited for in any other way.
pub(crate) fn wait(pid: u32) -> io::Result<Usage> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are good for one write of their type.
        let waited =
            unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
        if waited != -1 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all bits zero is a valid `rusage`, and the kernel has overwritten it.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    Ok(Usage {
        status: ExitStatus::from_raw(status),
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        // Linux counts in KiB.
        peak_bytes: usage.ru_maxrss as u64 * 1024,
    })
}

fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}
