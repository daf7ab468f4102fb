//! Syntax errors in the words of a user.
//!
//! The parser says what it expected; a user wants to know what to write. One error a line, for the
//! second is nearly always a consequence of the first.
//!
//! What must stay true: every error of the parser becomes a problem, or lies behind one that
//! explains it.

use std::ops::Range;

use toml::de::Error;

use super::location::Location;
use super::problem::Problem;
use super::statements::Statements;
use super::suggest::closest;

/// So many are enough to see that a file is something else.
const MOST: usize = 20;

/// The problems that the parser's errors mean.
pub(super) fn problems(text: &str, errors: &[Error]) -> Vec<Problem> {
    if let Some(problem) = other_format(text) {
        return vec![problem];
    }
    let statements = Statements::of(text);
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error, error.span().unwrap_or(0..0)))
        .collect();
    errors.sort_by_key(|(_, span)| span.start);
    let mut problems = Vec::new();
    if let Some((open, problem)) = never_closed(text, &statements, &errors) {
        // Everything behind it was read as a part of it.
        errors.retain(|(_, span)| span.start < open);
        problems.push(problem);
    }
    let same_line = |from: usize, to: usize| !text.get(from..to).unwrap_or("\n").contains('\n');
    let lines = errors.chunk_by(|(_, left), (_, right)| same_line(left.start, right.start));
    let mut second_table = None;
    for line in lines.take(MOST) {
        let (error, span) = telling(line);
        if error.message() == "duplicate key"
            && let Some(statement) = statements.at(span.start)
        {
            if statement.is_header {
                second_table = statement.header;
            } else if statement.header.is_some() && statement.header == second_table {
                // What a second table has in common with the first is no mistake of its own.
                continue;
            }
        }
        problems.push(reword(text, &statements, error.message(), span.clone()));
    }
    problems
}

/// The one problem of a text that is JSON or YAML.
fn other_format(text: &str) -> Option<Problem> {
    let mut at = 0;
    let line = text.split_inclusive('\n').find(|line| {
        let is_empty = line.trim().is_empty() || line.trim_start().starts_with('#');
        at += if is_empty { line.len() } else { 0 };
        !is_empty
    })?;
    let start = at + line.len() - line.trim_start().len();
    let line = line.trim();
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_yaml = line.split_once(':').is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(is_bare)
            && (value.is_empty() || value.starts_with(' '))
            && !value.contains('=')
    });
    let format = match line {
        _ if line.starts_with('{') => "JSON",
        _ if line.starts_with('<') => "XML",
        _ if line == "---" || is_yaml => "YAML",
        _ => return None,
    };
    let location = Location::new("", Some(start..start + line.len()));
    let message = format!("this looks like {format}, and a job is written in TOML");
    let help = "a stage starts with [stages.NAME], and its options follow as key = value";
    Some(Problem::error(location, message).help(help))
}

/// Where the array or inline table starts that swallows the rest of the text, and that problem.
fn never_closed(
    text: &str,
    statements: &Statements,
    errors: &[(&Error, Range<usize>)],
) -> Option<(usize, Problem)> {
    let says_so = |(error, _): &(&Error, _)| {
        ["unclosed array,", "unclosed inline"]
            .iter()
            .any(|start| error.message().starts_with(start))
    };
    let open = statements
        .unclosed
        .clone()
        .filter(|_| errors.iter().any(says_so))?;
    let (what, bracket) = match text.get(open.clone())? {
        "[" => ("array", "]"),
        _ => ("inline table", "}"),
    };
    let start = open.start;
    let problem = Problem::error(
        Location::new("", Some(open)),
        format!("this {what} is never closed"),
    );
    Some((start, problem.help(format!("add the missing `{bracket}`"))))
}

/// The error of a line that says most: the first, unless that comes of a second key in the line,
/// which makes one value of all that stands between.
fn telling<'e, 'p>(line: &'e [(&'p Error, Range<usize>)]) -> &'e (&'p Error, Range<usize>) {
    let first = &line[0];
    let starts = |entry: &(&Error, _), start: &str| entry.0.message().starts_with(start);
    let second_key = line
        .iter()
        .find(|entry| starts(entry, "unexpected key or value"));
    second_key
        .filter(|_| starts(first, "string values must be quoted"))
        .unwrap_or(first)
}

