//! A thread that waits for signals.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use statline_pipeline::{CancelHandle, Monitor};

use crate::exit::{self, Exit, Failure};
use crate::signal_queue::SignalQueue;
use crate::stop_request::{StopRequest, StopRequests};
use crate::table;
use crate::terminal::Terminal;

/// How much longer than its job's `stop_timeout` the program may live, to tell how the run went.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// Watches for signals until the program ends.
pub(crate) struct Signals {
    first: Arc<AtomicI32>,
    monitor: Arc<Mutex<Option<Monitor>>>,
}

impl Signals {
    /// Starts to watch. From now on SIGINT and SIGTERM cancel the run, and the program ends soon after, even if it
    /// hangs where nothing can be cancelled.
    /// `stop_timeout` is how long the run itself may take for that.
    pub(crate) fn watch(
        cancel: CancelHandle,
        stop_timeout: Duration,
        terminal: Terminal,
    ) -> Result<Signals, Failure> {
        let failed = |error| Failure::failed(format!("cannot watch for signals: {error}"));
        // A file larger than the limit is an error of the write, not the end of the program.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(failed)?;
        let mut queue = SignalQueue::new().map_err(failed)?;
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            queue.add(signal).map_err(failed)?;
        }
        let signals = Signals {
            first: Arc::default(),
            monitor: Arc::default(),
        };
        let watch = Watch {
            queue,
            cancel,
            terminal,
            first: Arc::clone(&signals.first),
            monitor: Arc::clone(&signals.monitor),
        };
        std::thread::Builder::new()
            .name("statline-signals".to_owned())
            .spawn(move || watch.forever(stop_timeout.saturating_add(STOP_MARGIN)))
            .map_err(failed)?;
        Ok(signals)
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

/// What the thread works with.
struct Watch {
    queue: SignalQueue,
    cancel: CancelHandle,
    terminal: Terminal,
    first: Arc<AtomicI32>,
    monitor: Arc<Mutex<Option<Monitor>>>,
}

impl Watch {
    /// Acts on signals. So long after the first request to stop it ends the program.
    fn forever(mut self, patience: Duration) -> ! {
        let mut requests = StopRequests::default();
        let mut deadline: Option<(Instant, i32)> = None;
        loop {
            let now = Instant::now();
            let left = deadline.map(|(at, _)| at.saturating_duration_since(now));
            if let (Some(Duration::ZERO), Some((_, signal))) = (left, deadline) {
                exit::leave(Exit::Signal(signal));
            }
            self.queue.wait(None, left);
            for signal in self.queue.pending() {
                if signal == SIGUSR1 {
                    self.show();
                    continue;
                }
                let now = Instant::now();
                match requests.add(now) {
                    StopRequest::First => {
                        deadline = now.checked_add(patience).map(|at| (at, signal));
                        self.first.store(signal, Ordering::SeqCst);
                        self.cancel.cancel();
                    }
                    StopRequest::Same => {}
                    StopRequest::Second => exit::leave(Exit::Signal(signal)),
                }
            }
        }
    }

    fn show(&self) {
        let monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(monitor) = &*monitor {
            let snapshot = monitor.snapshot();
            let text = table::snapshot(&snapshot, self.terminal.error_palette());
            self.terminal.say(&text);
        }
    }
}
