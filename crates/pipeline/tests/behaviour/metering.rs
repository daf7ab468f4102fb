//! What is measured, and what the report makes of it. No figure here is compared with a clock of the test's own, but
//! for bounds that hold on any machine.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, CancelHandle, Declare, Endpoints, Inlet, Opening, Outcome, Outlet, Properties,
    REPORT_SCHEMA, RunReport, StageError, StageReport, Transform,
};

use crate::support::*;

/// Histograms are exact in their counts; sums of seconds are off by rounding.
const ROUNDING: f64 = 1e-6;

fn total(stage: &StageReport) -> f64 {
    stage.service.total_seconds + stage.wait.total_seconds + stage.blocked.total_seconds
}

fn busy_graph() -> (Builder, Collected<u64>) {
    let sink = Collected::<u64>::new();
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..2_000u64).collect()))
        .done();
    let workers = vec![pass_on(), pass_on(), pass_on()];
    let shared = builder
        .stage("shared", crew(), workers)
        .reads(&source)
        .capacity(2)
        .done();
    let single = builder
        .transform("single", pass_on())
        .reads(&shared)
        .capacity(1)
        .done();
    let _ = builder.sink("sink", sink.clone()).reads(&single);
    let _ = builder
        .sink("other", Collected::<u64>::new())
        .reads(&single)
        .capacity(1);
    (builder, sink)
}

#[test]
fn intervals_count_messages_and_never_add_up_to_more_than_the_threads_had() {
    let (builder, _) = busy_graph();
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete);
    for stage in &report.stages {
        let available = report.elapsed_seconds * stage.threads as f64;
        assert!(total(stage) <= available + ROUNDING, "{stage:?}");
        let (read, sent) = (stage.messages_in, stage.messages_out);
        let served = if stage.name == "source" { sent } else { read };
        assert_eq!(stage.service.count, served, "{}", stage.name);
        assert_eq!(stage.wait.count, read, "{}", stage.name);
        assert_eq!(stage.blocked.count, sent, "{}", stage.name);
        let is_sink = stage.name == "sink" || stage.name == "other";
        assert_eq!(sent, if is_sink { 0 } else { 2_000 });
        assert_eq!(read, if stage.name == "source" { 0 } else { 2_000 });
        let shares = stage.busy_share + stage.waited_share + stage.blocked_share;
        assert!(shares <= 1.0 + ROUNDING, "{stage:?}");
    }
    for edge in &report.edges {
        assert_eq!((edge.sent, edge.received), (2_000, 2_000));
        assert!(edge.depth_max <= edge.capacity);
        assert!(edge.depth_mean <= edge.depth_max as f64);
    }
}

#[test]
fn service_wait_and_blocked_add_up_to_the_wall_time_of_a_worker() {
    // What the worker itself sees of its time is within what is measured of it, and the run's time is around both.
    let seen = Arc::new(Mutex::new(Duration::ZERO));
    let noted = Arc::clone(&seen);
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<u64>("in"),
                ports.output::<u64>("out", Properties::default()),
            )
        },
        move |(input, out), stage: &mut Opening<'_>| {
            let noted = Arc::clone(&noted);
            stage.worker(|ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: (ends.input::<u64>(&input), ends.output::<u64>(&out)),
                    run: move |(input, out): &mut (Inlet<u64>, Outlet<u64>)| {
                        let since = Instant::now();
                        while let Some(message) = input.recv()? {
                            out.send(message)?;
                        }
                        *noted.lock().unwrap() = since.elapsed();
                        Ok(())
                    },
                })
            })
        },
    );
    let mut builder = Builder::new("test");
    let mut count = 0;
    let source = produce(move |out: &mut Outlet<u64>| {
        (0..500).try_for_each(|number| {
            if number % 50 == 0 {
                std::thread::park_timeout(Duration::from_micros(300));
            }
            out.send(number)
        })
    });
    let source = builder.source("source", source).done();
    let worker = builder
        .stage("worker", kind, ())
        .reads(&source)
        .capacity(1)
        .done();
    let sink = consume(move |_: u64, _| {
        count += 1;
        if count % 50 == 0 {
            std::thread::park_timeout(Duration::from_micros(300));
        }
        Ok(())
    });
    let _ = builder.sink("sink", sink).reads(&worker).capacity(1);
    let report = run(build(builder));
    let seen = seen.lock().unwrap().as_secs_f64();
    let measured = total(report.stage("worker").unwrap());
    assert!(measured >= seen - ROUNDING, "{measured} of {seen}");
    assert!(measured <= report.elapsed_seconds + ROUNDING);
}

/// Works for a while, and says how long it was.
fn work(seen: &Mutex<Duration>) {
    let since = Instant::now();
    std::thread::park_timeout(Duration::from_millis(5));
    *seen.lock().unwrap() += since.elapsed();
}

