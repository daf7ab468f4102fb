//! What `stat` does inside watched calls, where a file system may not answer.
//!
//! One thing must stay true: a call takes along only what it needs, so that whoever gives it up has all the rest.

use std::io;
use std::sync::Arc;

use statline_pipeline::{Context, Counter, Pulse};
use statline_platform::{Backend, DirNode, Fault, Fields, Filesystem, Metadata, Name, Pinned};

use crate::EntryBatch;
use crate::directories::Directories;
use crate::links::leads_nowhere;
use crate::stale::{STALE_REPETITIONS, is_stale};

/// What all workers of the stage share.
pub(super) struct Fetching {
    pub(super) fields: Fields,
    pub(super) targets: bool,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) directories: Arc<Directories>,
    pub(super) context: Context,
    pub(super) vanished: Counter,
}

impl Fetching {
    fn pin(&self, directory: &Arc<DirNode>, pulse: &Pulse) -> io::Result<Pinned> {
        self.directories.handles.pin(directory, &|| {
            pulse.alive();
            self.context.is_stopping() || self.context.has_given_up()
        })
    }

    /// Opens a directory, and says whether its file system likes to be asked in the order of inode numbers.
    pub(super) fn open(
        &self,
        directory: &Arc<DirNode>,
        inode_order: Option<bool>,
        pulse: &Pulse,
    ) -> io::Result<(Pinned, bool)> {
        let pinned = self.pin(directory, pulse)?;
        let inode_order = inode_order.unwrap_or_else(|| {
            Filesystem::of(&pinned).is_ok_and(|filesystem| filesystem.profile().inode_order)
        });
        Ok((pinned, inode_order))
    }

    pub(super) fn stat_all(
        &self,
        batch: &EntryBatch,
        directory: &Arc<DirNode>,
        pinned: Pinned,
        order: &[u32],
        mut metadata: Vec<Metadata>,
        pulse: &Pulse,
    ) -> (Vec<Metadata>, Vec<(u32, io::Error)>) {
        let (entries, follow) = (batch.entries(), batch.follows_links());
        let mut errors = Vec::new();
        let mut done = 0;
        self.backend.stat_each(
            &pinned,
            entries,
            order,
            self.fields,
            follow,
            &mut |entry, result| {
                let result = match result {
                    Err(error) if follow && leads_nowhere(&error) => {
                        let name = entries.name(entry as usize);
                        self.backend.stat(&pinned, name, self.fields, false)
                    }
                    result => result,
                };
                match result {
                    Ok(found) => metadata[entry as usize] = found,
                    Err(error) => errors.push((entry, error)),
                }
                done += 1;
                pulse.done(done);
            },
        );
        if errors.iter().any(|(_, error)| is_stale(error)) {
            self.directories.handles.discard(pinned);
            errors.retain_mut(|(entry, error)| {
                let name = entries.name(*entry as usize);
                match self.stat_anew(directory, name, follow, error, pulse) {
                    Some(found) => metadata[*entry as usize] = found,
                    None => return true,
                }
                false
            });
        }
        (metadata, errors)
    }

    /// Asks again where the server has forgotten the directory: it is found anew from its parent. `error` is the last
    /// answer.
    fn stat_anew(
        &self,
        directory: &Arc<DirNode>,
        name: Name<'_>,
        follow: bool,
        error: &mut io::Error,
        pulse: &Pulse,
    ) -> Option<Metadata> {
        for _ in 0..STALE_REPETITIONS {
            if !is_stale(error) {
                break;
            }
            let pinned = match self.pin(directory, pulse) {
                Ok(pinned) => pinned,
                Err(other) => {
                    *error = other;
                    break;
                }
            };
            match self.backend.stat(&pinned, name, self.fields, follow) {
                Ok(found) => return Some(found),
                Err(other) => *error = other,
            }
            if is_stale(error) {
                self.directories.handles.discard(pinned);
            }
        }
        None
    }

    pub(super) fn read_links(
        &self,
        batch: &EntryBatch,
        directory: &Arc<DirNode>,
        links: &[u32],
        pulse: &Pulse,
    ) -> Vec<(u32, io::Result<Vec<u8>>)> {
        let mut pinned = self.pin(directory, pulse);
        let mut done = 0;
        let read = links.iter().map(|&entry| {
            let name = batch.entries().name(entry as usize);
            let mut repetitions = 0;
            let target = loop {
                let read = match &pinned {
                    Ok(pinned) => {
                        let mut target = Vec::new();
                        let read = self.backend.read_link(pinned, name, &mut target);
                        read.map(|()| target)
                    }
                    Err(error) => break Err(copy_of(error)),
                };
                match read {
                    Err(error) if is_stale(&error) && repetitions < STALE_REPETITIONS => {
                        repetitions += 1;
                        let stale = std::mem::replace(&mut pinned, Err(error));
                        stale
                            .into_iter()
                            .for_each(|stale| self.directories.handles.discard(stale));
                        pinned = self.pin(directory, pulse);
                    }
                    read => break read,
                }
            };
            done += 1;
            pulse.done(done);
            (entry, target)
        });
        read.collect()
    }
}

/// The same error once more, for each of several entries.
fn copy_of(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), Fault::of(error)) {
        (Some(number), _) => io::Error::from_raw_os_error(number),
        (None, Some(fault)) => fault.into(),
        (None, None) => io::Error::new(error.kind(), error.to_string()),
    }
}
