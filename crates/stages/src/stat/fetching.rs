//! What `stat` does inside watched calls, where a file system may not answer.
//!
//! One thing must stay true: a call takes along only what it needs, so that whoever gives it up has all the rest.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use statline_pipeline::{Context, Counter, Pulse};
use statline_platform::{Backend, DirNode, Fault, Fields, Filesystem, Metadata, Name, Pinned};

use crate::EntryBatch;
use crate::chunk::SPELL;
use crate::concurrency::Governor;
use crate::directories::Directories;
use crate::links::leads_nowhere;
use crate::mount::{Mount, Mounts};
use crate::politeness::{Escort, pass};
use crate::stale::{STALE_REPETITIONS, is_stale};

/// What all workers of the stage share.
pub(super) struct Fetching {
    pub(super) fields: Fields,
    pub(super) targets: bool,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) directories: Arc<Directories>,
    pub(super) mounts: Mounts,
    /// Sets the limits of the mounts for as long as anybody works.
    pub(super) _governor: Arc<Governor>,
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

    /// Opens a directory, and finds out which mount it is on unless that is `known`.
    pub(super) fn open(
        &self,
        directory: &Arc<DirNode>,
        known: Option<Arc<Mount>>,
        pulse: &Pulse,
    ) -> io::Result<(Pinned, Option<Arc<Mount>>)> {
        let pinned = self.pin(directory, pulse)?;
        let mount = known.or_else(|| {
            let filesystem = Filesystem::of(&pinned).ok();
            let identity = directory.identity()?;
            Some(self.mounts.of(identity, directory, filesystem))
        });
        Ok((pinned, mount))
    }

    /// Asks for the first of `order`, for as long as a worker may before it looks up.
    pub(super) fn stat_some(
        &self,
        question: &Question<'_>,
        pinned: Pinned,
        mut metadata: Vec<Metadata>,
        pulse: &Pulse,
    ) -> Answers {
        let Question {
            batch,
            directory,
            order,
            escort,
        } = *question;
        let (entries, follow) = (batch.entries(), batch.follows_links());
        let mut errors = Vec::new();
        let mut done = 0;
        let mut sink = |entry: u32, result: io::Result<Metadata>| {
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
        };
        let began = Instant::now();
        let mut asked = 0;
        let mut ask = || {
            let passage = pass(escort, self.backend.calls_at_once(), pulse)?;
            for piece in order.chunks(passage.piece()) {
                passage.spend(piece.len(), pulse)?;
                self.backend
                    .stat_each(&pinned, entries, piece, self.fields, follow, &mut sink);
                asked += piece.len();
                if began.elapsed() >= SPELL {
                    break;
                }
            }
            Ok(())
        };
        if let Err(error) = ask() {
            // There is one more, or there would have been nothing to wait for.
            sink(order[asked], Err(error));
        }
        let mut pinned = Some(pinned);
        if errors.iter().any(|(_, error)| is_stale(error)) {
            pinned
                .take()
                .into_iter()
                .for_each(|stale| self.directories.handles.discard(stale));
            errors.retain_mut(|(entry, error)| {
                let name = entries.name(*entry as usize);
                match self.stat_anew(directory, name, follow, error, pulse) {
                    Some(found) => metadata[*entry as usize] = found,
                    None => return true,
                }
                false
            });
        }
        Answers {
            metadata,
            errors,
            done: done as usize,
            pinned,
        }
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

/// Which entries are asked for.
pub(super) struct Question<'a> {
    pub(super) batch: &'a EntryBatch,
    pub(super) directory: &'a Arc<DirNode>,
    pub(super) order: &'a [u32],
    pub(super) escort: Option<&'a Escort>,
}

/// What became of some entries.
pub(super) struct Answers {
    /// That of the whole batch.
    pub(super) metadata: Vec<Metadata>,
    pub(super) errors: Vec<(u32, io::Error)>,
    /// How many were asked for.
    pub(super) done: usize,
    /// The directory, unless the server has forgotten it.
    pub(super) pinned: Option<Pinned>,
}

/// The same error once more, for each of several entries.
fn copy_of(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), Fault::of(error)) {
        (Some(number), _) => io::Error::from_raw_os_error(number),
        (None, Some(fault)) => fault.into(),
        (None, None) => io::Error::new(error.kind(), error.to_string()),
    }
}
