//! The options of a stage, read into the kind's own configuration.
//!
//! The configuration is any type that serde can read, so its author writes no code for errors.
//! serde stops at the first wrong value; so each one is reported and left out, and the reading
//! starts over until nothing new is found.
//!
//! What must stay true: a problem is reported once and its consequences never. A value that was
//! left out makes a key go missing, a tuple too short, a check on the whole fail; none of that is
//! the user's doing.

mod deserializer;
mod fault;
mod fields;
mod stand_in;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;

use self::deserializer::NodeDeserializer;
use self::fault::{FaultKind, Trail};
use super::location::Location;
use super::problem::Problem;
use super::problems::Problems;
use super::suggest;
use super::tree::{Node, Step, Table, Value};

pub(crate) use fields::field_names;

/// So many problems of one table are enough.
const MOST: usize = 32;
/// Each pass reports a problem, or gives up on a table because of one. The bound is for types that
/// answer differently each time.
const MOST_PASSES: usize = 8 * MOST;

/// What the table of a stage holds for its kind.
#[derive(Clone, Debug)]
pub(crate) struct StageOptions {
    /// `stages.walk`.
    path: String,
    /// A table without the framework's keys.
    node: Node,
}

impl StageOptions {
    pub(super) fn new(header: Location, table: Table) -> Self {
        let node = Node::new(Value::Table(table), header.origin().clone());
        Self {
            path: header.path().to_owned(),
            node,
        }
    }

    /// Reads the kind's configuration. `None` when anything in it is wrong, and then that has been
    /// reported.
    ///
    /// Call it once for each stage, or its problems are told twice.
    pub(crate) fn decode<C: DeserializeOwned>(&self, problems: &mut Problems) -> Option<C> {
        // The type is there already, or nobody would know how to read the rest.
        let others = super::description::STAGE_KEYS.into_iter();
        let others: Vec<&str> = others.filter(|key| *key != "type").collect();
        decode(&self.node, &self.path, &others, problems)
    }
}

impl StageOptions {
    /// Whether one of the keys is the framework's `key`, misspelt: neither an option of `C` nor like
    /// one. [`decode`](StageOptions::decode) reports it.
    pub(crate) fn misspells<C: DeserializeOwned>(&self, key: &str) -> bool {
        let (Value::Table(table), Some(fields)) = (&self.node.value, fields::fields::<C>()) else {
            return false;
        };
        let known = || fields.iter().copied().chain(super::description::STAGE_KEYS);
        let unknown = table
            .iter()
            .filter(|entry| !fields.contains(&entry.key.as_str()));
        unknown
            .take(MOST)
            .any(|entry| suggest::closest(&entry.key, known()) == Some(key))
    }
}

/// What a pass over the tree knows from those before, and what it finds.
#[derive(Default)]
struct Session {
    /// Values that have been dealt with: the reading goes on as if they weren't there.
    left_out: HashSet<Vec<Step>>,
    /// Keys that are required and not there: a made-up value stands in for them, so that the next
    /// missing one can be found.
    filled: HashSet<(Vec<Step>, &'static str)>,
    unknown: RefCell<Vec<UnknownKey>>,
}

/// A key that the configuration has no field for.
struct UnknownKey {
    table: Vec<Step>,
    key: String,
    fields: &'static [&'static str],
}

impl Session {
    /// Whether something in the value that `steps` lead to was left out or made up, so that its
    /// faults are consequences.
    fn has_gaps_below(&self, steps: &[Step]) -> bool {
        let left_out = self.left_out.iter().any(|gap| gap.starts_with(steps));
        left_out
            || self
                .filled
                .iter()
                .any(|(table, _)| table.starts_with(steps))
    }
}

