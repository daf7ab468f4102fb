//! One scenario in Markdown: what was done, the table, and what has to be known about it.

use std::fmt::{self, Display, Formatter};

use super::notation::{MIB, grouped, seconds};
use super::rounds::Contest;
use super::rows::{Figures, Outcome, Row};
use super::scenario::{Figure, Scenario};
use super::statistics::Spread;

/// A floor on a quiet machine varies by less than this between its rounds.
const QUIET: f64 = 1.25;

/// A scenario's part of the report, below its title.
pub(super) struct Table<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) contest: &'a Contest,
    pub(super) rows: &'a [Row],
    /// The peak of this process, which is the least that can be measured of a child.
    pub(super) own_peak_bytes: Option<u64>,
}

impl Display for Table<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let slow = self.rows.iter().any(
            |row| matches!(&row.outcome, Outcome::Measured(figures) if figures.served.is_some()),
        );
        let divided = match self.scenario.figure {
            Figure::Time => "×",
            Figure::PeakMemory => "× peak",
        };
        let (title, rule) = if slow {
            (" at once: median, most |", "--:|")
        } else {
            ("", "")
        };
        writeln!(
            out,
            "| program | {divided} | median s | min–max s | CPU s | entries/s | peak MiB |{title} reads | entries |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|{rule}---|--:|")?;
        for row in self.rows {
            self.row(out, row, slow)?;
        }
        self.notes(out)
    }
}

