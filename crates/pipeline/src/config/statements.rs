//! The headers and keys of a text that the parser refused.
//!
//! They tell which key an error stands in, and which bracket is never closed: what the parser's
//! errors leave out.
//!
//! What must stay true: any text has statements, however broken.

use std::ops::Range;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

/// The statements of a text in its order.
pub(super) struct Statements {
    list: Vec<Statement>,
    /// The first bracket of a value that nothing closes.
    pub(super) unclosed: Option<Range<usize>>,
}

/// A header or a key.
pub(super) struct Statement {
    pub(super) start: usize,
    /// The whole path, without the blanks that TOML allows round dots.
    path: String,
    /// For each part of the key, where it ends in the text and in the path.
    parts: Vec<(usize, usize)>,
    /// Where the header starts that it stands under; its own start for a header.
    pub(super) header: Option<usize>,
    pub(super) is_header: bool,
}

impl Statement {
    /// The path up to the byte `end` of the text; `None` when that is behind the key.
    pub(super) fn path_until(&self, end: usize) -> Option<&str> {
        let (_, length) = self.parts.iter().find(|(part_end, _)| end <= *part_end)?;
        self.path.get(..*length)
    }
}

impl Statements {
    pub(super) fn of(text: &str) -> Self {
        let mut this = Self {
            list: Vec::new(),
            unclosed: None,
        };
        let mut open: Vec<Range<usize>> = Vec::new();
        let mut line: Vec<Token> = Vec::new();
        for token in Source::new(text).lex() {
            use TokenKind::{
                Eof, LeftCurlyBracket, LeftSquareBracket, Newline, RightCurlyBracket,
                RightSquareBracket, Whitespace,
            };
            let in_value = line
                .first()
                .is_some_and(|first| first.kind() != LeftSquareBracket);
            match token.kind() {
                Whitespace => continue,
                Newline | Eof if open.is_empty() => {
                    this.add(text, &line);
                    line.clear();
                    continue;
                }
                LeftSquareBracket | LeftCurlyBracket if in_value => {
                    open.push(token.span().start()..token.span().end());
                }
                RightSquareBracket | RightCurlyBracket => drop(open.pop()),
                _ => {}
            }
            if open.is_empty() {
                line.push(token);
            }
        }
        this.unclosed = open.into_iter().next();
        this
    }

    /// The statement that the byte `at` stands in.
    pub(super) fn at(&self, at: usize) -> Option<&Statement> {
        let after = self.list.partition_point(|statement| statement.start <= at);
        self.list.get(after.checked_sub(1)?)
    }

    /// The first statement of `path`, if that stands before the byte `end`.
    pub(super) fn first(&self, path: &str, end: usize) -> Option<&Statement> {
        let before = self
            .list
            .iter()
            .take_while(|statement| statement.start < end);
        before.into_iter().find(|statement| statement.path == path)
    }

    /// Notes the header or the key that `line` starts with.
    fn add(&mut self, text: &str, line: &[Token]) {
        let Some(start) = line.first().map(|first| first.span().start()) else {
            return;
        };
        let is_header = line[0].kind() == TokenKind::LeftSquareBracket;
        let last_header = self.list.last().and_then(|last| last.header);
        let mut path = match last_header.and_then(|header| self.at(header)) {
            Some(header) if !is_header => format!("{}.", header.path),
            _ => String::new(),
        };
        let mut parts = Vec::new();
        for token in line
            .iter()
            .skip_while(|token| token.kind() == TokenKind::LeftSquareBracket)
        {
            use TokenKind::{Comment, Equals, RightSquareBracket};
            if matches!(token.kind(), Equals | RightSquareBracket | Comment) {
                break;
            }
            let span = token.span();
            path.push_str(text.get(span.start()..span.end()).unwrap_or_default());
            parts.push((span.end(), path.len()));
        }
        let header = if is_header { Some(start) } else { last_header };
        self.list.push(Statement {
            start,
            path,
            parts,
            header,
            is_header,
        });
    }
}
