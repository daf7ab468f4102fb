//! The whole document: the machine, how to read it, a table of all scenarios, then each of them, and the commands.
//!
//! What must stay true: a reader needs nothing but this document to know what was done, on what, and what was left out.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::chart::{Bar, Chart, Paint};
use super::contender::{Contender, Reads, Version};
use super::machine::{self, Machine};
use super::notation::MIB;
use super::rounds::{Contest, Options};
use super::rows::{Outcome, Row};
use super::scenario::{Figure, Scenario};
use super::table::Table;

/// Cargo's own record of what was compiled in: a version stated by hand would be wrong one day.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// How the files of charts begin.
const CHARTS: &str = "performance";

/// Everything that is written.
#[derive(Debug)]
pub struct Report {
    /// On what it was measured.
    pub machine: Machine,
    /// When.
    pub date: String,
    /// The command line of the comparison.
    pub command: String,
    /// How often.
    pub options: Options,
    /// Everything was too small to be measured.
    pub quick: bool,
    /// On what records were written.
    pub(super) scratch: String,
    /// The peak of this process, which is the least that can be measured of a child.
    pub(super) own_peak_bytes: Option<u64>,
    pub(super) sections: Vec<Section>,
}

/// A scenario and what came of it.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) scenario: Scenario,
    pub(super) outcome: SectionOutcome,
}

#[derive(Debug)]
pub(super) enum SectionOutcome {
    Done {
        contest: Contest,
        rows: Vec<Row>,
        /// The whole scenario, what is not measured included.
        seconds: f64,
    },
    /// Why it could not be run here.
    NotRun(String),
    /// What went wrong.
    Failed(String),
}

impl Report {
    /// A report without scenarios yet.
    #[must_use]
    pub fn new(
        machine: Machine,
        date: String,
        command: String,
        options: Options,
        scratch: &Path,
    ) -> Self {
        Self {
            machine,
            date,
            command,
            options,
            quick: false,
            scratch: machine::file_system(scratch),
            own_peak_bytes: None,
            sections: Vec::new(),
        }
    }

    /// What must not be overlooked: scenarios that went wrong, and whatever is odd about statline. Scenarios that could not be
    /// run here belong to it if everything is `required`.
    #[must_use]
    pub fn complaints(&self, required: bool) -> Vec<String> {
        let mut complaints = Vec::new();
        for Section { scenario, outcome } in &self.sections {
            let name = scenario.name;
            match outcome {
                SectionOutcome::Failed(reason) => complaints.push(format!("{name}: {reason}")),
                SectionOutcome::NotRun(reason) if required => {
                    complaints.push(format!("{name} was not run: {reason}"));
                }
                SectionOutcome::NotRun(_) => {}
                SectionOutcome::Done { contest, rows, .. } => {
                    let odd = rows.iter().filter(|row| row.ours || row.yardstick);
                    complaints.extend(odd.flat_map(|row| {
                        row.remarks
                            .iter()
                            .map(move |remark| format!("{name}: {}: {remark}", row.label))
                    }));
                    let missing = contest.skipped.iter();
                    complaints.extend(
                        missing
                            .filter(|(label, _)| required && label.starts_with("statline"))
                            .map(|(label, reason)| format!("{name}: {label}: {reason}")),
                    );
                }
            }
        }
        complaints
    }

    /// The charts, each with the name of its file.
    #[must_use]
    pub fn charts(&self) -> Vec<(String, String)> {
        let mut charts = Vec::new();
        let overview = self.overview_bars();
        if overview.len() > 1 {
            let chart = Chart {
                title: "statline scan in each scenario",
                what: "time, divided by that of the scenario's yardstick; shorter is better",
                bars: &overview,
            };
            charts.push((format!("{CHARTS}.svg"), chart.to_string()));
        }
        for section in &self.sections {
            if let SectionOutcome::Done { rows, .. } = &section.outcome {
                let bars: Vec<Bar> = rows.iter().map(bar).collect();
                let what = match section.scenario.figure {
                    Figure::Time => "time, divided by that of the yardstick; shorter is better",
                    Figure::PeakMemory => {
                        "peak memory, divided by that of the same job over a tenth of the entries"
                    }
                };
                let chart = Chart {
                    title: &section.scenario.title,
                    what,
                    bars: &bars,
                };
                charts.push((section.chart(), chart.to_string()));
            }
        }
        charts
    }

