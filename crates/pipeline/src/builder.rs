//! Assembles a job in Rust: the same graph and the same checks as a file, without TOML.

use std::sync::Arc;

use crate::config::{
    InputDescription, Location, PipelineSettings, Problem, Problems, ThreadSetting,
};
use crate::edge::Capacity;
use crate::graph::Node;
use crate::kind::ErasedKind;
use crate::results::{ResultsKind, results_channel};
use crate::shape::{SinkShape, SourceShape, TransformShape, ValueKind};
use crate::{Job, Kind, Message, Results, Sink, Source, Threading, Transform};

/// Assembles a job stage by stage. Stages are joined by the names of their ports; [`build`](Builder::build) checks all
/// that a file would be checked for.
pub struct Builder {
    name: String,
    settings: PipelineSettings,
    nodes: Vec<Node>,
}

/// A stage in a [`Builder`], to read from.
#[derive(Clone, Debug)]
pub struct StageRef {
    name: String,
}

/// An output of a stage in a [`Builder`].
#[derive(Clone, Debug)]
pub struct OutputRef {
    stage: String,
    port: Option<String>,
}

impl StageRef {
    /// One of its other outputs, such as `errors`.
    pub fn port(&self, port: &str) -> OutputRef {
        OutputRef {
            stage: self.name.clone(),
            port: Some(port.to_owned()),
        }
    }
}

impl From<&StageRef> for OutputRef {
    fn from(stage: &StageRef) -> OutputRef {
        OutputRef {
            stage: stage.name.clone(),
            port: None,
        }
    }
}

/// A stage that is being added: its inputs and settings can still be given.
pub struct NewStage<'a> {
    node: &'a mut Node,
    threading: Threading,
}

impl NewStage<'_> {
    /// Adds an input.
    #[must_use]
    pub fn reads(self, output: impl Into<OutputRef>) -> Self {
        self.input(None, output.into())
    }

    /// Adds an input on a named port.
    #[must_use]
    pub fn reads_on(self, port: &str, output: impl Into<OutputRef>) -> Self {
        self.input(Some(port.to_owned()), output.into())
    }

    fn input(self, port: Option<String>, output: OutputRef) -> Self {
        let location = self.node.inputs_location.clone();
        self.node.inputs.push(InputDescription {
            port,
            port_location: location.clone(),
            stage: output.stage,
            from_port: output.port,
            location,
        });
        self
    }

    /// Sets the number of threads of a kind that can run on several.
    ///
    /// # Panics
    /// If the kind runs on one thread and `count` is another number, or if `count` is 0.
    #[must_use]
    pub fn threads(self, count: usize) -> Self {
        assert!(count > 0, "a stage needs a thread");
        assert!(
            count == 1 || self.threading != Threading::Single,
            "{} runs on one thread",
            self.node.name
        );
        self.node.threads = ThreadSetting::Count(count);
        self
    }

    /// Lets a kind that can vary its number of threads choose among so many.
    ///
    /// # Panics
    /// If the kind cannot, if `min` is 0, or if it is above `max`.
    #[must_use]
    pub fn threads_between(self, min: usize, max: usize) -> Self {
        assert!(min > 0, "a stage needs a thread");
        assert!(min <= max, "between {min} and {max} there is no number");
        assert!(
            self.threading == Threading::Adaptive,
            "{} does not vary its number of threads; give it one",
            self.node.name
        );
        self.node.threads = ThreadSetting::Range { min, max };
        self
    }

    /// Sets how many messages the channels into this stage hold.
    ///
    /// # Panics
    /// If `messages` is 0: a channel without room is not a queue.
    #[must_use]
    pub fn capacity(self, messages: usize) -> Self {
        assert!(messages > 0, "a channel holds at least one message");
        self.node.capacity.messages = messages;
        self
    }

    /// Sets how many bytes the channels into this stage hold.
    #[must_use]
    pub fn capacity_bytes(self, bytes: usize) -> Self {
        self.node.capacity.bytes = bytes;
        self
    }

    /// Declares codes of errors acceptable: they are counted apart and leave the run complete.
    #[must_use]
    pub fn accept(self, codes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.node.accept.extend(codes.into_iter().map(Into::into));
        self
    }

    /// The stage, to read from.
    pub fn done(self) -> StageRef {
        StageRef {
            name: self.node.name.clone(),
        }
    }
}