#[test]
fn work_that_belongs_to_no_message_counts_as_service() {
    struct Late(Arc<Mutex<Duration>>, Gate);
    impl Transform for Late {
        type In = u64;
        type Out = u64;
        fn apply(&mut self, _: u64, _: &mut Outlet<u64>) -> Result<(), StageError> {
            Ok(())
        }
        fn idle(&mut self, _: &mut Outlet<u64>) -> Result<(), StageError> {
            work(&self.0);
            self.1.open();
            Ok(())
        }
        fn finish(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
            work(&self.0);
            out.send(1)
        }
    }
    struct Prepare(Arc<Mutex<Duration>>);
    impl statline_pipeline::Sink for Prepare {
        type In = u64;
        fn write(&mut self, _: u64, _: &statline_pipeline::Errors) -> Result<(), StageError> {
            Ok(())
        }
        fn prepare(&mut self) -> Result<(), StageError> {
            work(&self.0);
            Ok(())
        }
    }
    let (late, prepare) = (Arc::default(), Arc::default());
    let mut builder = Builder::new("test");
    let idle = Gate::default();
    let waits = idle.clone();
    let source = produce(move |out: &mut Outlet<u64>| {
        (0..3).try_for_each(|number| out.send(number))?;
        // So that the end, most of the time, comes to a stage that waits for it.
        waits.pass();
        std::thread::park_timeout(Duration::from_millis(5));
        Ok(())
    });
    let source = builder.source("source", source).done();
    let stage = builder
        .transform("late", Late(Arc::clone(&late), idle))
        .reads(&source)
        .done();
    let _ = builder
        .sink("prepare", Prepare(Arc::clone(&prepare)))
        .reads(&stage);
    let report = run(build(builder));
    for (name, seen) in [("late", late), ("prepare", prepare)] {
        let stage = report.stage(name).unwrap();
        let seen = seen.lock().unwrap().as_secs_f64();
        assert!(stage.service.total_seconds >= seen - ROUNDING, "{stage:?}");
        // It is no message's time: those were served at once.
        assert_eq!(stage.service.count, stage.messages_in);
    }
}

#[test]
fn time_blocked_is_no_service() {
    let released = Gate::default();
    let gate = released.clone();
    let mut builder = Builder::new("test");
    let in_send = Arc::new(Mutex::new(Duration::ZERO));
    let noted = Arc::clone(&in_send);
    let source = produce(move |out: &mut Outlet<u64>| {
        for number in 0..4 {
            if number == 3 {
                // Queue and sink are full: this blocks until the sink has passed the gate.
                gate.open();
            }
            let since = Instant::now();
            out.send(number)?;
            *noted.lock().unwrap() += since.elapsed();
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let sink = consume(move |number: u64, _| {
        if number == 0 {
            released.pass();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    });
    let _ = builder.sink("sink", sink).reads(&source).capacity(2);
    let report = run(build(builder));
    let source = report.stage("source").unwrap();
    let in_send = in_send.lock().unwrap().as_secs_f64();
    assert_eq!(source.blocked.count, 4);
    assert!(source.blocked.max_ns > 0);
    assert!(source.blocked.total_seconds <= in_send + ROUNDING);
    assert!(total(source) <= report.elapsed_seconds + ROUNDING);
}

#[test]
fn snapshots_of_a_run_only_grow_and_stand_still_when_it_is_over() {
    let (builder, sink) = busy_graph();
    let job = build(builder);
    within_patience(move || {
        let run = job.start(&CancelHandle::new());
        let monitor = run.monitor();
        let mut before = monitor.snapshot();
        while sink.items().len() < 2_000 {
            let now = monitor.snapshot();
            assert!(now.elapsed_seconds >= before.elapsed_seconds);
            for (old, new) in before.stages.iter().zip(&now.stages) {
                assert!(new.messages_in >= old.messages_in);
                assert!(new.messages_out >= old.messages_out);
                assert!(new.items_in >= old.items_in);
                for (old, new) in [
                    (&old.service, &new.service),
                    (&old.wait, &new.wait),
                    (&old.blocked, &new.blocked),
                ] {
                    assert!(new.count >= old.count);
                    assert!(new.total_seconds >= old.total_seconds);
                    assert!(new.max_ns >= old.max_ns);
                }
            }
            before = now;
        }
        let report = run.wait();
        let after = monitor.snapshot();
        assert_eq!(after.elapsed_seconds, report.elapsed_seconds);
        assert_eq!(after.elapsed_seconds, monitor.snapshot().elapsed_seconds);
        assert_eq!(after.stage("sink").unwrap().messages_in, 2_000);
    });
}

#[test]
fn a_slow_stage_is_named_as_the_limit_with_its_neighbours_as_witnesses() {
    let slow = || {
        change(|message: u64, out: &mut Outlet<u64>| {
            std::thread::park_timeout(Duration::from_micros(400));
            out.send(message)
        })
    };
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..200u64).collect()))
        .done();
    let slow = builder
        .stage("slow", crew(), vec![slow(), slow()])
        .reads(&source)
        .capacity(2)
        .done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&slow);
    // Reads nothing but errors, and so waits for ever: no witness.
    let problems = consume(|_: statline_pipeline::ErrorRecord, _: &_| Ok(()));
    let _ = builder
        .sink("problems", problems)
        .reads(slow.port("errors"));
    let limit = run(build(builder)).limit.expect("the slow stage limits");
    assert_eq!(limit.stage, "slow");
    let explanation = limit.explanation;
    assert!(explanation.starts_with("slow limits this run: its 2 threads were busy"));
    assert!(
        explanation.contains("source waited to hand over"),
        "{explanation}"
    );
    assert!(
        explanation.contains("sink waited for input"),
        "{explanation}"
    );
}

