//! The second step of a stage: acquire what it needs and add one worker for each thread.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel;

use crate::config::ThreadSetting;
use crate::declare::Declaration;
use crate::edge::SLICE;
use crate::endpoints::{Endpoints, StagePorts, WiredEdge};
use crate::fault::Health;
use crate::meter::{Counter, StageMeter};
use crate::reserve::{Make, Reserve};
use crate::stall::{Stalled, Stalls};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::Watched;
use crate::worker::Worker;
use crate::{Actor, PublishOrder, Publisher, StageError, Stop, Upstream};

/// Things that the stages of one run share without knowing each other, one of each type.
#[derive(Default)]
pub(crate) struct Resources {
    by_type: RefCell<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Resources {
    fn get_or_init<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        let found = self.by_type.borrow().get(&TypeId::of::<T>()).cloned();
        if let Some(found) = found.and_then(|any| any.downcast::<T>().ok()) {
            return Ok(found);
        }
        // Nothing is borrowed meanwhile: making one resource may ask for another.
        let made = Arc::new(make()?);
        self.by_type
            .borrow_mut()
            .insert(TypeId::of::<T>(), Arc::clone(&made) as _);
        Ok(made)
    }
}

/// What a run knows while it lasts, for stages that need more than their ports. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(crate) stage: Arc<str>,
    pub(crate) health: Arc<Health>,
    pub(crate) meter: Arc<StageMeter>,
    /// The stage has heard that the run is stopping: it cannot claim any more to have done everything.
    pub(crate) told: Arc<AtomicBool>,
    /// The workers of the stage that have not started yet.
    pub(crate) reserve: Arc<Reserve>,
    /// The stages before this one, by input port.
    pub(crate) upstream: Arc<BTreeMap<&'static str, Vec<Upstream>>>,
}

impl Context {
    /// The stage's name in the job.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Whether the run is stopping. A stage that works long between two uses of its ports asks now and then, which also
    /// shows that it is alive; the run is not complete once it was told so.
    pub fn is_stopping(&self) -> bool {
        self.meter.beat();
        let stopping = self.health.stopping();
        if stopping {
            self.told.store(true, Ordering::Release);
        }
        stopping
    }

    /// The same as a result, to be passed on with `?`.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping.
    pub fn checkpoint(&self) -> Result<(), StageError> {
        match self.is_stopping() {
            true => Err(StageError::Stopped(Stop::Cancelled)),
            false => Ok(()),
        }
    }

    /// Starts one more of the workers that the stage has [in reserve](Opening::watched_in_reserve). Says whether it did:
    /// none may be left, or the system may have no thread to spare, in which case the worker stays in reserve. Cheap where
    /// there is no reserve, and can be called from any thread of the stage.
    pub fn call_up(&self) -> bool {
        self.reserve.call_up()
    }

    /// Whether calls hang that have used up the time that the job allows ([`PipelineSettings::stall_timeout`]): then a
    /// [watched](Opening::watched) worker makes no more of them, and accounts for what is left to do as not done.
    ///
    /// [`PipelineSettings::stall_timeout`]: crate::PipelineSettings::stall_timeout
    pub fn has_given_up(&self) -> bool {
        self.health.has_given_up()
    }

    /// The stages from which the messages of an input port come, the nearest first.
    pub fn upstream(&self, port: &str) -> &[Upstream] {
        self.upstream.get(port).map_or(&[], Vec::as_slice)
    }

    /// A number that the report shows under this name.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.meter.counter(name)
    }

    /// States something about what the stage does in this run, such as the roots that it reads: in the report, and in
    /// the [`Verdict`](crate::Verdict) for the marks of outputs. It takes the place of what was stated under this name.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn set_fact(
        &self,
        name: &'static str,
        value: &impl serde::Serialize,
    ) -> Result<(), StageError> {
        let value = serde_json::to_value(value).map_err(StageError::failed)?;
        self.meter.set_fact(name, value);
        Ok(())
    }

    /// Puts a result into the run's report, in place of an earlier one of this stage.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn set_result(&self, result: &impl serde::Serialize) -> Result<(), StageError> {
        self.meter
            .set_result(serde_json::to_value(result).map_err(StageError::failed)?);
        Ok(())
    }
}

/// How long to wait for calls that are made before there are threads to watch.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub(crate) began: Instant,
    pub(crate) stall_after: Duration,
    /// How long all calls together may still hang.
    pub(crate) left: &'a Cell<Duration>,
    pub(crate) stalls: &'a Stalls,
}

/// What [`Kind::open`](crate::Kind::open) works with.
pub struct Opening<'a> {
    pub(crate) ports: StagePorts,
    pub(crate) threads: ThreadSetting,
    pub(crate) keep_partial: bool,
    pub(crate) resources: &'a Resources,
    pub(crate) patience: Patience<'a>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) reserve: Vec<Make>,
    pub(crate) publishers: Vec<(PublishOrder, Box<dyn Publisher>)>,
}

