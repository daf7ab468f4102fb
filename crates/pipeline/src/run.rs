//! A job on its way: wiring, threads, the end, publishing.
//!
//! One thing must stay true: what is published under a final name was decided on after *every* stage had ended and
//! every sink had prepared.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, RecvTimeoutError};

use crate::edge::Ledger;
use crate::error_record::{ErrorCount, ErrorTally};
use crate::fault::{Fault, FaultKind, Health};
use crate::graph::{Graph, GraphStage};
use crate::meter::StageMeter;
use crate::opening::{Context, Resources, WiredEdge, Wiring, Worker};
use crate::outcome::StageErrors;
use crate::report::{EdgeReport, RunReport, Snapshot, StageReport};
use crate::{
    Actor, CancelHandle, Job, Opening, Outcome, PublishOrder, Publisher, StageError, Stop, Verdict,
};

/// A job that was started.
///
/// Dropping it cancels the run and waits for its threads; nothing is published then, even if all had ended well.
pub struct Run {
    monitor: Monitor,
    job: String,
    run_id: String,
    started: jiff::Timestamp,
    threads: Vec<(usize, JoinHandle<Ending>)>,
    /// Cancels the run when its time is up; says whether it did.
    timer: Option<JoinHandle<bool>>,
    /// It never started, or whoever started it let go of it: then it is cancelled, however well its stages ended.
    abandoned: bool,
    publishers: Vec<(usize, PublishOrder, Box<dyn Publisher>)>,
}

/// How one worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It saw all of its input and delivered all of its output.
    Well,
    /// Its input or output was cut, or it failed.
    Cut,
}

/// Sees a run from outside while it goes on. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    inner: Arc<Monitored>,
}

struct Monitored {
    health: Arc<Health>,
    began: Instant,
    /// How long the run took, once it is over.
    elapsed: OnceLock<Duration>,
    stages: Vec<MonitoredStage>,
    edges: Vec<MonitoredEdge>,
}

struct MonitoredStage {
    name: String,
    kind: String,
    threads: usize,
    meter: Arc<StageMeter>,
    tally: Arc<ErrorTally>,
}

struct MonitoredEdge {
    from: Vec<String>,
    to: String,
    port: &'static str,
    message: &'static str,
    ledger: Arc<Ledger>,
}

impl Monitor {
    /// The figures of all stages now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            elapsed_seconds: self.elapsed().as_secs_f64(),
            stages: self.stages(),
        }
    }

    fn elapsed(&self) -> Duration {
        let over = self.inner.elapsed.get().copied();
        over.unwrap_or_else(|| self.inner.began.elapsed())
    }

    fn stages(&self) -> Vec<StageReport> {
        let elapsed = self.elapsed();
        self.inner
            .stages
            .iter()
            .map(|stage| {
                StageReport::new(
                    &stage.name,
                    &stage.kind,
                    stage.threads,
                    elapsed,
                    &stage.meter,
                    stage.tally.counts(),
                )
            })
            .collect()
    }

    fn edges(&self) -> Vec<EdgeReport> {
        let edges = self.inner.edges.iter();
        edges
            .map(|edge| {
                EdgeReport::new(
                    &edge.from,
                    &edge.to,
                    edge.port,
                    edge.message,
                    edge.ledger.figures(),
                )
            })
            .collect()
    }
}

impl Run {
    pub(crate) fn start(job: Job, cancel: &CancelHandle) -> Run {
        let started = jiff::Timestamp::now();
        let began = Instant::now();
        let health = Arc::new(Health::new(cancel.clone()));
        let (edges, monitored_edges) = wire(&job.graph);
        let opened = open(job.graph, &edges, &health);
        // From here on the stages alone hold the channels' ends, so that channels close when stages end.
        drop(edges);
        let mut run = Run {
            monitor: Monitor {
                inner: Arc::new(Monitored {
                    health: Arc::clone(&health),
                    began,
                    elapsed: OnceLock::new(),
                    stages: opened.stages,
                    edges: monitored_edges,
                }),
            },
            job: job.name,
            run_id: run_id(started),
            started,
            threads: Vec::with_capacity(opened.workers.len()),
            timer: None,
            abandoned: health.stopping(),
            publishers: opened.publishers,
        };
        if run.abandoned {
            for (stage, worker) in opened.workers {
                discard(worker.actor, &run.monitor.inner.stages[stage].name, &health);
            }
            return run;
        }
        // Nothing is sent: the channel closes when the last of its senders goes.
        let (alive, running) = channel::bounded(0);
        for (stage, worker) in opened.workers {
            run.spawn(stage, worker, alive.clone());
        }
        if let Some(limit) = job.settings.max_runtime {
            run.timer = run.start_timer(limit.duration(), running);
        }
        run
    }

