//! What flows, how much of it at once, and where it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, Declare, Endpoints, Message, Opening, Outcome, Outlet, OutputPort, Properties,
    StageError,
};

use crate::support::*;

/// How many messages exist that the sink has not yet done with, and the most there ever were.
#[derive(Clone, Default)]
struct InFlight {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    announced: Level,
}

impl InFlight {
    fn created(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.announced.rise();
    }

    fn done(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs `producers` threads against a sink that stalls on its first message until `expected` messages are in flight.
/// More than expected would show in the highest figure of the whole run, which goes on long after the stall.
fn most_in_flight(
    producers: usize,
    capacity: usize,
    capacity_bytes: usize,
    weight: usize,
    expected: usize,
) -> usize {
    let flight = InFlight::default();
    let stall = Gate::default();
    let mut builder = Builder::new("test");
    let for_source = flight.clone();
    let source = builder
        .stage(
            "source",
            custom(
                |ports: &mut Declare<'_>| ports.output::<Heavy>("out", Properties::default()),
                move |port: OutputPort<Heavy>, stage: &mut Opening<'_>| {
                    (0..producers).try_for_each(|_| {
                        let flight = for_source.clone();
                        stage.source(&port, |_| {
                            Ok(produce(move |out: &mut Outlet<Heavy>| {
                                (0..200).try_for_each(|_| {
                                    flight.created();
                                    out.send(Heavy(weight))
                                })
                            }))
                        })
                    })
                },
            ),
            (),
        )
        .done();
    let (for_sink, at_stall) = (flight.clone(), stall.clone());
    let sink = consume(move |_: Heavy, _| {
        at_stall.pass();
        for_sink.done();
        Ok(())
    });
    let _ = builder
        .sink("sink", sink)
        .reads(&source)
        .capacity(capacity)
        .capacity_bytes(capacity_bytes);
    let job = build(builder);
    let announced = flight.announced.clone();
    let report = within_patience(move || {
        let run = job.start(&statline_pipeline::CancelHandle::new());
        announced.reach(expected);
        stall.open();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(report.edges[0].received, 200 * producers as u64);
    flight.most.load(Ordering::SeqCst)
}

#[test]
fn a_stalled_sink_lets_exactly_its_capacity_one_in_hand_and_one_a_producer_be_in_flight() {
    for (producers, capacity) in [(1, 1), (1, 4), (1, 16), (2, 1), (3, 5), (5, 2)] {
        let expected = capacity + 1 + producers;
        let most = most_in_flight(producers, capacity, usize::MAX, 1, expected);
        assert_eq!(most, expected, "{producers} producers, capacity {capacity}");
    }
}

#[test]
fn a_stalled_sink_lets_exactly_its_capacity_in_bytes_be_in_flight() {
    // 3 messages of 30 bytes fit into 100.
    assert_eq!(most_in_flight(1, 16, 100, 30, 5), 5);
    assert_eq!(most_in_flight(2, 16, 100, 30, 6), 6);
    assert_eq!(most_in_flight(1, 16, 100, 50, 4), 4);
    // The messages run out before the bytes do.
    assert_eq!(most_in_flight(1, 2, 100, 30, 4), 4);
}

#[test]
fn a_message_larger_than_the_whole_queue_is_admitted_when_the_queue_is_empty() {
    assert_eq!(most_in_flight(1, 16, 100, 1_000, 3), 3);
    assert_eq!(most_in_flight(3, 16, 100, 1_000, 5), 5);
    assert_eq!(most_in_flight(1, 1, 0, 1, 3), 3);
}

#[test]
fn fan_out_gives_every_message_to_every_consumer_once_and_in_order() {
    let sinks: Vec<Collected<u64>> = (0..4).map(|_| Collected::<u64>::new()).collect();
    let mut builder = Builder::new("test");
    let source = builder.source("source", Items((0..500).collect())).done();
    for (number, sink) in sinks.iter().enumerate() {
        let _ = builder
            .sink(&format!("sink{number}"), sink.clone())
            .reads(&source)
            .capacity(number + 1);
    }
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete);
    for sink in sinks {
        assert_eq!(sink.items(), (0..500).collect::<Vec<u64>>());
        assert!(sink.published());
    }
    assert_eq!(report.stage("source").unwrap().messages_out, 500);
}

#[test]
fn fan_in_gives_every_message_of_every_producer_once() {
    let sink = Collected::<u64>::new();
    let mut builder = Builder::new("test");
    let sources: Vec<_> = (0..4u64)
        .map(|number| {
            let items = Items((100 * number..100 * (number + 1)).collect());
            builder.source(&format!("source{number}"), items).done()
        })
        .collect();
    let mut stage = builder.sink("sink", sink.clone()).capacity(2);
    for source in &sources {
        stage = stage.reads(source);
    }
    let _ = stage;
    assert_eq!(run(build(builder)).outcome, Outcome::Complete);
    let mut items = sink.items();
    items.sort_unstable();
    assert_eq!(items, (0..400).collect::<Vec<u64>>());
}

#[test]
fn workers_of_a_stage_share_its_input_each_message_going_to_one_of_them() {
    // Each worker keeps its first message until all have one: none can have been left out.
    let sink = Collected::<u64>::new();
    let together = Level::default();
    let workers: Vec<_> = (0..5)
        .map(|_| {
            let (together, mut first) = (together.clone(), true);
            change(move |message: u64, out: &mut Outlet<u64>| {
                if std::mem::take(&mut first) {
                    together.rise();
                    together.reach(5);
                }
                out.send(message)
            })
        })
        .collect();
    let mut builder = Builder::new("test");
    let source = builder.source("source", Items((0..300).collect())).done();
    let shared = builder
        .stage("shared", crew(), workers)
        .reads(&source)
        .done();
    let _ = builder.sink("sink", sink.clone()).reads(&shared);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(report.stage("shared").unwrap().threads, 5);
    let mut items = sink.items();
    items.sort_unstable();
    assert_eq!(items, (0..300).collect::<Vec<u64>>());
}

#[test]
fn one_sink_can_read_the_errors_of_several_stages() {
    use statline_pipeline::{ErrorRecord, Scope};
    let problems = Collected::<ErrorRecord>::new();
    let mut builder = Builder::new("test");
    let report_all = |code: &'static str| {
        change(move |message: u64, out: &mut Outlet<u64>| {
            out.errors().report(ErrorRecord::new(
                "test",
                message.to_string().into_bytes(),
                code,
                "no",
                Scope::Entry,
            ))?;
            out.send(message)
        })
    };
    let source = builder.source("source", Items((0..50).collect())).done();
    let first = builder
        .transform("first", report_all("A"))
        .reads(&source)
        .done();
    let second = builder
        .transform("second", report_all("B"))
        .reads(&first)
        .accept(["B"])
        .done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&second);
    let _ = builder
        .sink("problems", problems.clone())
        .reads(first.port("errors"))
        .reads(second.port("errors"))
        .capacity(1);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!((report.error_count(), report.accepted_count()), (50, 50));
    let records = problems.items();
    for (stage, accepted) in [("first", false), ("second", true)] {
        let of_stage = records.iter().filter(|record| &*record.stage == stage);
        assert_eq!(
            of_stage
                .filter(|record| record.accepted == accepted)
                .count(),
            50
        );
    }
}

