//! Ctrl-C, Ctrl-Break, and the end of the console or the session, each of which Windows tells by a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use statline_pipeline::{CancelHandle, Monitor};

use crate::exit::{self, Exit, Failure};
use crate::stop_request::{StopRequest, StopRequests};
use crate::terminal::Terminal;

/// How much longer than its job's `stop_timeout` the program may live, to tell how the run went.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// What the status is made of, whichever of them it was: scripts that know 130 know what happened.
const SIGINT: i32 = 2;

/// Watches until the program ends.
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Starts to watch. From now on Ctrl-C cancels the run, and the program ends soon after, even if it hangs where
    /// nothing can be cancelled. `stop_timeout` is how long the run itself may take for that.
    pub(crate) fn watch(
        cancel: CancelHandle,
        stop_timeout: Duration,
        _: Terminal,
    ) -> Result<Signals, Failure> {
        let received = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&received);
        let requests = Mutex::new(StopRequests::default());
        let patience = stop_timeout.saturating_add(STOP_MARGIN);
        ctrlc::set_handler(move || {
            let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
            match requests.add(Instant::now()) {
                StopRequest::First => {
                    noted.store(true, Ordering::SeqCst);
                    cancel.cancel();
                    // Without a thread the program ends when the run does, or at the second Ctrl-C.
                    let _ = std::thread::Builder::new().spawn(move || {
                        std::thread::sleep(patience);
                        exit::leave(Exit::Signal(SIGINT));
                    });
                }
                StopRequest::Same => {}
                StopRequest::Second => exit::leave(Exit::Signal(SIGINT)),
            }
        })
        .map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(Signals(received))
    }

    /// Nothing here asks how things are going.
    pub(crate) fn observe(&self, _: Monitor) {}

    /// The signal that cancelled the run, if one did.
    pub(crate) fn received(&self) -> Option<i32> {
        self.0.load(Ordering::SeqCst).then_some(SIGINT)
    }
}