    /// One bar for each scenario of time: that of the plain scan.
    fn overview_bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        for Section { scenario, outcome } in &self.sections {
            if let SectionOutcome::Done { rows, .. } = outcome
                && scenario.figure == Figure::Time
                && let Some(row) = rows.iter().find(|row| is_scan(row) && !row.yardstick)
            {
                bars.push(Bar {
                    label: scenario.title.clone(),
                    ..bar(row)
                });
            }
        }
        bars
    }

    fn header(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            load,
            memory_bytes,
        } = &self.machine;
        let memory = memory_bytes.map_or_else(String::new, |bytes| {
            format!(", {:.1} GiB of memory", bytes as f64 / MIB / 1024.0)
        });
        let Options { rounds, .. } = self.options;
        writeln!(out, "# Performance\n")?;
        if self.quick {
            writeln!(
                out,
                "**This is the quick form, which only shows that everything works: everything is far smaller than it says here, and no \
                 figure means anything.**\n"
            )?;
        }
        writeln!(
            out,
            "This file is written by `compare`, with the charts beside it; it is not edited by hand.\n\n\
             - machine: {cpu}, {cores} cores{memory}; Linux {kernel}\n\
             - date: {}; load average when it began: {load}\n\
             - command: `{}`; records are written to {}\n\n\
             How to read it: everybody runs once a round, in random order; rounds: {rounds}. The first column of \
             figures, ×, is the median of the rounds' ratios: the time of a run divided by that of the yardstick in the same round. So a \
             machine that is slow for a while is slow for both. Every run is a process of its own; *CPU s* is user and system time \
             together, *peak MiB* the largest resident set of all its runs (≤ where `compare` itself takes as much), *reads* \
             whether it takes all that stat(2) gives of every entry, or names alone. *entries* is what it found, – where it does not \
             say; every number is compared with what there is.\n",
            self.date, self.command, self.scratch,
        )
    }

    fn overview(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.sections.len() < 2 {
            return Ok(());
        }
        writeln!(
            out,
            "| scenario | divided by | `statline scan` | JSON Lines | the fastest other that reads all |\n|---|---|--:|--:|---|"
        )?;
        for section in &self.sections {
            let title = format!("[{}](#{})", section.scenario.title, section.scenario.name);
            match &section.outcome {
                SectionOutcome::Done { rows, .. } => {
                    let yardstick = rows.iter().find(|row| row.yardstick);
                    let ratio = |found: Option<&Row>| {
                        found.map_or_else(|| "–".to_owned(), |row| ratio_text(&row.outcome))
                    };
                    let scan = rows.iter().find(|row| is_scan(row) && !row.yardstick);
                    let json = rows.iter().find(|row| is_json_lines(row) && !row.yardstick);
                    let other = fastest_other(rows).map_or_else(
                        || "–".to_owned(),
                        |row| format!("{} {}", row.label, ratio_text(&row.outcome)),
                    );
                    writeln!(
                        out,
                        "| {title} | {} | {} | {} | {other} |",
                        yardstick.map_or("–", |row| &row.label),
                        ratio(scan),
                        ratio(json),
                    )?;
                }
                SectionOutcome::NotRun(reason) => {
                    writeln!(out, "| {title} | not run: {reason} | | | |")?;
                }
                SectionOutcome::Failed(reason) => {
                    writeln!(out, "| {title} | **failed**: {reason} | | | |")?;
                }
            }
        }
        if self.overview_bars().len() > 1 {
            writeln!(out, "\n![statline scan in each scenario]({CHARTS}.svg)")?;
        }
        writeln!(out)
    }

    fn section(&self, out: &mut Formatter<'_>, section: &Section) -> fmt::Result {
        let Section { scenario, outcome } = section;
        writeln!(
            out,
            "<a id=\"{}\"></a>\n\n## {}\n\n{}\n",
            scenario.name, scenario.title, scenario.about
        )?;
        match outcome {
            SectionOutcome::Done {
                contest,
                rows,
                seconds,
            } => {
                writeln!(out, "![{}]({})\n", scenario.title, section.chart())?;
                let table = Table {
                    scenario,
                    contest,
                    rows,
                    own_peak_bytes: self.own_peak_bytes,
                };
                writeln!(
                    out,
                    "{table}\nDone again by `compare --scenario {}`, in {:.0} s.\n",
                    scenario.name, seconds
                )
            }
            SectionOutcome::NotRun(reason) => writeln!(out, "Not run: {reason}.\n"),
            SectionOutcome::Failed(reason) => writeln!(out, "**Failed**: {reason}.\n"),
        }
    }

    fn commands(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut contenders: BTreeMap<&str, &Contender> = BTreeMap::new();
        for section in &self.sections {
            if let SectionOutcome::Done { contest, .. } = &section.outcome {
                for series in &contest.series {
                    contenders.insert(&series.contender.name, &series.contender);
                }
            }
        }
        if contenders.is_empty() {
            return Ok(());
        }
        writeln!(out, "## The commands\n")?;
        for (name, contender) in contenders {
            let version =
                version(contender).map_or_else(String::new, |version| format!(" ({version})"));
            writeln!(out, "- {name}: `{}`{version}", contender.shown())?;
        }
        writeln!(
            out,
            "\n*std*, *walkdir*, *jwalk* and *ignore* are those libraries with metadata taken on their threads; *origin* is the algorithm \
             that statline grew out of: list all paths, stat them by full path with rayon, sort. fd prints names alone; it is given \
             a condition on times, which every entry fulfils, so that it reads all metadata. dust, diskus, pdu and du add sizes up \
             and say no number of entries."
        )
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.header(out)?;
        self.overview(out)?;
        for section in &self.sections {
            self.section(out, section)?;
        }
        self.commands(out)
    }
}

