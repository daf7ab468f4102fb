//! `explain`: why an entry is marked as it is, or looked at again.

use std::fmt::Write;

use serde::de::DeserializeOwned;
use statline_pipeline::Job;
use statline_stages::{
    CacheConfig, Change, EnumerateConfig, Explanation, FieldValues, Question, Recollection,
    StatConfig,
};

use crate::args::ExplainArguments;
use crate::cache::failure;
use crate::escape::{escaped_message, escaped_path};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::terminal::{Palette, Terminal};

pub(crate) fn explain(arguments: &ExplainArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let job = load::job(&arguments.job, &arguments.set.set)?;
    let caches: Vec<CacheConfig> = options_of(&job, "cache");
    let Some(cache) = caches.iter().find(|cache| cache.path.is_some()) else {
        return Err(Failure::usage(
            "the job has no stage of type cache with a `path`, so it remembers nothing",
        ));
    };
    let stats: Vec<StatConfig> = options_of(&job, "stat");
    let explanation = statline_stages::explain(&Question {
        path: &arguments.path,
        walks: &options_of::<EnumerateConfig>(&job, "enumerate"),
        stat: stats.first(),
        cache,
    });
    let Some(explanation) = explanation.map_err(failure)? else {
        let path = arguments.path.display();
        return Err(Failure::usage(format!(
            "{path} is below no root of the job"
        )));
    };
    let text = account(arguments, cache, &explanation, terminal.palette());
    terminal.print(text.as_bytes())?;
    Ok(Exit::Complete)
}

/// The options of all stages of a kind, as far as they are those of that kind.
fn options_of<C: DeserializeOwned>(job: &Job, kind: &str) -> Vec<C> {
    let stages = job.stages().filter(|(_, of)| *of == kind);
    let options = stages.filter_map(|(name, _)| job.options(name));
    options
        .filter_map(|options| serde_json::from_value(options.clone()).ok())
        .collect()
}

fn account(
    arguments: &ExplainArguments,
    cache: &CacheConfig,
    explanation: &Explanation,
    palette: Palette,
) -> String {
    let Palette { bold, reset, .. } = palette;
    let path = escaped_path(&arguments.path);
    let mut out = match verdict(explanation) {
        Ok((mark, why)) => format!("{bold}{path}{reset} would be marked {mark}: {why}\n"),
        Err(why) => format!("{bold}{path}{reset} would have no record: {why}\n"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  root     {}", escaped_path(&explanation.root));
    if let Some(store) = &cache.path {
        let _ = writeln!(out, "  cache    {}", escaped_path(store));
    }
    if let Some(last) = &explanation.last_run {
        let (run, finished) = (
            escaped_message(&last.run_id),
            escaped_message(&last.finished),
        );
        let _ = writeln!(out, "  last run {run}, which ended {finished}");
    }
    let _ = writeln!(out, "  memory   {}", memory(&explanation.memory));
    if let Some(reuse) = explanation.reuse {
        let _ = match reuse {
            Ok(()) => writeln!(
                out,
                "  stat     takes it from the cache, unless the listing disagrees"
            ),
            Err(why) => writeln!(out, "  stat     looks at it again: {why}"),
        };
    }
    if !explanation.fields.is_empty() {
        out.push_str(&table(&explanation.fields));
    }
    out
}

/// The mark and the reason for it, or the reason why there is none.
fn verdict(explanation: &Explanation) -> Result<(&'static str, String), String> {
    if let Some((pattern, matched)) = &explanation.excluded {
        let (pattern, matched) = (escaped_message(pattern), escaped_path(matched));
        return Err(format!("the pattern {pattern:?} leaves out {matched}"));
    }
    let mark = match (&explanation.now, explanation.mark) {
        (Ok(_), Some(mark)) => mark,
        (Ok(_), None) => return Err("it is left out".to_owned()),
        (Err(error), _) => {
            return Err(format!(
                "it cannot be looked at: {}",
                escaped_message(error)
            ));
        }
    };
    let why = match (mark, &explanation.memory) {
        (Change::Unchanged, _) => "all that is compared is as it was".to_owned(),
        (Change::Changed, _) if explanation.has_same_signature() => {
            "what is compared is the same, but it was looked at within two seconds of its last change, when another change \
             could have left the same times"
                .to_owned()
        }
        (Change::Changed, _) => {
            let compared = explanation.fields.iter().filter(|values| values.in_signature);
            let differ = compared.filter(|values| values.now.is_none() || values.now != values.before);
            let differ: Vec<&str> = differ.map(|values| values.field.as_str()).collect();
            format!("{} differs from what is remembered", differ.join(", "))
        }
        (_, memory) => self::memory(memory),
    };
    Ok((mark.as_str(), why))
}

fn memory(memory: &Recollection) -> String {
    match memory {
        Recollection::NoStore => "there is no cache yet".to_owned(),
        Recollection::Unusable(why) => {
            format!("the cache would be put aside: {}", escaped_message(why))
        }
        Recollection::NoRoot => "nothing is remembered of its root".to_owned(),
        Recollection::NoDirectory => "nothing is remembered of its directory".to_owned(),
        Recollection::NoEntry => "its directory is remembered, it is not".to_owned(),
        Recollection::Seen {
            looked_at,
            is_settled,
        } => {
            let when = jiff::Timestamp::new(looked_at.seconds, 0);
            let when = when.map_or_else(|_| "at some time".to_owned(), |when| when.to_string());
            match is_settled {
                true => format!("looked at {when}"),
                false => format!("looked at {when}, too soon after its last change to be trusted"),
            }
        }
    }
}

/// The values side by side.
fn table(fields: &[FieldValues]) -> String {
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![[
        "field".to_owned(),
        "remembered".to_owned(),
        "now".to_owned(),
        String::new(),
    ]];
    for values in fields {
        let note = match (
            values.in_signature,
            values.now.is_some() && values.now == values.before,
        ) {
            (true, true) => "same",
            (true, false) => "differs",
            (false, _) => "differs, not compared",
        };
        let (before, now) = (cell(&values.before), cell(&values.now));
        rows.push([
            values.field.as_str().to_owned(),
            before,
            now,
            note.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut out = String::from("\n");
    for [field, before, now, note] in &rows {
        let line = format!(
            "  {field:<0$}  {before:<1$}  {now:<2$}  {note}",
            widths[0], widths[1], widths[2]
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
