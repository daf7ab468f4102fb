//! The backend of any Unix: `readdir(3)` and `fstatat(2)`, on Linux `getdents64(2)` instead of the former.
//!
//! What Linux uses where `statx` is missing or forbidden, and the yardstick that the other backends
//! are tested against.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;

#[cfg(not(target_os = "linux"))]
use libc::{fstat, fstatat, stat};
#[cfg(target_os = "linux")]
use libc::{fstat64 as fstat, fstatat64 as fstatat, stat64 as stat};

#[cfg(target_os = "linux")]
use crate::getdents as listing;
#[cfg(not(target_os = "linux"))]
use crate::readdir as listing;
use crate::relative;
use crate::sys::retry;
use crate::{Backend, Entries, Fields, Handle, Identity, Kind, Metadata, Name, Timestamp};

/// The backend. See the head of this file.
#[derive(Debug)]
pub(crate) struct Fstatat;

/// The metadata of what `name` is below `directory` (a descriptor or `AT_FDCWD`).
#[inline]
pub(crate) fn stat_at(
    directory: i32,
    name: &CStr,
    fields: Fields,
    follow: bool,
) -> io::Result<Metadata> {
    #[cfg(target_os = "linux")]
    let mut flags = libc::AT_NO_AUTOMOUNT;
    #[cfg(not(target_os = "linux"))]
    let mut flags = 0;
    if !follow {
        flags |= libc::AT_SYMLINK_NOFOLLOW;
    }
    let mut buffer = MaybeUninit::<stat>::uninit();
    // SAFETY: `name` is a C string, and the buffer is of the type that the call fills.
    retry(|| unsafe {
        if name.is_empty() {
            // Not every Unix lets `fstatat` take an empty name for the directory itself.
            fstat(directory, buffer.as_mut_ptr()) as isize
        } else {
            fstatat(directory, name.as_ptr(), buffer.as_mut_ptr(), flags) as isize
        }
    })?;
    // SAFETY: the call succeeded, so it has filled the buffer.
    Ok(to_metadata(unsafe { buffer.assume_init_ref() }, fields))
}

// The types of these fields differ from system to system; every cast widens or keeps the bits.
#[expect(clippy::unnecessary_cast, reason = "needed on other systems")]
#[inline]
fn to_metadata(stat: &stat, fields: Fields) -> Metadata {
    let time = |seconds: i64, nanoseconds: i64| Timestamp {
        seconds,
        // Below 10⁹ on a sound system, and always below 2³².
        nanoseconds: nanoseconds as u32,
    };
    let mut metadata = Metadata::default();
    metadata
        .set_kind(Kind::from_mode(stat.st_mode as u32))
        .set_mode(stat.st_mode as u32)
        .set_nlink(stat.st_nlink as u64)
        .set_uid(stat.st_uid)
        .set_gid(stat.st_gid)
        .set_accessed(time(stat.st_atime as i64, stat.st_atime_nsec as i64))
        .set_modified(time(stat.st_mtime as i64, stat.st_mtime_nsec as i64))
        .set_changed(time(stat.st_ctime as i64, stat.st_ctime_nsec as i64))
        .set_file_id((stat.st_ino as u64).into())
        .set_size(stat.st_size as u64)
        .set_allocated((stat.st_blocks as u64).saturating_mul(512))
        .set_device(stat.st_dev as u64)
        .set_rdev(stat.st_rdev as u64);
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    metadata.set_born(time(
        stat.st_birthtime as i64,
        stat.st_birthtime_nsec as i64,
    ));
    metadata.keep(fields);
    metadata
}

/// The mount that a directory is on, as `name_to_handle_at(2)` tells even if its buffer is too small
/// for the handle. None where the file system has no handles.
#[cfg(target_os = "linux")]
fn mount_id(directory: &Handle) -> Option<u64> {
    let mut handle = libc::file_handle {
        handle_bytes: 0,
        handle_type: 0,
        f_handle: [],
    };
    let mut mount = 0;
    let name = c"".as_ptr();
    let told = retry(|| {
        // SAFETY: the name is a C string; the handle has room for as many bytes as it says, none.
        unsafe {
            libc::name_to_handle_at(
                directory.raw(),
                name,
                &raw mut handle,
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            ) as isize
        }
    });
    let too_small = |error: io::Error| error.raw_os_error() == Some(libc::EOVERFLOW);
    let known = told.map_or_else(too_small, |_| true);
    known.then(|| u64::try_from(mount).ok()).flatten()
}

/// Other systems tell no mounts apart but by their devices.
#[cfg(not(target_os = "linux"))]
fn mount_id(_directory: &Handle) -> Option<u64> {
    None
}

impl Backend for Fstatat {
    fn name(&self) -> &'static str {
        "fstatat"
    }

    fn open_root(&self, path: &Path) -> io::Result<Handle> {
        relative::open_root(path)
    }

    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
        relative::open_child(parent, name, follow)
    }

    fn identify(&self, directory: &Handle) -> io::Result<Identity> {
        let fields = Fields::DEVICE | Fields::INODE;
        let identity =
            Identity::from_metadata(&self.stat(directory, Name::EMPTY, fields, false)?)?;
        Ok(Identity {
            mount_id: mount_id(directory),
            ..identity
        })
    }

    fn rewind(&self, directory: &Handle) -> io::Result<()> {
        listing::rewind(directory)
    }

    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
        listing::read_chunk(directory, out)
    }

    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata> {
        stat_at(directory.raw(), name.as_c_str(), fields, follow)
    }

    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        relative::read_link(directory, name, out)
    }

    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
        relative::open_file(directory, name, follow)
    }

    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
        stat_at(file.as_raw_fd(), c"", fields, false)
    }
}
