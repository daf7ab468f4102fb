//! What a benchmark found, in words and as JSON.
//!
//! One thing must stay true: whatever makes the figures doubtful stands beside them.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::caches::CacheState;
use super::{Pass, Way};
use crate::escape::{escaped_message, escaped_path};
use crate::exit::Exit;
use crate::human;
use crate::table::{Align, Table};
use crate::terminal::Palette;

/// The version of the form of the findings as JSON.
const SCHEMA: u32 = 1;

/// A pass that is shorter tells more about starting threads, and about what else the machine does, than about scanning.
const SHORT: Duration = Duration::from_millis(200);

/// All that was found out.
#[derive(Serialize)]
pub(super) struct Findings {
    schema: u32,
    path: String,
    #[serde(skip)]
    shown: String,
    cache: CacheState,
    sequential: Measured,
    pipeline: Measured,
    /// How many times as fast the pipeline is, by the medians.
    speed_up: f64,
    /// What it saves, in seconds by the medians; less than 0 if it takes longer.
    saved_seconds: f64,
    /// Whether both ways found the same number of entries each time.
    same_entries: bool,
    warnings: Vec<String>,
}

/// The passes of one way.
#[derive(Serialize)]
struct Measured {
    /// Entries of the last pass.
    entries: u64,
    /// Entries and directories that it could not read.
    errors: u64,
    /// Each pass.
    seconds: Vec<f64>,
    median_seconds: f64,
    entries_per_second: f64,
    #[serde(skip)]
    median: Duration,
    #[serde(skip)]
    fastest: Duration,
    #[serde(skip)]
    slowest: Duration,
}

impl Measured {
    fn new(passes: &[Pass]) -> Measured {
        let mut times: Vec<Duration> = passes.iter().map(|pass| pass.time).collect();
        times.sort_unstable();
        // Of an even number, the mean of the two in the middle.
        let middle = |place: usize| times.get(place).copied().unwrap_or_default();
        let median = (middle(times.len().saturating_sub(1) / 2) + middle(times.len() / 2)) / 2;
        let entries = passes.last().map_or(0, |pass| pass.entries);
        let median_seconds = median.as_secs_f64();
        Measured {
            entries,
            errors: passes.last().map_or(0, |pass| pass.errors),
            seconds: passes.iter().map(|pass| pass.time.as_secs_f64()).collect(),
            median_seconds,
            entries_per_second: quotient(entries as f64, median_seconds),
            median,
            fastest: times.first().copied().unwrap_or_default(),
            slowest: times.last().copied().unwrap_or_default(),
        }
    }
}

/// A quotient that JSON can hold.
fn quotient(of: f64, by: f64) -> f64 {
    match by > 0.0 {
        true => of / by,
        false => 0.0,
    }
}

impl Findings {
    pub(super) fn new(
        path: &Path,
        sequential: &[Pass],
        pipeline: &[Pass],
        cache: CacheState,
    ) -> Findings {
        let mut passes = sequential.iter().chain(pipeline);
        let first = passes.next().map(|pass| (pass.entries, pass.errors));
        let same_entries = passes.all(|pass| Some((pass.entries, pass.errors)) == first);
        let (sequential, pipeline) = (Measured::new(sequential), Measured::new(pipeline));
        let mut findings = Findings {
            schema: SCHEMA,
            path: path.to_string_lossy().into_owned(),
            shown: escaped_path(path),
            cache,
            speed_up: quotient(sequential.median_seconds, pipeline.median_seconds),
            saved_seconds: sequential.median_seconds - pipeline.median_seconds,
            same_entries,
            warnings: Vec::new(),
            sequential,
            pipeline,
        };
        findings.warnings = findings.doubts();
        findings
    }

    /// Adds what else makes the figures doubtful.
    pub(super) fn doubt(&mut self, why: &str) {
        self.warnings.push(why.to_owned());
    }

    /// What makes the figures doubtful.
    fn doubts(&self) -> Vec<String> {
        let (sequential, pipeline) = (&self.sequential, &self.pipeline);
        let mut doubts = Vec::new();
        if !self.same_entries {
            doubts.push(format!(
                "the passes did not find the same: {} the last time by one thread, {} by the pipeline; has something \
                 changed meanwhile?",
                found(sequential),
                found(pipeline)
            ));
        } else if sequential.errors > 0 {
            doubts.push(format!(
                "{} could not be read, in either way",
                human::counted(sequential.errors, "place", "places")
            ));
        }
        let shortest = sequential.median.min(pipeline.median);
        if shortest < SHORT {
            doubts.push(format!(
                "a pass of {} is too short to tell much; take a larger directory",
                human::short_duration(shortest)
            ));
        }
        let apart = sequential.fastest > pipeline.slowest || pipeline.fastest > sequential.slowest;
        if sequential.seconds.len() < 2 {
            doubts.push("one pass of each says nothing of chance; measure more --runs".to_owned());
        } else if !apart {
            doubts.push(
                "the difference is smaller than what passes of one way differ by: it may be chance"
                    .to_owned(),
            );
        }
        doubts
    }

    pub(super) fn exit(&self) -> Exit {
        match self.same_entries && self.sequential.errors == 0 {
            true => Exit::Complete,
            false => Exit::Incomplete,
        }
    }

