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
use crate::declare::{Declaration, InputPort, OutputPort};
use crate::edge::{Edge, EdgeSender, Ledger, SLICE};
use crate::error_record::ErrorTally;
use crate::fault::Health;
use crate::meter::{Counter, StageMeter, WorkerMeter};
use crate::port::{Fan, InletProgress, Witness};
use crate::stall::{Stalled, Stalls};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::{Watch, Watched};
use crate::worker::{Post, Worker};
use crate::{
    Actor, ErrorRecord, Errors, Inlet, Message, Outlet, PublishOrder, Publisher, StageError, Stop,
    Upstream,
};

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

/// One edge as the graph holds it before its type is known again.
pub(crate) struct WiredEdge {
    pub(crate) any: Box<dyn Any + Send>,
    pub(crate) ledger: Arc<Ledger>,
}

/// The edges of one stage: one into each input port, some out of each output port.
pub(crate) struct Wiring<'a> {
    pub(crate) inputs: Vec<&'a WiredEdge>,
    pub(crate) outputs: Vec<Vec<&'a WiredEdge>>,
    pub(crate) errors: Vec<&'a WiredEdge>,
}

/// What a run knows while it lasts, for stages that need more than their ports. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(crate) stage: Arc<str>,
    pub(crate) health: Arc<Health>,
    pub(crate) meter: Arc<StageMeter>,
    /// The stage has heard that the run is stopping: it cannot claim any more to have done everything.
    pub(crate) told: Arc<AtomicBool>,
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
    pub(crate) context: Context,
    pub(crate) threads: ThreadSetting,
    pub(crate) keep_partial: bool,
    pub(crate) resources: &'a Resources,
    pub(crate) patience: Patience<'a>,
    pub(crate) wiring: Wiring<'a>,
    pub(crate) tally: Arc<ErrorTally>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) publishers: Vec<(PublishOrder, Box<dyn Publisher>)>,
}

impl Opening<'_> {
    /// What the stage knows of the run. Clone it to keep it.
    pub fn context(&self) -> &Context {
        &self.context
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
            .name(self.context.stage.to_string())
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
            self.context.checkpoint()?;
        }
        patience
            .left
            .set(patience.left.get().saturating_sub(waited));
        let stalled = Stalled {
            stage: &self.context.stage,
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
        let (actor, post) = self.post(make)?;
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
        let (worker, post) = self.post(make)?;
        let replaced = Arc::default();
        let watch = Watch::new(Box::new(worker), &replaced);
        self.workers.push(Worker {
            post,
            slot: Some(watch.slot()),
            actor: Box::new(watch),
            replaced,
        });
        Ok(())
    }

    /// Makes a worker, and its place in the run.
    fn post<W>(
        &self,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<W, StageError>,
    ) -> Result<(W, Post), StageError> {
        let meter = Arc::new(WorkerMeter::new(
            &self.context.meter,
            self.workers.len(),
            !self.wiring.inputs.is_empty(),
        ));
        let witness = Arc::new(Witness::default());
        let (errors, error_leases) =
            senders::<ErrorRecord>(&self.wiring.errors, &self.context.health);
        let errors = Arc::new(Errors::new(
            &self.tally,
            Fan::new(errors, &meter, &witness, false),
        ));
        let mut endpoints = Endpoints {
            wiring: &self.wiring,
            health: &self.context.health,
            meter: &meter,
            witness: &witness,
            errors,
            inlets: Vec::new(),
            leases: Vec::new(),
        };
        let worker = make(&mut endpoints)?;
        let Endpoints {
            inlets, mut leases, ..
        } = endpoints;
        witness.set_data(leases.clone());
        leases.extend(error_leases);
        // Only now: a worker that could not be made is not waited for.
        leases.iter().for_each(|ledger| ledger.add_producer());
        let post = Post {
            meter,
            witness,
            told: Arc::clone(&self.context.told),
            inlets,
            leases,
        };
        Ok((worker, post))
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
        let reads = |edge: &&WiredEdge| {
            let mut inlets = self.workers.iter().flat_map(|worker| &worker.post.inlets);
            inlets.any(|(ledger, _)| Arc::ptr_eq(ledger, &edge.ledger))
        };
        let feeds = |edge: &&WiredEdge| {
            let mut leases = self.workers.iter().flat_map(|worker| &worker.post.leases);
            leases.any(|ledger| Arc::ptr_eq(ledger, &edge.ledger))
        };
        let inputs = declaration.inputs.iter().zip(&self.wiring.inputs);
        let unread = inputs.filter(|(_, edge)| !reads(edge));
        let outputs = declaration.outputs.iter().zip(&self.wiring.outputs);
        let unfed = outputs.filter(|(_, edges)| !edges.iter().all(&feeds));
        let mut idle = (unread.map(|(input, _)| ("input", input.name)))
            .chain(unfed.map(|(output, _)| ("output", output.name)));
        let (what, name) = idle.next()?;
        Some(format!("no worker of it took its {what} {name:?}"))
    }
}

/// The ports of one worker.
pub struct Endpoints<'a> {
    wiring: &'a Wiring<'a>,
    health: &'a Arc<Health>,
    meter: &'a Arc<WorkerMeter>,
    witness: &'a Arc<Witness>,
    errors: Arc<Errors>,
    inlets: Vec<(Arc<Ledger>, Arc<InletProgress>)>,
    leases: Vec<Arc<Ledger>>,
}

impl Endpoints<'_> {
    /// The receiving end of a port. The workers of a stage share what comes in.
    pub fn input<T: Message>(&mut self, port: &InputPort<T>) -> Inlet<T> {
        let edge = self.wiring.inputs[port.index];
        let typed = typed_edge::<T>(edge);
        let progress = Arc::new(InletProgress::default());
        self.inlets
            .push((Arc::clone(&edge.ledger), Arc::clone(&progress)));
        Inlet::new(
            typed.receiver(self.health),
            self.meter,
            self.witness,
            &progress,
        )
    }

    /// The sending end of a port.
    pub fn output<T: Message>(&mut self, port: &OutputPort<T>) -> Outlet<T> {
        let (consumers, leases) = senders(&self.wiring.outputs[port.index], self.health);
        self.leases.extend(leases);
        Outlet::new(
            Fan::new(consumers, self.meter, self.witness, true),
            &self.errors,
        )
    }

    /// Where the worker reports items that it could not handle.
    pub fn errors(&self) -> Arc<Errors> {
        Arc::clone(&self.errors)
    }
}

/// The sending ends of some edges, and the ledgers on which their holder is to stand as a producer.
fn senders<T: Message>(
    edges: &[&WiredEdge],
    health: &Arc<Health>,
) -> (Vec<EdgeSender<T>>, Vec<Arc<Ledger>>) {
    let ends = edges
        .iter()
        .map(|edge| (typed_edge(edge).sender(health), Arc::clone(&edge.ledger)));
    ends.unzip()
}

fn typed_edge<T: Message>(edge: &WiredEdge) -> &Edge<T> {
    edge.any
        .downcast_ref()
        .expect("the graph joined only ports of one type")
}
