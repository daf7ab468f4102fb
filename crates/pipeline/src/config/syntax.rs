//! Syntax errors in the words of a user.
//!
//! The parser says what it expected; a user wants to know what to write. One error a line, for the second is nearly always a
//! consequence of the first.
//!
//! What must stay true: every error of the parser becomes a problem, or lies behind one that explains it.

use std::ops::Range;

use toml::de::Error;
use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use super::location::Location;
use super::problem::Problem;

/// So many are enough to see that a file is something else.
const MOST: usize = 20;

pub(super) fn problems(text: &str, errors: &[Error]) -> Vec<Problem> {
    if let Some(problem) = other_format(text) {
        return vec![problem];
    }
    let statements = Statements::of(text);
    let mut problems = Vec::new();
    let mut end = text.len();
    let unclosed = |error: &Error| {
        error.message().starts_with("unclosed array,")
            || error.message().starts_with("unclosed inline")
    };
    if let (Some(open), true) = (statements.unclosed.clone(), errors.iter().any(unclosed)) {
        let (what, bracket) = if text[open.clone()].starts_with('[') {
            ("array", "]")
        } else {
            ("inline table", "}")
        };
        end = open.start;
        let message = format!("this {what} is never closed");
        problems.push(
            Problem::error(Location::new("", Some(open)), message)
                .help(format!("add the missing `{bracket}`")),
        );
    }
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error, error.span().unwrap_or(0..0)))
        .collect();
    errors.retain(|(_, span)| span.start < end);
    errors.sort_by_key(|(_, span)| span.start);
    let same_line = |from: usize, to: usize| {
        !text
            .get(from..to)
            .is_some_and(|between| between.contains('\n'))
    };
    let lines = errors.chunk_by(|(_, left), (_, right)| same_line(left.start, right.start));
    for line in lines.take(MOST) {
        problems.extend(
            line.first()
                .map(|(error, span)| reword(text, &statements, error.message(), span.clone())),
        );
    }
    problems
}

/// The one problem of a text that is JSON or YAML.
fn other_format(text: &str) -> Option<Problem> {
    let mut lines = text.lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let start = first.trim_start();
    let at = text.find(start)?;
    let key = start
        .split_once(':')
        .filter(|(_, value)| value.is_empty() || value.starts_with(' '));
    let is_yaml = key.is_some_and(|(key, _)| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    });
    let format = match start {
        _ if start.starts_with('{') => "JSON",
        "---" => "YAML",
        _ if is_yaml => "YAML",
        _ if start.starts_with('<') => "XML",
        _ => return None,
    };
    let location = Location::new("", Some(at..at + start.len()));
    let help = "a stage starts with [stages.NAME], and its options follow as key = value";
    Some(
        Problem::error(
            location,
            format!("this looks like {format}; a job is written in TOML"),
        )
        .help(help),
    )
}

/// The problem that the parser's `message` at `span` means.
fn reword(text: &str, statements: &Statements<'_>, message: &str, span: Range<usize>) -> Problem {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let marked = text.get(span.clone()).unwrap_or_default();
    let problem = |message: &str| Problem::error(Location::new("", Some(span.clone())), message);
    match what {
        "string values must be quoted" if marked.is_empty() => {
            problem("there is no value after the `=`")
        }
        "string values must be quoted" if marked.contains(char::is_whitespace) => {
            problem("this is not a value")
                .help("write strings in quotes, put commas between elements, and one key in a line")
        }
        "string values must be quoted" => {
            problem("a string must stand in quotes").help(quoted(marked))
        }
        "invalid boolean" => problem(&format!("{marked:?} is not a boolean"))
            .help("write `true` or `false`, in lower case"),
        "duplicate key" => duplicate(text, statements, span),
        _ if what.ends_with("string") && matches!(expected, "`\"`" | "`'`") => {
            problem("this string is never closed").help(format!("add the missing {expected}"))
        }
        _ if what.ends_with("string") => problem("this character can't stand in a string")
            .help("write it as an escape: `\\t`, `\\n`, `\\u001B`"),
        "missing escaped value" => {
            let next = text[span.start..].chars().next().map_or(0, char::len_utf8);
            let span = span.start.saturating_sub(1)..span.start + next;
            Problem::error(Location::new("", Some(span)), "this escape does not exist")
                .help("write `\\\\` for a backslash, or put the string in single quotes")
        }
        "unclosed table" => problem("this header is never closed").help("add the missing `]`"),
        "unclosed array table" => {
            problem("this header is never closed").help("add the missing `]]`")
        }
        "key with no value" => {
            let problem = problem("there is no `=` after this key");
            let line = text[..span.start].rsplit('\n').next().unwrap_or_default();
            if line.contains(':') {
                problem.help("write key = value")
            } else {
                problem
            }
        }
        "invalid unquoted key" => problem("this character can't stand in a name")
            .help("names take the letters a to z, digits, `-` and `_`"),
        "unquoted keys cannot be empty" => problem("there is no name between the dots"),
        "invalid key-value pair" => problem("there is no key here").help("write key = value"),
        "unexpected key or value" => problem("there is more after the end")
            .help("one key in a line, and a comment starts with `#`"),
        "missing comma between array elements" => problem("there is no comma between the elements"),
        _ if expected.is_empty() || expected == "nothing" => problem(what),
        _ => problem(&format!("{what}, expected {expected}")),
    }
}

