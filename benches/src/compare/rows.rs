//! What was measured of each entrant, worked out for the table and the chart alike.
//!
//! What must stay true: an entrant is divided by the yardstick of the same round, and what was not measured is never a number.

use super::contender::Reads;
use super::count::Found;
use super::measure::RunError;
use super::rounds::{Contest, Run, Series};
use super::scenario::{Figure, Scenario};
use super::site::Part;
use super::statistics::{self, Spread};
use crate::slow::Served;

/// One line of a table and one bar of a chart.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) label: String,
    /// What others are divided by.
    pub(super) yardstick: bool,
    /// It is statline.
    pub(super) ours: bool,
    pub(super) reads: Reads,
    pub(super) outcome: Outcome,
    /// Times are scaled up by so much, for it walked less.
    pub(super) scale: f64,
    pub(super) remarks: Vec<String>,
}

/// What came of an entrant.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Measured(Figures),
    /// It was ended after so many seconds, scaled; the ratio is at least the second number.
    TimedOut {
        seconds: f64,
        ratio: Option<f64>,
    },
    Failed,
}

/// Medians of an entrant that was measured.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) seconds: Spread,
    pub(super) ratio: Option<Spread>,
    pub(super) cpu_seconds: f64,
    pub(super) entries_per_second: Option<f64>,
    pub(super) peak_bytes: u64,
    pub(super) served: Option<Served>,
    pub(super) entries: Option<u64>,
}

/// All rows of a scenario, those of the yardstick first.
pub(super) fn rows(scenario: &Scenario, contest: &Contest) -> Vec<Row> {
    let Some(yardstick) = yardstick(contest) else {
        return Vec::new();
    };
    let mut series: Vec<&Series> = contest.series.iter().collect();
    if let Some(at) = series.iter().position(|one| std::ptr::eq(*one, yardstick)) {
        series[..=at].rotate_right(1);
    }
    series
        .into_iter()
        .map(|own| {
            let against = own.entrant.against.map_or(yardstick, |label| {
                let named = |other: &&Series| other.entrant.label() == label;
                contest.series.iter().find(named).unwrap_or(yardstick)
            });
            row(scenario, contest, own, against)
        })
        .collect()
}

/// Of the finalists of a sweep the one with the smallest median, or the first entrant.
pub(super) fn yardstick(contest: &Contest) -> Option<&Series> {
    let median = |series: &Series| {
        let seconds = series
            .runs
            .iter()
            .map(|run| run.measured.wall.as_secs_f64());
        Spread::of(seconds).map_or(f64::INFINITY, |spread| spread.median)
    };
    contest
        .series
        .iter()
        .take(contest.finalists.max(1))
        .min_by(|a, b| median(a).total_cmp(&median(b)))
}

fn row(scenario: &Scenario, contest: &Contest, own: &Series, against: &Series) -> Row {
    let scale = scale(scenario, contest, own);
    let expected = contest.expected(own.entrant.part);
    Row {
        label: own.entrant.label().to_owned(),
        yardstick: std::ptr::eq(own, against),
        ours: own.contender.name.starts_with("statline"),
        reads: own.contender.reads,
        outcome: outcome(
            scenario.figure,
            own,
            against,
            scale,
            // What it had to find in all runs of a measurement.
            expected.map(|entries| entries as f64 * f64::from(contest.passes)),
        ),
        scale,
        remarks: remarks(own, expected),
    }
}

/// By how much the times of whoever walked less are scaled up to be compared with those of whoever walked all.
fn scale(scenario: &Scenario, contest: &Contest, own: &Series) -> f64 {
    // One that is compared with others that walked less is compared as it is.
    let compared =
        scenario.figure == Figure::Time && own.entrant.once && own.entrant.part == Part::Less;
    let entries = (contest.expected(Part::Whole), contest.expected(Part::Less));
    match entries {
        (Some(whole), Some(less)) if compared && less > 0 => whole as f64 / less as f64,
        _ => 1.0,
    }
}

fn outcome(
    divided: Figure,
    own: &Series,
    against: &Series,
    scale: f64,
    work: Option<f64>,
) -> Outcome {
    let base = Spread::of(against.runs.iter().map(seconds)).map(|spread| spread.median);
    match &own.failure {
        Some(RunError::TimedOut(limit)) => {
            let seconds = limit.as_secs_f64() * scale;
            return Outcome::TimedOut {
                seconds,
                ratio: base.map(|base| seconds / base),
            };
        }
        Some(_) => return Outcome::Failed,
        None => {}
    }
    let Some(spread) = Spread::of(own.runs.iter().map(|run| seconds(run) * scale)) else {
        return Outcome::Failed;
    };
    let figure = |run: &Run| match divided {
        Figure::Time => seconds(run),
        Figure::PeakMemory => run.measured.peak_bytes as f64,
    };
    let pairs = own.runs.iter().filter_map(|run| {
        let base = against.runs.iter().find(|base| base.round == run.round)?;
        Some((figure(run) * scale, figure(base)))
    });
    let cpu = own
        .runs
        .iter()
        .map(|run| run.measured.cpu.as_secs_f64() * scale);
    let mut served: Vec<Served> = own.runs.iter().filter_map(|run| run.served).collect();
    served.sort_by_key(|served| served.at_once_median);
    Outcome::Measured(Figures {
        seconds: spread,
        ratio: statistics::ratios(pairs),
        cpu_seconds: Spread::of(cpu).map_or(0.0, |cpu| cpu.median),
        entries_per_second: work.map(|work| work * scale / spread.median),
        peak_bytes: own
            .runs
            .iter()
            .map(|run| run.measured.peak_bytes)
            .max()
            .unwrap_or(0),
        served: served.get(served.len() / 2).copied(),
        entries: own.found().next().map(|found| found.entries),
    })
}

fn seconds(run: &Run) -> f64 {
    run.measured.wall.as_secs_f64()
}

/// What is not as it should be with what was found.
fn remarks(own: &Series, expected: Option<u64>) -> Vec<String> {
    let mut remarks = Vec::new();
    let wrong = |found: &Found| expected.is_some_and(|expected| found.entries != expected);
    if let Some(found) = own.found().find(wrong) {
        remarks.push(format!(
            "found {} entries where there are {}",
            found.entries,
            expected.unwrap_or(0)
        ));
    }
    if let Some(errors) = own
        .found()
        .map(|found| found.errors)
        .max()
        .filter(|errors| *errors > 0)
    {
        remarks.push(format!("counted {errors} errors"));
    }
    let incomplete = own.incomplete();
    if incomplete > 0 {
        remarks.push(format!(
            "says of {incomplete} of {} runs that it could not read everything",
            own.runs.len()
        ));
    }
    if let Some(failure) = &own.failure {
        remarks.push(match failure {
            RunError::TimedOut(_) => failure.to_string(),
            other => format!("failed: {other}"),
        });
    }
    remarks
}
