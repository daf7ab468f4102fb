//! What `diff` and `plan` retain does not depend on how many entries there are: counted by the allocator.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use peak_alloc::PeakAlloc;
use statline_pipeline::{
    Builder, DEFAULT_OUTPUT, Declare, Errors, Kind, Opening, Order, Outcome, Outlet, OutputPort,
    PipelineSettings, Properties, Sink, Source, StageError,
};
use statline_platform::{DirNode, Kind as EntryKind, Metadata, NameBuf, Timestamp};
use statline_stages::{Diff, DiffConfig, Former, Plan, PlanConfig, RecordBatch, Row, Rows};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Rows in path order, made while they are wanted.
#[derive(Clone, Copy)]
struct Made {
    root: &'static str,
    rows: usize,
    /// One row in so many is only on this side, and one has another size.
    every: usize,
}

impl Source for Made {
    type Out = RecordBatch;

    fn run(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        let root = DirNode::root(Path::new(self.root));
        for start in (0..self.rows).step_by(1000) {
            let name = NameBuf::new(format!("{start:09}").as_bytes()).unwrap();
            let directory = DirNode::child(&root, name.as_name());
            let mut batch = RecordBatch::with_capacity(1024);
            for number in start..start + 1000 {
                let more = if number % self.every == 1 {
                    self.root
                } else {
                    ""
                };
                let name = NameBuf::new(format!("{number:09}{more}").as_bytes()).unwrap();
                let own = number % self.every == 0;
                let mut metadata = Metadata::with_kind(EntryKind::File);
                metadata
                    .set_size(if own { self.root.len() as u64 } else { 7 })
                    .set_mode(0o600)
                    .set_uid(0)
                    .set_gid(0)
                    .set_modified(Timestamp {
                        seconds: number as i64,
                        nanoseconds: 0,
                    });
                batch.push_row(&Row {
                    directory: &directory,
                    name: name.as_name(),
                    kind: None,
                    metadata: Some(&metadata),
                    target: None,
                    change: None,
                    remembered: false,
                    hash: None,
                    former: Former::default(),
                });
            }
            out.send(batch)?;
        }
        Ok(())
    }
}

impl Kind for Made {
    type Config = ();
    type Ports = OutputPort<RecordBatch>;

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
        let properties = Properties {
            order: Order::By(vec!["path".to_owned()]),
            ..Properties::default()
        };
        ports.output(DEFAULT_OUTPUT, properties)
    }

    fn open(&self, (): (), out: Self::Ports, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.source(&out, |_| Ok(*self))
    }
}

/// Counts rows and keeps none.
struct Counted {
    rows: usize,
    expected: usize,
}

impl Sink for Counted {
    type In = RecordBatch;

    fn write(&mut self, batch: RecordBatch, _: &Errors) -> Result<(), StageError> {
        self.rows += batch.rows().len();
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        assert_eq!(self.rows, self.expected);
        Ok(())
    }
}

/// The most that was allocated while two sides of so many rows were compared.
fn peak<K: Kind>(rows: usize, ports: [&str; 2], kind: K, config: K::Config) -> usize {
    let before = ALLOCATOR.current_usage();
    let mut settings = PipelineSettings::default();
    settings.capacity = 1;
    let mut job = Builder::new("test").with_settings(settings);
    let every = 100;
    let sides = ["from", "destination"].map(|root| {
        let made = Made { root, rows, every };
        job.stage(root, made, ()).done()
    });
    let compared = job.stage("compared", kind, config);
    let compared = compared.reads_on(ports[0], &sides[0]);
    let compared = compared.reads_on(ports[1], &sides[1]).done();
    let counted = Counted {
        rows: 0,
        // One that differs, and one on each side.
        expected: rows / every * 3,
    };
    let _ = job.sink("counted", counted).reads(&compared);
    ALLOCATOR.reset_peak_usage();
    let report = job.build().unwrap().run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    ALLOCATOR.peak_usage() - before
}

#[test]
fn memory_does_not_grow_with_the_scans() {
    let peaks = |rows| {
        [
            peak(rows, ["old", "new"], Diff, DiffConfig::default()),
            peak(rows, ["source", "destination"], Plan, PlanConfig::default()),
        ]
    };
    let (few, many) = (peaks(20_000), peaks(400_000));
    println!("{few:?} bytes for 20,000 rows a side, {many:?} for 400,000");
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few + (1 << 20), "{few} bytes became {many}");
        assert!(many < 8 << 20, "{many} bytes");
    }
}
