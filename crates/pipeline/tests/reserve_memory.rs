//! What workers in reserve take before they are called up: counted by the allocator.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use peak_alloc::PeakAlloc;
use statline_pipeline::testing::Collected;
use statline_pipeline::{
    Builder, Context, Declare, Kind, Opening, Outcome, Outlet, OutputPort, Properties, StageError,
    Threading, Watch, Watched,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Large, as those are who gather batches.
struct Large {
    out: Outlet<u64>,
    _buffer: Box<[u8; 65_536]>,
    shared: Arc<Shared>,
}

struct Shared {
    context: Context,
    /// What is allocated when the first worker runs.
    seen: AtomicUsize,
    _roots: Mutex<Vec<String>>,
}

impl Watched for Large {
    fn run(large: &mut Watch<Large>) -> Result<(), StageError> {
        let seen = ALLOCATOR.current_usage();
        large.shared.seen.store(seen, Ordering::SeqCst);
        large
            .out
            .send(u64::from(large.shared.context.is_stopping()))
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        ("nothing", Vec::new())
    }

    fn give_up(&mut self, _: u64) {}
}

struct Larges {
    in_reserve: usize,
    seen: Arc<AtomicUsize>,
}

impl Kind for Larges {
    type Config = ();
    type Ports = OutputPort<u64>;

    fn threading(&self) -> Threading {
        Threading::Adaptive
    }

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> OutputPort<u64> {
        ports.output("out", Properties::default())
    }

    fn open(
        &self,
        (): (),
        out: OutputPort<u64>,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let shared = Arc::new(Shared {
            context: stage.context().clone(),
            seen: AtomicUsize::new(0),
            _roots: Mutex::default(),
        });
        let seen = Arc::clone(&self.seen);
        let large = move |out: Outlet<u64>, shared: &Arc<Shared>| Large {
            out,
            _buffer: Box::new([0; 65_536]),
            shared: Arc::clone(shared),
        };
        stage.watched(|ends| Ok(large(ends.output(&out), &shared)))?;
        for _ in 0..self.in_reserve {
            let shared = Arc::clone(&shared);
            stage.watched_in_reserve(move |ends| Ok(large(ends.output(&out), &shared)));
        }
        stage.publisher(
            statline_pipeline::PublishOrder::Output,
            Tell { shared, seen },
        );
        Ok(())
    }
}

/// Hands over what was seen, when the run is over.
struct Tell {
    shared: Arc<Shared>,
    seen: Arc<AtomicUsize>,
}

impl statline_pipeline::Publisher for Tell {
    fn publish(self: Box<Self>, _: &statline_pipeline::Verdict) -> Result<(), StageError> {
        let seen = self.shared.seen.load(Ordering::SeqCst);
        self.seen.store(seen, Ordering::SeqCst);
        Ok(())
    }
}

/// What a run has allocated when its first worker runs, beyond what there was before.
fn allocated(in_reserve: usize) -> usize {
    let seen = Arc::new(AtomicUsize::new(0));
    let before = ALLOCATOR.current_usage();
    let mut builder = Builder::new("test");
    let larges = Larges {
        in_reserve,
        seen: Arc::clone(&seen),
    };
    let larges = builder.stage("larges", larges, ()).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&larges);
    let report = builder.build().map(|job| job.run());
    assert_eq!(
        report.map(|report| report.outcome).ok(),
        Some(Outcome::Complete)
    );
    seen.load(Ordering::SeqCst).saturating_sub(before)
}

#[test]
fn five_hundred_workers_in_reserve_take_less_than_a_hundred_kibibytes() {
    // What is made once, and stays.
    let _ = allocated(1);
    let (few, many) = (allocated(1), allocated(512));
    let taken = many.saturating_sub(few);
    println!("511 workers in reserve take {taken} bytes");
    assert!(few > 65_536, "the one that runs is counted: {few}");
    assert!(taken < 100 * 1024, "{taken} bytes");
}
