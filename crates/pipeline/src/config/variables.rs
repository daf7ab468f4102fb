//! Variables skeleton.
use std::ffi::OsString;

/// Where the variables of a job come from: `&|name| std::env::var_os(name)` in the binary.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;
