//! Whole workers, from the opening of a small job to the end of their threads: the ports, the ledgers, `work`, and what
//! is put on record when something goes wrong anywhere.
//!
//! Two sources feed a stage of two workers, which feeds two sinks. The graph, its channels and its workers are made as a
//! run makes them; only the threads are shuttle's.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shuttle::thread;

use super::{Item, below, explore, items, sorted};
use crate::edge::Ledger;
use crate::fault::{Fault, FaultKind, Health};
use crate::opening::Patience;
use crate::stall::Stalls;
use crate::sync::clock;
use crate::wiring::{open, wire};
use crate::worker::{Ending, work};
use crate::{
    Actor, Builder, CancelHandle, Declare, Inlet, InputPort, Job, Kind, Opening, Outlet,
    OutputPort, Properties, StageError, StageRef, Stop, Threading,
};

const EACH: usize = 2;
const SOURCES: [&str; 2] = ["left", "right"];
const SINKS: [&str; 2] = ["first", "second"];
const STAGES: [&str; 5] = ["left", "right", "middle", "first", "second"];

/// What goes wrong in the first worker of a stage when it has had so many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// It panics.
    Panic,
    /// It returns an error.
    Error,
    /// It ends before its input has.
    Leave,
    /// It claims that it was told to stop.
    Lie,
    /// It panics when it is dropped, having done all it had to.
    Drop,
    /// It wants no more.
    Enough,
    /// Somebody cancels the run.
    Cancel,
}

impl Mishap {
    /// What of it goes on record if nothing else went wrong before.
    fn fault(self) -> Option<FaultKind> {
        match self {
            Mishap::Panic | Mishap::Drop => Some(FaultKind::Panic),
            Mishap::Error => Some(FaultKind::Error),
            Mishap::Leave | Mishap::Lie => Some(FaultKind::Contract),
            Mishap::Enough | Mishap::Cancel => None,
        }
    }
}

/// A mishap in its place.
#[derive(Clone)]
struct Trap {
    stage: &'static str,
    mishap: Mishap,
    at: usize,
    cancel: CancelHandle,
    sprung: Arc<AtomicBool>,
}

/// What all stages of a job consist of.
struct Config {
    name: &'static str,
    items: Vec<Item>,
    /// Of the first worker.
    traps: Vec<Trap>,
    /// Its author goes on as if nothing had happened when a port says that the run is stopping.
    swallows: bool,
    received: Arc<Mutex<Vec<Item>>>,
    truncated: Arc<AtomicBool>,
}

/// One kind for all: ports by name.
struct Station;

impl Kind for Station {
    type Config = Config;
    type Ports = (Option<InputPort<Item>>, Option<OutputPort<Item>>);

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, config: Option<&Config>, ports: &mut Declare<'_>) -> Self::Ports {
        let name = config.unwrap().name;
        let input = (!SOURCES.contains(&name)).then(|| ports.input("in"));
        let output = (!SINKS.contains(&name)).then(|| ports.output("out", Properties::default()));
        (input, output)
    }

    fn open(
        &self,
        config: Config,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        for worker in 0..stage.threads().resolve() {
            stage.worker(|ends| {
                Ok(Hand {
                    input: input.as_ref().map(|input| ends.input(input)),
                    output: output.as_ref().map(|output| ends.output(output)),
                    items: config.items.clone(),
                    traps: match worker {
                        0 => config.traps.clone(),
                        _ => Vec::new(),
                    },
                    swallows: config.swallows,
                    received: Arc::clone(&config.received),
                    truncated: Arc::clone(&config.truncated),
                    handled: 0,
                })
            })?;
        }
        Ok(())
    }
}

struct Hand {
    input: Option<Inlet<Item>>,
    output: Option<Outlet<Item>>,
    items: Vec<Item>,
    traps: Vec<Trap>,
    swallows: bool,
    received: Arc<Mutex<Vec<Item>>>,
    truncated: Arc<AtomicBool>,
    handled: usize,
}

