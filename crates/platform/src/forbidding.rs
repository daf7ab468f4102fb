//! For tests: system calls that the kernel refuses, as containers and old kernels do.

use std::io;

use crate::sys::retry;

/// Makes the kernel answer `errno` to the system call `number`, for the calling thread alone and for good. With 0 it
/// answers 0 and does nothing.
///
/// # Errors
/// Where filters are forbidden in turn.
pub(crate) fn forbid(number: libc::c_long, errno: i32) -> io::Result<()> {
    let statement = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        // The number of the call is the first word that the filter sees.
        statement((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: number as u32,
        },
        statement(
            (libc::BPF_RET | libc::BPF_K) as u16,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(
            (libc::BPF_RET | libc::BPF_K) as u16,
            libc::SECCOMP_RET_ALLOW,
        ),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes numbers only.
    retry(|| unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) as isize })?;
    // SAFETY: reads the program, which outlives the call.
    retry(|| unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        ) as isize
    })?;
    Ok(())
}
