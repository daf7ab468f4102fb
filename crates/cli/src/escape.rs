//! Names of files in what people read.
//!
//! A name may hold anything but NUL and a slash: escape sequences that reprogram a terminal, marks that turn the
//! direction of a line, bytes that are no text. One thing must stay true: nothing that comes from a file system, an
//! argument or an error reaches a terminal in human output but through here.

use std::ffi::OsStr;

/// A name or path, everything that would act on a terminal written as an escape.
///
/// A backslash is doubled, so that no two names look the same.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                _ => push(&mut out, character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// As [`escaped`], for a path of this system.
pub(crate) fn escaped_path(path: impl AsRef<OsStr>) -> String {
    escaped(path.as_ref().as_encoded_bytes())
}

/// A message that may hold a name: as [`escaped`], but backslashes stay, because the message may have escaped already.
pub(crate) fn escaped_message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        push(&mut out, character);
    }
    out
}

/// Rows of text: as [`escaped`], but backslashes stay, and so do line feeds and NULs, which end rows.
#[cfg_attr(
    not(unix),
    expect(dead_code, reason = "rows go straight to the terminal there")
)]
pub(crate) fn escaped_lines(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\0' => out.push(character),
                _ => push(&mut out, character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn push(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
        character if acts(character) => out.extend(character.escape_unicode()),
        character => out.push(character),
    }
}

/// DEL, C1 controls, line separators, and the marks that set the direction of text or hide in it.
pub(crate) fn acts(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay() {
        for name in ["a b.txt", "日本語", "e\u{301}", "🦀", "it's \"quoted\""] {
            assert_eq!(escaped(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown() {
        assert_eq!(
            escaped(b"a\x1b[31mb\n\t\r\x07\x7f"),
            r"a\x1b[31mb\n\t\r\x07\x7f"
        );
        assert_eq!(escaped("\u{9b}31m\u{85}".as_bytes()), r"\u{9b}31m\u{85}");
        assert_eq!(
            escaped("gpj.\u{202e}exe\u{2066}".as_bytes()),
            r"gpj.\u{202e}exe\u{2066}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        assert_eq!(escaped(b"l\xff\xfe"), r"l\xff\xfe");
        assert_eq!(escaped(b"\xe2\x80"), r"\xe2\x80");
    }

    #[test]
    fn no_two_names_look_the_same() {
        assert_ne!(escaped(b"\n"), escaped(b"\\n"));
        assert_ne!(escaped(b"\xff"), escaped(b"\\xff"));
    }

    #[test]
    fn every_byte_leaves_something_harmless() {
        for first in 0..=255 {
            for second in [0, 0x1b, 0x80, 0x9b, 0xff] {
                let shown = escaped(&[first, second]);
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
            }
        }
    }

    #[test]
    fn messages_keep_their_backslashes() {
        assert_eq!(escaped_message("a\\x1b \x1b[0m"), r"a\x1b \x1b[0m");
    }
}
