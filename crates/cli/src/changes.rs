//! The stage kind `changes`: a line for each difference, for people to read.
//!
//! It belongs to the command, because people read it: names are escaped, wherever the lines go, so that one line is one
//! difference. Programs read the same rows as JSON Lines or CSV.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    DEFAULT_INPUT, Declare, Errors, InputPort, Kind, Opening, PublishOrder, Sink, StageError,
    Verdict,
};
use statline_platform::Kind as EntryKind;
use statline_stages::{Change, Field, OutputFile, OutputPath, RecordBatch, Row, Rows};

use crate::args;
use crate::escape::escaped;
use crate::human::{self, Units};

/// Options of `changes`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangesConfig {
    /// The file to write, or "-" for standard output.
    path: OutputPath,
    /// Whether to show sizes in powers of 1000.
    #[serde(default)]
    si: bool,
}

/// The kind `changes`.
pub(crate) struct Changes;

impl Kind for Changes {
    type Config = ChangesConfig;
    type Ports = InputPort<RecordBatch>;

    fn about(&self) -> &'static str {
        "writes a line for each difference, for people to read"
    }

    fn declare(&self, config: Option<&ChangesConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config {
            config.path.check(ports);
        }
        ports.input(DEFAULT_INPUT)
    }

    fn open(
        &self,
        config: ChangesConfig,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let sink = Lines {
            output: OutputFile::open(stage, &config.path)?,
            units: args::units(config.si),
        };
        stage.sink(&input, PublishOrder::Output, sink)
    }
}

struct Lines {
    output: OutputFile,
    units: Units,
}

impl Sink for Lines {
    type In = RecordBatch;

    fn write(&mut self, batch: RecordBatch, _: &Errors) -> Result<(), StageError> {
        for row in batch.rows() {
            let line = line(&row, self.units);
            self.output.buffer().extend_from_slice(line.as_bytes());
            self.output.end_row()?;
        }
        self.output.end_message()
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.output.prepare()
    }

    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        self.output.seal(verdict)
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.output.publish(verdict)
    }

    fn keep(self, verdict: &Verdict) -> Result<(), StageError> {
        self.output.keep(verdict)
    }
}

fn line(row: &Row<'_>, units: Units) -> String {
    let sign = match row.change {
        Some(Change::Added | Change::New | Change::Copy) => '+',
        Some(Change::Removed | Change::Deleted | Change::Delete) => '-',
        Some(Change::Changed | Change::Update) => '~',
        Some(Change::Renamed) => '>',
        Some(Change::Unchanged) => '=',
        Some(Change::Unknown) | None => '?',
    };
    let mut path = escaped(&row.path_bytes());
    if row.kind == Some(EntryKind::Directory) && !path.ends_with('/') {
        path.push('/');
    }
    let former = match row.former.path {
        Some(former) => format!("{} → ", escaped(former)),
        None => String::new(),
    };
    let differs: Vec<String> = row
        .former
        .differs
        .iter()
        .map(|field| difference(field, row, units))
        .collect();
    match differs.is_empty() {
        true => format!("{sign} {former}{path}\n"),
        false => format!("{sign} {former}{path} ({})\n", differs.join(", ")),
    }
}

/// A field that differs, with both values where both are known.
fn difference(field: Field, row: &Row<'_>, units: Units) -> String {
    let size = row.metadata.and_then(|metadata| metadata.size());
    match (field, row.former.size, size) {
        (Field::Size, Some(before), Some(now)) => {
            let (mut shown, mut shown_now) =
                (human::bytes(before, units), human::bytes(now, units));
            if shown == shown_now {
                (shown, shown_now) = (human::count(before), human::count(now));
            }
            format!("size {shown} → {shown_now}")
        }
        _ => field.to_string(),
    }
}
