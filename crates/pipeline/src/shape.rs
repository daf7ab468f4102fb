//! Runs the simple shapes as actors, and makes kinds of plain closures.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::declare::{DEFAULT_INPUT, DEFAULT_OUTPUT, InputPort, OutputPort};
use crate::{
    Actor, Declare, Endpoints, Errors, Inlet, Kind, Message, Opening, Outlet, Properties,
    PublishOrder, Publisher, Received, Sink, Source, StageError, Stop, Transform, Verdict,
};

/// A source as an actor.
pub(crate) struct SourceActor<S: Source> {
    pub(crate) source: S,
    pub(crate) out: Outlet<S::Out>,
}

impl<S: Source> Actor for SourceActor<S> {
    fn run(&mut self) -> Result<(), StageError> {
        self.source.run(&mut self.out)
    }
}

/// A transform as an actor.
pub(crate) struct TransformActor<T: Transform> {
    pub(crate) transform: T,
    pub(crate) input: Inlet<T::In>,
    pub(crate) out: Outlet<T::Out>,
}

impl<T: Transform> Actor for TransformActor<T> {
    fn run(&mut self) -> Result<(), StageError> {
        loop {
            // A transform that sends little would else hear late, or never, that nobody wants its output.
            if !self.out.is_wanted() {
                return Err(StageError::ENOUGH);
            }
            let mut received = self.input.try_recv()?;
            if let Received::Idle = received {
                self.transform.idle(&mut self.out)?;
                received = self.input.wait(self.transform.deadline())?;
            }
            let message = match received {
                Received::Message(message) => message,
                Received::Idle => {
                    self.transform.idle(&mut self.out)?;
                    continue;
                }
                Received::End => return self.transform.finish(&mut self.out),
            };
            self.transform.apply(message, &mut self.out)?;
            let deadline = self.transform.deadline();
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.transform.idle(&mut self.out)?;
            }
        }
    }
}

/// Where a sink waits for the verdict.
struct Waiting<S>(Arc<Mutex<Option<HandedIn<S>>>>);

/// A sink that its thread is done with.
enum HandedIn<S> {
    /// It saw all of its input and prepared.
    Prepared(S),
    /// It was stopped on the way, and what there is of its result may be kept.
    Cut(S),
}

/// A sink as an actor. The sink moves to where it waits for the verdict when it has prepared.
struct SinkActor<S: Sink> {
    sink: Option<S>,
    input: Inlet<S::In>,
    errors: Arc<Errors>,
    waiting: Arc<Mutex<Option<HandedIn<S>>>>,
    keep_partial: bool,
    started: bool,
}

impl<S: Sink> SinkActor<S> {
    fn hand_in(&mut self, how: fn(S) -> HandedIn<S>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = self.sink.take().map(how);
    }
}

impl<S: Sink> Drop for SinkActor<S> {
    fn drop(&mut self) {
        // One that is here still was stopped; one that never ran has nothing to keep.
        if self.keep_partial && self.started && self.sink.is_some() {
            self.hand_in(HandedIn::Cut);
        }
    }
}

impl<S: Sink> Actor for SinkActor<S> {
    fn run(&mut self) -> Result<(), StageError> {
        self.started = true;
        let Some(sink) = self.sink.as_mut() else {
            return Ok(());
        };
        while let Some(message) = self.input.recv()? {
            match sink.write(message, &self.errors) {
                Err(StageError::Stopped(Stop::Enough)) => {
                    self.input.enough();
                    break;
                }
                outcome => outcome?,
            }
        }
        sink.prepare()?;
        self.hand_in(HandedIn::Prepared);
        Ok(())
    }
}

impl<S: Sink> Publisher for Waiting<S> {
    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(HandedIn::Prepared(sink)) => sink.seal(verdict),
            Some(HandedIn::Cut(_)) | None => Ok(()),
        }
    }

    fn publish(self: Box<Self>, verdict: &Verdict) -> Result<(), StageError> {
        let handed_in = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let keeps = verdict.keep_partial && !verdict.outcome.publishes();
        match handed_in {
            Some(HandedIn::Prepared(sink) | HandedIn::Cut(sink)) if keeps => sink.keep(verdict),
            Some(HandedIn::Prepared(sink)) => sink.publish(verdict),
            // Dropping it leaves nothing.
            Some(HandedIn::Cut(_)) | None => Ok(()),
        }
    }
}

impl Opening<'_> {
    /// Adds a worker that runs a [`Source`].
    ///
    /// # Errors
    /// What `make` returns.
    pub fn source<S: Source>(
        &mut self,
        out: &OutputPort<S::Out>,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<S, StageError>,
    ) -> Result<(), StageError> {
        self.worker(|ends| {
            Ok(SourceActor {
                source: make(ends)?,
                out: ends.output(out),
            })
        })
    }

    /// Adds a worker that runs a [`Transform`].
    ///
    /// # Errors
    /// What `make` returns.
    pub fn transform<T: Transform>(
        &mut self,
        input: &InputPort<T::In>,
        out: &OutputPort<T::Out>,
        make: impl FnOnce(&mut Endpoints<'_>) -> Result<T, StageError>,
    ) -> Result<(), StageError> {
        self.worker(|ends| {
            Ok(TransformActor {
                transform: make(ends)?,
                input: ends.input(input),
                out: ends.output(out),
            })
        })
    }

    /// Adds the one worker of a [`Sink`], and the publishing that follows it.
    ///
    /// # Errors
    /// None of its own.
    pub fn sink<S: Sink>(
        &mut self,
        input: &InputPort<S::In>,
        order: PublishOrder,
        sink: S,
    ) -> Result<(), StageError> {
        let waiting = Arc::new(Mutex::new(None));
        let place = Arc::clone(&waiting);
        let keep_partial = self.keep_partial;
        self.worker(|ends| {
            Ok(SinkActor {
                sink: Some(sink),
                input: ends.input(input),
                errors: ends.errors(),
                waiting,
                keep_partial,
                started: false,
            })
        })?;
        self.publisher(order, Waiting(place));
        Ok(())
    }
}