impl Hand {
    fn next(&mut self) -> Result<Option<Item>, StageError> {
        match &mut self.input {
            Some(input) => input.recv(),
            None => Ok(self.items.get(self.handled).copied()),
        }
    }

    /// Whether a trap of this sort is due.
    fn springs(&self, due: impl Fn(&Trap) -> bool) -> Option<Mishap> {
        let trap = self.traps.iter().find(|trap| due(trap))?;
        trap.sprung.store(true, Ordering::SeqCst);
        Some(trap.mishap)
    }

    fn handle_all(&mut self) -> Result<(), StageError> {
        loop {
            let handled = self.handled;
            let due = |trap: &Trap| trap.at == handled && trap.mishap != Mishap::Drop;
            match self.springs(due) {
                // Unlike `panic!`, this does not print the schedule as if it had failed.
                Some(Mishap::Panic) => resume_unwind(Box::new("trapped")),
                Some(Mishap::Error) => return Err(StageError::failed("trapped")),
                Some(Mishap::Leave) => return Ok(()),
                Some(Mishap::Lie) => return Err(StageError::Stopped(Stop::Cancelled)),
                Some(Mishap::Enough) => return Err(StageError::ENOUGH),
                Some(Mishap::Cancel) => self.traps[0].cancel.cancel(),
                Some(Mishap::Drop) | None => {}
            }
            let Some(item) = self.next()? else {
                return Ok(());
            };
            match &self.output {
                Some(output) => output.send(item)?,
                None => self.received.lock().unwrap().push(item),
            }
            self.handled += 1;
        }
    }
}

impl Actor for Hand {
    fn run(&mut self) -> Result<(), StageError> {
        let outcome = self.handle_all();
        if let Err(StageError::Stopped(Stop::Truncated)) = outcome {
            self.truncated.store(true, Ordering::SeqCst);
        }
        match outcome {
            Err(StageError::Stopped(stop)) if self.swallows && stop != Stop::Enough => Ok(()),
            outcome => outcome,
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if self.springs(|trap| trap.mishap == Mishap::Drop).is_some() {
            resume_unwind(Box::new("trapped"));
        }
    }
}

/// How a job went.
struct Outcome {
    fault: Option<Fault>,
    cancelled: bool,
    offered: Vec<Item>,
    /// What each sink got, in the order in which it came.
    received: [Vec<Item>; 2],
    /// Some worker saw a channel close before anything on record said why.
    truncated: bool,
    /// How each worker of each stage ended.
    endings: Vec<(&'static str, Ending)>,
    ledgers: Vec<Arc<Ledger>>,
}

fn job(
    traps: &[Trap],
    swallows: Option<&str>,
    offered: &mut Vec<Item>,
    received: &[Arc<Mutex<Vec<Item>>>; 2],
    truncated: &Arc<AtomicBool>,
) -> Job {
    let mut builder = Builder::new("schedules");
    let mut stage = |name: &'static str, sources: &[&StageRef]| {
        let source = SOURCES.iter().position(|source| *source == name);
        let items = source.map_or_else(Vec::new, |source| items(source, EACH));
        offered.extend(&items);
        let sink = usize::from(name == SINKS[1]);
        let config = Config {
            name,
            items,
            traps: (traps.iter().filter(|trap| trap.stage == name).cloned()).collect(),
            swallows: swallows == Some(name),
            received: Arc::clone(&received[sink]),
            truncated: Arc::clone(truncated),
        };
        let capacity = super::some_capacity();
        let mut stage = builder
            .stage(name, Station, config)
            .threads(if name == "middle" { 2 } else { 1 })
            .capacity(capacity.messages)
            .capacity_bytes(capacity.bytes);
        for source in sources {
            stage = stage.reads(*source);
        }
        stage.done()
    };
    let left = stage("left", &[]);
    let right = stage("right", &[]);
    let middle = stage("middle", &[&left, &right]);
    for sink in SINKS {
        stage(sink, &[&middle]);
    }
    builder.build().unwrap()
}

/// Runs a job with these mishaps, as `Run` does.
fn run(traps: &[Trap], swallows: Option<&str>, cancel: &CancelHandle) -> Outcome {
    let received = [Arc::default(), Arc::default()];
    let mut offered = Vec::new();
    let truncated = Arc::default();
    let job = job(traps, swallows, &mut offered, &received, &truncated);
    let health = Arc::new(Health::new(cancel.clone()));
    let (edges, monitored) = wire(&job.graph);
    let stalls = Stalls::default();
    let patience = Patience {
        began: Instant::now(),
        stall_after: Duration::from_secs(3600),
        left: &Cell::new(Duration::ZERO),
        stalls: &stalls,
    };
    let opened = open(job.graph, &edges, &health, false, patience);
    drop(edges);
    let names = opened.stages.iter().map(|stage| {
        let named = STAGES.iter().find(|name| **name == stage.name);
        *named.unwrap()
    });
    let names: Vec<&'static str> = names.collect();
    let threads = opened.workers.into_iter().map(|(stage, worker)| {
        let (name, health) = (names[stage], Arc::clone(&health));
        (name, thread::spawn(move || work(worker, name, &health)))
    });
    let threads: Vec<_> = threads.collect();
    let endings = threads.into_iter();
    // Nobody is replaced here, so each has an ending.
    let endings = endings.map(|(name, thread)| (name, thread.join().unwrap().unwrap()));
    Outcome {
        endings: endings.collect(),
        fault: health.fault(),
        cancelled: cancel.is_cancelled(),
        offered: sorted(offered),
        truncated: truncated.load(Ordering::SeqCst),
        received: received.map(|items| items.lock().unwrap().clone()),
        ledgers: monitored.into_iter().map(|edge| edge.ledger).collect(),
    }
}

impl Outcome {
    fn ended_well(&self, stage: &str) -> bool {
        let mut workers = self.endings.iter().filter(|(name, _)| *name == stage);
        workers.all(|(_, ending)| *ending == Ending::Well)
    }

