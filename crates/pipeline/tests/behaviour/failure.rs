//! Faults: which one is reported, and that nothing is published or left behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, CancelHandle, Declare, Endpoints, ErrorRecord, Errors, FaultKind, InputPort, Opening,
    Outcome, Outlet, OutputPort, Properties, RunReport, Scope, Sink, StageError, Stop, Verdict,
};

use crate::support::*;

const STAGES: [&str; 6] = ["source", "first", "second", "third", "left", "right"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Panic,
    Error,
}

/// Fails at the n-th message of its stage, whichever worker gets it. A stage that never fails counts to nowhere.
#[derive(Clone)]
struct Fuse {
    seen: Arc<AtomicU64>,
    at: u64,
    how: How,
    _alive: Arc<Alive>,
}

impl Fuse {
    fn burn(&self) -> Result<(), StageError> {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        match self.how {
            _ if seen != self.at => Ok(()),
            How::Panic => panic!("message {seen} is one too many"),
            How::Error => Err(StageError::failed(format!(
                "message {seen} is one too many"
            ))),
        }
    }
}

/// source → first (3 workers) → second → third (2 workers) → left and right.
fn run_with_fault(stage: usize, at: u64, how: How) -> (RunReport, Verdicts, Census) {
    let (verdicts, census) = (Verdicts::default(), Census::default());
    let fuse = |number: usize| Fuse {
        seen: Arc::default(),
        at: if number == stage { at } else { 0 },
        how,
        _alive: Arc::new(census.join()),
    };
    let burn_and_pass = |fuse: Fuse| {
        change(move |message: u64, out: &mut Outlet<u64>| {
            fuse.burn()?;
            out.send(message)
        })
    };
    let burn_and_write = |number: usize| {
        let fuse = fuse(number);
        consume(move |_: u64, _| fuse.burn()).noting(STAGES[number], &verdicts)
    };
    let several = |fuse: Fuse, count| (0..count).map(|_| burn_and_pass(fuse.clone())).collect();

    let mut builder = Builder::new("test");
    let of_source = fuse(0);
    let source = produce(move |out: &mut Outlet<u64>| {
        (0..60).try_for_each(|number| {
            of_source.burn()?;
            out.send(number)
        })
    });
    let source = builder.source(STAGES[0], source).capacity(2).done();
    let first = builder
        .stage(STAGES[1], crew(), several(fuse(1), 3))
        .reads(&source)
        .capacity(2)
        .done();
    let second = builder
        .transform(STAGES[2], burn_and_pass(fuse(2)))
        .reads(&first)
        .capacity(1)
        .done();
    let third = builder
        .stage(STAGES[3], crew(), several(fuse(3), 2))
        .reads(&second)
        .capacity(3)
        .done();
    for number in [4, 5] {
        let _ = builder
            .sink(STAGES[number], burn_and_write(number))
            .reads(&third)
            .capacity(1);
    }
    (run(build(builder)), verdicts, census)
}

#[test]
fn a_fault_at_any_message_of_any_stage_is_named_and_nothing_is_published_or_left_behind() {
    for (stage, name) in STAGES.iter().enumerate() {
        for how in [How::Panic, How::Error] {
            for at in (1..=50).step_by(2).chain([60]) {
                let case = format!("{how:?} at message {at} of {name}");
                let (report, verdicts, census) = run_with_fault(stage, at, how);
                assert_eq!(report.outcome, Outcome::Failed, "{case}");
                let fault = report.fault.expect("a failed run has a fault");
                assert_eq!(fault.stage, *name, "{case}");
                assert_eq!(
                    fault.message,
                    format!("message {at} is one too many"),
                    "{case}"
                );
                let kind = match how {
                    How::Panic => FaultKind::Panic,
                    How::Error => FaultKind::Error,
                };
                assert_eq!(fault.kind, kind, "{case}");
                assert!(!verdicts.published(), "{case}: {:?}", verdicts.all());
                // What was cut before it came to the sinks did not pass for an end: none of them prepared.
                assert!(stage >= 4 || verdicts.all().is_empty(), "{case}");
                assert_eq!(census.count(), 0, "{case}: stages outlived the run");
                let cause = report.cause.expect("a failed run has a cause");
                assert!(cause.contains(name), "{case}: {cause}");
            }
        }
    }
}

