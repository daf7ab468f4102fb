//! `jsonl`: writes rows as JSON Lines, one flat object a line.
//!
//! Every line is valid JSON, whatever bytes names hold: a path that is UTF-8 is `path`, any other `path_b64`, its bytes
//! in base64; so with `target`. What is not known of a row is not in its object.

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
use crate::{FieldSet, Row, Rows};

/// Options of `jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JsonlConfig {
    /// The file to write, or "-" for standard output.
    pub path: OutputPath,
    /// The columns, in their order; all that is fetched, if not given.
    #[serde(default)]
    pub fields: Option<Vec<Field>>,
}

impl JsonlConfig {
    /// The default options for this output.
    pub fn new(path: impl Into<String>) -> JsonlConfig {
        JsonlConfig {
            path: OutputPath::new(path),
            fields: None,
        }
    }
}

/// The kind `jsonl`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jsonl;

impl Kind for Jsonl {
    type Config = JsonlConfig;
    type Ports = TextPorts;

    fn about(&self) -> &'static str {
        "writes rows as JSON Lines"
    }

    fn declare(&self, config: Option<&JsonlConfig>, ports: &mut Declare<'_>) -> TextPorts {
        let config = config.map(|config| (&config.path, config.fields.as_deref()));
        TextPorts::declare(config, ports)
    }

    fn open(
        &self,
        config: JsonlConfig,
        TextPorts { input, columns }: TextPorts,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let output = OutputFile::open(stage, &config.path)?;
        match input {
            AnyInput::Rows(rows) => rows.open(stage, output, JsonRows::new(columns)),
            AnyInput::Errors(port) => open_text_sink(stage, &port, output, JsonErrors),
        }
    }
}

/// Rows as JSON Lines.
struct JsonRows {
    columns: Vec<Field>,
    path: PathMember,
}

impl JsonRows {
    fn new(columns: Vec<Field>) -> JsonRows {
        JsonRows {
            columns,
            path: PathMember::default(),
        }
    }

    fn row(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        macro_rules! key {
            ($column:literal) => {
                out.extend_from_slice(concat!(",\"", $column, "\":").as_bytes())
            };
        }
        macro_rules! value {
            ($column:literal, $get:ident, $push:ident) => {
                if let Some(value) = row.metadata.and_then(Metadata::$get) {
                    key!($column);
                    $push(out, value);
                }
            };
        }
        let start = out.len();
        for &column in &self.columns {
            match column {
                Field::Path => self.path.push(row, out),
                Field::Kind => {
                    if let Some(kind) = row.kind {
                        key!("kind");
                        push_word(out, kind.as_str());
                    }
                }
                Field::Mode => value!("mode", mode, push_number),
                Field::Uid => value!("uid", uid, push_number),
                Field::Gid => value!("gid", gid, push_number),
                Field::Size => value!("size", size, push_number),
                Field::Allocated => value!("allocated", allocated, push_number),
                Field::Nlink => value!("nlink", nlink, push_number),
                Field::Inode => value!("inode", file_id, push_file_id),
                Field::Device => value!("device", device, push_number),
                Field::Rdev => value!("rdev", rdev, push_number),
                Field::Atime => value!("atime_ns", accessed, push_nanoseconds),
                Field::Mtime => value!("mtime_ns", modified, push_nanoseconds),
                Field::Ctime => value!("ctime_ns", changed, push_nanoseconds),
                Field::Btime => value!("btime_ns", born, push_nanoseconds),
                Field::Attributes => value!("attributes", attributes, push_number),
                Field::MountId => value!("mount_id", mount_id, push_number),
                Field::Target => {
                    if let Some(target) = row.target {
                        push_bytes(out, "target", target);
                    }
                }
                Field::Change => {
                    if let Some(change) = row.change {
                        key!("change");
                        push_word(out, change.as_str());
                    }
                }
                Field::Remembered => {
                    if row.remembered {
                        key!("remembered");
                        out.extend_from_slice(b"true");
                    }
                }
                Field::Hash => {
                    if let Some(hash) = row.hash {
                        key!("hash");
                        out.push(b'"');
                        hash.write_hex(out);
                        out.push(b'"');
                    }
                }
                Field::Differs => {
                    if !row.former.differs.is_empty() {
                        key!("differs");
                        push_words(out, row.former.differs);
                    }
                }
                Field::FormerSize => {
                    if let Some(size) = row.former.size {
                        key!("former_size");
                        push_number(out, size);
                    }
                }
                Field::FormerPath => {
                    if let Some(path) = row.former.path {
                        push_bytes(out, "former_path", path);
                    }
                }
                Field::Depth => {
                    key!("depth");
                    push_number(out, row.depth());
                }
            }
        }
        end_object(out, start);
    }
}

