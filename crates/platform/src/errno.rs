//! Symbolic names of error numbers.

use std::borrow::Cow;
use std::io;

/// The symbolic name of an error: `"EACCES"`, `"REPLACED"` for a [`Fault`](crate::Fault), `"E9999"` for a number without a name.
#[must_use]
pub fn error_code(error: &io::Error) -> Cow<'static, str> {
    todo!("{error}")
}

/// The symbolic name of an error number of this system.
#[must_use]
pub fn errno_name(errno: i32) -> Option<&'static str> {
    todo!("{errno}")
}

/// The error number of this system for a symbolic name.
#[must_use]
pub fn errno_from_name(name: &str) -> Option<i32> {
    todo!("{name}")
}
