//! What `sort` retains stays within its limit: counted by the allocator, nodes of directories and all.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use peak_alloc::PeakAlloc;
use statline_pipeline::{
    Builder, ByteSize, Errors, Outcome, Outlet, PipelineSettings, Sink, Source, StageError,
};
use statline_platform::{DirNode, Kind, Metadata, NameBuf, Timestamp};
use statline_stages::{
    DirectoryEnd, DirectoryStatus, RecordBatch, Row, Rows, Sort, SortConfig, SortKey,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Makes rows while they are wanted, and keeps none.
struct Made {
    rows: usize,
    /// Rows in each directory.
    together: usize,
    /// How long names are.
    name: usize,
}

impl Made {
    fn name(&self, number: usize) -> NameBuf {
        // Scattered, so that no run holds neighbours.
        let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let width = self.name;
        NameBuf::new(format!("{number:0width$x}").as_bytes()).unwrap()
    }
}

impl Source for Made {
    type Out = RecordBatch;

    fn run(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let root = DirNode::root(Path::new("root"));
        let mut number = 0;
        while number < self.rows {
            let mut batch = RecordBatch::with_capacity(1024);
            while batch.len() < 1024 && number < self.rows {
                let directory = DirNode::child(&root, self.name(number).as_name());
                for _ in 0..self.together {
                    number += 1;
                    let mut metadata = Metadata::with_kind(Kind::File);
                    let seconds = number as i64;
                    metadata
                        .set_size((number * 7_919 % 100_003) as u64)
                        .set_file_id((number as u64).into())
                        .set_modified(Timestamp {
                            seconds,
                            nanoseconds: 1,
                        });
                    batch.push_row(&Row {
                        directory: &directory,
                        name: self.name(number).as_name(),
                        kind: None,
                        metadata: Some(&metadata),
                        target: None,
                        change: None,
                        remembered: false,
                        hash: None,
                        former: statline_stages::Former::default(),
                    });
                }
                batch.push_end(DirectoryEnd {
                    directory,
                    entries: self.together as u64,
                    directories: 0,
                    status: DirectoryStatus::Complete,
                });
            }
            out.send(batch)?;
        }
        Ok(())
    }
}

/// Looks whether what comes is in order, and keeps the last row alone.
struct Looked {
    by: SortKey,
    last: RecordBatch,
    rows: usize,
    ends: usize,
    expected: usize,
}

impl Sink for Looked {
    type In = RecordBatch;

    fn write(&mut self, batch: RecordBatch, _: &Errors) -> Result<(), StageError> {
        let mut last = self.last.rows().next();
        for row in batch.rows() {
            if let Some(last) = last {
                let size = |row: &Row<'_>| row.metadata.and_then(Metadata::size);
                let path = |row: &Row<'_>| row.path_bytes();
                let in_order = match self.by == SortKey::PATH {
                    true => path(&last) < path(&row),
                    false => size(&last) >= size(&row),
                };
                assert!(in_order, "{last:?} before {row:?}");
            }
            last = Some(row);
        }
        let mut kept = RecordBatch::default();
        last.iter().for_each(|row| kept.push_row(row));
        self.rows += batch.len();
        self.ends += batch.ends().len();
        self.last = kept;
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        assert_eq!(self.rows, self.expected, "every row has come");
        assert!(self.ends > 0);
        Ok(())
    }
}

/// The most that was allocated while a job sorted these rows, what was before left out, and the runs that it took.
fn peak(made: Made, by: SortKey, limit: ByteSize) -> (usize, u64) {
    let before = ALLOCATOR.current_usage();
    let mut settings = PipelineSettings::default();
    settings.capacity = 1;
    let mut job = Builder::new("test").with_settings(settings);
    let looked = Looked {
        by,
        last: RecordBatch::default(),
        rows: 0,
        ends: 0,
        expected: made.rows.next_multiple_of(made.together),
    };
    let source = job.source("made", made).done();
    let config = SortConfig {
        by: vec![by],
        memory_limit: limit,
        ..SortConfig::default()
    };
    let sort = job.stage("sort", Sort, config).reads(&source).done();
    let _ = job.sink("looked", looked).reads(&sort);
    ALLOCATOR.reset_peak_usage();
    let report = job.build().unwrap().run();
    let peak = ALLOCATOR.peak_usage() - before;
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.fault);
    (peak, report.stage("sort").unwrap().counters["runs"])
}

/// What the framework and the neighbours have in hand: histograms, and a batch being made, one in each queue, one being
/// taken in, one being looked at.
const BESIDE: usize = 2 << 20;

#[test]
fn all_that_is_retained_is_within_the_limit() {
    let by_size: SortKey = "-size".parse().unwrap();
    for by in [SortKey::PATH, by_size] {
        for (rows, together, name) in [
            // As in a real tree; nodes that take more than rows; long names.
            (100_000, 16, 16),
            (30_000, 1, 16),
            (20_000, 4, 250),
        ] {
            for limit in [ByteSize::from_mib(8), ByteSize::from_mib(24)] {
                let made = Made {
                    rows,
                    together,
                    name,
                };
                let (peak, runs) = peak(made, by, limit);
                let most = usize::try_from(limit.bytes()).unwrap() + BESIDE;
                let case = format!("{by} {rows} {together} {name} {limit}");
                println!(
                    "{case}: {:.1} MiB, {runs} runs",
                    peak as f64 / f64::from(1 << 20)
                );
                assert!(peak <= most, "{case}: {peak} bytes");
                // Else nothing was put to the test.
                assert!(
                    limit > ByteSize::from_mib(8) || runs > 2,
                    "{case}: {runs} runs"
                );
            }
        }
    }
}
