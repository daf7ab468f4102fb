//! `plan`: what a mirror must copy, update and delete, by the quick check of rsync.
//!
//! Source and destination come in path order and are read side by side, so that nothing is held but the directories on the
//! way to the current entry. Two things must stay true: nothing is deleted of which it is not certain that the source does
//! not have it, nor a directory in which something may be that nobody has seen; and once the plan is carried out, the next
//! one is empty.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Actor, Context, Counter, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, OutputPort, Period,
    Properties, StageError,
};
use statline_platform::{DirNode, Kind as EntryKind, Metadata, NameBuf};

use crate::diff::Found;
use crate::field::{number, report_unlike};
use crate::merge::{Merge, Pace, Step};
use crate::side::Side;
use crate::{Change, Field, Former, RecordBatch, Row};

/// The inputs.
const SOURCE: &str = "source";
const DESTINATION: &str = "destination";

/// Options of `plan`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanConfig {
    /// How far apart two modification times may be that count as equal, in whole seconds; as `rsync --modify-window`.
    ///
    /// Fractions of seconds do not count, as for rsync.
    pub modify_window: Period,
    /// What else must be equal: mode, uid and gid, as `rsync -a` makes them.
    ///
    /// Who cannot set owners at the destination leaves uid and gid out: they would be updated for ever.
    pub attributes: Vec<Field>,
}

impl Default for PlanConfig {
    fn default() -> PlanConfig {
        PlanConfig {
            modify_window: Period::default(),
            attributes: vec![Field::Mode, Field::Uid, Field::Gid],
        }
    }
}

/// The kind `plan`: two inputs of records in path order, `source` and `destination`; one record for each thing to do.
///
/// Records marked `copy` and `update` are those of the source; a directory is among them, too, whose times change because
/// of what is done in it. Records marked `delete` are those of the destination, each directory after all that is in it: so
/// each can be removed by itself, and nothing is removed that is not named. What is marked `unknown` is on the destination,
/// and may be on the source where that could not be read, or may hide something that could not be read: it stays.
/// An entry of another kind than on the source is deleted and copied. Delete first, then copy.
///
/// Files with several names are copied once for each, as `rsync -a` does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan;

/// What `plan` carries from *declare* to *open*.
pub struct PlanPorts {
    source: InputPort<RecordBatch>,
    destination: InputPort<RecordBatch>,
    out: OutputPort<RecordBatch>,
}

impl Kind for Plan {
    type Config = PlanConfig;
    type Ports = PlanPorts;

    fn about(&self) -> &'static str {
        "tells what a mirror must copy, update and delete"
    }

    fn declare(&self, config: Option<&PlanConfig>, ports: &mut Declare<'_>) -> PlanPorts {
        for port in [SOURCE, DESTINATION] {
            ports.needs_order(port, &["path"]);
            for field in [Field::Size, Field::Mtime, Field::Target] {
                report_unlike(ports, "", port, field);
            }
        }
        if let Some(config) = config {
            check(config, ports);
        }
        let mut properties = Properties::default();
        if let Some(source) = ports.incoming(SOURCE) {
            properties.fields = source.properties.fields.clone();
            if !properties.fields.is_empty() {
                properties.fields.insert(Field::Change.to_string());
            }
        }
        PlanPorts {
            source: ports.input(SOURCE),
            destination: ports.input(DESTINATION),
            out: ports.output(DEFAULT_OUTPUT, properties),
        }
    }

    fn open(
        &self,
        config: PlanConfig,
        ports: PlanPorts,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        stage.worker(|ends| {
            let source = Side::new(&context, SOURCE, ends.input(&ports.source));
            let destination = Side::new(&context, DESTINATION, ends.input(&ports.destination));
            Ok(Planner {
                sides: Some((source, destination)),
                check: QuickCheck {
                    window: config.modify_window.duration().as_secs(),
                    attributes: config.attributes,
                },
                found: Found::new(ends.output(&ports.out)),
                above: Vec::new(),
                path: Vec::new(),
                counters: Counters::of(&context),
                context,
            })
        })
    }
}

fn check(config: &PlanConfig, ports: &mut Declare<'_>) {
    if config.modify_window.duration().subsec_nanos() > 0 {
        ports.problem(
            "modify_window",
            "fractions of seconds do not count",
            Some("write whole seconds, such as \"1s\"".to_owned()),
        );
    }
    for (place, &field) in config.attributes.iter().enumerate() {
        let option = format!("attributes[{place}]");
        if ![Field::Mode, Field::Uid, Field::Gid].contains(&field) {
            let message = format!("\"{field}\" is no attribute that rsync sets");
            let help = "there are \"mode\", \"uid\" and \"gid\"".to_owned();
            ports.problem(&option, message, Some(help));
            continue;
        }
        for port in [SOURCE, DESTINATION] {
            report_unlike(ports, &option, port, field);
        }
    }
}

