//! Problems as a person reads them: the place, what is wrong, the line, a caret and the remedy.
//!
//! What must stay true: nothing from a file reaches a terminal as a control character, and the
//! caret stands under what it means.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::location::Origin;
use super::problem::{Problem, Severity};
use super::problems::Problems;
use super::text::JobText;

/// The width of line numbers.
const GUTTER: usize = 5;
/// A longer line is shown in part.
const LINE_WIDTH: usize = 160;
/// What is shown of such a line in front of the caret.
const LEAD_WIDTH: usize = 40;
/// Nobody reads more in one go, and the first ones explain the last.
pub(super) const MOST_SHOWN: usize = 100;
/// The same for messages, which may quote what a file holds.
const LONGEST_TEXT: usize = 300;
const TAB: &str = "    ";

/// The escape sequences of a terminal, or nothing in their places.
struct Style {
    error: &'static str,
    warning: &'static str,
    bold: &'static str,
    gutter: &'static str,
    plain: &'static str,
}

const COLOUR: Style = Style {
    error: "\u{1b}[1;31m",
    warning: "\u{1b}[1;33m",
    bold: "\u{1b}[1m",
    gutter: "\u{1b}[1;34m",
    plain: "\u{1b}[0m",
};
const NO_COLOUR: Style = Style {
    error: "",
    warning: "",
    bold: "",
    gutter: "",
    plain: "",
};

pub(super) fn render(problems: &Problems, colour: bool) -> String {
    let style = if colour { &COLOUR } else { &NO_COLOUR };
    let text = problems.text().map(|text| &**text);
    let mut out = String::new();
    for problem in problems.iter().take(MOST_SHOWN) {
        one(&mut out, problem, text, style);
    }
    let left_out = problems.iter().count().saturating_sub(MOST_SHOWN);
    if left_out > 0 {
        let _ = writeln!(out, "… and {left_out} more");
    }
    if !problems.is_empty() {
        summary(&mut out, problems, text);
    }
    out
}

fn one(out: &mut String, problem: &Problem, text: Option<&JobText>, style: &Style) {
    let Style {
        bold,
        gutter,
        plain,
        ..
    } = style;
    let (severity, mark) = match problem.severity {
        Severity::Error => ("error", style.error),
        Severity::Warning => ("warning", style.warning),
    };
    let span = text.zip(problem.location.span());
    let mut place = match (problem.location.origin(), text) {
        (Origin::Override(set), _) => format!("--set {}: ", escaped(set)),
        (_, Some(text)) => match &span {
            Some((text, span)) => {
                let position = text.position(span.start);
                format!(
                    "{}:{}:{}: ",
                    escaped(text.name()),
                    position.line,
                    position.column
                )
            }
            None => format!("{}: ", escaped(text.name())),
        },
        (_, None) => String::new(),
    };
    if !problem.location.path().is_empty() {
        let _ = write!(place, "{}: ", escaped(problem.location.path()));
    }
    let message = escaped(&problem.message);
    let _ = writeln!(
        out,
        "{mark}{severity}{plain}{bold}: {place}{message}{plain}"
    );
    let help = problem.help.as_deref().map(escaped);
    if let Some((text, span)) = span {
        let number = text.position(span.start).line;
        let (line, before, carets) = excerpt(text.as_str(), text.line(number), span);
        let _ = writeln!(out, "{gutter}{number:>GUTTER$} |{plain} {line}");
        let carets = "^".repeat(carets);
        let _ = write!(
            out,
            "{gutter}{:GUTTER$} |{plain} {:before$}{mark}{carets}",
            "", ""
        );
        if let Some(help) = help {
            let _ = write!(out, " {help}");
        }
        let _ = writeln!(out, "{plain}");
    } else if let Some(help) = help {
        let _ = writeln!(out, "{gutter}{:GUTTER$} ={plain} {help}", "");
    }
}

/// The visible part of a line, the width in front of the caret and the width of the caret, which
/// stays in the first line of its span.
fn excerpt(text: &str, line: Range<usize>, span: Range<usize>) -> (String, usize, usize) {
    let start = floor(text, span.start.clamp(line.start, line.end));
    let end = floor(text, span.end.clamp(start, line.end));
    // More of a line is never shown, and lines may be as long as the file.
    let head = |text: &str| match text.char_indices().nth(LINE_WIDTH + 1) {
        Some((at, _)) => visible(&text[..at]),
        None => visible(text),
    };
    let before = &text[line.start..start];
    let tail = before.char_indices().nth_back(LINE_WIDTH);
    let before = visible(&before[tail.map_or(0, |(at, _)| at)..]);
    let marked = head(&text[start..end]);
    let after = head(&text[end..line.end]);
    let carets = marked.width().max(1);
    if [&before, &marked, &after]
        .map(|part| room_of(part))
        .iter()
        .sum::<usize>()
        <= LINE_WIDTH
    {
        return (format!("{before}{marked}{after}"), before.width(), carets);
    }
    let before = if room_of(&before) > LEAD_WIDTH {
        format!("…{}", end_of(&before, LEAD_WIDTH))
    } else {
        before
    };
    let room = LINE_WIDTH - room_of(&before);
    let rest = format!("{marked}{after}");
    let shown = start_of(&rest, room);
    let cut = if shown.len() < rest.len() { "…" } else { "" };
    (
        format!("{before}{shown}{cut}"),
        before.width(),
        carets.min(room),
    )
}

/// The columns of a text, where also what takes none counts as one: a terminal is not to be flooded with it.
fn room_of(text: &str) -> usize {
    text.chars().map(room_of_character).sum()
}

fn room_of_character(character: char) -> usize {
    character.width().unwrap_or(0).max(1)
}

/// The start of the character that the byte `at` belongs to.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn start_of(text: &str, room: usize) -> &str {
    let mut width = 0;
    let fits = |(_, character): &(usize, char)| {
        width += room_of_character(*character);
        width > room
    };
    text.char_indices()
        .find(fits)
        .map_or(text, |(at, _)| &text[..at])
}

fn end_of(text: &str, room: usize) -> &str {
    let mut width = 0;
    let full = |(_, character): &(usize, char)| {
        width += room_of_character(*character);
        width > room
    };
    text.char_indices()
        .rev()
        .find(full)
        .map_or(text, |(at, character)| &text[at + character.len_utf8()..])
}

/// The text of a line as a terminal can show it: one column where it would do something else.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push_str(TAB),
            // The pictures of the control characters stand in their order.
            '\0'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or('?'))
            }
            _ if is_unsafe(character) => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// The text of a message, its control characters written as Rust would, and not a whole novel.
fn escaped(text: &str) -> Cow<'_, str> {
    let end = text
        .char_indices()
        .nth(LONGEST_TEXT)
        .map_or(text.len(), |(end, _)| end);
    if end == text.len() && !text.contains(is_unsafe) {
        return text.into();
    }
    let mut out = String::with_capacity(end + 8);
    for character in text[..end].chars() {
        match character {
            _ if is_unsafe(character) => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    if end < text.len() {
        out.push('…');
    }
    out.into()
}

/// Characters that move the cursor, or turn the direction of the text round them.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

fn summary(out: &mut String, problems: &Problems, text: Option<&JobText>) {
    let counted = |count: usize, noun: &str| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    };
    let parts = [
        counted(problems.errors().count(), "error"),
        counted(problems.warnings().count(), "warning"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let place = text.map_or("the job".into(), |text| escaped(text.name()));
    let more = if problems.is_cut() {
        ", and more that are not counted"
    } else {
        ""
    };
    let _ = writeln!(out, "{} in {place}{more}", parts.join(" and "));
}
