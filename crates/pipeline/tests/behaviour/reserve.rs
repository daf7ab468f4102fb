//! Workers in reserve: started when they are called up, and no burden as long as they are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use statline_pipeline::testing::Collected;
use statline_pipeline::{
    Builder, CancelHandle, Context, Declare, Endpoints, FaultKind, Inlet, InputPort, Opening,
    Outcome, Outlet, OutputPort, Period, PipelineSettings, Properties, RunReport, StageError,
    Watch, Watched,
};

use crate::support::*;

/// What the workers of a stage do before they take their first message, by their numbers.
type Begins = Arc<dyn Fn(usize, &mut Watch<Hand>) -> Result<(), StageError> + Send + Sync>;

/// Passes numbers on.
struct Hand {
    number: usize,
    input: Inlet<u64>,
    out: Outlet<u64>,
    context: Context,
    begins: Option<Begins>,
    _alive: Alive,
}

impl Watched for Hand {
    fn run(hand: &mut Watch<Hand>) -> Result<(), StageError> {
        let number = hand.number;
        if let Some(begins) = hand.begins.take() {
            begins(number, hand)?;
        }
        while let Some(message) = hand.input.recv()? {
            hand.out.send(message)?;
        }
        Ok(())
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        ("call", self.number.to_string().into_bytes())
    }

    fn give_up(&mut self, _: u64) {}
}

/// A stage of some workers, more of them in reserve, and what is seen of them.
#[derive(Clone)]
struct Setting {
    at_once: usize,
    in_reserve: usize,
    begins: Begins,
    /// What the making of a worker in reserve comes to.
    makes: Arc<dyn Fn() -> Result<(), StageError> + Send + Sync>,
    made: Arc<AtomicUsize>,
    /// Workers, and closures that would make one.
    census: Census,
    settings: PipelineSettings,
    collected: Collected<u64>,
}

impl Setting {
    fn new(
        at_once: usize,
        in_reserve: usize,
        begins: impl Fn(usize, &mut Watch<Hand>) -> Result<(), StageError> + Send + Sync + 'static,
    ) -> Setting {
        Setting {
            at_once,
            in_reserve,
            begins: Arc::new(begins),
            makes: Arc::new(|| Ok(())),
            made: Arc::default(),
            census: Census::default(),
            settings: PipelineSettings::default(),
            collected: Collected::new(),
        }
    }

    fn hand(
        &self,
        number: usize,
        alive: Alive,
        context: &Context,
        (input, out): &(InputPort<u64>, OutputPort<u64>),
        ends: &mut Endpoints<'_>,
    ) -> Hand {
        Hand {
            number,
            input: ends.input(input),
            out: ends.output(out),
            context: context.clone(),
            begins: Some(Arc::clone(&self.begins)),
            _alive: alive,
        }
    }

    /// The stage behind a source of numbers, which starts when it may.
    fn builder(&self, messages: u64, may_start: impl Fn() + Send + 'static) -> Builder {
        let setting = self.clone();
        let kind = custom(
            |ports: &mut Declare<'_>| {
                let out = ports.output::<u64>("out", Properties::default());
                (ports.input::<u64>("in"), out)
            },
            move |ports: (InputPort<u64>, OutputPort<u64>), stage: &mut Opening<'_>| {
                let context = stage.context().clone();
                for number in 0..setting.at_once {
                    let alive = setting.census.join();
                    stage.watched(|ends: &mut Endpoints<'_>| {
                        Ok(setting.hand(number, alive, &context, &ports, ends))
                    })?;
                }
                for number in setting.at_once..setting.at_once + setting.in_reserve {
                    let (setting, context) = (setting.clone(), context.clone());
                    let alive = setting.census.join();
                    stage.watched_in_reserve(move |ends: &mut Endpoints<'_>| {
                        (setting.makes)()?;
                        setting.made.fetch_add(1, Ordering::SeqCst);
                        Ok(setting.hand(number, alive, &context, &ports, ends))
                    });
                }
                Ok(())
            },
        );
        let mut builder = Builder::new("test").with_settings(self.settings.clone());
        let source = produce(move |out: &mut Outlet<u64>| {
            may_start();
            (0..messages).try_for_each(|number| out.send(number))
        });
        let source = builder.source("source", source).done();
        let stage = builder.stage("stage", kind, ()).reads(&source).done();
        let _ = builder.sink("sink", self.collected.clone()).reads(&stage);
        builder
    }

    fn run(&self, messages: u64, may_start: impl Fn() + Send + 'static) -> RunReport {
        run(build(self.builder(messages, may_start)))
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn assert_whole(&self, report: &RunReport, messages: u64) {
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        let mut arrived = self.collected.items();
        arrived.sort_unstable();
        assert_eq!(arrived, (0..messages).collect::<Vec<_>>());
        assert_eq!(self.census.count(), 0, "somebody is still there");
    }
}