    fn all_well(&self) -> bool {
        STAGES.iter().all(|stage| self.ended_well(stage))
    }

    /// What holds whatever went wrong, as long as nobody had enough before the end.
    fn assert_sound(&self) {
        for (sink, received) in SINKS.iter().zip(&self.received) {
            let received = sorted(received.clone());
            assert!(received.windows(2).all(|pair| pair[0] != pair[1]));
            assert!(received.iter().all(|item| self.offered.contains(item)));
            if self.ended_well(sink) && !self.someone_had_enough() {
                assert_eq!(received, self.offered, "{sink} took a part for the whole");
            }
        }
        assert!(!self.truncated, "the consequence was seen before the cause");
        if !self.all_well() {
            assert!(
                self.fault.is_some() || self.cancelled,
                "nothing says why the run is cut"
            );
        }
        if self.all_well() {
            for ledger in self.ledgers.iter().filter(|ledger| !ledger.is_satisfied()) {
                assert_eq!(ledger.figures().sent, ledger.figures().received);
                assert_eq!(ledger.queued_bytes(), 0);
            }
        }
    }

    fn someone_had_enough(&self) -> bool {
        self.ledgers.iter().any(|ledger| ledger.is_satisfied())
    }
}

fn some_trap(stage: &'static str, mishap: Mishap, cancel: &CancelHandle) -> Trap {
    Trap {
        stage,
        mishap,
        at: below(EACH + 1),
        cancel: cancel.clone(),
        sprung: Arc::default(),
    }
}

fn some_failure() -> (&'static str, Mishap) {
    let failures = [
        Mishap::Panic,
        Mishap::Error,
        Mishap::Leave,
        Mishap::Lie,
        Mishap::Drop,
    ];
    match (STAGES[below(STAGES.len())], failures[below(failures.len())]) {
        // A source that ends early is a short source.
        (source, Mishap::Leave) if SOURCES.contains(&source) => (source, Mishap::Error),
        failure => failure,
    }
}

#[test]
fn without_mishap_every_sink_gets_everything_once_and_nobody_needs_a_timeout() {
    explore(|| {
        clock::without(|| {
            let outcome = run(&[], None, &CancelHandle::new());
            outcome.assert_sound();
            assert!(outcome.all_well() && outcome.fault.is_none());
            assert!(!outcome.someone_had_enough());
        });
    });
}

#[test]
fn one_failure_anywhere_is_the_fault_and_no_sink_takes_a_part_for_the_whole() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let (stage, mishap) = some_failure();
            let trap = some_trap(stage, mishap, &cancel);
            let outcome = run(std::slice::from_ref(&trap), None, &cancel);
            outcome.assert_sound();
            let sprung = trap.sprung.load(Ordering::SeqCst);
            let fault = outcome
                .fault
                .as_ref()
                .map(|fault| (fault.stage.as_str(), fault.kind));
            let expected = sprung.then(|| (stage, mishap.fault().unwrap()));
            assert_eq!(fault, expected);
            // Whoever fails while it is dropped has done its work.
            let cut = sprung && mishap != Mishap::Drop;
            assert!(!cut || !outcome.ended_well(stage));
            assert!(cut || sprung || outcome.all_well());
        });
    });
}

