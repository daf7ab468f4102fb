//! Where workers get their ports, and their places on the ledgers with them.
//!
//! One thing must stay true: whoever holds a sending end stands on the edge's ledger as a producer, from before its
//! thread starts until the end was given up.

use std::any::Any;
use std::sync::Arc;

use crate::declare::{InputPort, OutputPort};
use crate::edge::{AnyEdge, Edge, EdgeSender, Ledger};
use crate::error_record::ErrorTally;
use crate::fault::Health;
use crate::meter::WorkerMeter;
use crate::port::{Fan, InletProgress, Witness};
use crate::worker::Post;
use crate::{Context, ErrorRecord, Errors, Inlet, Message, Outlet, StageError};

/// One edge as the graph holds it before its type is known again.
pub(crate) struct WiredEdge {
    pub(crate) any: Box<dyn AnyEdge>,
    pub(crate) ledger: Arc<Ledger>,
}

/// The edges of one stage: one into each input port, some out of each output port.
pub(crate) struct Wiring {
    pub(crate) inputs: Vec<Arc<WiredEdge>>,
    pub(crate) outputs: Vec<Vec<Arc<WiredEdge>>>,
    pub(crate) errors: Vec<Arc<WiredEdge>>,
}

impl Wiring {
    /// The same with the ends that belong to the stage alone, for who keeps them while the run goes on.
    fn halves(&self) -> Wiring {
        let half = |edge: &Arc<WiredEdge>, half: fn(&dyn AnyEdge) -> Box<dyn AnyEdge>| {
            Arc::new(WiredEdge {
                any: half(&*edge.any),
                ledger: Arc::clone(&edge.ledger),
            })
        };
        let sending = |edge: &Arc<WiredEdge>| half(edge, |edge| edge.sending_half());
        let receiving = |edge: &Arc<WiredEdge>| half(edge, |edge| edge.receiving_half());
        let outputs = self.outputs.iter();
        Wiring {
            inputs: self.inputs.iter().map(receiving).collect(),
            outputs: outputs
                .map(|edges| edges.iter().map(sending).collect())
                .collect(),
            errors: self.errors.iter().map(sending).collect(),
        }
    }
}

/// Where the workers of a stage get their ports.
pub(crate) struct StagePorts {
    pub(crate) context: Context,
    pub(crate) wiring: Wiring,
    pub(crate) tally: Arc<ErrorTally>,
}

impl StagePorts {
    /// Another one that keeps no channel open but with the ends that the stage itself uses.
    pub(crate) fn halves(&self) -> StagePorts {
        StagePorts {
            context: self.context.clone(),
            wiring: self.wiring.halves(),
            tally: Arc::clone(&self.tally),
        }
    }

    pub(crate) fn stage(&self) -> &str {
        &self.context.stage
    }

    pub(crate) fn health(&self) -> &Health {
        &self.context.health
    }

    /// The ledgers of all edges that the stage can send on.
    pub(crate) fn outgoing(&self) -> Vec<Arc<Ledger>> {
        let wiring = &self.wiring;
        let edges = wiring.outputs.iter().flatten().chain(&wiring.errors);
        edges.map(|edge| Arc::clone(&edge.ledger)).collect()
    }

    /// Makes a worker, and its place in the run but for the ledgers: on those of its `leases` it has to be entered as a
    /// producer. `number` counts the workers of the stage.
    pub(crate) fn equip<W>(
        &self,
        number: usize,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<W, StageError>,
    ) -> Result<(W, Post), StageError> {
        let context = &self.context;
        let meter = Arc::new(WorkerMeter::new(
            &context.meter,
            number,
            !self.wiring.inputs.is_empty(),
        ));
        let witness = Arc::new(Witness::default());
        let (errors, error_leases) = senders::<ErrorRecord>(&self.wiring.errors, context);
        let errors = Arc::new(Errors::new(
            &self.tally,
            Fan::new(errors, &meter, &witness, false),
        ));
        let mut endpoints = Endpoints {
            ports: self,
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
        let post = Post {
            meter,
            witness,
            told: Arc::clone(&context.told),
            reserve: Arc::clone(&context.reserve),
            inlets,
            leases,
        };
        Ok((worker, post))
    }
}

/// The ports of one worker.
pub struct Endpoints<'a> {
    ports: &'a StagePorts,
    meter: &'a Arc<WorkerMeter>,
    witness: &'a Arc<Witness>,
    errors: Arc<Errors>,
    inlets: Vec<(Arc<Ledger>, Arc<InletProgress>)>,
    leases: Vec<Arc<Ledger>>,
}

impl Endpoints<'_> {
    /// The receiving end of a port. The workers of a stage share what comes in.
    pub fn input<T: Message>(&mut self, port: &InputPort<T>) -> Inlet<T> {
        let edge = &self.ports.wiring.inputs[port.index];
        let typed = typed_edge::<T>(edge);
        let progress = Arc::new(InletProgress::default());
        self.inlets
            .push((Arc::clone(&edge.ledger), Arc::clone(&progress)));
        Inlet::new(
            typed.receiver(&self.ports.context.health),
            self.meter,
            self.witness,
            &progress,
        )
    }

    /// The sending end of a port.
    pub fn output<T: Message>(&mut self, port: &OutputPort<T>) -> Outlet<T> {
        let edges = &self.ports.wiring.outputs[port.index];
        let (consumers, leases) = senders(edges, &self.ports.context);
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
    edges: &[Arc<WiredEdge>],
    context: &Context,
) -> (Vec<EdgeSender<T>>, Vec<Arc<Ledger>>) {
    let ends = edges.iter().map(|edge| {
        let sender = typed_edge(edge).sender(&context.health);
        (sender, Arc::clone(&edge.ledger))
    });
    ends.unzip()
}

fn typed_edge<T: Message>(edge: &WiredEdge) -> &Edge<T> {
    let any: &dyn Any = &*edge.any;
    any.downcast_ref()
        .expect("the graph joined only ports of one type")
}
