//! The checked graph of a job: every name resolved, every port typed, nothing that could hang.
//!
//! Both ways of describing a job, a file and the builder, end here, so both are held to the same rules. One thing must
//! stay true: a [`Graph`] exists only if it can be wired and run as it stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::config::{
    InputDescription, LISTED_TWICE, Location, Problem, Problems, ThreadSetting, closest,
    did_you_mean,
};
use crate::declare::{DEFAULT_INPUT, DEFAULT_OUTPUT, Declaration, ERRORS_OUTPUT};
use crate::edge::Capacity;
use crate::kind::{AnyConfig, ErasedKind, OpenStage};
use crate::stream::MessageType;
use crate::{Declare, ErrorRecord, Properties, Registry, Stream, waits};

/// A stage as described, before it is checked.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) location: Location,
    /// `None` when the kind is not known; that has been reported.
    pub(crate) kind: Option<(String, Arc<dyn ErasedKind>)>,
    /// `None` when it was wrong; that has been reported.
    pub(crate) config: Option<AnyConfig>,
    /// The same as reports tell it.
    pub(crate) options: Option<serde_json::Value>,
    pub(crate) inputs: Vec<InputDescription>,
    /// False when an input was wrong and left out; that has been reported.
    pub(crate) inputs_complete: bool,
    pub(crate) inputs_location: Location,
    pub(crate) threads: ThreadSetting,
    pub(crate) capacity: Capacity,
    /// The codes in the order in which they were written.
    pub(crate) accept: Vec<String>,
}

/// Where a message leaves a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutputRef {
    /// The stage's place in [`Graph::stages`].
    pub(crate) stage: usize,
    /// The output port's place in the declaration; `None` for `errors`.
    pub(crate) port: Option<usize>,
}

/// A stage of a checked graph.
pub(crate) struct GraphStage {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) threads: ThreadSetting,
    pub(crate) capacity: Capacity,
    pub(crate) accept: BTreeSet<String>,
    pub(crate) options: Option<serde_json::Value>,
    pub(crate) declaration: Declaration,
    pub(crate) open: OpenStage,
    /// For each declared input port, what feeds it.
    pub(crate) feeds: Vec<Vec<OutputRef>>,
}

/// A graph that can run. Stages stand in topological order.
pub(crate) struct Graph {
    pub(crate) stages: Vec<GraphStage>,
}

/// Chains of more stages are shown in part.
const LONGEST_CHAIN: usize = 8;

/// A stage half-way through the check.
pub(crate) struct Checked {
    pub(crate) declaration: Declaration,
    open: Option<OpenStage>,
    pub(crate) feeds: Vec<Vec<OutputRef>>,
}

impl Graph {
    /// Checks a described graph and reports everything that is wrong with it. The registry, where there is one, only
    /// helps with advice.
    pub(crate) fn check(
        mut nodes: Vec<Node>,
        registry: Option<&Registry>,
        problems: &mut Problems,
    ) -> Option<Graph> {
        let upstream = resolve(&nodes, problems);
        let order = topological_order(&nodes, &upstream, problems);
        let mut checked: BTreeMap<usize, Checked> = BTreeMap::new();
        for &index in &order {
            let config = nodes[index].config.take();
            let behind = Behind {
                nodes: &nodes,
                upstream: &upstream[index],
                checked: &checked,
                registry,
            };
            if let Some(stage) = declare(&nodes[index], config, &behind, problems) {
                checked.insert(index, stage);
            }
        }
        report_unread(&nodes, &upstream, &checked, problems);
        waits::report(&nodes, &order, &checked, problems);
        if problems.has_errors() {
            return None;
        }
        assemble(nodes, &order, checked)
    }
}

impl Graph {
    /// An output as a job writes it: `walk`, `walk.errors`.
    pub(crate) fn output_name(&self, output: OutputRef) -> String {
        let stage = &self.stages[output.stage];
        match output.port.map(|port| stage.declaration.outputs[port].name) {
            Some(DEFAULT_OUTPUT) => stage.name.clone(),
            Some(port) => format!("{}.{port}", stage.name),
            None => format!("{}.{ERRORS_OUTPUT}", stage.name),
        }
    }
}

/// For each node and each of its inputs, the node it comes from.
type Upstream = Vec<Vec<Option<usize>>>;

