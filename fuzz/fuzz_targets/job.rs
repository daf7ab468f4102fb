//! The text of a job, with all kinds of stage.

#![no_main]

#[path = "../checks/job.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::job(bytes));
