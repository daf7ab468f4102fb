//! An open directory.
//!
//! One descriptor, whichever backend reads it: where `readdir(3)` is used, its stream takes the
//! descriptor over instead of duplicating it. So the number of handles is the number of
//! descriptors, which is what `handles.rs` counts.

use std::io;
use std::mem::ManuallyDrop;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use crate::advance::Advance;

/// An open directory. Closed when dropped.
#[derive(Debug)]
pub struct Handle {
    /// Closed by `stream` if there is one, by [`Handle::drop`] if not.
    fd: ManuallyDrop<OwnedFd>,
    stream: Mutex<Option<Stream>>,
    /// Notices a directory that stops advancing.
    pub(crate) advance: Advance,
}

/// A stream of `readdir(3)`, which owns the descriptor of the handle that it is in.
#[derive(Debug)]
struct Stream(NonNull<libc::DIR>);

// SAFETY: a stream belongs to no thread; the mutex around it keeps threads apart.
unsafe impl Send for Stream {}

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Handle {
        Handle {
            fd: ManuallyDrop::new(fd),
            stream: Mutex::new(None),
            advance: Advance::new(),
        }
    }
}

impl Handle {
    /// The descriptor's number, for system calls.
    #[inline]
    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Calls `read` with the directory's stream, which is opened if this is the first call.
    #[cfg_attr(
        target_os = "linux",
        expect(dead_code, reason = "Linux lists without the C library")
    )]
    pub(crate) fn with_stream<T>(
        &self,
        read: impl FnOnce(NonNull<libc::DIR>) -> io::Result<T>,
    ) -> io::Result<T> {
        // The stream is sound after a panic of another thread: it has no state of ours.
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match &*stream {
            Some(stream) => stream.0,
            None => {
                // SAFETY: the descriptor is open. It stays so until the stream is closed, because
                // only `drop` closes either, and closes the stream alone if there is one.
                let opened = NonNull::new(unsafe { libc::fdopendir(self.raw()) })
                    .ok_or_else(io::Error::last_os_error)?;
                stream.insert(Stream(opened)).0
            }
        };
        read(stream)
    }
}

#[cfg(target_os = "linux")]
impl Handle {
    /// Puts a path-only descriptor of the same directory under the same number.
    ///
    /// ext4 keeps the sorted names of the last block in memory until the directory is closed.
    /// Closing it where it was listed finds them in this processor's cache; closing it later, on
    /// another one, was measured at a tenth of the time of a whole scan.
    ///
    /// # Errors
    /// `EACCES` if the directory may be listed but not entered, `EMFILE` if there is no descriptor to
    /// spare. The handle is as before then.
    pub(crate) fn give_up_listing(&self) -> io::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the name is a C string and the descriptor is open.
        let path_only = unsafe { libc::openat(self.raw(), c".".as_ptr(), flags) };
        if path_only < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor has just been opened, and nobody else has it.
        let path_only = unsafe { OwnedFd::from_raw_fd(path_only) };
        // Calls of other threads that are under way keep what they began with.
        // SAFETY: both descriptors are open; this one stays in our possession.
        match unsafe { libc::dup3(path_only.as_raw_fd(), self.raw(), libc::O_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        match self
            .stream
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            // SAFETY: the stream is open, nobody can use it any more, and it closes the descriptor.
            Some(stream) => unsafe {
                libc::closedir(stream.0.as_ptr());
            },
            // SAFETY: no stream owns the descriptor, and it is not used again.
            None => unsafe { ManuallyDrop::drop(&mut self.fd) },
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
