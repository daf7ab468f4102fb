//! Reading a directory with `NtQueryDirectoryFile`, one buffer of records after the other.
//!
//! All that can happen between two calls is decided here, over a trait for the call, so that it is tested on every
//! system. One thing must stay true: no entry is handed on twice or left out. A query that starts again therefore skips
//! as many records as were handed on, and fails if the last of them is not the one that it was.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use super::class::DirectoryClass;
use super::record::parse_records;
use super::status::{Answer, Status};
use super::words::as_bytes;
use crate::advance::Advance;
use crate::{Entries, Fault, Name};

/// What the system may fill with one call, in words because it aligns records to 8 bytes. More gains nothing, and servers
/// may refuse more: SMB guarantees no larger one.
pub(super) const BUFFER_WORDS: usize = 64 * 1024 / size_of::<u64>();

/// Beyond this no entry can be too large: a name has at most 65,535 bytes.
const MOST_WORDS: usize = 4 * BUFFER_WORDS;

/// A directory that can be queried.
pub(super) trait Query {
    /// Asks for more records of `class`, from the first one on if it is to `restart`. Returns how many bytes of the
    /// buffer were filled.
    fn query(&self, class: DirectoryClass, restart: bool, buffer: &mut [u64]) -> (Status, usize);

    /// What a status is for a caller.
    fn error(&self, status: Status) -> io::Error;

    /// The class to begin with.
    fn first_class(&self) -> DirectoryClass;

    /// What to try where a class is not to be had; `None` if nothing else may be tried.
    fn class_after(&self, class: DirectoryClass) -> Option<DirectoryClass>;

    /// Notes that the directory's volume has this class.
    fn note_class(&self, class: DirectoryClass);

    /// The number of the volume.
    fn volume(&self) -> u64;
}

/// Where the listing of a directory is.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The class of the listing, once one was found to work.
    class: Option<DirectoryClass>,
    /// Whether the next query goes on; otherwise it starts.
    goes_on: bool,
    /// Entries that were handed on.
    handed_on: u64,
    /// Entries to skip, of a listing that was started again.
    skip: u64,
    /// The name of the last entry that was handed on.
    last: Vec<u8>,
    /// How much the system may fill, where that is more than usual.
    words: usize,
    advance: Advance,
}

impl Cursor {
    /// Starts again at the first entry.
    pub(crate) fn rewind(&mut self) {
        *self = Cursor {
            class: self.class,
            ..Cursor::default()
        };
    }

    /// Appends what one query gives, and says whether there may be more. `buffer` grows if an entry needs it.
    pub(super) fn read(
        &mut self,
        directory: &impl Query,
        buffer: &mut Vec<u64>,
        out: &mut Entries,
    ) -> io::Result<bool> {
        loop {
            let class = self.class.unwrap_or_else(|| directory.first_class());
            let words = self.words.max(BUFFER_WORDS);
            buffer.resize(buffer.len().max(words), 0);
            let (status, filled) = directory.query(class, !self.goes_on, &mut buffer[..words]);
            match Answer::of(status, filled) {
                Answer::Records(filled) => {
                    if !std::mem::replace(&mut self.goes_on, true) {
                        self.class = Some(class);
                        directory.note_class(class);
                    }
                    let records = as_bytes(&buffer[..words]);
                    let records = records.get(..filled).ok_or(Fault::Malformed)?;
                    return self.take(class, records, directory.volume(), out);
                }
                // It has fewer entries than were handed on.
                Answer::End if self.skip > 0 => return Err(Fault::ReaddirLoop.into()),
                Answer::End => return Ok(false),
                Answer::TooSmall if words < MOST_WORDS => self.start_again(2 * words),
                // Later the listing is of one class, and whatever the status means it is not that.
                Answer::NoSuchClass if !self.goes_on && self.handed_on == 0 => {
                    let next = directory.class_after(class);
                    self.class = Some(next.ok_or_else(|| directory.error(status))?);
                }
                // Nothing fits, and that is said to be a success.
                Answer::TooSmall if status == Status::SUCCESS => {
                    return Err(Fault::Malformed.into());
                }
                Answer::TooSmall | Answer::NoSuchClass | Answer::Failed(_) => {
                    return Err(directory.error(status));
                }
            }
        }
    }

    /// Starts again with a larger buffer: the entry that did not fit may not come any more.
    fn start_again(&mut self, words: usize) {
        *self = Cursor {
            class: self.class,
            handed_on: self.handed_on,
            skip: self.handed_on,
            last: std::mem::take(&mut self.last),
            words,
            ..Cursor::default()
        };
    }

    /// Hands on the entries of one query, but for those that were before.
    fn take(
        &mut self,
        class: DirectoryClass,
        records: &[u8],
        volume: u64,
        out: &mut Entries,
    ) -> io::Result<bool> {
        let before = out.len();
        let parsed = if self.skip == 0 {
            parse_records(class, records, Some(volume), out)
        } else {
            let mut entries = Entries::default();
            let parsed = parse_records(class, records, Some(volume), &mut entries);
            let skipped = entries
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            if self.skip == 0 && entries.name(skipped - 1).as_bytes() != self.last {
                return Err(Fault::ReaddirLoop.into());
            }
            out.append_range(&entries, skipped..entries.len());
            parsed
        };
        let added = out.len() - before;
        self.handed_on += added as u64;
        if added > 0 {
            self.last.clear();
            self.last
                .extend_from_slice(out.name(out.len() - 1).as_bytes());
        }
        parsed.map_err(|_| Fault::Malformed)?;
        // No name is in a directory twice.
        if added > 0 && self.advance.circles(fingerprint(out.name(before))) {
            return Err(Fault::ReaddirLoop.into());
        }
        Ok(true)
    }
}

/// A number that another name has by a chance of one in 2^64.
fn fingerprint(name: Name<'_>) -> i64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish().cast_signed()
}

#[cfg(test)]
mod tests;
