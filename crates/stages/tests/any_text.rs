//! The seeds of the fuzz targets `job` and `report`, and mutations of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../../fuzz/checks/job.rs"]
mod job;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/report.rs"]
mod report;

#[test]
fn any_text_is_a_job_or_is_refused_with_a_reason_soon() {
    replay::replay("job", 100, job::job);
}

#[test]
fn any_bytes_are_a_report_or_a_mark_or_are_refused() {
    replay::replay("report", 500, report::report);
}
