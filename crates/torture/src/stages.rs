//! T10: stages that panic, fail, cancel, have enough or block, at every message up to the fiftieth.
//!
//! Jobs of mock stages: a source, a transform, two sinks. Whatever one of them does, the run must end, name the stage
//! that began it, and publish nothing unless it finished; and no sink may have seen anything but a prefix.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use statline_pipeline::{
    Builder, CancelHandle, Errors, FaultKind, Outcome, Outlet, Period, PipelineSettings, RunReport,
    Sink, Source, StageError, Transform, Verdict,
};

use crate::oracle::{Findings, Oracle};
use crate::suite::{Broken, FAMILY, Part, Suite};

/// Messages that a source sends, unless something happens.
const MESSAGES: u64 = 60;

/// Something happens at each message up to this one.
const LAST: u64 = 50;

const PATIENCE: Duration = Duration::from_secs(20);

/// How long a stage that blocks is waited for.
const STOP: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Panic,
    Fail,
    Cancel,
    Enough,
    Block,
}

const DEEDS: [Deed; 5] = [
    Deed::Panic,
    Deed::Fail,
    Deed::Cancel,
    Deed::Enough,
    Deed::Block,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Source,
    Transform,
    Sink,
    /// After the last message, when results are made durable.
    Prepare,
}

const PLACES: [Place; 4] = [Place::Source, Place::Transform, Place::Sink, Place::Prepare];

/// The number of the case that runs the schedules.
const SCHEDULES: u64 = FAMILY;

/// Messages that a queue holds.
const CAPACITIES: [usize; 3] = [1, 2, 16];

/// What happens in one case.
#[derive(Clone)]
struct Plan {
    deed: Deed,
    place: Place,
    at: u64,
    cancel: CancelHandle,
    /// Told when a stage is about to block.
    blocked: Sender<()>,
    /// Whoever blocks ends when the other side of this goes.
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Plan {
    fn meets(&self, place: Place, number: u64) -> Result<(), StageError> {
        if self.place != place || self.at != number {
            return Ok(());
        }
        match self.deed {
            Deed::Panic => panic!("as planned"),
            Deed::Fail => Err(StageError::failed("as planned")),
            Deed::Enough => Err(StageError::ENOUGH),
            Deed::Cancel => {
                self.cancel.cancel();
                Ok(())
            }
            Deed::Block => {
                let _ = self.blocked.send(());
                let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = gate.recv();
                Ok(())
            }
        }
    }
}

struct Numbers(Plan);

impl Source for Numbers {
    type Out = u64;

    fn run(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
        for number in 0..MESSAGES {
            self.0.meets(Place::Source, number)?;
            out.send(number)?;
        }
        Ok(())
    }
}

struct PassOn(Plan, u64);

impl Transform for PassOn {
    type In = u64;
    type Out = u64;

    fn apply(&mut self, message: u64, out: &mut Outlet<u64>) -> Result<(), StageError> {
        self.0.meets(Place::Transform, self.1)?;
        self.1 += 1;
        out.send(message)
    }
}

/// What a sink saw.
#[derive(Clone, Default)]
struct Witness {
    messages: Arc<Mutex<Vec<u64>>>,
    /// One more than the outcome that was published, as a number; 0 for nothing.
    published: Arc<AtomicU64>,
}

struct Take {
    plan: Option<Plan>,
    seen: u64,
    witness: Witness,
}

impl Sink for Take {
    type In = u64;

