//! The calls relative to an open directory that are the same on every Unix: opening and reading
//! links.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys::retry;
use crate::{Fault, Handle, Name};

/// Opens a directory by path, following symbolic links.
pub(crate) fn open_root(path: &Path) -> io::Result<Handle> {
    // What `Path::parent` gives for a bare name.
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    open(
        libc::AT_FDCWD,
        &c_path(path)?,
        libc::O_RDONLY | libc::O_DIRECTORY,
    )
    .map(Handle::from)
}

/// Opens a directory in an open one.
///
/// A symbolic link gives `ENOTDIR` on Linux (`ELOOP` or `EMLINK` elsewhere) unless `follow`; so
/// does a FIFO, without waiting for a writer, because of `O_DIRECTORY`.
pub(crate) fn open_child(parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | nofollow_unless(follow);
    open(parent.raw(), name.as_c_str(), flags).map(Handle::from)
}

/// Opens a regular file for reading.
pub(crate) fn open_file(directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
    // Without O_NONBLOCK a FIFO put in the file's place would hold the thread until somebody
    // writes.
    let flags = libc::O_RDONLY | nofollow_unless(follow) | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::from(open_quietly(directory.raw(), name.as_c_str(), flags)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Fault::NotRegular.into())
    }
}

fn nofollow_unless(follow: bool) -> i32 {
    if follow { 0 } else { libc::O_NOFOLLOW }
}

/// Opens without changing the access time if the file is the caller's own: others' files refuse
/// that with `EPERM`. Owners differ from file to file, so a refusal says nothing about the next
/// one.
#[cfg(target_os = "linux")]
fn open_quietly(directory: i32, name: &CStr, flags: i32) -> io::Result<OwnedFd> {
    match open(directory, name, flags | libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(directory, name, flags),
        result => result,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_quietly(directory: i32, name: &CStr, flags: i32) -> io::Result<OwnedFd> {
    open(directory, name, flags)
}

fn open(directory: i32, name: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string, `directory` a number that the kernel checks.
    let call =
        || unsafe { libc::openat(directory, name.as_ptr(), flags | libc::O_CLOEXEC) as isize };
    let fd = retry(call)?;
    // SAFETY: the kernel has just opened this descriptor for us. Descriptors are `int`s.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Appends the target of a symbolic link.
pub(crate) fn read_link(directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    let mut room = 256;
    loop {
        out.reserve(room);
        let spare = out.spare_capacity_mut();
        let length = retry(|| {
            let buffer = spare.as_mut_ptr().cast();
            // SAFETY: the name is a C string, and the buffer has as many bytes as we say.
            unsafe {
                libc::readlinkat(
                    directory.raw(),
                    name.as_c_str().as_ptr(),
                    buffer,
                    spare.len(),
                )
            }
        })?;
        // A full buffer may hold the beginning of something longer.
        if length < spare.len() {
            // SAFETY: the kernel has filled that many bytes of the spare capacity.
            unsafe { out.set_len(start + length) };
            return Ok(());
        }
        room = 2 * spare.len();
    }
}

/// A path as system calls take it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path cannot hold a NUL byte"))
}