fn threads(report: &RunReport) -> usize {
    report.stage("stage").unwrap().threads
}

#[test]
fn a_reserve_that_is_never_called_up_is_never_made_and_counts_for_nothing() {
    let setting = Setting::new(1, 511, |_, _| Ok(()));
    let report = setting.run(100, || {});
    setting.assert_whole(&report, 100);
    assert_eq!((setting.made(), threads(&report)), (0, 1));
    let stage = report.stage("stage").unwrap();
    assert!((stage.threads_mean - 1.0).abs() < 1e-6, "{stage:?}");
}

#[test]
fn called_up_by_many_threads_at_once_each_worker_starts_once() {
    let (begun, granted) = (Level::default(), Arc::new(AtomicUsize::new(0)));
    let (present, grants) = (begun.clone(), Arc::clone(&granted));
    let setting = Setting::new(4, 40, move |_, hand| {
        while hand.context.call_up() {
            grants.fetch_add(1, Ordering::SeqCst);
        }
        present.rise();
        Ok(())
    });
    // Nobody can end before all have begun.
    let report = setting.run(500, move || begun.reach(44));
    setting.assert_whole(&report, 500);
    assert_eq!((setting.made(), threads(&report)), (40, 44));
    assert_eq!(granted.load(Ordering::SeqCst), 40);
}

#[test]
fn of_a_large_reserve_as_many_threads_start_as_are_called_up() {
    let begun = Level::default();
    let present = begun.clone();
    let setting = Setting::new(1, 511, move |number, hand| {
        if number == 0 {
            assert!((0..3).all(|_| hand.context.call_up()));
        }
        present.rise();
        Ok(())
    });
    let report = setting.run(100, move || begun.reach(4));
    setting.assert_whole(&report, 100);
    assert_eq!((setting.made(), threads(&report)), (3, 4));
    // Three of the four had less than the whole run.
    assert!(report.stage("stage").unwrap().threads_mean < 4.0);
}

#[test]
fn who_is_called_up_from_outside_while_the_stage_ends_is_waited_for_or_not_started() {
    for _ in 0..200 {
        let handed_out = Arc::new(std::sync::Mutex::new(None));
        let place = Arc::clone(&handed_out);
        let setting = Setting::new(1, 8, move |number, hand| {
            if number == 0 {
                *place.lock().unwrap() = Some(hand.context.clone());
            }
            Ok(())
        });
        let job = build(setting.builder(50, || {}));
        let granted = Arc::new(AtomicUsize::new(0));
        let grants = Arc::clone(&granted);
        let report = within_patience(move || {
            let run = job.start(&CancelHandle::new());
            let context = loop {
                match handed_out.lock().unwrap().take() {
                    Some(context) => break context,
                    None => std::thread::yield_now(),
                }
            };
            let caller = std::thread::spawn(move || {
                while context.call_up() {
                    grants.fetch_add(1, Ordering::SeqCst);
                }
            });
            let report = run.wait();
            caller.join().unwrap();
            report
        });
        setting.assert_whole(&report, 50);
        assert_eq!(granted.load(Ordering::SeqCst), setting.made());
    }
}

/// What a worker does, or the making of one.
type Does = fn() -> Result<(), StageError>;

/// Lets the first worker call up the second, which does this.
fn second(does: Does) -> Setting {
    Setting::new(1, 9, move |number, hand| match number {
        0 => {
            hand.context.call_up();
            Ok(())
        }
        _ => does(),
    })
}

#[test]
fn a_worker_of_the_reserve_that_fails_or_panics_is_the_cause() {
    let failures: [(Does, FaultKind); 2] = [
        (|| Err(StageError::failed("no luck")), FaultKind::Error),
        (|| panic!("no luck"), FaultKind::Panic),
    ];
    for (failure, kind) in failures {
        let setting = second(failure);
        let report = setting.run(5, || {});
        let fault = report.fault.unwrap();
        assert_eq!((fault.stage.as_str(), fault.kind), ("stage", kind));
        assert_eq!(fault.message, "no luck");
        assert_eq!(report.outcome, Outcome::Failed);
        assert_eq!(setting.census.count(), 0, "somebody is still there");
    }
}

