//! The few things that every system call on Unix needs.

use std::io;

/// How often a call is repeated that a signal interrupted, or whose answer is to try again. A network
/// file system mounted with `intr` may answer `EINTR` for good, so not for ever.
const REPETITIONS: u32 = 3;

/// Makes a system call that returns a negative number on failure, again after `EINTR` and `EAGAIN`.
#[inline]
pub(crate) fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    let mut repetitions = 0;
    loop {
        // Negative is what does not fit.
        if let Ok(result) = usize::try_from(call()) {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        let again = matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN));
        if !again || repetitions == REPETITIONS {
            return Err(error);
        }
        repetitions += 1;
    }
}

/// Where the calling thread's `errno` is.
#[cfg(any(test, not(target_os = "linux")))]
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
        let mut interrupted = |until, errno| {
            calls = 0;
            retry(|| {
                calls += 1;
                if calls <= until { fail_with(errno) } else { 7 }
            })
        };
        for errno in [libc::EINTR, libc::EAGAIN] {
            assert_eq!(interrupted(3, errno).unwrap(), 7);
            let error = interrupted(9, errno).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno));
        }
        assert_eq!(calls, 4);
        assert_eq!(
            retry(|| fail_with(libc::EIO)).unwrap_err().raw_os_error(),
            Some(libc::EIO)
        );
    }
}
