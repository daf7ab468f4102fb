//! The few things that every system call on Unix needs.

use std::io;

/// How often a call is repeated that a signal interrupted. A network file system mounted with
/// `intr` may answer `EINTR` for good, so not for ever.
const INTERRUPTIONS: u32 = 3;

/// Makes a system call that returns a negative number on failure, again if a signal interrupted it.
#[inline]
pub(crate) fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    let mut interruptions = 0;
    loop {
        // Negative is what does not fit.
        if let Ok(result) = usize::try_from(call()) {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) || interruptions == INTERRUPTIONS {
            return Err(error);
        }
        interruptions += 1;
    }
}

/// Where the calling thread's `errno` is.
pub(crate) fn errno_location() -> *mut i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: takes nothing and only returns an address.
    unsafe {
        libc::__errno_location()
    }
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: as above.
    unsafe {
        libc::__errno()
    }
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    // SAFETY: as above.
    unsafe {
        libc::__error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail_with(errno: i32) -> isize {
        // SAFETY: the pointer to the thread's `errno` is valid for the life of the thread.
        unsafe { *errno_location() = errno };
        -1
    }

    #[test]
    fn interrupted_calls_are_repeated_a_few_times() {
        let mut calls = 0;
        let mut interrupted = |until| {
            calls = 0;
            retry(|| {
                calls += 1;
                if calls <= until {
                    fail_with(libc::EINTR)
                } else {
                    7
                }
            })
        };
        assert_eq!(interrupted(3).unwrap(), 7);
        assert_eq!(
            interrupted(9).unwrap_err().raw_os_error(),
            Some(libc::EINTR)
        );
        assert_eq!(calls, 4);
        assert_eq!(
            retry(|| fail_with(libc::EIO)).unwrap_err().raw_os_error(),
            Some(libc::EIO)
        );
    }
}
