//! Entry types and the stages that read file systems.

#![forbid(unsafe_code)]

mod batch;
mod directories;
mod entry_batch;
mod enumerate;
mod exclude;
mod fields;
mod frontier;
mod record_batch;
mod roots;
mod row;
mod stat;

pub use batch::{Batch, BatchConfig};
pub use directories::BackendSetting;
pub use entry_batch::{DirectoryEnd, DirectoryStatus, EntryBatch};
pub use enumerate::{Enumerate, EnumerateConfig};
pub use fields::StatFields;
pub use record_batch::{Change, RecordBatch};
pub use roots::RootPath;
pub use row::{Row, RowIter, Rows};
pub use stat::{Stat, StatConfig};

use statline_pipeline::Registry;

/// Adds every kind of stage in this crate.
///
/// # Panics
/// If one of their names is taken in the registry.
pub fn register(registry: &mut Registry) {
    registry.register("enumerate", Enumerate);
    registry.register("batch", Batch);
    registry.register("stat", Stat);
}