fn resolve(nodes: &[Node], problems: &mut Problems) -> Upstream {
    let mut by_name = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if by_name.insert(node.name.as_str(), index).is_some() {
            problems.push(Problem::error(
                node.location.clone(),
                format!("a stage called {:?} exists already", node.name),
            ));
        }
    }
    let mut upstream = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut seen = BTreeSet::new();
        let resolved = node.inputs.iter().map(|input| {
            let found = by_name.get(input.stage.as_str()).copied();
            if found.is_none() {
                let mut problem = Problem::error(
                    input.location.clone(),
                    format!("no stage is called {:?}", input.stage),
                );
                if problems.wants_help() {
                    problem.help = did_you_mean(&input.stage, "stages", by_name.keys().copied());
                }
                problems.push(problem);
            } else if !seen.insert((
                input.port.as_deref().unwrap_or(DEFAULT_INPUT),
                &input.stage,
                input.from_port.as_deref().unwrap_or(DEFAULT_OUTPUT),
            )) {
                problems.push(
                    Problem::error(
                        input.location.clone(),
                        format!("{:?} is listed twice", input.stage),
                    )
                    .help(LISTED_TWICE),
                );
            }
            found
        });
        upstream.push(resolved.collect());
    }
    upstream
}

/// Sorts the nodes so that each follows all it reads from. Nodes on or behind a cycle are left out, the cycle reported.
fn topological_order(nodes: &[Node], upstream: &Upstream, problems: &mut Problems) -> Vec<usize> {
    let mut missing: Vec<usize> = upstream
        .iter()
        .map(|inputs| inputs.iter().flatten().count())
        .collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (reader, inputs) in upstream.iter().enumerate() {
        for &source in inputs.iter().flatten() {
            readers[source].push(reader);
        }
    }
    let mut ready: VecDeque<usize> = (0..nodes.len())
        .filter(|&node| missing[node] == 0)
        .collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(node) = ready.pop_front() {
        order.push(node);
        for &reader in &readers[node] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    let mut on_report: BTreeSet<usize> = order.iter().copied().collect();
    for start in 0..nodes.len() {
        if on_report.contains(&start) {
            continue;
        }
        // Upstream of a node that never became ready there is always another such node: following them ends in a cycle.
        let mut path = vec![start];
        let mut at = start;
        let cycle = loop {
            let Some(next) = upstream[at]
                .iter()
                .flatten()
                .copied()
                .find(|&source| missing[source] > 0)
            else {
                break None;
            };
            if let Some(first) = path.iter().position(|&node| node == next) {
                break Some(path.split_off(first));
            }
            path.push(next);
            at = next;
        };
        let Some(mut cycle) = cycle else { continue };
        if cycle.iter().any(|node| on_report.contains(node)) {
            on_report.extend(path);
            continue;
        }
        on_report.extend(path);
        on_report.extend(cycle.iter().copied());
        // The walk went upstream; messages go the other way. Start where the file does.
        cycle.reverse();
        let earliest = (0..cycle.len()).min_by_key(|&at| cycle[at]).unwrap_or(0);
        cycle.rotate_left(earliest);
        problems.push(feeding_each_other(nodes, upstream, &cycle));
    }
    order
}

/// The problem of a cycle, at the input of its first stage that closes it.
fn feeding_each_other(nodes: &[Node], upstream: &Upstream, cycle: &[usize]) -> Problem {
    let (first, last) = (cycle[0], cycle[cycle.len() - 1]);
    let mut inputs = nodes[first].inputs.iter().zip(&upstream[first]);
    let closing = inputs.find(|(_, source)| **source == Some(last));
    let location = closing.map_or(&nodes[first].inputs_location, |(input, _)| &input.location);
    let name = |&node: &usize| nodes[node].name.clone();
    let mut chain: Vec<String> = cycle.iter().map(name).collect();
    if chain.len() > LONGEST_CHAIN {
        let left_out = chain.len() - LONGEST_CHAIN;
        chain.splice(
            LONGEST_CHAIN - 1..chain.len() - 1,
            [format!("… {left_out} more …")],
        );
    }
    chain.push(name(&first));
    let chain = chain.join(" → ");
    let (message, help) = match cycle {
        [_] => ("a stage feeds itself", "take this input out"),
        _ => ("stages feed each other", "take one of these inputs out"),
    };
    Problem::error(location.clone(), format!("{message}: {chain}"))
        .help(format!("messages travel one way; {help}"))
}

/// What comes in on one port: from whom, and what all of them have in common.
struct Arrival {
    port: String,
    /// The input descriptions, by their place, and what each is fed by.
    from: Vec<(usize, OutputRef, Stream)>,
}

/// What stands upstream of the stage that is being declared.
struct Behind<'a> {
    nodes: &'a [Node],
    /// For each input of the stage, the node it comes from.
    upstream: &'a [Option<usize>],
    checked: &'a BTreeMap<usize, Checked>,
    registry: Option<&'a Registry>,
}

