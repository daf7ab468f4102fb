//! What a job file says, before anybody knows the kinds.
//!
//! The framework's keys are peeled off by hand here, for serde's ways to share a table between two
//! types (`flatten`, internal tags) lose the places of values. The rest of each stage is left for
//! its kind.
//!
//! What must stay true: a stage with problems is still described. Its name is known, so no problem
//! of another stage that refers to it is made up.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;

use super::document;
use super::inputs::{self, InputDescription};
use super::location::{Location, Origin, join};
use super::options::{StageOptions, decode, field_names};
use super::overrides;
use super::problem::Problem;
use super::problems::Problems;
use super::settings::{Capacity, CapacityBytes, PipelineSettings, PipelineTable};
use super::suggest::{closest, did_you_mean};
use super::threads::ThreadSetting;
use super::tree::{Entry, Node, Table, Value};
use super::variables::{self, Environment};
use crate::quantity::ByteSize;

/// More than anybody draws on a sheet of paper; each has threads and channels.
const MOST_STAGES: usize = 256;

/// The tables of a job.
const TABLES: [&str; 2] = ["pipeline", "stages"];

/// The keys of a stage that are the framework's. A kind's configuration never sees them.
pub(crate) const STAGE_KEYS: [&str; 6] = [
    "type",
    "inputs",
    "threads",
    "capacity",
    "capacity_bytes",
    "accept",
];

/// A job as its file describes it: names not yet looked up, kinds not yet known.
#[derive(Debug)]
pub(crate) struct JobDescription {
    /// `[pipeline]`.
    pub(crate) pipeline: PipelineSettings,
    /// `[stages.*]` in the order of the file, also those with problems.
    pub(crate) stages: Vec<StageDescription>,
}

/// One `[stages.*]` table: the framework's keys read, the others left in `options`.
#[derive(Debug)]
pub(crate) struct StageDescription {
    /// The name: ASCII letters, digits, `_` and `-`, unless that was reported.
    pub(crate) name: String,
    /// The header of the table.
    pub(crate) location: Location,
    /// `type`. `None` when it is missing or no string, which has been reported.
    pub(crate) kind: Option<String>,
    /// The value of `type`, or the header where it is missing.
    pub(crate) kind_location: Location,
    /// `inputs`, those that could be read.
    pub(crate) inputs: Vec<InputDescription>,
    /// False when an input was reported and left out: then that one is missing is a consequence and
    /// no finding.
    pub(crate) inputs_complete: bool,
    /// The value of `inputs`, or the header where there is none.
    pub(crate) inputs_location: Location,
    /// `threads`.
    pub(crate) threads: Option<(ThreadSetting, Location)>,
    /// `capacity`, in messages.
    pub(crate) capacity: Option<(usize, Location)>,
    /// `capacity_bytes`.
    pub(crate) capacity_bytes: Option<(ByteSize, Location)>,
    /// `accept`: the error codes that leave a run complete.
    pub(crate) accept: Option<(Vec<String>, Location)>,
    /// The rest, for the kind.
    pub(crate) options: StageOptions,
}

/// Describes the job whose text `problems` was made with; `None` when that is not TOML.
///
/// `overrides` are the arguments of `--set`, applied in their order and before variables are put
/// in. Afterwards `problems` knows where every key of the job is, so that others may report by
/// path.
pub(crate) fn describe(
    problems: &mut Problems,
    environment: &Environment<'_>,
    overrides: &[String],
) -> Option<JobDescription> {
    let text = problems.text().cloned();
    let text = text.as_ref().map_or("", |text| text.as_str());
    let mut root = match document::parse(text) {
        Ok(root) => root,
        Err(syntax) => {
            problems.extend(syntax);
            return None;
        }
    };
    for argument in overrides {
        problems.extend(overrides::apply(&mut root, argument).err());
    }
    let mut found = Vec::new();
    variables::substitute(&mut root, text, environment, &mut found);
    let was_misplaced = put_in_place(&mut root, &mut found);
    let mut places = HashMap::new();
    root.places(&mut String::new(), &mut places);
    problems.set_places(places);
    problems.extend(found);

    let Value::Table(mut table) = root.value else {
        return None;
    };
    let pipeline = table
        .remove("pipeline")
        .and_then(|entry| pipeline(&entry.node, problems));
    let stages = table.remove("stages");
    // A misspelt [stages] is reported as that.
    let has_none = match &stages {
        _ if was_misplaced => false,
        Some(entry) => matches!(&entry.node.value, Value::Table(stages) if stages.len() == 0),
        None => !table
            .iter()
            .any(|entry| matches!(entry.node.value, Value::Table(_) | Value::Array(_))),
    };
    unknown_at_the_top(table, problems);
    let stages = stages.map_or_else(Vec::new, |entry| stages_of(entry, problems));
    if has_none {
        let problem = Problem::error(Location::of_path("stages"), "this job has no stages");
        problems.push(
            problem.help("a stage starts with [stages.NAME] and names its kind with type = \"…\""),
        );
    }
    Some(JobDescription {
        pipeline: pipeline.unwrap_or_default(),
        stages,
    })
}

