//! What the names of a directory are: which of them lead to directories, and which are handed on.
//!
//! One thing must stay true: no directory among the names is handed on without standing on the frontier before.

use std::io;
use std::sync::Arc;

use statline_pipeline::{Pulse, StageError, Watch};
use statline_platform::{Backend, Entries, Fields, Handle, Kind};

use super::{After, Reading, Step};
use crate::chunk::{Chunk, FROM_MEMORY};
use crate::descent::Descent;
use crate::frontier::{Parent, Siblings};
use crate::links::leads_nowhere;
use crate::politeness::{Escort, pass};

/// The room that names are given which are put in order, if they are fewer. Allocators keep small pieces for each thread
/// and size, so with just the room that each directory takes hundreds of threads keep more of them the longer they run.
const ARRANGED: usize = 128;

impl Reading {
    /// Finds the directories among the names and puts them on the frontier.
    pub(super) fn resolve(
        self: Box<Self>,
        worker: &mut Watch<Descent>,
    ) -> Result<After, StageError> {
        let unresolved: Vec<u32> = self.unresolved().collect();
        let (mut reading, resolved) = match (unresolved.is_empty(), &self.listing) {
            (false, Some(listing)) => {
                let (handle, chunk) = (listing.shared_handle(), Arc::clone(&self.names));
                let (backend, follow) = (Arc::clone(&worker.scan.backend), self.follows_links);
                let escort = worker.escort();
                let resolved = self.call_out(worker, move |pulse| {
                    let escort = escort.as_ref();
                    resolve_all(
                        &*backend, &handle, &chunk, unresolved, follow, escort, pulse,
                    )
                })?;
                worker.returned(1);
                resolved
            }
            _ => (self, Vec::new()),
        };
        let (mut followed, mut leading) = (Entries::default(), Vec::new());
        for (entry, found) in resolved {
            let name = entry as usize;
            match found {
                Ok(Resolved {
                    kind,
                    leads_to_directory,
                }) => {
                    let became_known = reading.names.kind(name).is_none();
                    if became_known {
                        // A call that was given up may still read the chunk; then this goes on with a copy.
                        Arc::make_mut(&mut reading.names).set_kind(name, kind);
                    }
                    let chunk = &reading.names;
                    let excludes = &worker.scan.excludes;
                    if became_known
                        && kind == Kind::Directory
                        && excludes.matches(&mut reading.prefix, chunk.name(name), true)
                    {
                        worker.scan.excluded.add(1);
                        reading.dropped.push(entry);
                    } else if leads_to_directory {
                        followed.push(chunk.name(name).as_bytes(), None, 0);
                        leading.push(entry);
                    }
                }
                Err(error) => reading.drop_entry(worker, entry, &error)?,
            }
        }
        reading.dropped.sort_unstable();
        let plain = reading.directories();
        // A followed link stands for its directory; who finds that another is one knows that nobody looks into it.
        for &entry in &leading {
            Arc::make_mut(&mut reading.names).set_kind(entry as usize, Kind::Directory);
        }
        reading.arrange(worker);
        let names = &reading.names;
        reading.sent.directories += (plain.len() + followed.len()) as u64;
        reading.sent.entries += names.len() as u64;
        if !(plain.is_empty() && followed.is_empty()) {
            let handles = &worker.scan.directories.handles;
            let parent = reading.itself.get_or_insert_with(|| {
                Parent::new(&reading.node, (!reading.is_left_to_stat).then_some(handles))
            });
            let (plain, followed) = (
                Siblings::new(parent, plain, false),
                Siblings::new(parent, followed, true),
            );
            worker.frontier.push(plain);
            worker.frontier.push(followed);
        }
        if let Some(looked_at) = reading.looked_at {
            worker.hand_on_known(&reading.node, &reading.names, looked_at.into())?;
            return reading.after_names(worker);
        }
        if reading.is_left_to_stat {
            worker.hand_on(&reading.node, &reading.names, 0..reading.names.len())?;
            return reading.after_names(worker);
        }
        reading.chunk = Some((Arc::new(Chunk::new(&reading.node, &reading.names)), false));
        reading.step = Step::HandOn;
        Ok(After::Next(reading))
    }

