//! The roots of a scan, opened before it starts.
//!
//! A root that is a symbolic link to a directory is followed: the user named it. Anything that is no directory, a
//! dangling link too, is one row and no more. One thing must stay true: a root that does not exist fails the scan,
//! because nothing that could be written would say so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use statline_pipeline::{Opening, StageError};
use statline_platform::{DirNode, Fault, Filesystem, Identity, Kind as EntryKind, NameBuf};

use crate::EnumerateConfig;
use crate::directories::Directories;
use crate::links::leads_nowhere;
use crate::roots::merge_roots;

/// What opening the roots of a scan yields.
pub(crate) struct Roots {
    pub(crate) directories: Vec<Arc<DirNode>>,
    /// What each of them is on, if the system tells.
    pub(crate) filesystems: Vec<Option<Filesystem>>,
    pub(crate) identities: Vec<Identity>,
    /// The rows of the roots, and what could not be read of them.
    pub(crate) first: Vec<First>,
}

/// Something that the first worker sends before it starts.
pub(crate) enum First {
    /// The row of a root: its directory's node with an empty name, or its parent's with its own.
    Row(Arc<DirNode>, NameBuf, EntryKind),
    /// A root that is there and cannot be opened.
    Unreadable(Arc<DirNode>, io::Error),
}

impl Roots {
    /// Opens the roots. One that does not exist is an error; one that cannot be read, or does not answer, is not yet.
    pub(crate) fn open(
        config: &EnumerateConfig,
        directories: &Arc<Directories>,
        stage: &Opening<'_>,
    ) -> Result<Roots, StageError> {
        // A nested root adds nothing where nothing keeps the outer one from reaching it.
        let unrestricted =
            config.max_depth.is_none() && !config.one_file_system && config.exclude.is_empty();
        let mut roots = Roots {
            directories: Vec::new(),
            filesystems: Vec::new(),
            identities: Vec::new(),
            first: Vec::new(),
        };
        let mut resolved = Vec::with_capacity(config.roots.len());
        for root in &config.roots {
            let path = root.as_path().to_owned();
            let canonical =
                stage.attempt("open", root.as_path().as_os_str().as_encoded_bytes(), {
                    let path = path.clone();
                    move || path.canonicalize().ok()
                })?;
            match canonical {
                Some(canonical) => resolved.push((path, canonical)),
                None => roots.first.push(stalled(&path)),
            }
        }
        for path in merge_roots(resolved, unrestricted) {
            let (place, shared) = (path.clone(), Arc::clone(directories));
            let opened = stage.attempt("open", path.as_os_str().as_encoded_bytes(), move || {
                open(&place, &shared)
            })?;
            match opened {
                Some(opened) => roots.add(opened?, directories),
                None => {
                    directories.handles.write_off();
                    roots.first.push(stalled(&path));
                }
            }
        }
        Ok(roots)
    }

    fn add(&mut self, opened: OpenedRoot, directories: &Directories) {
        self.first.extend(opened.first);
        if let Some(node) = opened.directory {
            if let Some(filesystem) = opened.filesystem {
                directories.note_filesystem(filesystem);
            }
            self.identities.extend(node.identity().copied());
            self.filesystems.push(opened.filesystem);
            self.directories.push(node);
        }
    }
}

/// A root that does not answer. It has no row: nothing is known of it.
fn stalled(path: &Path) -> First {
    First::Unreadable(DirNode::root(path), Fault::Stalled.into())
}

/// One root, opened.
struct OpenedRoot {
    directory: Option<Arc<DirNode>>,
    filesystem: Option<Filesystem>,
    first: Vec<First>,
}

fn open(path: &Path, directories: &Directories) -> Result<OpenedRoot, StageError> {
    let itself = NameBuf::new(b"").map_err(StageError::failed)?;
    let error = match directories.handles.open_root(path) {
        Ok(node) => {
            return Ok(OpenedRoot {
                filesystem: Filesystem::of_path(path).ok(),
                first: vec![First::Row(Arc::clone(&node), itself, EntryKind::Directory)],
                directory: Some(node),
            });
        }
        Err(error) => error,
    };
    let fatal = |error: &io::Error| StageError::failed(format!("root {}: {error}", path.display()));
    let found = std::fs::symlink_metadata(path).map_err(|error| fatal(&error))?;
    let kind = entry_kind(found.file_type());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fatal(&error));
    };
    let name = NameBuf::new(name.as_encoded_bytes()).map_err(StageError::failed)?;
    let parent = directories
        .handles
        .open_root(parent)
        .map_err(|error| fatal(&error))?;
    let mut first = vec![First::Row(parent, name, kind)];
    let may_hide_a_directory = match kind {
        EntryKind::Directory => true,
        // Its target may be one that cannot be opened.
        EntryKind::Symlink => !leads_nowhere(&error),
        _ => false,
    };
    if may_hide_a_directory {
        first.push(First::Unreadable(DirNode::root(path), error));
    }
    Ok(OpenedRoot {
        directory: None,
        filesystem: None,
        first,
    })
}

#[cfg(unix)]
fn entry_kind(kind: std::fs::FileType) -> EntryKind {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_symlink() => EntryKind::Symlink,
        kind if kind.is_fifo() => EntryKind::Fifo,
        kind if kind.is_socket() => EntryKind::Socket,
        kind if kind.is_block_device() => EntryKind::BlockDevice,
        kind if kind.is_char_device() => EntryKind::CharDevice,
        _ => EntryKind::File,
    }
}

#[cfg(not(unix))]
fn entry_kind(kind: std::fs::FileType) -> EntryKind {
    match kind {
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_symlink() => EntryKind::Symlink,
        _ => EntryKind::File,
    }
}