    fn spawn(&mut self, stage: usize, worker: Worker, alive: channel::Sender<()>) {
        let inner = Arc::clone(&self.monitor.inner);
        let name = inner.stages[stage].name.clone();
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            let ending = work(worker, &inner.stages[stage].name, &inner.health);
            drop(alive);
            ending
        });
        match thread {
            Ok(thread) => self.threads.push((stage, thread)),
            Err(error) => self.monitor.inner.health.record(Fault {
                stage: name,
                kind: FaultKind::Open,
                message: format!("cannot start a thread: {error}"),
            }),
        }
    }

    fn start_timer(
        &self,
        limit: Duration,
        running: channel::Receiver<()>,
    ) -> Option<JoinHandle<bool>> {
        // A limit beyond what the clock can tell is none.
        let deadline = self.monitor.inner.began.checked_add(limit)?;
        let health = Arc::clone(&self.monitor.inner.health);
        let timer = thread::Builder::new()
            .name("max_runtime".to_owned())
            .spawn(move || {
                let timed_out = running.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout);
                if timed_out {
                    health.stop();
                }
                timed_out
            });
        // Without its timer the run could outlast its limit: better none at all.
        timer
            .inspect_err(|error| {
                self.monitor.inner.health.record(Fault {
                    stage: "max_runtime".to_owned(),
                    kind: FaultKind::Open,
                    message: format!("cannot start a thread: {error}"),
                });
            })
            .ok()
    }

    /// Identifies the run in its report and its outputs.
    pub fn id(&self) -> &str {
        &self.run_id
    }

    /// A view of the run that outlives this value.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Waits until every stage has ended, publishes, and reports.
    pub fn wait(mut self) -> RunReport {
        self.finish()
    }

    fn finish(&mut self) -> RunReport {
        let health = Arc::clone(&self.monitor.inner.health);
        let mut cut = None;
        for (stage, thread) in self.threads.drain(..) {
            // The thread itself catches every panic, so joining cannot fail.
            if thread.join().unwrap_or(Ending::Cut) == Ending::Cut {
                cut.get_or_insert(stage);
            }
        }
        let timed_out = self
            .timer
            .take()
            .is_some_and(|timer| timer.join().unwrap_or(false));
        let elapsed = self.monitor.inner.began.elapsed();
        let elapsed = *self.monitor.inner.elapsed.get_or_init(|| elapsed);
        self.audit(cut);
        let mut verdict = Verdict {
            outcome: self.outcome(cut.is_some()),
            run_id: self.run_id.clone(),
            job: self.job.clone(),
            started: self.started,
            errors: self.errors(),
        };
        self.publish(&mut verdict);
        let cause = match verdict.outcome {
            Outcome::Cancelled if timed_out => Some("the job's max_runtime was reached".to_owned()),
            Outcome::Cancelled => Some("the run was cancelled".to_owned()),
            _ => health.fault().map(|fault| fault.to_string()),
        };
        RunReport::new(
            &verdict,
            elapsed,
            cause,
            health.fault(),
            self.monitor.stages(),
            self.monitor.edges(),
        )
    }

    /// Puts on record what no stage admitted: losses that nobody caused are the framework's own to report.
    fn audit(&self, cut: Option<usize>) {
        let monitored = &self.monitor.inner;
        if let Some(stage) = cut {
            if !monitored.health.stopping() {
                monitored.health.record(Fault {
                    stage: monitored.stages[stage].name.clone(),
                    kind: FaultKind::Contract,
                    message: UNTOLD.to_owned(),
                });
            }
            return;
        }
        if self.abandoned {
            return;
        }
        for edge in &monitored.edges {
            let figures = edge.ledger.figures();
            if !figures.satisfied && figures.sent != figures.received {
                monitored.health.record(Fault {
                    stage: edge.to.clone(),
                    kind: FaultKind::Contract,
                    message: format!(
                        "{} messages were sent to its port {:?}, but {} received",
                        figures.sent, edge.port, figures.received
                    ),
                });
            }
        }
    }

    fn outcome(&self, cut: bool) -> Outcome {
        let health = &self.monitor.inner.health;
        let unaccepted = |counts: Vec<ErrorCount>| {
            counts
                .iter()
                .any(|count| !count.accepted && count.count > 0)
        };
        if health.fault().is_some() {
            Outcome::Failed
        } else if cut || self.abandoned {
            Outcome::Cancelled
        } else if self
            .monitor
            .inner
            .stages
            .iter()
            .any(|stage| unaccepted(stage.tally.counts()))
        {
            Outcome::Incomplete
        } else {
            Outcome::Complete
        }
    }

    fn errors(&self) -> Vec<StageErrors> {
        let stages = self.monitor.inner.stages.iter();
        stages
            .flat_map(|stage| {
                let counts = stage.tally.counts().into_iter();
                counts.map(|errors| StageErrors {
                    stage: stage.name.clone(),
                    errors,
                })
            })
            .collect()
    }

    fn publish(&mut self, verdict: &mut Verdict) {
        let mut publishers = std::mem::take(&mut self.publishers);
        publishers.sort_by_key(|(stage, order, _)| (*order, *stage));
        for (stage, _, publisher) in publishers {
            let published = catch_unwind(AssertUnwindSafe(|| publisher.publish(verdict)));
            let message = match published {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_message(&*panic),
            };
            self.monitor.inner.health.record(Fault {
                stage: self.monitor.inner.stages[stage].name.clone(),
                kind: FaultKind::Publish,
                message,
            });
            verdict.outcome = Outcome::Failed;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.threads.is_empty() || !self.publishers.is_empty() {
            self.abandoned = true;
            self.monitor.inner.health.stop();
            self.finish();
        }
    }
}

