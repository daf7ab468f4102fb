//! Stopping early: cancelled, out of time, or because someone has enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, CancelHandle, Declare, Endpoints, ErrorRecord, Errors, Inlet, Message, Opening,
    Outcome, Outlet, Period, PipelineSettings, Properties, Scope, StageError, Verdict,
};

use crate::support::*;

#[test]
fn a_run_cancelled_before_it_starts_is_cancelled_and_does_nothing() {
    let (verdicts, census, cancel) = (Verdicts::default(), Census::default(), CancelHandle::new());
    cancel.cancel();
    let alive = census.join();
    let source = produce(move |_: &mut Outlet<u64>| {
        let _ = &alive;
        panic!("it must not run")
    });
    let mut builder = Builder::new("test");
    let source = builder.source("source", source).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let report = run_with(build(builder), &cancel);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(report.stages.len(), 2);
    assert!(!verdicts.published());
    assert_eq!(census.count(), 0);
}

/// Starts a job, cancels it when `blocked` is open, and expects that nothing was published.
fn cancel_when(blocked: &Gate, builder: Builder, verdicts: &Verdicts) {
    let cancel = CancelHandle::new();
    let (job, handle, gate) = (build(builder), cancel.clone(), blocked.clone());
    let report = within_patience(move || {
        let run = job.start(&cancel);
        gate.pass();
        handle.cancel();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(report.fault.is_none());
    assert!(!verdicts.published());
    // A run that waits in vain for a stage ends all the same, after a while and without its thread.
    assert!(report.stalls.is_empty(), "{:?}", report.stalls);
}

#[test]
fn cancelling_ends_a_wait_in_receive() {
    // The source sends nothing and ends only after the reader has: nothing but the cancelling can end the reader's wait.
    let (verdicts, waiting, ended) = (Verdicts::default(), Gate::default(), Gate::default());
    let (at_work, reader_ended) = (waiting.clone(), ended.clone());
    let mut builder = Builder::new("test");
    let source = produce(move |_: &mut Outlet<u64>| {
        at_work.open();
        reader_ended.pass();
        Ok(())
    });
    let source = builder.source("source", source).done();
    let kind = reader(move |input| {
        let received = input.recv();
        ended.open();
        received.map(|_| ())
    });
    let _ = builder.stage("reader", kind, ()).reads(&source);
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    cancel_when(&waiting, builder, &verdicts);
}

/// A message of ten bytes, which opens its gate when it is weighed: its sender has seen then that the run goes on, and
/// does not look again before it waits.
#[derive(Clone)]
struct Weighed(Option<Gate>);

impl Message for Weighed {
    fn weight(&self) -> usize {
        self.0.iter().for_each(Gate::open);
        10
    }
}

/// A job whose source blocks at its fourth message, for its reader takes but one until the source has ended: nothing
/// but cancelling can end that wait.
fn cancel_a_blocked_source(capacity: usize, capacity_bytes: usize) {
    let (verdicts, blocked, ended) = (Verdicts::default(), Gate::default(), Gate::default());
    let (last, source_ended) = (blocked.clone(), ended.clone());
    let mut builder = Builder::new("test");
    let source = produce(move |out: &mut Outlet<Weighed>| {
        for number in 0..4 {
            if let Err(stop) = out.send(Weighed((number == 3).then(|| last.clone()))) {
                source_ended.open();
                return Err(stop);
            }
        }
        panic!("there was room for a fourth message")
    });
    let source = builder.source("source", source).done();
    let mut first = true;
    let stalling = consume(move |_: Weighed, _| {
        if std::mem::take(&mut first) {
            ended.pass();
        }
        Ok(())
    });
    let _ = builder
        .sink("stalling", stalling.noting("stalling", &verdicts))
        .reads(&source)
        .capacity(capacity)
        .capacity_bytes(capacity_bytes);
    cancel_when(&blocked, builder, &verdicts);
}

#[test]
fn cancelling_ends_a_wait_in_send() {
    cancel_a_blocked_source(2, usize::MAX);
}

#[test]
fn cancelling_ends_a_wait_for_bytes() {
    cancel_a_blocked_source(16, 20);
}

#[test]
fn a_stage_that_ends_as_if_it_were_done_when_it_hears_of_the_stop_is_not_believed() {
    let (verdicts, at_work) = (Verdicts::default(), Gate::default());
    let working = at_work.clone();
    let mut builder = Builder::new("test");
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        move |port, stage: &mut Opening<'_>| {
            let (context, working) = (stage.context().clone(), working.clone());
            stage.source(&port, |_| {
                Ok(produce(move |_: &mut Outlet<u64>| {
                    working.open();
                    while !context.is_stopping() {
                        std::thread::yield_now();
                    }
                    assert!(context.checkpoint().is_err());
                    Ok(())
                }))
            })
        },
    );
    let source = builder.stage("source", kind, ()).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    cancel_when(&at_work, builder, &verdicts);
}

