//! A thread that waits for signals.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals as Iterator;
use statline_pipeline::{CancelHandle, Monitor};

use crate::exit::Failure;
use crate::table;
use crate::terminal::Terminal;

/// What comes sooner after the first signal is the same one again: timeout(1) sends its signal to the program and then to
/// the whole group.
const SAME: Duration = Duration::from_millis(300);

/// Watches for signals until the program ends.
pub(crate) struct Signals {
    first: Arc<AtomicI32>,
    monitor: Arc<Mutex<Option<Monitor>>>,
}

impl Signals {
    /// Starts to watch. From now on SIGINT and SIGTERM cancel the run.
    pub(crate) fn watch(cancel: CancelHandle, terminal: Terminal) -> Result<Signals, Failure> {
        let failed = |error| Failure::failed(format!("cannot watch for signals: {error}"));
        // A file larger than the limit is an error of the write, not the end of the program.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(failed)?;
        let mut signals = Iterator::new([SIGINT, SIGTERM, SIGUSR1]).map_err(failed)?;
        let watch = Signals {
            first: Arc::new(AtomicI32::new(0)),
            monitor: Arc::default(),
        };
        let first = Arc::clone(&watch.first);
        let monitor = Arc::clone(&watch.monitor);
        let work = move || {
            let mut since = None;
            for signal in signals.forever() {
                if signal == SIGUSR1 {
                    let monitor = monitor.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(monitor) = &*monitor {
                        let snapshot = monitor.snapshot();
                        terminal.say(&table::snapshot(&snapshot, terminal.error_palette()));
                    }
                    continue;
                }
                match since {
                    None => {
                        since = Some(Instant::now());
                        first.store(signal, Ordering::SeqCst);
                        cancel.cancel();
                    }
                    Some(since) if since.elapsed() < SAME => {}
                    Some(_) => signal_hook::low_level::exit(128 + signal),
                }
            }
        };
        std::thread::Builder::new()
            .name("statline-signals".to_owned())
            .spawn(work)
            .map_err(failed)?;
        Ok(watch)
    }

    /// Shows this run when SIGUSR1 asks.
    pub(crate) fn observe(&self, monitor: Monitor) {
        *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitor);
    }

    /// The signal that cancelled the run, if one did.
    pub(crate) fn received(&self) -> Option<i32> {
        match self.first.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }
}
