//! `list` and `describe`: the kinds of stages, from what they themselves declare.
//!
//! One thing must stay true: nothing about a kind is written here. What is told comes from its ports and its schema.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use statline_pipeline::{
    DEFAULT_INPUT, DEFAULT_OUTPUT, KindInfo, PipelineSettings, PortInfo, Threading,
};

use crate::args::{DescribeArguments, ListArguments, TextFormat};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::table::{Align, Table};
use crate::terminal::{Palette, Terminal};

/// The version of the form of kinds as JSON.
const SCHEMA: u32 = 1;

/// Columns of a line of description.
const WIDTH: usize = 96;

/// A kind as JSON.
#[derive(Serialize)]
struct Described {
    name: String,
    about: &'static str,
    inputs: Vec<DescribedPort>,
    outputs: Vec<DescribedPort>,
    parallel: bool,
    /// Whether it can vary its number of threads.
    adaptive: bool,
    /// As a JSON schema.
    options: schemars::Schema,
}

#[derive(Serialize)]
struct DescribedPort {
    name: &'static str,
    messages: Vec<&'static str>,
}

impl From<KindInfo> for Described {
    fn from(kind: KindInfo) -> Described {
        let ports = |ports: Vec<PortInfo>| {
            let ports = ports.into_iter().map(|port| DescribedPort {
                name: port.name,
                messages: port.messages,
            });
            ports.collect()
        };
        Described {
            name: kind.name,
            about: kind.about,
            inputs: ports(kind.inputs),
            outputs: ports(kind.outputs),
            parallel: kind.threading != Threading::Single,
            adaptive: kind.threading == Threading::Adaptive,
            options: kind.options,
        }
    }
}

pub(crate) fn list(arguments: &ListArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let registry = load::registry();
    if arguments.format == TextFormat::Json {
        let kinds: Vec<Described> = registry.kinds().map(Described::from).collect();
        terminal.print_json(&serde_json::json!({ "schema": SCHEMA, "kinds": kinds }))?;
        return Ok(Exit::Complete);
    }
    let kinds: Vec<KindInfo> = registry.kinds().collect();
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    // In the order in which messages meet them.
    for role in ["source", "between", "end"] {
        for kind in kinds.iter().filter(|kind| self::role(kind) == role) {
            table.row([kind.name.clone(), role.to_owned(), kind.about.to_owned()]);
        }
    }
    terminal.print(table.render(terminal.palette()).as_bytes())?;
    Ok(Exit::Complete)
}

/// Where in a graph a kind can stand.
fn role(kind: &KindInfo) -> &'static str {
    match (kind.inputs.is_empty(), kind.outputs.is_empty()) {
        (true, _) => "source",
        (false, false) => "between",
        (false, true) => "end",
    }
}

pub(crate) fn describe(arguments: &DescribeArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let registry = load::registry();
    let Some(kind) = registry.kind(&arguments.kind) else {
        let known: Vec<String> = registry.kinds().map(|kind| kind.name).collect();
        return Err(Failure::usage(format!(
            "no stage type is called {:?}; there are {}",
            arguments.kind,
            known.join(", ")
        )));
    };
    match arguments.format {
        TextFormat::Json => {
            let described = Described::from(kind);
            terminal.print_json(&serde_json::json!({ "schema": SCHEMA, "kind": described }))?;
        }
        TextFormat::Text => terminal.print(text(&kind, terminal.palette()).as_bytes())?,
    }
    Ok(Exit::Complete)
}

fn text(kind: &KindInfo, palette: Palette) -> String {
    let Palette { bold, reset, .. } = palette;
    let mut out = format!("{bold}{}{reset}: {}\n", kind.name, kind.about);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  takes  {}", ports(&kind.inputs, DEFAULT_INPUT));
    let _ = writeln!(out, "  sends  {}", ports(&kind.outputs, DEFAULT_OUTPUT));
    let threads = match kind.threading {
        Threading::Single => "one",
        Threading::Parallel => "as many as it is given; several give up the order",
        Threading::Adaptive => {
            "as many as it is given, or as pay between bounds; several give up the order"
        }
    };
    let _ = writeln!(out, "  threads  {threads}");
    let schema = Schema::new(kind.options.as_value());
    let options = schema.options();
    if options.is_empty() {
        let _ = writeln!(out, "\nIt has no options of its own.");
    } else {
        let _ = writeln!(out, "\n{bold}options{reset}");
        options
            .iter()
            .for_each(|option| option.write(&mut out, palette));
    }
    let _ = writeln!(out, "\n{bold}options of every stage{reset}");
    for option in framework(kind) {
        option.write(&mut out, palette);
    }
    out
}