#[test]
fn a_limit_that_sends_on_another_port_than_the_default_has_its_reader_as_a_witness() {
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("deleted", Properties::default()),
        |port, stage: &mut Opening<'_>| {
            stage.source(&port, |_| {
                Ok(produce(|out: &mut Outlet<u64>| {
                    (0..100).try_for_each(|number| {
                        std::thread::park_timeout(Duration::from_micros(400));
                        out.send(number)
                    })
                }))
            })
        },
    );
    let mut builder = Builder::new("test");
    let slow = builder.stage("slow", kind, ()).done();
    let _ = builder
        .sink("sink", Collected::<u64>::new())
        .reads(slow.port("deleted"));
    let limit = run(build(builder)).limit.expect("the slow stage limits");
    assert!(
        limit.explanation.contains("sink waited for input"),
        "{}",
        limit.explanation
    );
}

#[test]
fn counters_and_results_of_stages_are_in_the_report() {
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        |port, stage: &mut Opening<'_>| {
            let context = stage.context().clone();
            assert_eq!(context.stage(), "source");
            stage.source(&port, |_| {
                Ok(produce(move |out: &mut Outlet<u64>| {
                    context.counter("vanished").add(2);
                    context.counter("vanished").add(3);
                    context.set_result(&["largest", "first"])?;
                    out.send(1)
                }))
            })
        },
    );
    let mut builder = Builder::new("test");
    let source = builder.stage("source", kind, ()).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
    let report = run(build(builder));
    let source = report.stage("source").unwrap();
    assert_eq!(source.counters["vanished"], 5);
    assert_eq!(source.result, Some(serde_json::json!(["largest", "first"])));
}

#[test]
fn stages_share_one_resource_of_a_type_and_making_one_may_ask_for_another() {
    struct Inner(u32);
    struct Outer(Arc<Inner>);
    let kind = || {
        custom(
            |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
            |port, stage: &mut Opening<'_>| {
                let outer = stage.resource(|| {
                    let inner = stage.resource(|| Ok(Inner(7)))?;
                    Ok(Outer(inner))
                })?;
                assert_eq!(outer.0.0, 7);
                let shared = Arc::strong_count(&outer) as u64;
                stage.source(&port, |_| {
                    Ok(produce(move |out: &mut Outlet<u64>| {
                        let _ = &outer;
                        out.send(shared)
                    }))
                })
            },
        )
    };
    let sink = Collected::<u64>::new();
    let mut builder = Builder::new("test");
    let first = builder.stage("first", kind(), ()).done();
    let second = builder.stage("second", kind(), ()).done();
    let _ = builder
        .sink("sink", sink.clone())
        .reads(&first)
        .reads(&second);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let mut holders = sink.items();
    holders.sort_unstable();
    assert_eq!(holders, [2, 3]);
}

#[test]
fn a_report_survives_being_written_and_read() {
    let (builder, _) = busy_graph();
    let complete = run(build(builder));
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        out.errors().report(statline_pipeline::ErrorRecord::new(
            "stat",
            Vec::new(),
            "EACCES",
            "denied",
            statline_pipeline::Scope::Entry,
        ))?;
        out.send(1)?;
        Err(StageError::failed("half-way"))
    });
    let source = builder.source("source", source).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
    let failed = run(build(builder));
    for report in [complete, failed] {
        let written = serde_json::to_value(&report).unwrap();
        let read: RunReport = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        assert_eq!(read.schema, REPORT_SCHEMA);
        assert_eq!(read.outcome, report.outcome);
        assert_eq!(read.fault, report.fault);
        assert_eq!(read.error_count(), report.error_count());
        // As text too, where fractions may lose their last digit.
        let text = serde_json::to_string(&report).unwrap();
        let read: RunReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read.stages.len(), report.stages.len());
        assert_eq!(read.run_id, report.run_id);
    }
}