impl<B: Rows> Format<B> for JsonRows {
    fn write(&mut self, batch: &B, output: &mut OutputFile) -> Result<(), StageError> {
        for row in batch.rows() {
            self.row(&row, output.buffer());
            output.end_row()?;
        }
        Ok(())
    }
}

/// The member of a path.
#[derive(Default)]
struct PathMember {
    prefix: PathPrefix,
    /// The prefix as it stands in a string, if it is UTF-8.
    escaped_prefix: Vec<u8>,
}

impl PathMember {
    #[inline]
    fn push(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        if self.prefix.enter(row) {
            self.escaped_prefix.clear();
            escape(self.prefix.bytes(), &mut self.escaped_prefix);
        }
        let name = row.name.as_bytes();
        let plain = is_plain(name);
        if self.prefix.is_utf8() && (plain || std::str::from_utf8(name).is_ok()) {
            out.extend_from_slice(b",\"path\":\"");
            out.extend_from_slice(&self.escaped_prefix);
            match plain {
                true => out.extend_from_slice(name),
                false => escape(name, out),
            }
        } else {
            out.extend_from_slice(b",\"path_b64\":\"");
            push_base64(out, &[self.prefix.bytes(), name]);
        }
        out.push(b'"');
    }
}

/// Error records as JSON Lines.
struct JsonErrors;

impl Format<ErrorRecord> for JsonErrors {
    fn write(&mut self, error: &ErrorRecord, output: &mut OutputFile) -> Result<(), StageError> {
        let out = output.buffer();
        let start = out.len();
        push_bytes(out, "stage", error.stage.as_bytes());
        push_bytes(out, "operation", error.operation.as_bytes());
        push_bytes(out, "path", &error.subject);
        push_bytes(out, "code", error.code.as_bytes());
        push_bytes(out, "message", error.message.as_bytes());
        push_bytes(out, "scope", scope(error).as_bytes());
        let accepted: &[u8] = match error.accepted {
            true => b",\"accepted\":true",
            false => b",\"accepted\":false",
        };
        out.extend_from_slice(accepted);
        end_object(out, start);
        output.end_row()
    }
}