#[test]
fn a_stage_that_hears_of_the_stop_is_not_believed_though_nobody_waits_for_its_output() {
    let (verdicts, satisfied) = (Verdicts::default(), Gate::default());
    let has_enough = satisfied.clone();
    let mut builder = Builder::new("test");
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        |port, stage: &mut Opening<'_>| {
            let context = stage.context().clone();
            stage.source(&port, |_| {
                Ok(produce(move |out: &mut Outlet<u64>| {
                    out.send(1)?;
                    while context.checkpoint().is_ok() {
                        std::thread::yield_now();
                    }
                    Ok(())
                }))
            })
        },
    );
    let source = builder.stage("source", kind, ()).done();
    // It has its message before the run is cancelled and asks for no other: its own end is a good one.
    let sink = consume(move |_: u64, _| {
        has_enough.open();
        Err(StageError::ENOUGH)
    });
    let _ = builder
        .sink("sink", sink.noting("sink", &verdicts))
        .reads(&source);
    cancel_when(&satisfied, builder, &verdicts);
}

#[test]
fn cancelling_after_the_last_message_was_handled_leaves_the_run_complete() {
    let (verdicts, cancel) = (Verdicts::default(), CancelHandle::new());
    let handle = cancel.clone();
    let kind = reader(move |input| {
        while input.recv()?.is_some() {}
        handle.cancel();
        Ok(())
    });
    let mut builder = Builder::new("test");
    let source = builder.source("source", Items(vec![1u64])).done();
    let _ = builder.stage("reader", kind, ()).reads(&source);
    let report = run_with(build(builder), &cancel);
    assert!(cancel.is_cancelled());
    assert_eq!(report.outcome, Outcome::Complete);
    assert!(verdicts.all().is_empty());
}

#[test]
fn max_runtime_cancels_the_run_and_no_other_of_the_same_handle() {
    let mut settings = PipelineSettings::default();
    settings.max_runtime = Some(Period::new(Duration::from_millis(30)));
    let (verdicts, cancel) = (Verdicts::default(), CancelHandle::new());
    let mut builder = Builder::new("test").with_settings(settings);
    let source = builder.source("source", endless()).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let report = run_with(build(builder), &cancel);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(
        report.cause.as_deref(),
        Some("the job's max_runtime was reached")
    );
    assert!(!verdicts.published());
    assert!(!cancel.is_cancelled(), "the handle is the host's");
}

#[test]
fn max_runtime_holds_while_results_are_read() {
    let mut settings = PipelineSettings::default();
    settings.max_runtime = Some(Period::new(Duration::from_millis(30)));
    let mut builder = Builder::new("test").with_settings(settings);
    let source = builder.source("source", endless()).done();
    let mut results = builder.results::<u64>(&source).unwrap();
    let report = within_patience(move || {
        while results.next().is_some() {}
        results.finish()
    });
    assert_eq!(report.outcome, Outcome::Cancelled);
}

#[test]
fn a_max_runtime_beyond_all_clocks_is_no_limit() {
    let mut settings = PipelineSettings::default();
    settings.max_runtime = Some(Period::new(Duration::MAX));
    let mut builder = Builder::new("test").with_settings(settings);
    let source = builder.source("source", Items(vec![1u64])).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
    assert_eq!(run(build(builder)).outcome, Outcome::Complete);
}

#[test]
fn dropping_a_run_ends_it_and_publishes_nothing() {
    let (verdicts, census, cancel) = (Verdicts::default(), Census::default(), CancelHandle::new());
    let mut builder = Builder::new("test");
    let alive = census.join();
    let source = produce(move |out: &mut Outlet<u64>| {
        let _ = &alive;
        (0..).try_for_each(|number| out.send(number))
    });
    let source = builder.source("source", source).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let job = build(builder);
    let handle = cancel.clone();
    within_patience(move || drop(job.start(&handle)));
    assert_eq!(census.count(), 0);
    assert!(!verdicts.published());
    assert!(!cancel.is_cancelled(), "the handle is the host's");
}

