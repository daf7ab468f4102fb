//! `csv`: writes rows as CSV, quoted as RFC 4180 says, under a header line.
//!
//! A path that is not UTF-8 cannot stand in a file of text, so there are two columns for it: `path`, and `path_b64` with
//! its bytes in base64. One of the two is filled in each row. So with `target`, where both are empty if there is none.
//! What is not known of a row is an empty cell. Lines end with a line feed alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{Declare, ErrorRecord, Kind, Opening, StageError};
use statline_platform::Metadata;

use crate::encode::{push_base64, push_file_id, push_nanoseconds, push_number, scope};
use crate::field::Field;
use crate::output_file::OutputFile;
use crate::output_path::OutputPath;
use crate::path_prefix::PathPrefix;
use crate::row_input::AnyInput;
use crate::text_sink::{Format, TextPorts, open_text_sink};
use crate::{Row, Rows};

/// Options of `csv`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CsvConfig {
    /// The file to write, or "-" for standard output.
    pub path: OutputPath,
    /// The columns, in their order; all that is fetched, if not given.
    #[serde(default)]
    pub fields: Option<Vec<Field>>,
}

impl CsvConfig {
    /// The default options for this output.
    pub fn new(path: impl Into<String>) -> CsvConfig {
        CsvConfig {
            path: OutputPath::new(path),
            fields: None,
        }
    }
}

/// The kind `csv`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv;

impl Kind for Csv {
    type Config = CsvConfig;
    type Ports = TextPorts;

    fn about(&self) -> &'static str {
        "writes rows as CSV"
    }

    fn declare(&self, config: Option<&CsvConfig>, ports: &mut Declare<'_>) -> TextPorts {
        let config = config.map(|config| (&config.path, config.fields.as_deref()));
        TextPorts::declare(config, ports)
    }

    fn open(
        &self,
        config: CsvConfig,
        TextPorts { input, columns }: TextPorts,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let output = OutputFile::open(stage, &config.path)?;
        match input {
            AnyInput::Rows(rows) => rows.open(stage, output, CsvRows::new(columns)),
            AnyInput::Errors(port) => open_text_sink(stage, &port, output, CsvErrors),
        }
    }
}

/// Rows as CSV.
struct CsvRows {
    columns: Vec<Field>,
    path: PathCells,
}

impl CsvRows {
    fn new(columns: Vec<Field>) -> CsvRows {
        CsvRows {
            columns,
            path: PathCells::default(),
        }
    }

    fn row(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        macro_rules! value {
            ($get:ident, $push:ident) => {
                if let Some(value) = row.metadata.and_then(Metadata::$get) {
                    $push(out, value);
                }
            };
        }
        let start = out.len();
        for &column in &self.columns {
            match column {
                Field::Path => self.path.push(row, out),
                Field::Kind => {
                    let kind = row.kind.map_or("", |kind| kind.as_str());
                    out.extend_from_slice(kind.as_bytes());
                }
                Field::Mode => value!(mode, push_number),
                Field::Uid => value!(uid, push_number),
                Field::Gid => value!(gid, push_number),
                Field::Size => value!(size, push_number),
                Field::Allocated => value!(allocated, push_number),
                Field::Nlink => value!(nlink, push_number),
                Field::Inode => value!(file_id, push_file_id),
                Field::Device => value!(device, push_number),
                Field::Rdev => value!(rdev, push_number),
                Field::Atime => value!(accessed, push_nanoseconds),
                Field::Mtime => value!(modified, push_nanoseconds),
                Field::Ctime => value!(changed, push_nanoseconds),
                Field::Btime => value!(born, push_nanoseconds),
                Field::Attributes => value!(attributes, push_number),
                Field::MountId => value!(mount_id, push_number),
                Field::Target => push_bytes(out, row.target.unwrap_or_default()),
                Field::Change => {
                    let change = row.change.map_or("", |change| change.as_str());
                    out.extend_from_slice(change.as_bytes());
                }
                Field::Remembered => {
                    if row.remembered {
                        out.extend_from_slice(b"true");
                    }
                }
                Field::Hash => {
                    if let Some(hash) = row.hash {
                        hash.write_hex(out);
                    }
                }
                Field::Differs => {
                    for (place, field) in row.former.differs.iter().enumerate() {
                        if place > 0 {
                            out.push(b' ');
                        }
                        out.extend_from_slice(field.as_str().as_bytes());
                    }
                }
                Field::FormerSize => {
                    if let Some(size) = row.former.size {
                        push_number(out, size);
                    }
                }
                Field::FormerPath => push_bytes(out, row.former.path.unwrap_or_default()),
                Field::Depth => push_number(out, row.depth()),
            }
            out.push(b',');
        }
        end_line(out, start);
    }
}

