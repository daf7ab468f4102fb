//! Trees and file systems made for tests.
#![forbid(unsafe_code)]