fn pipeline(node: &Node, problems: &mut Problems) -> Option<PipelineSettings> {
    decode::<PipelineTable>(node, "pipeline", &[], problems).map(PipelineSettings::from)
}

/// Moves stages that stand beside `[stages]`, or below a misspelt one, to where they belong, and reports that. Else who
/// reads from them would be reported, too, and whom they read from.
fn put_in_place(root: &mut Node, problems: &mut Vec<Problem>) -> bool {
    let Value::Table(table) = &mut root.value else {
        return false;
    };
    let stages_in = |node: &Node| match &node.value {
        Value::Table(table) => table.iter().any(|entry| is_stage(&entry.node)),
        _ => false,
    };
    let mut misplaced = Vec::new();
    for entry in std::mem::take(table) {
        let name = &entry.key;
        let location = Location::with_origin(join("", name), entry.key_origin.clone());
        let problem = Problem::error(location, format!("unknown table {name:?}"));
        if TABLES.contains(&name.as_str()) {
            table.push(entry);
        } else if is_stage(&entry.node) {
            problems.push(problem.help(format!("a stage is written [stages.{name}]")));
            misplaced.push(entry);
        } else if stages_in(&entry.node) && closest(name, TABLES) == Some("stages") {
            problems.push(problem.help("did you mean \"stages\"?"));
            if let Value::Table(stages) = entry.node.value {
                misplaced.extend(stages);
            }
        } else {
            table.push(entry);
        }
    }
    if misplaced.is_empty() {
        return false;
    }
    if table.get("stages").is_none() {
        table.push(Entry {
            key: "stages".to_owned(),
            key_origin: Origin::Nowhere,
            node: Node::new(Value::Table(Table::default()), Origin::Nowhere),
        });
    }
    if let Some(entry) = table.get_mut("stages")
        && let Value::Table(stages) = &mut entry.node.value
    {
        let mut taken: HashSet<String> = stages.iter().map(|entry| entry.key.clone()).collect();
        for entry in misplaced {
            if taken.insert(entry.key.clone()) {
                stages.push(entry);
            }
        }
    }
    true
}

/// Whether a table can only be a stage.
fn is_stage(node: &Node) -> bool {
    matches!(&node.value, Value::Table(table) if table.get("type").is_some())
}

fn unknown_at_the_top(table: Table, problems: &mut Problems) {
    let settings = field_names::<PipelineTable>();
    for entry in table {
        let location = Location::with_origin(join("", &entry.key), entry.key_origin);
        let what = if matches!(entry.node.value, Value::Table(_)) {
            "table"
        } else {
            "key"
        };
        let help = if settings.contains(&entry.key.as_str()) {
            Some("it belongs below [pipeline]".to_owned())
        } else if problems.wants_help() {
            did_you_mean(&entry.key, "tables", TABLES)
        } else {
            None
        };
        problems.push(
            Problem::error(location, format!("unknown {what} {:?}", entry.key)).maybe_help(help),
        );
    }
}

fn stages_of(entry: Entry, problems: &mut Problems) -> Vec<StageDescription> {
    let header = Location::with_origin("stages".to_owned(), entry.node.origin.clone());
    let Value::Table(table) = entry.node.value else {
        if matches!(entry.node.value, Value::Broken) {
            return Vec::new();
        }
        let message = format!(
            "expected a table of stages, found {}",
            entry.node.describe()
        );
        problems.push(Problem::error(header, message).help("a stage starts with [stages.NAME]"));
        return Vec::new();
    };
    if table.len() > MOST_STAGES {
        let over = table.iter().nth(MOST_STAGES);
        let origin = over.map_or(Origin::Nowhere, |entry| entry.key_origin.clone());
        let message = format!(
            "a job has at most {MOST_STAGES} stages, and this one has {}",
            table.len()
        );
        problems.push(Problem::error(
            Location::with_origin("stages".to_owned(), origin),
            message,
        ));
        return Vec::new();
    }
    let names: Vec<_> = table
        .iter()
        .map(|entry| (entry.key.clone(), entry.node.origin.clone()))
        .collect();
    table
        .into_iter()
        .filter_map(|entry| stage(entry, &names, problems))
        .collect()
}

