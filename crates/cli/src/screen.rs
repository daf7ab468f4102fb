//! Rows on their way to a terminal, where a name must not be able to reprogram it.
//!
//! A sink writes raw bytes. When standard output is a terminal, it is given a pipe instead, and what comes out of that
//! is shown with everything that acts on a terminal escaped. One thing must stay true: what goes to a file, a pipe or
//! another program is never changed.

#[cfg(unix)]
#[path = "screen_unix.rs"]
mod os;
#[cfg(not(unix))]
#[path = "screen_none.rs"]
mod os;

pub(crate) use os::Screen;
