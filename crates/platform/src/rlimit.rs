//! The limit of open files of this process.

use std::io;

/// The soft and the hard limit of open files.
#[cfg(unix)]
#[must_use]
pub fn open_file_limit() -> (u64, u64) {
    // It fails for bad arguments only; then the least that POSIX guarantees is a safe answer.
    limit().map_or((20, 20), |limit| (limit.rlim_cur, limit.rlim_max))
}

/// The soft and the hard limit of open files. Windows has none that a scan could reach.
#[cfg(not(unix))]
#[must_use]
pub fn open_file_limit() -> (u64, u64) {
    (u64::MAX, u64::MAX)
}

/// Raises the soft limit of open files of this process to the hard one and returns it.
///
/// This changes the whole process, and what its children inherit: for programs, never for
/// libraries.
///
/// # Errors
/// If the system refuses. macOS refuses an unlimited hard limit.
#[cfg(unix)]
pub fn raise_open_file_limit() -> io::Result<u64> {
    let mut limit = limit()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: reads the structure that the pointer leads to.
        crate::sys::retry(|| unsafe {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) as isize
        })?;
    }
    Ok(limit.rlim_cur)
}

/// Raises the soft limit of open files of this process. There is nothing to raise on Windows.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn raise_open_file_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}

#[cfg(unix)]
fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: fills the structure that the pointer leads to.
    crate::sys::retry(|| unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) as isize })?;
    Ok(limit)
}
