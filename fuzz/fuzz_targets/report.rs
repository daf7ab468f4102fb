//! Reports of runs and marks of outputs.

#![no_main]

#[path = "../checks/report.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::report(bytes));
