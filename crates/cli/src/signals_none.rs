//! The system's own way to end a program is all there is.

use statline_pipeline::{CancelHandle, Monitor};

use crate::exit::Failure;
use crate::terminal::Terminal;

/// Nothing to watch.
pub(crate) struct Signals;

impl Signals {
    pub(crate) fn watch(
        _: CancelHandle,
        _: std::time::Duration,
        _: Terminal,
    ) -> Result<Signals, Failure> {
        Ok(Signals)
    }

    pub(crate) fn observe(&self, _: Monitor) {}

    pub(crate) fn received(&self) -> Option<i32> {
        None
    }
}