#[test]
fn of_two_failures_and_a_swallowed_stop_the_fault_is_one_of_the_failures() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let traps = [some_failure(), some_failure()]
                .map(|(stage, mishap)| some_trap(stage, mishap, &cancel));
            // Not where it would hide the failure itself.
            let swallows = Some(STAGES[below(STAGES.len())])
                .filter(|stage| traps.iter().all(|trap| trap.stage != *stage));
            let outcome = run(&traps, swallows, &cancel);
            outcome.assert_sound();
            let sprung = traps
                .iter()
                .filter(|trap| trap.sprung.load(Ordering::SeqCst));
            let candidates: Vec<_> = sprung
                .map(|trap| (trap.stage, trap.mishap.fault().unwrap()))
                .collect();
            match &outcome.fault {
                None => assert_eq!(candidates, []),
                Some(fault) => {
                    let fault = (fault.stage.as_str(), fault.kind);
                    assert!(candidates.contains(&fault), "{fault:?} {candidates:?}");
                }
            }
        });
    });
}

#[test]
fn a_cancelled_job_ends_without_a_fault_and_what_ended_well_is_whole() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let stage = STAGES[below(STAGES.len())];
            let trap = some_trap(stage, Mishap::Cancel, &cancel);
            let swallows = STAGES[below(STAGES.len())];
            let outcome = run(&[trap], Some(swallows), &cancel);
            outcome.assert_sound();
            assert_eq!(outcome.fault, None);
        });
    });
}

#[test]
fn a_sink_that_has_enough_leaves_the_other_its_whole() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let trap = some_trap("first", Mishap::Enough, &cancel);
            let outcome = run(std::slice::from_ref(&trap), None, &cancel);
            outcome.assert_sound();
            assert!(outcome.all_well() && outcome.fault.is_none());
            let [first, second] = &outcome.received;
            assert_eq!(first.len(), trap.at.min(2 * EACH));
            assert_eq!(sorted(second.clone()), outcome.offered);
        });
    });
}

#[test]
fn where_all_have_enough_the_whole_job_ends_well() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let traps = match below(2) {
                0 => vec![some_trap("middle", Mishap::Enough, &cancel)],
                _ => SINKS
                    .map(|sink| some_trap(sink, Mishap::Enough, &cancel))
                    .to_vec(),
            };
            let outcome = run(&traps, None, &cancel);
            outcome.assert_sound();
            assert!(outcome.all_well() && outcome.fault.is_none());
        });
    });
}