/// How to write an unquoted word as a string.
fn quoted(word: &str) -> String {
    if word.contains(['\\', '"']) && !word.contains('\'') {
        format!("write '{word}'")
    } else {
        format!("write {word:?}")
    }
}

/// A key or a table that is there already.
fn duplicate(text: &str, statements: &Statements<'_>, span: Range<usize>) -> Problem {
    let at = statements
        .list
        .partition_point(|statement| statement.start <= span.start);
    let this = at.checked_sub(1).map(|at| &statements.list[at]);
    let name = text.get(span.clone()).unwrap_or_default();
    let Some(this) = this.filter(|this| span.end <= this.key_end) else {
        // Inside an inline table, whose keys have no statements of their own.
        return Problem::error(
            Location::new("", Some(span.clone())),
            format!("the key {name:?} is defined twice"),
        );
    };
    // `a.b.c = 1` may be refused for its `a`; then that is what is there twice.
    let cut = this.key_end - span.end;
    let path = &this.path[..this.path.len().saturating_sub(cut)];
    let first = statements
        .list
        .iter()
        .find(|first| first.path == path && first.start < this.start);
    let message = match first {
        Some(first) => {
            let line = text[..first.start].matches('\n').count() + 1;
            format!("{path} is defined twice, first in line {line}")
        }
        None => format!("{path} is defined twice"),
    };
    let location = Location::new("", Some(span));
    if this.is_header {
        Problem::error(location, message).help("give each table a name of its own, or join the two")
    } else {
        Problem::error(location, message)
    }
}

/// The headers and keys of a text, and the bracket that none closes.
struct Statements<'t> {
    list: Vec<Statement>,
    unclosed: Option<Range<usize>>,
    text: &'t str,
}

struct Statement {
    start: usize,
    key_end: usize,
    /// Without the blanks that TOML allows round dots.
    path: String,
    is_header: bool,
}

impl<'t> Statements<'t> {
    fn of(text: &'t str) -> Self {
        let mut this = Self {
            list: Vec::new(),
            unclosed: None,
            text,
        };
        let mut header = String::new();
        let mut open: Vec<Range<usize>> = Vec::new();
        let mut line: Vec<Token> = Vec::new();
        for token in Source::new(text).lex() {
            let span = token.span().start()..token.span().end();
            let is_header = line
                .first()
                .is_some_and(|first| first.kind() == TokenKind::LeftSquareBracket);
            match token.kind() {
                TokenKind::Whitespace => continue,
                TokenKind::Newline | TokenKind::Eof if open.is_empty() => {
                    this.add(&line, &mut header);
                    line.clear();
                    continue;
                }
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket
                    if !line.is_empty() && !is_header =>
                {
                    open.push(span)
                }
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => drop(open.pop()),
                _ => {}
            }
            if open.is_empty() {
                line.push(token);
            }
        }
        this.unclosed = open.into_iter().next();
        this
    }

    /// Notes the header or the key that `line` starts with.
    fn add(&mut self, line: &[Token], header: &mut String) {
        let Some(first) = line.first() else { return };
        let is_header = first.kind() == TokenKind::LeftSquareBracket;
        let in_key = |token: &&Token| {
            !matches!(
                token.kind(),
                TokenKind::Equals | TokenKind::RightSquareBracket | TokenKind::Comment
            )
        };
        let key: Vec<_> = line
            .iter()
            .skip_while(|token| token.kind() == TokenKind::LeftSquareBracket)
            .take_while(in_key)
            .collect();
        let Some(last) = key.last() else { return };
        let name: String = key
            .iter()
            .map(|token| &self.text[token.span().start()..token.span().end()])
            .collect();
        let path = if is_header || header.is_empty() {
            name
        } else {
            format!("{header}.{name}")
        };
        if is_header {
            header.clone_from(&path);
        }
        self.list.push(Statement {
            start: first.span().start(),
            key_end: last.span().end(),
            path,
            is_header,
        });
    }
}
