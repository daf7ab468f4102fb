//! The text of a job file, read and parsed within limits.
//!
//! The first step of loading. A file with syntax errors goes no further: what the parser makes of
//! the rest would only give problems that are consequences.
//!
//! What must stay true: whatever the file is, an answer comes at once. A text is refused by its
//! size before it is read whole, and by its depth and its length before the parser sees it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::bounds::{self, LARGEST};
use super::location::{Location, Origin};
use super::problem::Problem;
use super::syntax;
use super::tree::{Node, Table, Value};

/// Why a job file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not there, is a directory, may not be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is larger than any job.
    #[error("{}: larger than 1 MiB, so this is not a job file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{}:{line}: not UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
}

/// Reads a job file, at most 1 MiB of it.
///
/// # Errors
///
/// When it can't be read, is larger than that, or is not UTF-8.
pub fn read_limited(path: &Path) -> Result<String, ReadError> {
    let io_error = |error| ReadError::Io {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    // One byte more tells a file of just the limit from a larger one, also where the size is not
    // known: pipes.
    let file = File::open(path).map_err(io_error)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        ReadError::NotUtf8 {
            path: path.to_owned(),
            line,
        }
    })
}

/// Parses a job, or says what in it is not TOML.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    if text.len() as u64 > LARGEST {
        return Err(vec![Problem::error(
            Location::default(),
            "larger than 1 MiB, so this is not a job file",
        )]);
    }
    if let Some((span, message)) = bounds::exceeded(text) {
        let location = Location::new("", Some(span));
        return Err(vec![Problem::error(location, message)]);
    }
    let (parsed, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::problems(text, &errors));
    }
    let mut problems = Vec::new();
    let table = Table::from_parsed(parsed.into_inner(), &mut problems);
    match problems.is_empty() {
        true => Ok(Node::new(Value::Table(table), Origin::Nowhere)),
        false => Err(problems),
    }
}

/// Parses a single value, or returns `None` when it is not one.
pub(super) fn parse_value(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    if text.len() as u64 > LARGEST || bounds::exceeded(text).is_some() {
        return None;
    }
    let parsed = DeValue::parse(text).ok()?;
    Some(Node::from_parsed(parsed, problems))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::{parse, read_limited};

    #[test]
    fn a_huge_file_is_refused_unread() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.as_file().set_len(100 << 20).expect("a sparse file");
        let start = Instant::now();
        let error = read_limited(file.path())
            .expect_err("must be refused")
            .to_string();
        assert!(
            error.ends_with(": larger than 1 MiB, so this is not a job file"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_millis(100));
        file.as_file().set_len(0).expect("truncate");
        file.write_all(b"a = 1\nb = \"\xff\"\n").expect("write");
        let error = read_limited(file.path())
            .expect_err("must be refused")
            .to_string();
        assert!(error.ends_with(":2: not UTF-8 text"), "{error}");
    }

    #[test]
    fn no_depth_overflows_the_stack() {
        let deep = 300_000;
        for text in [
            format!("{}a = 1", "a.".repeat(deep)),
            format!("[{}a]", "a.".repeat(deep)),
            format!("[[{}a]]", "a.".repeat(deep)),
            format!("a = {}", "[".repeat(deep)),
            format!("a = {}", "{a=".repeat(deep)),
            format!("a = {}1", "{a.a.a.a.a.a=[".repeat(deep / 5)),
            format!("[a{}]\n{}a = 1", ".a".repeat(40), "a.".repeat(40)),
        ] {
            let problems = parse(&text).expect_err("must be refused");
            assert_eq!(
                problems[0].message,
                "more than 64 levels of tables and arrays"
            );
        }
        let numbers = format!(
            "a = [{}]\nb = [{}]",
            "1.5, ".repeat(1000),
            "[1.5], ".repeat(1000)
        );
        assert!(parse(&numbers).is_ok());
    }
}
