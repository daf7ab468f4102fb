//! Entry types and the stages that read file systems.

#![forbid(unsafe_code)]

mod admission;
mod batch;
mod byte_prefix;
mod cache;
mod chunk;
mod claims;
mod collect;
mod concurrency;
mod content_hash;
mod csv;
mod descent;
mod diff;
mod digester;
mod directories;
mod encode;
mod entry_batch;
mod enumerate;
mod error_codes;
mod exclude;
mod explain;
mod field;
mod fields;
mod filter;
#[cfg(test)]
mod fixtures;
mod former;
mod frontier;
mod growth;
mod hard_links;
mod hash;
mod jsonl;
mod largest;
mod left_out;
mod links;
mod merge;
mod moment;
mod mount;
mod mount_report;
mod null;
mod omissions;
mod opened_roots;
mod output_file;
mod output_mark;
mod output_path;
mod packed;
mod path_order;
mod path_prefix;
mod paths;
mod plan;
mod politeness;
mod reading;
mod recall;
mod record_batch;
mod registration;
mod remembered_hashes;
mod renames;
mod repeated;
mod repetition;
mod roots;
#[cfg(test)]
#[cfg(unix)]
mod round_trip;
mod row;
mod row_input;
mod run_start;
mod saved;
mod saved_path;
mod saved_row;
mod side;
mod sort;
mod sort_key;
mod spill;
mod stale;
mod stat;
mod stat_cache;
mod store;
mod summary;
mod summary_groups;
mod temporary;
mod text_sink;
mod unread;
mod workers;

pub use batch::{Batch, BatchConfig};
pub use cache::{Cache, CacheConfig};
pub use collect::{
    CollectError, Collection, Entry, collect_with_batched_stats, collect_with_errors,
};
pub use content_hash::ContentHash;
pub use csv::{Csv, CsvConfig};
pub use diff::{Diff, DiffConfig};
pub use directories::BackendSetting;
pub use entry_batch::{DirectoryEnd, DirectoryStatus, EntryBatch};
pub use enumerate::{Enumerate, EnumerateConfig};
pub use explain::{Explanation, FieldValues, Question, Recollection, explain};
pub use field::Field;
pub use fields::StatFields;
pub use filter::{Filter, FilterConfig, KindName};
pub use former::{FieldSet, Former};
pub use growth::{DirectoryGrowth, Growth, GrowthConfig, GrowthOf};
pub use hash::{HASHED_SCHEMA, Hash, HashConfig, Hashed};
pub use jsonl::{Jsonl, JsonlConfig};
pub use moment::{Moment, ParseMomentError};
pub use null::{Null, NullConfig};
pub use output_file::{OUTPUT_FACT, OutputFile, WrittenOutput};
pub use output_mark::{MARK_SCHEMA, MarkedStage, MarkedUnread, OutputMark, VerifyError};
pub use output_path::OutputPath;
pub use paths::{Paths, PathsConfig, Separator};
pub use plan::{Plan, PlanConfig};
pub use record_batch::{Change, RecordBatch};
pub use registration::register;
pub use renames::{Renames, RenamesConfig};
pub use repeated::{Repeated, RepeatedConfig};
pub use repetition::{REPETITION_SCHEMA, Repetition};
pub use roots::RootPath;
pub use row::{Row, RowIter, Rows};
pub use saved::{Saved, SavedConfig};
pub use sort::{Sort, SortConfig};
pub use sort_key::{SortKey, UnknownSortKey};
pub use stat::{Stat, StatConfig};
pub use stat_cache::BatchedStatCache;
pub use store::{
    LastRun, RootIds, RootInfo, STORE_INFO_SCHEMA, STORE_PUT_ASIDE_FACT, StoreError, StoreInfo,
    compact_store, verify_store,
};
pub use summary::{LargeFile, SUMMARY_SCHEMA, Summarize, Summary, SummaryConfig, SummaryTime};
pub use summary_groups::{Breakdown, Group, GroupBy, Share};
