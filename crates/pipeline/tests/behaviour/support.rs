//! Stages made of closures, and what tests need to order events without sleeping.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use statline_pipeline::{
    Actor, Builder, CancelHandle, Declare, Endpoints, Errors, InputPort, Job, Kind, Message,
    Opening, Outcome, Outlet, OutputPort, Properties, PublishOrder, RunReport, Sink, Source,
    StageError, Threading, Transform, Verdict,
};

/// Runs a job; a run that hangs fails the test instead of hanging it.
pub(crate) fn run(job: Job) -> RunReport {
    run_with(job, &CancelHandle::new())
}

pub(crate) fn run_with(job: Job, cancel: &CancelHandle) -> RunReport {
    let cancel = cancel.clone();
    within_patience(move || job.start(&cancel).wait())
}

pub(crate) fn within_patience<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(work()));
    match result.recv_timeout(Duration::from_secs(20)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

pub(crate) fn build(builder: Builder) -> Job {
    builder.build().unwrap_or_else(|problems| {
        panic!("{:?}", problems.iter().collect::<Vec<_>>());
    })
}

/// The messages of all problems of a job that must not build.
pub(crate) fn problems(builder: Builder) -> Vec<String> {
    let problems = builder.build().unwrap_err();
    problems
        .iter()
        .map(|problem| problem.message.clone())
        .collect()
}

/// A door that stays open once it is.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// A number that can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Level(Arc<(Mutex<usize>, Condvar)>);

impl Level {
    pub(crate) fn rise(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_all();
    }

    pub(crate) fn reach(&self, level: usize) {
        let mut now = self.0.0.lock().unwrap();
        while *now < level {
            now = self.0.1.wait(now).unwrap();
        }
    }
}

/// Counts what lives: to see that nothing outlives a run.
#[derive(Clone, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

pub(crate) struct Alive(Arc<AtomicUsize>);

impl Census {
    pub(crate) fn join(&self) -> Alive {
        self.0.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A message that weighs what it says.
#[derive(Clone, Debug)]
pub(crate) struct Heavy(pub(crate) usize);

impl Message for Heavy {
    fn weight(&self) -> usize {
        self.0
    }
}

/// A source of a closure.
pub(crate) struct Produce<T, F>(F, PhantomData<fn() -> T>);

pub(crate) fn produce<T, F>(run: F) -> Produce<T, F>
where
    F: FnMut(&mut Outlet<T>) -> Result<(), StageError>,
{
    Produce(run, PhantomData)
}

impl<T: Message, F> Source for Produce<T, F>
where
    F: FnMut(&mut Outlet<T>) -> Result<(), StageError> + Send + 'static,
{
    type Out = T;

    fn run(&mut self, out: &mut Outlet<T>) -> Result<(), StageError> {
        (self.0)(out)
    }
}

/// A source that never ends by itself.
pub(crate) fn endless() -> impl Source<Out = u64> {
    produce(|out| (0u64..).try_for_each(|number| out.send(number)))
}

/// A transform of a closure.
pub(crate) struct Change<T, U, F>(F, PhantomData<fn(T) -> U>);

pub(crate) fn change<T, U, F>(apply: F) -> Change<T, U, F>
where
    F: FnMut(T, &mut Outlet<U>) -> Result<(), StageError>,
{
    Change(apply, PhantomData)
}

pub(crate) fn pass_on() -> impl Transform<In = u64, Out = u64> {
    change(|message: u64, out: &mut Outlet<u64>| out.send(message))
}

impl<T: Message, U: Message, F> Transform for Change<T, U, F>
where
    F: FnMut(T, &mut Outlet<U>) -> Result<(), StageError> + Send + 'static,
{
    type In = T;
    type Out = U;

    fn apply(&mut self, message: T, out: &mut Outlet<U>) -> Result<(), StageError> {
        (self.0)(message, out)
    }
}

/// A sink of closures, that notes how it was told to publish.
pub(crate) struct Consume<T, F> {
    write: F,
    prepare: Result<(), &'static str>,
    publish: Result<(), &'static str>,
    verdicts: Verdicts,
    name: &'static str,
    message: PhantomData<fn(T)>,
}

/// Who was told which outcome, in this order.
#[derive(Clone, Default)]
pub(crate) struct Verdicts(Arc<Mutex<Vec<(&'static str, Outcome)>>>);

impl Verdicts {
    pub(crate) fn all(&self) -> Vec<(&'static str, Outcome)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn add(&self, name: &'static str, outcome: Outcome) {
        self.0.lock().unwrap().push((name, outcome));
    }

    /// Whether anyone has published.
    pub(crate) fn published(&self) -> bool {
        self.all().iter().any(|(_, outcome)| outcome.publishes())
    }
}

pub(crate) fn consume<T, F>(write: F) -> Consume<T, F>
where
    F: FnMut(T, &Errors) -> Result<(), StageError>,
{
    Consume {
        write,
        prepare: Ok(()),
        publish: Ok(()),
        verdicts: Verdicts::default(),
        name: "",
        message: PhantomData,
    }
}

impl<T, F> Consume<T, F> {
    pub(crate) fn noting(mut self, name: &'static str, verdicts: &Verdicts) -> Self {
        self.name = name;
        self.verdicts = verdicts.clone();
        self
    }

    pub(crate) fn failing_to_prepare(mut self, message: &'static str) -> Self {
        self.prepare = Err(message);
        self
    }

    pub(crate) fn failing_to_publish(mut self, message: &'static str) -> Self {
        self.publish = Err(message);
        self
    }
}

impl<T: Message, F> Sink for Consume<T, F>
where
    F: FnMut(T, &Errors) -> Result<(), StageError> + Send + 'static,
{
    type In = T;

    fn write(&mut self, message: T, errors: &Errors) -> Result<(), StageError> {
        (self.write)(message, errors)
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.prepare.map_err(StageError::failed)
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.verdicts.add(self.name, verdict.outcome);
        self.publish.map_err(StageError::failed)
    }
}

/// A kind whose workers are given one by one: transforms that share their input.
pub(crate) struct Crew<T>(PhantomData<fn() -> T>);

pub(crate) fn crew<T>() -> Crew<T> {
    Crew(PhantomData)
}

impl<T: Transform> Kind for Crew<T> {
    type Config = Vec<T>;
    type Ports = (InputPort<T::In>, OutputPort<T::Out>);

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, _: Option<&Vec<T>>, ports: &mut Declare<'_>) -> Self::Ports {
        (
            ports.input("in"),
            ports.output("out", Properties::default()),
        )
    }

    fn open(
        &self,
        workers: Vec<T>,
        (input, out): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        workers
            .into_iter()
            .try_for_each(|worker| stage.transform(&input, &out, |_| Ok(worker)))
    }
}

/// A kind of closures: one that declares, one that opens.
pub(crate) struct Custom<D, O> {
    declare: D,
    open: O,
}

pub(crate) fn custom<P, D, O>(declare: D, open: O) -> Custom<D, O>
where
    D: Fn(&mut Declare<'_>) -> P,
    O: Fn(P, &mut Opening<'_>) -> Result<(), StageError>,
{
    Custom { declare, open }
}

impl<P, D, O> Kind for Custom<D, O>
where
    P: Send + 'static,
    D: Fn(&mut Declare<'_>) -> P + Send + Sync + 'static,
    O: Fn(P, &mut Opening<'_>) -> Result<(), StageError> + Send + Sync + 'static,
{
    type Config = ();
    type Ports = P;

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> P {
        (self.declare)(ports)
    }

    fn open(&self, (): (), ports: P, stage: &mut Opening<'_>) -> Result<(), StageError> {
        (self.open)(ports, stage)
    }
}

/// An actor of a closure and the ports that it owns.
pub(crate) struct Play<P, F> {
    pub(crate) ports: P,
    pub(crate) run: F,
}

impl<P, F> Actor for Play<P, F>
where
    P: Send + 'static,
    F: FnMut(&mut P) -> Result<(), StageError> + Send + 'static,
{
    fn run(&mut self) -> Result<(), StageError> {
        (self.run)(&mut self.ports)
    }
}

/// A kind with one input and no output, run by a closure.
pub(crate) fn reader<F>(run: F) -> impl Kind<Config = (), Ports = InputPort<u64>>
where
    F: FnMut(&mut statline_pipeline::Inlet<u64>) -> Result<(), StageError>
        + Clone
        + Send
        + Sync
        + 'static,
{
    custom(
        |ports: &mut Declare<'_>| ports.input::<u64>("in"),
        move |input: InputPort<u64>, stage: &mut Opening<'_>| {
            stage.worker(|ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: ends.input(&input),
                    run: run.clone(),
                })
            })
        },
    )
}

/// A sink that publishes with the memory, after all outputs.
pub(crate) struct MemorySink<S>(PhantomData<fn() -> S>);

pub(crate) fn memory_sink<S: Sink>(_: &S) -> MemorySink<S> {
    MemorySink(PhantomData)
}

impl<S: Sink> Kind for MemorySink<S> {
    type Config = S;
    type Ports = InputPort<S::In>;

    fn declare(&self, _: Option<&S>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input("in")
    }

    fn open(&self, sink: S, input: Self::Ports, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.sink(&input, PublishOrder::Memory, sink)
    }
}
