//! What it costs to write a row as JSON.
//!
//! The time is what the report says that the stage's thread worked: the source and the start of threads are left out.

use std::time::Duration;

use criterion::Criterion;
use statline_pipeline::Builder;
use statline_stages::{Field, Jsonl, JsonlConfig};

use crate::records;

const RECORDS: usize = 50_000;

pub(crate) fn measure(criterion: &mut Criterion) {
    let batches = records::batches(RECORDS);
    let mut group = criterion.benchmark_group("jsonl");
    // What `scan -o FILE.jsonl` writes, and what is left of it without numbers.
    for (name, fields) in [
        ("basic", None),
        ("path", Some(vec![Field::Path, Field::Kind])),
    ] {
        crate::per_item::measure(&mut group, name, RECORDS, || {
            let config = JsonlConfig {
                fields: fields.clone(),
                ..JsonlConfig::new("/dev/null")
            };
            let mut builder = Builder::new("jsonl");
            let source = records::source(&mut builder, batches.clone()).done();
            builder.stage("out", Jsonl, config).reads(&source).done();
            let job = builder.build().expect("the job is sound");
            let report = records::run(job, RECORDS);
            let seconds = report.stage("out").map(|stage| stage.service.total_seconds);
            Duration::from_secs_f64(seconds.expect("the stage is in the job"))
        });
    }
}
