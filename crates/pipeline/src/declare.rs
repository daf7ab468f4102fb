//! The first step of a stage: from its configuration and what comes in, name and type the ports.
//!
//! One thing must stay true: declaring is pure. It opens nothing and touches nothing, so that `validate` can do
//! exactly what `run` does.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::config::{Location, Problem, ThreadSetting, did_you_mean};
use crate::edge::{Capacity, Edge};
use crate::endpoints::WiredEdge;
use crate::stream::MessageType;
use crate::{Message, Order, Properties, Stream};

/// The name of an input port that a job need not spell out.
pub const DEFAULT_INPUT: &str = "in";
/// The name of an output port that a job need not spell out.
pub const DEFAULT_OUTPUT: &str = "out";
/// The output port for [`ErrorRecord`](crate::ErrorRecord)s that every stage has.
pub const ERRORS_OUTPUT: &str = "errors";

/// So many unknown codes of one stage are reported: comparing each with all that are known takes its time.
const MOST_CODES: usize = 32;

/// A declared input port; [`Endpoints::input`](crate::Endpoints::input) turns it into an [`Inlet`](crate::Inlet).
pub struct InputPort<T> {
    pub(crate) index: usize,
    message: PhantomData<fn() -> T>,
}

/// A declared output port; [`Endpoints::output`](crate::Endpoints::output) turns it into an
/// [`Outlet`](crate::Outlet).
pub struct OutputPort<T> {
    pub(crate) index: usize,
    message: PhantomData<fn() -> T>,
}

impl<T> Clone for InputPort<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for InputPort<T> {}

impl<T> Clone for OutputPort<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OutputPort<T> {}

/// Makes the channel of an input port whose type the graph does not know.
pub(crate) type MakeEdge = fn(Capacity) -> WiredEdge;

fn make_edge<T: Message>(capacity: Capacity) -> WiredEdge {
    let edge = Edge::<T>::new(capacity);
    WiredEdge {
        ledger: Arc::clone(edge.ledger()),
        any: Box::new(edge),
    }
}

pub(crate) struct DeclaredInput {
    pub(crate) name: &'static str,
    pub(crate) accepts: Vec<MessageType>,
    pub(crate) make_edge: MakeEdge,
}

pub(crate) struct DeclaredOutput {
    pub(crate) name: &'static str,
    pub(crate) stream: Stream,
}

/// What a stage declared.
#[derive(Default)]
pub(crate) struct Declaration {
    pub(crate) inputs: Vec<DeclaredInput>,
    pub(crate) outputs: Vec<DeclaredOutput>,
    pub(crate) holds_everything: bool,
    pub(crate) problems: Vec<Problem>,
}

/// Collects what a stage declares, and tells it what comes in.
pub struct Declare<'a> {
    stage: &'a str,
    location: &'a Location,
    incoming: &'a [(String, Stream)],
    threads: ThreadSetting,
    /// The codes of errors that the job accepts from the stage.
    pub(crate) accept: &'a [String],
    pub(crate) declaration: Declaration,
}

