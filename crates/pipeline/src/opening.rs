//! The second step of a stage: acquire what it needs and add one worker for each thread.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::ThreadSetting;
use crate::declare::{Declaration, InputPort, OutputPort};
use crate::edge::{Edge, EdgeSender, Ledger};
use crate::error_record::ErrorTally;
use crate::fault::Health;
use crate::meter::{Counter, StageMeter, WorkerMeter};
use crate::port::{Fan, InletProgress, Witness};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::worker::Worker;
use crate::{
    Actor, ErrorRecord, Errors, Inlet, Message, Outlet, PublishOrder, Publisher, StageError, Stop,
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
}

impl Context {
    /// The stage's name in the job.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Whether the run is stopping. A stage that works long between two uses of its ports asks now and then; the run is
    /// not complete once it was told so.
    pub fn is_stopping(&self) -> bool {
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

    /// A number that the report shows under this name.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.meter.counter(name)
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

/// What [`Kind::open`](crate::Kind::open) works with.
pub struct Opening<'a> {
    pub(crate) context: Context,
    pub(crate) threads: ThreadSetting,
    pub(crate) resources: &'a Resources,
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

    /// Adds a worker, which gets a thread of its own. `make` takes its ports from the endpoints and keeps them.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn worker<A: Actor>(
        &mut self,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<A, StageError>,
    ) -> Result<(), StageError> {
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
        let actor = Box::new(make(&mut endpoints)?);
        let Endpoints {
            inlets, mut leases, ..
        } = endpoints;
        witness.set_data(leases.clone());
        leases.extend(error_leases);
        // Only now: a worker that could not be made is not waited for.
        leases.iter().for_each(|ledger| ledger.add_producer());
        self.workers.push(Worker {
            actor,
            meter,
            witness,
            told: Arc::clone(&self.context.told),
            inlets,
            leases,
        });
        Ok(())
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
            let mut inlets = self.workers.iter().flat_map(|worker| &worker.inlets);
            inlets.any(|(ledger, _)| Arc::ptr_eq(ledger, &edge.ledger))
        };
        let feeds = |edge: &&WiredEdge| {
            let mut leases = self.workers.iter().flat_map(|worker| &worker.leases);
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
