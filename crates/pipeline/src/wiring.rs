//! From a checked graph to workers that hold their ports: channels are made, then stages opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::endpoints::{StagePorts, WiredEdge, Wiring};
use crate::error_record::ErrorTally;
use crate::fault::{Fault, FaultKind, Health};
use crate::graph::{Graph, GraphStage};
use crate::meter::StageMeter;
use crate::monitor::{MonitoredEdge, MonitoredStage};
use crate::opening::{Context, Patience, Resources};
use crate::reserve::Reserve;
use crate::stage_spec::StageSpec;
use crate::upstream::{Upstream, ancestors};
use crate::worker::{Worker, discard, panic_message};
use crate::{Opening, PublishOrder, Publisher};

/// The edges into each input port of each stage.
pub(crate) type Edges = Vec<Vec<Arc<WiredEdge>>>;

/// Makes a channel for each input port.
pub(crate) fn wire(graph: &Graph) -> (Edges, Vec<MonitoredEdge>) {
    let mut edges = Vec::with_capacity(graph.stages.len());
    let mut monitored = Vec::new();
    for stage in &graph.stages {
        let mut ports = Vec::with_capacity(stage.feeds.len());
        for (input, feeds) in stage.declaration.inputs.iter().zip(&stage.feeds) {
            let edge = (input.make_edge)(stage.capacity);
            monitored.push(MonitoredEdge {
                from: feeds.iter().map(|feed| graph.output_name(*feed)).collect(),
                to: stage.name.clone(),
                port: input.name,
                message: input.accepts[0].name,
                ledger: Arc::clone(&edge.ledger),
            });
            ports.push(Arc::new(edge));
        }
        edges.push(ports);
    }
    (edges, monitored)
}

/// What opening the stages of a graph yields.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) stages: Vec<MonitoredStage>,
    pub(crate) workers: Vec<(usize, Worker)>,
    /// Of the stages that have one.
    pub(crate) reserves: Vec<(usize, Arc<Reserve>)>,
    pub(crate) publishers: Vec<(usize, PublishOrder, Box<dyn Publisher>)>,
}

/// Opens the stages in the order in which messages travel, up to the first that fails; its fault is on record then.
pub(crate) fn open(
    graph: Graph,
    edges: &Edges,
    health: &Arc<Health>,
    keep_partial: bool,
    patience: Patience<'_>,
) -> Opened {
    let specs = StageSpec::of_all(&graph);
    let ancestors: Vec<_> = (0..graph.stages.len())
        .map(|stage| ancestors(&graph, stage))
        .collect();
    let mut upstream: Vec<Upstream> = Vec::with_capacity(graph.stages.len());
    let mut outputs: Vec<Wiring> = graph
        .stages
        .iter()
        .zip(edges)
        .map(|(stage, inputs)| Wiring {
            inputs: inputs.clone(),
            outputs: vec![Vec::new(); stage.declaration.outputs.len()],
            errors: Vec::new(),
        })
        .collect();
    for (stage, inputs) in graph.stages.iter().zip(edges) {
        for (feeds, edge) in stage.feeds.iter().zip(inputs) {
            for feed in feeds {
                let wiring = &mut outputs[feed.stage];
                match feed.port {
                    Some(port) => wiring.outputs[port].push(Arc::clone(edge)),
                    None => wiring.errors.push(Arc::clone(edge)),
                }
            }
        }
    }
    let resources = Resources::default();
    let mut opened = Opened::default();
    let stages = graph.stages.into_iter().zip(outputs).zip(specs);
    for (index, ((stage, wiring), spec)) in stages.enumerate() {
        let GraphStage {
            name,
            threads,
            accept,
            declaration,
            open,
            ..
        } = stage;
        let meter = Arc::new(StageMeter::new());
        let tally = Arc::new(ErrorTally::new(&name, accept));
        // Messages travel in the order of the stages, so all that come before this one are there.
        let before = ancestors[index].iter().map(|(&port, places)| {
            let places = places.iter().filter_map(|&place| upstream.get(place));
            (port, places.cloned().collect())
        });
        let before = Arc::new(before.collect());
        upstream.push(Upstream {
            name: name.clone(),
            kind: spec.kind.clone(),
            options: spec.options.clone(),
            is_source: spec.inputs.is_empty(),
            meter: Arc::clone(&meter),
            tally: Arc::clone(&tally),
        });
        opened.stages.push(MonitoredStage {
            name: name.clone(),
            spec,
            threads: AtomicUsize::new(0),
            meter: Arc::clone(&meter),
            tally: Arc::clone(&tally),
        });
        // What comes after a stage that could not be opened is in the report, and nothing more.
        if health.stopping() {
            continue;
        }
        let reserve = Arc::new(Reserve::default());
        let mut opening = Opening {
            ports: StagePorts {
                context: Context {
                    stage: Arc::from(name.as_str()),
                    health: Arc::clone(health),
                    meter: Arc::clone(&meter),
                    told: Arc::default(),
                    reserve: Arc::clone(&reserve),
                    upstream: before,
                },
                wiring,
                tally: Arc::clone(&tally),
            },
            threads,
            keep_partial,
            resources: &resources,
            patience,
            workers: Vec::new(),
            reserve: Vec::new(),
            publishers: Vec::new(),
        };
        let result = catch_unwind(AssertUnwindSafe(|| open(&mut opening)));
        let message = match result {
            Ok(Ok(())) => opening.defect(&declaration),
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic_message(&*panic)),
        };
        let Opening {
            ports,
            workers,
            reserve: makes,
            publishers,
            ..
        } = opening;
        opened.stages[index].threads = AtomicUsize::new(workers.len());
        meter.joined(workers.len(), patience.began);
        if message.is_none() && !makes.is_empty() {
            reserve.fill(makes, ports.halves(), workers.len());
            opened.reserves.push((index, reserve));
        } else {
            discard(makes, &name, health);
        }
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
