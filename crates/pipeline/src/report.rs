//! What a run tells when it is over, and what it can tell while it goes on.
//!
//! The report is data first: versioned, serialisable, every duration in nanoseconds or seconds as its name says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::edge::LedgerFigures;
use crate::fault::Fault;
use crate::limit::{self, Limit};
use crate::meter::{Intervals, StageMeter, ThreadTime};
use crate::stage_spec::StageSpec;
use crate::{ErrorCount, Outcome, Stall, Verdict};

/// The version of the report's form. It changes when a field changes its meaning or goes; new fields do not change it.
pub const REPORT_SCHEMA: u32 = 1;

/// The version of statline, as reports and the marks of outputs tell it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a run went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// [`REPORT_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Identifies the run in all its outputs.
    pub run_id: String,
    /// The name of the job.
    pub job: String,
    /// The version of statline that ran it; empty in reports older than this field.
    #[serde(default)]
    pub version: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// Why it did not finish, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// The first thing that went wrong in a failed run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<Fault>,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// When the last of its stages had ended: RFC 3339, UTC; empty in reports older than this field.
    #[serde(default)]
    pub finished: String,
    /// How long it took, from opening the first stage to the end of the last thread.
    pub elapsed_seconds: f64,
    /// The stages in the order in which messages travel.
    pub stages: Vec<StageReport>,
    /// The channels between them.
    pub edges: Vec<EdgeReport>,
    /// What did not come back in time, with the threads that were left behind.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stalls: Vec<Stall>,
    /// Which stage held the run back, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<Limit>,
}

/// The stages of a run that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// How long the run has been going on.
    pub elapsed_seconds: f64,
    /// The stages in the order in which messages travel.
    pub stages: Vec<StageReport>,
}

impl Snapshot {
    /// The figures of one stage.
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

/// How one stage did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageReport {
    /// Its name in the job.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What feeds it, by input port: outputs as the job names them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub inputs: BTreeMap<String, Vec<String>>,
    /// The codes of errors that leave the run complete.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accept: Vec<String>,
    /// Its options as they were in force, defaults among them; not known of a stage that a program added as a value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub options: Option<serde_json::Value>,
    /// What it stated about this run, such as the roots that it read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// How many threads it had: those that were started.
    pub threads: usize,
    /// How many of them were at hand on average over the run: started, and not parked; 0 in reports older than this field.
    #[serde(default)]
    pub threads_mean: f64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent; a message to several consumers counts once.
    pub messages_out: u64,
    /// Items received.
    pub items_in: u64,
    /// Items sent.
    pub items_out: u64,
    /// Working on a message.
    pub service: Latency,
    /// Without a message, the input being empty.
    pub wait: Latency,
    /// With a result, the next queue being full.
    pub blocked: Latency,
    /// What part of the time that its threads were at hand they spent in service, 0 to 1. A thread is at hand from its
    /// start to the end of the run, but for the time that it is parked.
    pub busy_share: f64,
    /// What part they spent waiting for input, 0 to 1.
    pub waited_share: f64,
    /// What part they spent waiting to hand over, 0 to 1.
    pub blocked_share: f64,
    /// What part of the time since they were started its threads were parked, because there were more of them than paid,
    /// 0 to 1.
    #[serde(default)]
    pub parked_share: f64,
    /// Items that could not be handled.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<ErrorCount>,
    /// Numbers that the stage itself counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub counters: BTreeMap<String, u64>,
    /// What the stage found out, if finding out is what it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<serde_json::Value>,
}

/// The distribution of one kind of interval, one interval a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Latency {
    /// How many intervals.
    pub count: u64,
    /// Their sum, in seconds.
    pub total_seconds: f64,
    /// Their mean, in nanoseconds.
    pub mean_ns: u64,
    /// The median, in nanoseconds, to two digits as all the following.
    pub p50_ns: u64,
    /// Nine in ten are no longer.
    pub p90_ns: u64,
    /// Ninety-nine in a hundred are no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// How one channel did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EdgeReport {
    /// The outputs that feed it.
    pub from: Vec<String>,
    /// The stage that it leads to.
    pub to: String,
    /// The stage's input port.
    pub port: String,
    /// The type of message.
    pub message: String,
    /// Messages that it holds at the most.
    pub capacity: usize,
    /// Bytes that it holds at the most.
    pub capacity_bytes: usize,
    /// Messages sent.
    pub sent: u64,
    /// Messages received. Less than `sent` only if the reader had enough or the run did not finish.
    pub received: u64,
    /// Messages in it, on average after each sending.
    pub depth_mean: f64,
    /// Messages in it at the most.
    pub depth_max: usize,
    /// Whether the reader said that it had enough.
    pub enough: bool,
}