#[test]
fn a_worker_of_the_reserve_that_cannot_be_made_fails_the_run_and_not_whoever_called_it() {
    let failures: [Does; 2] = [|| Err(StageError::failed("no luck")), || panic!("no luck")];
    for makes in failures {
        let granted = Arc::new(AtomicUsize::new(0));
        let grants = Arc::clone(&granted);
        let mut setting = Setting::new(1, 9, move |_, hand| {
            grants.fetch_add(usize::from(hand.context.call_up()), Ordering::SeqCst);
            // It goes on, and hears of the stop at its port.
            Ok(())
        });
        setting.makes = Arc::new(makes);
        let report = setting.run(5, || {});
        let fault = report.fault.clone().unwrap();
        assert_eq!(
            (fault.stage.as_str(), fault.kind),
            ("stage", FaultKind::Open)
        );
        assert_eq!(fault.message, "no luck");
        assert_eq!(report.stage("stage").unwrap().threads, 1);
        assert_eq!((granted.load(Ordering::SeqCst), setting.made()), (0, 0));
        assert_eq!(setting.census.count(), 0, "somebody is still there");
    }
}

#[test]
fn a_worker_of_the_reserve_that_hangs_is_replaced_and_named() {
    let gate = Gate::default();
    let door = gate.clone();
    let mut setting = Setting::new(1, 9, move |number, hand| {
        if number == 0 {
            hand.context.call_up();
            return Ok(());
        }
        let door = door.clone();
        hand.call(move |_| door.pass())
    });
    setting.settings.stall_after = Period::new(Duration::from_millis(100));
    let report = setting.run(50, || {});
    let [stall] = &report.stalls[..] else {
        panic!("{:?}", report.stalls)
    };
    assert_eq!(
        (stall.stage.as_str(), stall.subject.as_str()),
        ("stage", "1")
    );
    assert!(stall.given_up && stall.thread_left);
    // What it holds went to the thread that took its place.
    setting.assert_whole(&report, 50);
    assert_eq!(threads(&report), 2, "who replaces another does not count");
    gate.open();
}

#[test]
fn a_run_that_is_stopped_lets_go_of_the_reserve() {
    let begun = Level::default();
    let present = begun.clone();
    let setting = Setting::new(1, 9, move |_, _| {
        present.rise();
        Ok(())
    });
    let job = build(setting.builder(1, || {}));
    let cancel = CancelHandle::new();
    let report = within_patience(move || {
        let run = job.start(&cancel);
        begun.reach(1);
        cancel.cancel();
        run.wait()
    });
    // It may have been done before it heard of it.
    assert!(matches!(
        report.outcome,
        Outcome::Cancelled | Outcome::Complete
    ));
    assert_eq!((setting.made(), setting.census.count()), (0, 0));
}

#[test]
fn a_stopped_run_ends_without_the_threads_that_hang_and_without_the_reserve() {
    let (gate, hanging) = (Gate::default(), Level::default());
    let (door, at_it) = (gate.clone(), hanging.clone());
    let mut setting = Setting::new(1, 9, move |number, hand| {
        if number < 2 {
            assert!(hand.context.call_up());
        }
        let (door, at_it) = (door.clone(), at_it.clone());
        hand.call(move |_| {
            at_it.rise();
            door.pass();
        })
    });
    setting.settings.stop_timeout = Period::new(Duration::from_millis(100));
    let job = build(setting.builder(5, || {}));
    let cancel = CancelHandle::new();
    let report = within_patience(move || {
        let run = job.start(&cancel);
        hanging.reach(3);
        cancel.cancel();
        run.wait()
    });
    assert_eq!(report.outcome, Outcome::Cancelled);
    let stalls = report.stalls.iter();
    let mut left: Vec<_> = stalls.map(|stall| stall.subject.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["0", "1", "2"]);
    // The three that hang hold what is theirs, and nobody holds the others.
    assert_eq!((setting.made(), setting.census.count()), (2, 3));
    gate.open();
}

#[test]
fn a_run_that_never_starts_makes_nobody() {
    let setting = Setting::new(1, 9, |_, _| Ok(()));
    let mut builder = setting.builder(5, || {});
    let fails = custom(
        |ports: &mut Declare<'_>| ports.output::<u64>("out", Properties::default()),
        |_, _: &mut Opening<'_>| Err(StageError::failed("no luck")),
    );
    let fails = builder.stage("fails", fails, ()).done();
    let _ = builder.sink("reads", Collected::<u64>::new()).reads(&fails);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!((setting.made(), setting.census.count()), (0, 0));
}

