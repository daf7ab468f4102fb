//! Micro benchmarks: what one message, one name and one row cost.
//!
//! ```text
//! cargo bench -p statline-benches                                  # all of them, half a minute
//! cargo bench -p statline-benches -- hop                           # those whose names have "hop" in them
//! cargo bench -p statline-benches -- --save-baseline before        # and after a change:
//! cargo bench -p statline-benches -- --baseline before
//! ```
//!
//! | name | a time is that of | how |
//! |---|---|---|
//! | `hop/…` | one message through a chain of channels | a job's channels, against bare ones of crossbeam; `hop/apart` is the steadiest |
//! | `getdents/parse` | one entry | `parse_dirents` on a buffer of 64 KiB |
//! | `sort/path` | one of 100,000 records | a job: records → `sort` → `null` |
//! | `jsonl/…` | one row | a job: records → `jsonl` to /dev/null; the time of its thread |
//!
//! | `config/…` | one job | text → job, or all that is wrong with it; texts that are made to take long must stay below 100 ms |
//!
//! Every time is for one item, whatever number of them is handled at once, so it is read off as it stands: "250 ns" in `hop` is
//! 250 ns a message. Only statline's public faces are used. These are for telling what a change did, on one quiet
//! machine; whether statline is fast is what `compare` says.

#![forbid(unsafe_code)]

mod config;
mod dirents;
mod hop;
mod jsonl;
mod per_item;
mod records;
mod sort;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    hop::measure(&mut criterion);
    dirents::measure(&mut criterion);
    sort::measure(&mut criterion);
    jsonl::measure(&mut criterion);
    config::measure(&mut criterion);
    criterion.final_summary();
}
