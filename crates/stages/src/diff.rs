//! `diff`: what differs between two scans.
//!
//! Both come in path order, so that they are read side by side and nothing is held but a batch of each. One thing must
//! stay true: what is called added or removed was looked for on the other side, and was not there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Actor, Context, Counter, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Outlet, OutputPort,
    Properties, StageError,
};
use statline_platform::Kind as EntryKind;

use crate::field::{number, report_unlike};
use crate::merge::{Merge, Pace, Step};
use crate::side::Side;
use crate::{Change, Field, FieldSet, Former, RecordBatch, Row};

/// The inputs.
const OLD: &str = "old";
const NEW: &str = "new";

/// Records in a batch that is sent.
const BATCH: usize = 1024;

/// What is compared unless a job says otherwise: all that tells of the entry itself, and nothing that reading it changes.
const DEFAULT_FIELDS: [Field; 9] = [
    Field::Kind,
    Field::Mode,
    Field::Uid,
    Field::Gid,
    Field::Size,
    Field::Rdev,
    Field::Mtime,
    Field::Target,
    Field::Hash,
];

/// Options of `diff`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DiffConfig {
    /// The fields that are compared: kind, mode, uid, gid, size, rdev, mtime, target and hash, if not given.
    ///
    /// Of these, those count that both sides have of an entry. Size and mtime of directories are compared only if fields
    /// are named here: they follow from what is in them. With an empty list, only what is added and what is removed counts.
    pub fields: Option<Vec<Field>>,

    /// Whether to go on if the two sides left out different things: by excluding, filtering, or not going as deep.
    ///
    /// Whatever one side lacks is then marked unknown.
    pub allow_incomplete: bool,
}

/// The kind `diff`: two inputs of records in path order, `old` and `new`; one record for each difference.
///
/// A record that is `added` or `changed` is that of the new side, one that is `removed` that of the old. An entry that one
/// side has, and that the other may have as well because it could not be looked at there, is `unknown`. Records come in
/// the order of their paths below the roots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Diff;

/// What `diff` carries from *declare* to *open*.
pub struct DiffPorts {
    old: InputPort<RecordBatch>,
    new: InputPort<RecordBatch>,
    out: OutputPort<RecordBatch>,
}

impl Kind for Diff {
    type Config = DiffConfig;
    type Ports = DiffPorts;

    fn about(&self) -> &'static str {
        "tells what differs between two scans in path order"
    }

    fn declare(&self, config: Option<&DiffConfig>, ports: &mut Declare<'_>) -> DiffPorts {
        for port in [OLD, NEW] {
            ports.needs_order(port, &["path"]);
        }
        if let Some(fields) = config.and_then(|config| config.fields.as_deref()) {
            check_fields(fields, ports);
        }
        DiffPorts {
            old: ports.input(OLD),
            new: ports.input(NEW),
            out: ports.output(DEFAULT_OUTPUT, properties(ports)),
        }
    }

    fn open(
        &self,
        config: DiffConfig,
        ports: DiffPorts,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let context = stage.context().clone();
        stage.worker(|ends| {
            let old = Side::new(&context, OLD, ends.input(&ports.old));
            let new = Side::new(&context, NEW, ends.input(&ports.new));
            Ok(Differ {
                sides: Some((old, new)),
                comparison: Comparison::new(config.fields.as_deref()),
                allow_incomplete: config.allow_incomplete,
                found: Found::new(ends.output(&ports.out)),
                counters: Counters::of(&context),
                context,
            })
        })
    }
}

/// Reports fields that cannot be compared.
fn check_fields(fields: &[Field], ports: &mut Declare<'_>) {
    for (place, &field) in fields.iter().enumerate() {
        let option = format!("fields[{place}]");
        if fields[..place].contains(&field) {
            ports.problem(&option, format!("\"{field}\" is listed twice"), None);
        }
        let tells_nothing = [
            Field::Path,
            Field::Depth,
            Field::Change,
            Field::Remembered,
            Field::Differs,
            Field::FormerSize,
            Field::FormerPath,
        ];
        if tells_nothing.contains(&field) {
            ports.problem(
                &option,
                format!("\"{field}\" does not tell whether an entry differs"),
                Some("name fields such as \"size\" and \"mtime\"".to_owned()),
            );
            continue;
        }
        for port in [OLD, NEW] {
            report_unlike(ports, &option, port, field);
        }
    }
}

/// What goes out: all that either side has, and what the comparison adds. The order is that of paths below the roots,
/// which is none that anybody else knows.
fn properties(ports: &Declare<'_>) -> Properties {
    let fields = |port| {
        let stream = ports.incoming(port)?;
        (!stream.properties.fields.is_empty()).then(|| stream.properties.fields.clone())
    };
    let mut properties = Properties::default();
    if let (Some(old), Some(new)) = (fields(OLD), fields(NEW)) {
        properties.fields = &old | &new;
        let added = [Field::Change, Field::Differs, Field::FormerSize];
        properties
            .fields
            .extend(added.map(|field| field.to_string()));
    }
    properties
}

/// Which fields are compared, and how.
pub(crate) struct Comparison {
    fields: Vec<Field>,
    /// Whether the job names them.
    named: bool,
    /// Of these fields, both sides had a value of some entry.
    met: FieldSet,
    /// Entries that both sides have, and symbolic links among them.
    pairs: u64,
    links: u64,
}

impl Comparison {
    pub(crate) fn new(fields: Option<&[Field]>) -> Comparison {
        Comparison {
            fields: fields.unwrap_or(&DEFAULT_FIELDS).to_vec(),
            named: fields.is_some(),
            met: FieldSet::EMPTY,
            pairs: 0,
            links: 0,
        }
    }