#[test]
fn a_stage_of_nothing_but_a_reserve_cannot_be_opened() {
    let setting = Setting::new(0, 9, |_, _| Ok(()));
    let report = setting.run(5, || {});
    let message = report.fault.unwrap().message;
    assert_eq!(message, "it was opened without any worker");
    assert_eq!((setting.made(), setting.census.count()), (0, 0));
}

#[test]
fn a_worker_that_is_parked_neither_works_nor_waits_and_is_a_thread_less() {
    let (resting, rested) = (Level::default(), Level::default());
    let (rests, over) = (resting.clone(), rested.clone());
    let setting = Setting::new(2, 0, move |number, hand| {
        if number == 0 {
            hand.parked(|hand| {
                rests.rise();
                std::thread::park_timeout(Duration::from_millis(50));
                hand.number
            });
            over.rise();
        }
        Ok(())
    });
    let report = setting.run(50, move || {
        resting.reach(1);
        rested.reach(1);
    });
    setting.assert_whole(&report, 50);
    let stage = report.stage("stage").unwrap();
    assert!(stage.parked_share > 0.0, "{stage:?}");
    let threads_mean = 2.0 * (1.0 - stage.parked_share);
    assert!(
        (stage.threads_mean - threads_mean).abs() < 1e-6,
        "{stage:?}"
    );
    let at_hand = report.elapsed_seconds * stage.threads_mean;
    let told = stage.service.total_seconds + stage.wait.total_seconds + stage.blocked.total_seconds;
    assert!(told <= at_hand + 1e-6, "{told} of {at_hand}: {stage:?}");
    // Neither the wait of the one nor the rest of the other is work.
    assert!(stage.service.total_seconds < 0.05, "{stage:?}");
}

#[test]
fn a_stage_that_parks_what_does_not_pay_is_seen_to_be_busy() {
    let (rests, over) = (Level::default(), Level::default());
    let setting = Setting::new(8, 0, move |number, hand| {
        if number > 0 {
            hand.parked(|_| {
                rests.rise();
                over.reach(1);
            });
            return Ok(());
        }
        rests.reach(7);
        // What one thread does while seven others sleep.
        std::thread::park_timeout(Duration::from_millis(300));
        over.rise();
        Ok(())
    });
    let report = setting.run(50, || {});
    setting.assert_whole(&report, 50);
    let stage = report.stage("stage").unwrap();
    assert!(stage.threads_mean < 4.0, "{stage:?}");
    // An eighth is all that it would be of eight threads.
    assert!(stage.busy_share > 0.25, "{stage:?}");
    let limit = report.limit.unwrap();
    assert_eq!(limit.stage, "stage");
    let told = limit.explanation;
    assert!(told.contains(" of 8 on average, were busy "), "{told}");
}

/// Says to a test that it is the process with few threads.
#[cfg(target_os = "linux")]
const FEW_THREADS: &str = "STATLINE_TEST_FEW_THREADS";

#[cfg(target_os = "linux")]
#[test]
fn where_the_system_has_no_threads_to_spare_the_run_goes_on_with_those_it_has() {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    if std::env::var_os(FEW_THREADS).is_some() {
        return with_few_threads();
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        eprintln!("skipped: only root can become somebody of whom nothing else runs");
        return;
    }
    let mut command = Command::new("prlimit");
    command.args([
        "--nproc=24",
        "setpriv",
        "--reuid",
        "61235",
        "--regid",
        "61235",
    ]);
    command.args(["--clear-groups", "--"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1"]);
    let name = std::thread::current().name().unwrap().to_owned();
    match command.arg(name).env(FEW_THREADS, "1").output() {
        Err(error) => eprintln!("skipped: prlimit: {error}"),
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}{complaint}");
            assert!(told.contains("1 passed"), "{told}{complaint}");
        }
    }
}

#[cfg(target_os = "linux")]
fn with_few_threads() {
    let (called, granted) = (Level::default(), Arc::new(AtomicUsize::new(0)));
    let (told, grants) = (called.clone(), Arc::clone(&granted));
    let setting = Setting::new(1, 511, move |number, hand| {
        if number == 0 {
            while hand.context.call_up() {
                grants.fetch_add(1, Ordering::SeqCst);
            }
            told.rise();
        }
        Ok(())
    });
    // Nobody ends before there are no more to be had.
    let report = setting.run(100, move || called.reach(1));
    setting.assert_whole(&report, 100);
    let granted = granted.load(Ordering::SeqCst);
    assert!((1..24).contains(&granted), "{granted}");
    assert_eq!(threads(&report), 1 + granted);
    // One was made for a thread that there was not.
    assert_eq!(setting.made(), granted + 1);
}