/// The edges into each input port of each stage.
type Edges = Vec<Vec<WiredEdge>>;

fn wire(graph: &Graph) -> (Edges, Vec<MonitoredEdge>) {
    let mut edges = Vec::with_capacity(graph.stages.len());
    let mut monitored = Vec::new();
    for stage in &graph.stages {
        let mut ports = Vec::with_capacity(stage.feeds.len());
        for (input, feeds) in stage.declaration.inputs.iter().zip(&stage.feeds) {
            let (any, ledger) = (input.make_edge)(stage.capacity);
            monitored.push(MonitoredEdge {
                from: feeds.iter().map(|feed| graph.output_name(*feed)).collect(),
                to: stage.name.clone(),
                port: input.name,
                message: input.accepts[0].name,
                ledger: Arc::clone(&ledger),
            });
            ports.push(WiredEdge { any, ledger });
        }
        edges.push(ports);
    }
    (edges, monitored)
}

/// What opening the stages of a graph yields.
#[derive(Default)]
struct Opened {
    stages: Vec<MonitoredStage>,
    workers: Vec<(usize, Worker)>,
    publishers: Vec<(usize, PublishOrder, Box<dyn Publisher>)>,
}

/// Opens the stages in the order in which messages travel, up to the first that fails; its fault is on record then.
fn open(graph: Graph, edges: &Edges, health: &Arc<Health>) -> Opened {
    let mut outputs: Vec<Wiring<'_>> = graph
        .stages
        .iter()
        .zip(edges)
        .map(|(stage, inputs)| Wiring {
            inputs: inputs.iter().collect(),
            outputs: vec![Vec::new(); stage.declaration.outputs.len()],
            errors: Vec::new(),
        })
        .collect();
    for (stage, inputs) in graph.stages.iter().zip(edges) {
        for (feeds, edge) in stage.feeds.iter().zip(inputs) {
            for feed in feeds {
                let wiring = &mut outputs[feed.stage];
                match feed.port {
                    Some(port) => wiring.outputs[port].push(edge),
                    None => wiring.errors.push(edge),
                }
            }
        }
    }
    let resources = Resources::default();
    let mut opened = Opened::default();
    for (index, (stage, wiring)) in graph.stages.into_iter().zip(outputs).enumerate() {
        let GraphStage {
            name,
            kind,
            threads,
            accept,
            declaration,
            open,
            ..
        } = stage;
        let meter = Arc::new(StageMeter::new());
        let tally = Arc::new(ErrorTally::new(&name, accept));
        opened.stages.push(MonitoredStage {
            name: name.clone(),
            kind,
            threads: 0,
            meter: Arc::clone(&meter),
            tally: Arc::clone(&tally),
        });
        // What comes after a stage that could not be opened is in the report, and nothing more.
        if health.stopping() {
            continue;
        }
        let mut opening = Opening {
            context: Context {
                stage: Arc::from(name.as_str()),
                health: Arc::clone(health),
                meter: Arc::clone(&meter),
                told: Arc::default(),
            },
            threads,
            resources: &resources,
            wiring,
            tally: Arc::clone(&tally),
            workers: Vec::new(),
            publishers: Vec::new(),
        };
        let result = catch_unwind(AssertUnwindSafe(|| open(&mut opening)));
        let message = match result {
            Ok(Ok(())) => opening.defect(&declaration),
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic_message(&*panic)),
        };
        let Opening {
            workers,
            publishers,
            ..
        } = opening;
        opened.stages[index].threads = workers.len();
        opened
            .workers
            .extend(workers.into_iter().map(|worker| (index, worker)));
        opened.publishers.extend(
            publishers
                .into_iter()
                .map(|(order, publisher)| (index, order, publisher)),
        );
        if let Some(message) = message {
            health.record(Fault {
                stage: name,
                kind: FaultKind::Open,
                message,
            });
        }
    }
    opened
}