impl Table<'_> {
    fn row(&self, out: &mut Formatter<'_>, row: &Row, slow: bool) -> fmt::Result {
        let dagger = if row.scale == 1.0 { "" } else { " †" };
        let label = if row.ours {
            format!("**{}**", row.label)
        } else {
            row.label.clone()
        };
        write!(out, "| {label}{dagger} |")?;
        match &row.outcome {
            Outcome::Measured(figures) => self.figures(out, figures, slow)?,
            Outcome::TimedOut { seconds, ratio } => {
                let ratio = ratio.map_or_else(String::new, |ratio| format!("> {ratio:.1}"));
                let blank = if slow { " |" } else { "" };
                write!(out, " {ratio} | > {seconds:.0} | | | | |{blank}")?;
            }
            Outcome::Failed => {
                let blank = if slow { " |" } else { "" };
                write!(out, " failed | | | | | |{blank}")?;
            }
        }
        let entries = match &row.outcome {
            Outcome::Measured(figures) => {
                let number = figures.entries.map_or_else(|| "–".to_owned(), grouped);
                if row.remarks.is_empty() {
                    number
                } else {
                    format!("**{number}** ⚠")
                }
            }
            _ => String::new(),
        };
        writeln!(out, " {} | {entries} |", row.reads.as_str())
    }

    fn figures(&self, out: &mut Formatter<'_>, figures: &Figures, slow: bool) -> fmt::Result {
        let Figures {
            seconds: spread,
            ratio,
            cpu_seconds,
            entries_per_second,
            peak_bytes,
            served,
            ..
        } = figures;
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median));
        let rate = entries_per_second.map_or_else(String::new, |rate| grouped(rate as u64));
        write!(
            out,
            " {ratio} | {} | {}–{} | {} | {rate} | {} |",
            seconds(spread.median),
            seconds(spread.min),
            seconds(spread.max),
            seconds(*cpu_seconds),
            self.peak(*peak_bytes),
        )?;
        match served {
            Some(served) => write!(out, " {}, {} |", served.at_once_median, served.at_once_most),
            None if slow => write!(out, " |"),
            None => Ok(()),
        }
    }

    fn peak(&self, bytes: u64) -> String {
        let mebibytes = bytes as f64 / MIB;
        // See `measure`: at or below its own peak, this process learns nothing about a child's.
        if self.own_peak_bytes.is_some_and(|own| bytes <= own) {
            format!("≤ {mebibytes:.1}")
        } else {
            format!("{mebibytes:.1}")
        }
    }

    fn notes(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.contest.passes > 1 {
            writeln!(
                out,
                "\nEach measurement is {} runs in a row, so that it lasts long enough.",
                self.contest.passes
            )?;
        }
        self.sweep(out)?;
        for row in self.rows {
            for remark in &row.remarks {
                writeln!(out, "\n- {}: {remark}.", row.label)?;
            }
        }
        for (name, reason) in &self.contest.skipped {
            writeln!(out, "\n- {name} was not run: {reason}.")?;
        }
        self.disturbed(out)
    }

    fn sweep(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.contest.trials.is_empty() {
            return Ok(());
        }
        let trials: Vec<String> = self
            .contest
            .trials
            .iter()
            .map(|trial| match trial.seconds {
                Ok(taken) => format!("{}: {}", trial.threads, seconds(taken)),
                Err(limit) => format!("{}: > {}", trial.threads, seconds(limit)),
            })
            .collect();
        write!(
            out,
            "\nThe sweep of the floor, threads and seconds, one run each: {}.",
            trials.join(", ")
        )?;
        if let (Some(first), Some(last)) =
            (self.contest.untried.first(), self.contest.trials.last())
        {
            write!(
                out,
                " {first} and fewer were not tried: with {} it was already more than twice as slow as with the best.",
                last.threads
            )?;
        }
        writeln!(out)
    }

    /// A ratio bears noise that slows everybody alike. Other people's load does not: it takes a core from a program that
    /// uses them all and nothing from one that uses one, so the floor suffers most and everybody else looks good.
    fn disturbed(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(Row {
            outcome: Outcome::Measured(figures),
            label,
            ..
        }) = self.rows.iter().find(|row| row.yardstick)
        else {
            return Ok(());
        };
        let Spread { min, max, .. } = figures.seconds;
        if self.scenario.figure == Figure::PeakMemory || max / min < QUIET {
            return Ok(());
        }
        writeln!(
            out,
            "\n**The machine was not quiet**: {label} itself varied by a factor of {:.2}. Such load slows programs on several \
             threads most, and makes all others look better than they are. Measure again.",
            max / min
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::contender::{Contender, Reads, Version};
    use super::super::count::{CountFrom, Found};
    use super::super::measure::{Measurement, RunError};
    use super::super::rounds::{Run, Series, Trial};
    use super::super::rows::rows;
    use super::super::scenario::{Entrant, Sweep};
    use super::super::site::{Cache, Part, Place};
    use super::*;
    use crate::slow::Served;

    pub(super) fn series(name: &str, milliseconds: &[u64], entries: u64) -> Series {
        Series {
            entrant: Entrant::new(name),
            contender: Contender {
                name: name.into(),
                program: name.into(),
                words: Vec::new(),
                count: CountFrom::Report,
                version: Version::OfThisCrate,
                reads: Reads::All,
                incomplete_status: None,
            },
            runs: (1..)
                .zip(milliseconds)
                .map(|(round, wall)| Run {
                    round,
                    measured: Measurement {
                        wall: Duration::from_millis(*wall),
                        cpu: Duration::from_millis(2 * wall),
                        peak_bytes: 8 << 20,
                        found: vec![Found { entries, errors: 0 }],
                        incomplete: false,
                    },
                    served: None,
                })
                .collect(),
            failure: None,
        }
    }

    fn contest(series: Vec<Series>) -> Contest {
        Contest {
            series,
            finalists: 0,
            trials: Vec::new(),
            untried: Vec::new(),
            skipped: Vec::new(),
            passes: 1,
            entries: [Some(10_000), Some(1_000)],
        }
    }

    fn text(contest: &Contest, figure: Figure) -> String {
        let scenario = Scenario {
            name: "test",
            title: String::new(),
            about: String::new(),
            place: Place::Given("/".into()),
            cache: Cache::Kept,
            sweep: Sweep::default(),
            entrants: Vec::new(),
            figure,
            least: Duration::ZERO,
            limit: Duration::from_secs(60),
            limit_once: Duration::from_secs(60),
        };
        Table {
            scenario: &scenario,
            contest,
            rows: &rows(&scenario, contest),
            own_peak_bytes: Some(4 << 20),
        }
        .to_string()
    }

    fn lines(contest: &Contest) -> Vec<String> {
        text(contest, Figure::Time)
            .lines()
            .filter(|line| line.starts_with('|'))
            .skip(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_row_holds_medians_and_the_median_of_ratios() {
        let lines = lines(&contest(vec![
            series("floor", &[1_000, 4_000, 2_000], 10_000),
            series("x", &[1_500, 8_000, 5_000], 10_000),
        ]));
        assert_eq!(
            lines[0],
            "| floor | 1.00 | 2.00 | 1.00–4.00 | 4.00 | 5,000 | 8.0 | all | 10,000 |"
        );
        assert_eq!(
            lines[1],
            "| x | 2.00 | 5.00 | 1.50–8.00 | 10.00 | 2,000 | 8.0 | all | 10,000 |"
        );
    }

    #[test]
    fn the_best_floor_of_the_rounds_is_the_yardstick_and_comes_first() {
        let mut contest = contest(vec![
            series("floor-64", &[2_000, 2_000], 10_000),
            series("floor-32", &[1_000, 1_000], 10_000),
            series("x", &[3_000, 3_000], 10_000),
        ]);
        contest.finalists = 2;
        contest.trials = vec![
            Trial {
                threads: 64,
                seconds: Ok(1.0),
            },
            Trial {
                threads: 16,
                seconds: Err(3.0),
            },
        ];
        contest.untried = vec![8, 4];
        let lines = lines(&contest);
        let beginnings = ["| floor-32 | 1.00 |", "| floor-64 | 2.00 |", "| x | 3.00 |"];
        for (line, beginning) in lines.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
        let text = text(&contest, Figure::Time);
        assert!(text.contains("64: 1.00, 16: > 3.00. 8 and fewer"), "{text}");
    }

    #[test]
    fn whoever_walked_less_is_scaled_up_and_marked() {
        let mut less = series("find", &[1_000], 1_000);
        less.entrant = less.entrant.on(Part::Less).once();
        let lines = lines(&contest(vec![series("floor", &[1_000], 10_000), less]));
        assert_eq!(
            lines[1],
            "| find † | 10.00 | 10.00 | 10.00–10.00 | 20.00 | 1,000 | 8.0 | all | 1,000 |"
        );
    }

    #[test]
    fn whoever_was_ended_took_longer_than_that() {
        let mut slow = series("find", &[], 10_000);
        slow.failure = Some(RunError::TimedOut(Duration::from_secs(60)));
        let contest = contest(vec![series("floor", &[2_000], 10_000), slow]);
        let lines = lines(&contest);
        assert_eq!(lines[1], "| find | > 30.0 | > 60 | | | | | all |  |");
        assert!(text(&contest, Figure::Time).contains("- find: it was ended after 60 s."));
    }

    #[test]
    fn what_was_under_way_on_a_slow_mount_has_a_column() {
        let mut floor = series("floor", &[1_000], 10_000);
        floor.runs[0].served = Some(Served {
            calls: 9,
            lookups: 5,
            at_once_median: 6,
            at_once_most: 7,
        });
        let mut failed = series("x", &[], 10_000);
        failed.failure = Some(RunError::Mute);
        let lines = lines(&contest(vec![floor, failed]));
        assert!(lines[0].contains("| 6, 7 | all |"), "{}", lines[0]);
        let columns = |line: &str| line.matches('|').count();
        assert_eq!(columns(&lines[0]), columns(&lines[1]), "{lines:#?}");
    }

    #[test]
    fn memory_is_divided_by_that_of_the_same_job() {
        let mut small = series("scan", &[1_000], 1_000);
        small.entrant = small
            .entrant
            .on(Part::Less)
            .called("small")
            .against("small");
        let mut large = series("scan", &[9_000], 10_000);
        large.runs[0].measured.peak_bytes = 12 << 20;
        large.entrant = large.entrant.called("large").against("small").once();
        let text = text(&contest(vec![small, large]), Figure::PeakMemory);
        assert!(text.contains("| large | 1.50 | 9.00 |"), "{text}");
    }

    #[test]
    fn whoever_counts_otherwise_is_marked() {
        let contest = contest(vec![
            series("floor", &[1_000], 10_000),
            series("x", &[500], 9_999),
        ]);
        assert!(lines(&contest)[1].ends_with("| **9,999** ⚠ |"));
        let remark = "- x: found 9999 entries where there are 10000.";
        assert!(text(&contest, Figure::Time).contains(remark));
    }

    #[test]
    fn errors_and_an_incomplete_run_are_told_though_the_number_is_right() {
        let mut wrong = series("x", &[500, 500], 10_000);
        wrong.runs[1].measured.incomplete = true;
        wrong.runs[1].measured.found[0].errors = 2;
        let text = text(
            &contest(vec![series("floor", &[1_000, 1_000], 10_000), wrong]),
            Figure::Time,
        );
        assert!(text.contains("- x: counted 2 errors."), "{text}");
        assert!(text.contains("- x: says of 1 of 2 runs"), "{text}");
    }

    #[test]
    fn a_yardstick_that_varies_is_warned_of() {
        let warns = |milliseconds: &[u64]| {
            text(
                &contest(vec![series("floor", milliseconds, 10_000)]),
                Figure::Time,
            )
            .contains("not quiet")
        };
        assert!(!warns(&[1_000, 1_100, 1_200]));
        assert!(warns(&[1_000, 1_100, 1_300]));
    }
}