fn declare(
    node: &Node,
    config: Option<AnyConfig>,
    behind: &Behind<'_>,
    problems: &mut Problems,
) -> Option<Checked> {
    let (kind_name, kind) = node.kind.as_ref()?;
    let mut all_known = node.inputs_complete;
    let mut arrivals: Vec<Arrival> = Vec::new();
    for (place, (input, source)) in node.inputs.iter().zip(behind.upstream).enumerate() {
        let port = input
            .port
            .clone()
            .unwrap_or_else(|| DEFAULT_INPUT.to_owned());
        let arrival = match arrivals.iter().position(|arrival| arrival.port == port) {
            Some(at) => at,
            None => {
                arrivals.push(Arrival {
                    port,
                    from: Vec::new(),
                });
                arrivals.len() - 1
            }
        };
        match source.and_then(|source| outgoing(behind, source, input, problems)) {
            Some((output, stream)) => arrivals[arrival].from.push((place, output, stream)),
            None => all_known = false,
        }
    }
    let incoming: Vec<(String, Stream)> = arrivals
        .iter()
        .filter_map(|arrival| {
            let stream = merge(node, behind.nodes, &arrival.from)?;
            Some((arrival.port.clone(), stream))
        })
        .collect();

    let mut ports = Declare::new(&node.name, &node.location, &incoming, node.threads);
    ports.accept = &node.accept;
    let open = Arc::clone(kind).declare(config, &mut ports);
    let mut declaration = ports.declaration;
    problems.extend(std::mem::take(&mut declaration.problems));

    let mut feeds = vec![Vec::new(); declaration.inputs.len()];
    for arrival in &arrivals {
        let Some(at) = declaration
            .inputs
            .iter()
            .position(|input| input.name == arrival.port)
        else {
            report_unknown_port(node, kind_name, &declaration, &arrival.port, problems);
            all_known = false;
            continue;
        };
        let accepts = &declaration.inputs[at].accepts;
        for (place, output, stream) in &arrival.from {
            if stream.message == accepts[0] {
                feeds[at].push(*output);
            } else {
                let mut problem = wrong_type(&node.inputs[*place], kind_name, accepts, stream);
                problem.help = behind
                    .registry
                    .and_then(|registry| between(registry, stream.message, accepts));
                problems.push(problem);
                all_known = false;
            }
        }
    }
    if all_known {
        for (input, feeds) in declaration.inputs.iter().zip(&feeds) {
            if feeds.is_empty() {
                problems.push(missing_input(node, kind_name, input.name));
            }
        }
    }
    Some(Checked {
        declaration,
        open,
        feeds,
    })
}

/// The output port that an input names, and what it carries.
fn outgoing(
    behind: &Behind<'_>,
    source: usize,
    input: &InputDescription,
    problems: &mut Problems,
) -> Option<(OutputRef, Stream)> {
    let port = input.from_port.as_deref().unwrap_or(DEFAULT_OUTPUT);
    if port == ERRORS_OUTPUT {
        let stream = Stream {
            message: MessageType::of::<ErrorRecord>(),
            properties: Properties::default(),
        };
        return Some((
            OutputRef {
                stage: source,
                port: None,
            },
            stream,
        ));
    }
    let declaration = &behind.checked.get(&source)?.declaration;
    if let Some(at) = declaration
        .outputs
        .iter()
        .position(|output| output.name == port)
    {
        let output = OutputRef {
            stage: source,
            port: Some(at),
        };
        return Some((output, declaration.outputs[at].stream.clone()));
    }
    problems.push(unknown_output(&behind.nodes[source], input, declaration));
    None
}

