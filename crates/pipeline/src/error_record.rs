//! Errors of single items: messages on a port of their own, not failures of the run.
//!
//! One thing must stay true: an error counts when it is reported, whether or not anyone reads the port, and whether or
//! not the stage goes on to mention it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::port::Fan;
use crate::{Message, StageError};

/// How much is missing because of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The item itself.
    Entry,
    /// The item and everything below it.
    Subtree,
}

/// One item that could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The stage that met it, as the job names it. Filled in when the record is reported.
    pub stage: Arc<str>,
    /// What was being done: `open`, `list`, `stat`.
    pub operation: &'static str,
    /// What it was being done to. For files: the path's bytes.
    pub subject: Vec<u8>,
    /// A symbolic code, for files that of the operating system: `EACCES`.
    pub code: Cow<'static, str>,
    /// What the code means here, in words.
    pub message: String,
    /// How much is missing.
    pub scope: Scope,
    /// Whether the job declared this code acceptable for the stage. Filled in when the record is reported.
    pub accepted: bool,
}

impl ErrorRecord {
    /// A record to be [reported](Errors::report).
    pub fn new(
        operation: &'static str,
        subject: Vec<u8>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        scope: Scope,
    ) -> ErrorRecord {
        ErrorRecord {
            stage: Arc::from(""),
            operation,
            subject,
            code: code.into(),
            message: message.into(),
            scope,
            accepted: false,
        }
    }
}

impl Message for ErrorRecord {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.subject.capacity() + self.message.capacity()
    }
}

/// Something that a stage has not looked at. That nothing was heard of it does not mean that it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What it is. For files: the path's bytes.
    pub subject: Vec<u8>,
    /// How much was not looked at.
    pub scope: Scope,
    /// Why: the code of an error, or a word such as `excluded`.
    pub reason: Cow<'static, str>,
}

/// What was not looked at, as far as there is room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadList {
    /// The first of them, as they were met.
    pub items: Vec<Unread>,
    /// How many there are beyond these. If any, nothing can be said of what is not listed.
    pub more: u64,
    bytes: usize,
}

impl UnreadList {
    /// Items that a list holds at the most.
    pub const MOST: usize = 10_000;
    /// Bytes that their subjects have together, at the most.
    pub const MOST_BYTES: usize = 2 << 20;

    /// Adds something, if there is room for it.
    pub fn push(&mut self, unread: Unread) {
        let bytes = self.bytes.saturating_add(unread.subject.len());
        if self.more > 0 || self.items.len() == Self::MOST || bytes > Self::MOST_BYTES {
            self.more += 1;
            return;
        }
        self.bytes = bytes;
        self.items.push(unread);
    }

    /// Adds all of another list.
    pub fn append(&mut self, other: UnreadList) {
        other.items.into_iter().for_each(|unread| self.push(unread));
        self.more += other.more;
    }

    /// How many there are, those without room included.
    pub fn count(&self) -> u64 {
        self.items.len() as u64 + self.more
    }

    /// Whether everything was looked at.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

/// How often one code occurred in one operation of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// What was being done.
    pub operation: String,
    /// The symbolic code.
    pub code: String,
    /// How many items.
    pub count: u64,
    /// Whether the job declared the code acceptable: then it leaves the run complete.
    pub accepted: bool,
}

/// The errors of one stage, by operation and code, and what it has not looked at.
#[derive(Debug)]
pub(crate) struct ErrorTally {
    stage: Arc<str>,
    accept: BTreeSet<String>,
    counts: Mutex<BTreeMap<(&'static str, Cow<'static, str>), u64>>,
    unread: Mutex<UnreadList>,
}

impl ErrorTally {
    pub(crate) fn new(stage: &str, accept: BTreeSet<String>) -> ErrorTally {
        ErrorTally {
            stage: Arc::from(stage),
            accept,
            counts: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    fn note_unread(&self, unread: Unread) {
        let mut list = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(unread);
    }

    pub(crate) fn unread(&self) -> UnreadList {
        let list = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    pub(crate) fn unread_count(&self) -> u64 {
        let list = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        list.count()
    }

    fn count(&self, record: &mut ErrorRecord) {
        record.stage = Arc::clone(&self.stage);
        record.accepted = self.accept.contains(record.code.as_ref());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .entry((record.operation, record.code.clone()))
            .or_default() += 1;
        drop(counts);
        self.note_unread(Unread {
            subject: record.subject.clone(),
            scope: record.scope,
            reason: record.code.clone(),
        });
    }

    pub(crate) fn counts(&self) -> Vec<ErrorCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((operation, code), count)| ErrorCount {
                operation: (*operation).to_owned(),
                code: code.to_string(),
                count: *count,
                accepted: self.accept.contains(code.as_ref()),
            })
            .collect()
    }
}

/// Where a worker reports the items that it could not handle.
pub struct Errors {
    tally: Arc<ErrorTally>,
    fan: Fan<ErrorRecord>,
}

impl Errors {
    pub(crate) fn new(tally: &Arc<ErrorTally>, fan: Fan<ErrorRecord>) -> Errors {
        Errors {
            tally: Arc::clone(tally),
            fan,
        }
    }

    /// Counts the error towards the run's outcome and sends it to whoever reads the stage's `errors` port.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping; the error is counted all the same.
    pub fn report(&self, mut record: ErrorRecord) -> Result<(), StageError> {
        self.tally.count(&mut record);
        // That nobody wants to read of more errors is no reason to stop working.
        self.fan.send(record).map(|_wanted| ())
    }

    /// Notes something that is no error, and yet was not looked at: what the job leaves out at a place that nobody knew
    /// before, or what was gone. Whatever an error is reported of is noted by that.
    ///
    /// Stages further on learn of it by [`Upstream::unread`](crate::Upstream::unread), and the marks of outputs tell it.
    pub fn note_unread(&self, unread: Unread) {
        self.tally.note_unread(unread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(subject: &[u8]) -> Unread {
        Unread {
            subject: subject.to_vec(),
            scope: Scope::Entry,
            reason: Cow::Borrowed("EIO"),
        }
    }

    #[test]
    fn a_list_is_bounded_and_says_what_it_had_no_room_for() {
        let mut list = UnreadList::default();
        for _ in 0..UnreadList::MOST + 3 {
            list.push(unread(b"a"));
        }
        assert_eq!((list.items.len(), list.more), (UnreadList::MOST, 3));
        let mut other = UnreadList::default();
        other.push(unread(&vec![b'x'; UnreadList::MOST_BYTES]));
        other.push(unread(b"y"));
        // Once something was left out, nothing that comes later may pass for all there is.
        other.push(unread(b""));
        assert_eq!((other.items.len(), other.more), (1, 2));
        list.append(other);
        assert_eq!((list.items.len(), list.more), (UnreadList::MOST, 6));
        assert_eq!(list.count(), UnreadList::MOST as u64 + 6);
    }
}