/// Makes an object of what was appended since `start`: members, each with a comma in front.
fn end_object(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a member of text, or of the same bytes in base64 under another key if they are none.
fn push_bytes(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    let is_text = std::str::from_utf8(bytes).is_ok();
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(if is_text { b"\":\"" } else { b"_b64\":\"" });
    match is_text {
        true => escape(bytes, out),
        false => push_base64(out, &[bytes]),
    }
    out.push(b'"');
}

/// Appends a string that needs no escapes.
#[inline]
fn push_word(out: &mut Vec<u8>, word: &str) {
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// Appends an array of the names of fields.
fn push_words(out: &mut Vec<u8>, fields: FieldSet) {
    let start = out.len();
    for field in fields.iter() {
        out.push(b',');
        push_word(out, field.as_str());
    }
    match out.get_mut(start) {
        Some(comma) => *comma = b'[',
        None => out.push(b'['),
    }
    out.push(b']');
}

/// What a byte becomes in a string: 0 itself, `u` an escape by number, anything else itself behind a backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[0x0c] = b'f';
    escapes[b'\r' as usize] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Whether text is ASCII that stands in a string as it is: what nearly all names are.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    // Without a branch for each byte, so that the compiler can look at many at once.
    text.iter().fold(true, |plain, &byte| {
        plain & (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
    })
}

/// Appends UTF-8 as it stands in a string.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut run = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[run..at]);
        run = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'0', b'0', HEX[high], HEX[low]]);
        }
    }
    out.extend_from_slice(&text[run..]);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use statline_pipeline::{Builder, ErrorRecord, Message, Outcome, RunReport, Scope};

    use super::*;
    use crate::fixtures::{
        Given, Sample, batches, child, entries, file, records, root, samples, time,
    };
    #[cfg(unix)]
    use crate::fixtures::{hostile_samples, python};
    use crate::{Change, EntryBatch, RecordBatch};

    fn write<M: Message + Sync>(
        messages: Vec<M>,
        path: &Path,
        fields: Option<Vec<Field>>,
    ) -> RunReport {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::all(messages), ()).done();
        let config = JsonlConfig {
            fields,
            ..JsonlConfig::new(path.to_str().unwrap())
        };
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        builder.build().unwrap().run()
    }

    fn written<M: Message + Sync>(messages: Vec<M>, fields: Option<Vec<Field>>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let report = write(messages, &path, fields);
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        String::from_utf8(std::fs::read(path).unwrap()).unwrap()
    }

    /// A row as it is read back; numbers in the range that files can have.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        path: Option<String>,
        path_b64: Option<String>,
        kind: Option<String>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        allocated: Option<u64>,
        nlink: Option<u64>,
        inode: Option<u128>,
        device: Option<u64>,
        rdev: Option<u64>,
        atime_ns: Option<i128>,
        mtime_ns: Option<i128>,
        ctime_ns: Option<i128>,
        btime_ns: Option<i128>,
        attributes: Option<u64>,
        mount_id: Option<u64>,
        target: Option<String>,
        target_b64: Option<String>,
    }

    fn bytes(text: Option<String>, base64: Option<String>) -> Vec<u8> {
        match (text, base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => {
                let bytes = BASE64_STANDARD.decode(base64).unwrap();
                assert!(std::str::from_utf8(&bytes).is_err(), "base64 without need");
                bytes
            }
            (text, base64) => panic!("one of {text:?} and {base64:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_with_any_names_and_values_come_back(samples in samples(), rows in 1_usize..8) {
            let text = written(batches(&samples, rows), None);
            let lines: Vec<&str> = text.split_terminator('\n').collect();
            prop_assert_eq!(lines.len(), samples.len());
            for (line, sample) in lines.into_iter().zip(&samples) {
                let line: Line = serde_json::from_str(line).unwrap();
                let Sample { metadata, target, .. } = sample;
                prop_assert_eq!(bytes(line.path, line.path_b64), sample.path());
                match target.is_empty() {
                    true => prop_assert_eq!((line.target, line.target_b64), (None, None)),
                    false => prop_assert_eq!(&bytes(line.target, line.target_b64), target),
                }
                prop_assert_eq!(line.kind.as_deref(), metadata.kind().map(|kind| kind.as_str()));
                prop_assert_eq!(line.mode, metadata.mode());
                prop_assert_eq!((line.uid, line.gid), (metadata.uid(), metadata.gid()));
                prop_assert_eq!((line.size, line.allocated), (metadata.size(), metadata.allocated()));
                prop_assert_eq!(line.inode, metadata.file_id().map(|id| id.as_u128()));
                prop_assert_eq!((line.nlink, line.device, line.rdev), (metadata.nlink(), metadata.device(), metadata.rdev()));
                prop_assert_eq!((line.attributes, line.mount_id), (metadata.attributes(), metadata.mount_id()));
                let times = [metadata.accessed(), metadata.modified(), metadata.changed(), metadata.born()];
                let times = times.map(|time| time.map(|time| time.as_nanoseconds()));
                prop_assert_eq!([line.atime_ns, line.mtime_ns, line.ctime_ns, line.btime_ns], times);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn python_reads_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let samples = hostile_samples();
        write(batches(&samples, 5), &path, None);
        let program = r#"
import base64, json, sys
for line in open(sys.argv[1], "rb"):
    row = json.loads(line)
    def value(key):
        if key in row: return row[key].encode("utf-8")
        return base64.b64decode(row[key + "_b64"], validate=True)
    print(value("path").hex(), value("target").hex(), row.get("mode"), row["size"], row["mtime_ns"])
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
            let metadata = &sample.metadata;
            let mode = metadata.mode();
            format!(
                "{} {} {} {} {}\n",
                hex(&sample.path()),
                hex(&sample.target),
                mode.map_or("None".to_owned(), |mode| mode.to_string()),
                metadata.size().unwrap(),
                metadata.modified().unwrap().as_nanoseconds(),
            )
        });
        assert_eq!(read, expected.collect::<String>());
    }

    #[test]
    fn columns_come_in_the_order_of_the_job_and_what_is_unknown_is_left_out() {
        let mut batch = EntryBatch::default();
        let directory = child(&root("/"), b"d");
        batch.extend(&directory, |entries| {
            entries.push(b"a", None, 0);
            entries.push(b"b", None, 0);
        });
        let full = file(|metadata| {
            metadata
                .set_size(0)
                .set_mode(0o100_644)
                .set_modified(time(-2, 500_000_000));
        });
        let mut records = RecordBatch::new(batch, vec![full, Default::default()]);
        records.set_changes(&[Change::New, Change::Unchanged]);
        let fields = vec![
            Field::Size,
            Field::Change,
            Field::Path,
            Field::Mtime,
            Field::Mode,
            Field::Depth,
        ];
        assert_eq!(
            written(vec![records.clone()], Some(fields)),
            concat!(
                r#"{"size":0,"change":"new","path":"/d/a","mtime_ns":-1500000000,"mode":420,"depth":2}"#,
                "\n",
                r#"{"change":"unchanged","path":"/d/b","depth":2}"#,
                "\n",
            )
        );
        let unknown = written(vec![records], Some(vec![Field::Rdev]));
        assert_eq!(unknown, "{}\n{}\n");
    }

    #[test]
    fn names_come_with_path_and_kind() {
        assert_eq!(
            written(vec![entries(&[b"a\"b"])], None),
            "{\"path\":\"dir/a\\\"b\",\"kind\":\"file\"}\n"
        );
    }

    #[test]
    fn a_root_is_its_path_and_shares_no_prefix_with_its_entries() {
        let directory = root("dir");
        let mut batch = EntryBatch::default();
        batch.extend(&directory, |entries| {
            entries.push(b"a", None, 0);
            entries.push(b"", None, 0);
            entries.push(b"b", None, 0);
        });
        let text = written(vec![batch], Some(vec![Field::Path]));
        let expected = ["dir/a", "dir", "dir/b"].map(|path| format!("{{\"path\":\"{path}\"}}\n"));
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn error_records_say_what_is_missing() {
        let mut denied = ErrorRecord::new(
            "open",
            b"a\nb".to_vec(),
            "EACCES",
            "Permission \"denied\"",
            Scope::Subtree,
        );
        denied.accepted = true;
        let lost = ErrorRecord::new("stat", b"\xff".to_vec(), "EIO", "lost", Scope::Entry);
        assert_eq!(
            written(vec![denied, lost], None),
            concat!(
                r#"{"stage":"","operation":"open","path":"a\nb","code":"EACCES","#,
                r#""message":"Permission \"denied\"","scope":"subtree","accepted":true}"#,
                "\n",
                r#"{"stage":"","operation":"stat","path_b64":"/w==","code":"EIO","#,
                r#""message":"lost","scope":"entry","accepted":false}"#,
                "\n",
            )
        );
    }

    #[test]
    fn a_message_of_another_type_is_refused_with_all_that_would_do() {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::new(7_u64), ()).done();
        let _ = builder
            .stage("out", Jsonl, JsonlConfig::new("-"))
            .reads(&source);
        let found = crate::fixtures::problems(builder);
        assert_eq!(found.len(), 1, "{found:?}");
        for name in ["RecordBatch", "EntryBatch", "ErrorRecord"] {
            assert!(found[0].1.contains(name), "{found:?}");
        }
    }

    #[test]
    fn an_empty_stream_makes_an_empty_file() {
        assert_eq!(written(Vec::<RecordBatch>::new(), None), "");
        assert_eq!(written(vec![records(&[])], None), "");
    }
}