#[test]
fn dropping_a_run_that_had_ended_well_publishes_nothing_either() {
    struct Last(Gate, Verdicts);
    impl statline_pipeline::Sink for Last {
        type In = u64;
        fn write(&mut self, _: u64, _: &Errors) -> Result<(), StageError> {
            Ok(())
        }
        fn prepare(&mut self) -> Result<(), StageError> {
            self.0.open();
            Ok(())
        }
        fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
            self.1.add("sealed", verdict.outcome);
            Ok(())
        }
        fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
            self.1.add("last", verdict.outcome);
            Ok(())
        }
    }
    let (verdicts, prepared) = (Verdicts::default(), Gate::default());
    let mut builder = Builder::new("test");
    let source = builder.source("source", Items(vec![1u64])).done();
    let last = Last(prepared.clone(), verdicts.clone());
    let _ = builder.sink("last", last).reads(&source);
    let job = build(builder);
    within_patience(move || {
        let run = job.start(&CancelHandle::new());
        prepared.pass();
        drop(run);
    });
    assert_eq!(verdicts.all(), [("last", Outcome::Cancelled)]);
    assert!(!verdicts.published());
}

#[test]
fn enough_from_a_sink_ends_an_endless_source_and_the_run_is_complete() {
    let (verdicts, mut left) = (Verdicts::default(), 10);
    let mut builder = Builder::new("test");
    let source = builder.source("source", endless()).done();
    let pass = builder.transform("pass", pass_on()).reads(&source).done();
    let head = consume(move |_: u64, _: &Errors| {
        left -= 1;
        match left {
            0 => Err(StageError::ENOUGH),
            _ => Ok(()),
        }
    });
    let _ = builder
        .sink("head", head.noting("head", &verdicts))
        .reads(&pass)
        .capacity(2);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(verdicts.all(), [("head", Outcome::Complete)]);
    assert_eq!(report.stage("head").unwrap().messages_in, 10);
    assert!(report.edges.iter().all(|edge| edge.enough));
}

#[test]
fn enough_from_one_worker_of_a_transform_ends_all_of_them_and_the_source() {
    let sink = Collected::<u64>::new();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let count = Arc::clone(&count);
            change(move |message: u64, out: &mut Outlet<u64>| {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0..100 => out.send(message),
                    _ => Err(StageError::ENOUGH),
                }
            })
        })
        .collect();
    let mut builder = Builder::new("test");
    let source = builder.source("source", endless()).done();
    let head = builder.stage("head", crew(), workers).reads(&source).done();
    let _ = builder.sink("sink", sink.clone()).reads(&head);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(sink.items().len(), 100);
}

#[test]
fn enough_from_an_actor_drops_what_is_queued_and_ends_its_input() {
    let full = Gate::default();
    let filled = full.clone();
    let mut builder = Builder::new("test");
    let source = produce(move |out: &mut Outlet<u64>| {
        for number in 0.. {
            if number == 5 {
                filled.open();
            }
            out.send(number)?;
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let kind = reader(move |input| {
        assert_eq!(input.recv()?, Some(0));
        full.pass();
        input.enough();
        assert_eq!(input.recv()?, None, "the queue is not wanted");
        assert!(matches!(
            input.try_recv()?,
            statline_pipeline::Received::End
        ));
        Ok(())
    });
    let _ = builder.stage("head", kind, ()).reads(&source).capacity(4);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(report.edges[0].received, 1);
}

#[test]
fn a_consumer_that_has_enough_does_not_starve_the_other() {
    for first in [true, false] {
        let all = Collected::<u64>::new();
        let mut builder = Builder::new("test");
        let source = builder
            .source("source", Items((0..300u64).collect()))
            .done();
        let head = consume(|_: u64, _: &Errors| Err(StageError::ENOUGH));
        if first {
            let _ = builder.sink("head", head).reads(&source).capacity(1);
            let _ = builder.sink("all", all.clone()).reads(&source);
        } else {
            let _ = builder.sink("all", all.clone()).reads(&source);
            let _ = builder.sink("head", head).reads(&source).capacity(1);
        }
        let report = run(build(builder));
        assert_eq!(report.outcome, Outcome::Complete);
        assert_eq!(all.items(), (0..300).collect::<Vec<u64>>());
    }
}

#[test]
fn a_stage_with_two_outputs_goes_on_while_one_of_them_is_wanted() {
    let rest = Collected::<u64>::new();
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<u64>("in"),
                ports.output::<u64>("head", Properties::default()),
                ports.output::<u64>("rest", Properties::default()),
            )
        },
        |(input, head, rest), stage: &mut Opening<'_>| {
            stage.worker(|ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: (
                        ends.input::<u64>(&input),
                        ends.output::<u64>(&head),
                        ends.output::<u64>(&rest),
                    ),
                    run: |(input, head, rest): &mut (Inlet<u64>, Outlet<u64>, Outlet<u64>)| {
                        while let Some(message) = input.recv()? {
                            head.send(message)?;
                            rest.send(message)?;
                        }
                        assert!(!head.is_wanted());
                        Ok(())
                    },
                })
            })
        },
    );
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..300u64).collect()))
        .done();
    let split = builder.stage("split", kind, ()).reads(&source).done();
    let head = consume(|_: u64, _: &Errors| Err(StageError::ENOUGH));
    let _ = builder
        .sink("head", head)
        .reads(split.port("head"))
        .capacity(1);
    let _ = builder.sink("rest", rest.clone()).reads(split.port("rest"));
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(rest.items().len(), 300, "the other output was cut short");
}

