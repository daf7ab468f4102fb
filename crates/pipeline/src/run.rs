//! A job on its way: threads, the end, publishing.
//!
//! One thing must stay true: what is published under a final name was decided on after *every* stage had ended and
//! every sink had prepared.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};

use crate::crew::{Crew, News, PostId, StageCrew};
use crate::error_record::ErrorCount;
use crate::fault::{Fault, FaultKind, Health};
use crate::monitor::{Monitor, Monitored};
use crate::opening::Patience;
use crate::outcome::StageErrors;
use crate::report::RunReport;
use crate::reserve::Reserve;
use crate::stall::{Stalled, Stalls};
use crate::watchdog::Watchdog;
use crate::wiring::{open, wire};
use crate::worker::{Ending, UNTOLD, panic_message};
use crate::{CancelHandle, Job, Outcome, PublishOrder, Publisher, StageError, UnreadList, Verdict};

/// How long to listen for the end of a worker before looking whether the run is stopping.
const LISTEN: Duration = Duration::from_millis(50);

/// A job that was started.
///
/// Dropping it cancels the run and waits for its threads; nothing is published then, even if all had ended well.
pub struct Run {
    monitor: Monitor,
    job: String,
    run_id: String,
    started: jiff::Timestamp,
    crew: Arc<Crew>,
    /// The posts whose end was not heard of yet.
    posts: BTreeSet<PostId>,
    news: Receiver<News>,
    reserves: Vec<Arc<Reserve>>,
    /// Ends when the sender goes.
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
    /// Set if the run was stopped because its time was up.
    timed_out: Arc<OnceLock<()>>,
    stop_timeout: Duration,
    keep_partial: bool,
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
        let stalls = Stalls::default();
        let patience = Patience {
            began,
            stall_after: job.settings.stall_after.duration(),
            left: &Cell::new(job.settings.stall_timeout.duration()),
            stalls: &stalls,
        };
        let opened = open(
            job.graph,
            &edges,
            &health,
            job.settings.keep_partial,
            patience,
        );
        // From here on the stages alone hold the channels' ends, so that channels close when stages end.
        drop(edges);
        let monitored = Arc::new(Monitored {
            health: Arc::clone(&health),
            began,
            elapsed: OnceLock::new(),
            stalls,
            stages: opened.stages,
            edges: monitored_edges,
        });
        let (tell, news) = channel::unbounded();
        let mut run = Run {
            crew: Arc::new(Crew::new(&monitored, tell)),
            monitor: Monitor { inner: monitored },
            job: job.name,
            run_id: run_id(started),
            started,
            posts: BTreeSet::new(),
            news,
            reserves: Vec::new(),
            watchdog: None,
            timed_out: Arc::default(),
            stop_timeout: job.settings.stop_timeout.duration(),
            keep_partial: job.settings.keep_partial,
            abandoned: health.stopping(),
            publishers: opened.publishers,
        };
        let mut watchdog = Watchdog::new(&run.monitor.inner, &run.crew, &job.settings);
        for (stage, reserve) in opened.reserves {
            let crew = Arc::clone(&run.crew);
            reserve.open(Arc::new(StageCrew { crew, stage }));
            run.reserves.push(reserve);
        }
        if run.abandoned {
            run.close_reserves();
        }
        for (stage, worker) in opened.workers {
            let post = run.crew.post(stage);
            if run.abandoned {
                run.crew.discard(post, worker);
                continue;
            }
            watchdog.watch(post, &worker);
            run.posts.insert(post);
            run.crew.start(post, worker);
        }
        if !run.abandoned {
            run.start_watchdog(watchdog);
        }
        run.crew.staffed();
        run
    }

    fn start_watchdog(&mut self, watchdog: Watchdog) {
        let (alive, over) = channel::bounded(0);
        let timed_out = Arc::clone(&self.timed_out);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watchdog.run(&over, &timed_out));
        match thread {
            Ok(thread) => self.watchdog = Some((alive, thread)),
            // The run could hang, or outlast its limit: better none at all.
            Err(error) => self.monitor.inner.health.record(Fault {
                stage: "watchdog".to_owned(),
                kind: FaultKind::Open,
                message: format!("cannot start a thread: {error}"),
            }),
        }
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
    ///
    /// Threads inside calls that do not come back are not waited for: those that the watchdog replaced, and, once the run
    /// is stopping, all that have not ended within `stop_timeout`. [`RunReport::stalls`] names them. They hold no ports,
    /// and end when their calls do.
    pub fn wait(mut self) -> RunReport {
        self.finish()
    }

    fn finish(&mut self) -> RunReport {
        let health = Arc::clone(&self.monitor.inner.health);
        let mut cut = self.hear_endings();
        let left: Vec<PostId> = std::mem::take(&mut self.posts).into_iter().collect();
        cut = cut.or(left.first().map(|post| post.stage));
        if let Some((alive, watchdog)) = self.watchdog.take() {
            drop(alive);
            // It makes no calls, so it ends at once; should it have panicked, the run is over all the same.
            let _ = watchdog.join();
        }
        self.note_left(&left);
        self.crew.join(&left);
        let timed_out = self.timed_out.get().is_some();
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
            unread: self.unread(),
            stages: self.monitor.stages(),
            stalls: self.monitor.stalls(),
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
            self.monitor.stalls(),
        )
    }

    /// Waits for the posts to end; once the run stops, not longer than its deadline. Returns the first stage that was
    /// cut.
    fn hear_endings(&mut self) -> Option<usize> {
        let health = Arc::clone(&self.monitor.inner.health);
        let mut cut: Option<usize> = None;
        let mut deadline = None;
        while !self.posts.is_empty() {
            if health.stopping() && deadline.is_none() {
                deadline = Instant::now().checked_add(self.stop_timeout);
                self.close_reserves();
            }
            match self.news.recv_timeout(LISTEN) {
                Ok(News::CalledUp(post)) => {
                    self.posts.insert(post);
                }
                Ok(News::Ended(post, ending)) => {
                    self.posts.remove(&post);
                    if ending == Ending::Cut {
                        cut = Some(cut.map_or(post.stage, |stage| stage.min(post.stage)));
                    }
                }
                Err(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => break,
                Err(_) => {}
            }
        }
        cut
    }

    /// From now on no more posts are heard of than are on their way.
    fn close_reserves(&self) {
        self.reserves.iter().for_each(|reserve| reserve.close());
    }

    /// Names the threads that the run ends without.
    fn note_left(&self, left: &[PostId]) {
        let monitored = &self.monitor.inner;
        for post in left {
            let (operation, subject) = self.crew.call_of(*post).unwrap_or(("work", Vec::new()));
            let stalled = Stalled {
                stage: &monitored.stages[post.stage].name,
                operation,
                subject: &subject,
                given_up: true,
                length: self.stop_timeout,
            };
            let noticed = monitored.began.elapsed();
            monitored.stalls.add(&stalled, noticed, Arc::default());
        }
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

    fn unread(&self) -> UnreadList {
        let mut all = UnreadList::default();
        for stage in &self.monitor.inner.stages {
            all.append(stage.tally.unread());
        }
        all
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
        if !self.posts.is_empty() || !self.publishers.is_empty() {
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
