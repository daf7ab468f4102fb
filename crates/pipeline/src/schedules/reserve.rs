//! Workers in reserve, called up at any moment by those who work and by somebody else, while the stage ends.
//!
//! A source of one worker and a stage of one worker, both with two in reserve, and a sink. Whoever is called up stands on
//! the ledgers in time: the sink gets everything once, and ends after the last.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shuttle::thread::{self, JoinHandle};

use super::{Item, below, explore, some_capacity};
use crate::crew::PostId;
use crate::edge::Ledger;
use crate::fault::{Fault, Health};
use crate::opening::Patience;
use crate::reserve::{Recruiter, Reserve};
use crate::stall::Stalls;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::clock;
use crate::testing::Collected;
use crate::wiring::{open, wire};
use crate::worker::{Ending, Worker, work};
use crate::{
    Builder, CancelHandle, Context, Declare, Inlet, InputPort, Job, Kind, Opening, Outlet,
    OutputPort, Properties, StageError, Threading, Watch, Watched,
};

const ITEMS: usize = 3;
const IN_RESERVE: usize = 2;

/// Sends what nobody has sent yet, or passes on what comes in; calls others up whenever it likes.
struct Hand {
    input: Option<Inlet<Item>>,
    out: Outlet<Item>,
    next: Arc<AtomicUsize>,
    context: Context,
}

impl Hand {
    fn item(&mut self) -> Result<Option<Item>, StageError> {
        if let Some(input) = &mut self.input {
            return input.recv();
        }
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        Ok((number < ITEMS).then_some(Item {
            source: 0,
            number,
            weight: 10,
        }))
    }
}

impl Watched for Hand {
    fn run(hand: &mut Watch<Hand>) -> Result<(), StageError> {
        loop {
            if below(2) == 0 {
                hand.context.call_up();
            }
            let Some(item) = hand.item()? else {
                return Ok(());
            };
            hand.out.send(item)?;
        }
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        ("nothing", Vec::new())
    }

    fn give_up(&mut self, _: u64) {}
}

/// A kind of hands: with an input, or a source.
struct Hands {
    reads: bool,
}

impl Kind for Hands {
    type Config = ();
    type Ports = (Option<InputPort<Item>>, OutputPort<Item>);

    fn threading(&self) -> Threading {
        Threading::Adaptive
    }

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
        let input = self.reads.then(|| ports.input("in"));
        (input, ports.output("out", Properties::default()))
    }

    fn open(
        &self,
        (): (),
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        let next = Arc::new(AtomicUsize::new(0));
        let hand = move |ends: &mut crate::Endpoints<'_>| {
            Ok(Hand {
                input: input.map(|input| ends.input(&input)),
                out: ends.output(&out),
                next: Arc::clone(&next),
                context: context.clone(),
            })
        };
        stage.watched(hand.clone())?;
        for _ in 0..IN_RESERVE {
            stage.watched_in_reserve(hand.clone());
        }
        Ok(())
    }
}

/// The threads of a schedule. Now and then there is none for who is called up.
struct Threads {
    health: Arc<Health>,
    stage: usize,
    name: &'static str,
    threads: Arc<Mutex<Vec<JoinHandle<Ending>>>>,
}

impl Threads {
    fn spawn(&self, worker: Worker) {
        let (name, health) = (self.name, Arc::clone(&self.health));
        // Nobody is replaced here, so each has an ending.
        let thread = thread::spawn(move || work(worker, name, &health).unwrap());
        self.threads.lock().unwrap().push(thread);
    }
}

impl Recruiter for Threads {
    fn announce(&self) -> PostId {
        PostId {
            stage: self.stage,
            worker: 0,
        }
    }

    fn start(&self, _: PostId, worker: Box<Worker>) -> Result<(), Box<Worker>> {
        match below(4) {
            0 => Err(worker),
            _ => {
                self.spawn(*worker);
                Ok(())
            }
        }
    }

    fn withdraw(&self, _: PostId, ending: Ending) {
        assert_eq!(ending, Ending::Well);
    }
}

