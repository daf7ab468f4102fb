//! Calls that do not come back: given up one by one, given up for good, left behind when a run is stopped.

use std::collections::BTreeSet;
use std::time::Duration;

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, CancelHandle, Context, Declare, Endpoints, ErrorRecord, Inlet, InputPort, Opening,
    Outcome, Outlet, OutputPort, Period, PipelineSettings, Properties, Pulse, RunReport, Scope,
    StageError, Watch, Watched,
};

use crate::support::*;

/// Passes numbers on after a call for each, which hangs for some of them until a gate opens.
struct Caller {
    input: Inlet<u64>,
    out: Outlet<u64>,
    context: Context,
    hangs: BTreeSet<u64>,
    gate: Gate,
    /// Rises when a call is about to hang.
    hanging: Level,
    current: Option<u64>,
    lost: Option<u64>,
}

impl Caller {
    fn lose(&mut self, number: u64) -> Result<(), StageError> {
        let subject = number.to_string().into_bytes();
        let error = ErrorRecord::new("call", subject, "STALLED", "no answer", Scope::Entry);
        self.out.errors().report(error)
    }
}

impl Watched for Caller {
    fn run(caller: &mut Watch<Caller>) -> Result<(), StageError> {
        loop {
            if let Some(number) = caller.lost.take() {
                caller.lose(number)?;
            }
            let Some(number) = caller.input.recv()? else {
                return Ok(());
            };
            if caller.context.has_given_up() {
                caller.lose(number)?;
                continue;
            }
            caller.current = Some(number);
            let (hangs, gate) = (caller.hangs.contains(&number), caller.gate.clone());
            let hanging = caller.hanging.clone();
            let answer = caller.call(move |_: &Pulse| {
                if hangs {
                    hanging.rise();
                    gate.pass();
                }
                number
            })?;
            caller.current = None;
            caller.out.send(answer)?;
        }
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        ("call", format!("{:?}", self.current).into_bytes())
    }

    fn give_up(&mut self, done: u64) {
        assert_eq!(done, 0);
        self.lost = self.current.take();
    }
}

struct Setting {
    hangs: BTreeSet<u64>,
    threads: usize,
    gate: Gate,
    hanging: Level,
    collected: Collected<u64>,
    settings: PipelineSettings,
}

impl Setting {
    fn new(hangs: impl IntoIterator<Item = u64>) -> Setting {
        let mut settings = PipelineSettings::default();
        settings.stall_after = Period::new(Duration::from_millis(100));
        Setting {
            hangs: hangs.into_iter().collect(),
            threads: 1,
            gate: Gate::default(),
            hanging: Level::default(),
            collected: Collected::new(),
            settings,
        }
    }

    fn job(&self, messages: u64) -> Builder {
        let (hangs, threads) = (self.hangs.clone(), self.threads);
        let (gate, hanging) = (self.gate.clone(), self.hanging.clone());
        let kind = custom(
            |ports: &mut Declare<'_>| {
                let out = ports.output::<u64>("out", Properties::default());
                (ports.input::<u64>("in"), out)
            },
            move |(input, out): (InputPort<u64>, OutputPort<u64>), stage: &mut Opening<'_>| {
                let context = stage.context().clone();
                (0..threads).try_for_each(|_| {
                    stage.watched(|ends: &mut Endpoints<'_>| {
                        Ok(Caller {
                            input: ends.input(&input),
                            out: ends.output(&out),
                            context: context.clone(),
                            hangs: hangs.clone(),
                            gate: gate.clone(),
                            hanging: hanging.clone(),
                            current: None,
                            lost: None,
                        })
                    })
                })
            },
        );
        let mut builder = Builder::new("test").with_settings(self.settings.clone());
        let source = builder
            .source("source", Items((0..messages).collect()))
            .done();
        let caller = builder.stage("caller", kind, ()).reads(&source).done();
        let _ = builder.sink("sink", self.collected.clone()).reads(&caller);
        builder
    }

    fn run(&self, messages: u64) -> RunReport {
        run(build(self.job(messages)))
    }

    /// What arrived, in order.
    fn arrived(&self) -> Vec<u64> {
        let mut arrived = self.collected.items();
        arrived.sort_unstable();
        arrived
    }
}

#[test]
fn a_call_that_hangs_is_given_up_and_named_and_everything_else_is_done() {
    let setting = Setting::new([7]);
    let report = setting.run(50);
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.cause);
    let expected: Vec<u64> = (0..50).filter(|number| *number != 7).collect();
    assert_eq!(setting.arrived(), expected);
    assert_eq!(report.error_count(), 1);
    let [stall] = &report.stalls[..] else {
        panic!("{:?}", report.stalls)
    };
    assert_eq!(
        (stall.stage.as_str(), stall.operation.as_str()),
        ("caller", "call")
    );
    assert_eq!(stall.subject, "Some(7)");
    assert!(stall.given_up && stall.thread_left);
    assert!(stall.stalled_seconds >= 0.1);
    setting.gate.open();
}

#[test]
fn when_every_thread_hangs_others_go_on_in_their_place() {
    let mut setting = Setting::new([3, 4, 5]);
    setting.threads = 3;
    let report = setting.run(20);
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!(setting.arrived().len(), 17);
    assert_eq!((report.error_count(), report.stalls.len()), (3, 3));
    setting.gate.open();
}

