//! Panics of stages are told by the run's report, in its words; the usual message would tell them twice.
//!
//! One thing must stay true: what a panic says may hold the name of a file, so it goes through the escapes as well.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;
use std::thread;

use crate::escape::escaped_message;

/// From now on only panics of the program itself print a message, or all of them if `verbose` says so.
pub(crate) fn let_reports_tell(verbose: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let is_own = |name: &str| name == "main" || name.starts_with("statline-");
        if verbose || thread.name().is_none_or(is_own) {
            tell(panic, thread.name());
        }
    }));
}

fn tell(panic: &PanicHookInfo<'_>, thread: Option<&str>) {
    let thread = thread.unwrap_or("without a name");
    let place = panic.location().map(ToString::to_string);
    let message = panic
        .payload_as_str()
        .unwrap_or("with a value that is no text");
    // There is nobody to tell that this failed.
    let _ = writeln!(
        std::io::stderr().lock(),
        "thread {} panicked at {}: {}",
        escaped_message(thread),
        place.as_deref().unwrap_or("an unknown place"),
        escaped_message(message),
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = writeln!(std::io::stderr().lock(), "{trace}");
    }
}
