//! A pipeline assembled in Rust, its records taken one by one as they come.
//!
//! Run with `cargo run -p statline-stages --example iterate -- DIRECTORY`.

use std::error::Error;

use statline_pipeline::{Builder, Outcome};
use statline_stages::{Enumerate, EnumerateConfig, RecordBatch, Rows, Stat, StatConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());

    let mut job = Builder::new("iterate");
    let walk = job
        .stage("walk", Enumerate, EnumerateConfig::new([root]))
        .done();
    let meta = job
        .stage("meta", Stat, StatConfig::default())
        .reads(&walk)
        .done();
    let mut records = job.results::<RecordBatch>(&meta)?;

    let (mut entries, mut bytes, mut deepest) = (0_u64, 0_u64, (0, Vec::new()));
    for batch in records.by_ref() {
        for row in batch.rows() {
            entries += 1;
            bytes += row
                .metadata
                .and_then(|metadata| metadata.size())
                .unwrap_or(0);
            if row.depth() > deepest.0 {
                deepest = (row.depth(), row.path_bytes());
            }
        }
    }
    println!("{entries} entries, {bytes} bytes");
    println!("deepest: {}", String::from_utf8_lossy(&deepest.1));

    // The iterator also ends when the run fails: only this tells whether it gave everything.
    let report = records.finish();
    match report.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Incomplete => {
            Err(format!("{} entries could not be read", report.error_count()).into())
        }
        Outcome::Cancelled | Outcome::Failed => Err(report.cause.unwrap_or_default().into()),
    }
}
