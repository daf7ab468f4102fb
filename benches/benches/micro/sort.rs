//! What it costs to put a record into path order.
//!
//! The whole of a job is timed, so gathering the records and sending them in their new order count as well; threads of
//! the stage's own pool help where there are cores for them.

use std::time::Instant;

use criterion::Criterion;
use statline_pipeline::Builder;
use statline_stages::{Null, NullConfig, Sort, SortConfig};

use crate::records;

const RECORDS: usize = 100_000;

pub(crate) fn measure(criterion: &mut Criterion) {
    let batches = records::batches(RECORDS);
    let mut group = criterion.benchmark_group("sort");
    crate::per_item::measure(&mut group, "path", RECORDS, || {
        let mut builder = Builder::new("sort");
        let source = records::source(&mut builder, batches.clone()).done();
        let sorted = builder
            .stage("sort", Sort, SortConfig::default())
            .reads(&source)
            .done();
        builder
            .stage("out", Null, NullConfig {})
            .reads(&sorted)
            .done();
        let job = builder.build().expect("the job is sound");
        let start = Instant::now();
        records::run(job, RECORDS);
        start.elapsed()
    });
}
