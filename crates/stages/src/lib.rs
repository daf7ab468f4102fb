//! Entry types and the stages that read file systems.
#![forbid(unsafe_code)]
