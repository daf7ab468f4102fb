//! `doctor` scans for a moment, to say how many threads the mount turns out to be worth.
//!
//! One thing must stay true: nothing is written, and it is over soon, however large or slow the mount is.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statline_pipeline::{Builder, Period, PipelineSettings};
use statline_stages::{Enumerate, EnumerateConfig, Null, NullConfig, Stat, StatConfig};

use crate::human;

/// How long to scan.
const LENGTH: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Trial {
    seconds: f64,
    entries: u64,
    /// The most threads that were at work.
    threads: usize,
    /// Whether all was scanned before the time was up.
    whole: bool,
    /// The limit of threads to begin with, and each change of it, as long as there were not too many.
    steps: Vec<Step>,
}

/// A limit of threads, as the report of the scan has it.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    at_ms: u64,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_second: Option<f64>,
    reason: String,
}

#[derive(Default, Deserialize)]
struct Mounts {
    mounts: std::collections::BTreeMap<String, Mount>,
}

#[derive(Deserialize)]
struct Mount {
    steps: Vec<Step>,
}

impl Trial {
    /// Scans `path` for a moment, without leaving its file system.
    pub(crate) fn of(path: &Path) -> Result<Trial, String> {
        let mut settings = PipelineSettings::default();
        settings.max_runtime = Some(Period::new(LENGTH));
        settings.stop_timeout = Period::new(LENGTH);
        let mut job = Builder::new("doctor").with_settings(settings);
        let mut walk = EnumerateConfig::new([path]);
        walk.one_file_system = true;
        let walk = job.stage("walk", Enumerate, walk).done();
        let meta = job
            .stage("meta", Stat, StatConfig::default())
            .reads(&walk)
            .done();
        let _ = job.stage("end", Null, NullConfig::default()).reads(&meta);
        let job = job.build().map_err(|problems| problems.to_string())?;
        let report = job.run();
        let stage = report.stage("walk").ok_or("it has no stage of that name")?;
        let mounts: Mounts = stage
            .result
            .clone()
            .and_then(|result| serde_json::from_value(result).ok())
            .unwrap_or_default();
        Ok(Trial {
            seconds: report.elapsed_seconds,
            entries: stage.items_out,
            threads: stage.threads,
            whole: report.outcome.publishes(),
            steps: mounts
                .mounts
                .into_values()
                .flat_map(|mount| mount.steps)
                .collect(),
        })
    }

    pub(crate) fn lines(&self, line: &mut dyn FnMut(&str, &str)) {
        let entries = human::counted(self.entries, "entry", "entries");
        let length = human::short_duration(Duration::from_secs_f64(self.seconds));
        let all = if self.whole {
            ", which is all there is"
        } else {
            ""
        };
        line("trial scan", &format!("{entries} in {length}{all}"));
        let last = match &self.steps[..] {
            [] => return,
            [only] => {
                let threads = human::counted(only.threads as u64, "thread", "threads");
                let text = format!("{threads}, and nothing was seen to gain by more or fewer");
                return line("", &text);
            }
            [.., last] => last,
        };
        for step in self.steps.iter().take(8) {
            line("", &step.text());
        }
        if self.steps.len() > 8 {
            line(
                "",
                &format!(
                    "… and {} more, at last {}",
                    self.steps.len() - 8,
                    last.threads
                ),
            );
        }
    }
}

impl Step {
    fn text(&self) -> String {
        let threads = human::counted(self.threads as u64, "thread", "threads");
        let at = human::short_duration(Duration::from_millis(self.at_ms));
        let measured: Vec<String> = [
            self.latency_us.map(|latency| {
                let latency = Duration::from_secs_f64(latency.max(0.0) / 1e6);
                format!("{} a call", human::short_duration(latency))
            }),
            self.calls_per_second
                .map(|calls| format!("{}/s", human::count(calls as u64))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let measured = match measured.is_empty() {
            true => String::new(),
            false => format!(" ({})", measured.join(", ")),
        };
        let reason = self.reason.replace('_', " ");
        format!("{threads} after {at}: {reason}{measured}")
    }
}
