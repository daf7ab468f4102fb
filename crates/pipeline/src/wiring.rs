//! From a checked graph to workers that hold their ports: channels are made, then stages opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error_record::ErrorTally;
use crate::fault::{Fault, FaultKind, Health};
use crate::graph::{Graph, GraphStage};
use crate::meter::StageMeter;
use crate::monitor::{MonitoredEdge, MonitoredStage};
use crate::opening::{Context, Patience, Resources, WiredEdge, Wiring};
use crate::stage_spec::StageSpec;
use crate::upstream::{Upstream, ancestors};
use crate::worker::{Worker, panic_message};
use crate::{Opening, PublishOrder, Publisher};

/// The edges into each input port of each stage.
pub(crate) type Edges = Vec<Vec<WiredEdge>>;

/// Makes a channel for each input port.
pub(crate) fn wire(graph: &Graph) -> (Edges, Vec<MonitoredEdge>) {
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
pub(crate) struct Opened {
    pub(crate) stages: Vec<MonitoredStage>,
    pub(crate) workers: Vec<(usize, Worker)>,
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
                upstream: before,
            },
            threads,
            keep_partial,
            resources: &resources,
            patience,
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
