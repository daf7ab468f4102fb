//! The test file system, seen through plain system calls.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod faults;
mod life;
mod trees;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use statline_testfs::fuse::{Mounted, TestFs};

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// An entry as a directory lists it: name, type, inode number.
type Listed = (Vec<u8>, FileType, u64);

fn mount(fs: TestFs) -> Option<Mounted> {
    fs.mount_unless_skipped().unwrap()
}

fn at(mounted: &Mounted, path: impl AsRef<[u8]>) -> PathBuf {
    mounted.path().join(OsStr::from_bytes(path.as_ref()))
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Reads at most `most` entries of an open directory by `getdents64`, with the error that ended it.
fn list(directory: &OwnedFd, most: usize) -> (Vec<Listed>, Option<i32>) {
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = Vec::new();
    let mut raw = RawDir::new(directory, buffer.spare_capacity_mut());
    while entries.len() < most {
        match raw.next() {
            None => return (entries, None),
            Some(Err(error)) => return (entries, Some(error.raw_os_error())),
            Some(Ok(entry)) => {
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    entries.push((name.to_vec(), entry.file_type(), entry.ino()));
                }
            }
        }
    }
    (entries, None)
}

fn names(entries: &[Listed]) -> Vec<&[u8]> {
    entries.iter().map(|(name, _, _)| name.as_slice()).collect()
}

fn stat(path: &Path) -> io::Result<rustix::fs::Stat> {
    Ok(rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Looks again and again, for a long time, whether something has come about.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LONG;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
