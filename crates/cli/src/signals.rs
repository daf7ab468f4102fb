//! Signals: the first asks the run to stop, the second ends the program at once, SIGUSR1 asks how things are going.
//!
//! One thing must stay true: a run that a signal cancelled has published nothing, so nothing half-written is left under
//! a final name.

#[cfg(unix)]
#[path = "signals_unix.rs"]
mod os;
#[cfg(windows)]
#[path = "signals_windows.rs"]
mod os;
#[cfg(not(any(unix, windows)))]
#[path = "signals_none.rs"]
mod os;

pub(crate) use os::Signals;
