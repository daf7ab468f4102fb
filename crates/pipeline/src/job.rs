//! A job that has been checked and can run.

use std::path::Path;
use std::sync::Arc;

use crate::config::{
    self, Environment, Location, PipelineSettings, Problem, Problems, StageDescription,
    ThreadSetting, did_you_mean,
};
use crate::edge::Capacity;
use crate::graph::{Graph, GraphStage, Node};
use crate::registry::Entry;
use crate::run::Run;
use crate::{ByteSize, CancelHandle, Registry, RunReport, Threading};

/// The most bytes that all channels of a job in a file may hold together.
const MOST_QUEUED: u64 = 1 << 30;

/// A checked job: what a file or a [`Builder`](crate::Builder) describes, ready to start once.
pub struct Job {
    pub(crate) name: String,
    pub(crate) settings: PipelineSettings,
    pub(crate) graph: Graph,
    warnings: Problems,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stages: Vec<&str> = self
            .graph
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("stages", &stages)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Checks the job in `text`.
    ///
    /// `file` names the text in messages, and the job itself where it has no name of its own. `overrides` are
    /// assignments such as `stages.meta.threads=8`, applied before anything is interpreted. `environment` looks up
    /// `${VARIABLES}`: the library itself reads no environment.
    ///
    /// # Errors
    /// All that is wrong with the job.
    pub fn parse(
        registry: &Registry,
        file: &str,
        text: &str,
        environment: &Environment<'_>,
        overrides: &[String],
    ) -> Result<Job, Problems> {
        let mut problems = Problems::in_file(file, text);
        let Some(description) = config::describe(&mut problems, environment, overrides) else {
            return Err(problems);
        };
        let settings = description.pipeline;
        let nodes = description
            .stages
            .into_iter()
            .map(|stage| node(stage, &settings, registry, &mut problems))
            .collect();
        let name = settings.name.clone().unwrap_or_else(|| {
            Path::new(file).file_stem().map_or_else(
                || file.to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            )
        });
        let mut job = Job::check(name, settings, nodes, Some(registry), problems)?;
        // A program that assembles a job may have reasons; in a file it is a mistake.
        match job.queues_too_much() {
            Some(problem) => {
                job.warnings.push(problem);
                Err(job.warnings)
            }
            None => Ok(job),
        }
    }

    pub(crate) fn check(
        name: String,
        settings: PipelineSettings,
        nodes: Vec<Node>,
        registry: Option<&Registry>,
        mut problems: Problems,
    ) -> Result<Job, Problems> {
        let Some(graph) = Graph::check(nodes, registry, &mut problems) else {
            return Err(problems);
        };
        Ok(Job {
            name,
            settings,
            graph,
            warnings: problems,
        })
    }

    /// The problem of channels that together hold more than [`MOST_QUEUED`], at the setting that most of it comes from.
    fn queues_too_much(&self) -> Option<Problem> {
        let queued = self.queue_bytes();
        if queued <= MOST_QUEUED {
            return None;
        }
        let channels: usize = self
            .graph
            .stages
            .iter()
            .map(|stage| stage.feeds.len())
            .sum();
        let held = |stage: &GraphStage| stage.feeds.len().saturating_mul(stage.capacity.bytes);
        let most = self.graph.stages.iter().max_by_key(|stage| held(stage))?;
        let is_own = most.capacity.bytes as u64 != self.settings.capacity_bytes.bytes();
        let path = match is_own {
            true => Location::of_path("stages")
                .child(&most.name)
                .child("capacity_bytes"),
            false => Location::of_path("pipeline.capacity_bytes"),
        };
        let fair = MOST_QUEUED / channels.max(1) as u64;
        // In whole units, so that it reads well.
        let unit = if fair >= 1 << 20 { 1 << 20 } else { 1 << 10 };
        let fair = ByteSize::from_bytes(fair / unit * unit);
        let message = format!(
            "the channels of this job may hold {} in all, and {} is the most",
            ByteSize::from_bytes(queued),
            ByteSize::from_bytes(MOST_QUEUED)
        );
        let help = match channels {
            1 => format!("write capacity_bytes = \"{fair}\""),
            _ => format!("with capacity_bytes = \"{fair}\" for each of the {channels} it fits"),
        };
        Some(Problem::error(path, message).help(help))
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What holds for the whole job.
    pub fn settings(&self) -> &PipelineSettings {
        &self.settings
    }

    /// What is odd about the job without keeping it from running.
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// The name and the kind of every stage, in the order in which messages travel.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &str)> {
        let stages = self.graph.stages.iter();
        stages.map(|stage| (stage.name.as_str(), stage.kind.as_str()))
    }

