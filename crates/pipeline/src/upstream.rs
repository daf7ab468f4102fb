//! The stages before one, for those that must know what they cannot see: what was left out, what could not be read.
//!
//! One thing must stay true: a stage that hears of the end of an input, or of anything that a stage which holds everything
//! sends, finds here all that was noted before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::UnreadList;
use crate::error_record::ErrorTally;
use crate::graph::Graph;
use crate::meter::StageMeter;

/// A stage from which the messages of an input come, from near or far.
#[derive(Clone)]
pub struct Upstream {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) options: Option<Value>,
    pub(crate) is_source: bool,
    pub(crate) meter: Arc<StageMeter>,
    pub(crate) tally: Arc<ErrorTally>,
}

impl Upstream {
    /// Its name in the job.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its options as they are in force; not known of a stage that a program added as a value.
    pub fn options(&self) -> Option<&Value> {
        self.options.as_ref()
    }

    /// Whether nothing comes in to it.
    pub fn is_source(&self) -> bool {
        self.is_source
    }

    /// What it has stated about this run so far, see [`Context::set_fact`](crate::Context::set_fact).
    pub fn facts(&self) -> BTreeMap<String, Value> {
        self.meter.facts()
    }

    /// What it has not looked at so far: all that it reported an error of, and what it
    /// [noted](crate::Errors::note_unread).
    pub fn unread(&self) -> UnreadList {
        self.tally.unread()
    }

    /// How much that is.
    pub fn unread_count(&self) -> u64 {
        self.tally.unread_count()
    }
}

/// For each input port of a stage, the places of the stages that its messages come from, from the nearest to the
/// furthest. What comes in from a port for errors is no part of what was read.
pub(crate) fn ancestors(graph: &Graph, stage: usize) -> BTreeMap<&'static str, Vec<usize>> {
    let stages = &graph.stages;
    let declared = &stages[stage].declaration.inputs;
    let ports = declared.iter().zip(&stages[stage].feeds);
    ports
        .map(|(input, feeds)| {
            let mut found = Vec::new();
            let mut waiting = feeds.to_vec();
            while let Some(feed) = waiting.pop() {
                if feed.port.is_none() || found.contains(&feed.stage) {
                    continue;
                }
                found.push(feed.stage);
                waiting.extend(stages[feed.stage].feeds.iter().flatten().copied());
            }
            // The order in which messages travel, backwards.
            found.sort_unstable_by(|a, b| b.cmp(a));
            (input.name, found)
        })
        .collect()
}