/// Reads `root`, which stands at `path`, and reports everything that is wrong in it.
///
/// `reserved` are keys at the top that belong to somebody else, and are known all the same when a
/// name is misspelt.
pub(super) fn decode<C: DeserializeOwned>(
    root: &Node,
    path: &str,
    reserved: &[&str],
    problems: &mut Problems,
) -> Option<C> {
    let mut session = Session::default();
    let mut found = Vec::new();
    let mut decoded = None;
    for _ in 0..MOST_PASSES {
        let result = C::deserialize(NodeDeserializer::new(root, Trail::Root, &session));
        let fault = match result {
            Ok(value) => {
                decoded = Some(value);
                break;
            }
            Err(fault) => fault,
        };
        let steps = fault.steps.unwrap_or_default();
        if let FaultKind::Missing(field) = fault.kind {
            let missing = [steps.as_slice(), &[Step::Key(field.to_owned())]].concat();
            if !session.left_out.contains(&missing) {
                found.push((steps.clone(), FaultKind::Missing(field)));
            }
            if session.filled.insert((steps.clone(), field)) && found.len() < MOST {
                continue;
            }
        } else if let (FaultKind::UnknownKey(fields), Some((Step::Key(key), table))) =
            (&fault.kind, steps.split_last())
        {
            session.unknown.borrow_mut().push(UnknownKey {
                table: table.to_vec(),
                key: key.clone(),
                fields,
            });
        } else if !fault.is_silent && !session.has_gaps_below(&steps) {
            found.push((steps.clone(), fault.kind));
        }
        if steps.is_empty() || found.len() >= MOST {
            break;
        }
        session.left_out.insert(steps);
    }
    let report = Report {
        root,
        path,
        reserved,
    };
    let unknown = report.unknown(session.unknown.take(), problems.wants_help());
    let clean = found.is_empty() && unknown.is_empty() && session.left_out.is_empty();
    let misspelt: HashSet<_> = unknown
        .iter()
        .filter_map(|(table, _, meant)| Some((table, (*meant)?)))
        .collect();
    for (steps, kind) in &found {
        match kind {
            // One slip is one problem: the misspelt key says which one is missing.
            FaultKind::Missing(field) if misspelt.contains(&(steps, *field)) => {}
            _ => problems.push(report.fault(steps, kind)),
        }
    }
    problems.extend(unknown.into_iter().map(|(_, problem, _)| problem));
    if found.len() >= MOST {
        let location = report.location(&[]);
        problems.push(Problem::warning(
            location,
            "too many problems here; the rest was not looked at",
        ));
    }
    decoded.filter(|_| clean)
}

/// Turns faults into problems.
struct Report<'r> {
    root: &'r Node,
    path: &'r str,
    reserved: &'r [&'r str],
}

impl Report<'_> {
    fn location(&self, steps: &[Step]) -> Location {
        match self.root.follow(self.path, steps) {
            Some((node, path)) => Location::with_origin(path, node.origin.clone()),
            None => Location::of_path(self.path),
        }
    }

    fn fault(&self, steps: &[Step], kind: &FaultKind) -> Problem {
        let location = self.location(steps);
        let node = self
            .root
            .follow(self.path, steps)
            .map_or(self.root, |(node, _)| node);
        let (message, help) = fault::wording(kind, node);
        Problem::error(location, message).maybe_help(help)
    }

    /// Each unknown key once: the table that it is in, the problem, and the field that was probably
    /// meant.
    fn unknown(
        &self,
        keys: Vec<UnknownKey>,
        wants_help: bool,
    ) -> Vec<(Vec<Step>, Problem, Option<&'static str>)> {
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        for UnknownKey { table, key, fields } in keys {
            if !seen.insert((table.clone(), key.clone())) || unknown.len() >= MOST {
                continue;
            }
            let Some((node, path)) = self.root.follow(self.path, &table) else {
                continue;
            };
            let Value::Table(entries) = &node.value else {
                continue;
            };
            let Some(entry) = entries.get(&key) else {
                continue;
            };
            let location =
                Location::with_origin(super::location::join(&path, &key), entry.key_origin.clone());
            let reserved = if table.is_empty() { self.reserved } else { &[] };
            let known = fields.iter().chain(reserved).copied();
            let meant = suggest::closest(&key, fields.iter().copied());
            let help = wants_help.then(|| suggest::did_you_mean(&key, "keys", known));
            let problem = Problem::error(location, format!("unknown key {key:?}"));
            let problem = problem.maybe_help(help.flatten());
            unknown.push((table, problem, meant));
        }
        unknown
    }
}
