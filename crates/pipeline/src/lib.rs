//! Stages on threads of their own, joined by bounded channels.
//!
//! The framework knows stages, ports, channels and threads, and nothing of files. A job is described in TOML
//! ([`Job::parse`], with the kinds of stage in a [`Registry`]) or assembled in Rust ([`Builder`]); both end in the same
//! checked graph. Running it gives a [`RunReport`]: whether the result is complete, where the time went, which stage
//! held the run back.
//!
//! Three things are kept, whatever stages do:
//!
//! * memory between stages is bounded in messages and in bytes;
//! * a stream that was cut never passes for one that ended, and nothing is published in a run that failed;
//! * the first fault is the one that is reported;
//! * a call that does not come back ([`Watch`]) holds up neither the rest of the run nor its end.
//!
//! The library touches nothing global: no signal handlers, no environment, no thread pools of others.

#![forbid(unsafe_code)]

mod builder;
mod cancel;
mod config;
mod crew;
mod declare;
mod diagram;
mod edge;
mod endpoints;
mod error;
mod error_record;
mod fault;
mod graph;
mod job;
mod kind;
mod limit;
mod message;
mod meter;
mod monitor;
mod opening;
mod outcome;
mod port;
mod quantity;
mod registry;
mod report;
mod reserve;
mod results;
mod run;
#[cfg(test)]
#[cfg(shuttle)]
mod schedules;
mod shape;
mod stage;
mod stage_spec;
mod stall;
mod stream;
mod sync;
pub mod testing;
mod upstream;
mod waits;
mod watch;
mod watchdog;
mod wiring;
mod worker;

pub use builder::{Builder, NewStage, OutputRef, StageRef};
pub use cancel::CancelHandle;
pub use config::{
    Environment, Location, PipelineSettings, Problem, Problems, ReadError, Severity, ThreadSetting,
    read_limited,
};
pub use declare::{DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, ERRORS_OUTPUT, InputPort, OutputPort};
pub use endpoints::Endpoints;
pub use error::{StageError, Stop};
pub use error_record::{ErrorCount, ErrorRecord, Errors, Scope, Unread, UnreadList};
pub use fault::{Fault, FaultKind};
pub use job::Job;
pub use kind::{Kind, Threading};
pub use limit::Limit;
pub use message::Message;
pub use meter::Counter;
pub use monitor::Monitor;
pub use opening::{Context, Opening};
pub use outcome::{Outcome, PublishOrder, Publisher, StageErrors, Verdict};
pub use port::{Inlet, Outlet, Received};
pub use quantity::{ByteSize, ParseQuantityError, Period};
pub use registry::{KindInfo, PortInfo, Registration, Registry};
pub use report::{EdgeReport, Latency, REPORT_SCHEMA, RunReport, Snapshot, StageReport, VERSION};
pub use results::Results;
pub use run::Run;
pub use shape::Options;
pub use stage::{Actor, Sink, Source, Transform};
pub use stall::Stall;
pub use stream::{Order, Properties, Stream};
pub use upstream::Upstream;
pub use watch::{Pulse, Watch, Watched};
