//! Everybody in turns: a warm-up, then rounds in shuffled order.
//!
//! What must stay true: the measurements of all series that are left have the same length, and those of one index were taken in
//! one round. A contender that fails once is out, with its reason: half a series could not be divided by the floor.

use std::path::Path;

use super::contender::{Contender, FLOOR, Field};
use super::count::Found;
use super::measure::{Bench, Measurement, RunError};
use crate::random::Random;

/// How often and in which order.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rounds after the warm-up.
    pub rounds: u32,
    /// Fixes the order of each round.
    pub seed: u64,
}

/// All measurements of one contender.
#[derive(Debug)]
pub struct Series {
    pub(super) contender: Contender,
    pub(super) measurements: Vec<Measurement>,
    /// From the extra run, where there is one.
    pub(super) counted: Option<Found>,
    pub(super) failure: Option<RunError>,
}

/// Says what is going on, for whoever waits.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// 0 is the warm-up.
    pub round: u32,
    /// Who has just run.
    pub name: &'a str,
    /// How long it took; `None` when it failed.
    pub seconds: Option<f64>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without the floor there is nothing to divide by.
    #[error("the floor failed: {0}")]
    Floor(RunError),
    /// A floor that saw less than everything is no yardstick.
    #[error("the floor could not read all of the tree ({errors} errors)")]
    FloorIncomplete {
        /// Failed calls.
        errors: u64,
    },
}

/// Runs the field. The first series is the floor's.
///
/// # Errors
///
/// When the floor fails or is incomplete. Others may fail; that is part of the result.
pub fn run(
    field: Field,
    scratch: &Path,
    options: Options,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Vec<Series>, Error> {
    let bench = Bench::new(scratch);
    let mut series: Vec<Series> = field
        .contenders
        .into_iter()
        .map(|contender| Series {
            contender,
            measurements: Vec::new(),
            counted: None,
            failure: None,
        })
        .collect();
    let mut random = Random::new(options.seed, 0);
    let mut order: Vec<usize> = (0..series.len()).collect();
    for round in 0..=options.rounds {
        if round > 0 {
            random.shuffle(&mut order);
        }
        for index in &order {
            let series = &mut series[*index];
            if series.failure.is_some() {
                continue;
            }
            let outcome = bench.run(&series.contender);
            progress(Progress {
                round,
                name: series.contender.name,
                seconds: outcome
                    .as_ref()
                    .ok()
                    .map(|measured| measured.wall.as_secs_f64()),
            });
            match outcome {
                Ok(measured) => series.accept(round, measured, &bench)?,
                Err(error) if series.contender.name == FLOOR => return Err(Error::Floor(error)),
                Err(error) => series.failure = Some(error),
            }
        }
    }
    Ok(series)
}

impl Series {
    fn accept(
        &mut self,
        round: u32,
        measured: Measurement,
        bench: &Bench<'_>,
    ) -> Result<(), Error> {
        let errors = measured.found.map_or(0, |found| found.errors);
        if self.contender.name == FLOOR && errors > 0 {
            return Err(Error::FloorIncomplete { errors });
        }
        if round > 0 {
            self.measurements.push(measured);
            return Ok(());
        }
        match bench.extra_count(&self.contender) {
            Ok(counted) => self.counted = counted,
            // Nobody is compared who cannot be counted.
            Err(error) => self.failure = Some(error),
        }
        Ok(())
    }

    /// What it found, in all runs.
    pub(super) fn found(&self) -> impl Iterator<Item = Found> {
        self.measurements
            .iter()
            .filter_map(|measured| measured.found)
            .chain(self.counted)
    }

    /// In how many runs it says that it could not read everything.
    pub(super) fn incomplete(&self) -> usize {
        let runs = self.measurements.iter();
        runs.filter(|measured| measured.incomplete).count()
    }

    pub(super) fn seconds(&self) -> impl Iterator<Item = f64> {
        self.measurements
            .iter()
            .map(|measured| measured.wall.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender::Version;
    use super::super::count::CountFrom;
    use super::*;

    fn contender(name: &'static str, script: &str) -> Contender {
        Contender {
            name,
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            count: CountFrom::Report,
            version: Version::OfThisCrate,
            incomplete_status: None,
        }
    }

    /// The rounds and names that were run are added to `seen`.
    fn run_field(
        contenders: Vec<Contender>,
        rounds: u32,
        seen: &mut Vec<(u32, String)>,
    ) -> Result<Vec<Series>, Error> {
        let scratch = tempfile::tempdir().unwrap();
        let field = Field {
            contenders,
            skipped: Vec::new(),
        };
        run(
            field,
            scratch.path(),
            Options { rounds, seed: 1 },
            |progress| {
                seen.push((progress.round, progress.name.to_owned()));
            },
        )
    }

    #[test]
    fn everybody_runs_once_a_round_and_once_to_warm_up() {
        let say = r#"echo '{"entries": 1}'"#;
        let mut seen = Vec::new();
        let result = run_field(
            vec![contender(FLOOR, say), contender("other", say)],
            3,
            &mut seen,
        );
        assert!(
            result
                .unwrap()
                .iter()
                .all(|series| series.measurements.len() == 3)
        );
        for round in 0..=3 {
            assert_eq!(seen.iter().filter(|(of, _)| *of == round).count(), 2);
        }
    }

    #[test]
    fn whoever_fails_is_out_and_the_others_go_on() {
        let say = r#"echo '{"entries": 1}'"#;
        let mut seen = Vec::new();
        let result = run_field(
            vec![contender(FLOOR, say), contender("other", "exit 1")],
            2,
            &mut seen,
        );
        let series = result.unwrap();
        assert_eq!(
            (series[0].measurements.len(), series[1].measurements.len()),
            (2, 0)
        );
        assert!(series[1].failure.is_some());
        assert_eq!(seen.iter().filter(|(_, name)| name == "other").count(), 1);
    }

    #[test]
    fn a_floor_with_errors_is_no_yardstick() {
        let mut seen = Vec::new();
        let result = run_field(
            vec![contender(FLOOR, r#"echo '{"entries": 1, "errors": 2}'"#)],
            1,
            &mut seen,
        );
        assert!(matches!(result, Err(Error::FloorIncomplete { errors: 2 })));
    }
}
