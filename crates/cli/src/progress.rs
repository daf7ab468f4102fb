//! How far a run is, while it goes on.
//!
//! One thing must stay true: on a terminal nothing of it is left when the run is over.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use statline_pipeline::{Monitor, Snapshot};

use crate::args::{TellingArguments, When};
use crate::human::{self, Units};

/// A run that is over before that needs no progress.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two looks on a terminal.
const FRAME: Duration = Duration::from_millis(100);
/// What shows that it goes on.
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Between two lines elsewhere.
const LINE: Duration = Duration::from_secs(5);

/// Shows progress until it is finished.
pub(crate) struct Progress {
    worker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(crate) fn start(
        monitor: Monitor,
        telling: &TellingArguments,
        rows_on_terminal: bool,
    ) -> Progress {
        let on_terminal = io::stderr().is_terminal();
        let wanted = match telling.progress {
            When::Always => true,
            When::Never => false,
            When::Auto => on_terminal && !rows_on_terminal && telling.quiet < 2,
        };
        if !wanted {
            return Progress { worker: None };
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let work = move || {
            let wait = |time| stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if on_terminal {
                if wait(PATIENCE) {
                    spin(&monitor, || wait(FRAME));
                }
            } else {
                while wait(LINE) {
                    eprint_line(&line(&monitor.snapshot()));
                }
            }
        };
        // Without it there is no progress to see, and nothing else is lost.
        let thread = std::thread::Builder::new()
            .name("statline-progress".to_owned())
            .spawn(work);
        Progress {
            worker: thread.ok().map(|thread| (stop, thread)),
        }
    }

    /// Takes it away.
    pub(crate) fn finish(self) {
        if let Some((stop, thread)) = self.worker {
            drop(stop);
            // Whatever went wrong there is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn spin(monitor: &Monitor, go_on: impl Fn() -> bool) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
        bar.set_style(style);
    }
    for frame in FRAMES.iter().cycle() {
        // Setting the message draws; a spinner of the bar's own would draw a second time.
        bar.set_message(format!("{frame} {}", line(&monitor.snapshot())));
        if !go_on() {
            break;
        }
    }
    bar.finish_and_clear();
}

fn eprint_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One line on the state of a run.
fn line(snapshot: &Snapshot) -> String {
    let elapsed = Duration::try_from_secs_f64(snapshot.elapsed_seconds).unwrap_or_default();
    let sources = snapshot
        .stages
        .iter()
        .filter(|stage| stage.messages_in == 0);
    let entries: u64 = sources.map(|stage| stage.items_out).sum();
    let errors: u64 = snapshot
        .stages
        .iter()
        .flat_map(|stage| &stage.errors)
        .filter(|error| !error.accepted)
        .map(|error| error.count)
        .sum();
    let mut line = format!(
        "{} · {} · {}",
        human::counted(entries, "entry", "entries"),
        human::rate(entries, elapsed),
        human::duration(elapsed)
    );
    line.push_str(&sorting(|name| {
        let counters = snapshot.stages.iter().map(|stage| &stage.counters);
        counters.filter_map(|counters| counters.get(name)).sum()
    }));
    if errors > 0 {
        line.push_str(&format!(" · {}", human::counted(errors, "error", "errors")));
    }
    line
}

/// What stages that sort have put into temporary files, as their counters say; while they merge, that is all there is to
/// see.
fn sorting(counter: impl Fn(&str) -> u64) -> String {
    let runs = counter("runs");
    if runs == 0 {
        return String::new();
    }
    let runs = human::counted(runs, "sorted run", "sorted runs");
    let size = human::bytes(counter("spilled_bytes"), Units::Binary);
    match counter("merge_passes") {
        0 => format!(" · {runs} ({size})"),
        _ => format!(" · merging {runs} ({size})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_merging_are_shown_once_there_are_some() {
        let told = |runs, bytes, passes| {
            sorting(|name| match name {
                "runs" => runs,
                "spilled_bytes" => bytes,
                "merge_passes" => passes,
                other => panic!("nobody counts {other}"),
            })
        };
        assert_eq!(told(0, 0, 0), "");
        assert_eq!(told(1, 3 << 20, 0), " · 1 sorted run (3.0 MiB)");
        assert_eq!(told(40, 1 << 30, 1), " · merging 40 sorted runs (1.0 GiB)");
    }
}