    fn write(&mut self, message: u64, _: &Errors) -> Result<(), StageError> {
        if let Some(plan) = &self.plan {
            plan.meets(Place::Sink, self.seen)?;
        }
        self.seen += 1;
        let mut messages = self.witness.messages.lock();
        if let Ok(messages) = &mut messages {
            messages.push(message);
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        match &self.plan {
            Some(plan) => plan.meets(Place::Prepare, plan.at),
            None => Ok(()),
        }
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        let publishes = u64::from(verdict.outcome.publishes());
        self.witness
            .published
            .fetch_add(publishes, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    // The panics are as planned.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let rounds = suite.size(1, 10);
    let cases = DEEDS.len() * PLACES.len() * CAPACITIES.len() * (LAST as usize + 1) * rounds;
    // They wait more than they work.
    suite.share(8, |thread, threads| {
        for case in (0..cases as u64).filter(|case| case % threads == thread) {
            suite.case(
                Part::Stages,
                case,
                &[
                    Oracle::Loss,
                    Oracle::Duplicate,
                    Oracle::Lie,
                    Oracle::Bound,
                    Oracle::Output,
                ],
                |findings| one(case as usize, findings),
            );
        }
    });
    std::panic::set_hook(hook);
    if suite.full && suite.wants(SCHEDULES) {
        schedules(suite)?;
    }
    Ok(())
}

/// The channel code under random schedules, which is a test of `statline-pipeline` in a build of its own.
fn schedules(suite: &Suite) -> Result<(), Broken> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let status = Command::new(cargo)
        .args([
            "test",
            "--quiet",
            "--profile",
            "schedules",
            "-p",
            "statline-pipeline",
        ])
        .args(["--lib", "schedules", "--manifest-path"])
        .arg(manifest)
        .env("RUSTFLAGS", "--cfg shuttle")
        // Each schedule makes and drops large histograms, whose memory is better kept.
        .env("MALLOC_TRIM_THRESHOLD_", "1000000000")
        .env("MALLOC_TOP_PAD_", "33554432")
        .stdout(Stdio::null())
        .status()?;
    let oracles = [Oracle::Loss, Oracle::Lie, Oracle::Bound];
    suite.case(Part::Stages, SCHEDULES, &oracles, |findings| {
        findings.check(Oracle::Lie, status.success(), || {
            "a schedule of the channel code goes wrong".into()
        });
        Ok(())
    });
    Ok(())
}

fn one(case: usize, findings: &mut Findings) -> Result<(), Broken> {
    let deed = DEEDS[case % DEEDS.len()];
    let case = case / DEEDS.len();
    let place = PLACES[case % PLACES.len()];
    let case = case / PLACES.len();
    let capacity = CAPACITIES[case % CAPACITIES.len()];
    let at = (case / CAPACITIES.len()) as u64 % (LAST + 1);
    if place == Place::Prepare && matches!(deed, Deed::Enough | Deed::Cancel) {
        // There is nothing left to have enough of, and nothing that must be cancelled still.
        findings.void = true;
        return Ok(());
    }
    let told = format!("{deed:?} at message {at} of {place:?}, queues of {capacity}");
    let cancel = CancelHandle::new();
    let (blocked, is_blocked) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let plan = Plan {
        deed,
        place,
        at,
        cancel: cancel.clone(),
        blocked,
        gate: Arc::new(Mutex::new(gate)),
    };
    let mut settings = PipelineSettings::default();
    settings.capacity = capacity;
    settings.stop_timeout = Period::new(STOP);
    let mut job = Builder::new("torture").with_settings(settings);
    let source = job.source("source", Numbers(plan.clone())).done();
    let transform = PassOn(plan.clone(), 0);
    let transform = job.transform("transform", transform).reads(&source).done();
    let (faulty, sound) = (Witness::default(), Witness::default());
    let sink = |plan: Option<Plan>, witness: &Witness| Take {
        plan,
        seen: 0,
        witness: witness.clone(),
    };
    let _ = job
        .sink("sink", sink(Some(plan), &faulty))
        .reads(&transform);
    let _ = job.sink("other", sink(None, &sound)).reads(&transform);
    let job = job
        .build()
        .map_err(|problems| format!("{:?}", problems.iter().collect::<Vec<_>>()))?;
    let run = job.start(&cancel);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens if it took too long.
        let _ = done.send(run.wait());
    });
    if deed == Deed::Block && is_blocked.recv_timeout(PATIENCE).is_ok() {
        cancel.cancel();
    }
    let Ok(report) = ended.recv_timeout(PATIENCE) else {
        findings.add(Oracle::Bound, format!("the run does not end: {told}"));
        return Ok(());
    };
    drop(open);
    judge(deed, place, &report, [&faulty, &sound], findings);
    for (_, violation) in &mut findings.violations {
        violation.push_str(&format!(" [{told}]"));
    }
    Ok(())
}

fn judge(
    deed: Deed,
    place: Place,
    report: &RunReport,
    sinks: [&Witness; 2],
    findings: &mut Findings,
) {
    let expected = match (deed, place) {
        (Deed::Panic | Deed::Fail, _) => Outcome::Failed,
        (Deed::Cancel | Deed::Block, _) => Outcome::Cancelled,
        (Deed::Enough, _) => Outcome::Complete,
    };
    findings.check(Oracle::Lie, report.outcome == expected, || {
        let cause = report.cause.as_deref().unwrap_or_default();
        format!("outcome {} instead of {expected}: {cause}", report.outcome)
    });
    let stage = match place {
        Place::Source => "source",
        Place::Transform => "transform",
        Place::Sink | Place::Prepare => "sink",
    };
    let fault = report
        .fault
        .as_ref()
        .map(|fault| (fault.stage.as_str(), fault.kind));
    let kind = match deed {
        Deed::Panic => Some((stage, FaultKind::Panic)),
        Deed::Fail => Some((stage, FaultKind::Error)),
        _ => None,
    };
    findings.check(Oracle::Lie, fault == kind, || {
        format!("the fault on record is {fault:?}, and it was {kind:?}")
    });
    if deed == Deed::Block {
        let named = report.stalls.iter().any(|stall| stall.stage == stage);
        findings.check(Oracle::Lie, named, || {
            format!("the thread that is left is not named: {:?}", report.stalls)
        });
    }
    for sink in sinks {
        let published = sink.published.load(Ordering::SeqCst);
        let right = published == u64::from(expected.publishes());
        findings.check(Oracle::Output, right, || {
            format!("published {published} times in a run that ended {expected}")
        });
        let messages = sink.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = messages.iter().copied().eq(0..messages.len() as u64);
        findings.check(Oracle::Duplicate, prefix, || {
            format!("a sink saw {messages:?}")
        });
    }
    // Who has enough takes nothing from others.
    if (deed, place) == (Deed::Enough, Place::Sink) {
        let other = sinks[1]
            .messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        findings.check(Oracle::Loss, other.len() as u64 == MESSAGES, || {
            format!("the other sink saw {} messages of {MESSAGES}", other.len())
        });
    }
}
