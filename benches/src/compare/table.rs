//! The result in Markdown: the machine, the table, the commands.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::process::{Command, Stdio};

use super::contender::{Skipped, Version};
use super::count::Found;
use super::machine::{self, Machine};
use super::rounds::{Options, Series};
use super::statistics::{self, Spread};
use crate::tree::Parameters;

/// Cargo's own record of what was compiled in: a version stated by hand would be wrong one day.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// A hot floor on a quiet machine varies by less than this between its rounds.
const QUIET: f64 = 1.25;

const MIB: f64 = 1024.0 * 1024.0;

/// Everything that is printed.
#[derive(Debug)]
pub struct Report<'a> {
    /// On what it was measured.
    pub machine: &'a Machine,
    /// The peak of this process, which is the least that can be measured of a child.
    pub own_peak_bytes: Option<u64>,
    /// The tree.
    pub tree: &'a Path,
    /// What it was made from, if this crate made it.
    pub tree_made_from: Option<Parameters>,
    /// Where records were written.
    pub scratch: &'a Path,
    /// When.
    pub date: String,
    /// The command line of the comparison.
    pub command: String,
    /// How often.
    pub options: Options,
    /// The floor first.
    pub series: &'a [Series],
    /// Who did not run.
    pub skipped: &'a [Skipped],
}

impl Display for Report<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(floor) = self.series.first() else {
            return Ok(());
        };
        let entries = floor.found().next().map_or(0, |found| found.entries);
        self.header(out, entries)?;
        writeln!(
            out,
            "| program | median s | min–max s | × floor | CPU s | entries/s | peak MiB | entries |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for series in self.series {
            self.row(out, series, floor, entries)?;
        }
        self.disturbed(out, floor)?;
        self.footer(out)
    }
}

