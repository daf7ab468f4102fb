//! A job as a tree of values, each with the place that it was written in.
//!
//! The parser's own tree borrows the text, sorts its keys and has no room for values from
//! elsewhere. This one owns what it holds, keeps the order of the file, and takes `--set` values
//! and variables in.
//!
//! What must stay true: it is at most [`DEEPEST`] levels deep, so that whoever walks it may
//! recurse.

use std::collections::HashMap;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::location::{Location, Origin, join, push};
use super::problem::Problem;

/// Jobs are three or four levels deep.
pub(super) const DEEPEST: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Whether a variable went into this string. Then it may also be read as a number or a truth
    /// value.
    pub(super) substituted: bool,
}

/// What TOML knows.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// 64 bits, signed or not.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// As it was written; who wants a date parses it.
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// What is wrong with it has been reported, so nobody may complain of it.
    Broken,
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) node: Node,
}

/// Where a value stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    /// The places of its elements, if it is an array: a path for each would take much memory.
    pub(super) elements: Vec<Origin>,
}

/// A step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    pub(super) fn new(value: Value, origin: Origin) -> Self {
        Self {
            value,
            origin,
            substituted: false,
        }
    }

    /// The tree of what the parser read; numbers that do not fit into 64 bits become problems.
    pub(super) fn from_parsed(parsed: Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Self {
        let span = parsed.span();
        let value = match parsed.into_inner() {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(integer) => {
                let value = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                let fits =
                    |value: &i128| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(value);
                Value::Integer(value.filter(fits).unwrap_or_else(|| {
                    let message = "this number does not fit into 64 bits";
                    problems.push(Problem::error(
                        Location::new("", Some(span.clone())),
                        message,
                    ));
                    0
                }))
            }
            DeValue::Float(float) => {
                let value: f64 = float.as_str().parse().unwrap_or(f64::INFINITY);
                if value.is_infinite() && !float.as_str().contains("inf") {
                    let message = "this number is too large";
                    problems.push(Problem::error(
                        Location::new("", Some(span.clone())),
                        message,
                    ));
                }
                Value::Float(value)
            }
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(value) => Value::Datetime(value.to_string()),
            DeValue::Array(array) => Value::Array(
                array
                    .into_iter()
                    .map(|element| Self::from_parsed(element, problems))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(Table::from_parsed(table, problems)),
        };
        Self::new(value, Origin::Text(span))
    }

    /// What a message calls it.
    pub(super) fn describe(&self) -> String {
        /// A whole novel would drown the message.
        const LONGEST: usize = 60;
        match &self.value {
            Value::String(text) if text.chars().count() > LONGEST => {
                let start: String = text.chars().take(LONGEST).collect();
                format!("string {:?}", format!("{start}…"))
            }
            Value::String(text) => format!("string {text:?}"),
            Value::Integer(value) => format!("integer {value}"),
            Value::Float(value) => format!("float {value:?}"),
            Value::Boolean(value) => format!("boolean {value}"),
            Value::Datetime(text) => format!("date {text}"),
            Value::Array(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Broken => "nothing".to_owned(),
        }
    }

    /// The value that the steps lead to, and its path below `path`.
    pub(super) fn follow(&self, path: &str, steps: &[Step]) -> Option<(&Self, String)> {
        let mut node = self;
        let mut path = path.to_owned();
        for step in steps {
            (node, path) = match (&node.value, step) {
                (Value::Table(table), Step::Key(key)) => (&table.get(key)?.node, join(&path, key)),
                (Value::Array(array), Step::Index(index)) => {
                    (array.get(*index)?, format!("{path}[{index}]"))
                }
                _ => return None,
            };
        }
        Some((node, path))
    }

    /// Calls `visit` with every string below `path`, and with its path.
    pub(super) fn each_string(
        &mut self,
        path: &mut String,
        visit: &mut dyn FnMut(&mut Self, &str),
    ) {
        let length = path.len();
        match &mut self.value {
            Value::String(_) => visit(self, path),
            Value::Array(array) => {
                for (index, element) in array.iter_mut().enumerate() {
                    let _ = write!(path, "[{index}]");
                    element.each_string(path, visit);
                    path.truncate(length);
                }
            }
            Value::Table(table) => {
                for entry in &mut table.entries {
                    push(path, &entry.key);
                    entry.node.each_string(path, visit);
                    path.truncate(length);
                }
            }
            Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Broken => {}
        }
    }

    /// Notes where every key below `path` is.
    pub(super) fn places(&self, path: &mut String, into: &mut HashMap<String, Place>) {
        let length = path.len();
        match &self.value {
            Value::Table(table) => {
                for entry in table.iter() {
                    push(path, &entry.key);
                    entry.node.places(path, into);
                    into.insert(path.clone(), entry.node.place());
                    path.truncate(length);
                }
            }
            Value::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    if let Value::Table(_) | Value::Array(_) = &element.value {
                        let _ = write!(path, "[{index}]");
                        element.places(path, into);
                        into.insert(path.clone(), element.place());
                        path.truncate(length);
                    }
                }
            }
            _ => {}
        }
    }

    fn place(&self) -> Place {
        let elements = match &self.value {
            Value::Array(array) => array.as_slice(),
            _ => &[],
        };
        Place {
            origin: self.origin.clone(),
            elements: elements.iter().map(|node| node.origin.clone()).collect(),
        }
    }
}

impl Table {
    pub(super) fn from_parsed(parsed: DeTable<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut parsed: Vec<_> = parsed.into_iter().collect();
        parsed.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (Spanned<_>, _)| Entry {
            key_origin: Origin::Text(key.span()),
            key: String::from(key.into_inner()),
            node: Node::from_parsed(value, problems),
        };
        Self {
            entries: parsed.into_iter().map(entry).collect(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    pub(super) fn nth_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }

    /// Takes the value of `key` out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Puts the entry at the end. The key must not be there yet.
    pub(super) fn push(&mut self, entry: Entry) -> &mut Entry {
        self.entries.push(entry);
        let last = self.entries.len() - 1;
        &mut self.entries[last]
    }
}

impl IntoIterator for Table {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
