//! The suite: its parts, what they share, and how cases are counted.
//!
//! One thing must stay true: a case that could not be carried out is no case. It makes the suite fail, as a skipped
//! part does.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::oracle::{Findings, Oracle};
use crate::random::Random;
use crate::{
    Arguments, errors, fuzz, hangs, healing, interrupts, lies, mutation, names, program, shapes,
    sinks, stages, swaps,
};

/// Violations that are printed of each part; all are counted.
const SHOWN: usize = 20;

/// Cases of a part that have something in common are numbered from a multiple of this.
pub(crate) const FAMILY: u64 = 1_000_000;

/// Whatever keeps a case from being carried out.
pub(crate) type Broken = Box<dyn Error + Send + Sync>;

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    #[value(name = "T1")]
    Errors,
    #[value(name = "T2")]
    Swaps,
    #[value(name = "T3")]
    Mutation,
    #[value(name = "T4")]
    Shapes,
    #[value(name = "T7")]
    Sinks,
    #[value(name = "T8")]
    Names,
    #[value(name = "T9")]
    Hangs,
    #[value(name = "T10")]
    Stages,
    #[value(name = "T11")]
    Fuzz,
    #[value(name = "INT")]
    Interrupts,
}

impl Part {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Part::Errors => "T1",
            Part::Swaps => "T2",
            Part::Mutation => "T3",
            Part::Shapes => "T4",
            Part::Sinks => "T7",
            Part::Names => "T8",
            Part::Hangs => "T9",
            Part::Stages => "T10",
            Part::Fuzz => "T11",
            Part::Interrupts => "INT",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Part::Errors => "errors, lies and healing of the file system",
            Part::Swaps => "directories swapped for links",
            Part::Mutation => "a tree that changes",
            Part::Shapes => "shapes, few descriptors, little memory",
            Part::Sinks => "outputs that fail",
            Part::Names => "hostile names, read by Python",
            Part::Hangs => "calls that hang",
            Part::Stages => "stages that misbehave",
            Part::Fuzz => "damaged directories and jobs",
            Part::Interrupts => "SIGINT at any moment",
        }
    }

    fn run(self, suite: &Suite) -> Result<(), Broken> {
        match self {
            Part::Errors => {
                errors::run(suite)?;
                healing::run(suite)?;
                lies::run(suite)
            }
            Part::Swaps => swaps::run(suite),
            Part::Mutation => mutation::run(suite),
            Part::Shapes => shapes::run(suite),
            Part::Sinks => sinks::run(suite),
            Part::Names => names::run(suite),
            Part::Hangs => hangs::run(suite),
            Part::Stages => stages::run(suite),
            Part::Fuzz => fuzz::run(suite),
            Part::Interrupts => interrupts::run(suite),
        }
    }
}

/// What was counted of one part.
#[derive(Debug, Default)]
pub(crate) struct PartTally {
    pub(crate) cases: u64,
    pub(crate) violations: u64,
    pub(crate) took: Duration,
    /// What is worth knowing: how many swaps, which size.
    pub(crate) notes: Vec<String>,
    /// What was left out, and why.
    pub(crate) skips: Vec<String>,
    /// What could not be carried out.
    pub(crate) broken: Vec<String>,
}

/// What was counted of all.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Cases and violations of each oracle.
    pub(crate) oracles: [(u64, u64); Oracle::ALL.len()],
    pub(crate) parts: BTreeMap<Part, PartTally>,
}

/// What all parts share.
pub(crate) struct Suite {
    pub(crate) full: bool,
    pub(crate) seed: u64,
    pub(crate) program: PathBuf,
    parts: Vec<Part>,
    case: Option<u64>,
    limit: u64,
    allow_skips: bool,
    began: Instant,
    stopping: Arc<AtomicBool>,
    tally: Mutex<Tally>,
}

