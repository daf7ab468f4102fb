//! Random graphs with random faults. Whatever happens, a run ends; complete means that every sink saw exactly what it
//! should; anything else publishes nothing; no thread is left behind.
//!
//! A failure prints the seed of its graph. `STATLINE_SEED=n cargo test --test stress` repeats that graph alone, many
//! times, for schedules differ.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on may as well panic"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use statline_pipeline::{
    Builder, CancelHandle, Declare, Errors, InputPort, Kind, Message, Opening, Outcome, Outlet,
    OutputPort, Properties, RunReport, Sink, Source, StageError, StageRef, Threading, Transform,
    Verdict,
};

const GRAPHS: u64 = 400;
const REPEATS: u64 = 200;

/// Small, fast and the same everywhere: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A message that knows where it comes from; its weight varies, so that queues fill by bytes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    source: u64,
    number: u64,
}

impl Message for Parcel {
    fn weight(&self) -> usize {
        (self.number % 7 * 10) as usize
    }
}

/// What goes wrong, at the n-th message of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Panic,
    Error,
    Cancel,
    Enough,
}

#[derive(Clone)]
struct Trap {
    mishap: Mishap,
    at: u64,
    seen: Arc<AtomicU64>,
    cancel: CancelHandle,
    sprung: Arc<AtomicU64>,
}

impl Trap {
    fn step(&self) -> Result<(), StageError> {
        if self.seen.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        self.sprung.fetch_add(1, Ordering::SeqCst);
        match self.mishap {
            Mishap::Panic => panic!("trapped"),
            Mishap::Error => Err(StageError::failed("trapped")),
            Mishap::Enough => Err(StageError::ENOUGH),
            Mishap::Cancel => {
                self.cancel.cancel();
                Ok(())
            }
        }
    }
}

fn step(trap: &Option<Trap>) -> Result<(), StageError> {
    trap.as_ref().map_or(Ok(()), Trap::step)
}

struct Sender {
    source: u64,
    count: u64,
    trap: Option<Trap>,
}

impl Source for Sender {
    type Out = Parcel;

    fn run(&mut self, out: &mut Outlet<Parcel>) -> Result<(), StageError> {
        for number in 0..self.count {
            step(&self.trap)?;
            out.send(Parcel {
                source: self.source,
                number,
            })?;
        }
        Ok(())
    }
}

/// Passes on at once, or gathers and flushes.
struct Passer {
    gathers: bool,
    held: Vec<Parcel>,
    trap: Option<Trap>,
}

impl Transform for Passer {
    type In = Parcel;
    type Out = Parcel;

    fn apply(&mut self, message: Parcel, out: &mut Outlet<Parcel>) -> Result<(), StageError> {
        step(&self.trap)?;
        match self.gathers {
            true => {
                self.held.push(message);
                Ok(())
            }
            false => out.send(message),
        }
    }

    fn idle(&mut self, out: &mut Outlet<Parcel>) -> Result<(), StageError> {
        self.held.drain(..).try_for_each(|parcel| out.send(parcel))
    }

    fn finish(&mut self, out: &mut Outlet<Parcel>) -> Result<(), StageError> {
        self.idle(out)
    }
}

/// Several passers that share one input.
struct Passers;

impl Kind for Passers {
    type Config = Vec<Passer>;
    type Ports = (InputPort<Parcel>, OutputPort<Parcel>);

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, _: Option<&Vec<Passer>>, ports: &mut Declare<'_>) -> Self::Ports {
        (
            ports.input("in"),
            ports.output("out", Properties::default()),
        )
    }

    fn open(
        &self,
        workers: Vec<Passer>,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        workers
            .into_iter()
            .try_for_each(|worker| stage.transform(&input, &out, |_| Ok(worker)))
    }
}

#[derive(Default)]
struct Seen {
    parcels: Vec<Parcel>,
    verdicts: Vec<Outcome>,
}

struct Receiver {
    seen: Arc<Mutex<Seen>>,
    trap: Option<Trap>,
}

impl Sink for Receiver {
    type In = Parcel;