impl<B: Rows> Format<B> for CsvRows {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        for column in &self.columns {
            let name = column.column();
            out.extend_from_slice(name.as_bytes());
            out.push(b',');
            if matches!(column, Field::Path | Field::Target | Field::FormerPath) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"_b64,");
            }
        }
        end_line(out, start);
    }

    fn write(&mut self, batch: &B, output: &mut OutputFile) -> Result<(), StageError> {
        for row in batch.rows() {
            self.row(&row, output.buffer());
            output.end_row()?;
        }
        Ok(())
    }
}

/// The two cells of a path.
#[derive(Default)]
struct PathCells {
    prefix: PathPrefix,
    /// The prefix as it stands between quotes.
    doubled_prefix: Vec<u8>,
    /// Whether the prefix needs quotes.
    quoted_prefix: bool,
}

impl PathCells {
    fn push(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        if self.prefix.enter(row) {
            self.doubled_prefix.clear();
            double_quotes(self.prefix.bytes(), &mut self.doubled_prefix);
            self.quoted_prefix = needs_quotes(self.prefix.bytes());
        }
        let name = row.name.as_bytes();
        if !self.prefix.is_utf8() || std::str::from_utf8(name).is_err() {
            out.push(b',');
            push_base64(out, &[self.prefix.bytes(), name]);
            return;
        }
        if self.quoted_prefix || needs_quotes(name) {
            out.push(b'"');
            out.extend_from_slice(&self.doubled_prefix);
            double_quotes(name, out);
            out.push(b'"');
        } else {
            out.extend_from_slice(self.prefix.bytes());
            out.extend_from_slice(name);
        }
        out.push(b',');
    }
}

/// Error records as CSV.
struct CsvErrors;

impl Format<ErrorRecord> for CsvErrors {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"stage,operation,path,path_b64,code,message,scope,accepted\n");
    }

    fn write(&mut self, error: &ErrorRecord, output: &mut OutputFile) -> Result<(), StageError> {
        let out = output.buffer();
        let start = out.len();
        push_text(out, &error.stage);
        out.push(b',');
        push_text(out, error.operation);
        out.push(b',');
        push_bytes(out, &error.subject);
        out.push(b',');
        push_text(out, &error.code);
        out.push(b',');
        push_text(out, &error.message);
        out.push(b',');
        push_text(out, scope(error));
        out.push(b',');
        push_text(out, if error.accepted { "true" } else { "false" });
        out.push(b',');
        end_line(out, start);
        output.end_row()
    }
}

/// Ends the line that began at `start` and has a comma after each cell.
fn end_line(out: &mut Vec<u8>, start: usize) {
    if out.len() == start + 1 {
        // A line with nothing on it is no row to many readers.
        out.truncate(start);
        out.extend_from_slice(b"\"\"\n");
    } else if let Some(comma) = out.last_mut() {
        *comma = b'\n';
    }
}

/// Appends a cell for text and one for the same bytes in base64 if they are none; one of them is empty.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            push_text(out, text);
            out.push(b',');
        }
        Err(_) => {
            out.push(b',');
            push_base64(out, &[bytes]);
        }
    }
}