#[test]
fn a_reader_of_errors_that_has_enough_stops_nobody() {
    let all = Collected::<u64>::new();
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        (0..200).try_for_each(|number| {
            out.errors().report(ErrorRecord::new(
                "test",
                Vec::new(),
                "EACCES",
                "",
                Scope::Entry,
            ))?;
            out.send(number)
        })
    });
    let source = builder.source("source", source).done();
    let _ = builder.sink("all", all.clone()).reads(&source);
    let first = consume(|_: ErrorRecord, _: &Errors| Err(StageError::ENOUGH));
    let _ = builder
        .sink("first", first)
        .reads(source.port("errors"))
        .capacity(1);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.cause);
    assert_eq!(report.error_count(), 200);
    assert_eq!(all.items().len(), 200);
}

#[test]
fn enough_passes_a_transform_that_never_sends() {
    // Nothing tells `silent` but a look at its output, for it drops everything after the first message.
    let mut builder = Builder::new("test");
    let source = builder.source("source", endless()).done();
    let silent = change(|message: u64, out: &mut Outlet<u64>| match message {
        0 => out.send(message),
        _ => Ok(()),
    });
    let silent = builder.transform("silent", silent).reads(&source).done();
    let head = consume(|_: u64, _: &Errors| Err(StageError::ENOUGH));
    let _ = builder.sink("head", head).reads(&silent);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
}

#[test]
fn results_finished_early_end_an_endless_source_and_the_run_is_complete() {
    let verdicts = Verdicts::default();
    let mut builder = Builder::new("test");
    let source = builder.source("source", endless()).done();
    let pass = builder.transform("pass", pass_on()).reads(&source).done();
    let mut results = builder.results::<u64>(&pass).unwrap();
    let report = within_patience(move || {
        assert_eq!(results.next(), Some(0));
        assert_eq!(results.next(), Some(1));
        results.finish()
    });
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert!(verdicts.all().is_empty());
}

#[test]
fn results_finished_early_end_a_source_of_whose_messages_none_arrives() {
    let mut builder = Builder::new("test");
    let source = builder.source("source", endless()).done();
    let nothing = change(|_: u64, _: &mut Outlet<u64>| Ok(()));
    let nothing = builder.transform("nothing", nothing).reads(&source).done();
    let results = builder.results::<u64>(&nothing).unwrap();
    let report = within_patience(move || results.finish());
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
}

#[test]
fn dropping_results_cancels_the_run_and_publishes_nothing() {
    let (verdicts, stopped) = (Verdicts::default(), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&stopped);
    let mut builder = Builder::new("test");
    let source = produce(move |out: &mut Outlet<u64>| {
        let outcome = (0..).try_for_each(|number| out.send(number));
        flag.store(true, Ordering::SeqCst);
        outcome
    });
    let source = builder.source("source", source).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let mut results = builder.results::<u64>(&source).unwrap();
    within_patience(move || {
        assert_eq!(results.next(), Some(0));
        drop(results);
    });
    assert!(stopped.load(Ordering::SeqCst));
    assert!(!verdicts.published());
}

#[test]
fn results_of_a_failing_run_end_and_finish_tells_why() {
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        out.send(1)?;
        Err(StageError::failed("half-way"))
    });
    let source = builder.source("source", source).done();
    let mut results = builder.results::<u64>(&source).unwrap();
    let report = within_patience(move || {
        assert!(results.by_ref().count() <= 1);
        results.finish()
    });
    assert_eq!(report.fault.unwrap().message, "half-way");
}

#[test]
fn cancelling_ends_the_stages_though_nobody_reads_the_results() {
    let (full, ended) = (Gate::default(), Gate::default());
    let (filled, at_end) = (full.clone(), ended.clone());
    let mut builder = Builder::new("test");
    let source = produce(move |out: &mut Outlet<u64>| {
        for number in 0.. {
            if number == 17 {
                filled.open();
            }
            if let Err(stop) = out.send(number) {
                at_end.open();
                return Err(stop);
            }
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let mut results = builder.results::<u64>(&source).unwrap();
    let outcome = within_patience(move || {
        full.pass();
        results.cancel_handle().cancel();
        ended.pass();
        assert!(results.by_ref().count() <= 18);
        results.finish().outcome
    });
    assert_eq!(outcome, Outcome::Cancelled);
}
