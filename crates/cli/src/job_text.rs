//! The text of a job, written so that a person can go on with it.
//!
//! One thing must stay true: a string that is put in comes out of the loader as the same string, whatever is in it.

use std::fmt::Write;

use serde::Serialize;
use toml::Value;

use crate::escape::acts;

/// Columns that a line has at the most, if its value can be broken.
const WIDTH: usize = 100;

/// A job under construction: its tables in order.
#[derive(Debug, Default)]
pub(crate) struct JobText {
    tables: Vec<Table>,
}

/// One `[table]` with a comment above it.
#[derive(Debug)]
struct Table {
    path: Vec<String>,
    about: &'static str,
    keys: Vec<(String, Value)>,
}

/// Adds keys to a stage.
pub(crate) struct StageText<'j> {
    table: &'j mut Table,
}

impl JobText {
    /// Starts the next stage.
    pub(crate) fn stage(&mut self, name: &str, kind: &str, about: &'static str) -> StageText<'_> {
        let path = vec!["stages".to_owned(), name.to_owned()];
        let table = self.table(path);
        table.about = about;
        StageText { table }.key("type", kind)
    }

    /// The table at a path, which is added if it is not there.
    fn table(&mut self, path: Vec<String>) -> &mut Table {
        let at = self.tables.iter().position(|table| table.path == path);
        let at = at.unwrap_or_else(|| {
            let table = Table {
                path,
                about: "",
                keys: Vec::new(),
            };
            // What is not a stage goes before the stages.
            let at = match table.path.first().is_some_and(|first| first == "stages") {
                true => self.tables.len(),
                false => 0,
            };
            self.tables.insert(at, table);
            at
        });
        &mut self.tables[at]
    }

    /// Writes an assignment of `--set` into the job. It must be one that the loader has taken.
    pub(crate) fn set(&mut self, argument: &str) {
        let parsed = argument.parse::<toml::Table>().or_else(|_| {
            // As for the loader, what is no TOML is a string.
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            format!("{key} = {}", Value::from(value.trim())).parse::<toml::Table>()
        });
        for (key, value) in parsed.unwrap_or_default() {
            self.merge(vec![key], value);
        }
    }

    fn merge(&mut self, path: Vec<String>, value: Value) {
        let depth = match path[0].as_str() {
            "stages" => 2,
            _ => 1,
        };
        match value {
            Value::Table(table) if path.len() < depth => {
                for (key, value) in table {
                    let mut path = path.clone();
                    path.push(key);
                    self.merge(path, value);
                }
            }
            Value::Table(new) => {
                let table = self.table(path);
                for (key, value) in new {
                    table.set(&key, value);
                }
            }
            // The loader takes no such thing.
            _ => {}
        }
    }

    /// The text.
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        for table in &self.tables {
            if !out.is_empty() {
                out.push('\n');
            }
            if !table.about.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "# {}", table.about);
            }
            let path: Vec<String> = table.path.iter().map(|part| key(part)).collect();
            let _ = writeln!(out, "[{}]", path.join("."));
            for (name, value) in &table.keys {
                let _ = writeln!(out, "{}", assignment(&key(name), value));
            }
        }
        out
    }
}

impl Table {
    fn set(&mut self, key: &str, value: Value) {
        let known = self.keys.iter_mut().find(|(known, _)| known == key);
        match (known, value) {
            (Some((_, Value::Table(old))), Value::Table(new)) => old.extend(new),
            (Some((_, old)), value) => *old = value,
            (None, value) => self.keys.push((key.to_owned(), value)),
        }
    }
}

impl StageText<'_> {
    /// Adds a key. Text in the value stands for itself, also where it looks like a variable.
    pub(crate) fn key(self, key: &str, value: impl Serialize) -> Self {
        // Strings, numbers, lists and paths always have a form in TOML.
        if let Ok(value) = Value::try_from(value) {
            self.table.set(key, literal(value));
        }
        self
    }

    /// Adds a key if there is a value.
    pub(crate) fn maybe(self, key: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.key(key, value),
            None => self,
        }
    }

    /// Adds a switch if it is on.
    pub(crate) fn flag(self, key: &str, on: bool) -> Self {
        self.maybe(key, on.then_some(true))
    }

    /// Adds a list if there is anything in it.
    pub(crate) fn list(self, key: &str, values: &[impl Serialize]) -> Self {
        self.maybe(key, (!values.is_empty()).then_some(values))
    }
}

