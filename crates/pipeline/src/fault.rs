//! The first thing that went wrong in a run.
//!
//! A fault is recorded before the stage that caused it lets go of its ports, so that neighbours, which then see
//! channels close, can only be consequences. One thing must stay true: the first fault is kept, whatever follows.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::CancelHandle;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The root cause of a failed run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The stage that failed, as the job names it.
    pub stage: String,
    /// How it failed.
    pub kind: FaultKind,
    /// What it said.
    pub message: String,
}

/// How a stage can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// It could not start: a file that cannot be created, a root that does not exist.
    Open,
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// It broke the framework's rules, and its output cannot be vouched for.
    Contract,
    /// It could not give its output its final name.
    Publish,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.kind {
            FaultKind::Open => "could not start",
            FaultKind::Error => "failed",
            FaultKind::Panic => "panicked",
            FaultKind::Contract => "broke its contract",
            FaultKind::Publish => "could not publish",
        };
        write!(f, "stage {} {how}: {}", self.stage, self.message)
    }
}

/// What all threads of a run share to know whether it goes on.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The host's. Only read: it may stand for other runs as well.
    cancel: CancelHandle,
    /// Stopped from inside: by a fault, by the clock, by whoever let go of the run.
    stopped: AtomicBool,
    /// Calls hang and have used up the time that the job allows: no more are to be made.
    given_up: AtomicBool,
    fault: Mutex<Option<Fault>>,
}

impl Health {
    pub(crate) fn new(cancel: CancelHandle) -> Health {
        Health {
            cancel,
            ..Health::default()
        }
    }

    /// Puts a fault on record, unless one is there already, and stops the run.
    pub(crate) fn record(&self, fault: Fault) {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(fault);
        self.stop();
    }

    /// Stops this run and no other.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether every stage should stop.
    pub(crate) fn stopping(&self) -> bool {
        self.stopped.load(Ordering::Acquire) || self.cancel.is_cancelled()
    }

    /// Makes stages do without calls that may hang.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