    fn write(&mut self, message: Parcel, _: &Errors) -> Result<(), StageError> {
        step(&self.trap)?;
        self.seen.lock().unwrap().parcels.push(message);
        Ok(())
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.seen.lock().unwrap().verdicts.push(verdict.outcome);
        Ok(())
    }
}

/// How often each source's messages arrive: once for each way.
type Ways = BTreeMap<u64, u64>;

struct Graph {
    builder: Builder,
    cancel: CancelHandle,
    mishap: Option<Mishap>,
    sprung: Arc<AtomicU64>,
    sinks: Vec<(Arc<Mutex<Seen>>, Ways)>,
    counts: Vec<u64>,
}

fn random_graph(seed: u64) -> Graph {
    let mut random = Random::new(seed);
    let mut builder = Builder::new(format!("stress {seed}"));
    let (cancel, sprung) = (CancelHandle::new(), Arc::new(AtomicU64::new(0)));
    let mishap = match random.below(6) {
        0 => Some(Mishap::Panic),
        1 => Some(Mishap::Error),
        2 => Some(Mishap::Cancel),
        3 => Some(Mishap::Enough),
        _ => None,
    };
    let (sources, transforms) = (1 + random.below(3), random.below(5));
    let unlucky = random.below(sources + transforms + 2);
    let at = random.below(60);
    let trap = |place: u64| {
        let mishap = mishap.filter(|_| place == unlucky)?;
        Some(Trap {
            mishap,
            at,
            seen: Arc::default(),
            cancel: cancel.clone(),
            sprung: Arc::clone(&sprung),
        })
    };

    let mut outputs: Vec<(StageRef, Ways, bool)> = Vec::new();
    let mut counts = Vec::new();
    for source in 0..sources {
        let count = random.below(120);
        counts.push(count);
        let sender = Sender {
            source,
            count,
            trap: trap(source),
        };
        let stage = builder.source(&format!("source{source}"), sender).done();
        outputs.push((stage, Ways::from([(source, 1)]), false));
    }
    // Reads one to three of what is there, those first that nobody reads yet, as long as any may be left over.
    let pick = |random: &mut Random, outputs: &mut Vec<(StageRef, Ways, bool)>, all: bool| {
        let count = 1 + random.below(3).min(outputs.len() as u64 - 1);
        let (mut picked, mut ways) = (Vec::new(), Ways::new());
        for at in 0..outputs.len() {
            let unread = !outputs[at].2;
            let wanted = random.one_in(2) && (picked.len() as u64) < count;
            if wanted || (unread && all) || (at + 1 == outputs.len() && picked.is_empty()) {
                let (stage, from, read) = &mut outputs[at];
                *read = true;
                picked.push(stage.clone());
                for (source, times) in from {
                    *ways.entry(*source).or_default() += *times;
                }
            }
        }
        (picked, ways)
    };
    for number in 0..transforms {
        let (inputs, ways) = pick(&mut random, &mut outputs, false);
        let threads = 1 + random.below(3);
        let trap = trap(sources + number);
        let gathers = random.one_in(3);
        let passers = (0..threads).map(|_| Passer {
            gathers,
            held: Vec::new(),
            trap: trap.clone(),
        });
        let mut stage = builder
            .stage(&format!("pass{number}"), Passers, passers.collect())
            .capacity(1 + random.below(4) as usize)
            .capacity_bytes(1 + random.below(200) as usize);
        for input in &inputs {
            stage = stage.reads(input);
        }
        outputs.push((stage.done(), ways, false));
    }
    let mut sinks = Vec::new();
    for number in 0..2 {
        // The second takes all that is left.
        let (inputs, ways) = pick(&mut random, &mut outputs, number == 1);
        let seen = Arc::default();
        let receiver = Receiver {
            seen: Arc::clone(&seen),
            trap: trap(sources + transforms + number),
        };
        let mut stage = builder
            .sink(&format!("sink{number}"), receiver)
            .capacity(1 + random.below(4) as usize)
            .capacity_bytes(1 + random.below(200) as usize);
        for input in &inputs {
            stage = stage.reads(input);
        }
        let _ = stage;
        sinks.push((seen, ways));
    }
    Graph {
        builder,
        cancel,
        mishap,
        sprung,
        sinks,
        counts,
    }
}

