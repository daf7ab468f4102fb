//! The records that the kernel fills a directory's buffer with.

#![no_main]

#[path = "../checks/dirents.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::dirents(bytes));
