//! Publishing is one act: all prepare, then the outcome is decided, then all publish.

use statline_pipeline::testing::Items;
use statline_pipeline::{
    Builder, FaultKind, Outcome, Outlet, Properties, PublishOrder, Publisher, RunReport, Sink,
    StageError, Verdict,
};

use crate::support::*;

fn two_sinks(
    lay_out: impl FnOnce(&mut Builder, &statline_pipeline::StageRef, &Verdicts),
) -> (RunReport, Vec<(&'static str, Outcome)>) {
    let verdicts = Verdicts::default();
    let mut builder = Builder::new("test");
    let source = builder.source("source", Items((0..20u64).collect())).done();
    lay_out(&mut builder, &source, &verdicts);
    let report = run(build(builder));
    (report, verdicts.all())
}

fn write_all() -> Consume<u64, impl FnMut(u64, &statline_pipeline::Errors) -> Result<(), StageError>>
{
    consume(|_: u64, _: &_| Ok(()))
}

#[test]
fn if_one_sink_cannot_prepare_no_sink_publishes() {
    for swapped in [false, true] {
        let (report, verdicts) = two_sinks(|builder, source, verdicts| {
            let bad = write_all()
                .noting("bad", verdicts)
                .failing_to_prepare("fsync failed");
            let good = write_all().noting("good", verdicts);
            if swapped {
                let _ = builder.sink("good", good).reads(source);
                let _ = builder.sink("bad", bad).reads(source);
            } else {
                let _ = builder.sink("bad", bad).reads(source);
                let _ = builder.sink("good", good).reads(source);
            }
        });
        assert_eq!(report.outcome, Outcome::Failed);
        let fault = report.fault.unwrap();
        assert_eq!(
            (fault.stage.as_str(), fault.message.as_str()),
            ("bad", "fsync failed")
        );
        // The one that had prepared is told to throw away what it has, unless it was stopped before.
        assert!(
            verdicts.is_empty() || verdicts == [("good", Outcome::Failed)],
            "{verdicts:?}"
        );
    }
}

#[test]
fn if_one_sink_cannot_publish_the_run_is_failed_and_later_ones_are_told_so() {
    let (report, verdicts) = two_sinks(|builder, source, verdicts| {
        let first = write_all().noting("first", verdicts);
        let second = write_all()
            .noting("second", verdicts)
            .failing_to_publish("cannot rename");
        let third = write_all().noting("third", verdicts);
        let _ = builder.sink("first", first).reads(source);
        let _ = builder.sink("second", second).reads(source);
        let _ = builder.sink("third", third).reads(source);
    });
    assert_eq!(
        verdicts,
        [
            ("first", Outcome::Complete),
            ("second", Outcome::Complete),
            ("third", Outcome::Failed)
        ]
    );
    assert_eq!(report.outcome, Outcome::Failed);
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.stage.as_str(), fault.kind),
        ("second", FaultKind::Publish)
    );
}

#[test]
fn what_later_runs_rely_on_is_published_after_every_output() {
    let (report, verdicts) = two_sinks(|builder, source, verdicts| {
        // Added first, so that only its order can put it last.
        let memory = write_all().noting("memory", verdicts);
        let _ = builder
            .stage("memory", memory_sink(&memory), memory)
            .reads(source);
        let output = write_all().noting("output", verdicts);
        let _ = builder.sink("output", output).reads(source);
    });
    assert_eq!(report.outcome, Outcome::Complete);
    assert_eq!(
        verdicts,
        [("output", Outcome::Complete), ("memory", Outcome::Complete)]
    );
}

#[test]
fn a_memory_never_publishes_when_an_output_could_not() {
    let (_, verdicts) = two_sinks(|builder, source, verdicts| {
        let memory = write_all().noting("memory", verdicts);
        let _ = builder
            .stage("memory", memory_sink(&memory), memory)
            .reads(source);
        let output = write_all()
            .noting("output", verdicts)
            .failing_to_publish("cannot rename");
        let _ = builder.sink("output", output).reads(source);
    });
    assert_eq!(verdicts[1], ("memory", Outcome::Failed));
}

/// Seals well or not, and notes how it is told to publish.
struct Seals(Verdicts, &'static str, Result<(), &'static str>);

impl Sink for Seals {
    type In = u64;

    fn write(&mut self, _: u64, _: &statline_pipeline::Errors) -> Result<(), StageError> {
        Ok(())
    }

    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        assert!(!self.0.published(), "somebody published too early");
        assert_eq!(verdict.outcome, Outcome::Complete);
        self.2.map_err(StageError::failed)
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.0.add(self.1, verdict.outcome);
        Ok(())
    }
}

#[test]
fn if_one_sink_cannot_seal_no_sink_publishes_whatever_their_order() {
    for bad in [0, 1, 2] {
        let (report, verdicts) = two_sinks(|builder, source, verdicts| {
            for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
                let result = if at == bad { Err("no space") } else { Ok(()) };
                let _ = builder
                    .sink(name, Seals(verdicts.clone(), name, result))
                    .reads(source);
            }
        });
        assert_eq!(
            verdicts,
            ["a", "b", "c"].map(|name| (name, Outcome::Failed))
        );
        let fault = report.fault.unwrap();
        assert_eq!(
            (fault.kind, fault.message.as_str()),
            (FaultKind::Publish, "no space")
        );
        assert_eq!(report.outcome, Outcome::Failed);
    }
}