impl Suite {
    pub(crate) fn new(arguments: &Arguments) -> Result<Suite, Broken> {
        let stopping = Arc::new(AtomicBool::new(false));
        // Guards take down what was made when the parts return; a second signal ends the program at once.
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopping))?;
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
        }
        if arguments.case.is_some() && arguments.only.len() != 1 {
            return Err("--case needs --only with the part that the case is of".into());
        }
        let program = match &arguments.program {
            Some(program) => program.canonicalize()?,
            None => program::build()?,
        };
        let mut parts = arguments.only.clone();
        if parts.is_empty() {
            parts = Part::value_variants().to_vec();
        }
        Ok(Suite {
            full: arguments.full,
            seed: arguments.seed,
            program,
            parts,
            case: arguments.case,
            limit: arguments.cases.unwrap_or(u64::MAX),
            allow_skips: arguments.allow_skips,
            began: Instant::now(),
            stopping,
            tally: Mutex::default(),
        })
    }

    pub(crate) fn run(&self) {
        for &part in &self.parts {
            if self.is_stopping() {
                return;
            }
            eprintln!("{} {} …", part.id(), part.title());
            let began = Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(|| part.run(self)));
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.broken(part, error.to_string()),
                Err(_) => self.broken(part, "the suite itself panicked"),
            }
            let mut tally = self.tally();
            let counted = tally.parts.entry(part).or_default();
            if counted.cases == 0 && counted.skips.is_empty() && counted.broken.is_empty() {
                counted
                    .broken
                    .push("not one case was carried out".to_owned());
            }
            counted.took = began.elapsed();
            eprintln!(
                "{} {} cases, {} violations, {:.1} s",
                part.id(),
                counted.cases,
                counted.violations,
                counted.took.as_secs_f64()
            );
        }
    }

    /// Prints the table, and says whether all is well.
    pub(crate) fn finish(&self) -> ExitCode {
        let tally = self.tally();
        print!(
            "{}",
            crate::table::markdown(self, &tally, self.began.elapsed())
        );
        let sound = |part: &PartTally| {
            part.violations == 0
                && part.broken.is_empty()
                && (self.allow_skips || part.skips.is_empty())
        };
        match !self.is_stopping() && tally.parts.values().all(sound) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Whether a signal asked for the end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether a case is to be run.
    pub(crate) fn wants(&self, number: u64) -> bool {
        let within = number % FAMILY < self.limit;
        !self.is_stopping() && self.case.map_or(within, |case| case == number)
    }

    /// One number in the bounded version, another in the full one.
    pub(crate) fn size<T>(&self, bounded: T, full: T) -> T {
        if self.full { full } else { bounded }
    }

    pub(crate) fn random(&self, part: Part, stream: u64) -> Random {
        Random::new(self.seed, part.id(), stream)
    }

    /// Runs one case, if it is wanted, and counts it towards these oracles.
    pub(crate) fn case(
        &self,
        part: Part,
        number: u64,
        oracles: &[Oracle],
        run: impl FnOnce(&mut Findings) -> Result<(), Broken>,
    ) {
        if !self.wants(number) {
            return;
        }
        let mut findings = Findings::default();
        let ended = catch_unwind(AssertUnwindSafe(|| run(&mut findings)));
        match ended {
            Ok(Ok(())) if findings.void && findings.violations.is_empty() => {}
            Ok(Ok(())) => self.count(part, number, oracles, 1, findings),
            Ok(Err(error)) => self.broken(part, format!("case {number}: {error}")),
            Err(_) => self.broken(part, format!("case {number}: the suite itself panicked")),
        }
    }

    /// Counts `cases` that were run as one, under the number of the first.
    pub(crate) fn count(
        &self,
        part: Part,
        number: u64,
        oracles: &[Oracle],
        cases: u64,
        findings: Findings,
    ) {
        let mut tally = self.tally();
        for &oracle in oracles {
            tally.oracles[oracle.index()].0 += cases;
        }
        for (oracle, _) in &findings.violations {
            tally.oracles[oracle.index()].1 += 1;
        }
        let counted = tally.parts.entry(part).or_default();
        counted.cases += cases;
        for (oracle, what) in findings.violations {
            counted.violations += 1;
            if counted.violations <= SHOWN as u64 {
                eprintln!(
                    "VIOLATION of {oracle}: {what}\n  repeat: --only {} --seed {} --case {number}{}",
                    part.id(),
                    self.seed,
                    if self.full { " --full" } else { "" }
                );
            }
        }
    }

    pub(crate) fn note(&self, part: Part, note: impl Into<String>) {
        let note = note.into();
        eprintln!("  {note}");
        self.tally().parts.entry(part).or_default().notes.push(note);
    }

    pub(crate) fn skip(&self, part: Part, why: impl Into<String>) {
        let why = why.into();
        eprintln!("  SKIPPED: {why}");
        self.tally().parts.entry(part).or_default().skips.push(why);
    }

    pub(crate) fn broken(&self, part: Part, why: impl Into<String>) {
        let why = why.into();
        eprintln!("  BROKEN: {why}");
        self.tally().parts.entry(part).or_default().broken.push(why);
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on as many threads as pay, each with its number and their count.
    pub(crate) fn share(&self, threads: u64, work: impl Fn(u64, u64) + Sync) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let work = &work;
                scope.spawn(move || work(thread, threads));
            }
        });
    }
}
