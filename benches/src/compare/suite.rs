//! The scenarios that were asked for, one after the other, into a report.
//!
//! What must stay true: a scenario that goes wrong takes nothing from the others, and whatever was prepared for one is gone
//! before the next begins.

use std::path::PathBuf;
use std::time::Instant;

use super::ground::Ground;
use super::machine;
use super::measure::Bench;
use super::obstacle::Obstacle;
use super::programs::{ProgramError, Programs};
use super::report::{Report, Section, SectionOutcome};
use super::rounds::{Conduct, Error, Progress};
use super::rows::rows;
use super::scenario::Scenario;
use super::scenarios::{self, Size};
use super::site::Site;
use super::stop::Stop;

/// Which scenarios are carried out, and with whom.
#[derive(Debug)]
pub struct Suite {
    scenarios: Vec<Scenario>,
    only: Vec<String>,
}

/// Why there is no such suite.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A name that means no scenario.
    #[error("no scenario is called \"{name}\"; there are: {}", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// All that there are.
        known: Vec<&'static str>,
    },
    /// A name that means nobody, or a program that must be there.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// The names and titles of all scenarios.
#[must_use]
pub fn scenario_names() -> Vec<(&'static str, String)> {
    scenarios::all(Size::Standard)
        .into_iter()
        .map(|scenario| (scenario.name, scenario.title))
        .collect()
}

impl Suite {
    /// The scenarios of these names, or all; with the contenders of these names, or all.
    ///
    /// # Errors
    ///
    /// When a name means nothing.
    pub fn of(size: Size, names: &[String], only: &[String]) -> Result<Self, SuiteError> {
        let mut all = scenarios::all(size);
        let known: Vec<&'static str> = all.iter().map(|scenario| scenario.name).collect();
        if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(SuiteError::Unknown {
                name: name.clone(),
                known,
            });
        }
        all.retain(|scenario| names.is_empty() || names.iter().any(|name| name == scenario.name));
        Self::with(all, only)
    }

    /// The one scenario of a directory that somebody named.
    ///
    /// # Errors
    ///
    /// When a name of a contender means nobody.
    pub fn on(directory: PathBuf, only: &[String]) -> Result<Self, SuiteError> {
        Self::with(vec![scenarios::given(directory)], only)
    }

    fn with(scenarios: Vec<Scenario>, only: &[String]) -> Result<Self, SuiteError> {
        Programs::check(only)?;
        Ok(Self {
            scenarios,
            only: only.to_vec(),
        })
    }

    /// Carries out all scenarios, or as many as there is time for until `stop`, and adds them to the report.
    ///
    /// # Errors
    ///
    /// When it was stopped; what was finished by then is in the report.
    pub fn run(
        self,
        ground: &Ground,
        programs: &Programs,
        stop: &Stop,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        for scenario in self.scenarios {
            if stop.is_requested() {
                return Err(Error::Stopped);
            }
            let outcome = one(
                &scenario, ground, programs, stop, report, &self.only, progress,
            )?;
            report.sections.push(Section { scenario, outcome });
        }
        report.own_peak_bytes = machine::own_peak_bytes();
        Ok(())
    }
}

fn one(
    scenario: &Scenario,
    ground: &Ground,
    programs: &Programs,
    stop: &Stop,
    report: &Report,
    only: &[String],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<SectionOutcome, Error> {
    let start = Instant::now();
    let slowfs = programs.own("slowfs")?;
    let site = match Site::prepare(&scenario.place, scenario.cache, ground, slowfs) {
        Ok(site) => site,
        Err(Obstacle::Unavailable(reason)) => return Ok(SectionOutcome::NotRun(reason)),
        Err(error) => return Ok(SectionOutcome::Failed(error.to_string())),
    };
    let conduct = Conduct {
        scenario,
        site: &site,
        programs,
        bench: &Bench::new(ground.scratch(), stop),
        options: report.options,
        only,
        progress,
    };
    match conduct.run() {
        Ok(contest) => Ok(SectionOutcome::Done {
            rows: rows(scenario, &contest),
            contest,
            seconds: start.elapsed().as_secs_f64(),
        }),
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(error) => Ok(SectionOutcome::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name_and_stay_in_their_order() {
        let asked = ["memory", "hot"].map(str::to_owned);
        let suite = Suite::of(Size::Quick, &asked, &[]).unwrap();
        let names: Vec<&str> = suite.scenarios.iter().map(|one| one.name).collect();
        assert_eq!(names, ["hot", "memory"]);
        let all = Suite::of(Size::Quick, &[], &[]).unwrap();
        assert_eq!(all.scenarios.len(), scenario_names().len());
    }

    #[test]
    fn a_name_that_means_no_scenario_is_refused() {
        let message = Suite::of(Size::Quick, &["warm".into()], &[])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("\"warm\"") && message.contains("latency-5ms"),
            "{message}"
        );
    }
}