    /// The fields in which an entry differs.
    pub(crate) fn differing(&mut self, old: &Row<'_>, new: &Row<'_>) -> FieldSet {
        let is_both = |kind| old.kind == Some(kind) && new.kind == Some(kind);
        self.pairs += 1;
        self.links += u64::from(is_both(EntryKind::Symlink));
        let follows = |field| matches!(field, Field::Size | Field::Mtime);
        let passes_over = !self.named && is_both(EntryKind::Directory);
        let mut differing = FieldSet::EMPTY;
        for &field in &self.fields {
            let Some(equal) = equal(field, old, new) else {
                continue;
            };
            self.met.insert(field);
            match equal || passes_over && follows(field) {
                true => {}
                false => differing.insert(field),
            }
        }
        differing
    }

    /// Whether what the job names was there to be compared.
    fn check(&self) -> Result<(), StageError> {
        let missing = |field: &&Field| {
            let cases = match field {
                Field::Target => self.links,
                // What only some kinds or some stages fill cannot be missed.
                Field::Hash | Field::Rdev => 0,
                _ => self.pairs,
            };
            cases > 0 && !self.met.contains(**field)
        };
        match self.fields.iter().find(missing) {
            Some(field) if self.named => Err(StageError::failed(format!(
                "no entry has a \"{field}\" on both sides, so that it cannot be compared; take it out of the fields"
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether a field is the same on both sides; `None` if one of them does not have it.
fn equal(field: Field, old: &Row<'_>, new: &Row<'_>) -> Option<bool> {
    Some(match field {
        Field::Target => old.target? == new.target?,
        Field::Hash => old.hash? == new.hash?,
        field => number(field, old)? == number(field, new)?,
    })
}

/// The records that go out.
pub(crate) struct Found {
    batch: RecordBatch,
    out: Outlet<RecordBatch>,
}

impl Found {
    pub(crate) fn new(out: Outlet<RecordBatch>) -> Found {
        Found {
            batch: RecordBatch::default(),
            out,
        }
    }

    /// Sends a row with a mark.
    pub(crate) fn push(
        &mut self,
        row: &Row<'_>,
        change: Change,
        former: Former<'_>,
    ) -> Result<(), StageError> {
        if self.batch.is_empty() {
            self.batch = RecordBatch::with_capacity(BATCH);
        }
        self.batch.push_row(&Row {
            change: Some(change),
            former,
            ..*row
        });
        match self.batch.len() == BATCH {
            true => self.flush(),
            false => Ok(()),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), StageError> {
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => self.out.send(batch),
        }
    }
}

/// The numbers that the report shows.
struct Counters {
    added: Counter,
    removed: Counter,
    changed: Counter,
    unknown: Counter,
    same: Counter,
}

impl Counters {
    fn of(context: &Context) -> Counters {
        Counters {
            added: context.counter("added"),
            removed: context.counter("removed"),
            changed: context.counter("changed"),
            unknown: context.counter("unknown"),
            same: context.counter("same"),
        }
    }
}

/// The stage at work.
struct Differ {
    /// Until both have begun.
    sides: Option<(Side, Side)>,
    comparison: Comparison,
    allow_incomplete: bool,
    found: Found,
    counters: Counters,
    context: Context,
}

impl Actor for Differ {
    fn run(&mut self) -> Result<(), StageError> {
        let Some((old, new)) = self.sides.take() else {
            return Ok(());
        };
        let mut merge = Merge::begin(old, new)?;
        if let Some(unlike) = merge.unlike() {
            if !self.allow_incomplete {
                return Err(StageError::failed(format!(
                    "{unlike}; allow_incomplete = true compares them all the same"
                )));
            }
            merge.left.distrust();
            merge.right.distrust();
        }
        let context = self.context.clone();
        let mut pace = Pace::new(&context);
        while let Some(step) = merge.next() {
            self.take(&merge, step)?;
            merge.advance(step)?;
            pace.step()?;
        }
        self.comparison.check()?;
        self.found.flush()
    }
}

impl Differ {
    fn take(&mut self, merge: &Merge, step: Step) -> Result<(), StageError> {
        let (old, new) = (merge.left.row(), merge.right.row());
        let (row, change, former) = match (step, old, new) {
            (Step::Left, Some(old), _) => match merge.may_be_on(&merge.right, &old) {
                true => (old, Change::Unknown, Former::default()),
                false => (old, Change::Removed, Former::default()),
            },
            (Step::Right, _, Some(new)) => match merge.may_be_on(&merge.left, &new) {
                true => (new, Change::Unknown, Former::default()),
                false => (new, Change::Added, Former::default()),
            },
            (Step::Both, Some(old), Some(new)) => {
                let differs = self.comparison.differing(&old, &new);
                if differs.is_empty() {
                    self.counters.same.add(1);
                    return Ok(());
                }
                let former = Former {
                    differs,
                    size: old.metadata.and_then(|metadata| metadata.size()),
                    path: None,
                };
                (new, Change::Changed, former)
            }
            // A step says which rows there are.
            _ => return Ok(()),
        };
        match change {
            Change::Added => self.counters.added.add(1),
            Change::Removed => self.counters.removed.add(1),
            Change::Unknown => self.counters.unknown.add(1),
            _ => self.counters.changed.add(1),
        }
        self.found.push(&row, change, former)
    }
}

#[cfg(test)]
mod tests;