impl Section {
    fn chart(&self) -> String {
        format!("{CHARTS}-{}.svg", self.scenario.name)
    }
}

fn is_scan(row: &Row) -> bool {
    row.ours && !is_json_lines(row) && !row.label.contains("sorted")
}

fn is_json_lines(row: &Row) -> bool {
    row.ours && (row.label.ends_with("jsonl") || row.label.starts_with("JSON Lines"))
}

/// Of those that are neither statline nor a floor.
fn fastest_other(rows: &[Row]) -> Option<&Row> {
    let ratio = |row: &Row| match &row.outcome {
        Outcome::Measured(figures) => figures.ratio.map(|ratio| ratio.median),
        _ => None,
    };
    rows.iter()
        .filter(|row| {
            let other = !row.ours && !row.yardstick && !row.label.starts_with("floor");
            // Whoever could not read everything is no measure.
            other && row.reads == Reads::All && row.remarks.is_empty() && ratio(row).is_some()
        })
        .min_by(|a, b| {
            ratio(a)
                .unwrap_or(f64::MAX)
                .total_cmp(&ratio(b).unwrap_or(f64::MAX))
        })
}

fn ratio_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured(figures) => figures
            .ratio
            .map_or_else(|| "–".to_owned(), |ratio| format!("{:.2}", ratio.median)),
        Outcome::TimedOut {
            ratio: Some(ratio), ..
        } => format!("> {ratio:.1}"),
        Outcome::TimedOut { ratio: None, .. } => "took too long".to_owned(),
        Outcome::Failed => "failed".to_owned(),
    }
}

fn bar(row: &Row) -> Bar {
    let mut text = ratio_text(&row.outcome);
    let ratio = match &row.outcome {
        Outcome::Measured(figures) => figures.ratio.map(|ratio| ratio.median),
        Outcome::TimedOut { ratio, .. } => *ratio,
        Outcome::Failed => None,
    };
    if ratio.is_some()
        && !row.remarks.is_empty()
        && !matches!(row.outcome, Outcome::TimedOut { .. })
    {
        // Not comparable; the table says why.
        let _ = write!(text, " ⚠");
    }
    let paint = match row {
        Row {
            yardstick: true, ..
        } => Paint::Yardstick,
        Row { ours: true, .. } => Paint::Ours,
        _ => Paint::Other,
    };
    Bar {
        label: row.label.clone(),
        ratio,
        text,
        paint,
    }
}

fn version(contender: &Contender) -> Option<String> {
    match contender.version {
        Version::OfThisCrate => None,
        Version::Library(name) => {
            locked_version(LOCK, name).map(|version| format!("{name} {version}"))
        }
        Version::Asked => own_version(&contender.program),
    }
}