#[test]
fn a_fault_in_finish_fails_the_run_though_all_input_was_seen() {
    struct Last;
    impl statline_pipeline::Transform for Last {
        type In = u64;
        type Out = u64;
        fn apply(&mut self, _: u64, _: &mut Outlet<u64>) -> Result<(), StageError> {
            Ok(())
        }
        fn finish(&mut self, _: &mut Outlet<u64>) -> Result<(), StageError> {
            panic!("at the very end")
        }
    }
    // Often, for the sink is to see the channel close while it waits.
    for _ in 0..50 {
        let sink = Collected::<u64>::new();
        let mut builder = Builder::new("test");
        let source = builder.source("source", Items(vec![1u64, 2, 3])).done();
        let last = builder.transform("last", Last).reads(&source).done();
        let _ = builder.sink("sink", sink.clone()).reads(&last);
        let report = run(build(builder));
        assert_eq!(report.fault.unwrap().message, "at the very end");
        assert!(!sink.prepared() && !sink.published());
    }
}

#[test]
fn the_first_of_two_faults_is_the_cause() {
    /// Opens a gate when its stage is dropped: the stage's fault is on record then.
    struct AtDrop(Gate);
    impl Drop for AtDrop {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    let dropped = Gate::default();
    let at_drop = AtDrop(dropped.clone());
    let first = produce(move |_: &mut Outlet<u64>| {
        let _ = &at_drop;
        Err(StageError::failed("first"))
    });
    let second = produce(move |_: &mut Outlet<u64>| {
        dropped.pass();
        panic!("second")
    });
    let mut builder = Builder::new("test");
    let second = builder.source("second", second).done();
    let first = builder.source("first", first).done();
    let _ = builder
        .sink("sink", Collected::<u64>::new())
        .reads(&second)
        .reads(&first);
    let fault = run(build(builder)).fault.unwrap();
    assert_eq!(
        (fault.stage.as_str(), fault.message.as_str()),
        ("first", "first")
    );
}

/// Something whose drop panics.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_panic_while_a_stage_is_dropped_fails_the_run() {
    let sink = Collected::<u64>::new();
    let mut builder = Builder::new("test");
    let grenade = Grenade;
    let source = produce(move |out: &mut Outlet<u64>| {
        let _ = &grenade;
        out.send(1)
    });
    let source = builder.source("source", source).done();
    let _ = builder.sink("sink", sink.clone()).reads(&source);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Failed);
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.stage.as_str(), fault.message.as_str()),
        ("source", "while it was dropped: dropped")
    );
    assert!(!sink.published());
}

fn failing_to_open(message: &'static str, panics: bool) -> (RunReport, Verdicts, Census) {
    let (verdicts, census) = (Verdicts::default(), Census::default());
    let alive = census.join();
    let source = produce(move |out: &mut Outlet<u64>| {
        let _ = &alive;
        out.send(1)
    });
    let mut builder = Builder::new("test");
    let source = builder.source("source", source).done();
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<u64>("in"),
                ports.output::<u64>("out", Properties::default()),
            )
        },
        move |_: (InputPort<u64>, OutputPort<u64>), _: &mut Opening<'_>| match panics {
            true => panic!("{message}"),
            false => Err(StageError::failed(message)),
        },
    );
    let broken = builder.stage("broken", kind, ()).reads(&source).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&broken);
    (run(build(builder)), verdicts, census)
}

#[test]
fn a_stage_that_cannot_open_or_panics_while_opening_fails_the_run_before_it_starts() {
    for panics in [false, true] {
        let (report, verdicts, census) = failing_to_open("no such root", panics);
        assert_eq!(report.outcome, Outcome::Failed);
        let fault = report.fault.clone().unwrap();
        assert_eq!(fault.stage, "broken");
        assert_eq!(fault.kind, FaultKind::Open);
        assert_eq!(fault.message, "no such root");
        assert!(!verdicts.published());
        assert_eq!(census.count(), 0);
        // The stages behind it are in the report all the same.
        let stages: Vec<&str> = report.stages.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(stages, ["source", "broken", "sink"]);
        assert_eq!(report.stage("source").unwrap().messages_out, 0);
    }
}