/// Whether two entries of one kind are taken for equal.
struct QuickCheck {
    /// In seconds.
    window: u64,
    attributes: Vec<Field>,
}

impl QuickCheck {
    fn equal(&self, source: &Row<'_>, destination: &Row<'_>) -> bool {
        let same = |field| number(field, source) == number(field, destination);
        let content = match source.kind {
            Some(EntryKind::File) => same(Field::Size),
            Some(EntryKind::Symlink) => source.target == destination.target,
            Some(EntryKind::BlockDevice | EntryKind::CharDevice) => same(Field::Rdev),
            _ => true,
        };
        content && self.same_time(source, destination) && {
            let attributes = self.attributes.iter();
            // Links have no mode of their own.
            let counts =
                |field: &&Field| **field != Field::Mode || source.kind != Some(EntryKind::Symlink);
            attributes.filter(counts).all(|&field| same(field))
        }
    }

    fn same_time(&self, source: &Row<'_>, destination: &Row<'_>) -> bool {
        let seconds = |row: &Row<'_>| Some(row.metadata?.modified()?.seconds);
        match (seconds(source), seconds(destination)) {
            (Some(source), Some(destination)) => source.abs_diff(destination) <= self.window,
            _ => false,
        }
    }
}

/// A directory on the way to the current entry.
struct Above {
    /// Below the root.
    path: Vec<u8>,
    /// Its row on the source, or on the destination if it is to be deleted.
    row: Held,
    duty: Duty,
    /// Whether something is done to what lies in it, which changes its times.
    touched: bool,
    /// Whether something below it stays, so that it cannot be deleted.
    kept: bool,
}

/// What is left to do about a directory when all that is in it has passed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// It is in the plan already.
    None,
    /// To update it if something in it was touched.
    Update,
    /// To delete it.
    Delete,
}

/// What is held of a row.
struct Held {
    directory: Arc<DirNode>,
    name: NameBuf,
    metadata: Metadata,
}

impl Held {
    fn of(row: &Row<'_>) -> Held {
        Held {
            directory: Arc::clone(row.directory),
            name: row.name.into(),
            metadata: row.metadata.cloned().unwrap_or_default(),
        }
    }

    fn row(&self) -> Row<'_> {
        Row {
            directory: &self.directory,
            name: self.name.as_name(),
            kind: Some(EntryKind::Directory),
            metadata: Some(&self.metadata),
            target: None,
            change: None,
            remembered: false,
            hash: None,
            former: Former::default(),
        }
    }
}

/// The numbers that the report shows.
struct Counters {
    copy: Counter,
    update: Counter,
    delete: Counter,
    unknown: Counter,
}

impl Counters {
    fn of(context: &Context) -> Counters {
        Counters {
            copy: context.counter("copy"),
            update: context.counter("update"),
            delete: context.counter("delete"),
            unknown: context.counter("unknown"),
        }
    }

    fn count(&self, change: Change) {
        match change {
            Change::Copy => self.copy.add(1),
            Change::Update => self.update.add(1),
            Change::Delete => self.delete.add(1),
            _ => self.unknown.add(1),
        }
    }
}

/// The stage at work.
struct Planner {
    /// Until both have begun.
    sides: Option<(Side, Side)>,
    check: QuickCheck,
    found: Found,
    above: Vec<Above>,
    /// That of the current entry, below the root.
    path: Vec<u8>,
    counters: Counters,
    context: Context,
}

impl Actor for Planner {
    fn run(&mut self) -> Result<(), StageError> {
        let Some((source, destination)) = self.sides.take() else {
            return Ok(());
        };
        let mut merge = Merge::begin(source, destination)?;
        refuse(&merge)?;
        let context = self.context.clone();
        let mut pace = Pace::new(&context);
        while let Some(step) = merge.next() {
            self.take(&merge, step)?;
            merge.advance(step)?;
            pace.step()?;
        }
        self.leave(0)?;
        self.found.flush()
    }
}

