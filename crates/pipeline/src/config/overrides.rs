//! `--set stages.meta.threads=8`: values from the command line.
//!
//! They go into the tree before anything interprets it, so that they are checked like values of the
//! file.
//!
//! What must stay true: a problem with such a value names the argument and not a line of the file.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::document::parse_value;
use super::location::{Location, Origin, join};
use super::problem::Problem;
use super::tree::{DEEPEST, Entry, Node, Table, Value};

/// Applies `KEY.PATH=VALUE` to the tree.
///
/// The value is TOML, or a string when it is not: `--set stages.out.path=/tmp/x` needs no quotes
/// inside those of the shell. Tables on the way that aren't there are made.
pub(super) fn apply(root: &mut Node, argument: &str) -> Result<(), Problem> {
    let set: Arc<str> = argument.into();
    let origin = Origin::Override(set);
    let problem = |message: String| {
        Problem::error(
            Location::with_origin(String::new(), origin.clone()),
            message,
        )
    };
    let (key, value) = split(argument)
        .ok_or_else(|| problem("there is no `=`".to_owned()).help("write KEY=VALUE"))?;
    let keys = keys(key).ok_or_else(|| {
        problem(format!("{key:?} is not the path of a key"))
            .help("write it like `stages.walk.threads=2`")
    })?;
    let value = parse(value, &origin).map_err(problem)?;
    let mut table = match &mut root.value {
        Value::Table(table) => table,
        _ => return Err(problem("the job is no table".to_owned())),
    };
    let mut path = String::new();
    let (last, tables) = keys
        .split_last()
        .ok_or_else(|| problem("there is no key".to_owned()))?;
    for key in tables {
        path = join(&path, key);
        let entry = table_of(table, key, &origin);
        let found = entry.node.describe();
        table = match &mut entry.node.value {
            Value::Table(table) => table,
            _ => return Err(problem(format!("{path} is not a table: it holds {found}"))),
        };
    }
    let node = stamped(value, &origin);
    match table.get_mut(last) {
        Some(entry) => entry.node = node,
        None => drop(table.push(Entry {
            key: last.clone(),
            key_origin: origin,
            node,
        })),
    }
    Ok(())
}

/// The entry of `key`, which is a new empty table when there was none.
fn table_of<'t>(table: &'t mut Table, key: &str, origin: &Origin) -> &'t mut Entry {
    let at = table.iter().position(|entry| entry.key == key);
    match at {
        Some(at) => table.nth_mut(at),
        None => {
            let node = Node::new(Value::Table(Table::default()), origin.clone());
            table.push(Entry {
                key: key.to_owned(),
                key_origin: origin.clone(),
                node,
            })
        }
    }
}

/// The key path and the value, at the first `=` that stands in no quotes.
fn split(argument: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = argument.char_indices().find(|(_, character)| {
        match (quote, character) {
            (None, '=') => return true,
            (None, '"' | '\'') => quote = Some(*character),
            (Some(open), close) if open == *close => quote = None,
            _ => {}
        }
        false
    });
    at.map(|(at, _)| (argument[..at].trim(), argument[at + 1..].trim()))
}

/// The keys of a path, which TOML itself takes apart: `a."b.c"` has two.
fn keys(path: &str) -> Option<Vec<String>> {
    if path.contains(['\n', '#', '=', '[']) && !path.contains(['"', '\''])
        || path.matches('.').count() >= DEEPEST
    {
        return None;
    }
    let text = format!("{path} = 0");
    let mut keys = Vec::new();
    let mut table = DeTable::parse(&text).ok()?.into_inner();
    loop {
        let mut entries = table.into_iter();
        let (key, value) = entries.next()?;
        keys.push(key.into_inner().into_owned());
        table = match (value.into_inner(), entries.next()) {
            (DeValue::Table(table), None) => table,
            (DeValue::Integer(_), None) => return Some(keys),
            _ => return None,
        };
    }
}

/// The value, or the string that it is when it is no TOML.
fn parse(value: &str, origin: &Origin) -> Result<Node, String> {
    let mut problems = Vec::new();
    let parsed = parse_value(value, &mut problems);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem.message);
    }
    match parsed {
        Some(node) => Ok(node),
        None if value.starts_with(['"', '\'', '[', '{']) => {
            Err(format!("{value:?} is not a TOML value"))
        }
        None => Ok(Node::new(Value::String(value.to_owned()), origin.clone())),
    }
}

/// The value with the argument as its place everywhere, for its spans are of another text.
fn stamped(mut node: Node, origin: &Origin) -> Node {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Array(array) => {
            let elements = std::mem::take(array).into_iter();
            *array = elements.map(|element| stamped(element, origin)).collect();
        }
        Value::Table(table) => {
            let entries = std::mem::take(table).into_iter();
            for entry in entries {
                table.push(Entry {
                    key: entry.key,
                    key_origin: origin.clone(),
                    node: stamped(entry.node, origin),
                });
            }
        }
        _ => {}
    }
    node
}
