//! Names as Linux gives them: `getdents64(2)`, a chunk of names for each call.
//!
//! Both backends of Linux list with it. `readdir(3)` will not do: the C library takes `ENOENT` for the end of a
//! directory, so that a listing which fails with it looks whole, and versions of it leave out entries whose inode
//! number is 0.

use std::cell::RefCell;
use std::io;

use crate::sys::retry;
use crate::{Entries, Fault, Handle, dirent};

/// How much the kernel may return for one call of `getdents64`. Beyond this, size hardly matters on
/// local file systems (measured from 4 KiB to 1 MiB: 3 %); FUSE makes fewer requests with it than
/// with a page.
const BUFFER_WORDS: usize = 32 * 1024 / size_of::<u64>();

thread_local! {
    /// Words, because the kernel aligns its records to 8 bytes.
    static BUFFER: RefCell<Box<[u64]>> = RefCell::new(vec![0; BUFFER_WORDS].into_boxed_slice());
}

/// Makes [`read_chunk`] start again at the first entry.
pub(crate) fn rewind(directory: &Handle) -> io::Result<()> {
    directory.advance.rewind();
    // SAFETY: moves the position of an open descriptor, touches no memory.
    retry(|| unsafe { libc::lseek64(directory.raw(), 0, libc::SEEK_SET) as isize }).map(drop)
}

/// Appends what one call of `getdents64` gives, and says whether there may be more.
pub(crate) fn read_chunk(directory: &Handle, out: &mut Entries) -> io::Result<bool> {
    BUFFER.with_borrow_mut(|buffer| {
        let bytes = size_of_val::<[u64]>(buffer);
        let filled = retry(|| {
            // SAFETY: the buffer has as many bytes as we say.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    directory.raw(),
                    buffer.as_mut_ptr(),
                    bytes,
                )
            };
            result as isize
        })?;
        // SAFETY: words are bytes, all of them were initialised, and the kernel filled no more
        // of them than there are.
        let filled = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        let Some(position) = dirent::parse_dirents(filled, out).map_err(|_| Fault::Malformed)?
        else {
            return Ok(false);
        };
        match directory.advance.circles(position) {
            true => Err(Fault::ReaddirLoop.into()),
            false => Ok(true),
        }
    })
}
