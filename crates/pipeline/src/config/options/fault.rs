//! What serde found wrong, where, and in the words of a user.
//!
//! serde's own message (`invalid type: string "x", expected u64`) speaks to whoever wrote the type.
//! Here its parts are kept apart and put together anew beside the value that was found.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::suggest;
use crate::config::tree::{Node, Step, Value};
use crate::quantity::{ByteSize, Period};

/// The first thing that a pass stumbled over.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The way to the value, known once the error has come out of it.
    pub(super) steps: Option<Vec<Step>>,
    /// Whether there is nothing to tell: the value is a stand-in, or has been reported before.
    pub(super) is_silent: bool,
}

/// What can be wrong with a value.
#[derive(Debug)]
pub(super) enum FaultKind {
    /// Another type or range was wanted: `u64`, `a size such as "64MiB"`.
    Expected(String),
    /// None of these is this text.
    NoSuchVariant(&'static [&'static str]),
    /// The table lacks this key.
    Missing(&'static str),
    /// The key is none of these: said by types that refuse others and are not read as structs.
    UnknownKey(&'static [&'static str]),
    /// What the type itself said.
    Custom(String),
}

impl Fault {
    pub(super) fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            steps: None,
            is_silent: false,
        }
    }

    /// For a value that is none of the user's doing, or has been reported before.
    pub(super) fn silent() -> Self {
        let kind = FaultKind::Custom("there is no value".to_owned());
        Self {
            is_silent: true,
            ..Self::new(kind)
        }
    }

    /// Notes where the value is, unless something further in has.
    pub(super) fn at(mut self, trail: Trail<'_>) -> Self {
        self.steps.get_or_insert_with(|| trail.steps());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Expected(expected) => write!(f, "expected {expected}"),
            FaultKind::NoSuchVariant(known) => write!(f, "expected one of {}", known.join(", ")),
            FaultKind::Missing(field) => write!(f, "missing key {field:?}"),
            FaultKind::UnknownKey(known) => write!(f, "known keys: {}", known.join(", ")),
            FaultKind::Custom(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(FaultKind::Custom(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(FaultKind::Expected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(FaultKind::Expected(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(FaultKind::Expected(expected.to_string()))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(FaultKind::NoSuchVariant(known))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownKey(known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(FaultKind::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        // TOML has no key twice, but a field may go by two names.
        Self::custom(format_args!("{field:?} is set twice, under two names"))
    }
}

/// The way from the root to a value, kept on the stack until somebody asks.
#[derive(Clone, Copy)]
pub(super) enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut trail = self;
        loop {
            trail = match trail {
                Trail::Root => break,
                Trail::Key(before, key) => {
                    steps.push(Step::Key((*key).to_owned()));
                    before
                }
                Trail::Index(before, index) => {
                    steps.push(Step::Index(*index));
                    before
                }
            };
        }
        steps.reverse();
        steps
    }
}

const WHOLE: &str = "a whole number";

/// So many alternatives are told also where one is near.
const FEW: usize = 6;

/// The message and the help for a fault in `found`.
pub(super) fn wording(kind: &FaultKind, found: &Node) -> (String, Option<String>) {
    match kind {
        FaultKind::Missing(field) => (format!("missing key {field:?}"), None),
        FaultKind::UnknownKey(known) => (
            "this key is not known".to_owned(),
            Some(format!("known keys: {}", known.join(", "))),
        ),
        FaultKind::Custom(message) if message.starts_with("data did not match any variant") => (
            format!(
                "{} is none of the forms that this key takes",
                found.describe()
            ),
            None,
        ),
        FaultKind::Custom(message) => (message.clone(), None),
        FaultKind::NoSuchVariant(known) => {
            let near = match &found.value {
                Value::String(text) => suggest::closest(text, known.iter().copied()),
                _ => None,
            };
            let message = match (&found.value, near) {
                // Who sees what was meant needn't see all that could be.
                (Value::String(text), Some(_)) if known.len() > FEW => {
                    format!("unknown value {text:?}")
                }
                (Value::String(_) | Value::Table(_), _) => format!(
                    "expected {}, found {}",
                    alternatives(known),
                    found.describe()
                ),
                _ if known.len() > FEW => format!(
                    "expected a name such as {:?}, found {}",
                    known[0],
                    found.describe()
                ),
                _ => format!(
                    "expected {}, found {}",
                    alternatives(known),
                    found.describe()
                ),
            };
            (message, near.map(|near| format!("did you mean {near:?}?")))
        }
        FaultKind::Expected(expected) => {
            let mut wanted = in_plain_words(expected);
            if wanted.starts_with(WHOLE) && !matches!(found.value, Value::Integer(_)) {
                // The range is of no interest before it is a number.
                wanted.truncate(WHOLE.len());
            }
            if let (Value::Array(array), true) = (&found.value, wanted.ends_with(" values")) {
                return (format!("expected {wanted}, found {}", array.len()), None);
            }
            (
                format!("expected {wanted}, found {}", found.describe()),
                remedy(&wanted, found),
            )
        }
    }
}

/// `"a"`, `"a" or "b"`, `one of "a", "b", "c"`.
fn alternatives(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        many => format!("one of {}", many.join(", ")),
    }
}

/// What serde and the standard types say they expect, as a user would.
fn in_plain_words(expected: &str) -> String {
    let range = |low: i128, high: i128| format!("{WHOLE} from {low} to {high}");
    let from = |low: i128| format!("{WHOLE} of at least {low}");
    match expected {
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" | "u128" | "usize" => from(0),
        "i8" => range(i8::MIN.into(), i8::MAX.into()),
        "i16" => range(i16::MIN.into(), i16::MAX.into()),
        "i32" => range(i32::MIN.into(), i32::MAX.into()),
        "i64" | "i128" | "isize" | "integer" => WHOLE.to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "path string" | "string" | "a borrowed string" => "a string".to_owned(),
        "a character" => "a string of one character".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        _ if expected.starts_with("a nonzero u") => from(1),
        _ if expected.starts_with("a nonzero i") => format!("{WHOLE} other than 0"),
        _ if expected.starts_with("struct ") && !expected.contains(" with ") => {
            "a table".to_owned()
        }
        _ if expected.starts_with("internally tagged ") => "a table".to_owned(),
        _ => match length(expected) {
            Some(count) => format!("an array of {count} values"),
            None => expected.to_owned(),
        },
    }
}

/// How many values a tuple or an array of fixed length wants.
fn length(expected: &str) -> Option<&str> {
    let count = expected
        .strip_prefix("a tuple of size ")
        .or_else(|| expected.strip_prefix("an array of length "))
        .or_else(|| expected.strip_prefix("an array of size "))
        .or_else(|| {
            expected
                .split_once(" with ")?
                .1
                .split_once(" element")
                .map(|(count, _)| count)
        })?;
    count
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(count)
}

/// What to write, where the value that was found shows what was meant.
fn remedy(wanted: &str, found: &Node) -> Option<String> {
    let whole = wanted.starts_with(WHOLE);
    match &found.value {
        Value::Integer(value) if wanted == ByteSize::EXPECTED && *value >= 0 => Some(format!(
            "write the unit, as in \"{value}MiB\", or \"{value}B\" for bytes"
        )),
        Value::Integer(value) if wanted == Period::EXPECTED && *value >= 0 => Some(format!(
            "write the unit, as in \"{value}s\" or \"{value}ms\""
        )),
        Value::Float(value) if wanted == Period::EXPECTED && *value >= 0.0 => {
            Some(format!("write the unit, as in \"{value:?}s\""))
        }
        Value::Float(value) if wanted == ByteSize::EXPECTED && *value >= 0.0 => {
            Some(format!("write the unit, as in \"{value:?}MiB\""))
        }
        Value::String(text) if whole && text.parse::<i128>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        Value::String(text) if wanted == "a number" && text.parse::<f64>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        Value::String(text) if wanted == "true or false" && matches!(&**text, "true" | "false") => {
            Some("write it without quotes".to_owned())
        }
        Value::String(text) if wanted == "an array" => Some(format!("write [{text:?}]")),
        Value::Float(value) if whole && value.fract() == 0.0 && value.abs() < 1e15 => {
            Some(format!("write {value:.0}"))
        }
        Value::Integer(value) if wanted == "a string" => Some(format!("write \"{value}\"")),
        Value::Float(value) if wanted == "a string" => Some(format!("write \"{value:?}\"")),
        Value::Boolean(value) if wanted == "a string" => Some(format!("write \"{value}\"")),
        _ => None,
    }
}
