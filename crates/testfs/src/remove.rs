//! Removing a tree of any depth.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

/// Removes `root` and all below it, however deep, with three descriptors at a time.
///
/// `std::fs::remove_dir_all` recurses and holds a descriptor per level, so it cannot. Here every
/// directory is first moved right below the root; then none is ever deeper than that. Directories
/// that forbid it by their mode are opened up first.
///
/// # Errors
/// What the system says. What was removed before stays removed.
pub fn remove_tree(root: &Path) -> io::Result<()> {
    let top = open(CWD, root)?;
    let mut moved = 0_u64;
    let mut passes = entries(&top)?;
    while !passes.is_empty() {
        for (name, is_directory) in passes {
            if !is_directory {
                rustix::fs::unlinkat(&top, &name, AtFlags::empty())?;
                continue;
            }
            let directory = open_up(&top, &name)?;
            for (child, is_directory) in entries(&directory)? {
                if is_directory {
                    // To be moved it must be writable: its `..` changes.
                    drop(open_up(&directory, &child)?);
                    rustix::fs::renameat(&directory, &child, &top, format!(".to-remove-{moved}"))?;
                    moved += 1;
                } else {
                    rustix::fs::unlinkat(&directory, &child, AtFlags::empty())?;
                }
            }
            rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
        passes = entries(&top)?;
    }
    std::fs::remove_dir(root)
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Opens a directory whatever its mode, which is changed.
fn open_up(parent: &OwnedFd, name: &CString) -> io::Result<OwnedFd> {
    rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    open(parent, name)
}

/// All entries of a directory, each with whether it is a directory.
fn entries(directory: &OwnedFd) -> io::Result<Vec<(CString, bool)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        entries.push((name.to_owned(), kind == FileType::Directory));
    }
    Ok(entries)
}
