//! What is left of a run that does not finish, where its job asks for that.

use std::sync::{Arc, Mutex};

use statline_pipeline::{
    Builder, CancelHandle, Declare, Errors, Opening, Outcome, Outlet, PipelineSettings, Sink,
    StageError, Verdict,
};

use crate::support::*;

/// What a sink was told at its end, and how much it had then.
type Told = Arc<Mutex<Vec<(&'static str, Outcome, u64)>>>;

/// Counts, and fails as a test says.
struct Keeps {
    told: Told,
    written: u64,
    at: Box<dyn FnMut(u64) -> Result<(), StageError> + Send>,
}

impl Sink for Keeps {
    type In = u64;

    fn write(&mut self, _: u64, _: &Errors) -> Result<(), StageError> {
        (self.at)(self.written)?;
        self.written += 1;
        Ok(())
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        let told = ("publish", verdict.outcome, self.written);
        self.told.lock().unwrap().push(told);
        Ok(())
    }

    fn keep(self, verdict: &Verdict) -> Result<(), StageError> {
        let told = ("keep", verdict.outcome, self.written);
        self.told.lock().unwrap().push(told);
        assert!(verdict.cause.is_some());
        Ok(())
    }
}

fn builder(keep_partial: bool) -> Builder {
    let mut settings = PipelineSettings::default();
    settings.keep_partial = keep_partial;
    Builder::new("test").with_settings(settings)
}

/// Runs an endless source into a sink that does this before each number.
fn told(
    keep_partial: bool,
    cancel: &CancelHandle,
    at: impl FnMut(u64) -> Result<(), StageError> + Send + 'static,
) -> Vec<(&'static str, Outcome, u64)> {
    let told = Told::default();
    let mut builder = builder(keep_partial);
    let source = builder.source("source", endless()).done();
    let sink = Keeps {
        told: Arc::clone(&told),
        written: 0,
        at: Box::new(at),
    };
    let _ = builder.sink("sink", sink).reads(&source);
    let report = run_with(build(builder), cancel);
    let told = told.lock().unwrap().clone();
    assert!(
        told.iter()
            .all(|(_, outcome, _)| *outcome == report.outcome)
    );
    told
}

#[test]
fn a_sink_that_fails_or_panics_is_asked_to_keep_what_it_had() {
    let cancel = CancelHandle::new();
    let fails = |written| match written {
        7 => Err(StageError::failed("no")),
        _ => Ok(()),
    };
    assert_eq!(told(true, &cancel, fails), [("keep", Outcome::Failed, 7)]);
    assert_eq!(told(false, &cancel, fails), []);
    let panics = |written| {
        assert!(written < 7, "meant to panic");
        Ok(())
    };
    assert_eq!(told(true, &cancel, panics), [("keep", Outcome::Failed, 7)]);
}

#[test]
fn a_cancelled_sink_is_asked_to_keep_what_it_had() {
    for (keep_partial, expected) in [(true, 1), (false, 0)] {
        let cancel = CancelHandle::new();
        let canceller = cancel.clone();
        let cancels = move |written| {
            if written == 3 {
                canceller.cancel();
            }
            Ok(())
        };
        let told = told(keep_partial, &cancel, cancels);
        assert_eq!(told.len(), expected);
        for (what, outcome, written) in told {
            assert_eq!((what, outcome), ("keep", Outcome::Cancelled));
            assert!(written >= 4);
        }
    }
}

#[test]
fn a_sink_that_had_prepared_keeps_when_another_fails() {
    let told = Told::default();
    let mut builder = builder(true);
    let mut rest = 5;
    let numbers = produce(move |out: &mut Outlet<u64>| {
        while rest > 0 {
            rest -= 1;
            out.send(1)?;
        }
        Ok(())
    });
    let source = builder.source("source", numbers).done();
    let good = Keeps {
        told: Arc::clone(&told),
        written: 0,
        at: Box::new(|_| Ok(())),
    };
    let _ = builder.sink("good", good).reads(&source);
    let bad = consume(|_: u64, _: &Errors| Ok(())).failing_to_prepare("fsync failed");
    let _ = builder.sink("bad", bad).reads(&source);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Failed);
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1), ("keep", Outcome::Failed));
}

#[test]
fn a_run_that_finishes_publishes_and_one_that_never_started_leaves_nothing() {
    for (cancelled, expected) in [
        (false, vec![("publish", Outcome::Complete, 1)]),
        (true, vec![]),
    ] {
        let told = Told::default();
        let mut builder = builder(true);
        let one = produce(|out: &mut Outlet<u64>| out.send(1));
        let source = builder.source("source", one).done();
        let sink = Keeps {
            told: Arc::clone(&told),
            written: 0,
            at: Box::new(|_| Ok(())),
        };
        let _ = builder.sink("sink", sink).reads(&source);
        let cancel = CancelHandle::new();
        if cancelled {
            cancel.cancel();
        }
        run_with(build(builder), &cancel);
        assert_eq!(*told.lock().unwrap(), expected);
    }
}

#[test]
fn a_sink_that_was_opened_and_never_ran_keeps_nothing() {
    let told = Told::default();
    let mut builder = builder(true);
    let source = builder.source("source", endless()).done();
    let sink = Keeps {
        told: Arc::clone(&told),
        written: 0,
        at: Box::new(|_| Ok(())),
    };
    let _ = builder.sink("a", sink).reads(&source);
    // Opened after the sink.
    let refuses = custom(
        |ports: &mut Declare<'_>| ports.input::<u64>("in"),
        |_, _: &mut Opening<'_>| Err(StageError::failed("no such place")),
    );
    let _ = builder.stage("b", refuses, ()).reads(&source);
    assert_eq!(run(build(builder)).outcome, Outcome::Failed);
    assert_eq!(*told.lock().unwrap(), []);
}
