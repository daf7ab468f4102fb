//! `bench`: what the pipeline saves over one thread that makes one call after another, measured on the user's own
//! directory.
//!
//! The passes are measured here, in turns; `sequential` is the one way, the job of `scan` the other; `caches` says what
//! came from memory; `telling` makes words of it. One thing must stay true: no figure is told without what it was
//! measured under, and none that is worth nothing without saying so.

mod caches;
mod sequential;
mod telling;

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use statline_pipeline::{CancelHandle, Outcome};

use self::caches::Caches;
use self::telling::Findings;
use crate::args::{BenchArguments, TextFormat};
use crate::escape::escaped_path;
use crate::exit::{Exit, Failure};
use crate::scan;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// A way to read a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sequential,
    Pipeline,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Way::Sequential => "one thread",
            Way::Pipeline => "pipeline",
        }
    }
}

/// What one pass found, and how long it took.
#[derive(Clone, Copy, Debug)]
struct Pass {
    time: Duration,
    entries: u64,
    /// Entries that could not be read, and directories.
    errors: u64,
}

/// What stops a benchmark, and who is told of it.
struct Bench<'b> {
    path: &'b Path,
    cancel: CancelHandle,
    signals: Signals,
    terminal: Terminal,
}

pub(crate) fn bench(arguments: &BenchArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let path = &arguments.path;
    let failed =
        |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    let root = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !root.is_dir() {
        return Err(failed(&"it is no directory"));
    }
    // A mistake in the name shows before anything was measured.
    let stop_timeout = scan::plain(path)?.settings().stop_timeout.duration();
    let mut caches = Caches::new(path, arguments.cold)?;
    // As `scan` does it.
    let _ = statline_platform::raise_open_file_limit();
    let cancel = CancelHandle::new();
    let bench = Bench {
        path,
        signals: Signals::watch(cancel.clone(), stop_timeout, terminal)?,
        cancel,
        terminal,
    };
    let runs = usize::from(arguments.runs);
    match bench.measure(runs, &mut caches)? {
        None => Ok(match bench.signals.received() {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Failed,
        }),
        Some([sequential, pipeline]) => {
            let mut findings = Findings::new(path, &sequential, &pipeline, caches.state());
            if cfg!(debug_assertions) {
                findings.doubt("this statline was built without optimisation");
            }
            match arguments.format {
                TextFormat::Json => terminal.print_json(&findings)?,
                TextFormat::Text => {
                    terminal.print(findings.text(terminal.palette()).as_bytes())?;
                }
            }
            Ok(findings.exit())
        }
    }
}

impl Bench<'_> {
    /// The passes of each way; `None` if it was stopped.
    fn measure(&self, runs: usize, caches: &mut Caches) -> Result<Option<[Vec<Pass>; 2]>, Failure> {
        if caches.need_a_pass() {
            for way in [Way::Sequential, Way::Pipeline] {
                self.notice(&format!("a pass that is not counted: {}", way.as_str()));
                if self.pass(way)?.is_none() {
                    return Ok(None);
                }
            }
        }
        let mut passes = [Vec::with_capacity(runs), Vec::with_capacity(runs)];
        for run in 0..runs {
            // Each is first as often as the other, so that whatever grows or wears off is shared.
            let mut ways = [(Way::Sequential, 0), (Way::Pipeline, 1)];
            if run % 2 == 1 {
                ways.reverse();
            }
            for (way, place) in ways {
                self.notice(&format!("pass {} of {runs}: {}", run + 1, way.as_str()));
                let before = caches.prepare()?;
                let Some(pass) = self.pass(way)? else {
                    return Ok(None);
                };
                caches.note(&before);
                passes[place].push(pass);
            }
        }
        Ok(Some(passes))
    }

    /// One pass; `None` if it was stopped.
    fn pass(&self, way: Way) -> Result<Option<Pass>, Failure> {
        match way {
            Way::Sequential => {
                let began = Instant::now();
                let counted = sequential::count(self.path, &|| self.cancel.is_cancelled());
                let time = began.elapsed();
                Ok(counted.map(|counted| Pass {
                    time,
                    entries: counted.entries,
                    errors: counted.errors,
                }))
            }
            Way::Pipeline => {
                let job = scan::plain(self.path)?;
                let began = Instant::now();
                let run = job.start(&self.cancel);
                self.signals.observe(run.monitor());
                let report = run.wait();
                let time = began.elapsed();
                match report.outcome {
                    Outcome::Complete | Outcome::Incomplete => Ok(Some(Pass {
                        time,
                        entries: scan::entries(&report),
                        errors: report.error_count(),
                    })),
                    Outcome::Cancelled => Ok(None),
                    Outcome::Failed => {
                        let cause = report.cause.unwrap_or_else(|| "the scan failed".to_owned());
                        let path = self.path.display();
                        Err(Failure::failed(format!("{path}: {cause}")))
                    }
                }
            }
        }
    }

    /// Tells whoever waits at a terminal what it is that takes its time.
    fn notice(&self, what: &str) {
        if std::io::stderr().is_terminal() {
            let path = escaped_path(self.path);
            self.terminal.say(&format!("{path}: {what}\n"));
        }
    }
}