    pub(super) fn text(&self, palette: Palette) -> String {
        let Palette {
            bold,
            warning,
            reset,
            ..
        } = palette;
        let mut out = format!(
            "{bold}{}{reset}: {}, medians of {}\n",
            self.shown,
            human::counted(self.pipeline.entries, "entry", "entries"),
            human::counted(self.pipeline.seconds.len() as u64, "pass", "passes")
        );
        let mut table = Table::new(&[
            ("", Align::Left),
            ("median", Align::Right),
            ("fastest", Align::Right),
            ("slowest", Align::Right),
            ("entries", Align::Right),
        ]);
        let ways = [
            (Way::Sequential, &self.sequential),
            (Way::Pipeline, &self.pipeline),
        ];
        for (way, measured) in ways {
            table.row([
                way.as_str().to_owned(),
                human::duration(measured.median),
                human::duration(measured.fastest),
                human::duration(measured.slowest),
                human::rate(measured.entries, measured.median),
            ]);
        }
        out += &table.render(palette);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{bold}{}{reset}", self.comparison());
        let _ = writeln!(out, "cache: {}: {}", self.cache.state, self.cache.why);
        for doubt in &self.warnings {
            let _ = writeln!(out, "{warning}warning{reset}: {}", escaped_message(doubt));
        }
        out
    }

    /// The finding in one sentence.
    fn comparison(&self) -> String {
        let (sequential, pipeline) = (self.sequential.median, self.pipeline.median);
        match sequential.checked_sub(pipeline) {
            Some(saved) => format!(
                "the pipeline is {:.2} times as fast: it saves {} of {}",
                self.speed_up,
                human::duration(saved),
                human::duration(sequential)
            ),
            None => format!(
                "the pipeline is slower here: it takes {:.2} times as long, {} more than {}",
                quotient(1.0, self.speed_up),
                human::duration(pipeline - sequential),
                human::duration(sequential)
            ),
        }
    }
}

/// What the last pass of a way found.
fn found(measured: &Measured) -> String {
    let entries = human::counted(measured.entries, "entry", "entries");
    match measured.errors {
        0 => entries,
        errors => format!(
            "{entries} and {}",
            human::counted(errors, "error", "errors")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(times: &[u64], entries: u64, errors: u64) -> Vec<Pass> {
        let pass = |milliseconds: &u64| Pass {
            time: Duration::from_millis(*milliseconds),
            entries,
            errors,
        };
        times.iter().map(pass).collect()
    }

    fn findings(sequential: &[Pass], pipeline: &[Pass]) -> Findings {
        let cache = CacheState {
            state: "hot",
            why: "said so".to_owned(),
            bytes_from_storage: Some(0),
        };
        Findings::new(Path::new("/data"), sequential, pipeline, cache)
    }

    #[test]
    fn medians_are_compared() {
        let found = findings(
            &passes(&[4000, 9000, 4100], 1000, 0),
            &passes(&[1000, 900, 2000], 1000, 0),
        );
        insta::assert_snapshot!(found.text(Palette::new(false)), @r"
        /data: 1,000 entries, medians of 3 passes
                      median  fastest  slowest   entries
          one thread  4.10 s   4.00 s   9.00 s    244 /s
          pipeline    1.00 s   900 ms   2.00 s  1.00 k/s
        the pipeline is 4.10 times as fast: it saves 3.10 s of 4.10 s
        cache: hot: said so
        ");
        assert!((found.speed_up - 4.1).abs() < 1e-9);
        assert!((found.saved_seconds - 3.1).abs() < 1e-9);
        assert_eq!(found.exit(), Exit::Complete);
        // Of an even number.
        let even = Measured::new(&passes(&[1000, 2000, 4000, 8000], 10, 0));
        assert_eq!(even.median, Duration::from_millis(3000));
    }

    #[test]
    fn what_takes_longer_is_not_called_faster() {
        let found = findings(
            &passes(&[1000, 1000], 1000, 0),
            &passes(&[2000, 2000], 1000, 0),
        );
        let text = found.text(Palette::new(false));
        assert!(
            text.contains("the pipeline is slower here: it takes 2.00 times as long, 1.00 s more"),
            "{text}"
        );
        assert!(found.saved_seconds < 0.0 && found.speed_up < 1.0);
    }

    #[test]
    fn whatever_makes_figures_doubtful_is_said() {
        let warnings = |sequential: Vec<Pass>, pipeline: Vec<Pass>| {
            let found = findings(&sequential, &pipeline);
            (found.warnings.join("; "), found.exit())
        };
        let (sound, exit) = warnings(passes(&[1000, 1001], 10, 0), passes(&[500, 501], 10, 0));
        assert_eq!((sound.as_str(), exit), ("", Exit::Complete));
        let (short, exit) = warnings(passes(&[300, 300], 10, 0), passes(&[199, 199], 10, 0));
        assert!(short.contains("a pass of 199 ms is too short"), "{short}");
        assert_eq!(exit, Exit::Complete);
        let (once, _) = warnings(passes(&[1000], 10, 0), passes(&[500], 10, 0));
        assert!(once.contains("one pass of each"), "{once}");
        let (chance, _) = warnings(passes(&[1000, 3000], 10, 0), passes(&[900, 2000], 10, 0));
        assert!(chance.contains("it may be chance"), "{chance}");
        let (unread, exit) = warnings(passes(&[1000, 1001], 10, 2), passes(&[500, 501], 10, 2));
        assert!(unread.contains("2 places could not be read"), "{unread}");
        assert_eq!(exit, Exit::Incomplete);
        let (changed, exit) = warnings(passes(&[1000, 1001], 11, 0), passes(&[500, 501], 10, 1));
        assert!(
            changed.contains("11 entries the last time by one thread, 10 entries and 1 error by"),
            "{changed}"
        );
        assert_eq!(exit, Exit::Incomplete);
        // Also if it changed between passes of one way.
        let mut grown = passes(&[1000, 1001], 10, 0);
        grown[0].entries = 9;
        let (changed, _) = warnings(grown, passes(&[500, 501], 10, 0));
        assert!(
            changed.contains("the passes did not find the same"),
            "{changed}"
        );
    }
}