/// The value with all that would be taken for a variable written so that it is not.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Array(values) => Value::Array(values.into_iter().map(literal).collect()),
        Value::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| (key, literal(value)))
                .collect(),
        ),
        other => other,
    }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => text(&Value::from(name)),
    }
}

/// A value as TOML. What acts on terminals is written as an escape, so that a job can be looked at.
fn text(value: &Value) -> String {
    match value {
        Value::String(string) if string.contains(acts) => {
            let mut out = String::from("\"");
            for character in string.chars() {
                match character {
                    '"' | '\\' => out.extend(['\\', character]),
                    _ if character.is_control() || acts(character) => {
                        out.push_str(&format!("\\u{:04X}", u32::from(character)));
                    }
                    _ => out.push(character),
                }
            }
            out.push('"');
            out
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(text).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Table(table) => {
            let entries = table
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), text(value)));
            match entries.collect::<Vec<String>>() {
                entries if entries.is_empty() => "{}".to_owned(),
                entries => format!("{{ {} }}", entries.join(", ")),
            }
        }
        value => value.to_string(),
    }
}

fn assignment(key: &str, value: &Value) -> String {
    let line = format!("{key} = {}", text(value));
    match value {
        Value::Array(values) if line.chars().count() > WIDTH => {
            let values: Vec<String> = values
                .iter()
                .map(|value| format!("    {},\n", text(value)))
                .collect();
            format!("{key} = [\n{}]", values.concat())
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(build: impl FnOnce(&mut JobText)) -> String {
        let mut job = JobText::default();
        build(&mut job);
        job.write()
    }

    #[test]
    fn stages_are_written_with_what_was_said_of_them() {
        let text = text(|job| {
            job.stage("walk", "enumerate", "Reads names.")
                .list("roots", &["/data"])
                .flag("one_file_system", false)
                .maybe("max_depth", Some(3));
            job.stage("out", "jsonl", "").key("path", "-");
        });
        assert_eq!(
            text,
            "# Reads names.\n[stages.walk]\ntype = \"enumerate\"\nroots = [\"/data\"]\nmax_depth = 3\n\n\
             [stages.out]\ntype = \"jsonl\"\npath = \"-\"\n"
        );
    }

    #[test]
    fn strings_stand_for_themselves() {
        for string in [
            "${HOME}",
            "$${x}",
            "$$${",
            "a\"b\\c\n\u{1b}'''",
            "\u{1b}\"\\\n\u{7f}\u{9b}\u{202e}",
            "#[x]",
            "",
        ] {
            let text = text(|job| {
                job.stage("a", "b", "").key("path", string);
            });
            assert!(!text.contains(acts), "{text:?}");
            let parsed: toml::Table = text.parse().unwrap();
            let read = parsed["stages"]["a"]["path"].as_str().unwrap();
            // What the loader makes of a dollar that is doubled.
            assert_eq!(read.replace("$${", "${"), string, "{text}");
        }
    }

    #[test]
    fn long_lists_are_broken() {
        let patterns = vec!["x".repeat(40); 3];
        let text = text(|job| {
            job.stage("a", "b", "").list("exclude", &patterns);
        });
        assert!(text.lines().all(|line| line.len() < WIDTH), "{text}");
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(
            parsed["stages"]["a"]["exclude"].as_array().unwrap().len(),
            3
        );
    }

    #[test]
    fn assignments_are_written_in() {
        let text = text(|job| {
            job.stage("meta", "stat", "").key("threads", 2);
            for set in [
                "stages.meta.threads=8",
                "stages.meta.backend=statx",
                "pipeline.capacity=4",
                "stages.\"meta\".inputs.old=\"a\"",
                "stages.out = { type = \"null\" }",
            ] {
                job.set(set);
            }
        });
        assert_eq!(
            text,
            "[pipeline]\ncapacity = 4\n\n\
             [stages.meta]\ntype = \"stat\"\nthreads = 8\nbackend = \"statx\"\ninputs = { old = \"a\" }\n\n\
             [stages.out]\ntype = \"null\"\n"
        );
    }
}
