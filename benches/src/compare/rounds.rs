//! A scenario, carried out: the sweep, a warm-up, then rounds in shuffled order.
//!
//! What must stay true: measurements of one round were taken in one round, and a ratio is only ever of one round. A contender that
//! fails once, or outlasts the limit, is out, with its reason. The floor that is the yardstick may not fail.

use std::time::Duration;

use super::contender::Contender;
use super::count::Found;
use super::measure::{Bench, Measurement, RunError};
use super::programs::{ProgramError, Programs};
use super::scenario::{Entrant, Scenario, Sweep};
use super::site::{Part, Site};
use crate::error::IoError;
use crate::random::Random;
use crate::slow::Served;

/// A floor of the sweep is waited for this many times as long as the best so far took.
const SWEEP_PATIENCE: u32 = 2;
/// And no less than this, so that chance does not end a short run.
const SWEEP_LEAST: Duration = Duration::from_secs(2);
/// The floors of the sweep that go into the rounds are no slower than the best by more than this.
const SWEEP_NEAR: f64 = 1.1;
/// And no more than so many.
const FINALISTS: usize = 2;

/// How often and in which order.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rounds after the warm-up.
    pub rounds: u32,
    /// Fixes the order of each round.
    pub seed: u64,
}

/// All measurements of one entrant.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) entrant: Entrant,
    pub(super) contender: Contender,
    pub(super) runs: Vec<Run>,
    pub(super) failure: Option<RunError>,
}

/// A measurement and the round in which it was taken.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) round: u32,
    pub(super) measured: Measurement,
    /// Of a slow mount.
    pub(super) served: Option<Served>,
}

/// One floor of the sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trial {
    pub(super) threads: u32,
    /// Seconds, or after how many it was ended.
    pub(super) seconds: Result<f64, f64>,
}

/// What came of a scenario.
#[derive(Debug)]
pub(super) struct Contest {
    /// The finalists of the sweep first, if there was one.
    pub(super) series: Vec<Series>,
    pub(super) finalists: usize,
    pub(super) trials: Vec<Trial>,
    /// Fewer threads that were not tried, because more were too slow already.
    pub(super) untried: Vec<u32>,
    /// Who is not there, and why.
    pub(super) skipped: Vec<(String, String)>,
    /// How many times each program was run for one measurement.
    pub(super) passes: u32,
    /// How many entries there are, by part.
    pub(super) entries: [Option<u64>; 2],
}

/// Says what is going on, for whoever waits.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// What is done: the sweep, the warm-up, a round.
    pub stage: Stage,
    /// Who has just run.
    pub name: &'a str,
    /// How long it took; `None` when it failed.
    pub seconds: Option<f64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Floors are tried.
    Sweep,
    /// Everybody runs once without being measured.
    WarmUp,
    /// Everybody is measured.
    Round(u32),
}

/// Why a scenario has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without the yardstick there is nothing to divide by.
    #[error("{name}, which the others are divided by, failed: {error}")]
    Yardstick {
        /// Whose run.
        name: String,
        /// Why.
        error: RunError,
    },
    /// A yardstick that saw less than everything is none.
    #[error(
        "{name}, which the others are divided by, could not read all of the tree ({errors} errors)"
    )]
    YardstickIncomplete {
        /// Whose run.
        name: String,
        /// Failed calls.
        errors: u64,
    },
    /// Everything is to end.
    #[error("stopped")]
    Stopped,
    /// A program that must be there is not.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// What a scenario is carried out with.