    /// The directories among the names that are handed on.
    fn directories(&self) -> Entries {
        if !self.names.may_hold(Some(Kind::Directory)) {
            return Entries::default();
        }
        let is_one =
            |entry: &usize| self.names.kind(*entry) == Some(Kind::Directory) && !self.drops(*entry);
        let found = (0..self.names.len()).filter(is_one);
        let mut directories = Entries::with_capacity(found.clone().count());
        found.for_each(|entry| directories.push(self.names.name(entry).as_bytes(), None, 0));
        directories
    }

    /// Takes out what is not handed on, and puts the rest into the order in which the disk likes to be asked, if it is
    /// the disk that is asked.
    fn arrange(&mut self, worker: &Descent) {
        let mount = worker.frontier.mount();
        let sorts = !self.is_left_to_stat
            && mount.is_some_and(|mount| {
                let filesystem = mount.filesystem;
                mount.limit.latency() > FROM_MEMORY
                    && filesystem.is_some_and(|found| found.profile().inode_order)
            });
        if self.dropped.is_empty() && !sorts {
            return;
        }
        let kept = |entry: &u32| !self.drops(*entry as usize);
        let mut order: Vec<u32> = (0..self.names.len() as u32).filter(kept).collect();
        if sorts {
            order.sort_unstable_by_key(|&entry| self.names.inode_hint(entry as usize));
        }
        let mut names = Entries::with_capacity(order.len().max(ARRANGED));
        for entry in order.into_iter().map(|entry| entry as usize) {
            names.append_range(&self.names, entry..entry + 1);
        }
        self.names = Arc::new(names);
        self.dropped.clear();
    }

    /// The entries of the chunk of which more must be asked to know the directories among them.
    pub(super) fn unresolved(&self) -> impl Iterator<Item = u32> {
        let may_be = self.names.may_hold(None)
            || self.follows_links && self.names.may_hold(Some(Kind::Symlink));
        let entries = 0..if may_be { self.names.len() as u32 } else { 0 };
        entries.filter(|&entry| {
            let asks = match self.names.kind(entry as usize) {
                None => true,
                Some(kind) => self.follows_links && kind == Kind::Symlink,
            };
            asks && !self.dropped.contains(&entry)
        })
    }
}

/// What an entry turned out to be.
struct Resolved {
    kind: Kind,
    /// It is a symbolic link to follow, and leads to a directory.
    leads_to_directory: bool,
}

fn resolve_all(
    backend: &dyn Backend,
    handle: &Handle,
    chunk: &Entries,
    unresolved: Vec<u32>,
    follow: bool,
    escort: Option<&Escort>,
    pulse: &Pulse,
) -> Vec<(u32, io::Result<Resolved>)> {
    let kind_of = |entry: usize, follow| {
        let metadata = backend.stat(handle, chunk.name(entry), Fields::KIND, follow)?;
        Ok::<_, io::Error>(metadata.kind().unwrap_or(Kind::Other))
    };
    let resolve = |entry: usize| {
        pass(escort, 1, pulse)?.spend(1, pulse)?;
        let kind = match chunk.kind(entry) {
            Some(kind) => kind,
            None => kind_of(entry, false)?,
        };
        let leads_to_directory = match follow && kind == Kind::Symlink {
            true => match kind_of(entry, true) {
                Ok(target) => target == Kind::Directory,
                Err(error) if leads_nowhere(&error) => false,
                Err(error) => return Err(error),
            },
            false => false,
        };
        Ok(Resolved {
            kind,
            leads_to_directory,
        })
    };
    let each = unresolved.into_iter().zip(1..).map(|(entry, done)| {
        let resolved = resolve(entry as usize);
        pulse.done(done);
        (entry, resolved)
    });
    each.collect()
}