#[test]
fn a_stage_opened_without_workers_or_without_one_of_its_ports_fails_the_run() {
    type Ports = (InputPort<u64>, OutputPort<u64>);
    type Open = fn(Ports, &mut Opening<'_>) -> Result<(), StageError>;
    let ports = |ports: &mut Declare<'_>| {
        (
            ports.input::<u64>("in"),
            ports.output::<u64>("out", Properties::default()),
        )
    };
    let run_kind = |open: Open| {
        let mut builder = Builder::new("test");
        let source = builder.source("source", Items(vec![1u64])).done();
        let stage = builder
            .stage("stage", custom(ports, open), ())
            .reads(&source)
            .done();
        let _ = builder.sink("sink", Collected::<u64>::new()).reads(&stage);
        run(build(builder)).fault.unwrap()
    };
    let fault = run_kind(|_, _| Ok(()));
    assert_eq!(fault.message, "it was opened without any worker");
    let fault = run_kind(|(input, _), stage| {
        stage.worker(|ends: &mut Endpoints<'_>| {
            Ok(Play {
                ports: ends.input(&input),
                run: |input: &mut statline_pipeline::Inlet<u64>| {
                    while input.recv()?.is_some() {}
                    Ok(())
                },
            })
        })
    });
    assert_eq!(fault.message, "no worker of it took its output \"out\"");
    let fault = run_kind(|(_, out), stage| {
        stage.worker(|ends: &mut Endpoints<'_>| {
            Ok(Play {
                ports: ends.output(&out),
                run: |_: &mut Outlet<u64>| Ok(()),
            })
        })
    });
    assert_eq!(fault.message, "no worker of it took its input \"in\"");
    assert_eq!(
        (fault.stage.as_str(), fault.kind),
        ("stage", FaultKind::Open)
    );
}

#[test]
fn a_worker_that_could_not_be_made_is_not_waited_for_by_those_behind() {
    let sink = Collected::<u64>::new();
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        |port: OutputPort<u64>, stage: &mut Opening<'_>| {
            // As many as there is room for: here one.
            for room in [true, false] {
                let made = stage.worker(|ends: &mut Endpoints<'_>| {
                    let out = ends.output(&port);
                    match room {
                        true => Ok(Play {
                            ports: out,
                            run: |out: &mut Outlet<u64>| out.send(7),
                        }),
                        false => Err(StageError::failed("no room")),
                    }
                });
                assert_eq!(made.is_ok(), room);
            }
            Ok(())
        },
    );
    let mut builder = Builder::new("test");
    let source = builder.stage("source", kind, ()).done();
    let _ = builder.sink("sink", sink.clone()).reads(&source);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    assert_eq!(sink.items(), [7]);
}

#[test]
fn swallowing_what_send_returns_does_not_make_a_complete_run() {
    // The sink fails at once; the source carries on as if nothing were.
    let verdicts = Verdicts::default();
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        for number in 0..100 {
            let _ = out.send(number);
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let bad = consume(|_: u64, _| Err(StageError::failed("disk full")));
    let good = consume(|_: u64, _| Ok(())).noting("good", &verdicts);
    let _ = builder.sink("bad", bad).reads(&source).capacity(1);
    let _ = builder.sink("good", good).reads(&source).capacity(1);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!(report.fault.unwrap().message, "disk full");
    assert!(!verdicts.published());
}

#[test]
fn swallowing_what_send_returns_in_a_cancelled_run_leaves_it_cancelled() {
    let (verdicts, cancel) = (Verdicts::default(), CancelHandle::new());
    let mut builder = Builder::new("test");
    let handle = cancel.clone();
    let source = produce(move |out: &mut Outlet<u64>| {
        for number in 0..100 {
            if number == 50 {
                handle.cancel();
            }
            let _ = out.send(number);
        }
        Ok(())
    });
    let source = builder.source("source", source).done();
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let report = run_with(build(builder), &cancel);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(!verdicts.published());
}

#[test]
fn swallowing_a_truncated_input_does_not_make_a_complete_run() {
    // `careless` takes any error for the end, then ends well or says that it has enough.
    for ending in [|| Ok(()), || Err(StageError::ENOUGH)] {
        let sink = Collected::<u64>::new();
        let mut builder = Builder::new("test");
        let source = produce(|out: &mut Outlet<u64>| {
            (0..10).try_for_each(|number| out.send(number))?;
            panic!("half-way")
        });
        let source = builder.source("source", source).done();
        let kind = custom(
            |ports: &mut Declare<'_>| {
                (
                    ports.input::<u64>("in"),
                    ports.output::<u64>("out", Properties::default()),
                )
            },
            move |(input, out), stage: &mut Opening<'_>| {
                stage.worker(|ends: &mut Endpoints<'_>| {
                    Ok(Play {
                        ports: (ends.input::<u64>(&input), ends.output::<u64>(&out)),
                        run: move |(input, out): &mut (
                            statline_pipeline::Inlet<u64>,
                            Outlet<u64>,
                        )| {
                            while let Ok(Some(message)) = input.recv() {
                                let _ = out.send(message);
                            }
                            ending()
                        },
                    })
                })
            },
        );
        let careless = builder.stage("careless", kind, ()).reads(&source).done();
        let _ = builder.sink("sink", sink.clone()).reads(&careless);
        let report = run(build(builder));
        assert_eq!(report.outcome, Outcome::Failed);
        assert_eq!(report.fault.unwrap().message, "half-way");
        assert!(!sink.published());
    }
}