pub(super) struct Conduct<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) site: &'a Site,
    pub(super) programs: &'a Programs,
    pub(super) bench: &'a Bench<'a>,
    pub(super) options: Options,
    /// Only these contenders, the yardstick, and whoever is divided by; everybody if there are none.
    pub(super) only: &'a [String],
    pub(super) progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Conduct<'_> {
    pub(super) fn run(mut self) -> Result<Contest, Error> {
        let mut contest = Contest {
            series: Vec::new(),
            finalists: 0,
            trials: Vec::new(),
            untried: Vec::new(),
            skipped: Vec::new(),
            passes: 1,
            entries: [Part::Whole, Part::Less].map(|part| self.site.entries(part)),
        };
        self.sweep(&mut contest)?;
        contest.finalists = contest.series.len();
        self.enter(&mut contest)?;
        if self.scenario.warms_up() {
            self.warm_up(&mut contest)?;
        }
        let mut random = Random::new(self.options.seed, 0);
        let mut order: Vec<usize> = (0..contest.series.len()).collect();
        for round in 1..=self.options.rounds {
            random.shuffle(&mut order);
            for index in &order {
                let series = &mut contest.series[*index];
                if series.failure.is_none() && (round == 1 || !series.entrant.once) {
                    self.measure(&mut contest, *index, Stage::Round(round))?;
                }
            }
        }
        Ok(contest)
    }

    /// Tries the floors, and enters those that are nearly the best.
    fn sweep(&mut self, contest: &mut Contest) -> Result<(), Error> {
        let Sweep {
            threads,
            inode_order,
        } = &self.scenario.sweep;
        let mut best: Option<f64> = None;
        let mut threads = threads.iter();
        for &threads in threads.by_ref() {
            let order = if *inode_order { "-inode" } else { "" };
            let entrant = Entrant::new(format!("floor-{threads}{order}"));
            let series = self.series(entrant)?.map_err(|reason| {
                // A floor is one of this crate's programs, and those are there or an error.
                Error::Yardstick {
                    name: "the floor".to_owned(),
                    error: RunError::Missing(reason),
                }
            })?;
            let limit = best.map_or(self.scenario.limit, |best| {
                let patience = Duration::from_secs_f64(best) * SWEEP_PATIENCE;
                patience.max(SWEEP_LEAST).min(self.scenario.limit)
            });
            let outcome = self.once(&series, 1, limit, Stage::Sweep)?;
            match outcome {
                Ok(run) => {
                    let seconds = run.measured.wall.as_secs_f64();
                    contest.trials.push(Trial {
                        threads,
                        seconds: Ok(seconds),
                    });
                    best = Some(best.map_or(seconds, |best| best.min(seconds)));
                    series.check_yardstick(&run.measured)?;
                    contest.series.push(series);
                }
                Err(RunError::TimedOut(limit)) => {
                    contest.trials.push(Trial {
                        threads,
                        seconds: Err(limit.as_secs_f64()),
                    });
                    // Half the threads are not quicker where so many were this slow.
                    if best.is_some() {
                        break;
                    }
                }
                Err(error) => return Err(series.as_yardstick(error)),
            }
        }
        contest.untried = threads.copied().collect();
        contest.keep_finalists();
        Ok(())
    }

    /// Enters the entrants of the scenario.
    fn enter(&mut self, contest: &mut Contest) -> Result<(), Error> {
        let sweeps = !self.scenario.sweep.threads.is_empty();
        for (index, entrant) in self.scenario.entrants.iter().enumerate() {
            let yardstick = !sweeps && index == 0;
            let divides = self
                .scenario
                .entrants
                .iter()
                .any(|other| other.against == Some(entrant.label()));
            let asked = self.only.is_empty()
                || self
                    .only
                    .iter()
                    .any(|asked| Programs::means(asked, &entrant.contender));
            if !(yardstick || divides || asked) {
                continue;
            }
            match self.series(entrant.clone())? {
                Ok(series) => contest.series.push(series),
                Err(reason) if yardstick => {
                    return Err(Error::Yardstick {
                        name: entrant.label().to_owned(),
                        error: RunError::Missing(reason),
                    });
                }
                Err(reason) => contest.skipped.push((entrant.label().to_owned(), reason)),
            }
        }
        Ok(())
    }

    /// Runs everybody once, and finds out how many runs make a measurement that is long enough.
    fn warm_up(&mut self, contest: &mut Contest) -> Result<(), Error> {
        for index in 0..contest.series.len() {
            self.measure(contest, index, Stage::WarmUp)?;
        }
        let Some(quickest) = contest
            .series
            .iter()
            .filter_map(Series::seconds_once)
            .reduce(f64::min)
        else {
            return Ok(());
        };
        let passes = (self.scenario.least.as_secs_f64() / quickest).ceil();
        contest.passes = (passes as u32).max(1);
        for series in &mut contest.series {
            series.runs.clear();
        }
        Ok(())
    }

    fn measure(&mut self, contest: &mut Contest, index: usize, stage: Stage) -> Result<(), Error> {
        let passes = match stage {
            Stage::Round(_) => contest.passes,
            Stage::Sweep | Stage::WarmUp => 1,
        };
        let series = &contest.series[index];
        let limit = if series.entrant.once {
            self.scenario.limit_once
        } else {
            self.scenario.limit
        };
        let outcome = self.once(series, passes, limit, stage)?;
        let yardstick = index < contest.finalists.max(1);
        let series = &mut contest.series[index];
        match outcome {
            Ok(run) => {
                if yardstick {
                    series.check_yardstick(&run.measured)?;
                }
                series.runs.push(run);
            }
            Err(error) if yardstick => return Err(series.as_yardstick(error)),
            Err(error) => series.failure = Some(error),
        }
        Ok(())
    }

    /// Runs one contender once. What is wrong with it comes back inside.
    fn once(
        &mut self,
        series: &Series,
        passes: u32,
        limit: Duration,
        stage: Stage,
    ) -> Result<Result<Run, RunError>, Error> {
        let ready = self.site.ready(series.entrant.part)?;
        let outcome = self
            .bench
            .run(&series.contender, &ready.roots, passes, limit);
        let served = ready.end()?;
        (self.progress)(Progress {
            scenario: self.scenario.name,
            stage,
            name: series.entrant.label(),
            seconds: outcome
                .as_ref()
                .ok()
                .map(|measured| measured.wall.as_secs_f64()),
        });
        let round = match stage {
            Stage::Round(round) => round,
            Stage::Sweep | Stage::WarmUp => 0,
        };
        match outcome {
            Err(RunError::Stopped) => Err(Error::Stopped),
            Err(error) => Ok(Err(error)),
            Ok(measured) => Ok(Ok(Run {
                round,
                measured,
                served,
            })),
        }
    }

    fn series(&self, entrant: Entrant) -> Result<Result<Series, String>, Error> {
        let found = self.programs.contender(&entrant.contender)?;
        Ok(found.map(|contender| Series {
            entrant,
            contender,
            runs: Vec::new(),
            failure: None,
        }))
    }
}

