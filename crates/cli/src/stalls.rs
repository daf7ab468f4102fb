//! What did not come back in time: said at once while a run goes on, and once more when it is over.
//!
//! One thing must stay true: each is said by name, so that a person knows which mount to look at.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use statline_pipeline::{Monitor, RunReport, Stall};

use crate::escape::{escaped, escaped_message};
use crate::human;
use crate::terminal::Palette;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// More than these are only counted when the run is over.
const SHOWN: usize = 10;

/// Tells of stalls on standard error as they are noticed.
pub(crate) struct StallNotices {
    worker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl StallNotices {
    pub(crate) fn start(monitor: Monitor, quiet: u8) -> StallNotices {
        if quiet >= 2 {
            return StallNotices { worker: None };
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let work = move || {
            let mut told = 0;
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let stalls = monitor.stalls();
                for stall in &stalls[told..] {
                    // Whoever closed standard error does not want to know.
                    let _ = writeln!(std::io::stderr().lock(), "statline: {}", notice(stall));
                }
                told = stalls.len();
            }
        };
        // Without it the report tells of stalls when the run is over.
        let thread = std::thread::Builder::new()
            .name("statline-stalls".to_owned())
            .spawn(work);
        StallNotices {
            worker: thread.ok().map(|thread| (stop, thread)),
        }
    }

    pub(crate) fn finish(self) {
        if let Some((stop, thread)) = self.worker {
            drop(stop);
            // Whatever went wrong there is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn notice(stall: &Stall) -> String {
    let goes_on = match stall.given_up {
        true => "; going on without it",
        false => "",
    };
    format!("{}{goes_on}", what(stall))
}

/// What hangs, and for how long.
fn what(stall: &Stall) -> String {
    let length = Duration::try_from_secs_f64(stall.stalled_seconds).unwrap_or_default();
    let length = human::duration(length);
    let stage = escaped_message(&stall.stage);
    if stall.operation == "work" {
        return format!("stage {stage} has shown no sign of life for {length}");
    }
    let exact = stall.subject_base64.as_ref();
    let subject = match exact.and_then(|text| STANDARD.decode(text).ok()) {
        Some(bytes) => escaped(&bytes),
        None => escaped(stall.subject.as_bytes()),
    };
    format!(
        "{} {subject} has not come back for {length} (stage {stage})",
        escaped_message(&stall.operation)
    )
}

/// What hung in a run that is over, a line each.
pub(crate) fn lines(report: &RunReport, palette: Palette) -> String {
    if report.stalls.is_empty() {
        return String::new();
    }
    let Palette { warning, reset, .. } = palette;
    let mut out = format!("\n  {warning}did not answer{reset}\n");
    for stall in report.stalls.iter().take(SHOWN) {
        let left = match (stall.given_up, stall.thread_left) {
            (true, true) => "; its thread was left behind",
            (true, false) => "; it came back too late",
            (false, true) => "",
            (false, false) => "; it went on later",
        };
        out.push_str(&format!("  {}{left}\n", what(stall)));
    }
    if let Some(more) = report
        .stalls
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        out.push_str(&format!("  and {} more\n", human::count(more as u64)));
    }
    out
}