fn ports(ports: &[PortInfo], usual: &str) -> String {
    if ports.is_empty() {
        return "nothing".to_owned();
    }
    let ports: Vec<String> = ports
        .iter()
        .map(|port| {
            let messages = port.messages.join(" or ");
            match port.name == usual {
                true => messages,
                false => format!("{messages} ({})", port.name),
            }
        })
        .collect();
    ports.join(", ")
}

/// An option as it is shown.
struct OptionText {
    name: String,
    kind: String,
    /// As TOML; `None` if there must be a value.
    default: Option<String>,
    about: String,
}

impl OptionText {
    fn write(&self, out: &mut String, palette: Palette) {
        let Palette {
            bold, dim, reset, ..
        } = palette;
        let default = match self.default.as_deref() {
            None => "required".to_owned(),
            Some("") => "not set by default".to_owned(),
            Some(default) => format!("default {default}"),
        };
        let what = format!("{}: {} ({default})", self.name, self.kind);
        for (index, line) in wrap(&what, WIDTH - 2).iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = match line.strip_prefix(&self.name) {
                Some(rest) if index == 0 => {
                    writeln!(out, "  {bold}{}{reset}{dim}{rest}{reset}", self.name)
                }
                _ => writeln!(out, "  {dim}{line}{reset}"),
            };
        }
        for line in wrap(&self.about, WIDTH - 6) {
            let _ = writeln!(out, "      {line}");
        }
    }
}

/// What the framework reads of a stage itself. The defaults are those of its settings.
fn framework(kind: &KindInfo) -> Vec<OptionText> {
    let settings = PipelineSettings::default();
    let option = |name: &str, kind: &str, default: String, about: &str| OptionText {
        name: name.to_owned(),
        kind: kind.to_owned(),
        default: Some(default),
        about: about.to_owned(),
    };
    let mut options = vec![OptionText {
        name: "type".to_owned(),
        kind: format!("{:?}", kind.name),
        default: None,
        about: "The type of the stage.".to_owned(),
    }];
    if !kind.inputs.is_empty() {
        options.push(OptionText {
            name: "inputs".to_owned(),
            kind: "list of outputs, or a table of such lists by input port".to_owned(),
            default: None,
            about: "What the stage reads: the names of stages, or of one of their ports, such as \"walk.errors\"."
                .to_owned(),
        });
        options.push(option(
            "capacity",
            "number of messages, 1 to 65536",
            format!("{}, or that of [pipeline]", settings.capacity),
            "How many messages may wait in front of the stage.",
        ));
        options.push(option(
            "capacity_bytes",
            "size such as \"8MiB\", 1KiB to 1GiB",
            format!("\"{}\", or that of [pipeline]", settings.capacity_bytes),
            "How much memory they may take.",
        ));
    }
    let threads = match kind.threading {
        Threading::Single => None,
        Threading::Parallel => Some("\"auto\", or a number from 1 to 512"),
        Threading::Adaptive => {
            Some("\"auto\", a number from 1 to 512, or bounds such as { min = 2, max = 64 }")
        }
    };
    if let Some(threads) = threads {
        options.push(option(
            "threads",
            threads,
            "\"auto\"".to_owned(),
            "On how many threads the stage works.",
        ));
    }
    options.push(option(
        "accept",
        "list of error codes such as \"EACCES\"",
        "[]".to_owned(),
        "Errors that leave the run complete; they are counted apart.",
    ));
    options
}

/// A JSON schema of options.
struct Schema<'s> {
    root: &'s Value,
}

