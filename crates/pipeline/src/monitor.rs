//! Seeing a run from outside, while it goes on and after.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::edge::Ledger;
use crate::error_record::ErrorTally;
use crate::fault::Health;
use crate::meter::StageMeter;
use crate::report::{EdgeReport, Snapshot, StageReport};
use crate::stage_spec::StageSpec;
use crate::stall::{Stall, Stalls};

/// Sees a run from outside while it goes on. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    pub(crate) inner: Arc<Monitored>,
}

/// What a run lets be seen.
pub(crate) struct Monitored {
    pub(crate) health: Arc<Health>,
    pub(crate) began: Instant,
    /// How long the run took, once it is over.
    pub(crate) elapsed: OnceLock<Duration>,
    pub(crate) stalls: Stalls,
    pub(crate) stages: Vec<MonitoredStage>,
    pub(crate) edges: Vec<MonitoredEdge>,
}

pub(crate) struct MonitoredStage {
    pub(crate) name: String,
    pub(crate) spec: StageSpec,
    /// How many were started, those that replaced others left out.
    pub(crate) threads: AtomicUsize,
    pub(crate) meter: Arc<StageMeter>,
    pub(crate) tally: Arc<ErrorTally>,
}

pub(crate) struct MonitoredEdge {
    pub(crate) from: Vec<String>,
    pub(crate) to: String,
    pub(crate) port: &'static str,
    pub(crate) message: &'static str,
    pub(crate) ledger: Arc<Ledger>,
}

impl Monitor {
    /// The figures of all stages now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            elapsed_seconds: self.elapsed().as_secs_f64(),
            stages: self.stages(),
        }
    }

    /// What has not come back in time so far.
    pub fn stalls(&self) -> Vec<Stall> {
        self.inner.stalls.now()
    }

    fn elapsed(&self) -> Duration {
        let over = self.inner.elapsed.get().copied();
        over.unwrap_or_else(|| self.inner.began.elapsed())
    }

    pub(crate) fn stages(&self) -> Vec<StageReport> {
        let elapsed = self.elapsed();
        self.inner
            .stages
            .iter()
            .map(|stage| {
                StageReport::new(
                    &stage.name,
                    &stage.spec,
                    stage.threads.load(Ordering::Relaxed),
                    elapsed,
                    stage.meter.thread_time(self.inner.began + elapsed),
                    &stage.meter,
                    stage.tally.counts(),
                )
            })
            .collect()
    }

    pub(crate) fn edges(&self) -> Vec<EdgeReport> {
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
