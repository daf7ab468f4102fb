//! Stages with several inputs that could wait for each other for ever.
//!
//! A part of the check of a graph, where the ports are known. One thing must stay true: what passes can always go on,
//! however full the channels are, as long as every stage reads what it says that it reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::{Problem, Problems};
use crate::graph::{Checked, Node, OutputRef};

/// Refuses stages with several input ports that could wait for ever.
///
/// While such a stage waits at one port, the channels into its others fill up, and whoever feeds those blocks. That is
/// the end if the port that it waits at needs one so blocked: two ports of the stage draw on one ancestor; or two
/// stages draw on the same two ancestors crosswise; and so on round longer circles. Only a stage that holds everything
/// (a sort) keeps its ancestors from blocking.
pub(crate) fn report(
    nodes: &[Node],
    order: &[usize],
    checked: &BTreeMap<usize, Checked>,
    problems: &mut Problems,
) {
    let branches = branches(order, checked);
    let node = |place: usize| &nodes[order[place]];
    let mut on_report = BTreeSet::new();
    for (at, one) in branches.iter().enumerate() {
        for other in branches[at + 1..].iter().filter(|b| b.stage == one.stage) {
            let blocked = one.blocked_by(other).max(other.blocked_by(one));
            let Some(ancestor) = blocked else { continue };
            on_report.insert(one.stage);
            problems.push(
                Problem::error(
                    node(one.stage).inputs_location.clone(),
                    format!(
                        "the inputs {:?} and {:?} both come from {:?}, and would wait for each other for ever",
                        one.port,
                        other.port,
                        node(ancestor).name
                    ),
                )
                .help("let a stage that holds everything, such as a sort, stand on both ways"),
            );
        }
    }
    // A stage that waits at one port can make another wait at `next`: some other port of that one then goes unread, and
    // blocks what the first needs.
    let leads_to: Vec<Vec<usize>> = branches
        .iter()
        .map(|awaited| {
            let mut led = Vec::new();
            let mut at = 0;
            for ports in branches.chunk_by(|a, b| a.stage == b.stage) {
                let blocks = |unread: &Branch| awaited.blocked_by(unread).is_some();
                let blocking: Vec<bool> = ports.iter().map(blocks).collect();
                let count = blocking.iter().filter(|blocks| **blocks).count();
                for blocks in blocking {
                    if ports[0].stage != awaited.stage && count > usize::from(blocks) {
                        led.push(at);
                    }
                    at += 1;
                }
            }
            led
        })
        .collect();
    for start in 0..branches.len() {
        if on_report.contains(&branches[start].stage) {
            continue;
        }
        let Some(circle) = shortest_circle(&leads_to, start) else {
            continue;
        };
        let stages: BTreeSet<usize> = circle.iter().map(|&at| branches[at].stage).collect();
        if !stages.is_disjoint(&on_report) {
            continue;
        }
        let names: Vec<&str> = stages.iter().map(|&at| node(at).name.as_str()).collect();
        problems.push(
            Problem::error(
                node(branches[start].stage).inputs_location.clone(),
                format!(
                    "the inputs of {} come from the same stages, and would wait for each other for ever",
                    names.join(" and ")
                ),
            )
            .help("give each of them stages of its own to read from, or sort before each input"),
        );
        on_report.extend(stages);
    }
}

/// Places in the order of the stages, as bits: jobs that compare everything with everything ask for many intersections.
#[derive(Clone, Default)]
struct Places(Vec<u64>);

impl Places {
    fn insert(&mut self, place: usize) {
        let word = place / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (place % 64);
    }

    fn extend(&mut self, other: &Places) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(own, other)| *own |= other);
    }

    /// The last place that is in both.
    fn last_common(&self, other: &Places) -> Option<usize> {
        let words = self.0.iter().zip(&other.0).map(|(own, other)| own & other);
        let words: Vec<u64> = words.collect();
        let word = words.iter().rposition(|word| *word != 0)?;
        Some(word * 64 + words[word].ilog2() as usize)
    }
}

/// The stages whose messages arrive at a port, from near and far.
#[derive(Clone, Default)]
struct Ancestry {
    all: Places,
    /// Those with a way here on which nothing holds everything: when this port is not read, they block in the end.
    direct: Places,
}

impl Ancestry {
    fn extend(&mut self, other: &Ancestry) {
        self.all.extend(&other.all);
        self.direct.extend(&other.direct);
    }
}

/// An input port of a stage with several.
struct Branch {
    /// The stage's place in the order.
    stage: usize,
    port: &'static str,
    ancestry: Ancestry,
}

impl Branch {
    /// The nearest stage that this port needs, and that blocks because `unread` is not read.
    fn blocked_by(&self, unread: &Branch) -> Option<usize> {
        self.ancestry.all.last_common(&unread.ancestry.direct)
    }
}

/// The ports of all stages with several, and what arrives at them.
fn branches(order: &[usize], checked: &BTreeMap<usize, Checked>) -> Vec<Branch> {
    /// What a stage's messages come from: its data, and its errors, which no stage holds back.
    struct Origin {
        data: Ancestry,
        errors: Ancestry,
    }
    let mut origins: BTreeMap<usize, Origin> = BTreeMap::new();
    let mut branches = Vec::new();
    for (place, index) in order.iter().enumerate() {
        let Some(stage) = checked.get(index) else {
            continue;
        };
        let arrive = |feeds: &Vec<OutputRef>| {
            let mut arrived = Ancestry::default();
            for feed in feeds {
                match (origins.get(&feed.stage), feed.port) {
                    (Some(origin), Some(_)) => arrived.extend(&origin.data),
                    (Some(origin), None) => arrived.extend(&origin.errors),
                    (None, _) => {}
                }
            }
            arrived
        };
        let ports: Vec<Ancestry> = stage.feeds.iter().map(arrive).collect();
        let mut errors = Ancestry::default();
        ports.iter().for_each(|port| errors.extend(port));
        let mut data = errors.clone();
        if stage.declaration.holds_everything {
            data.direct = Places::default();
        }
        for ancestry in [&mut data, &mut errors] {
            ancestry.all.insert(place);
            ancestry.direct.insert(place);
        }
        origins.insert(*index, Origin { data, errors });
        if ports.len() > 1 {
            let named = stage.declaration.inputs.iter().zip(ports);
            branches.extend(named.map(|(input, ancestry)| Branch {
                stage: place,
                port: input.name,
                ancestry,
            }));
        }
    }
    branches
}

/// The shortest way from a node back to itself.
fn shortest_circle(leads_to: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut came_from = vec![None; leads_to.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for &next in &leads_to[at] {
            if next == start {
                let mut circle = vec![at];
                while let Some(previous) = came_from[circle[circle.len() - 1]] {
                    circle.push(previous);
                }
                return Some(circle);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(at);
                queue.push_back(next);
            }
        }
    }
    None
}
