//! `verify`: whether outputs are what a run wrote, and how that run ended.

use std::error::Error;
use std::path::Path;

use statline_pipeline::Outcome;
use statline_stages::{OutputMark, VerifyError};

use crate::args::VerifyArguments;
use crate::escape::{escaped_message, escaped_path};
use crate::exit::{Exit, Failure};
use crate::human::{self, Units};
use crate::terminal::{Palette, Terminal};
use crate::verdict;

pub(crate) fn verify(arguments: &VerifyArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let mut exit = Exit::Complete;
    for path in &arguments.files {
        match OutputMark::verify(path) {
            Ok(mark) => {
                terminal.print(account(path, &mark, terminal.palette()).as_bytes())?;
                if mark.outcome != Outcome::Complete && exit == Exit::Complete {
                    exit = Exit::Incomplete;
                }
            }
            Err(error) => {
                Failure::failed(complaint(path, &error)).tell(&terminal);
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn account(path: &Path, mark: &OutputMark, palette: Palette) -> String {
    let Palette {
        good,
        warning,
        reset,
        ..
    } = palette;
    let colour = match mark.outcome {
        Outcome::Complete => good,
        _ => warning,
    };
    let mut out = format!(
        "{}: {colour}{}{reset}, {} in {}, as run {} left it, which ended {}\n",
        escaped_path(path),
        mark.outcome,
        human::counted(mark.rows, "row", "rows"),
        human::bytes(mark.bytes, Units::Binary),
        escaped_message(&mark.run_id),
        escaped_message(&mark.finished),
    );
    if let Some(cause) = &mark.cause {
        out.push_str(&format!("  {}\n", escaped_message(cause)));
    }
    if mark.vanished > 0 {
        out.push_str(&format!(
            "  {} vanished meanwhile\n",
            human::count(mark.vanished)
        ));
    }
    let errors = mark.errors.iter();
    let errors = errors.map(|error| (error.stage.as_str(), &error.errors));
    out.push_str(&verdict::error_lines(errors.collect()));
    out
}

fn complaint(path: &Path, error: &VerifyError) -> String {
    let mut out = format!("{}: {error}", escaped_path(path));
    if let Some(source) = error.source() {
        out.push_str(&format!(": {source}"));
    }
    let is_mark = path
        .to_str()
        .is_some_and(|path| path.ends_with(".run.json"));
    if is_mark && matches!(error, VerifyError::Mark { .. }) {
        out.push_str("; give the output, not its mark");
    }
    out
}