/// The properties that a transform passes on: those of its input, if the type of message stays the same.
fn passed_on<O: Message>(ports: &Declare<'_>) -> Properties {
    match ports.incoming(DEFAULT_INPUT) {
        Some(stream) if stream.is::<O>() => stream.properties.clone(),
        _ => Properties::default(),
    }
}

/// Builds once to learn of problems while nothing runs yet; what was built is dropped.
fn try_build<C: Clone, T>(
    factory: &impl Fn(C) -> Result<T, StageError>,
    config: Option<&C>,
    ports: &mut Declare<'_>,
) {
    if let Some(Err(error)) = config.map(|config| factory(config.clone())) {
        ports.problem("", error.to_string(), None);
    }
}

/// The options of a stage whose kind is made of a closure.
///
/// They are read from a job's TOML, and written to reports as they were in force.
pub trait Options: DeserializeOwned + Serialize + JsonSchema + Clone + Send + 'static {}

impl<C: DeserializeOwned + Serialize + JsonSchema + Clone + Send + 'static> Options for C {}

/// A closure as a kind; `S` only marks the shape.
pub(crate) struct ClosureKind<F, S> {
    factory: F,
    shape: PhantomData<fn() -> S>,
}

impl<F, S> ClosureKind<F, S> {
    pub(crate) fn new(factory: F) -> Self {
        ClosureKind {
            factory,
            shape: PhantomData,
        }
    }
}

/// Marks a closure that makes a [`Source`] of options `C`.
pub(crate) struct SourceShape<C, S>(PhantomData<(C, S)>);
/// Marks a closure that makes a [`Transform`] of options `C`.
pub(crate) struct TransformShape<C, T>(PhantomData<(C, T)>);
/// Marks a closure that makes a [`Sink`] of options `C`.
pub(crate) struct SinkShape<C, S>(PhantomData<(C, S)>);

impl<F, C, S> Kind for ClosureKind<F, SourceShape<C, S>>
where
    F: Fn(C) -> Result<S, StageError> + Send + Sync + 'static,
    C: Options,
    S: Source,
{
    type Config = C;
    type Ports = OutputPort<S::Out>;

    fn declare(&self, config: Option<&C>, ports: &mut Declare<'_>) -> Self::Ports {
        try_build(&self.factory, config, ports);
        ports.output(DEFAULT_OUTPUT, Properties::default())
    }

    fn open(&self, config: C, out: Self::Ports, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.source(&out, |_| (self.factory)(config))
    }
}

impl<F, C, T> Kind for ClosureKind<F, TransformShape<C, T>>
where
    F: Fn(C) -> Result<T, StageError> + Send + Sync + 'static,
    C: Options,
    T: Transform,
{
    type Config = C;
    type Ports = (InputPort<T::In>, OutputPort<T::Out>);

    fn declare(&self, config: Option<&C>, ports: &mut Declare<'_>) -> Self::Ports {
        try_build(&self.factory, config, ports);
        let properties = passed_on::<T::Out>(ports);
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
        )
    }

    fn open(
        &self,
        config: C,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        for _ in 0..stage.threads().resolve() {
            stage.transform(&input, &out, |_| (self.factory)(config.clone()))?;
        }
        Ok(())
    }
}

impl<F, C, S> Kind for ClosureKind<F, SinkShape<C, S>>
where
    F: Fn(C) -> Result<S, StageError> + Send + Sync + 'static,
    C: Options,
    S: Sink,
{
    type Config = C;
    type Ports = InputPort<S::In>;

    fn declare(&self, config: Option<&C>, ports: &mut Declare<'_>) -> Self::Ports {
        try_build(&self.factory, config, ports);
        ports.input(DEFAULT_INPUT)
    }

    fn open(
        &self,
        config: C,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        stage.sink(&input, PublishOrder::Output, (self.factory)(config)?)
    }
}

/// A stage that exists already, as a kind that can be opened once; `S` only marks the shape. Its options are the stage.
pub(crate) struct ValueKind<S> {
    shape: PhantomData<fn() -> S>,
}

impl<S> ValueKind<S> {
    pub(crate) fn new() -> Self {
        ValueKind { shape: PhantomData }
    }
}

impl<S: Source> Kind for ValueKind<SourceShape<(), S>> {
    type Config = S;
    type Ports = OutputPort<S::Out>;

    fn declare(&self, _: Option<&S>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.output(DEFAULT_OUTPUT, Properties::default())
    }

    fn open(&self, source: S, out: Self::Ports, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.source(&out, |_| Ok(source))
    }
}

impl<T: Transform> Kind for ValueKind<TransformShape<(), T>> {
    type Config = T;
    type Ports = (InputPort<T::In>, OutputPort<T::Out>);

    fn declare(&self, _: Option<&T>, ports: &mut Declare<'_>) -> Self::Ports {
        let properties = passed_on::<T::Out>(ports);
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
        )
    }

    fn open(
        &self,
        transform: T,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        stage.transform(&input, &out, |_| Ok(transform))
    }
}

impl<S: Sink> Kind for ValueKind<SinkShape<(), S>> {
    type Config = S;
    type Ports = InputPort<S::In>;

    fn declare(&self, _: Option<&S>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input(DEFAULT_INPUT)
    }

    fn open(&self, sink: S, input: Self::Ports, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.sink(&input, PublishOrder::Output, sink)
    }
}
