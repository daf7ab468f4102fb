//! What the framework may do to a stage, done to one.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::builder::{Builder, OutputRef, StageRef};
use crate::{
    CancelHandle, Errors, FaultKind, Message, Outlet, PipelineSettings, RunReport, Sink, Source,
    StageError,
};

/// Longer than this, and a run is taken to hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a stage among neighbours that send nothing, send all, panic, cancel, or have enough, through channels of one
/// message, and checks that it takes each as a stage should:
///
/// * every run ends;
/// * the stage itself never fails, whatever happens around it: it passes on what its ports return;
/// * a neighbour's fault is the one that is reported, and a run that nothing disturbed finishes.
///
/// `lay_out` is called once for each case. It adds the stage under test to [`Trial::builder`], and neighbours around it
/// with [`Trial::feed`] and [`Trial::drain`]:
///
/// ```
/// # use statline_pipeline::{Message, Outlet, StageError, Transform};
/// # use statline_pipeline::testing::conformance;
/// struct Double;
///
/// impl Transform for Double {
///     type In = u64;
///     type Out = u64;
///
///     fn apply(&mut self, message: u64, out: &mut Outlet<u64>) -> Result<(), StageError> {
///         out.send(2 * message)
///     }
/// }
///
/// conformance(|trial| {
///     let numbers = trial.feed("numbers", (0..10).collect::<Vec<u64>>());
///     let doubled = trial.builder().transform("double", Double).reads(&numbers).done();
///     trial.drain::<u64>("out", &doubled);
/// });
/// ```
///
/// # Panics
/// If the stage fails the test; the message names the case.
pub fn conformance(lay_out: impl Fn(&mut Trial)) {
    for case in CASES {
        let cancel = CancelHandle::new();
        let mut trial = Trial {
            builder: Builder::new("conformance").with_settings(PipelineSettings {
                capacity: 1,
                ..PipelineSettings::default()
            }),
            neighbour: Neighbour {
                case: *case,
                cancel: cancel.clone(),
                acted: Arc::default(),
            },
        };
        lay_out(&mut trial);
        let acted = Arc::clone(&trial.neighbour.acted);
        let job = match trial.builder.build() {
            Ok(job) => job,
            Err(problems) => {
                let problems: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
                panic!("the job is wrong: {}", problems.join("; "));
            }
        };
        let (done, report) = mpsc::channel();
        thread::spawn(move || {
            // Nobody listens any more once it was taken to hang.
            let _ = done.send(job.start(&cancel).wait());
        });
        match report.recv_timeout(PATIENCE) {
            Ok(report) => case.check(&report, acted.load(Ordering::Acquire)),
            Err(error) => panic!("{}: the run does not end ({error})", case.name),
        }
    }
}

/// The job around a stage that is tested, for one case.
pub struct Trial {
    builder: Builder,
    neighbour: Neighbour,
}

impl Trial {
    /// The job, to add the stage under test, and others that it needs.
    pub fn builder(&mut self) -> &mut Builder {
        &mut self.builder
    }

    /// Adds a neighbour that sends these messages, unless the case has it do something else.
    pub fn feed<T: Message>(&mut self, name: &str, messages: Vec<T>) -> StageRef {
        let feed = Feed {
            messages,
            neighbour: self.neighbour.clone(),
        };
        self.builder.source(name, feed).done()
    }

    /// Adds a neighbour that takes what comes out, unless the case has it do something else.
    pub fn drain<T: Message>(&mut self, name: &str, output: impl Into<OutputRef>) {
        let drain = Drain {
            taken: 0,
            neighbour: self.neighbour.clone(),
            message: PhantomData::<fn(T)>,
        };
        let _ = self.builder.sink(name, drain).reads(output);
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    feeds: Side,
    drains: Side,
}

/// What the neighbours on one side do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Their work.
    Work,
    /// Nothing at all: a feed sends nothing.
    Nothing,
    /// Something, when they come to the message of this number.
    At(usize, Act),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Panic,
    Fail,
    Cancel,
    Enough,
}