/// Refuses sides that were not read in the same way: what is missing from one of them need not be missing.
fn refuse(merge: &Merge) -> Result<(), StageError> {
    if let Some((port, filter)) = merge.filtered() {
        return Err(StageError::failed(format!(
            "{filter} leaves entries out of the input {port:?}, which would pass for missing; choose among what comes out \
             of the plan instead"
        )));
    }
    match merge.unlike() {
        Some(unlike) => Err(StageError::failed(unlike)),
        None => Ok(()),
    }
}

impl Planner {
    fn take(&mut self, merge: &Merge, step: Step) -> Result<(), StageError> {
        let (source, destination) = (merge.left.row(), merge.right.row());
        let Some(any) = source
            .as_ref()
            .filter(|_| step != Step::Right)
            .or(destination.as_ref())
        else {
            return Ok(());
        };
        self.path.clear();
        any.directory.write_relative_path(any.name, &mut self.path);
        let stay = self
            .above
            .iter()
            .take_while(|above| is_below(&self.path, &above.path));
        let stay = stay.count();
        self.leave(stay)?;
        match (step, source, destination) {
            (Step::Left, Some(source), _) => self.copy(&source),
            (Step::Right, _, Some(destination)) => self.delete(merge, &destination).map(drop),
            (Step::Both, Some(source), Some(destination)) => {
                if source.kind != destination.kind {
                    // What stays is in the way.
                    return match self.delete(merge, &destination)? {
                        true => self.copy(&source),
                        false => Ok(()),
                    };
                }
                let duty = match self.check.equal(&source, &destination) {
                    true => Duty::Update,
                    false => {
                        self.push(&source, Change::Update)?;
                        Duty::None
                    }
                };
                self.enter(&source, duty);
                Ok(())
            }
            // A step says which rows there are.
            _ => Ok(()),
        }
    }

    fn copy(&mut self, source: &Row<'_>) -> Result<(), StageError> {
        self.push(source, Change::Copy)?;
        self.enter(source, Duty::None);
        Ok(())
    }

    /// Plans to delete an entry of the destination if that is safe; whether it is.
    fn delete(&mut self, merge: &Merge, row: &Row<'_>) -> Result<bool, StageError> {
        let is_directory = row.kind == Some(EntryKind::Directory);
        let on_source = merge.next() == Some(Step::Both);
        let uncertain = !on_source && merge.may_be_on(&merge.left, row);
        // What it is, or what is in it, may be more than was seen.
        let hides = merge.right.unread().may_hide_below(&row.path_bytes());
        if uncertain || hides || row.kind.is_none() {
            self.above.iter_mut().for_each(|above| above.kept = true);
            self.push(row, Change::Unknown)?;
            return Ok(false);
        }
        match is_directory {
            // Only after all that is in it.
            true => self.enter(row, Duty::Delete),
            false => self.push(row, Change::Delete)?,
        }
        Ok(true)
    }

    /// Adds a row to the plan.
    fn push(&mut self, row: &Row<'_>, change: Change) -> Result<(), StageError> {
        if change != Change::Unknown {
            self.touch_parent();
        }
        self.counters.count(change);
        self.found.push(row, change, Former::default())
    }

    /// Notes that something is done to the current entry, which changes the times of its directory.
    fn touch_parent(&mut self) {
        let parent = match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.path[..slash],
            None => &[][..],
        };
        if let Some(above) = self.above.last_mut()
            && !self.path.is_empty()
            && above.path == parent
        {
            above.touched = true;
        }
    }

    /// Notes a directory, if the row is of one.
    fn enter(&mut self, row: &Row<'_>, duty: Duty) {
        if row.kind != Some(EntryKind::Directory) {
            return;
        }
        if duty == Duty::Delete {
            self.touch_parent();
        }
        self.above.push(Above {
            path: self.path.clone(),
            row: Held::of(row),
            duty,
            touched: false,
            kept: false,
        });
    }

    /// Does what is left to do about all directories on the way but the first so many.
    fn leave(&mut self, stay: usize) -> Result<(), StageError> {
        while self.above.len() > stay {
            let Some(above) = self.above.pop() else { break };
            let change = match above.duty {
                Duty::Update if above.touched => Change::Update,
                Duty::Delete if above.kept => Change::Unknown,
                Duty::Delete => Change::Delete,
                Duty::Update | Duty::None => continue,
            };
            if change == Change::Unknown {
                self.above.iter_mut().for_each(|above| above.kept = true);
            }
            self.counters.count(change);
            self.found
                .push(&above.row.row(), change, Former::default())?;
        }
        Ok(())
    }
}

/// Whether a path is below a directory, both below one root.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match directory {
        [] => !path.is_empty(),
        _ => path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with(b"/")),
    }
}

#[cfg(test)]
mod tests;