fn stage(
    entry: Entry,
    all: &[(String, Origin)],
    problems: &mut Problems,
) -> Option<StageDescription> {
    let name = entry.key;
    let location = Location::with_origin(join("stages", &name), entry.node.origin.clone());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(plain) {
        let location = Location::with_origin(location.path().to_owned(), entry.key_origin);
        let problem = Problem::error(location, format!("{name:?} can't be the name of a stage"));
        problems.push(problem.help("names take the letters a to z, digits, `-` and `_`"));
    }
    let found = entry.node.describe();
    let mut kind = None;
    let (mut table, is_readable) = match entry.node.value {
        Value::Table(table) => (table, true),
        Value::Broken => (Table::default(), false),
        _ => {
            let problem =
                Problem::error(location.clone(), format!("expected a stage, found {found}"));
            let help = format!("write [{}] and its options below", location.path());
            problems.push(problem.help(help));
            (Table::default(), false)
        }
    };
    if is_readable {
        kind = table.remove("type");
        if kind.is_none() && matches!(location.origin(), Origin::Override(_)) {
            // `--set stages.wlak.threads=2` adds a stage; what was meant is nearly always another.
            let written = all
                .iter()
                .filter(|(_, origin)| matches!(origin, Origin::Text(_)));
            let problem = Problem::error(location, format!("no stage is called {name:?}"));
            let known = written.map(|(name, _)| name.as_str());
            problems.push(problem.maybe_help(did_you_mean(&name, "stages", known)));
            return None;
        }
        if kind.is_none() {
            problems.push(missing_type(&table, &location));
        }
    }
    let mut keys = Keys {
        table,
        header: &location,
        problems,
    };
    let kind = kind.map(|entry| keys.read::<String>("type", &entry));
    let kind_location = kind
        .as_ref()
        .map_or_else(|| location.clone(), |(_, location)| location.clone());
    let inputs = keys.table.remove("inputs");
    let inputs_path = join(location.path(), "inputs");
    let inputs_location = match &inputs {
        Some(entry) => Location::with_origin(inputs_path.clone(), entry.node.origin.clone()),
        None => location.clone(),
    };
    let mut unreadable = Vec::new();
    let inputs = inputs
        .map(|entry| inputs::read(&entry.node, &inputs_path, &mut unreadable))
        .unwrap_or_default();
    keys.problems.extend(unreadable);
    Some(StageDescription {
        kind: kind.and_then(|(kind, _)| kind),
        kind_location,
        inputs: inputs.list,
        inputs_complete: is_readable && !inputs.is_incomplete,
        inputs_location,
        threads: keys.take("threads"),
        capacity: keys
            .take("capacity")
            .map(|(Capacity(messages), location)| (messages, location)),
        capacity_bytes: keys
            .take("capacity_bytes")
            .map(|(CapacityBytes(size), location)| (size, location)),
        accept: keys.take("accept"),
        options: StageOptions::new(location.clone(), keys.table),
        name,
        location,
    })
}

fn missing_type(table: &Table, header: &Location) -> Problem {
    let mut keys = table.iter().map(|entry| entry.key.as_str());
    let misspelt = keys.find(|key| *key == "kind" || closest(key, STAGE_KEYS) == Some("type"));
    let help = match misspelt {
        Some(key) => format!("did you mean \"type\" where you wrote {key:?}?"),
        None => "name the kind of the stage with type = \"…\"".to_owned(),
    };
    Problem::error(header.clone(), "missing key \"type\"").help(help)
}

/// Takes the framework's keys out of a stage's table.
struct Keys<'k> {
    table: Table,
    header: &'k Location,
    problems: &'k mut Problems,
}

impl Keys<'_> {
    /// The value of `key` and its place. `None` when there is none, or when it is wrong and has
    /// been reported.
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<(T, Location)> {
        let entry = self.table.remove(key)?;
        let (value, location) = self.read(key, &entry);
        Some((value?, location))
    }

    fn read<T: DeserializeOwned>(&mut self, key: &str, entry: &Entry) -> (Option<T>, Location) {
        let path = join(self.header.path(), key);
        let value = decode(&entry.node, &path, &[], self.problems);
        (
            value,
            Location::with_origin(path, entry.node.origin.clone()),
        )
    }
}
