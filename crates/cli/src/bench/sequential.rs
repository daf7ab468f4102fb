//! One thread that reads a directory after the other, and asks for one entry after the other by its full path: what a
//! simple program does.
//!
//! One thing must stay true: it enters and counts what the job of `scan` enters and counts, and does nothing cleverly.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use statline_platform::{Filesystem, FilesystemKind};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Entries whose metadata could be read, the root among them.
    pub(super) entries: u64,
    /// Entries that could not be read, and directories.
    pub(super) errors: u64,
}

/// Counts what is in a directory and below; `None` if it was to stop on the way.
pub(super) fn count(root: &Path, stops: &dyn Fn() -> bool) -> Option<Counted> {
    let mut counted = Counted::default();
    let mut waiting: Vec<(PathBuf, u64)> = Vec::new();
    match fs::metadata(root) {
        Ok(metadata) => {
            counted.entries += 1;
            waiting.push((root.to_owned(), device(&metadata)));
        }
        Err(_) => counted.errors += 1,
    }
    while let Some((directory, device_above)) = waiting.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                counted.note(&error);
                continue;
            }
        };
        for entry in entries {
            if stops() {
                return None;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    counted.note(&error);
                    break;
                }
            };
            let path = entry.path();
            match fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    counted.entries += 1;
                    let device = device(&metadata);
                    if metadata.is_dir() && !is_left_out(&path, device != device_above) {
                        waiting.push((path, device));
                    }
                }
                Err(error) => counted.note(&error),
            }
        }
    }
    Some(counted)
}

impl Counted {
    /// What is gone by now is no error of a scan either.
    fn note(&mut self, error: &io::Error) {
        self.errors += u64::from(error.kind() != io::ErrorKind::NotFound);
    }
}

/// Whether a scan does not enter a directory below its root: what the kernel makes up, and snapshots of file servers.
fn is_left_out(path: &Path, crosses: bool) -> bool {
    let on = || Filesystem::of_path(path).ok();
    if crosses && on().is_some_and(|found| found.profile().pseudo) {
        return true;
    }
    let snapshots: &[FilesystemKind] = match path.file_name().and_then(|name| name.to_str()) {
        Some(".snapshot") => &[FilesystemKind::Nfs],
        Some(".zfs") => &[FilesystemKind::Zfs, FilesystemKind::Nfs],
        _ => return false,
    };
    on().is_some_and(|found| snapshots.contains(&found.kind()))
}

#[cfg(unix)]
fn device(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.dev()
}

#[cfg(not(unix))]
fn device(_metadata: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_counts_once_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        fs::write(root.join("file"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&root, root.join("a/up")).unwrap();
        let expected = Counted {
            entries: 5 + u64::from(cfg!(unix)),
            errors: 0,
        };
        assert_eq!(count(&root, &|| false), Some(expected));
    }

    #[test]
    fn it_stops_when_it_is_told() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(count(home.path(), &|| true), None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_what_is_gone_is_none() {
        let mut counted = Counted::default();
        counted.note(&io::Error::from(io::ErrorKind::NotFound));
        counted.note(&io::Error::from(io::ErrorKind::PermissionDenied));
        let home = tempfile::tempdir().unwrap();
        assert_eq!(counted.errors, 1);
        let nowhere = count(&home.path().join("nowhere"), &|| false);
        assert_eq!(nowhere.map(|counted| counted.errors), Some(1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_makes_up_is_left_out_only_where_it_is_mounted() {
        assert!(is_left_out(Path::new("/proc"), true));
        assert!(!is_left_out(Path::new("/proc/self"), false));
        assert!(!is_left_out(Path::new("/"), true));
    }
}