impl Contest {
    /// Keeps the quickest floors of the sweep, the quickest first.
    fn keep_finalists(&mut self) {
        let time = |name: &str| {
            self.trials
                .iter()
                .find(|trial| name.split('-').nth(1) == Some(&trial.threads.to_string()))
                .and_then(|trial| trial.seconds.ok())
        };
        let mut timed: Vec<(f64, Series)> = std::mem::take(&mut self.series)
            .into_iter()
            .filter_map(|series| Some((time(&series.contender.name)?, series)))
            .collect();
        timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best = timed.first().map_or(0.0, |(seconds, _)| *seconds);
        timed.retain(|(seconds, _)| *seconds <= best * SWEEP_NEAR);
        timed.truncate(FINALISTS);
        self.series = timed.into_iter().map(|(_, series)| series).collect();
    }

    /// How many entries a series had to find.
    pub(super) fn expected(&self, part: Part) -> Option<u64> {
        let known = self.entries[usize::from(part == Part::Less)];
        known.or_else(|| {
            let first = self
                .series
                .iter()
                .find(|series| series.entrant.part == part)?;
            first.found().next().map(|found| found.entries)
        })
    }
}

impl Series {
    fn check_yardstick(&self, measured: &Measurement) -> Result<(), Error> {
        let errors = measured.found.iter().map(|found| found.errors).sum();
        if errors > 0 {
            return Err(Error::YardstickIncomplete {
                name: self.entrant.label().to_owned(),
                errors,
            });
        }
        Ok(())
    }

