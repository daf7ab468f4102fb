//! The `inputs` of a stage: which stages it reads from, and through which ports.
//!
//! Whether there are such stages and ports is the graph's to say.

use std::collections::HashSet;

use super::location::{Location, join};
use super::problem::Problem;
use super::tree::{Node, Value};

/// What to do about an input that is listed twice.
pub(crate) const LISTED_TWICE: &str = "every message would arrive twice; list it once";

/// More than a job has outputs to read, by far.
const MOST: usize = 1024;

/// One input of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputDescription {
    /// The input port, when inputs are named: `old` in `inputs = { old = "a" }`.
    pub(crate) port: Option<String>,
    /// Where that name stands; where it doesn't, that of the whole.
    pub(crate) port_location: Location,
    /// The stage that it comes from.
    pub(crate) stage: String,
    /// The port that it comes from: `errors` in `"walk.errors"`.
    pub(crate) from_port: Option<String>,
    /// The string itself.
    pub(crate) location: Location,
}

/// What `inputs` says, as far as it could be read.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) list: Vec<InputDescription>,
    /// Whether one had to be left out.
    pub(super) is_incomplete: bool,
    /// Whether the others are not looked at, as they are too many.
    is_too_long: bool,
}

/// Reads `["walk"]`, `["stat.errors"]` and `{ old = "a", new = ["b", "c"] }`.
pub(super) fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Inputs {
    let mut reader = Reader {
        seen: HashSet::new(),
        inputs: Inputs::default(),
        problems,
    };
    match &node.value {
        Value::Array(array) => {
            let whole = Location::with_origin(path.to_owned(), node.origin.clone());
            array.iter().for_each(|node| reader.one(node, None, &whole));
        }
        Value::Table(table) => {
            for entry in table.iter() {
                let path = join(path, &entry.key);
                let key = Location::with_origin(path, entry.key_origin.clone());
                let nodes = match &entry.node.value {
                    Value::Array(array) => array.as_slice(),
                    _ => std::slice::from_ref(&entry.node),
                };
                nodes
                    .iter()
                    .for_each(|node| reader.one(node, Some(&entry.key), &key));
            }
        }
        Value::Broken => reader.inputs.is_incomplete = true,
        other => {
            let location = Location::with_origin(path.to_owned(), node.origin.clone());
            let message = format!("expected an array of stages, found {}", node.describe());
            let help = match other {
                Value::String(text) => format!("write inputs = [{text:?}]"),
                _ => "write inputs = [\"STAGE\"] or inputs = { PORT = \"STAGE\" }".to_owned(),
            };
            reader.report(Problem::error(location, message).help(help));
        }
    }
    reader.inputs
}

struct Reader<'r> {
    /// The port and the text of each input so far.
    seen: HashSet<(Option<&'r str>, &'r str)>,
    inputs: Inputs,
    problems: &'r mut Vec<Problem>,
}

impl<'r> Reader<'r> {
    fn report(&mut self, problem: Problem) {
        self.inputs.is_incomplete = true;
        self.problems.push(problem);
    }

    fn one(&mut self, node: &'r Node, port: Option<&'r str>, port_location: &Location) {
        if self.inputs.is_too_long {
            return;
        }
        let path = port_location.path().to_owned();
        let location = Location::with_origin(path, node.origin.clone());
        if self.seen.len() >= MOST {
            self.inputs.is_too_long = true;
            let problem = Problem::error(location, format!("a stage has at most {MOST} inputs"));
            self.report(problem.help("take the others out, or put a stage in between"));
            return;
        }
        let text = match &node.value {
            Value::String(text) => text,
            Value::Broken => {
                self.inputs.is_incomplete = true;
                return;
            }
            _ => {
                let message = format!("expected the name of a stage, found {}", node.describe());
                self.report(Problem::error(location, message));
                return;
            }
        };
        let (stage, from_port) = match text.split_once('.') {
            Some((stage, port)) => (stage, Some(port)),
            None => (text.as_str(), None),
        };
        if stage.is_empty() || from_port.is_some_and(|port| port.is_empty() || port.contains('.')) {
            let problem = Problem::error(location, format!("{text:?} names no stage"));
            let help = "write \"STAGE\", or \"STAGE.PORT\" for a port other than its main one";
            self.report(problem.help(help));
            return;
        }
        if !self.seen.insert((port, text)) {
            // It is there once, so nothing is missing.
            let problem = Problem::error(location, format!("{text:?} is listed twice"));
            self.problems.push(problem.help(LISTED_TWICE));
            return;
        }
        self.inputs.list.push(InputDescription {
            port: port.map(str::to_owned),
            port_location: port_location.clone(),
            stage: stage.to_owned(),
            from_port: from_port.map(str::to_owned),
            location,
        });
    }
}
