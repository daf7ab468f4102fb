//! The roots of a scan, opened before it starts.
//!
//! A root that is a symbolic link to a directory is followed: the user named it. Anything that is no directory, a
//! dangling link too, is one row and no more. One thing must stay true: a root that does not exist fails the scan,
//! because nothing that could be written would say so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use statline_pipeline::StageError;
use statline_platform::{DirNode, Filesystem, Identity, Kind as EntryKind, NameBuf};

use crate::EnumerateConfig;
use crate::directories::Directories;
use crate::roots::merge_roots;

/// What opening the roots of a scan yields.
pub(crate) struct Roots {
    pub(crate) directories: Vec<Arc<DirNode>>,
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
    /// Opens the roots. One that does not exist is an error; one that cannot be read is not yet.
    pub(crate) fn open(
        config: &EnumerateConfig,
        directories: &Directories,
    ) -> Result<Roots, StageError> {
        // A nested root adds nothing where nothing keeps the outer one from reaching it.
        let unrestricted =
            config.max_depth.is_none() && !config.one_file_system && config.exclude.is_empty();
        let mut roots = Roots {
            directories: Vec::new(),
            identities: Vec::new(),
            first: Vec::new(),
        };
        for path in merge_roots(&config.roots, unrestricted) {
            roots.add(path, directories)?;
        }
        Ok(roots)
    }

    fn add(&mut self, path: &Path, directories: &Directories) -> Result<(), StageError> {
        let itself = NameBuf::new(b"").map_err(StageError::failed)?;
        let error = match directories.handles.open_root(path) {
            Ok(node) => {
                if let Ok(filesystem) = Filesystem::of_path(path) {
                    directories.note_filesystem(filesystem);
                }
                self.identities.extend(node.identity().copied());
                self.first
                    .push(First::Row(Arc::clone(&node), itself, EntryKind::Directory));
                self.directories.push(node);
                return Ok(());
            }
            Err(error) => error,
        };
        let fatal =
            |error: &io::Error| StageError::failed(format!("root {}: {error}", path.display()));
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
        self.first.push(First::Row(parent, name, kind));
        if kind == EntryKind::Directory {
            self.first
                .push(First::Unreadable(DirNode::root(path), error));
        }
        Ok(())
    }
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