/// Appends a cell.
fn push_text(out: &mut Vec<u8>, text: &str) {
    if needs_quotes(text.as_bytes()) {
        out.push(b'"');
        double_quotes(text.as_bytes(), out);
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Whether a cell with these bytes in it stands in quotes.
fn needs_quotes(text: &[u8]) -> bool {
    // Without a branch for each byte, so that the compiler can look at many at once.
    text.iter().fold(false, |needs, &byte| {
        needs | (byte == b'"') | (byte == b',') | (byte == b'\n') | (byte == b'\r')
    })
}

/// Appends text as it stands between quotes.
fn double_quotes(text: &[u8], out: &mut Vec<u8>) {
    for part in text.split_inclusive(|&byte| byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use statline_pipeline::{Builder, ErrorRecord, Message, Outcome, Scope};

    use super::*;
    use crate::RecordBatch;
    use crate::fixtures::{Given, batches, records, samples};
    #[cfg(unix)]
    use crate::fixtures::{hostile_samples, python};

    fn write<M: Message + Sync>(messages: Vec<M>, path: &Path, fields: Option<Vec<Field>>) {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::all(messages), ()).done();
        let config = CsvConfig {
            fields,
            ..CsvConfig::new(path.to_str().unwrap())
        };
        let _ = builder.stage("out", Csv, config).reads(&source);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    }

    fn written<M: Message + Sync>(messages: Vec<M>, fields: Option<Vec<Field>>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        write(messages, &path, fields);
        String::from_utf8(std::fs::read(path).unwrap()).unwrap()
    }

    /// Reads CSV as RFC 4180 has it.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = Vec::new();
        let mut cell = String::new();
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' if quoted && characters.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\n' if !quoted => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                other => cell.push(other),
            }
        }
        assert!(!quoted && cell.is_empty() && row.is_empty());
        rows
    }

    fn bytes(text: &str, base64: &str) -> Vec<u8> {
        match base64 {
            "" => text.as_bytes().to_vec(),
            base64 => {
                assert_eq!(text, "");
                BASE64_STANDARD.decode(base64).unwrap()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_with_any_names_and_values_come_back(samples in samples(), rows in 1_usize..8) {
            let text = written(batches(&samples, rows), None);
            let mut rows = parse(&text).into_iter();
            let header = rows.next().unwrap();
            prop_assert_eq!(
                header.join(","),
                "path,path_b64,kind,mode,uid,gid,size,allocated,nlink,inode,device,rdev,atime_ns,mtime_ns,ctime_ns,btime_ns,\
                 attributes,mount_id,target,target_b64,change,remembered,hash,differs,former_size,former_path,former_path_b64"
            );
            prop_assert_eq!(rows.len(), samples.len());
            for (row, sample) in rows.zip(&samples) {
                let metadata = &sample.metadata;
                let cell = |name: &str| row[header.iter().position(|column| column == name).unwrap()].as_str();
                prop_assert_eq!(bytes(cell("path"), cell("path_b64")), sample.path());
                prop_assert_eq!(&bytes(cell("target"), cell("target_b64")), &sample.target);
                let number = |value: Option<i128>| value.map_or(String::new(), |value| value.to_string());
                prop_assert_eq!(cell("kind"), metadata.kind().map_or("", |kind| kind.as_str()));
                prop_assert_eq!(cell("mode"), number(metadata.mode().map(i128::from)));
                prop_assert_eq!(cell("uid"), number(metadata.uid().map(i128::from)));
                prop_assert_eq!(cell("size"), number(metadata.size().map(i128::from)));
                prop_assert_eq!(cell("inode"), metadata.file_id().map_or(String::new(), |id| id.to_string()));
                prop_assert_eq!(cell("mtime_ns"), number(metadata.modified().map(|time| time.as_nanoseconds())));
                prop_assert_eq!(cell("btime_ns"), number(metadata.born().map(|time| time.as_nanoseconds())));
                prop_assert_eq!(cell("change"), "");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn python_reads_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let samples = hostile_samples();
        let fields = vec![Field::Path, Field::Mode, Field::Mtime, Field::Target];
        write(batches(&samples, 5), &path, Some(fields));
        let program = r#"
import base64, csv, sys
with open(sys.argv[1], newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file, strict=True):
        assert None not in row and None not in row.values(), row
        def value(key):
            return base64.b64decode(row[key + "_b64"], validate=True) or row[key].encode("utf-8")
        print(value("path").hex(), value("target").hex(), row["mode"], row["mtime_ns"])
"#;
        let Some(read) = python(program, &path) else {
            return;
        };
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let expected = samples.iter().map(|sample| {
            let mode = sample.metadata.mode();
            format!(
                "{} {} {} {}\n",
                hex(&sample.path()),
                hex(&sample.target),
                mode.map_or(String::new(), |mode| mode.to_string()),
                sample.metadata.modified().unwrap().as_nanoseconds(),
            )
        });
        assert_eq!(read, expected.collect::<String>());
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        let names: [&[u8]; 5] = [b"plain name", b"a,b", b"a\"b", b"a\rb", b"\xff"];
        assert_eq!(
            written(
                vec![records(&names)],
                Some(vec![Field::Path, Field::Kind, Field::Size])
            ),
            "path,path_b64,kind,size\n\
             dir/plain name,,file,\n\
             \"dir/a,b\",,file,\n\
             \"dir/a\"\"b\",,file,\n\
             \"dir/a\rb\",,file,\n\
             ,ZGlyL/8=,file,\n"
        );
    }

    #[test]
    fn a_row_with_nothing_in_its_only_cell_is_a_row() {
        let text = written(vec![records(&[b"a", b"b"])], Some(vec![Field::Size]));
        assert_eq!(text, "size\n\"\"\n\"\"\n");
    }

    #[test]
    fn an_empty_stream_has_a_header() {
        let text = written(Vec::<RecordBatch>::new(), Some(vec![Field::Path]));
        assert_eq!(text, "path,path_b64\n");
    }

    #[test]
    fn error_records_say_what_is_missing() {
        let message = "Permission denied, \"really\"";
        let denied = ErrorRecord::new("open", b"a".to_vec(), "EACCES", message, Scope::Subtree);
        let lost = ErrorRecord::new("stat", b"\xff".to_vec(), "EIO", "lost", Scope::Entry);
        assert_eq!(
            written(vec![denied, lost], None),
            "stage,operation,path,path_b64,code,message,scope,accepted\n\
             ,open,a,,EACCES,\"Permission denied, \"\"really\"\"\",subtree,false\n\
             ,stat,,/w==,EIO,lost,entry,false\n"
        );
    }
}