impl Builder {
    /// A job without stages.
    pub fn new(name: impl Into<String>) -> Builder {
        Builder {
            name: name.into(),
            settings: PipelineSettings::default(),
            nodes: Vec::new(),
        }
    }

    /// A job without stages and with these settings, which hold for the stages added from now on.
    ///
    /// # Panics
    /// If `settings.capacity` is 0.
    #[must_use]
    pub fn with_settings(mut self, settings: PipelineSettings) -> Builder {
        assert!(
            settings.capacity > 0,
            "a channel holds at least one message"
        );
        self.settings = settings;
        self
    }

    /// Adds a stage of a kind, with its options as the kind's own type.
    pub fn stage<K: Kind>(&mut self, name: &str, kind: K, config: K::Config) -> NewStage<'_> {
        let threading = kind.threading();
        let location = Location::of_path(format!("stages.{name}"));
        let node = Node {
            name: name.to_owned(),
            inputs_location: location.child("inputs"),
            location,
            kind: Some((name.to_owned(), Arc::new(kind) as Arc<dyn ErasedKind>)),
            config: Some(Box::new(config)),
            options: None,
            inputs: Vec::new(),
            inputs_complete: true,
            threads: match threading {
                Threading::Single => ThreadSetting::Count(1),
                Threading::Parallel | Threading::Adaptive => ThreadSetting::Auto,
            },
            capacity: Capacity {
                messages: self.settings.capacity,
                bytes: usize::try_from(self.settings.capacity_bytes.bytes()).unwrap_or(usize::MAX),
            },
            accept: Vec::new(),
        };
        self.nodes.push(node);
        let last = self.nodes.len() - 1;
        NewStage {
            node: &mut self.nodes[last],
            threading,
        }
    }

    /// Adds a source.
    pub fn source<S: Source>(&mut self, name: &str, source: S) -> NewStage<'_> {
        self.stage(name, ValueKind::<SourceShape<(), S>>::new(), source)
    }

    /// Adds a transform.
    pub fn transform<T: Transform>(&mut self, name: &str, transform: T) -> NewStage<'_> {
        self.stage(name, ValueKind::<TransformShape<(), T>>::new(), transform)
    }

    /// Adds a sink.
    pub fn sink<S: Sink>(&mut self, name: &str, sink: S) -> NewStage<'_> {
        self.stage(name, ValueKind::<SinkShape<(), S>>::new(), sink)
    }

    /// Checks the job.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn build(self) -> Result<Job, Problems> {
        let mut problems = Problems::without_file();
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        for node in self.nodes.iter().filter(|node| !is_name(&node.name)) {
            problems.push(Problem::error(
                node.location.clone(),
                format!(
                    "{:?} is no name for a stage: ASCII letters, digits, `_` and `-` are",
                    node.name
                ),
            ));
        }
        Job::check(self.name, self.settings, self.nodes, None, problems)
    }

    /// Checks the job, starts it, and hands out the messages of one output as they come. The queue between is bounded:
    /// whoever reads slowly slows the run down.
    ///
    /// # Errors
    /// All that is wrong with the job, among it that the output does not carry messages of type `T`.
    pub fn results<T: Message>(
        mut self,
        output: impl Into<OutputRef>,
    ) -> Result<Results<T>, Problems> {
        let (sender, receiver) = results_channel();
        let _ = self
            .stage("results", ResultsKind::new(), sender)
            .reads(output);
        Ok(Results::start(self.build()?, receiver))
    }
}