/// The problem of an input that names no output of its stage.
fn unknown_output(source: &Node, input: &InputDescription, declaration: &Declaration) -> Problem {
    let stage = &source.name;
    let written = |port: &str| match port {
        DEFAULT_OUTPUT => stage.clone(),
        port => format!("{stage}.{port}"),
    };
    let outputs = declaration.outputs.iter().map(|output| output.name);
    let problem = |message: String| Problem::error(input.location.clone(), message);
    let Some(port) = &input.from_port else {
        let outputs: Vec<String> = outputs.map(|port| format!("{:?}", written(port))).collect();
        return match outputs.is_empty() {
            true => problem(format!("stage {stage:?} has no output but its errors"))
                .help(format!("to read those, write {:?}", written(ERRORS_OUTPUT))),
            false => problem(format!("stage {stage:?} has no main output")).help(format!(
                "write which of its outputs: {}",
                outputs.join(", ")
            )),
        };
    };
    let known: Vec<&str> = outputs.chain([ERRORS_OUTPUT]).collect();
    let help = match closest(port, known.iter().copied()) {
        Some(near) => format!("did you mean {:?}?", written(near)),
        None => {
            let known: Vec<String> = known.into_iter().map(written).collect();
            format!("known outputs: {}", known.join(", "))
        }
    };
    problem(format!("stage {stage:?} has no output called {port:?}")).help(help)
}

/// What several producers of one port of `node` have in common.
fn merge(node: &Node, nodes: &[Node], from: &[(usize, OutputRef, Stream)]) -> Option<Stream> {
    let ((_, _, first), others) = from.split_first()?;
    let mut merged = first.clone();
    if !others.is_empty() {
        let names = from
            .iter()
            .map(|(_, output, _)| format!("{:?}", nodes[output.stage].name));
        let names: Vec<String> = names.collect();
        merged.properties.order = merged.properties.order.lost(format!(
            "{} flow together in {:?}",
            names.join(" and "),
            node.name
        ));
        for (_, _, other) in others {
            merged
                .properties
                .fields
                .retain(|field| other.properties.fields.contains(field));
        }
    }
    Some(merged)
}

fn report_unknown_port(
    node: &Node,
    kind: &str,
    declaration: &Declaration,
    port: &str,
    problems: &mut Problems,
) {
    let known: Vec<&str> = declaration.inputs.iter().map(|input| input.name).collect();
    let named = node
        .inputs
        .iter()
        .find(|input| input.port.as_deref() == Some(port));
    let location = named
        .map_or(&node.inputs_location, |input| &input.port_location)
        .clone();
    let problem = match (&known[..], named) {
        ([], _) => Problem::error(
            node.inputs_location.clone(),
            format!("a stage of type {kind} takes no input"),
        )
        .help("take `inputs` out"),
        (_, Some(_)) => {
            let mut problem = Problem::error(
                location,
                format!("a stage of type {kind} has no input called {port:?}"),
            );
            problem.help = did_you_mean(port, "inputs", known);
            problem
        }
        (_, None) => {
            let example: Vec<String> = known.iter().map(|name| format!("{name} = \"…\"")).collect();
            Problem::error(
                location,
                format!("a stage of type {kind} has more than one input, so each needs its name"),
            )
            .help(format!("write inputs = {{ {} }}", example.join(", ")))
        }
    };
    problems.push(problem);
}

fn wrong_type(
    input: &InputDescription,
    kind: &str,
    accepts: &[MessageType],
    stream: &Stream,
) -> Problem {
    let mut names: Vec<&str> = accepts.iter().map(|accepted| accepted.name).collect();
    names.dedup();
    let source = match &input.from_port {
        Some(port) => format!("{}.{port}", input.stage),
        None => input.stage.clone(),
    };
    Problem::error(
        input.location.clone(),
        format!(
            "{source:?} sends {}, but a stage of type {kind} takes {}",
            stream.message.name,
            names.join(" or ")
        ),
    )
}

