//! What went with a directory that is gone: all that was remembered below it.
//!
//! One thing must stay true: trees may be as deep as they like, so nothing here recurses.

use std::sync::Arc;

use statline_pipeline::{Context, Counter, Outlet, StageError};
use statline_platform::{DirNode, Kind, Metadata, NameBuf};

use super::open_directory::contents_of;
use crate::store::directory::{Directory, Remembered};
use crate::store::{Key, Root, Store};
use crate::{Change, RecordBatch, Row};

/// Records in a message.
const BATCH: usize = 1024;

/// Forgets what is gone, and tells of it where that is wanted.
pub(super) struct Gone {
    /// Whether to send records.
    tells: bool,
    deleted: Counter,
    written: Counter,
    context: Context,
    batch: RecordBatch,
}

impl Gone {
    pub(super) fn new(tells: bool, context: &Context, written: Counter) -> Gone {
        Gone {
            tells,
            deleted: context.counter("deleted"),
            written,
            context: context.clone(),
            batch: RecordBatch::default(),
        }
    }

    /// Tells of one entry.
    pub(super) fn tell(
        &mut self,
        directory: &Arc<DirNode>,
        name: &NameBuf,
        entry: &Metadata,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        self.deleted.add(1);
        if !self.tells {
            return Ok(());
        }
        self.batch.push_row(&Row {
            directory,
            name: name.as_name(),
            kind: entry.kind(),
            metadata: Some(entry),
            target: None,
            change: Some(Change::Deleted),
            remembered: false,
            hash: None,
        });
        match self.batch.len() {
            BATCH.. => self.flush(out),
            _ => Ok(()),
        }
    }

    /// Forgets all that is remembered below the directory `name`, and tells of it.
    pub(super) fn below(
        &mut self,
        store: &Store,
        root: Root,
        parent: &Arc<DirNode>,
        name: &NameBuf,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        let mut left = vec![DirNode::child(parent, name.as_name())];
        while let Some(directory) = left.pop() {
            let key = Key::of(root, &directory);
            self.forget(store, root, &directory, &mut left, out)?;
            // By their keys, as a directory may be remembered that is no entry of the one above: a filter kept its record
            // away.
            for path in store.paths_below(&key)? {
                let path = path?;
                let names = path.split(|&byte| byte == b'/').map(NameBuf::new);
                let node = names
                    .into_iter()
                    .try_fold(Arc::clone(&directory), |node, name| {
                        Some(DirNode::child(&node, name.ok()?.as_name()))
                    });
                if let Some(node) = node {
                    self.forget(store, root, &node, &mut left, out)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets the entries of one directory. Those that are directories and found by no common beginning of keys are
    /// `left` to be looked at.
    fn forget(
        &mut self,
        store: &Store,
        root: Root,
        directory: &Arc<DirNode>,
        left: &mut Vec<Arc<DirNode>>,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        self.context.checkpoint()?;
        let key = Key::of(root, directory);
        let mut value = Vec::new();
        if !store.directory_before(&key, &mut value)? {
            return Ok(());
        }
        let entries = Directory::read(&value).unwrap_or_default();
        let mut files = Vec::new();
        for at in 0..entries.len() {
            let (Some(name), Some(Remembered { metadata, .. })) =
                (entries.name(at), entries.get(at))
            else {
                continue;
            };
            let Ok(name) = NameBuf::new(name) else {
                continue;
            };
            files.extend(contents_of(&metadata));
            self.tell(directory, &name, &metadata, out)?;
            if metadata.kind() == Some(Kind::Directory) {
                let child = DirNode::child(directory, name.as_name());
                if Key::of(root, &child).below().is_none() {
                    left.push(child);
                }
            }
        }
        store.forget_digests(root, files)?;
        store.put_directory(&key, &[])?;
        self.written.add(1);
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        match self.batch.is_empty() {
            true => Ok(()),
            false => out.send(std::mem::take(&mut self.batch)),
        }
    }
}