#[test]
fn a_transform_is_told_of_an_empty_input_and_of_its_deadline_and_finishes_once() {
    use statline_pipeline::Transform;
    use std::time::Instant;

    /// Gathers, and flushes when idle.
    #[derive(Default)]
    struct Gather {
        held: Vec<u64>,
        flushed: Level,
        finished: usize,
    }
    impl Transform for Gather {
        type In = u64;
        type Out = u64;
        fn apply(&mut self, message: u64, _: &mut Outlet<u64>) -> Result<(), StageError> {
            self.held.push(message);
            Ok(())
        }
        fn idle(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
            for message in self.held.drain(..) {
                out.send(message)?;
                self.flushed.rise();
            }
            Ok(())
        }
        fn deadline(&self) -> Option<Instant> {
            // Has always passed: every message is to go at once.
            self.held.first().map(|_| Instant::now())
        }
        fn finish(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
            self.finished += 1;
            assert_eq!(self.finished, 1);
            self.idle(out)?;
            out.send(u64::MAX)
        }
    }

    let sink = Collected::<u64>::new();
    let gather = Gather::default();
    let flushed = gather.flushed.clone();
    let mut builder = Builder::new("test");
    // Sends the second only when the first was flushed: without `idle` this would never end.
    let source = produce(move |out: &mut Outlet<u64>| {
        for number in 0..5 {
            out.send(number)?;
            flushed.reach(number as usize + 1);
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let gather = builder.transform("gather", gather).reads(&source).done();
    let _ = builder.sink("sink", sink.clone()).reads(&gather);
    assert_eq!(run(build(builder)).outcome, Outcome::Complete);
    assert_eq!(sink.items(), [0, 1, 2, 3, 4, u64::MAX]);
}

#[test]
fn an_actor_merges_two_inputs_and_splits_into_two_outputs() {
    let (even, odd) = (Collected::<u64>::new(), Collected::<u64>::new());
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<u64>("old"),
                ports.input::<u64>("new"),
                ports.output::<u64>("even", Properties::default()),
                ports.output::<u64>("odd", Properties::default()),
            )
        },
        |(old, new, even, odd), stage: &mut Opening<'_>| {
            stage.worker(|ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: (
                        ends.input(&old),
                        ends.input(&new),
                        ends.output(&even),
                        ends.output(&odd),
                    ),
                    run: |(old, new, even, odd): &mut (
                        statline_pipeline::Inlet<u64>,
                        statline_pipeline::Inlet<u64>,
                        Outlet<u64>,
                        Outlet<u64>,
                    )| {
                        for input in [old, new] {
                            while let Some(message) = input.recv()? {
                                match message % 2 {
                                    0 => even.send(message)?,
                                    _ => odd.send(message)?,
                                }
                            }
                            // An input that has ended stays so.
                            assert!(input.recv()?.is_none());
                        }
                        Ok(())
                    },
                })
            })
        },
    );
    let mut builder = Builder::new("test");
    let old = builder.source("a", Items((0..100u64).collect())).done();
    let new = builder.source("b", Items((100..200u64).collect())).done();
    let split = builder
        .stage("split", kind, ())
        .reads_on("old", &old)
        .reads_on("new", &new)
        .done();
    let _ = builder.sink("even", even.clone()).reads(split.port("even"));
    let _ = builder.sink("odd", odd.clone()).reads(split.port("odd"));
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(even.items(), (0..200).step_by(2).collect::<Vec<u64>>());
    assert_eq!(odd.items(), (1..200).step_by(2).collect::<Vec<u64>>());
}