impl Opening<'_> {
    /// What the stage knows of the run. Clone it to keep it.
    pub fn context(&self) -> &Context {
        &self.ports.context
    }

    /// How many threads the job asks for.
    pub fn threads(&self) -> ThreadSetting {
        self.threads
    }

    /// Whether the job wants what there is of its results when a run does not finish: see
    /// [`Sink::keep`](crate::Sink::keep).
    pub fn keeps_partial_results(&self) -> bool {
        self.keep_partial
    }

    /// Something that stages of this run share: made by the first that asks for its type.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn resource<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        self.resources.get_or_init(make)
    }

    /// Makes a call that may not come back, on a thread of its own; `None` if it does not within
    /// [`PipelineSettings::stall_after`](crate::PipelineSettings::stall_after). It is in the report then, as `operation`
    /// on `subject`, and its thread is left. When such calls have hung for
    /// [`PipelineSettings::stall_timeout`](crate::PipelineSettings::stall_timeout) in all, no more are made.
    ///
    /// # Errors
    /// [`StageError::Stopped`] when the run is stopping; a failure if there is no thread to be had.
    pub fn attempt<R: Send + 'static>(
        &self,
        operation: &'static str,
        subject: &[u8],
        call: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Option<R>, StageError> {
        let patience = self.patience;
        let limit = patience.stall_after.min(patience.left.get());
        if limit.is_zero() {
            return Ok(None);
        }
        let (done, answer) = channel::bounded(1);
        let returned = Arc::new(AtomicBool::new(false));
        let late = Arc::clone(&returned);
        let call = move || {
            let result = catch_unwind(AssertUnwindSafe(call));
            late.store(true, Ordering::Release);
            // Nobody listens to a late answer.
            let _ = done.send(result);
        };
        thread::Builder::new()
            .name(self.ports.context.stage.to_string())
            .spawn(call)
            .map_err(|error| StageError::failed(format!("cannot start a thread: {error}")))?;
        // Counted in slices, so that a process that was stopped has not waited.
        let mut waited = Duration::ZERO;
        while waited < limit {
            match answer.recv_timeout(SLICE) {
                Ok(Ok(result)) => return Ok(Some(result)),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => waited += SLICE,
            }
            self.ports.context.checkpoint()?;
        }
        patience
            .left
            .set(patience.left.get().saturating_sub(waited));
        let stalled = Stalled {
            stage: &self.ports.context.stage,
            operation,
            subject,
            given_up: true,
            length: waited,
        };
        patience
            .stalls
            .add(&stalled, patience.began.elapsed(), returned);
        Ok(None)
    }

    /// Adds a worker, which gets a thread of its own. `make` takes its ports from the endpoints and keeps them.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn worker<A: Actor>(
        &mut self,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<A, StageError>,
    ) -> Result<(), StageError> {
        let (actor, post) = self.ports.equip(self.workers.len(), make)?;
        // Only now: a worker that could not be made is not waited for.
        post.leases.iter().for_each(|ledger| ledger.add_producer());
        self.workers.push(Worker {
            actor: Box::new(actor),
            post,
            slot: None,
            replaced: Arc::default(),
        });
        Ok(())
    }

    /// As [`worker`](Opening::worker), for a worker whose calls may never come back.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn watched<W: Watched>(
        &mut self,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<W, StageError>,
    ) -> Result<(), StageError> {
        let (worker, post) = self.ports.equip(self.workers.len(), make)?;
        post.leases.iter().for_each(|ledger| ledger.add_producer());
        self.workers.push(Worker::watched(worker, post));
        Ok(())
    }

    /// As [`watched`](Opening::watched), for a worker that waits to be [called up](Context::call_up): until then it has no
    /// thread and is not even made.
    ///
    /// `make` may never be called, so no work may depend on it: what is to be done must lie where any worker of the stage
    /// finds it. It runs on the thread of whoever calls the worker up; if it fails or panics, the run does. Nobody is
    /// called up any more once a worker of the stage has ended or the run is stopping.
    pub fn watched_in_reserve<W: Watched>(
        &mut self,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<W, StageError> + Send + 'static,
    ) {
        self.reserve.push(Box::new(move |ports, number| {
            let (worker, mut post) = ports.equip(number, make)?;
            // The reserve has entered it on all that its stage can send on: it did not know what it would take.
            post.leases = ports.outgoing();
            Ok(Worker::watched(worker, post))
        }));
    }

    /// Registers something that acts on the verdict when the run is over.
    pub fn publisher(&mut self, order: PublishOrder, publisher: impl Publisher + 'static) {
        self.publishers.push((order, Box::new(publisher)));
    }

    /// What keeps the opened stage from running. A port without a worker would pass for a stream that is empty, or block
    /// its producers.
    pub(crate) fn defect(&self, declaration: &Declaration) -> Option<String> {
        if self.workers.is_empty() {
            return Some("it was opened without any worker".to_owned());
        }
        let reads = |edge: &WiredEdge| {
            let mut inlets = self.workers.iter().flat_map(|worker| &worker.post.inlets);
            inlets.any(|(ledger, _)| Arc::ptr_eq(ledger, &edge.ledger))
        };
        let feeds = |edge: &Arc<WiredEdge>| {
            let mut leases = self.workers.iter().flat_map(|worker| &worker.post.leases);
            leases.any(|ledger| Arc::ptr_eq(ledger, &edge.ledger))
        };
        let inputs = declaration.inputs.iter().zip(&self.ports.wiring.inputs);
        let unread = inputs.filter(|(_, edge)| !reads(edge));
        let outputs = declaration.outputs.iter().zip(&self.ports.wiring.outputs);
        let unfed = outputs.filter(|(_, edges)| !edges.iter().all(&feeds));
        let mut idle = (unread.map(|(input, _)| ("input", input.name)))
            .chain(unfed.map(|(output, _)| ("output", output.name)));
        let (what, name) = idle.next()?;
        Some(format!("no worker of it took its {what} {name:?}"))
    }
}
