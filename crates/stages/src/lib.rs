//! Entry types and the stages that read file systems.

#![forbid(unsafe_code)]

mod entry_batch;
mod record_batch;
mod row;

pub use entry_batch::{DirectoryEnd, DirectoryStatus, EntryBatch};
pub use record_batch::{Change, RecordBatch};
pub use row::{Row, RowIter, Rows};
