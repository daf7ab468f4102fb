//! The kinds of stage that a job can name.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Location, Problems, STAGE_KEYS, StageOptions, ThreadSetting, field_names};
use crate::declare::{DEFAULT_INPUT, DEFAULT_OUTPUT, Declaration, Declare};
use crate::kind::{AnyConfig, ErasedKind};
use crate::shape::{ClosureKind, Options, SinkShape, SourceShape, TransformShape};
use crate::stream::MessageType;
use crate::{Kind, Sink, Source, StageError, Threading, Transform};

/// Kinds of stage by name. Kinds are added by value; nothing registers itself.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<String, Entry>,
}

pub(crate) struct Entry {
    pub(crate) kind: Arc<dyn ErasedKind>,
    pub(crate) about: &'static str,
    pub(crate) threading: Threading,
    pub(crate) decode: fn(&StageOptions, &mut Problems) -> Option<Decoded>,
    /// Whether the inputs are among the options, misspelt.
    pub(crate) misspells_inputs: fn(&StageOptions) -> bool,
    schema: fn() -> schemars::Schema,
}

/// The options of a stage: for its kind, and as a report tells them.
pub(crate) struct Decoded {
    pub(crate) config: AnyConfig,
    pub(crate) told: Option<serde_json::Value>,
}

/// What is known of a kind without using it.
#[derive(Clone, Debug)]
pub struct KindInfo {
    /// The name that jobs use.
    pub name: String,
    /// One line: what it does.
    pub about: &'static str,
    /// Whether it can run on several threads.
    pub threading: Threading,
    /// Its input ports, none if it is a source. A port that takes what comes is shown with all that it takes.
    pub inputs: Vec<PortInfo>,
    /// Its output ports, none if it is an end. Every stage has the port `errors` besides.
    pub outputs: Vec<PortInfo>,
    /// Its options as a JSON schema, with their types, defaults and descriptions.
    pub options: schemars::Schema,
}

/// A port of a kind, as far as it is known without a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its name; the usual port of a stage is `in` or `out`.
    pub name: &'static str,
    /// The types of messages that it takes or sends.
    pub messages: Vec<&'static str>,
}

/// Details of a kind that was just registered.
pub struct Registration<'a> {
    entry: &'a mut Entry,
}

impl Registration<'_> {
    /// Sets the line that describes the kind in lists.
    pub fn about(self, about: &'static str) -> Self {
        self.entry.about = about;
        self
    }

    /// Lets jobs run the stage on several threads, each with a value of its own. Its output is then in no order.
    pub fn parallel(self) -> Self {
        self.entry.threading = Threading::Parallel;
        self
    }
}

impl Registry {
    /// A registry without kinds.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a kind.
    ///
    /// # Panics
    /// If the name is taken, or if an option has the name of a key that every stage has, such as
    /// `inputs`, and so could never be given: mistakes in the program, not in a job.
    pub fn register<K: Kind>(&mut self, name: &str, kind: K) -> Registration<'_>
    where
        K::Config: DeserializeOwned + Serialize + JsonSchema,
    {
        assert!(
            !self.kinds.contains_key(name),
            "a stage kind called {name:?} is registered already"
        );
        for option in field_names::<K::Config>() {
            assert!(
                !STAGE_KEYS.contains(option),
                "an option of {name:?} is called {option:?}, which is a key of every stage"
            );
        }
        let entry = Entry {
            about: kind.about(),
            threading: kind.threading(),
            decode: |options, problems| {
                let config = options.decode::<K::Config>(problems)?;
                Some(Decoded {
                    // Options that JSON cannot hold are left out of reports, and nothing else depends on it.
                    told: serde_json::to_value(&config).ok(),
                    config: Box::new(config),
                })
            },
            misspells_inputs: |options| options.misspells::<K::Config>("inputs"),
            schema: || schemars::schema_for!(K::Config),
            kind: Arc::new(kind),
        };
        Registration {
            entry: self.kinds.entry(name.to_owned()).or_insert(entry),
        }
    }

    /// Adds a source made by a closure of its options. The closure is also called to validate a job: it checks and
    /// builds, and acquires nothing.
    ///
    /// # Panics
    /// As [`register`](Registry::register).
    pub fn source<C: Options, S: Source>(
        &mut self,
        name: &str,
        factory: impl Fn(C) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Registration<'_> {
        self.register(name, ClosureKind::<_, SourceShape<C, S>>::new(factory))
    }

    /// Adds a transform made by a closure of its options; as [`source`](Registry::source).
    ///
    /// # Panics
    /// As [`register`](Registry::register).
    pub fn transform<C: Options, T: Transform>(
        &mut self,
        name: &str,
        factory: impl Fn(C) -> Result<T, StageError> + Send + Sync + 'static,
    ) -> Registration<'_> {
        self.register(name, ClosureKind::<_, TransformShape<C, T>>::new(factory))
    }

    /// Adds a sink made by a closure of its options; as [`source`](Registry::source).
    ///
    /// # Panics
    /// As [`register`](Registry::register).
    pub fn sink<C: Options, S: Sink>(
        &mut self,
        name: &str,
        factory: impl Fn(C) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Registration<'_> {
        self.register(name, ClosureKind::<_, SinkShape<C, S>>::new(factory))
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = KindInfo> + '_ {
        self.kinds.iter().map(|(name, entry)| info(name, entry))
    }

    /// One kind.
    pub fn kind(&self, name: &str) -> Option<KindInfo> {
        self.kinds.get(name).map(|entry| info(name, entry))
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.kinds.get(name)
    }

    /// The kinds that make one of some types of messages of another, by way of their usual ports.
    pub(crate) fn converters(&self, from: MessageType, to: &[MessageType]) -> Vec<&str> {
        self.which(|declaration| {
            let mut outputs = declaration.outputs.iter();
            takes(declaration, from)
                && outputs.any(|output| {
                    output.name == DEFAULT_OUTPUT && to.contains(&output.stream.message)
                })
        })
    }

    /// The kinds that take a type of messages on their usual port.
    pub(crate) fn takers(&self, message: MessageType) -> Vec<&str> {
        self.which(|declaration| takes(declaration, message))
    }

    fn which(&self, is_wanted: impl Fn(&Declaration) -> bool) -> Vec<&str> {
        let kinds = self.kinds.iter();
        let wanted = kinds.filter(|(name, entry)| is_wanted(&declaration(name, entry)));
        wanted.map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

/// What a kind declares without a configuration and without input.
fn declaration(name: &str, entry: &Entry) -> Declaration {
    let location = Location::of_path("");
    let mut ports = Declare::new(name, &location, &[], ThreadSetting::Count(1));
    Arc::clone(&entry.kind).declare(None, &mut ports);
    ports.declaration
}

fn takes(declaration: &Declaration, message: MessageType) -> bool {
    let mut inputs = declaration.inputs.iter();
    inputs.any(|input| input.name == DEFAULT_INPUT && input.accepts.contains(&message))
}

fn info(name: &str, entry: &Entry) -> KindInfo {
    let declaration = declaration(name, entry);
    let inputs = declaration.inputs.into_iter();
    let outputs = declaration.outputs.into_iter();
    KindInfo {
        name: name.to_owned(),
        about: entry.about,
        threading: entry.threading,
        inputs: inputs
            .map(|port| PortInfo {
                name: port.name,
                messages: port.accepts.iter().map(|message| message.name).collect(),
            })
            .collect(),
        outputs: outputs
            .map(|port| PortInfo {
                name: port.name,
                messages: vec![port.stream.message.name],
            })
            .collect(),
        options: (entry.schema)(),
    }
}