fn check(graph: &GraphResult, seed: u64) {
    let report = &graph.report;
    let case = format!("seed {seed}: {:?}: {:?}", report.outcome, report.cause);
    match graph.mishap {
        Some(Mishap::Panic | Mishap::Error) => {
            assert_eq!(report.outcome, Outcome::Failed, "{case}");
            assert_eq!(report.fault.as_ref().unwrap().message, "trapped", "{case}");
        }
        // It may have come when there was nothing left to do.
        Some(Mishap::Cancel) => assert!(report.fault.is_none(), "{case}"),
        Some(Mishap::Enough) | None => assert_eq!(report.outcome, Outcome::Complete, "{case}"),
    }
    for (seen, ways) in &graph.sinks {
        let mut seen = seen.lock().unwrap();
        let published = seen.verdicts.iter().any(|verdict| verdict.publishes());
        assert_eq!(
            published,
            report.outcome == Outcome::Complete,
            "{case}: {:?}",
            seen.verdicts
        );
        let mut expected: Vec<Parcel> = Vec::new();
        for (&source, &times) in ways {
            for number in 0..graph.counts[source as usize] {
                let parcel = Parcel { source, number };
                expected.extend(std::iter::repeat_n(parcel, times as usize));
            }
        }
        expected.sort_unstable();
        seen.parcels.sort_unstable();
        if report.outcome == Outcome::Complete && graph.mishap != Some(Mishap::Enough) {
            assert_eq!(seen.parcels, expected, "{case}");
        } else {
            // Never anything made up or twice.
            let mut rest = expected.into_iter();
            for parcel in &seen.parcels {
                assert!(rest.any(|other| other == *parcel), "{case}: {parcel:?}");
            }
        }
    }
    for stage in &report.stages {
        let times = [&stage.service, &stage.wait, &stage.blocked];
        let total: f64 = times.iter().map(|latency| latency.total_seconds).sum();
        let available = report.elapsed_seconds * stage.threads as f64;
        assert!(total <= available + 1e-6, "{case}: {stage:?}");
    }
}

struct GraphResult {
    report: RunReport,
    mishap: Option<Mishap>,
    sinks: Vec<(Arc<Mutex<Seen>>, Ways)>,
    counts: Vec<u64>,
}

fn run(seed: u64) {
    let graph = random_graph(seed);
    let job = match graph.builder.build() {
        Ok(job) => job,
        Err(problems) => panic!("seed {seed}: {:?}", problems.iter().collect::<Vec<_>>()),
    };
    let report = job.start(&graph.cancel).wait();
    let result = GraphResult {
        report,
        mishap: graph
            .mishap
            .filter(|_| graph.sprung.load(Ordering::SeqCst) > 0),
        sinks: graph.sinks,
        counts: graph.counts,
    };
    check(&result, seed);
}

/// The threads of this process, where the system tells.
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// The one test of this process, so that its threads can be counted.
#[test]
fn random_graphs_with_random_faults_end_and_never_pass_for_complete() {
    let seeds: Vec<u64> = match std::env::var("STATLINE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap(); REPEATS as usize],
        Err(_) => (0..GRAPHS).collect(),
    };
    let (progress, watched) = mpsc::channel();
    let watchdog = thread::spawn(move || {
        let mut at = None;
        loop {
            match watched.recv_timeout(Duration::from_secs(20)) {
                Ok(seed) => at = Some(seed),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // Nothing else would get past threads that hang.
                    eprintln!("the graph of seed {at:?} hangs");
                    std::process::abort();
                }
            }
        }
    });
    let before = threads();
    for seed in seeds {
        progress.send(seed).unwrap();
        run(seed);
        // A joined thread may be listed a moment longer.
        let patience = Instant::now() + Duration::from_secs(10);
        while threads() != before && Instant::now() < patience {
            thread::yield_now();
        }
        assert_eq!(threads(), before, "seed {seed} left threads behind");
    }
    drop(progress);
    watchdog.join().unwrap();
}
