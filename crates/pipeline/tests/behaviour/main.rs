//! How the framework behaves, seen from outside the crate: every stage here is one that a host could have written.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on may as well panic"
)]

mod conduct;
mod failure;
mod flow;
mod graph;
mod hanging;
mod metering;
mod partial;
mod publishing;
mod reserve;
mod stopping;
mod support;
mod upstream;
