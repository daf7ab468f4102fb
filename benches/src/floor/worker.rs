//! One thread of the walk: the loop whose cost is the yardstick.
//!
//! Names and metadata are interleaved (a chunk of names, then its statx calls, then the next chunk): that is the pattern
//! for which network file systems answer from what they read ahead.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::dirent::{self, Kind};
use super::pool::{Job, Pool, Slot};
use super::{Counts, Options, Order};
use crate::raw::{self, NameBuffer};

/// Names between two looks at whether another thread is idle, and the fewest that are worth giving away.
const PIECE: usize = 32;

/// A thread's state.
pub(super) struct Worker<'pool> {
    pool: &'pool Pool,
    options: Options,
    counts: Counts,
    /// Its own work, newest last: taken from the end, so that the walk goes deep first and little is pending.
    jobs: Vec<Job>,
    /// Shared with the [`Job::Stat`]s that were given away; replaced, not reused, while any is left.
    names: Arc<NameBuffer>,
    slots: Vec<Slot>,
}

impl<'pool> Worker<'pool> {
    pub(super) fn new(pool: &'pool Pool, options: Options) -> Self {
        Self {
            pool,
            options,
            counts: Counts::default(),
            jobs: Vec::new(),
            names: Arc::new(NameBuffer::new()),
            slots: Vec::new(),
        }
    }

    /// Works until the whole tree is done.
    pub(super) fn run(mut self) -> Counts {
        while let Some(job) = self.next() {
            match job {
                Job::Open { parent, name } => self.open(&parent, &name),
                Job::Read(directory) => self.read(&directory),
                Job::Stat {
                    directory,
                    names,
                    mut slots,
                } => self.stat(&directory, &names, &mut slots),
            }
        }
        self.counts
    }

    fn next(&mut self) -> Option<Job> {
        if self.jobs.len() > 1 && self.pool.hungry() > 0 {
            let oldest_half = self.jobs.len() / 2;
            self.pool.give(self.jobs.drain(..oldest_half));
        }
        self.jobs.pop().or_else(|| self.pool.take())
    }

    fn open(&mut self, parent: &OwnedFd, name: &CStr) {
        self.counts.openat += 1;
        match raw::open_directory(parent.as_fd(), name) {
            Ok(directory) => self.read(&Arc::new(directory)),
            Err(_) => self.counts.errors += 1,
        }
    }

    fn read(&mut self, directory: &Arc<OwnedFd>) {
        let mut slots = std::mem::take(&mut self.slots);
        loop {
            if Arc::get_mut(&mut self.names).is_none() {
                self.names = Arc::new(NameBuffer::new());
            }
            let Some(buffer) = Arc::get_mut(&mut self.names) else {
                unreachable!("a new buffer has one owner")
            };
            self.counts.getdents64 += 1;
            let filled = match buffer.fill(directory.as_fd()) {
                Ok(0) => break,
                Ok(filled) => filled,
                Err(_) => {
                    self.counts.errors += 1;
                    break;
                }
            };
            let names = Arc::clone(&self.names);
            slots.clear();
            for entry in dirent::parse(names.filled(filled)) {
                self.counts.entries += 1;
                if entry.kind == Kind::Directory {
                    self.descend(directory, &names, entry.name_at);
                }
                let unknown = entry.kind == Kind::Unknown;
                if unknown || !self.options.list_only {
                    slots.push(Slot {
                        inode: entry.inode,
                        name_at: entry.name_at as u32,
                        unknown,
                    });
                }
            }
            if self.options.order == Order::Inode {
                slots.sort_unstable_by_key(|slot| slot.inode);
            }
            self.stat(directory, &names, &mut slots);
        }
        self.slots = slots;
    }

    fn stat(&mut self, directory: &Arc<OwnedFd>, names: &Arc<NameBuffer>, slots: &mut Vec<Slot>) {
        let mut done = 0;
        while done < slots.len() {
            let hungry = self.pool.hungry();
            if hungry > 0 {
                self.share(directory, names, slots, done, hungry);
            }
            let piece = done..slots.len().min(done + PIECE);
            done = piece.end;
            for slot in &slots[piece] {
                self.counts.statx += 1;
                match names.stat(directory.as_fd(), slot.name_at as usize) {
                    Ok(mode) if slot.unknown && u32::from(mode) & libc::S_IFMT == libc::S_IFDIR => {
                        self.descend(directory, names, slot.name_at as usize);
                    }
                    Ok(_) => {}
                    Err(_) => self.counts.errors += 1,
                }
            }
        }
    }

    /// Gives the end of `slots` away in equal parts, one for each idle thread, and keeps one part.
    fn share(
        &self,
        directory: &Arc<OwnedFd>,
        names: &Arc<NameBuffer>,
        slots: &mut Vec<Slot>,
        done: usize,
        hungry: usize,
    ) {
        let left = slots.len() - done;
        let parts = (hungry + 1).min(left / PIECE);
        if parts < 2 {
            return;
        }
        let kept = left.div_ceil(parts);
        let given = slots.split_off(done + kept);
        self.pool.give(given.chunks(kept).map(|part| Job::Stat {
            directory: Arc::clone(directory),
            names: Arc::clone(names),
            slots: part.to_vec(),
        }));
    }

    fn descend(&mut self, parent: &Arc<OwnedFd>, names: &NameBuffer, name_at: usize) {
        let name = names.name(name_at).to_owned();
        self.jobs.push(Job::Open {
            parent: Arc::clone(parent),
            name,
        });
    }
}
