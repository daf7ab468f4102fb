//! The text of a job and the places in it.
//!
//! What must stay true: it holds the very bytes that were parsed (without the byte order mark), so
//! spans fit.

use std::ops::Range;

use super::bounds::LARGEST;

/// The text of a job file.
#[derive(Debug)]
pub(super) struct JobText {
    name: String,
    text: String,
    /// The byte that each line starts at.
    lines: Vec<usize>,
}

/// A place as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

impl JobText {
    pub(super) fn new(name: String, mut text: String) -> Self {
        // Editors on Windows put it there. To count it would shift the columns of the first line.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        // A text that is too large is refused as a whole: nobody asks for its lines.
        let lined = if text.len() as u64 > LARGEST {
            ""
        } else {
            &text
        };
        let starts = lined
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name, text, lines }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The line and column of the byte `at`, or of the character that it belongs to.
    pub(super) fn position(&self, at: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= at);
        let before = self
            .text
            .get(self.lines[line - 1]..at.min(self.text.len()))
            .unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// The bytes of the line with this number, without its end.
    pub(super) fn line(&self, number: usize) -> Range<usize> {
        let start = self.lines[number - 1];
        let end = self.lines.get(number).copied().unwrap_or(self.text.len());
        let line = self.text[start..end].trim_end_matches(['\r', '\n']);
        start..start + line.len()
    }
}
