//! The input of stages that take rows in whatever form they come.
//!
//! The type of the port is chosen when the stage is declared, so that nothing is left to decide for a message.

use statline_pipeline::{DEFAULT_INPUT, Declare, ErrorRecord, InputPort};

use crate::{EntryBatch, RecordBatch};

/// The input of a stage that takes names or records, whichever comes in.
pub enum RowInput {
    Records(InputPort<RecordBatch>),
    Entries(InputPort<EntryBatch>),
}

/// The input of a stage that takes error records, too.
pub enum AnyInput {
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