#[test]
fn a_late_answer_is_dropped() {
    // The second call hangs as well, so the first has come back while the run still goes on.
    let mut setting = Setting::new([0, 1]);
    setting.settings.stall_timeout = Period::new(Duration::from_secs(3600));
    let (gate, hanging) = (setting.gate.clone(), setting.hanging.clone());
    let release = std::thread::spawn(move || {
        hanging.reach(2);
        gate.open();
    });
    let report = setting.run(10);
    release.join().unwrap();
    // 0 was lost when its thread was replaced; 1 came back in time, or was lost as well.
    let arrived = setting.arrived();
    assert!(!arrived.contains(&0), "{arrived:?}");
    assert_eq!(arrived.len() as u64 + report.error_count(), 10);
    assert_eq!(report.outcome, Outcome::Incomplete);
}

#[test]
fn when_nothing_comes_back_for_long_no_more_calls_are_made_and_the_run_ends() {
    let mut setting = Setting::new(0..1_000_000);
    setting.settings.stall_timeout = Period::new(Duration::from_millis(500));
    let report = setting.run(1000);
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!(report.error_count(), 1000, "each is accounted for");
    assert!(setting.arrived().is_empty());
    // Four or five at a hundred milliseconds each, not a thousand.
    assert!(
        (1..=10).contains(&report.stalls.len()),
        "{:?}",
        report.stalls
    );
    setting.gate.open();
}

#[test]
fn calls_that_are_merely_slow_are_not_given_up() {
    // Each step is quick, all together take longer than one may.
    let mut builder = Builder::new("test").with_settings(Setting::new([]).settings);
    struct Stepping(Outlet<u64>);
    impl Watched for Stepping {
        fn run(stepping: &mut Watch<Stepping>) -> Result<(), StageError> {
            let told = stepping.call(|pulse| {
                let until = std::time::Instant::now() + Duration::from_millis(400);
                let mut step = 0;
                while std::time::Instant::now() < until {
                    step += 1;
                    pulse.done(step);
                    std::thread::yield_now();
                }
                step
            })?;
            stepping.0.send(told)
        }
        fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
            ("step", Vec::new())
        }
        fn give_up(&mut self, _: u64) {}
    }
    let kind = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        |out: OutputPort<u64>, stage: &mut Opening<'_>| {
            stage.watched(|ends: &mut Endpoints<'_>| Ok(Stepping(ends.output(&out))))
        },
    );
    let source = builder.stage("source", kind, ()).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Complete);
    assert!(report.stalls.is_empty(), "{:?}", report.stalls);
}

#[test]
fn a_stopped_run_ends_without_the_thread_that_hangs() {
    let mut setting = Setting::new([7]);
    setting.settings.stall_after = Period::new(Duration::from_secs(3600));
    setting.settings.stop_timeout = Period::new(Duration::from_millis(200));
    let (job, cancel) = (build(setting.job(50)), CancelHandle::new());
    let (handle, hanging) = (cancel.clone(), setting.hanging.clone());
    let report = within_patience(move || {
        let run = job.start(&cancel);
        hanging.reach(1);
        handle.cancel();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Cancelled);
    let [stall] = &report.stalls[..] else {
        panic!("{:?}", report.stalls)
    };
    assert_eq!(stall.subject, "Some(7)");
    assert!(stall.thread_left);
    setting.gate.open();
}

#[test]
fn a_stage_that_blocks_for_ever_is_named_and_left_behind_when_the_run_is_stopped() {
    let gate = Gate::default();
    let (blocked, entered) = (gate.clone(), Level::default());
    let at_work = entered.clone();
    let mut settings = Setting::new([]).settings;
    settings.stop_timeout = Period::new(Duration::from_millis(100));
    let mut builder = Builder::new("test").with_settings(settings);
    let source = builder.source("source", Items((0..3u64).collect())).done();
    let blocks = change(move |_: u64, _: &mut Outlet<u64>| {
        at_work.rise();
        blocked.pass();
        Ok(())
    });
    let blocks = builder.transform("blocks", blocks).reads(&source).done();
    let _ = builder.sink("sink", Collected::<u64>::new()).reads(&blocks);
    let (job, cancel) = (build(builder), CancelHandle::new());
    let report = within_patience(move || {
        let run = job.start(&cancel);
        entered.reach(1);
        let monitor = run.monitor();
        while monitor.stalls().is_empty() {
            std::thread::yield_now();
        }
        let stalls = monitor.stalls();
        assert_eq!(
            (stalls[0].stage.as_str(), stalls[0].given_up),
            ("blocks", false)
        );
        cancel.cancel();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Cancelled);
    let left = report.stalls.iter().find(|stall| stall.given_up);
    assert_eq!(left.unwrap().stage, "blocks");
    gate.open();
}

#[test]
fn a_stage_whose_reader_is_slow_has_not_stalled() {
    let gate = Gate::default();
    let door = gate.clone();
    let mut settings = Setting::new([]).settings;
    settings.capacity = 1;
    let mut builder = Builder::new("test").with_settings(settings);
    let source = builder.source("source", Items((0..20u64).collect())).done();
    let sink = consume(move |_: u64, _| {
        door.pass();
        Ok(())
    });
    let _ = builder.sink("slow", sink).reads(&source);
    let job = build(builder);
    let report = within_patience(move || {
        let run = job.start(&CancelHandle::new());
        let monitor = run.monitor();
        while monitor.stalls().is_empty() {
            std::thread::yield_now();
        }
        gate.open();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Complete);
    let stages: Vec<&str> = report
        .stalls
        .iter()
        .map(|stall| stall.stage.as_str())
        .collect();
    assert_eq!(stages, ["slow"]);
    assert!(!report.stalls[0].thread_left);
}
