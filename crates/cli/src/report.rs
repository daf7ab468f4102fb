//! `report`: the report of a run, as the run itself showed it.

use std::io::Read;
use std::path::Path;

use statline_pipeline::{REPORT_SCHEMA, RunReport};
use statline_stages::OutputMark;

use crate::args::{self, ReportArguments};
use crate::exit::{Exit, Failure};
use crate::run::{self, Telling};
use crate::terminal::Terminal;
use crate::verdict;

pub(crate) fn report(arguments: &ReportArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let path = &arguments.report;
    let failed =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    }
    .map_err(|error| failed(&error))?;
    let report: RunReport =
        serde_json::from_str(&text).map_err(|error| {
            match serde_json::from_str::<OutputMark>(&text) {
                Ok(_) => failed(
                    &"the mark of an output; `statline verify` takes the output that it is about",
                ),
                Err(_) => failed(&format_args!("not a report of a run: {error}")),
            }
        })?;
    if report.schema != REPORT_SCHEMA {
        return Err(failed(&format_args!(
            "the report has the form {}, and this program knows the form {REPORT_SCHEMA}",
            report.schema
        )));
    }
    let told = Telling {
        entries: None,
        not_entered: run::not_entered(true, true),
        how_to_see_errors: None,
        signal: None,
        quiet: 0,
        verbose: arguments.verbose,
        units: args::units(arguments.si),
    };
    let palette = terminal.palette();
    let text = match report.outcome.publishes() {
        true => verdict::account(&report, &told, palette),
        false => verdict::failure(&report, &told, palette),
    };
    terminal.print(text.as_bytes())?;
    Ok(Exit::Complete)
}
