//! What a job told a stage to do, as reports and the marks of outputs repeat it.
//!
//! One thing must stay true: it says what was in force in the run, after variables, overrides and defaults.

use std::collections::BTreeMap;

use crate::graph::Graph;

/// What one stage of a job was told to do.
pub(crate) struct StageSpec {
    /// Its kind.
    pub(crate) kind: String,
    /// What feeds each input port: outputs as jobs write them.
    pub(crate) inputs: BTreeMap<String, Vec<String>>,
    /// The codes of errors that leave the run complete.
    pub(crate) accept: Vec<String>,
    /// The options, where they can be written as JSON.
    pub(crate) options: Option<serde_json::Value>,
}

impl StageSpec {
    /// Of each stage of a graph.
    pub(crate) fn of_all(graph: &Graph) -> Vec<StageSpec> {
        let stages = graph.stages.iter();
        let spec = stages.map(|stage| {
            let ports = stage.declaration.inputs.iter().zip(&stage.feeds);
            let inputs = ports.map(|(input, feeds)| {
                let feeds = feeds.iter().map(|feed| graph.output_name(*feed));
                (input.name.to_owned(), feeds.collect())
            });
            StageSpec {
                kind: stage.kind.clone(),
                inputs: inputs.collect(),
                accept: stage.accept.iter().cloned().collect(),
                options: stage.options.clone(),
            }
        });
        spec.collect()
    }
}