impl<'s> Schema<'s> {
    fn new(root: &'s Value) -> Schema<'s> {
        Schema { root }
    }

    /// In the order in which the kind declares them.
    fn options(&self) -> Vec<OptionText> {
        let Some(properties) = self.root["properties"].as_object() else {
            return Vec::new();
        };
        let required = |name: &str| {
            let required = self.root["required"].as_array();
            required.is_some_and(|required| required.iter().any(|known| known == name))
        };
        let properties = properties.iter();
        let mut options: Vec<OptionText> = properties
            .map(|(name, schema)| OptionText {
                name: name.clone(),
                kind: self.kind(schema),
                default: (!required(name)).then(|| default(&schema["default"])),
                about: self.about(schema),
            })
            .collect();
        options.sort_by_key(|option| option.default.is_some());
        options
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let target = schema["$ref"].as_str();
        let target = target.and_then(|target| target.strip_prefix('#'));
        target
            .and_then(|target| self.root.pointer(target))
            .unwrap_or(schema)
    }

    /// What is said of an option itself, or else of its type.
    fn about(&self, schema: &'s Value) -> String {
        let about = schema["description"].as_str();
        let about = about.or_else(|| self.resolve(schema)["description"].as_str());
        // Paragraphs run on, and links of the documentation are of no use here.
        about
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A type in words.
    fn kind(&self, schema: &'s Value) -> String {
        let schema = self.resolve(schema);
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return one_of(&values);
        }
        if !schema["const"].is_null() {
            return schema["const"].to_string();
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let choices = choices.iter().filter(|choice| choice["type"] != "null");
                let choices: Vec<String> = choices.map(|choice| self.kind(choice)).collect();
                return one_of(&choices);
            }
        }
        match &schema["type"] {
            Value::String(kind) => self.plain(schema, kind),
            Value::Array(kinds) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                let kinds = kinds.filter(|kind| *kind != "null");
                one_of(
                    &kinds
                        .map(|kind| self.plain(schema, kind))
                        .collect::<Vec<_>>(),
                )
            }
            _ => "any value".to_owned(),
        }
    }

    fn plain(&self, schema: &'s Value, kind: &str) -> String {
        let examples = || {
            let examples = schema["examples"].as_array();
            let examples = examples.map(|all| all.iter().map(Value::to_string).collect::<Vec<_>>());
            examples.map_or_else(String::new, |all| format!(" such as {}", all.join(", ")))
        };
        match kind {
            "boolean" => "true or false".to_owned(),
            "integer" | "number" => {
                let bound = |name: &str| schema[name].as_u64();
                match (bound("minimum"), bound("maximum")) {
                    (Some(low), Some(high)) => format!("number from {low} to {high}"),
                    (Some(low), None) if low > 0 => format!("number from {low} on"),
                    _ => "number".to_owned(),
                }
            }
            "array" => match schema["items"].as_object() {
                Some(_) => match self.kind(&schema["items"]) {
                    item if item.starts_with("string") => format!("list of strings{}", &item[6..]),
                    item => format!("list of {item}"),
                },
                None => "list".to_owned(),
            },
            "object" => match schema["properties"].as_object() {
                Some(properties) => {
                    let keys: Vec<String> = properties
                        .iter()
                        .map(|(key, value)| format!("{key} = {}", self.kind(value)))
                        .collect();
                    format!("table {{ {} }}", keys.join(", "))
                }
                None => "table".to_owned(),
            },
            "string" => match schema["format"].as_str() {
                Some("period") => format!("duration{}", examples()),
                Some(format) => format!("{format}{}", examples()),
                None => format!("string{}", examples()),
            },
            other => other.to_owned(),
        }
    }
}

fn one_of(choices: &[String]) -> String {
    match choices {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// A default as TOML; empty if the option is then not set.
fn default(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => toml::Value::try_from(value)
            .map_or_else(|_| value.to_string(), |value| value.to_string()),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_words() {
        let root = serde_json::json!({ "$defs": { "Size": { "type": "string", "format": "size", "examples": ["1MiB"] } } });
        let schema = Schema::new(&root);
        for (value, words) in [
            (serde_json::json!({ "type": "boolean" }), "true or false"),
            (
                serde_json::json!({ "type": ["integer", "null"], "minimum": 0 }),
                "number",
            ),
            (
                serde_json::json!({ "anyOf": [{ "$ref": "#/$defs/Size" }, { "type": "null" }] }),
                "size such as \"1MiB\"",
            ),
            (
                serde_json::json!({ "type": "array", "items": { "enum": ["a", "b", "c"] } }),
                "list of \"a\", \"b\" or \"c\"",
            ),
        ] {
            let value = Box::leak(Box::new(value));
            assert_eq!(schema.kind(value), words);
        }
    }

    #[test]
    fn every_kind_and_every_option_is_described() {
        for kind in load::registry().kinds() {
            assert!(!kind.about.is_empty(), "{}", kind.name);
            for option in Schema::new(kind.options.as_value()).options() {
                assert!(!option.about.is_empty(), "{}.{}", kind.name, option.name);
                assert_ne!(option.kind, "any value", "{}.{}", kind.name, option.name);
            }
            let text = text(&kind, Palette::new(false));
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
    }
}