/// Publishes for a stage that is no sink.
struct Note(Verdicts, &'static str, bool);

impl Publisher for Note {
    fn publish(self: Box<Self>, verdict: &Verdict) -> Result<(), StageError> {
        self.0.add(self.1, verdict.outcome);
        assert!(!self.2, "the publisher panics");
        Ok(())
    }
}

fn with_publishers(panics: bool, fails: bool) -> (RunReport, Vec<(&'static str, Outcome)>) {
    let verdicts = Verdicts::default();
    let noted = verdicts.clone();
    let mut builder = Builder::new("test");
    let kind = custom(
        |ports: &mut statline_pipeline::Declare<'_>| {
            ports.output::<u64>("out", Properties::default())
        },
        move |port, stage: &mut statline_pipeline::Opening<'_>| {
            stage.publisher(PublishOrder::Memory, Note(noted.clone(), "late", false));
            stage.publisher(PublishOrder::Output, Note(noted.clone(), "early", panics));
            stage.source(&port, |_| {
                Ok(produce(move |out: &mut Outlet<u64>| {
                    out.send(1)?;
                    match fails {
                        true => Err(StageError::failed("no")),
                        false => Ok(()),
                    }
                }))
            })
        },
    );
    let source = builder.stage("source", kind, ()).done();
    let _ = builder.sink("sink", write_all()).reads(&source);
    (run(build(builder)), verdicts.all())
}

#[test]
fn publishers_of_other_stages_act_in_their_order_and_learn_of_failures() {
    let (report, verdicts) = with_publishers(false, false);
    assert_eq!(report.outcome, Outcome::Complete);
    assert_eq!(
        verdicts,
        [("early", Outcome::Complete), ("late", Outcome::Complete)]
    );
    let (_, verdicts) = with_publishers(false, true);
    assert_eq!(
        verdicts,
        [("early", Outcome::Failed), ("late", Outcome::Failed)]
    );
}

#[test]
fn a_publisher_that_panics_fails_the_run_and_keeps_nobody_from_acting() {
    let (report, verdicts) = with_publishers(true, false);
    assert_eq!(report.outcome, Outcome::Failed);
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.kind, fault.message.as_str()),
        (FaultKind::Publish, "the publisher panics")
    );
    assert_eq!(
        verdicts,
        [("early", Outcome::Complete), ("late", Outcome::Failed)]
    );
}

#[test]
fn a_publisher_that_holds_the_end_of_an_errors_port_does_not_keep_the_run_from_ending() {
    use statline_pipeline::{Endpoints, ErrorRecord, Errors};
    use std::sync::Arc;

    struct Holder(Arc<std::sync::Mutex<Option<Arc<Errors>>>>);
    impl Publisher for Holder {
        fn publish(self: Box<Self>, _: &Verdict) -> Result<(), StageError> {
            assert!(self.0.lock().unwrap().is_some());
            Ok(())
        }
    }
    let mut builder = Builder::new("test");
    let kind = custom(
        |ports: &mut statline_pipeline::Declare<'_>| {
            ports.output::<u64>("out", Properties::default())
        },
        |port, stage: &mut statline_pipeline::Opening<'_>| {
            let held = Arc::default();
            stage.publisher(PublishOrder::Output, Holder(Arc::clone(&held)));
            stage.worker(|ends: &mut Endpoints<'_>| {
                *held.lock().unwrap() = Some(ends.errors());
                Ok(Play {
                    ports: ends.output::<u64>(&port),
                    run: |out: &mut Outlet<u64>| out.send(1),
                })
            })
        },
    );
    let source = builder.stage("source", kind, ()).done();
    let _ = builder.sink("sink", write_all()).reads(&source);
    let problems = consume(|_: ErrorRecord, _: &_| Ok(()));
    let _ = builder
        .sink("problems", problems)
        .reads(source.port("errors"));
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
}

#[test]
fn a_verdict_names_the_run_and_lists_the_errors_of_all_stages() {
    use statline_pipeline::{ErrorRecord, Errors, Scope};
    use std::sync::{Arc, Mutex};

    struct Keep(Arc<Mutex<Option<Verdict>>>);
    impl Sink for Keep {
        type In = u64;
        fn write(&mut self, _: u64, errors: &Errors) -> Result<(), StageError> {
            errors.report(ErrorRecord::new(
                "write",
                Vec::new(),
                "EIO",
                "",
                Scope::Entry,
            ))
        }
        fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
            *self.0.lock().unwrap() = Some(verdict.clone());
            Ok(())
        }
    }
    let kept = Arc::new(Mutex::new(None));
    let mut builder = Builder::new("nightly");
    let source = builder.source("source", Items(vec![1u64, 2])).done();
    let _ = builder.sink("sink", Keep(Arc::clone(&kept))).reads(&source);
    let report = run(build(builder));
    let verdict = kept.lock().unwrap().take().unwrap();
    assert_eq!(verdict.outcome, Outcome::Incomplete);
    assert_eq!(
        (&verdict.job, &verdict.run_id),
        (&report.job, &report.run_id)
    );
    assert_eq!(verdict.started.to_string(), report.started);
    assert_eq!(verdict.errors.len(), 1);
    assert_eq!(verdict.errors[0].stage, "sink");
    assert_eq!(verdict.errors[0].errors.count, 2);
}