    /// The options of a stage as they are in force, defaults included; `None` if there is no such stage, or if they cannot
    /// be written as JSON.
    pub fn options(&self, stage: &str) -> Option<&serde_json::Value> {
        let mut stages = self.graph.stages.iter();
        stages.find(|known| known.name == stage)?.options.as_ref()
    }

    /// What all channels of the job hold at the most, in bytes, but for single messages larger than a whole channel.
    /// In a job from a text it is no more than 1 GiB.
    pub fn queue_bytes(&self) -> u64 {
        self.graph
            .stages
            .iter()
            .map(|stage| stage.feeds.len().saturating_mul(stage.capacity.bytes) as u64)
            .fold(0, u64::saturating_add)
    }

    /// Starts the job: opens its stages and starts their threads.
    ///
    /// A stage that cannot be opened makes a run that has failed already; waiting for it tells why.
    pub fn start(self, cancel: &CancelHandle) -> Run {
        Run::start(self, cancel)
    }

    /// Runs the job to its end.
    pub fn run(self) -> RunReport {
        self.start(&CancelHandle::new()).wait()
    }
}

fn node(
    stage: StageDescription,
    settings: &PipelineSettings,
    registry: &Registry,
    problems: &mut Problems,
) -> Node {
    let entry = stage.kind.as_deref().and_then(|kind| {
        let entry = registry.entry(kind);
        if entry.is_none() {
            let mut problem = Problem::error(
                stage.kind_location.clone(),
                format!("no stage type is called {kind:?}"),
            );
            problem.help = did_you_mean(kind, "types", registry.names());
            problems.push(problem);
        }
        entry
    });
    let decoded = entry.and_then(|entry| (entry.decode)(&stage.options, problems));
    let (config, options) = match decoded {
        Some(decoded) => (Some(decoded.config), decoded.told),
        None => (None, None),
    };
    let misspelt_inputs = stage.inputs.is_empty()
        && entry.is_some_and(|entry| (entry.misspells_inputs)(&stage.options));
    let threads = threads(stage.kind.as_deref(), entry, stage.threads, problems);
    Node {
        name: stage.name,
        location: stage.location,
        kind: stage.kind.zip(entry.map(|entry| Arc::clone(&entry.kind))),
        config,
        options,
        inputs: stage.inputs,
        inputs_complete: stage.inputs_complete && !misspelt_inputs,
        inputs_location: stage.inputs_location,
        threads,
        capacity: Capacity {
            messages: stage
                .capacity
                .map_or(settings.capacity, |(capacity, _)| capacity),
            bytes: usize::try_from(
                stage
                    .capacity_bytes
                    .map_or(settings.capacity_bytes, |(capacity, _)| capacity)
                    .bytes(),
            )
            .unwrap_or(usize::MAX),
        },
        accept: stage.accept.map(|(codes, _)| codes).unwrap_or_default(),
    }
}

/// The threads of a stage, unless its kind cannot have so many.
fn threads(
    kind: Option<&str>,
    entry: Option<&Entry>,
    setting: Option<(ThreadSetting, Location)>,
    problems: &mut Problems,
) -> ThreadSetting {
    let kind = kind.unwrap_or_default();
    match (entry.map(|entry| entry.threading), setting) {
        // What pays for a stage of one thread is one.
        (Some(Threading::Single), Some((setting, location))) => {
            if !matches!(setting.count(), Some(1)) && setting != ThreadSetting::Auto {
                let message = format!("a stage of type {kind} runs on one thread");
                problems.push(Problem::error(location, message).help("take `threads` out"));
            }
            ThreadSetting::Count(1)
        }
        (Some(Threading::Single), None) => ThreadSetting::Count(1),
        (Some(Threading::Parallel), Some((ThreadSetting::Range { max, .. }, location))) => {
            let message = format!("a stage of type {kind} does not vary its number of threads");
            let help = format!("write a number, such as threads = {max}, or \"auto\"");
            problems.push(Problem::error(location, message).help(help));
            ThreadSetting::Count(max)
        }
        (_, setting) => setting.map_or(ThreadSetting::Auto, |(setting, _)| setting),
    }
}