#[test]
fn swallowing_a_stop_and_claiming_to_have_enough_does_not_make_a_complete_run() {
    let (cancel, all_sent) = (CancelHandle::new(), Gate::default());
    let (handle, sent) = (cancel.clone(), all_sent.clone());
    let mut builder = Builder::new("test");
    let source = produce(move |out: &mut Outlet<u64>| {
        (0..3).try_for_each(|number| out.send(number))?;
        sent.open();
        Ok(())
    });
    let source = builder.source("source", source).done();
    let careless = reader(move |input| {
        all_sent.pass();
        handle.cancel();
        assert!(input.recv().is_err());
        Err(StageError::ENOUGH)
    });
    let _ = builder.stage("careless", careless, ()).reads(&source);
    let report = run_with(build(builder), &cancel);
    assert_eq!(report.outcome, Outcome::Cancelled);
}

#[test]
fn what_a_stage_does_after_its_ports_were_cut_is_a_consequence() {
    // Both were told to stop before they panicked or failed: the run is cancelled, not failed.
    for panics in [true, false] {
        let cancel = CancelHandle::new();
        let handle = cancel.clone();
        let source = produce(move |out: &mut Outlet<u64>| {
            handle.cancel();
            match panics {
                true => out.send(1).unwrap(),
                false => out.send(1).map_err(|error| {
                    StageError::failed(std::io::Error::other(error.to_string()))
                })?,
            }
            Ok(())
        });
        let mut builder = Builder::new("test");
        let source = builder.source("source", source).done();
        let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
        let report = run_with(build(builder), &cancel);
        assert_eq!(report.outcome, Outcome::Cancelled, "{:?}", report.cause);
    }
}

#[test]
fn a_stage_error_wrapped_as_a_failure_stays_what_it_is() {
    let wrapped = StageError::failed(StageError::ENOUGH);
    assert!(matches!(wrapped, StageError::Stopped(Stop::Enough)));
    let failed = StageError::failed(StageError::failed("disk full"));
    assert_eq!(failed.to_string(), "disk full");
}

#[test]
fn an_actor_that_returns_before_its_input_ended_breaks_its_contract() {
    let verdicts = Verdicts::default();
    let mut builder = Builder::new("test");
    let source = builder
        .source("source", Items((0..100u64).collect()))
        .done();
    let early = reader(|input| {
        for _ in 0..3 {
            input.recv()?;
        }
        Ok(())
    });
    let _ = builder.stage("early", early, ()).reads(&source).capacity(2);
    let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
    let _ = builder.sink("sink", sink).reads(&source);
    let report = run(build(builder));
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.stage.as_str(), fault.kind),
        ("early", FaultKind::Contract)
    );
    assert!(!verdicts.published());
}

#[test]
fn a_stage_that_stops_though_nothing_told_it_to_breaks_its_contract_and_hangs_nobody() {
    for stop in [Stop::Cancelled, Stop::Truncated] {
        let mut builder = Builder::new("test");
        // Blocks for bytes, where a closed channel cannot be seen.
        let source = builder.source("source", Items(vec![Heavy(90); 100])).done();
        let sink = consume(move |_: Heavy, _| Err(StageError::Stopped(stop)));
        let _ = builder
            .sink("quitter", sink)
            .reads(&source)
            .capacity_bytes(100);
        let report = run(build(builder));
        let fault = report.fault.unwrap();
        assert_eq!(
            (fault.stage.as_str(), fault.kind),
            ("quitter", FaultKind::Contract)
        );
    }
}

