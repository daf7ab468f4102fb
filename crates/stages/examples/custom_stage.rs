//! A stage of a host program in a job described in TOML, and how long it took for each batch.
//!
//! Run with `cargo run -p statline-stages --example custom_stage -- DIRECTORY`.

use std::error::Error;
use std::time::Duration;

use statline_pipeline::{
    ByteSize, CancelHandle, Job, Latency, Outlet, Registry, StageError, Transform,
};
use statline_stages::RecordBatch;

#[derive(Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
struct OnlyBigConfig {
    min_size: ByteSize,
}

struct OnlyBig(u64);

impl Transform for OnlyBig {
    type In = RecordBatch;
    type Out = RecordBatch;

    fn apply(
        &mut self,
        mut batch: RecordBatch,
        out: &mut Outlet<RecordBatch>,
    ) -> Result<(), StageError> {
        batch.retain(|row| row.metadata.and_then(|metadata| metadata.size()) >= Some(self.0));
        out.send(batch)
    }
}

const JOB: &str = r#"
[stages.walk]
type = "enumerate"
roots = ["${ROOT}"]

[stages.meta]
type = "stat"
inputs = ["walk"]
fields = ["size"]

[stages.big]
type = "only_big"
inputs = ["meta"]
min_size = "16KiB"

[stages.largest]
type = "sort"
inputs = ["big"]
by = ["-size"]
limit = 10

[stages.out]
type = "paths"
inputs = ["largest"]
path = "-"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());

    let mut registry = Registry::new();
    statline_stages::register(&mut registry);
    registry.transform("only_big", |config: OnlyBigConfig| {
        Ok(OnlyBig(config.min_size.bytes()))
    });

    let variables = |name: &str| (name == "ROOT").then(|| root.clone());
    let job = Job::parse(&registry, "largest.toml", JOB, &variables, &[])?;
    let report = job.start(&CancelHandle::new()).wait();

    let stage = report
        .stage("big")
        .ok_or("the job has a stage called big")?;
    println!(
        "\nonly_big: {} of {} records, {}",
        stage.items_out, stage.items_in, report.outcome
    );
    println!("{}", histogram(&stage.service));
    match report.cause {
        Some(cause) => Err(cause.into()),
        None => Ok(()),
    }
}

/// The distribution of the time that one batch took: ten marks for each factor of ten above a microsecond.
fn histogram(latency: &Latency) -> String {
    let quantiles = [
        ("p50", latency.p50_ns),
        ("p90", latency.p90_ns),
        ("p99", latency.p99_ns),
        ("max", latency.max_ns),
    ];
    let mut text = format!("service of {} batches", latency.count);
    for (name, nanoseconds) in quantiles {
        let tens = (nanoseconds as f64 / 1000.0).max(1.0).log10();
        let bar = "#".repeat((10.0 * tens).ceil() as usize);
        let time = Duration::from_nanos(nanoseconds);
        text += &format!("\n  {name} {:>10} {bar}", format!("{time:.1?}"));
    }
    text
}
