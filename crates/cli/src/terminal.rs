//! Standard output and standard error.
//!
//! Two things must stay true: standard output carries data and nothing else, and a reader who leaves early is no
//! failure.

use std::io::{self, IsTerminal, Write};

use crate::args::When;
use crate::escape::acts;
use crate::exit::Failure;

/// Escape sequences, or nothing in their places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    pub(crate) error: &'static str,
    pub(crate) warning: &'static str,
    pub(crate) good: &'static str,
    pub(crate) bold: &'static str,
    pub(crate) dim: &'static str,
    pub(crate) reset: &'static str,
}

impl Palette {
    /// With colour, or without.
    pub(crate) const fn new(colour: bool) -> Palette {
        if colour {
            Palette {
                error: "\u{1b}[1;31m",
                warning: "\u{1b}[1;33m",
                good: "\u{1b}[32m",
                bold: "\u{1b}[1m",
                dim: "\u{1b}[2m",
                reset: "\u{1b}[0m",
            }
        } else {
            Palette {
                error: "",
                warning: "",
                good: "",
                bold: "",
                dim: "",
                reset: "",
            }
        }
    }
}

/// JSON as it is, or, where a string in it holds what acts on terminals, with that as an escape of JSON: the same data.
fn harmless(text: Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(&text) {
        Ok(json) if json.contains(acts) => {
            let mut out = String::with_capacity(json.len() + 16);
            for character in json.chars() {
                match acts(character) {
                    // Each of them is in the first plane of Unicode.
                    true => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                    false => out.push(character),
                }
            }
            out.into_bytes()
        }
        _ => text,
    }
}

/// Whether a console, if there is one, has been made to understand escape sequences: those of Windows have to be told.
fn understands_escapes() -> bool {
    #[cfg(windows)]
    return anstyle_query::windows::enable_ansi_colors() != Some(false);
    #[cfg(not(windows))]
    true
}

/// Where the two streams lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    colour: When,
    /// What NO_COLOR and TERM say, for `auto`.
    wants_colour: bool,
}

impl Terminal {
    pub(crate) fn new(colour: When) -> Terminal {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal {
            colour,
            wants_colour: !is_set("NO_COLOR") && !is_dumb && understands_escapes(),
        }
    }

    fn colours(self, stream: &impl IsTerminal) -> bool {
        match self.colour {
            When::Always => true,
            When::Never => false,
            When::Auto => self.wants_colour && stream.is_terminal(),
        }
    }

    /// Whether standard error gets colour.
    pub(crate) fn colours_errors(self) -> bool {
        self.colours(&io::stderr())
    }

    /// For what goes to standard output.
    pub(crate) fn palette(self) -> Palette {
        Palette::new(self.colours(&io::stdout()))
    }

    /// For what goes to standard error.
    pub(crate) fn error_palette(self) -> Palette {
        Palette::new(self.colours_errors())
    }

    /// Writes data to standard output. That nobody reads it any more is fine.
    pub(crate) fn print(self, data: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(data).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(
                format!("cannot write to standard output: {error}"),
            )),
            _ => Ok(()),
        }
    }

    /// Writes data to standard output as JSON.
    pub(crate) fn print_json(self, data: &impl serde::Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(data)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        text.push(b'\n');
        self.print(&harmless(text))
    }

    /// Says something on standard error. There is nobody to tell that this failed.
    pub(crate) fn say(self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}