/// The life of one worker's thread.
fn work(worker: Worker, stage: &str, health: &Health) -> Ending {
    let Worker {
        mut actor,
        meter,
        witness,
        told,
        inlets,
        leases,
    } = worker;
    meter.start();
    let result = catch_unwind(AssertUnwindSafe(|| actor.run()));
    meter.stop();
    let ending = match result {
        // What came of it after it had lost input or output, or had heard of the stop, is a consequence, whatever it says.
        _ if witness.was_cut() || told.load(Ordering::Acquire) => Ok(Ending::Cut),
        Ok(Ok(())) => {
            let unread = inlets
                .iter()
                .any(|(ledger, progress)| !progress.ended() && !ledger.is_satisfied());
            match unread {
                true => Err((FaultKind::Contract, UNREAD.to_owned())),
                false => Ok(Ending::Well),
            }
        }
        Ok(Err(StageError::Stopped(Stop::Enough))) => {
            // That nobody wants more of its output means that it wants no more input.
            inlets.iter().for_each(|(ledger, _)| ledger.satisfy());
            Ok(Ending::Well)
        }
        Ok(Err(StageError::Stopped(_))) if health.stopping() => Ok(Ending::Cut),
        Ok(Err(StageError::Stopped(_))) => Err((FaultKind::Contract, UNTOLD.to_owned())),
        Ok(Err(error)) => Err((FaultKind::Error, error.to_string())),
        Err(panic) => Err((FaultKind::Panic, panic_message(&*panic))),
    };
    let ending = ending.unwrap_or_else(|(kind, message)| {
        health.record(Fault {
            stage: stage.to_owned(),
            kind,
            message,
        });
        Ending::Cut
    });
    if ending == Ending::Well {
        leases.iter().for_each(|ledger| ledger.end_producer());
    }
    // Only now do the ports go, and neighbours see channels close: the ledgers and the fault are already on record.
    discard(actor, stage, health);
    ending
}

const UNREAD: &str = "it ended before its input did, and did not say that it had enough";
const UNTOLD: &str = "it stopped early, and nothing had told it to";

/// Drops a worker's actor, which may panic once more.
fn discard(actor: Box<dyn Actor>, stage: &str, health: &Health) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(actor))) {
        health.record(Fault {
            stage: stage.to_owned(),
            kind: FaultKind::Panic,
            message: format!("while it was dropped: {}", panic_message(&*panic)),
        });
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (_, Some(message)) => message.clone(),
        _ => "it panicked with a value that is no text".to_owned(),
    }
}

/// A name for a run that sorts by time and that no other run shares: the second it began, and 32 random bits.
fn run_id(started: jiff::Timestamp) -> String {
    use std::hash::{BuildHasher, Hasher};
    // The hasher's keys come from the operating system's random numbers.
    let random = std::hash::RandomState::new().build_hasher().finish() as u32;
    format!("{}-{random:08x}", started.strftime("%Y%m%dT%H%M%SZ"))
}