impl Report<'_> {
    fn header(&self, out: &mut Formatter<'_>, entries: u64) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            load,
            ..
        } = self.machine;
        let memory = self.machine.memory_bytes.map_or_else(String::new, |bytes| {
            format!(", {:.1} GiB of memory", bytes as f64 / MIB / 1024.0)
        });
        writeln!(
            out,
            "- machine: {cpu}, {cores} cores{memory}; Linux {kernel}"
        )?;
        writeln!(
            out,
            "- date: {}; load average when it began: {load}",
            self.date
        )?;
        writeln!(
            out,
            "- tree: {} entries on {}, cache hot{}",
            grouped(entries),
            machine::file_system(self.tree),
            self.made_by()
        )?;
        writeln!(
            out,
            "- command: `{}`; records are written to {}",
            self.command,
            machine::file_system(self.scratch)
        )?;
        writeln!(
            out,
            "- rounds: {} after a warm-up, everybody once in each and in random order; × floor is the median of the rounds' ratios, \
             peak MiB the largest of all runs, and ≤ where `compare` itself takes as much\n",
            self.options.rounds
        )
    }

    /// How to make the same tree.
    fn made_by(&self) -> String {
        self.tree_made_from.map_or_else(String::new, |parameters| {
            let tree = quote(&self.tree.to_string_lossy());
            format!("; made by `tree {tree} {parameters}`")
        })
    }

    /// A word of a command as it is shown. The directory for records has a new name every time.
    fn word(&self, word: &OsStr) -> String {
        let shown = Path::new(word).strip_prefix(self.scratch);
        quote(&shown.map_or(word, Path::as_os_str).to_string_lossy())
    }

    fn row(
        &self,
        out: &mut Formatter<'_>,
        series: &Series,
        floor: &Series,
        entries: u64,
    ) -> fmt::Result {
        let name = series.contender.name;
        let (Some(seconds), Some(ratio), None) = (
            Spread::of(series.seconds()),
            statistics::ratios(series.seconds(), floor.seconds()),
            &series.failure,
        ) else {
            return writeln!(out, "| {name} | failed | | | | | | |");
        };
        let cpu = Spread::of(
            series
                .measurements
                .iter()
                .map(|measured| measured.cpu.as_secs_f64()),
        );
        let peak = series
            .measurements
            .iter()
            .map(|measured| measured.peak_bytes)
            .max()
            .unwrap_or(0);
        writeln!(
            out,
            "| {name} | {:.3} | {:.3}–{:.3} | {:.2} | {:.2} | {} | {} | {} |",
            seconds.median,
            seconds.min,
            seconds.max,
            ratio.median,
            cpu.map_or(0.0, |cpu| cpu.median),
            grouped((entries as f64 / seconds.median) as u64),
            self.peak(peak),
            counted(series, entries),
        )
    }

    /// A ratio bears noise that slows everybody alike. Other people's load does not: it takes a core from a program that
    /// uses them all and nothing from one that uses one, so the floor suffers most and everybody else looks good.
    fn disturbed(&self, out: &mut Formatter<'_>, floor: &Series) -> fmt::Result {
        let Some(seconds) = Spread::of(floor.seconds()) else {
            return Ok(());
        };
        let swing = seconds.max / seconds.min;
        if swing < QUIET {
            return Ok(());
        }
        writeln!(
            out,
            "\n**The machine was not quiet**: the floor itself varied by a factor of {swing:.2}. Such load slows programs on \
             several threads most, the floor first, and makes all others look better than they are. Measure again."
        )
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

    fn footer(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nCommands:\n")?;
        for series in self.series {
            let contender = &series.contender;
            let program = contender
                .program
                .file_name()
                .unwrap_or(contender.program.as_os_str());
            let words =
                std::iter::once(program).chain(contender.arguments.iter().map(AsRef::as_ref));
            let command: Vec<String> = words.map(|word| self.word(word)).collect();
            write!(out, "- {}: `{}`", contender.name, command.join(" "))?;
            let version = match contender.version {
                Version::OfThisCrate => None,
                Version::Library(name) => {
                    locked_version(LOCK, name).map(|version| format!("{name} {version}"))
                }
                Version::Asked => own_version(&contender.program),
            };
            if let Some(version) = version {
                write!(out, " ({version})")?;
            }
            writeln!(out)?;
        }
        for series in self.series {
            if let Some(failure) = &series.failure {
                writeln!(out, "- {} failed: {failure}", series.contender.name)?;
            }
        }
        for series in self.series {
            let runs = series.incomplete();
            if runs > 0 {
                writeln!(
                    out,
                    "- {} was incomplete: its exit status says of {runs} of {} runs that it could not read everything, so its figures are \
                     not comparable",
                    series.contender.name,
                    series.measurements.len()
                )?;
            }
        }
        for skipped in self.skipped {
            writeln!(out, "- {} was not run: {}", skipped.name, skipped.reason)?;
        }
        Ok(())
    }
}

