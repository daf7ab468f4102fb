//! Running a job in the terminal: signals, progress, the report, the verdict.
//!
//! One thing must stay true: whatever happens, what is said about a run goes to standard error, unless it is the data.

use std::path::Path;

use statline_pipeline::{CancelHandle, Job, RunReport, StageReport};

use crate::args::{RunArguments, TellingArguments};
use crate::exit::{Exit, Failure};
use crate::human::Units;
use crate::progress::Progress;
use crate::report_file::ReportFile;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::stalls::StallNotices;
use crate::terminal::Terminal;
use crate::{load, panics, verdict};

/// A run that is over.
pub(crate) struct Ended {
    pub(crate) report: RunReport,
    /// The signal that cancelled it, if one did.
    pub(crate) signal: Option<i32>,
    /// Where the report goes, and whether it got there.
    written: Result<(), Failure>,
}

impl Ended {
    /// What the program ends with, after everything was told.
    pub(crate) fn finish(self) -> Result<Exit, Failure> {
        self.written?;
        Ok(Exit::of_run(self.report.outcome, self.signal))
    }
}

/// How to tell of a run.
pub(crate) struct Telling {
    /// The entries that were handled, where a stage is known to count them.
    pub(crate) entries: Option<u64>,
    /// Why directories may not have been entered.
    pub(crate) not_entered: String,
    /// How to see each error.
    pub(crate) how_to_see_errors: Option<&'static str>,
    /// The signal that cancelled the run.
    pub(crate) signal: Option<i32>,
    pub(crate) quiet: u8,
    pub(crate) verbose: u8,
    pub(crate) units: Units,
}

pub(crate) fn run(arguments: &RunArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let overrides = arguments.set.with_keep_partial(arguments.keep_partial);
    let job = load::job(&arguments.job, &overrides)?;
    let telling = &arguments.telling;
    let ended = execute(job, telling, None, terminal)?;
    let report = &ended.report;
    let told = Telling {
        entries: None,
        not_entered: not_entered(true, true),
        how_to_see_errors: Some(
            "a jsonl stage with inputs = [\"STAGE.errors\"] writes down every one of them",
        ),
        signal: ended.signal,
        quiet: telling.quiet,
        verbose: telling.verbose,
        units: telling.units(),
    };
    if report.outcome.publishes() && only_sums_up(report) && !goes_to_stdout(telling) {
        terminal.print(verdict::account(report, &told, terminal.palette()).as_bytes())?;
    } else {
        tell(report, &told, terminal);
    }
    ended.finish()
}

/// The reasons not to enter a directory, with those that a job need not have.
pub(crate) fn not_entered(depth: bool, file_systems: bool) -> String {
    let mut reasons = Vec::new();
    reasons.extend(depth.then_some("below the last level"));
    reasons.extend(file_systems.then_some("on other file systems"));
    reasons.extend(["made up by the kernel, as /proc is", "snapshots"]);
    reasons.join(", or ")
}

fn goes_to_stdout(telling: &TellingArguments) -> bool {
    telling.report.as_deref() == Some(Path::new("-"))
}

/// Whether the summary is all that a job yields, files of errors apart.
fn only_sums_up(report: &RunReport) -> bool {
    let is_read = |stage: &StageReport| {
        let prefix = format!("{}.", stage.name);
        let errors = format!("{prefix}errors");
        let mut outputs = report.edges.iter().flat_map(|edge| &edge.from);
        outputs.any(|from| *from == stage.name || from.starts_with(&prefix) && *from != errors)
    };
    let reads_errors_only = |stage: &StageReport| {
        let inputs = report.edges.iter().filter(|edge| edge.to == stage.name);
        inputs
            .flat_map(|edge| &edge.from)
            .all(|from| from.ends_with(".errors"))
    };
    let mut ends = report
        .stages
        .iter()
        .filter(|stage| !is_read(stage) && !reads_errors_only(stage))
        .peekable();
    ends.peek().is_some() && ends.all(|stage| stage.kind == verdict::SUMMARY)
}

/// Says on standard error how a run went, as loudly as was asked for.
pub(crate) fn tell(report: &RunReport, told: &Telling, terminal: Terminal) {
    let palette = terminal.error_palette();
    let text = match report.outcome.publishes() {
        true if told.quiet >= 2 => {
            verdict::warnings(report, palette) + &verdict::unreadable(report, told, palette)
        }
        true => verdict::account(report, told, palette),
        false => verdict::failure(report, told, palette),
    };
    terminal.say(&text);
}

/// Runs a job to its end.
///
/// `screen` is what rows go through on their way to a terminal, where progress would only disturb them.
pub(crate) fn execute(
    job: Job,
    telling: &TellingArguments,
    mut screen: Option<Screen>,
    terminal: Terminal,
) -> Result<Ended, Failure> {
    if !job.warnings().is_empty() && telling.quiet < 2 {
        terminal.say(&job.warnings().render(terminal.colours_errors()));
    }
    // A path that cannot be written is better refused before a long run than after it.
    let report_file = telling.report.as_deref().map(ReportFile::create);
    let report_file = report_file.transpose()?;
    panics::let_reports_tell(telling.verbose > 0);
    // More open directories save reopening them; that it is refused is no reason not to scan.
    let _ = statline_platform::raise_open_file_limit();
    let cancel = CancelHandle::new();
    let stop_timeout = job.settings().stop_timeout.duration();
    let signals = Signals::watch(cancel.clone(), stop_timeout, terminal)?;
    let run = job.start(&cancel);
    if let Some(screen) = &mut screen {
        screen.is_opened();
    }
    signals.observe(run.monitor());
    let progress = Progress::start(run.monitor(), telling, screen.is_some());
    let stalls = StallNotices::start(run.monitor(), telling.quiet);
    let report = run.wait();
    stalls.finish();
    if let Some(screen) = screen {
        screen.finish();
    }
    progress.finish();
    let written = match report_file {
        Some(file) => file.write(&report, terminal),
        None => Ok(()),
    };
    Ok(Ended {
        signal: signals.received(),
        report,
        written,
    })
}
