//! The `statline` command.
#![forbid(unsafe_code)]
fn main() {}