    fn as_yardstick(&self, error: RunError) -> Error {
        Error::Yardstick {
            name: self.entrant.label().to_owned(),
            error,
        }
    }

    fn seconds_once(&self) -> Option<f64> {
        Some(self.runs.first()?.measured.wall.as_secs_f64())
    }

    /// What it found, in all runs.
    pub(super) fn found(&self) -> impl Iterator<Item = Found> {
        self.runs
            .iter()
            .flat_map(|run| run.measured.found.iter().copied())
    }

    /// In how many measurements it says that it could not read everything.
    pub(super) fn incomplete(&self) -> usize {
        self.runs
            .iter()
            .filter(|run| run.measured.incomplete)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ground::Ground;
    use super::super::scenario::Figure;
    use super::super::site::{Cache, Place};
    use super::super::stop::Stop;
    use super::*;

    /// Programs that are scripts, called as those of this crate.
    struct Stand {
        directory: tempfile::TempDir,
        programs: Programs,
    }

    impl Stand {
        fn new(floor: &str, peers: &str) -> Self {
            use std::os::unix::fs::PermissionsExt;
            let directory = tempfile::tempdir().unwrap();
            for (name, script) in [("floor", floor), ("peers", peers)] {
                let path = directory.path().join(name);
                std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            std::fs::create_dir(directory.path().join("tree")).unwrap();
            let programs = Programs {
                beside: directory.path().to_owned(),
                statline: None,
                peers: directory.path().to_owned(),
                threads: std::num::NonZeroUsize::MIN,
            };
            Self {
                directory,
                programs,
            }
        }

        fn scenario(&self, entrants: &[&str], sweep: &[u32]) -> Scenario {
            Scenario {
                name: "test",
                title: String::new(),
                about: String::new(),
                place: Place::Given(self.directory.path().join("tree")),
                cache: Cache::Kept,
                sweep: Sweep {
                    threads: sweep.to_vec(),
                    inode_order: false,
                },
                entrants: entrants.iter().copied().map(Entrant::new).collect(),
                figure: Figure::Time,
                least: Duration::ZERO,
                limit: Duration::from_secs(60),
                limit_once: Duration::from_secs(60),
            }
        }

        /// The stages and names that were run are added to `seen`.
        fn run(
            &self,
            scenario: &Scenario,
            rounds: u32,
            only: &[String],
            seen: &mut Vec<(Stage, String)>,
        ) -> Result<Contest, Error> {
            let ground = Ground::without_mounts(self.directory.path());
            let site =
                Site::prepare(&scenario.place, scenario.cache, &ground, "slowfs".into()).unwrap();
            let stop = Stop::default();
            let scratch: &Path = ground.scratch();
            Conduct {
                scenario,
                site: &site,
                programs: &self.programs,
                bench: &Bench::new(scratch, &stop),
                options: Options { rounds, seed: 1 },
                only,
                progress: &mut |progress| seen.push((progress.stage, progress.name.to_owned())),
            }
            .run()
        }
    }

    const ONE: &str = r#"echo '{"entries": 1}'"#;

    #[test]
    fn everybody_runs_once_a_round_and_once_to_warm_up() {
        let stand = Stand::new(ONE, ONE);
        let mut seen = Vec::new();
        let contest = stand
            .run(
                &stand.scenario(&["floor", "walkdir"], &[]),
                3,
                &[],
                &mut seen,
            )
            .unwrap();
        assert!(contest.series.iter().all(|series| series.runs.len() == 3));
        for stage in [
            Stage::WarmUp,
            Stage::Round(1),
            Stage::Round(2),
            Stage::Round(3),
        ] {
            assert_eq!(seen.iter().filter(|(of, _)| *of == stage).count(), 2);
        }
    }

    #[test]
    fn whoever_fails_is_out_and_the_others_go_on() {
        let stand = Stand::new(ONE, "exit 1");
        let mut seen = Vec::new();
        let contest = stand
            .run(
                &stand.scenario(&["floor", "walkdir"], &[]),
                2,
                &[],
                &mut seen,
            )
            .unwrap();
        let runs = |index: usize| contest.series[index].runs.len();
        assert_eq!((runs(0), runs(1)), (2, 0));
        assert!(contest.series[1].failure.is_some());
        assert_eq!(seen.iter().filter(|(_, name)| name == "walkdir").count(), 1);
    }

    #[test]
    fn a_short_run_is_repeated_until_it_is_long_enough() {
        let stand = Stand::new(&format!("sleep 0.1; {ONE}"), ONE);
        let scenario = Scenario {
            least: Duration::from_millis(150),
            ..stand.scenario(&["floor"], &[])
        };
        let contest = stand.run(&scenario, 1, &[], &mut Vec::new()).unwrap();
        assert_eq!(contest.passes, 2);
        assert_eq!(contest.series[0].runs[0].measured.found.len(), 2);
    }

    #[test]
    fn what_is_run_once_is_run_in_the_first_round_alone() {
        let stand = Stand::new(ONE, ONE);
        let mut scenario = stand.scenario(&["floor"], &[]);
        scenario.entrants.push(Entrant::new("walkdir").once());
        let contest = stand.run(&scenario, 3, &[], &mut Vec::new()).unwrap();
        let rounds: Vec<u32> = contest.series[1].runs.iter().map(|run| run.round).collect();
        assert_eq!(rounds, [1]);
    }

    #[test]
    fn those_that_were_asked_for_run_and_the_yardstick_always() {
        let stand = Stand::new(ONE, ONE);
        let scenario = stand.scenario(&["floor", "walkdir", "jwalk"], &[]);
        let contest = stand
            .run(&scenario, 1, &["jwalk".to_owned()], &mut Vec::new())
            .unwrap();
        let names: Vec<&str> = contest
            .series
            .iter()
            .map(|series| series.entrant.label())
            .collect();
        assert_eq!(names, ["floor", "jwalk"]);
    }

    #[test]
    fn a_yardstick_with_errors_is_none() {
        let stand = Stand::new(r#"echo '{"entries": 1, "errors": 2}'"#, ONE);
        let outcome = stand.run(&stand.scenario(&["floor"], &[]), 1, &[], &mut Vec::new());
        assert!(matches!(
            outcome,
            Err(Error::YardstickIncomplete { errors: 2, .. })
        ));
    }

    #[test]
    fn the_sweep_keeps_what_is_nearly_the_best_and_gives_up_on_what_is_not() {
        // The third argument is the number of threads: half a second, and for one thread for ever.
        let floor =
            format!("case $3 in 8) sleep 0.5;; 4) sleep 2;; 2) sleep 60;; 1) exit 1;; esac; {ONE}");
        let stand = Stand::new(&floor, ONE);
        let contest = stand
            .run(
                &stand.scenario(&["walkdir"], &[8, 4, 2, 1]),
                1,
                &[],
                &mut Vec::new(),
            )
            .unwrap();
        let names: Vec<&str> = contest
            .series
            .iter()
            .map(|series| series.entrant.label())
            .collect();
        assert_eq!(names, ["floor-8", "walkdir"]);
        assert_eq!(contest.finalists, 1);
        assert!(contest.trials.last().unwrap().seconds.is_err());
        assert_eq!(contest.untried.last(), Some(&1), "nobody waited for it");
    }
}
