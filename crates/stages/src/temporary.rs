//! Files under temporary names: made for their owner alone, locked as long as they are being written.
//!
//! A process that is killed leaves its temporary file behind. The next run that writes into the same directory removes
//! it, and knows by the lock that nobody writes it any more. One thing must stay true: a file that somebody may still be
//! writing is never removed. So only names of this exact form are looked at, and only on file systems of this machine:
//! on others a lock may not be seen by all who write there.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

const PREFIX: &str = ".statline-";
const SUFFIX: &str = ".tmp";
/// Random characters between the two.
const RANDOM: usize = 12;

/// A new file in a directory, readable by its owner alone and removed when it is dropped.
pub(crate) fn create_in(directory: &Path) -> io::Result<NamedTempFile> {
    // Whoever sweeps may take a new file for a dead one, for as long as it has no lock.
    const ATTEMPTS: usize = 16;
    for _ in 0..ATTEMPTS {
        let temporary = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .rand_bytes(RANDOM)
            .tempfile_in(directory)?;
        // Where there are no locks nobody gets one to sweep, either.
        let swept = matches!(
            temporary.as_file().try_lock(),
            Err(std::fs::TryLockError::WouldBlock)
        );
        if !swept && is_in_place(&temporary) {
            return Ok(temporary);
        }
    }
    Err(io::Error::other("it was removed as soon as it was created"))
}

/// Whether the file still has its name, and the name still leads to the file.
pub(crate) fn is_in_place(temporary: &NamedTempFile) -> bool {
    leads_to(temporary.path(), temporary.as_file())
}

/// Whether a name leads to this open file.
#[cfg(unix)]
pub(crate) fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (path.symlink_metadata(), file.metadata()) {
        (Ok(named), Ok(open)) => identity(named) == identity(open),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn leads_to(path: &Path, file: &File) -> bool {
    use statline_platform::{BackendChoice, Fields, select, statx};
    let identity = Fields::DEVICE | Fields::INODE;
    let open = select(BackendChoice::Auto)
        .map_err(io::Error::other)
        .and_then(|backend| backend.stat_file(file, identity));
    match (statx(path, false), open) {
        (Ok(named), Ok(open)) => {
            open.file_id().is_some()
                && named.file_id() == open.file_id()
                && named.device() == open.device()
        }
        _ => false,
    }
}

/// Removes what killed processes left in a directory. That something cannot be removed is not this run's concern.
pub(crate) fn sweep(directory: &Path) {
    let is_local = statline_platform::Filesystem::of_path(directory).is_ok_and(|filesystem| {
        let unknown = filesystem.kind() == statline_platform::FilesystemKind::Unknown;
        !filesystem.profile().network && !unknown
    });
    if !is_local {
        return;
    }
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if !is_temporary_name(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = open_itself(&path) else {
            continue;
        };
        let is_file = file.metadata().is_ok_and(|found| found.is_file());
        if is_file && file.try_lock().is_ok() && leads_to(&path, &file) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Opens neither through a link nor waiting for the writer of a pipe: the name may be a trap.
#[cfg(unix)]
fn open_itself(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty()).map(File::from)?)
}

/// Opens what has the name, a link itself.
#[cfg(windows)]
fn open_itself(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
    File::options()
        .read(true)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// What is left stays where nothing is known of locks.
#[cfg(not(any(unix, windows)))]
fn open_itself(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_temporary_name(name: &std::ffi::OsStr) -> bool {
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    random.is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Makes renames in a directory durable.
#[cfg(unix)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Directories cannot be opened as files here; a rename is as durable as the system makes it.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fixtures::listing;

    #[test]
    fn what_is_being_written_survives_a_sweep_and_what_was_left_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let alive = create_in(place).unwrap();
        // Killed, its process would have neither the lock any more nor a chance to remove the file.
        let (dead, left) = create_in(place).unwrap().keep().unwrap();
        drop(dead);
        sweep(place);
        assert!(alive.path().exists());
        assert!(!left.exists());
        drop(alive);
        assert!(listing(place).is_empty());
    }

    #[test]
    fn only_files_with_such_names_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let kept = [
            ".statline-abcdef.tmp",
            ".statline-abcdefghijk.tmp",
            ".statline-abcdefghijk-.tmp",
            "statline-abcdefghijkl.tmp",
            ".statline-abcdefghijkl.tmp~",
        ];
        for name in kept {
            fs::write(place.join(name), "mine").unwrap();
        }
        fs::create_dir(place.join(".statline-directorynam.tmp")).unwrap();
        fs::write(place.join("victim"), "untouched").unwrap();
        #[cfg(unix)]
        for link in [".statline-symboliclink.tmp", ".statline-symbolicline.tmp"] {
            std::os::unix::fs::symlink("victim", place.join(link)).unwrap();
        }
        let before = listing(place);
        sweep(place);
        assert_eq!(listing(place), before);
    }
}
