//! Panics of stages are told by the run's report, in its words; the usual message would tell them twice.

use std::thread;

/// From now on only panics of the program itself print a message, or all of them if `verbose` says so.
pub(crate) fn let_reports_tell(verbose: bool) {
    if verbose {
        return;
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let is_own = |name: &str| name == "main" || name.starts_with("statline-");
        if thread.name().is_none_or(is_own) {
            usual(panic);
        }
    }));
}
