//! What several tests of this crate need.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use statline_platform::{Backend, BackendChoice, Handle, Kind, Metadata, Name, Timestamp, select};

/// Every backend that works here.
pub(crate) fn backends() -> Vec<Arc<dyn Backend>> {
    let all = BackendChoice::ALL.into_iter();
    all.filter(|choice| *choice != BackendChoice::Auto)
        .filter_map(|choice| select(choice).ok())
        .collect()
}

/// The metadata of an entry as the standard library gives it, whatever the length of its path.
pub(crate) fn std_metadata(directory: &Handle, name: Name<'_>) -> io::Result<fs::Metadata> {
    fs::symlink_metadata(std_path(directory, name))
}

/// A short path of an entry in an open directory.
pub(crate) fn std_path(directory: &Handle, name: Name<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).join(name.to_os_str())
}

/// Asserts that every field that was filled says what the standard library says.
#[track_caller]
pub(crate) fn assert_same(ours: &Metadata, std: &fs::Metadata, what: &[u8]) {
    let what = what.escape_ascii();
    let kind = std.file_type();
    let kind = match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Directory,
        () if kind.is_symlink() => Kind::Symlink,
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () if kind.is_block_device() => Kind::BlockDevice,
        () if kind.is_char_device() => Kind::CharDevice,
        () => Kind::Other,
    };
    let time = |seconds, nanoseconds: i64| {
        Some(Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap(),
        })
    };
    assert_eq!(ours.kind(), Some(kind), "kind of {what}");
    assert_eq!(ours.mode(), Some(std.mode() & 0o7777), "mode of {what}");
    assert_eq!(ours.uid(), Some(std.uid()), "uid of {what}");
    assert_eq!(ours.gid(), Some(std.gid()), "gid of {what}");
    assert_eq!(ours.size(), Some(std.size()), "size of {what}");
    assert_eq!(
        ours.allocated(),
        Some(std.blocks() * 512),
        "allocated of {what}"
    );
    assert_eq!(ours.nlink(), Some(std.nlink()), "nlink of {what}");
    assert_eq!(ours.file_id(), Some(std.ino().into()), "file id of {what}");
    assert_eq!(ours.device(), Some(std.dev()), "device of {what}");
    assert_eq!(ours.rdev(), Some(std.rdev()), "rdev of {what}");
    assert_eq!(
        ours.accessed(),
        time(std.atime(), std.atime_nsec()),
        "accessed of {what}"
    );
    assert_eq!(
        ours.modified(),
        time(std.mtime(), std.mtime_nsec()),
        "modified of {what}"
    );
    assert_eq!(
        ours.changed(),
        time(std.ctime(), std.ctime_nsec()),
        "changed of {what}"
    );
    if let Some(born) = ours.born() {
        assert_eq!(born, std.created().unwrap().into(), "born of {what}");
    }
}

/// Runs the test `name` of this binary again in a process that may open `limit` files.
///
/// Returns whether this is that process; then the test is to do its work.
#[track_caller]
pub(crate) fn under_limit(name: &str, limit: u32) -> bool {
    const MARK: &str = "STATLINE_TEST_UNDER_LIMIT";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -n {limit}; exec \"$0\" --exact \"$1\" --nocapture"
        ))
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(MARK, "1")
        // Before it has another arena, glibc's allocator opens a file for a moment, which takes a descriptor.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("1 passed"),
        "no test is called {name}: {stdout}"
    );
    false
}