impl RunReport {
    pub(crate) fn new(
        verdict: &Verdict,
        elapsed: Duration,
        fault: Option<Fault>,
        stages: Vec<StageReport>,
        edges: Vec<EdgeReport>,
        stalls: Vec<Stall>,
    ) -> RunReport {
        RunReport {
            schema: REPORT_SCHEMA,
            run_id: verdict.run_id.clone(),
            job: verdict.job.clone(),
            version: VERSION.to_owned(),
            outcome: verdict.outcome,
            cause: verdict.cause.clone(),
            fault,
            started: verdict.started.to_string(),
            finished: verdict.finished.to_string(),
            elapsed_seconds: elapsed.as_secs_f64(),
            limit: limit::find(&stages, &edges),
            stages,
            edges,
            stalls,
        }
    }

    /// The figures of one stage.
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// How many items could not be handled, those with acceptable codes left out.
    pub fn error_count(&self) -> u64 {
        self.sum_errors(false)
    }

    /// How many items could not be handled for reasons that the job declared acceptable.
    pub fn accepted_count(&self) -> u64 {
        self.sum_errors(true)
    }

    fn sum_errors(&self, accepted: bool) -> u64 {
        let errors = self.stages.iter().flat_map(|stage| &stage.errors);
        errors
            .filter(|error| error.accepted == accepted)
            .map(|error| error.count)
            .sum()
    }
}

impl StageReport {
    pub(crate) fn new(
        name: &str,
        spec: &StageSpec,
        threads: usize,
        elapsed: Duration,
        time: ThreadTime,
        meter: &StageMeter,
        errors: Vec<ErrorCount>,
    ) -> StageReport {
        let measures = meter.total();
        let part = |part: Duration, whole: Duration| match whole.is_zero() {
            false => (part.as_secs_f64() / whole.as_secs_f64()).min(1.0),
            true => 0.0,
        };
        let share = |intervals: &Intervals| part(intervals.total, time.at_hand);
        StageReport {
            name: name.to_owned(),
            kind: spec.kind.clone(),
            inputs: spec.inputs.clone(),
            accept: spec.accept.clone(),
            options: spec.options.clone(),
            facts: meter.facts(),
            threads,
            threads_mean: match elapsed.is_zero() {
                false => time.at_hand.as_secs_f64() / elapsed.as_secs_f64(),
                true => threads as f64,
            },
            messages_in: measures.messages_in,
            messages_out: measures.messages_out,
            items_in: measures.items_in,
            items_out: measures.items_out,
            busy_share: share(&measures.service),
            waited_share: share(&measures.wait),
            blocked_share: share(&measures.blocked),
            parked_share: part(time.parked, time.at_hand + time.parked),
            service: Latency::of(&measures.service),
            wait: Latency::of(&measures.wait),
            blocked: Latency::of(&measures.blocked),
            errors,
            counters: meter.counters(),
            result: meter.result(),
        }
    }
}

impl Latency {
    fn of(intervals: &Intervals) -> Latency {
        let histogram = &intervals.histogram;
        Latency {
            count: histogram.len(),
            total_seconds: intervals.total.as_secs_f64(),
            mean_ns: histogram.mean() as u64,
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            max_ns: histogram.max(),
        }
    }
}

impl EdgeReport {
    pub(crate) fn new(
        from: &[String],
        to: &str,
        port: &str,
        message: &str,
        figures: LedgerFigures,
    ) -> EdgeReport {
        EdgeReport {
            from: from.to_vec(),
            to: to.to_owned(),
            port: port.to_owned(),
            message: message.to_owned(),
            capacity: figures.capacity.messages,
            capacity_bytes: figures.capacity.bytes,
            sent: figures.sent,
            received: figures.received,
            depth_mean: figures.depth_mean,
            depth_max: figures.depth_max,
            enough: figures.satisfied,
        }
    }
}
