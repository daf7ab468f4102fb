//! A job on its way: threads, the end, publishing.
//!
//! One thing must stay true: what is published under a final name was decided on after *every* stage had ended and
//! every sink had prepared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, RecvTimeoutError};

use crate::error_record::ErrorCount;
use crate::fault::{Fault, FaultKind, Health};
use crate::monitor::{Monitor, Monitored};
use crate::outcome::StageErrors;
use crate::report::RunReport;
use crate::wiring::{open, wire};
use crate::worker::{Ending, UNTOLD, Worker, discard, panic_message, work};
use crate::{CancelHandle, Job, Outcome, PublishOrder, Publisher, StageError, Verdict};

/// A job that was started.
///
/// Dropping it cancels the run and waits for its threads; nothing is published then, even if all had ended well.
pub struct Run {
    monitor: Monitor,
    job: String,
    run_id: String,
    started: jiff::Timestamp,
    keep_partial: bool,
    threads: Vec<(usize, JoinHandle<Ending>)>,
    /// Cancels the run when its time is up; says whether it did.
    timer: Option<JoinHandle<bool>>,
    /// It never started, or whoever started it let go of it: then it is cancelled, however well its stages ended.
    abandoned: bool,
    publishers: Vec<(usize, PublishOrder, Box<dyn Publisher>)>,
}

impl Run {
    pub(crate) fn start(job: Job, cancel: &CancelHandle) -> Run {
        let started = jiff::Timestamp::now();
        let began = Instant::now();
        let health = Arc::new(Health::new(cancel.clone()));
        let (edges, monitored_edges) = wire(&job.graph);
        let opened = open(job.graph, job.settings.keep_partial, &edges, &health);
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
            keep_partial: job.settings.keep_partial,
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
            finished: jiff::Timestamp::now(),
            cause: None,
            ended_early: self.monitor.edges().iter().any(|edge| edge.enough),
            errors: self.errors(),
            stages: self.monitor.stages(),
            keep_partial: self.keep_partial,
        };
        verdict.cause = match verdict.outcome {
            Outcome::Cancelled if timed_out => Some("the job's max_runtime was reached".to_owned()),
            Outcome::Cancelled => Some("the run was cancelled".to_owned()),
            _ => health.fault().map(|fault| fault.to_string()),
        };
        self.publish(&mut verdict);
        RunReport::new(
            &verdict,
            elapsed,
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
        for (stage, _, publisher) in &mut publishers {
            // What could not be sealed keeps the others from their final names, too.
            if verdict.outcome.publishes() {
                self.step(*stage, verdict, |verdict| publisher.seal(verdict));
            }
        }
        for (stage, _, publisher) in publishers {
            self.step(stage, verdict, |verdict| publisher.publish(verdict));
        }
    }

    /// A step of publishing; one that fails makes the run a failed one for whoever comes after.
    fn step(
        &self,
        stage: usize,
        verdict: &mut Verdict,
        step: impl FnOnce(&Verdict) -> Result<(), StageError>,
    ) {
        let message = match catch_unwind(AssertUnwindSafe(|| step(verdict))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_message(&*panic),
        };
        let health = &self.monitor.inner.health;
        health.record(Fault {
            stage: self.monitor.inner.stages[stage].name.clone(),
            kind: FaultKind::Publish,
            message,
        });
        verdict.outcome = Outcome::Failed;
        verdict.cause = health.fault().map(|fault| fault.to_string());
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

/// A name for a run that sorts by time and that no other run shares: the second it began, and 32 random bits.
fn run_id(started: jiff::Timestamp) -> String {
    use std::hash::{BuildHasher, Hasher};
    // The hasher's keys come from the operating system's random numbers.
    let random = std::hash::RandomState::new().build_hasher().finish() as u32;
    format!("{}-{random:08x}", started.strftime("%Y%m%dT%H%M%SZ"))
}
