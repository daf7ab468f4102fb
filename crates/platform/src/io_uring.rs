//! The backend of Linux that hands `statx` to the kernel in slices, by io_uring.
//!
//! Everything but [`Backend::stat_each`] is done as the backend `statx` does it, and so is what no ring can do: where none
//! is to be had, where one fails half-way, and for single names that a ring gave no answer of the file system for. Each
//! `stat_each` borrows a ring (`rings.rs`), keeps a window of calls under way in it (`ring.rs`), and hands the answers on
//! in the order in which it was asked.
//!
//! One thing must stay true: whoever calls cannot tell this backend from `statx` but by the time it takes. That is why
//! answers wait for those before them: who watches a call takes the first name without an answer for the one that hangs.

mod ring;
mod rings;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::ring::{DEPTH, Question, Ring};
use self::rings::Rings;
use crate::statx::{self, Statx};
use crate::{Backend, Entries, Fields, Handle, Identity, Metadata, Name};

/// The backend. See the head of this file.
#[derive(Debug)]
struct IoUring {
    statx: Statx,
    rings: Rings,
}

/// Makes the backend, with a first ring, and a real call with that.
///
/// # Errors
/// What does not work, and why, for a person to read.
pub(crate) fn probe() -> Result<Arc<dyn Backend>, String> {
    if !statx::is_available() {
        return Err("the kernel does not let this process use statx".to_owned());
    }
    Ok(Arc::new(IoUring {
        statx: Statx::default(),
        rings: Rings::with_first(Ring::probe()?),
    }))
}

impl IoUring {
    /// Asks by `ring`, and hands on what it answers. Says whether the ring still serves, and how many names of `order` are
    /// done with: all, if it does.
    fn ask(
        &self,
        ring: &mut Ring,
        question: &Question<'_>,
        entries: &Entries,
        order: &[u32],
        sink: &mut dyn FnMut(u32, io::Result<Metadata>),
    ) -> (bool, usize) {
        let (mut asked, mut told) = (0, 0);
        while told < order.len() {
            let end = order.len().min(told + DEPTH);
            for &index in &order[asked..end] {
                ring.ask(asked % DEPTH, question, entries.name(index as usize));
                asked += 1;
            }
            if ring.wait().is_err() {
                return (false, told);
            }
            while told < asked
                && let Some(answer) = ring.take(told % DEPTH, question.fields)
            {
                let index = order[told];
                let result = match answer {
                    Err(errno) if is_of_the_ring(errno) => {
                        let Question {
                            directory,
                            fields,
                            follow,
                        } = *question;
                        self.stat(directory, entries.name(index as usize), fields, follow)
                    }
                    answer => answer.map_err(io::Error::from_raw_os_error),
                };
                told += 1;
                sink(index, result);
            }
        }
        (true, told)
    }
}

/// Whether an error may be about the ring, or about a call that did not come to its end, and not about an entry. Asking
/// again in the ordinary way tells.
fn is_of_the_ring(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINTR
            | libc::EAGAIN
            | libc::ECANCELED
            | libc::ENOMEM
            | libc::ENOSYS
            | libc::EPERM
            | libc::EINVAL
            | libc::EOPNOTSUPP
    )
}

impl Backend for IoUring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn open_root(&self, path: &Path) -> io::Result<Handle> {
        self.statx.open_root(path)
    }

    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
        self.statx.open_child(parent, name, follow)
    }

    fn identify(&self, directory: &Handle) -> io::Result<Identity> {
        self.statx.identify(directory)
    }

    fn rewind(&self, directory: &Handle) -> io::Result<()> {
        self.statx.rewind(directory)
    }

    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
        self.statx.read_names(directory, out)
    }

    fn finish_listing(&self, directory: &Handle) -> bool {
        self.statx.finish_listing(directory)
    }

    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata> {
        self.statx.stat(directory, name, fields, follow)
    }

    fn calls_at_once(&self) -> usize {
        DEPTH
    }

    fn stat_each(
        &self,
        directory: &Handle,
        entries: &Entries,
        order: &[u32],
        fields: Fields,
        follow: bool,
        sink: &mut dyn FnMut(u32, io::Result<Metadata>),
    ) {
        let question = Question {
            directory,
            fields,
            follow,
        };
        // A single call gains nothing by a detour.
        let told = match order.len() {
            0 | 1 => None,
            _ => self
                .rings
                .lend(|ring| self.ask(ring, &question, entries, order, sink)),
        };
        let told = told.unwrap_or(0);
        self.statx
            .stat_each(directory, entries, &order[told..], fields, follow, sink);
    }

    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        self.statx.read_link(directory, name, out)
    }

    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
        self.statx.open_file(directory, name, follow)
    }

    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
        self.statx.stat_file(file, fields)
    }
}
