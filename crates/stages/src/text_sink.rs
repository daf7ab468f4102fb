//! What the sinks that write text have in common: which messages they take, and how formats and files meet.
//!
//! A format appends rows to a buffer; the file behind it knows when to write. Formats allocate nothing for a row.

use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use statline_pipeline::{
    DEFAULT_INPUT, Declare, ErrorRecord, Errors, InputPort, Message, Opening, PublishOrder, Scope,
    Sink, StageError, Verdict,
};
use statline_platform::{FileId, Timestamp};

use crate::field::{Field, columns};
use crate::output_file::OutputFile;
use crate::output_path::OutputPath;
use crate::{EntryBatch, RecordBatch};

/// The input of a stage that takes names or records, whichever comes in.
pub(crate) enum RowInput {
    Records(InputPort<RecordBatch>),
    Entries(InputPort<EntryBatch>),
}

/// The input of a stage that takes error records, too.
pub(crate) enum AnyInput {
    Rows(RowInput),
    Errors(InputPort<ErrorRecord>),
}

impl RowInput {
    /// Declares the port by what comes in.
    pub(crate) fn declare(ports: &mut Declare<'_>) -> RowInput {
        let incoming = ports.incoming(DEFAULT_INPUT);
        if incoming.is_some_and(|stream| stream.is::<EntryBatch>()) {
            let port = ports.input(DEFAULT_INPUT);
            ports.or_takes::<RecordBatch>();
            RowInput::Entries(port)
        } else {
            let port = ports.input(DEFAULT_INPUT);
            ports.or_takes::<EntryBatch>();
            RowInput::Records(port)
        }
    }
}

impl AnyInput {
    /// Declares the port by what comes in.
    pub(crate) fn declare(ports: &mut Declare<'_>) -> AnyInput {
        let incoming = ports.incoming(DEFAULT_INPUT);
        if incoming.is_some_and(|stream| stream.is::<ErrorRecord>()) {
            let port = ports.input(DEFAULT_INPUT);
            ports.or_takes::<RecordBatch>();
            ports.or_takes::<EntryBatch>();
            AnyInput::Errors(port)
        } else {
            let rows = RowInput::declare(ports);
            ports.or_takes::<ErrorRecord>();
            AnyInput::Rows(rows)
        }
    }
}

/// What `jsonl` and `csv` carry from *declare* to *open*.
pub struct TextPorts {
    pub(crate) input: AnyInput,
    pub(crate) columns: Vec<Field>,
}

impl TextPorts {
    pub(crate) fn declare(
        config: Option<(&OutputPath, Option<&[Field]>)>,
        ports: &mut Declare<'_>,
    ) -> TextPorts {
        if let Some((path, _)) = config {
            path.check(ports);
        }
        TextPorts {
            columns: columns(config.and_then(|(_, fields)| fields), ports),
            input: AnyInput::declare(ports),
        }
    }
}

/// How messages become text.
pub(crate) trait Format<M>: Send + 'static {
    /// Writes what comes before the first row.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Writes the rows of a message, ending each by [`OutputFile::end_row`].
    fn write(&mut self, message: &M, output: &mut OutputFile) -> Result<(), StageError>;
}

/// A sink that writes messages to a file in some format.
struct TextSink<M, F> {
    output: OutputFile,
    format: F,
    message: PhantomData<fn() -> M>,
}

impl<M: Message, F: Format<M>> Sink for TextSink<M, F> {
    type In = M;

    fn write(&mut self, message: M, _: &Errors) -> Result<(), StageError> {
        self.format.write(&message, &mut self.output)?;
        self.output.end_message()
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.output.prepare()
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.output.publish(verdict)
    }
}

/// Adds the worker of a sink that writes text.
pub(crate) fn open_text_sink<M: Message, F: Format<M>>(
    stage: &mut Opening<'_>,
    input: &InputPort<M>,
    mut output: OutputFile,
    mut format: F,
) -> Result<(), StageError> {
    format.begin(output.buffer());
    let sink = TextSink {
        output,
        format,
        message: PhantomData,
    };
    stage.sink(input, PublishOrder::Output, sink)
}

impl RowInput {
    /// Adds the worker of a sink that writes rows of either kind.
    pub(crate) fn open<F: Format<RecordBatch> + Format<EntryBatch>>(
        &self,
        stage: &mut Opening<'_>,
        output: OutputFile,
        format: F,
    ) -> Result<(), StageError> {
        match self {
            RowInput::Records(port) => open_text_sink(stage, port, output, format),
            RowInput::Entries(port) => open_text_sink(stage, port, output, format),
        }
    }
}

/// Appends a number in decimal.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a time in nanoseconds since the epoch, exact however far away it is.
#[inline]
pub(crate) fn push_nanoseconds(out: &mut Vec<u8>, time: Timestamp) {
    // 64 bits reach from 1677 to 2262.
    let near = time
        .seconds
        .checked_mul(1_000_000_000)
        .and_then(|seconds| seconds.checked_add(i64::from(time.nanoseconds)));
    match near {
        Some(nanoseconds) => push_number(out, nanoseconds),
        None => push_number(out, time.as_nanoseconds()),
    }
}

/// Appends a file's number.
#[inline]
pub(crate) fn push_file_id(out: &mut Vec<u8>, id: FileId) {
    match u64::try_from(id.as_u128()) {
        Ok(id) => push_number(out, id),
        Err(_) => push_number(out, id.as_u128()),
    }
}

/// Appends bytes, given in parts, in standard base64.
#[cold]
pub(crate) fn push_base64(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(BASE64_STANDARD.encode(parts.concat()).as_bytes());
}

/// How much is missing because of an error, as a word.
pub(crate) fn scope(error: &ErrorRecord) -> &'static str {
    match error.scope {
        Scope::Entry => "entry",
        Scope::Subtree => "subtree",
    }
}

/// Bytes as text, or in base64 if they are none.
pub(crate) fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}
