//! What the sinks that write text have in common: how formats and files meet.
//!
//! A format appends rows to a buffer; the file behind it knows when to write. Formats allocate nothing for a row
//! whose names are UTF-8.

use std::marker::PhantomData;

use statline_pipeline::{
    Declare, Errors, InputPort, Message, Opening, PublishOrder, Sink, StageError, Verdict,
};

use crate::field::{Field, columns};
use crate::output_file::OutputFile;
use crate::output_path::OutputPath;
use crate::row_input::{AnyInput, RowInput};
use crate::{EntryBatch, RecordBatch};

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

/// Adds the worker of a sink that writes text.
pub(crate) fn open_text_sink<M: Message, F: Format<M>>(
    stage: &mut Opening<'_>,
    input: &InputPort<M>,
    mut output: OutputFile,
    mut format: F,
) -> Result<(), StageError> {
    format.begin(output.buffer());
    output.end_header();
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