fn locked_version<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let after = lock
        .split_once(&format!("name = \"{package}\"\nversion = \""))?
        .1;
    after.split('"').next()
}

fn own_version(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::rounds::Contest;
    use super::super::rows::Figures;
    use super::super::scenarios::{self, Size};
    use super::super::statistics::Spread;
    use super::*;

    fn row(label: &str, ratio: f64, ours: bool) -> Row {
        let spread = |value| Spread {
            median: value,
            min: value,
            max: value,
        };
        Row {
            label: label.into(),
            yardstick: label == "floor",
            ours,
            reads: Reads::All,
            outcome: Outcome::Measured(Figures {
                seconds: spread(ratio),
                ratio: Some(spread(ratio)),
                cpu_seconds: 1.0,
                entries_per_second: None,
                peak_bytes: 1 << 20,
                served: None,
                entries: None,
            }),
            scale: 1.0,
            remarks: Vec::new(),
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        let machine = Machine {
            cpu: "CPU".into(),
            cores: 2,
            memory_bytes: None,
            kernel: "6".into(),
            load: "0.00".into(),
        };
        let options = Options { rounds: 3, seed: 1 };
        let mut report = Report::new(
            machine,
            "today".into(),
            "compare --quick".into(),
            options,
            Path::new("/"),
        );
        let mut scenarios = scenarios::all(Size::Quick).into_iter();
        let mut section = |outcome| Section {
            scenario: scenarios.next().unwrap(),
            outcome,
        };
        report.sections = vec![
            section(SectionOutcome::Done {
                contest: Contest {
                    series: Vec::new(),
                    finalists: 0,
                    trials: Vec::new(),
                    untried: Vec::new(),
                    skipped: vec![("pdu".into(), "not installed".into())],
                    passes: 1,
                    entries: [None, None],
                },
                rows,
                seconds: 7.0,
            }),
            section(SectionOutcome::NotRun("needs the right to mount".into())),
        ];
        report
    }

    #[test]
    fn the_document_says_what_was_done_and_what_was_not() {
        let text = report(vec![row("floor", 1.0, false), row("statline", 1.1, true)]).to_string();
        for part in [
            "- machine: CPU, 2 cores; Linux 6",
            "- command: `compare --quick`",
            "1.0 is the floor",
            "![Hot cache](performance-hot.svg)",
            "- pdu was not run: not installed.",
            "Not run: needs the right to mount.",
            "Done again by `compare --scenario hot`",
        ] {
            assert!(text.contains(part), "{part} is missing from {text}");
        }
    }

    #[test]
    fn the_overview_names_the_fastest_other_that_could_read_everything() {
        let mut wrong = row("jwalk", 1.2, false);
        wrong
            .remarks
            .push("found 9 entries where there are 10".into());
        let text = report(vec![
            row("floor", 1.0, false),
            row("floor-1", 1.1, false),
            row("statline", 1.3, true),
            row("statline-jsonl", 1.4, true),
            row("ignore", 1.5, false),
            wrong,
            row("find", 3.0, false),
        ])
        .to_string();
        assert!(
            text.contains("| [Hot cache](#hot) | floor | 1.30 | 1.40 | ignore 1.50 |"),
            "{text}"
        );
    }

    #[test]
    fn every_chart_that_is_shown_is_written() {
        let report = report(vec![row("floor", 1.0, false), row("statline", 1.1, true)]);
        let names: Vec<String> = report.charts().into_iter().map(|(name, _)| name).collect();
        let text = report.to_string();
        for shown in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if shown.ends_with(".svg") {
                assert!(names.iter().any(|name| name == shown), "{shown}: {names:?}");
            }
        }
    }

    #[test]
    fn what_is_odd_about_statline_is_complained_of_and_what_is_not_here_if_it_is_required() {
        let mut odd = row("statline", 1.1, true);
        odd.remarks.push("counted 2 errors".into());
        let report = report(vec![row("floor", 1.0, false), odd]);
        assert_eq!(
            report.complaints(false),
            ["hot: statline: counted 2 errors"]
        );
        assert_eq!(report.complaints(true).len(), 2);
    }

    #[test]
    fn the_version_of_a_peer_is_known() {
        assert!(locked_version(LOCK, "walkdir").is_some());
        assert_eq!(locked_version(LOCK, "no-such-crate"), None);
    }
}
