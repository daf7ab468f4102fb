//! Entry types and the stages that read file systems.

#![forbid(unsafe_code)]

mod entry_batch;
mod path_order;
mod record_batch;
mod row;
mod sort;
mod sort_key;
mod stat_cache;
mod workers;

pub use entry_batch::{DirectoryEnd, DirectoryStatus, EntryBatch};
pub use record_batch::{Change, RecordBatch};
pub use row::{Row, RowIter, Rows};
pub use sort::{Sort, SortConfig};
pub use stat_cache::BatchedStatCache;
pub use sort_key::{SortKey, UnknownSortKey};