/// How a job went.
struct Outcome {
    endings: Vec<Ending>,
    fault: Option<Fault>,
    received: Vec<usize>,
    ledgers: Vec<Arc<Ledger>>,
    reserves: Vec<Arc<Reserve>>,
}

fn job(collected: &Collected<Item>) -> Job {
    let mut builder = Builder::new("schedules");
    let capacity = some_capacity();
    let source = builder.stage("source", Hands { reads: false }, ()).done();
    let stage = builder
        .stage("stage", Hands { reads: true }, ())
        .capacity(capacity.messages)
        .capacity_bytes(capacity.bytes)
        .reads(&source)
        .done();
    let _ = builder
        .sink("sink", collected.clone())
        .capacity(capacity.messages)
        .reads(&stage);
    builder.build().unwrap()
}

/// Runs a job as `Run` does; somebody outside it calls up as well.
fn run(cancel: &CancelHandle, outsider: impl FnOnce() + Send + 'static) -> Outcome {
    let collected = Collected::new();
    let job = job(&collected);
    let health = Arc::new(Health::new(cancel.clone()));
    let (edges, monitored) = wire(&job.graph);
    let patience = Patience {
        began: Instant::now(),
        stall_after: Duration::from_secs(3600),
        left: &Cell::new(Duration::ZERO),
        stalls: &Stalls::default(),
    };
    let opened = open(job.graph, &edges, &health, false, patience);
    drop(edges);
    let started = Arc::new(Mutex::new(Vec::new()));
    let threads = |stage| Threads {
        health: Arc::clone(&health),
        stage,
        name: ["source", "stage", "sink"][stage],
        threads: Arc::clone(&started),
    };
    let reserves = opened.reserves.into_iter().map(|(stage, reserve)| {
        reserve.open(Arc::new(threads(stage)));
        reserve
    });
    let reserves: Vec<Arc<Reserve>> = reserves.collect();
    for (stage, worker) in opened.workers {
        threads(stage).spawn(worker);
    }
    let called = reserves.clone();
    let outside = thread::spawn(move || {
        for _ in 0..below(3) {
            called[below(called.len())].call_up();
        }
        outsider();
    });
    outside.join().unwrap();
    let mut endings = Vec::new();
    // Those who are joined may have called up others meanwhile.
    loop {
        let Some(thread) = started.lock().unwrap().pop() else {
            break;
        };
        endings.push(thread.join().unwrap());
    }
    let mut received: Vec<usize> = collected.items().iter().map(|item| item.number).collect();
    received.sort_unstable();
    Outcome {
        endings,
        fault: health.fault(),
        received,
        ledgers: monitored.into_iter().map(|edge| edge.ledger).collect(),
        reserves,
    }
}

#[test]
fn whoever_is_called_up_in_time_or_not_the_sink_gets_everything_once() {
    explore(|| {
        clock::without(|| {
            let outcome = run(&CancelHandle::new(), || {});
            assert_eq!(outcome.fault, None);
            assert!(outcome.endings.iter().all(|end| *end == Ending::Well));
            assert_eq!(outcome.received, (0..ITEMS).collect::<Vec<_>>());
            for ledger in &outcome.ledgers {
                assert_eq!(ledger.figures().sent, ledger.figures().received);
                assert!(ledger.all_ended());
            }
            assert!(outcome.reserves.iter().all(|reserve| !reserve.call_up()));
        });
    });
}

#[test]
fn a_run_that_is_cancelled_meanwhile_ends_and_nobody_takes_a_part_for_the_whole() {
    explore(|| {
        clock::with(|| {
            let cancel = CancelHandle::new();
            let handle = cancel.clone();
            let outcome = run(&cancel, move || handle.cancel());
            assert_eq!(outcome.fault, None);
            let all_well = outcome.endings.iter().all(|end| *end == Ending::Well);
            assert!(!all_well || outcome.received == (0..ITEMS).collect::<Vec<_>>());
            assert!(outcome.reserves.iter().all(|reserve| !reserve.call_up()));
        });
    });
}