/// The problem that the parser's `message` at `span` means.
fn reword(text: &str, statements: &Statements, message: &str, span: Range<usize>) -> Problem {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let marked = text.get(span.clone()).unwrap_or_default();
    let problem = |message: &str| Problem::error(Location::new("", Some(span.clone())), message);
    match what {
        "string values must be quoted" if marked.is_empty() => {
            problem("there is no value after the `=`")
        }
        "string values must be quoted" if are_values(marked) => {
            problem("there is no comma between these values")
        }
        "string values must be quoted" => {
            problem("a string must stand in quotes").help(quoted(marked))
        }
        // The parser takes whatever starts with a `t` or an `f` for one.
        "invalid boolean" if closest(marked, ["true", "false"]).is_none() => {
            problem("a string must stand in quotes").help(quoted(marked))
        }
        "invalid boolean" => problem(&format!("{marked:?} is not a boolean"))
            .help("write `true` or `false`, in lower case"),
        "duplicate key" => duplicate(text, statements, span),
        _ if what.starts_with("cannot extend value") => {
            problem(&format!("{marked:?} is set to a value that is not a table"))
                .help("give this key another name")
        }
        _ if what.ends_with("string") && matches!(expected, "`\"`" | "`'`") => {
            problem("this string is never closed").help(format!("add the missing {expected}"))
        }
        _ if what.ends_with("string") => problem("this character can't stand in a string")
            .help("write it as an escape: `\\t`, `\\n`, `\\u001B`"),
        "missing escaped value" => no_such_escape(text, span.start),
        "unclosed table" => problem("this header is never closed").help("add the missing `]`"),
        "unclosed array table" => {
            problem("this header is never closed").help("add the missing `]]`")
        }
        "key with no value" => {
            let problem = problem("there is no `=` after this key");
            let before = text.get(..span.start).unwrap_or_default();
            match before
                .rsplit('\n')
                .next()
                .is_some_and(|line| line.contains(':'))
            {
                true => problem.help("write key = value"),
                false => problem,
            }
        }
        "invalid unquoted key" => problem("this character can't stand in a name")
            .help("names take the letters a to z, digits, `-` and `_`"),
        "unquoted keys cannot be empty" => problem("there is no name between the dots"),
        "invalid key-value pair" => problem("there is no key here").help("write key = value"),
        "unexpected key or value" => problem("the line goes on where it should end")
            .help("write one key on a line; a comment starts with `#`"),
        "missing comma between array elements" => problem("there is no comma between these values"),
        _ if expected.is_empty() || expected == "nothing" => problem(what),
        _ => problem(&format!("{what}, expected {expected}")),
    }
}

/// Whether it is several values, each of which could stand alone.
fn are_values(text: &str) -> bool {
    let is_value = |word: &str| matches!(word, "true" | "false") || word.parse::<f64>().is_ok();
    text.split_whitespace().count() > 1 && text.split_whitespace().all(is_value)
}

/// How to write an unquoted text as a string.
fn quoted(text: &str) -> String {
    match text.contains(['\\', '"']) && !text.contains('\'') {
        true => format!("write '{text}'"),
        false => format!("write {text:?}"),
    }
}

/// A backslash in front of the byte `at`, and what follows it.
fn no_such_escape(text: &str, at: usize) -> Problem {
    let next = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = at.saturating_sub(1)..at + next;
    Problem::error(Location::new("", Some(span)), "this escape does not exist")
        .help("write `\\\\` for a backslash, or put the string in single quotes")
}

/// A key or a table that is there already.
fn duplicate(text: &str, statements: &Statements, span: Range<usize>) -> Problem {
    let location = Location::new("", Some(span.clone()));
    let this = statements.at(span.start);
    let Some((this, path)) = this.and_then(|this| Some((this, this.path_until(span.end)?))) else {
        // Inside an inline table, whose keys are no statements of their own.
        let name = text.get(span).unwrap_or_default();
        return Problem::error(location, format!("the key {name:?} is defined twice"));
    };
    let mut message = format!("{path} is defined twice");
    if let Some(first) = statements.first(path, this.start) {
        let line = text
            .bytes()
            .take(first.start)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        message.push_str(&format!(", first on line {line}"));
    }
    match this.is_header {
        true => Problem::error(location, message)
            .help("give each table a name of its own, or join the two"),
        false => Problem::error(location, message),
    }
}