#[test]
fn an_error_of_an_item_counts_even_if_the_stage_swallows_it() {
    let record = || ErrorRecord::new("stat", b"x".to_vec(), "EACCES", "denied", Scope::Entry);
    for (accepted, swallows, expected) in [
        (false, false, Outcome::Incomplete),
        (false, true, Outcome::Incomplete),
        (true, false, Outcome::Complete),
    ] {
        let verdicts = Verdicts::default();
        let mut builder = Builder::new("test");
        let source = produce(move |out: &mut Outlet<u64>| {
            let reported = out.errors().report(record());
            if !swallows {
                reported?;
            }
            out.send(1)
        });
        let mut source = builder.source("source", source);
        if accepted {
            source = source.accept(["EACCES"]);
        }
        let source = source.done();
        let sink = consume(|_: u64, _| Ok(())).noting("sink", &verdicts);
        let _ = builder.sink("sink", sink).reads(&source);
        let report = run(build(builder));
        assert_eq!(report.outcome, expected);
        assert_eq!(verdicts.all(), [("sink", expected)]);
        let errors = &report.stage("source").unwrap().errors;
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].code.as_str(), errors[0].count), ("EACCES", 1));
        assert_eq!(errors[0].accepted, accepted);
    }
}

#[test]
fn only_the_codes_that_were_accepted_are_counted_apart() {
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        for code in ["EACCES", "EIO"] {
            let record = ErrorRecord::new("stat", Vec::new(), code, "no", Scope::Entry);
            out.errors().report(record)?;
        }
        out.send(1)
    });
    let source = builder.source("source", source).accept(["EACCES"]).done();
    let records = Collected::<ErrorRecord>::new();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
    let _ = builder
        .sink("problems", records.clone())
        .reads(source.port("errors"));
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Incomplete);
    let errors = &report.stage("source").unwrap().errors;
    let counted: Vec<_> = errors
        .iter()
        .map(|error| (error.code.as_str(), error.count, error.accepted))
        .collect();
    assert_eq!(counted, [("EACCES", 1, true), ("EIO", 1, false)]);
    let sent: Vec<_> = records
        .items()
        .iter()
        .map(|error| (error.code.to_string(), error.accepted))
        .collect();
    assert_eq!(
        sent,
        [("EACCES".to_owned(), true), ("EIO".to_owned(), false)]
    );
}

#[test]
fn an_error_swallowed_while_the_run_fails_counts_and_the_cause_stays_the_cause() {
    let mut builder = Builder::new("test");
    let source = produce(|out: &mut Outlet<u64>| {
        // Nothing is sent any more once the fault is on record and the run stops.
        while out.send(1).is_ok() {}
        let _ = out.errors().report(ErrorRecord::new(
            "list",
            Vec::new(),
            "EIO",
            "broken",
            Scope::Subtree,
        ));
        Ok(())
    });
    let source = builder.source("source", source).done();
    let sink = consume(|_: u64, _| Err(StageError::failed("disk full")));
    let _ = builder.sink("sink", sink).reads(&source);
    let _ = builder
        .sink("problems", Collected::<ErrorRecord>::new())
        .reads(source.port("errors"));
    let report = run(build(builder));
    assert_eq!(report.fault.as_ref().unwrap().message, "disk full");
    assert_eq!(report.error_count(), 1);
}

#[test]
fn messages_that_were_sent_and_not_received_fail_the_run() {
    /// Sends once more when its input has ended, through an end that the source left behind.
    struct Late(Arc<Mutex<Option<Outlet<u64>>>>, Verdicts);
    impl Sink for Late {
        type In = u64;

        fn write(&mut self, _: u64, _: &Errors) -> Result<(), StageError> {
            Ok(())
        }

        fn prepare(&mut self) -> Result<(), StageError> {
            let out = self.0.lock().unwrap().take();
            out.unwrap().send(2)
        }

        fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
            self.1.add("late", verdict.outcome);
            Ok(())
        }
    }
    let (left, verdicts) = (Arc::new(Mutex::new(None)), Verdicts::default());
    let leaves = Arc::clone(&left);
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        move |port: OutputPort<u64>, stage: &mut Opening<'_>| {
            let leaves = Arc::clone(&leaves);
            stage.worker(|ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: Some(ends.output::<u64>(&port)),
                    run: move |out: &mut Option<Outlet<u64>>| {
                        let out = out.take().unwrap();
                        let sent = out.send(1);
                        *leaves.lock().unwrap() = Some(out);
                        sent
                    },
                })
            })
        },
    );
    let mut builder = Builder::new("test");
    let source = builder.stage("source", kind, ()).done();
    let _ = builder
        .sink("late", Late(left, verdicts.clone()))
        .reads(&source);
    let report = run(build(builder));
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.stage.as_str(), fault.kind),
        ("late", FaultKind::Contract)
    );
    assert!(
        fault.message.contains("2 messages were sent"),
        "{}",
        fault.message
    );
    assert_eq!(verdicts.all(), [("late", Outcome::Failed)]);
}
