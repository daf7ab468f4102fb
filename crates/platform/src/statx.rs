//! The backend of Linux: `getdents64(2)` and `statx(2)`, one call per chunk of names and one per
//! entry.
//!
//! This is the hot path of the whole program: between the kernel's buffers and [`Entries`] or
//! [`Metadata`] there is one copy, and no allocation per entry.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::retry;
use crate::{Backend, Entries, Fields, Handle, Identity, Kind, Metadata, Name, Timestamp};
use crate::{fstatat, getdents, relative};

// The mask of `statx` is the lower part of `Fields`.
const MASK: u32 = (1 << 13) - 1;
const _: () = assert!(
    Fields::KIND.bits() == libc::STATX_TYPE
        && Fields::MODE.bits() == libc::STATX_MODE
        && Fields::NLINK.bits() == libc::STATX_NLINK
        && Fields::UID.bits() == libc::STATX_UID
        && Fields::GID.bits() == libc::STATX_GID
        && Fields::ACCESSED.bits() == libc::STATX_ATIME
        && Fields::MODIFIED.bits() == libc::STATX_MTIME
        && Fields::CHANGED.bits() == libc::STATX_CTIME
        && Fields::INODE.bits() == libc::STATX_INO
        && Fields::SIZE.bits() == libc::STATX_SIZE
        && Fields::ALLOCATED.bits() == libc::STATX_BLOCKS
        && Fields::BORN.bits() == libc::STATX_BTIME
        && Fields::MOUNT_ID.bits() == libc::STATX_MNT_ID
);

// The layout that the kernel fills (include/uapi/linux/stat.h).
const _: () = assert!(
    size_of::<libc::statx>() == 256
        && offset_of!(libc::statx, stx_attributes) == 8
        && offset_of!(libc::statx, stx_mode) == 28
        && offset_of!(libc::statx, stx_ino) == 32
        && offset_of!(libc::statx, stx_attributes_mask) == 56
        && offset_of!(libc::statx, stx_atime) == 64
        && offset_of!(libc::statx, stx_btime) == 80
        && offset_of!(libc::statx, stx_rdev_major) == 128
        && offset_of!(libc::statx, stx_dev_minor) == 140
        && offset_of!(libc::statx, stx_mnt_id) == 144
);

/// The backend. See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Statx {
    /// Set once the system has refused `statx` (an old kernel, or a seccomp filter that came after
    /// the probe). `fstatat` does its work then.
    refused: AtomicBool,
    /// Whether to use `fstatat` where it gives just what is asked for.
    prefers_fstatat: bool,
}

impl Statx {
    /// Uses `statx` for what only it can do, and `fstatat` for all of `Fields::BASIC`: its result is
    /// half as long, and on a hot ext4 it was measured 6 % faster. For less than that the mask of
    /// `statx` pays, because network file systems need not fetch the rest.
    pub(crate) fn with_fstatat() -> Statx {
        Statx {
            prefers_fstatat: true,
            ..Statx::default()
        }
    }
}

/// Whether the kernel has `statx` and lets this process use it.
pub(crate) fn is_available() -> bool {
    // SAFETY: null pointers are what this asks about: a kernel that gets as far as looking at them
    // answers EFAULT, and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            0,
            0usize,
            0,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME,
            0usize,
        )
    };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// The flags of a call about `name`.
#[inline]
pub(crate) fn flags(name: &CStr, follow: bool) -> i32 {
    let mut flags = libc::AT_NO_AUTOMOUNT;
    if !follow {
        flags |= libc::AT_SYMLINK_NOFOLLOW;
    }
    if name.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    flags
}

/// The mask of a call that is to fill `fields`.
#[inline]
pub(crate) fn mask(fields: Fields) -> u32 {
    fields.bits() & MASK
}

/// The metadata of what `name` is below `directory` (a descriptor or `AT_FDCWD`).
#[inline]
pub(crate) fn stat_at(
    directory: i32,
    name: &CStr,
    fields: Fields,
    follow: bool,
) -> io::Result<Metadata> {
    call(directory, name, fields, follow, |statx| {
        to_metadata(statx, fields)
    })
}

/// Makes the call, and reads what the kernel filled.
#[inline]
fn call<R>(
    directory: i32,
    name: &CStr,
    fields: Fields,
    follow: bool,
    read: impl FnOnce(&libc::statx) -> R,
) -> io::Result<R> {
    let (flags, mask) = (flags(name, follow), mask(fields));
    let mut buffer = MaybeUninit::<libc::statx>::uninit();
    retry(|| {
        // Not the C library's function: glibc would emulate a missing call, musl lacks it.
        // SAFETY: `name` is a C string, and the buffer has the layout that the kernel fills.
        let result = unsafe {
            libc::syscall(
                libc::SYS_statx,
                directory,
                name.as_ptr(),
                flags,
                mask,
                buffer.as_mut_ptr(),
            )
        };
        result as isize
    })?;
    // SAFETY: the call succeeded, so the kernel has filled all of it.
    Ok(read(unsafe { buffer.assume_init_ref() }))
}