impl<'a> Declare<'a> {
    pub(crate) fn new(
        stage: &'a str,
        location: &'a Location,
        incoming: &'a [(String, Stream)],
        threads: ThreadSetting,
    ) -> Declare<'a> {
        Declare {
            stage,
            location,
            incoming,
            threads,
            accept: &[],
            declaration: Declaration::default(),
        }
    }

    /// What is connected to an input port, if anything sound is.
    pub fn incoming(&self, port: &str) -> Option<&'a Stream> {
        self.incoming
            .iter()
            .find(|(name, _)| name == port)
            .map(|(_, stream)| stream)
    }

    /// On how many threads the stage will run.
    pub fn threads(&self) -> ThreadSetting {
        self.threads
    }

    /// Declares an input port for messages of type `T`.
    pub fn input<T: Message>(&mut self, name: &'static str) -> InputPort<T> {
        let index = self.declaration.inputs.len();
        self.declaration.inputs.push(DeclaredInput {
            name,
            accepts: vec![MessageType::of::<T>()],
            make_edge: make_edge::<T>,
        });
        InputPort {
            index,
            message: PhantomData,
        }
    }

    /// Adds a type that the port declared last would take as well, had it been connected: only for the error message
    /// of a stage that chooses the type of a port by what comes in.
    pub fn or_takes<T: Message>(&mut self) {
        if let Some(input) = self.declaration.inputs.last_mut() {
            input.accepts.push(MessageType::of::<T>());
        }
    }

    /// Declares an output port for messages of type `T`, and what the stage vouches for.
    ///
    /// An order is taken back by the framework where the stage runs on several threads.
    pub fn output<T: Message>(
        &mut self,
        name: &'static str,
        mut properties: Properties,
    ) -> OutputPort<T> {
        if self.threads.count() != Some(1) {
            let threads = match self.threads {
                ThreadSetting::Auto => "several threads".to_owned(),
                ThreadSetting::Count(count) => format!("{count} threads"),
                ThreadSetting::Range { max, .. } => format!("up to {max} threads"),
            };
            properties.order = properties.order.lost_unless(
                format!("set threads = 1 on stage {:?}", self.stage),
                format!("stage {:?} runs on {threads}", self.stage),
            );
        }
        let index = self.declaration.outputs.len();
        self.declaration.outputs.push(DeclaredOutput {
            name,
            stream: Stream {
                message: MessageType::of::<T>(),
                properties,
            },
        });
        OutputPort {
            index,
            message: PhantomData,
        }
    }

    /// States that the stage sends nothing before it has received everything, as a sort does.
    pub fn holds_everything(&mut self) {
        self.declaration.holds_everything = true;
    }

    /// States which codes the stage's errors can have, so that the job accepts no other: one that is misspelt would
    /// never be met, and the job's owner would not know. A kind that does not call this lets every code pass.
    ///
    /// `known` are the codes to suggest from; `is_known` says of any code whether it can occur.
    pub fn error_codes<'k>(
        &mut self,
        known: impl IntoIterator<Item = &'k str>,
        is_known: impl Fn(&str) -> bool,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let accept = self.accept.iter().enumerate();
        for (place, code) in accept.filter(|(_, code)| !is_known(code)).take(MOST_CODES) {
            let help = did_you_mean(code, "codes", known.iter().copied());
            let help = help.or_else(|| {
                let example = known.first()?;
                Some(format!(
                    "errors are told by their codes, such as {example:?}"
                ))
            });
            let message = format!("no error of this stage has the code {code:?}");
            self.problem(&format!("accept[{place}]"), message, help);
        }
    }

    /// Reports a problem unless what comes in on `port` is ordered by `keys`.
    pub fn needs_order(&mut self, port: &str, keys: &[&str]) {
        let Some(stream) = self.incoming(port) else {
            return;
        };
        let by = keys.join(", ");
        let mut help = format!("put a sort by {by} right before it");
        let why_not = match &stream.properties.order {
            Order::By(have)
                if have
                    .iter()
                    .zip(keys)
                    .filter(|(have, want)| have == want)
                    .count()
                    == keys.len() =>
            {
                return;
            }
            Order::By(have) => format!("it is ordered by {}", have.join(", ")),
            Order::Lost {
                keys: lost,
                why,
                remedy,
            } => {
                if let Some(remedy) = remedy {
                    help = format!("{help}, or {remedy}");
                }
                format!("the order by {} is lost: {why}", lost.join(", "))
            }
            Order::Unknown => "nothing orders it".to_owned(),
        };
        let inputs = self.location.child("inputs");
        let (location, input) = match port {
            DEFAULT_INPUT => (inputs, "its input".to_owned()),
            port => (inputs.child(port), format!("its input {port:?}")),
        };
        let message = format!("needs {input} ordered by {by}, but {why_not}");
        let problem = Problem::error(location, message).help(help);
        self.declaration.problems.push(problem);
    }

    /// Reports a problem with one of the stage's options, with a part of one, such as `roots[2]` or `limits.size`, or,
    /// where `option` is empty, with all of them together.
    pub fn problem(&mut self, option: &str, message: impl Into<String>, help: Option<String>) {
        let location = match option {
            "" => self.location.clone(),
            option => self.location.below(option),
        };
        let mut problem = Problem::error(location, message);
        problem.help = help;
        self.declaration.problems.push(problem);
    }
}
