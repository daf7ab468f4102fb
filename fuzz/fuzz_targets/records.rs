//! The records that Windows fills a directory's buffer with.

#![no_main]

#[path = "../checks/records.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::records(bytes));