/// What a contender counted, marked where it is not what the floor counted or not all that there is.
fn counted(series: &Series, expected: u64) -> String {
    let mut remarks = Vec::new();
    let mut found = series.found().peekable();
    if found.peek().is_none() {
        remarks.push("–".to_owned());
    } else {
        let odd = found.find(|found| found.entries != expected || found.errors > 0);
        let Found { entries, errors } = odd.unwrap_or(Found {
            entries: expected,
            errors: 0,
        });
        remarks.push(if entries == expected {
            grouped(entries)
        } else {
            format!("**{} ≠**", grouped(entries))
        });
        if errors > 0 {
            remarks.push(format!("**{} errors**", grouped(errors)));
        }
    }
    if series.incomplete() > 0 {
        remarks.push("**incomplete**".to_owned());
    }
    remarks.join(", ")
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A word as it would be typed into a shell.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./=,:+@".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for character in word.chars() {
        match character {
            '\'' => quoted.push_str("'\\''"),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
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
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::contender::{Contender, Version};
    use super::super::count::CountFrom;
    use super::super::measure::Measurement;
    use super::*;
    use crate::tree::Shape;

    fn series(name: &'static str, milliseconds: &[u64], entries: u64) -> Series {
        Series {
            contender: Contender {
                name,
                program: name.into(),
                arguments: Vec::new(),
                count: CountFrom::Report,
                version: Version::OfThisCrate,
                incomplete_status: None,
            },
            measurements: milliseconds
                .iter()
                .map(|wall| Measurement {
                    wall: Duration::from_millis(*wall),
                    cpu: Duration::from_millis(2 * wall),
                    peak_bytes: 8 << 20,
                    found: Some(Found { entries, errors: 0 }),
                    incomplete: false,
                })
                .collect(),
            counted: None,
            failure: None,
        }
    }

    fn machine() -> Machine {
        Machine {
            cpu: "CPU".into(),
            cores: 2,
            memory_bytes: None,
            kernel: "6".into(),
            load: "0.00".into(),
        }
    }

    fn text(series: &[Series]) -> String {
        let report = Report {
            machine: &machine(),
            own_peak_bytes: Some(4 << 20),
            tree: Path::new("/data/t"),
            tree_made_from: Some(Parameters {
                entries: 10_000,
                seed: 1,
                shape: Shape::Wide,
            }),
            scratch: Path::new("/scratch"),
            date: "today".into(),
            command: "compare".into(),
            options: Options { rounds: 3, seed: 1 },
            series,
            skipped: &[],
        };
        report.to_string()
    }

    fn rows(series: &[Series]) -> Vec<String> {
        text(series)
            .lines()
            .filter(|line| line.starts_with('|'))
            .skip(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_row_holds_medians_and_the_median_of_ratios() {
        let rows = rows(&[
            series("floor", &[1_000, 4_000, 2_000], 10_000),
            series("x", &[1_500, 8_000, 5_000], 10_000),
        ]);
        assert_eq!(
            rows[0],
            "| floor | 2.000 | 1.000–4.000 | 1.00 | 4.00 | 5,000 | 8.0 | 10,000 |"
        );
        assert_eq!(
            rows[1],
            "| x | 5.000 | 1.500–8.000 | 2.00 | 10.00 | 2,000 | 8.0 | 10,000 |"
        );
    }

    #[test]
    fn the_header_says_how_to_do_it_again() {
        let text = text(&[series("floor", &[1_000], 10_000)]);
        let header: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        let tree = "; made by `tree /data/t --entries 10000 --seed 1 --shape wide`";
        assert!(
            header.iter().any(|line| line.ends_with(tree)),
            "{header:#?}"
        );
        assert!(
            header
                .iter()
                .any(|line| line.starts_with("- command: `compare`")),
            "{header:#?}"
        );
    }

    #[test]
    fn the_directory_for_records_is_not_shown() {
        let mut writes = series("x", &[1_000], 10_000);
        writes.contender.arguments = vec!["-o".into(), "/scratch/records.jsonl".into()];
        let text = text(&[series("floor", &[1_000], 10_000), writes]);
        assert!(text.contains("- x: `x -o records.jsonl`"), "{text}");
    }

    #[test]
    fn whoever_counts_otherwise_is_marked() {
        let rows = rows(&[
            series("floor", &[1_000], 10_000),
            series("x", &[500], 9_999),
        ]);
        assert!(rows[1].ends_with("| **9,999 ≠** |"), "{}", rows[1]);
    }

    #[test]
    fn errors_and_an_incomplete_run_are_marked_though_the_number_is_right() {
        let mut wrong = series("x", &[500, 500], 10_000);
        wrong.measurements[1].incomplete = true;
        wrong.measurements[1].found = Some(Found {
            entries: 10_000,
            errors: 2,
        });
        let all = [series("floor", &[1_000, 1_000], 10_000), wrong];
        let rows = rows(&all);
        assert!(
            rows[1].ends_with("| 10,000, **2 errors**, **incomplete** |"),
            "{}",
            rows[1]
        );
        let remark = "- x was incomplete: its exit status says of 1 of 2 runs";
        assert!(text(&all).contains(remark));
    }

    #[test]
    fn a_floor_that_varies_is_warned_of() {
        let warns =
            |milliseconds: &[u64]| text(&[series("floor", milliseconds, 1)]).contains("not quiet");
        assert!(!warns(&[1_000, 1_100, 1_200]));
        assert!(warns(&[1_000, 1_100, 1_300]));
    }

    #[test]
    fn words_are_quoted_as_a_shell_needs_them() {
        assert_eq!(quote("--runs=5"), "--runs=5");
        assert_eq!(quote("%s %p\\n"), "'%s %p\\n'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn the_version_of_a_peer_is_known() {
        assert!(locked_version(LOCK, "walkdir").is_some());
        assert_eq!(locked_version(LOCK, "no-such-crate"), None);
    }
}
