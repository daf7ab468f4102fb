//! What did not come back in time, for the report and for whoever watches a run.
//!
//! One thing must stay true: a thread that the run left behind is named.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Something that did not come back in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stall {
    /// The stage, as the job names it.
    pub stage: String,
    /// What was being done: `open`, `list`, `stat`; `work` where the stage does not tell.
    pub operation: String,
    /// What it was being done to, as text. Empty if that is not known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub subject: String,
    /// The same in base64, where the text does not say it exactly.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject_base64: Option<String>,
    /// When it was noticed, in seconds from the start of the run.
    pub noticed_seconds: f64,
    /// For how long it had not moved by then, in seconds.
    pub stalled_seconds: f64,
    /// Whether the run went on, or ended, without it.
    pub given_up: bool,
    /// Whether its thread was still there at the time of writing.
    pub thread_left: bool,
}

/// What a stall concerns.
pub(crate) struct Stalled<'a> {
    pub(crate) stage: &'a str,
    pub(crate) operation: &'static str,
    pub(crate) subject: &'a [u8],
    pub(crate) given_up: bool,
    /// How long nothing had moved.
    pub(crate) length: Duration,
}

/// The stalls of a run.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<Vec<(Stall, Arc<AtomicBool>)>>);

impl Stalls {
    /// Puts a stall on record. `returned` is set when its thread has come back.
    pub(crate) fn add(&self, stalled: &Stalled<'_>, noticed: Duration, returned: Arc<AtomicBool>) {
        let exact = std::str::from_utf8(stalled.subject).is_ok();
        let stall = Stall {
            stage: stalled.stage.to_owned(),
            operation: stalled.operation.to_owned(),
            subject: String::from_utf8_lossy(stalled.subject).into_owned(),
            subject_base64: (!exact).then(|| STANDARD.encode(stalled.subject)),
            noticed_seconds: noticed.as_secs_f64(),
            stalled_seconds: stalled.length.as_secs_f64(),
            given_up: stalled.given_up,
            thread_left: true,
        };
        let mut stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stalls.push((stall, returned));
    }

    /// All of them, as they are now.
    pub(crate) fn now(&self) -> Vec<Stall> {
        let stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stalls.iter().map(|(stall, returned)| Stall {
            thread_left: !returned.load(Ordering::Acquire),
            ..stall.clone()
        });
        now.collect()
    }
}
