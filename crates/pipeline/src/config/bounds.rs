//! What no job needs: a text that goes beyond is refused before anybody works on it.
//!
//! Parsing comes after this, and all that looks at the parsed tree. Both take time for every value and every mistake,
//! and the parser recurses; so values are counted, and levels, and not only bytes.
//!
//! What must stay true: whatever the text is, the loader's own work on it takes less than a tenth of a second. (What a
//! kind of stage does with its options is its own affair.)

use std::ops::Range;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use super::tree::DEEPEST;

/// The largest job file in bytes. Real ones are a thousand times smaller; what is larger was given by
/// mistake.
pub(super) const LARGEST: u64 = 1 << 20;

/// The most bytes of a string, with its variables put in. Paths end at 4096.
pub(super) const LONGEST: usize = 64 << 10;

/// The most keys, values, signs between them, and escapes. A list of one string takes two.
const MOST: usize = 96 << 10;

/// Where a text goes too far, and how.
pub(super) fn exceeded(text: &str) -> Option<(Range<usize>, String)> {
    let mut depth = Depth::default();
    let mut count = 0;
    for token in Source::new(text).lex() {
        let span = token.span().start()..token.span().end();
        if depth.after(token) >= DEEPEST {
            let message = format!("more than {DEEPEST} levels of tables and arrays");
            return Some((span.start..span.start + 1, message));
        }
        if span.len() > LONGEST && !is_blank(token) {
            return Some((span.start..span.start + 1, too_long("this")));
        }
        count += match token.kind() {
            _ if is_blank(token) => 0,
            // A wrong escape is a mistake of its own.
            TokenKind::BasicString | TokenKind::MlBasicString => {
                let written = text.as_bytes().get(span.clone()).unwrap_or_default();
                1 + written.iter().filter(|byte| **byte == b'\\').count()
            }
            _ => 1,
        };
        if count > MOST {
            let message = format!("more than {MOST} keys, values and signs, so this is not a job");
            return Some((span, message));
        }
    }
    None
}

/// The message about something longer than [`LONGEST`].
pub(super) fn too_long(what: &str) -> String {
    format!("{what} is longer than {} KiB", LONGEST >> 10)
}

fn is_blank(token: Token) -> bool {
    use TokenKind::{Comment, Eof, Newline, Whitespace};
    matches!(token.kind(), Comment | Eof | Newline | Whitespace)
}

/// How deep a text is at each of its tokens.
///
/// The parser guards itself against brackets and not against dots: one line of `a.a.a…` makes a tree so deep that
/// freeing it overflows the stack. So dots and brackets are counted. A number's point counts as well, which does no harm.
struct Depth {
    /// The parts of the last header.
    header: usize,
    /// The dots in front of each open bracket.
    open: Vec<usize>,
    /// The levels of the open brackets.
    brackets: usize,
    /// The dots of the key at hand.
    dots: usize,
    line_start: bool,
    in_header: bool,
}

impl Default for Depth {
    fn default() -> Depth {
        Depth {
            header: 0,
            open: Vec::new(),
            brackets: 0,
            dots: 0,
            line_start: true,
            in_header: false,
        }
    }
}

impl Depth {
    /// The depth that the next token leads to.
    fn after(&mut self, token: Token) -> usize {
        let starts_line = std::mem::replace(&mut self.line_start, false);
        match token.kind() {
            TokenKind::LeftSquareBracket
                if self.open.is_empty() && (starts_line || self.in_header) =>
            {
                (self.in_header, self.header, self.dots) = (true, 0, 0);
            }
            TokenKind::Newline if self.open.is_empty() => {
                if self.in_header {
                    (self.in_header, self.header) = (false, self.dots + 1);
                }
                (self.dots, self.line_start) = (0, true);
            }
            TokenKind::Whitespace => self.line_start = starts_line,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                self.open.push(self.dots);
                self.brackets += self.dots + 1;
                self.dots = 0;
            }
            TokenKind::RightSquareBracket if self.in_header => {
                (self.in_header, self.header, self.dots) = (false, self.dots + 1, 0);
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                if let Some(outer) = self.open.pop() {
                    self.brackets -= outer + 1;
                    self.dots = outer;
                }
            }
            TokenKind::Comma => self.dots = 0,
            TokenKind::Dot => self.dots += 1,
            _ => {}
        }
        self.header + self.brackets + self.dots
    }
}
