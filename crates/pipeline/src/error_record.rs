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

/// The errors of one stage, by operation and code.
#[derive(Debug)]
pub(crate) struct ErrorTally {
    stage: Arc<str>,
    accept: BTreeSet<String>,
    counts: Mutex<BTreeMap<(&'static str, Cow<'static, str>), u64>>,
}

impl ErrorTally {
    pub(crate) fn new(stage: &str, accept: BTreeSet<String>) -> ErrorTally {
        ErrorTally {
            stage: Arc::from(stage),
            accept,
            counts: Mutex::default(),
        }
    }

    fn count(&self, record: &mut ErrorRecord) {
        record.stage = Arc::clone(&self.stage);
        record.accepted = self.accept.contains(record.code.as_ref());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .entry((record.operation, record.code.clone()))
            .or_default() += 1;
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
}