const fn feeds(name: &'static str, side: Side) -> Case {
    Case {
        name,
        feeds: side,
        drains: Side::Work,
    }
}

const fn drains(name: &'static str, side: Side) -> Case {
    Case {
        name,
        feeds: Side::Work,
        drains: side,
    }
}

const CASES: &[Case] = &[
    feeds("undisturbed", Side::Work),
    feeds("empty input", Side::Nothing),
    feeds("a producer that panics at once", Side::At(0, Act::Panic)),
    feeds("a producer that panics", Side::At(1, Act::Panic)),
    feeds("a producer that fails", Side::At(1, Act::Fail)),
    feeds("a run cancelled at once", Side::At(0, Act::Cancel)),
    feeds("a run cancelled by a producer", Side::At(1, Act::Cancel)),
    drains("a consumer that panics", Side::At(0, Act::Panic)),
    drains("a consumer that fails", Side::At(1, Act::Fail)),
    drains("a run cancelled by a consumer", Side::At(0, Act::Cancel)),
    drains("a consumer that has enough", Side::At(0, Act::Enough)),
    drains("a consumer that has enough later", Side::At(1, Act::Enough)),
];

impl Case {
    fn check(&self, report: &RunReport, acted: bool) {
        let act = match (self.feeds, self.drains) {
            (Side::At(_, act), _) | (_, Side::At(_, act)) if acted => Some(act),
            _ => None,
        };
        let as_expected = match act {
            None | Some(Act::Enough) => report.outcome.publishes(),
            // It may have come too late.
            Some(Act::Cancel) => report.fault.is_none(),
            Some(act) => report.fault.as_ref().is_some_and(|fault| {
                let kind = match act {
                    Act::Panic => FaultKind::Panic,
                    _ => FaultKind::Error,
                };
                fault.kind == kind && fault.message == ON_PURPOSE
            }),
        };
        assert!(
            as_expected,
            "{}: the run ended {}: {}",
            self.name,
            report.outcome,
            report.cause.as_deref().unwrap_or("no cause")
        );
    }
}

const ON_PURPOSE: &str = "a neighbour's fault, on purpose";

#[derive(Clone)]
struct Neighbour {
    case: Case,
    cancel: CancelHandle,
    acted: Arc<AtomicBool>,
}

impl Neighbour {
    /// Does what the case wants done at the message of this number.
    fn come_to(&self, number: usize, side: Side) -> Result<(), StageError> {
        let Side::At(_, act) = side else {
            return Ok(());
        };
        if side != Side::At(number, act) {
            return Ok(());
        }
        self.acted.store(true, Ordering::Release);
        match act {
            Act::Panic => panic!("{ON_PURPOSE}"),
            Act::Fail => Err(StageError::failed(ON_PURPOSE)),
            Act::Enough => Err(StageError::ENOUGH),
            Act::Cancel => {
                self.cancel.cancel();
                Ok(())
            }
        }
    }
}

struct Feed<T> {
    messages: Vec<T>,
    neighbour: Neighbour,
}

impl<T: Message> Source for Feed<T> {
    type Out = T;

    fn run(&mut self, out: &mut Outlet<T>) -> Result<(), StageError> {
        let side = self.neighbour.case.feeds;
        if side == Side::Nothing {
            return Ok(());
        }
        for (number, message) in self.messages.drain(..).enumerate() {
            self.neighbour.come_to(number, side)?;
            out.send(message)?;
        }
        Ok(())
    }
}

struct Drain<T> {
    taken: usize,
    neighbour: Neighbour,
    message: PhantomData<fn(T)>,
}

impl<T: Message> Sink for Drain<T> {
    type In = T;

    fn write(&mut self, _: T, _: &Errors) -> Result<(), StageError> {
        let number = self.taken;
        self.taken += 1;
        self.neighbour.come_to(number, self.neighbour.case.drains)
    }
}