/// What the kernel filled, as far as it is among `fields`.
#[inline]
pub(crate) fn to_metadata(statx: &libc::statx, fields: Fields) -> Metadata {
    // What was asked for need not be there: ext4 leaves out times, /proc the creation. The device
    // numbers have no bit, they always are.
    let numbered = Fields::from_bits_truncate(statx.stx_mask & MASK);
    let filled = fields & (numbered | Fields::DEVICE | Fields::RDEV | Fields::ATTRIBUTES);
    let time = |time: &libc::statx_timestamp| Timestamp {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    let mut metadata = Metadata::default();
    metadata
        .set_kind(Kind::from_mode(u32::from(statx.stx_mode)))
        .set_mode(u32::from(statx.stx_mode))
        .set_nlink(u64::from(statx.stx_nlink))
        .set_uid(statx.stx_uid)
        .set_gid(statx.stx_gid)
        .set_accessed(time(&statx.stx_atime))
        .set_modified(time(&statx.stx_mtime))
        .set_changed(time(&statx.stx_ctime))
        .set_born(time(&statx.stx_btime))
        .set_file_id(statx.stx_ino.into())
        .set_size(statx.stx_size)
        .set_allocated(statx.stx_blocks.saturating_mul(512))
        .set_mount_id(statx.stx_mnt_id)
        .set_device(libc::makedev(statx.stx_dev_major, statx.stx_dev_minor))
        .set_rdev(libc::makedev(statx.stx_rdev_major, statx.stx_rdev_minor))
        .set_attributes(statx.stx_attributes & statx.stx_attributes_mask);
    metadata.keep(filled);
    metadata
}

/// What tells directories apart.
const IDENTITY: Fields = Fields::DEVICE.union(Fields::INODE).union(Fields::MOUNT_ID);

/// What the kernel filled, if it tells directories apart. Every directory passes here, so this makes no [`Metadata`] first.
fn identity(statx: &libc::statx) -> Option<Identity> {
    let has = |field| statx.stx_mask & field != 0;
    has(libc::STATX_INO).then(|| Identity {
        device: libc::makedev(statx.stx_dev_major, statx.stx_dev_minor),
        file_id: statx.stx_ino.into(),
        mount_id: has(libc::STATX_MNT_ID).then_some(statx.stx_mnt_id),
    })
}

impl Statx {
    /// Whether `error` says that there is no `statx`, rather than something about an entry.
    #[cold]
    fn notes_refusal(&self, error: &io::Error) -> bool {
        let refused = match error.raw_os_error() {
            Some(libc::ENOSYS) => true,
            // Also what a seccomp filter may answer; then it answers so to the probe.
            Some(libc::EPERM) => !is_available(),
            _ => false,
        };
        if refused {
            self.refused.store(true, Ordering::Relaxed);
        }
        refused
    }
}

impl Backend for Statx {
    fn name(&self) -> &'static str {
        "statx"
    }

    fn open_root(&self, path: &Path) -> io::Result<Handle> {
        relative::open_root(path)
    }

    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
        relative::open_child(parent, name, follow)
    }

    fn identify(&self, directory: &Handle) -> io::Result<Identity> {
        if !self.refused.load(Ordering::Relaxed) {
            match call(directory.raw(), c"", IDENTITY, false, identity) {
                Err(error) if self.notes_refusal(&error) => {}
                result => return result?.ok_or_else(|| io::ErrorKind::Unsupported.into()),
            }
        }
        let metadata = fstatat::stat_at(directory.raw(), c"", IDENTITY, false)?;
        Identity::from_metadata(&metadata)
    }

    fn rewind(&self, directory: &Handle) -> io::Result<()> {
        getdents::rewind(directory)
    }

    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
        getdents::read_chunk(directory, out)
    }

    fn finish_listing(&self, directory: &Handle) -> bool {
        directory.give_up_listing().is_ok()
    }

    #[inline]
    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata> {
        if self.prefers_fstatat && fields == Fields::BASIC {
            return fstatat::stat_at(directory.raw(), name.as_c_str(), Fields::BASIC, follow);
        }
        if !self.refused.load(Ordering::Relaxed) {
            match stat_at(directory.raw(), name.as_c_str(), fields, follow) {
                Err(error) if self.notes_refusal(&error) => {}
                result => return result,
            }
        }
        fstatat::stat_at(directory.raw(), name.as_c_str(), fields, follow)
    }

    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        relative::read_link(directory, name, out)
    }

    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
        relative::open_file(directory, name, follow)
    }

    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
        fstatat::stat_at(file.as_raw_fd(), c"", fields, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forbidding::forbid;
    use crate::{Fault, NameBuf};

    #[test]
    fn fstatat_takes_over_when_statx_is_forbidden_in_the_middle() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let checks = move || {
                let backend = Statx::default();
                let root = backend.open_root("/".as_ref()).unwrap();
                let name = NameBuf::new(b"usr").unwrap();
                let stat = || {
                    backend
                        .stat(&root, name.as_name(), Fields::BASIC, false)
                        .unwrap()
                };
                let before = stat();
                if forbid(libc::SYS_statx, errno).is_err() {
                    return; // Where filters are forbidden in turn.
                }
                assert!(!is_available());
                assert!(!backend.refused.load(Ordering::Relaxed));
                assert_eq!(stat(), before);
                assert!(backend.refused.load(Ordering::Relaxed));
                let missing = NameBuf::new(b"no such entry").unwrap();
                let error = backend.stat(&root, missing.as_name(), Fields::BASIC, false);
                assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENOENT));
            };
            std::thread::spawn(checks).join().unwrap();
        }
    }

    #[test]
    fn a_directory_that_does_not_advance_is_given_up() {
        let backend = Statx::default();
        let root = backend.open_root("/".as_ref()).unwrap();
        let mut entries = Entries::default();
        assert!(backend.read_names(&root, &mut entries).unwrap());
        // As if the file system had answered the second read like the first.
        // SAFETY: moves the position of an open descriptor, touches no memory.
        unsafe { libc::lseek64(root.raw(), 0, libc::SEEK_SET) };
        let error = backend.read_names(&root, &mut entries).unwrap_err();
        assert_eq!(Fault::of(&error), Some(Fault::ReaddirLoop));
        backend.rewind(&root).unwrap();
        assert!(backend.read_names(&root, &mut entries).unwrap());
    }
}