#[test]
fn results_come_to_the_caller_in_order_and_finish_says_that_they_are_all() {
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..500u64).collect()))
        .done();
    let mut results = builder.results::<u64>(&source).unwrap();
    let (items, results) = within_patience(move || {
        let items: Vec<u64> = results.by_ref().collect();
        (items, results)
    });
    assert_eq!(items, (0..500).collect::<Vec<u64>>());
    assert_eq!(results.finish().outcome, Outcome::Complete);
}

#[test]
fn results_hold_no_more_than_their_queue() {
    // One in the caller's channel, one in the stage's hands, two queued, one in the source's hands.
    let flight = InFlight::default();
    let mut builder = Builder::new("test").with_settings({
        let mut settings = statline_pipeline::PipelineSettings::default();
        settings.capacity = 2;
        settings
    });
    let created = flight.clone();
    let source = produce(move |out: &mut Outlet<u64>| {
        (0..100).try_for_each(|number| {
            created.created();
            out.send(number)
        })
    });
    let source = builder.source("source", source).done();
    let mut results = builder.results::<u64>(&source).unwrap();
    let outcome = within_patience(move || {
        flight.announced.reach(5);
        while results.next().is_some() {
            flight.done();
        }
        assert!(flight.most.load(Ordering::SeqCst) <= 6);
        results.finish().outcome
    });
    assert_eq!(outcome, Outcome::Complete);
}

#[test]
fn a_message_says_how_many_items_it_counts_for() {
    #[derive(Clone)]
    struct Batch(u64);
    impl Message for Batch {
        fn items(&self) -> u64 {
            self.0
        }
        fn weight(&self) -> usize {
            8
        }
    }
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..10).map(Batch).collect()))
        .done();
    let _ = builder
        .sink("sink", consume(|_: Batch, _| Ok(())))
        .reads(&source);
    let report = run(build(builder));
    let (source, sink) = (
        report.stage("source").unwrap(),
        report.stage("sink").unwrap(),
    );
    assert_eq!((source.messages_out, source.items_out), (10, 45));
    assert_eq!((sink.messages_in, sink.items_in), (10, 45));
}