/// What could stand between an output and an input of another type, or else what takes the output as it is.
fn between(registry: &Registry, sent: MessageType, accepts: &[MessageType]) -> Option<String> {
    /// A longer list is no advice.
    const MOST: usize = 4;
    let converters = registry.converters(sent, accepts);
    if (1..=MOST).contains(&converters.len()) {
        return Some(format!(
            "put a stage of type {} in between",
            converters.join(" or ")
        ));
    }
    let takers = registry.takers(sent);
    (1..=MOST).contains(&takers.len()).then(|| {
        format!(
            "what takes {}: stages of type {}",
            sent.name,
            takers.join(", ")
        )
    })
}

fn missing_input(node: &Node, kind: &str, port: &str) -> Problem {
    if port == DEFAULT_INPUT {
        Problem::error(
            node.inputs_location.clone(),
            format!("a stage of type {kind} needs an input"),
        )
        .help("add inputs = [\"name of a stage\"]")
    } else {
        Problem::error(
            node.inputs_location.clone(),
            format!("a stage of type {kind} needs its input {port:?}"),
        )
        .help(format!(
            "write inputs = {{ {port} = \"name of a stage\", … }}"
        ))
    }
}

/// Data that nobody reads is a mistake in the job; errors may go unread, since they are counted anyhow.
fn report_unread(
    nodes: &[Node],
    upstream: &Upstream,
    checked: &BTreeMap<usize, Checked>,
    problems: &mut Problems,
) {
    // An input that is missing, or one whose stage's name is wrong, may have been meant for any of them.
    let lacks_input = |(index, stage): (&usize, &Checked)| {
        let named = |port| {
            let mut inputs = nodes[*index].inputs.iter();
            inputs.any(|input| input.port.as_deref().unwrap_or(DEFAULT_INPUT) == port)
        };
        let mut inputs = stage.declaration.inputs.iter();
        inputs.any(|input| !named(input.name))
    };
    if nodes.iter().any(|node| !node.inputs_complete)
        || upstream.iter().flatten().any(Option::is_none)
        || checked.iter().any(lacks_input)
    {
        return;
    }
    let mut read: BTreeSet<(usize, &str)> = BTreeSet::new();
    for (node, sources) in nodes.iter().zip(upstream) {
        for (input, source) in node.inputs.iter().zip(sources) {
            let port = input.from_port.as_deref().unwrap_or(DEFAULT_OUTPUT);
            read.extend(source.map(|source| (source, port)));
        }
    }
    for (&index, stage) in checked {
        let node = &nodes[index];
        let outputs = || stage.declaration.outputs.iter().map(|output| output.name);
        let is_known = |port: &str| port == ERRORS_OUTPUT || outputs().any(|known| known == port);
        let of_stage = (index, "")..(index + 1, "");
        if read.range(of_stage).any(|(_, port)| !is_known(port)) {
            // So may one whose port is wrong, for any of these.
            continue;
        }
        for output in outputs().filter(|output| !read.contains(&(index, output))) {
            let problem = |message: String| Problem::error(node.location.clone(), message);
            let name = &node.name;
            problems.push(match output {
                DEFAULT_OUTPUT => problem(format!("no stage reads what {name:?} sends")).help(
                    format!("add {name:?} to the inputs of a stage, or take the stage out"),
                ),
                output => problem(format!("no stage reads the output {output:?} of {name:?}"))
                    .help(format!("add \"{name}.{output}\" to the inputs of a stage")),
            });
        }
    }
}

fn assemble(
    nodes: Vec<Node>,
    order: &[usize],
    mut checked: BTreeMap<usize, Checked>,
) -> Option<Graph> {
    let mut place = vec![0; nodes.len()];
    for (at, &node) in order.iter().enumerate() {
        place[node] = at;
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut stages = Vec::with_capacity(order.len());
    for &index in order {
        let node = nodes[index].take()?;
        let stage = checked.remove(&index)?;
        let feeds = stage
            .feeds
            .into_iter()
            .map(|port| {
                port.into_iter()
                    .map(|feed| OutputRef {
                        stage: place[feed.stage],
                        ..feed
                    })
                    .collect()
            })
            .collect();
        stages.push(GraphStage {
            name: node.name,
            kind: node.kind?.0,
            threads: node.threads,
            capacity: node.capacity,
            accept: node.accept.into_iter().collect(),
            options: node.options,
            declaration: stage.declaration,
            open: stage.open?,
            feeds,
        });
    }
    Some(Graph { stages })
}
