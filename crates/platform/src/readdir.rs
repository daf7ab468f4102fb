//! Names as Unix gives them: `readdir(3)`.
//!
//! For systems other than Linux, whose C libraries are the only way to read a directory.

use std::ffi::CStr;
use std::io;

use libc::readdir;

use crate::dirent::kind_of_type;
use crate::sys::{errno_location, retry};
use crate::{Entries, Fault, Handle};

/// How many names one call returns. The C library reads some 32 KiB at a time, about as many.
const CHUNK: usize = 1024;

/// Makes [`read_chunk`] start again at the first entry.
pub(crate) fn rewind(directory: &Handle) -> io::Result<()> {
    directory.advance.rewind();
    directory.with_stream(|stream| {
        // SAFETY: the stream is open, and its mutex is held.
        unsafe { libc::rewinddir(stream.as_ptr()) };
        Ok(())
    })
}

/// Appends some names, and says whether there may be more.
pub(crate) fn read_chunk(directory: &Handle, out: &mut Entries) -> io::Result<bool> {
    directory.with_stream(|stream| {
        for _ in 0..CHUNK {
            let mut entry = std::ptr::null_mut();
            // Only a cleared `errno` tells the end of a directory from an error.
            // SAFETY: `errno` is the thread's own. The stream is open, and its mutex is held.
            retry(|| unsafe {
                *errno_location() = 0;
                entry = readdir(stream.as_ptr());
                if entry.is_null() && *errno_location() != 0 {
                    -1
                } else {
                    0
                }
            })?;
            if entry.is_null() {
                return Ok(false);
            }
            // SAFETY: the entry is valid until the next call on the stream. Its name is a C
            // string, shorter or longer than the array that the type declares; so no reference
            // to the array or to the whole entry is made.
            let (name, kind, inode) = unsafe {
                let name = CStr::from_ptr((&raw const (*entry).d_name).cast());
                #[cfg(not(target_os = "freebsd"))]
                let inode = (*entry).d_ino;
                #[cfg(target_os = "freebsd")]
                let inode = (*entry).d_fileno;
                (name.to_bytes(), kind_of_type((*entry).d_type), inode)
            };
            if name.is_empty() || name.contains(&b'/') {
                return Err(Fault::Malformed.into());
            }
            if name != b"." && name != b".." {
                out.push(name, kind, inode);
            }
        }
        Ok(true)
    })
}
