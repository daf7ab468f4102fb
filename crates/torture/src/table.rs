//! The table that the suite ends with, in Markdown.

use std::fmt::Write;
use std::time::Duration;

use crate::oracle::Oracle;
use crate::suite::{Part, Suite, Tally};

/// What was found, for people and for READMEs.
pub(crate) fn markdown(suite: &Suite, tally: &Tally, took: Duration) -> String {
    let mut out = String::from("\n| oracle | violations | cases behind it |\n|---|--:|--:|\n");
    for oracle in Oracle::ALL {
        let (cases, violations) = tally.oracles[oracle.index()];
        let row = format!(
            "| {oracle} | {} | {} |\n",
            grouped(violations),
            grouped(cases)
        );
        out.push_str(&row);
    }
    out.push_str("\n| part | cases | violations | seconds |\n|---|--:|--:|--:|\n");
    for (part, counted) in &tally.parts {
        let row = format!(
            "| {} {} | {} | {} | {:.0} |\n",
            part.id(),
            part.title(),
            grouped(counted.cases),
            grouped(counted.violations),
            counted.took.as_secs_f64()
        );
        out.push_str(&row);
    }
    let total: u64 = tally.parts.values().map(|part| part.cases).sum();
    let fuzz = tally.parts.get(&Part::Fuzz).map_or(0, |part| part.cases);
    let version = if suite.full { "full" } else { "bounded" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "\n{} cases and {} executions of T11, {version} version, seed {}, {:.0} s\n",
        grouped(total - fuzz),
        grouped(fuzz),
        suite.seed,
        took.as_secs_f64()
    );
    for (part, counted) in &tally.parts {
        let lists = [
            ("", &counted.notes),
            ("SKIPPED: ", &counted.skips),
            ("BROKEN: ", &counted.broken),
        ];
        for (what, list) in lists {
            for line in list {
                let _ = writeln!(out, "- {}: {what}{line}", part.id());
            }
        }
    }
    out
}

/// `20436` → `20,436`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
