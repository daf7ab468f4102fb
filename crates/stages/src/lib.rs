//! Entry types and the stages that read file systems.

#![forbid(unsafe_code)]

mod admission;
mod batch;
mod byte_prefix;
mod cache;
mod claims;
mod collect;
mod content_hash;
mod csv;
mod descent;
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
mod frontier;
mod hard_links;
mod hash;
mod jsonl;
mod largest;
mod left_out;
mod links;
mod moment;
mod null;
mod opened_roots;
mod output_file;
mod output_mark;
mod output_path;
mod packed;
mod path_order;
mod path_prefix;
mod paths;
mod reading;
mod recall;
mod record_batch;
mod registration;
mod remembered_hashes;
mod repeated;
mod repetition;
mod roots;
#[cfg(test)]
mod round_trip;
mod row;
mod row_input;
mod run_start;
mod sort;
mod sort_key;
mod spill;
mod stale;
mod stat;
mod stat_ahead;
mod stat_cache;
#[allow(dead_code, reason = "digests are for the stage that hashes")]
mod store;
mod summary;
mod summary_groups;
mod temporary;
mod text_sink;
mod workers;

pub use batch::{Batch, BatchConfig};
pub use cache::{Cache, CacheConfig};
pub use collect::{
    CollectError, Collection, Entry, collect_with_batched_stats, collect_with_errors,
};
pub use content_hash::ContentHash;
pub use csv::{Csv, CsvConfig};
pub use directories::BackendSetting;
pub use entry_batch::{DirectoryEnd, DirectoryStatus, EntryBatch};
pub use enumerate::{Enumerate, EnumerateConfig};
pub use explain::{Explanation, FieldValues, Question, Recollection, explain};
pub use field::Field;
pub use fields::StatFields;
pub use filter::{Filter, FilterConfig, KindName};
pub use hash::{HASHED_SCHEMA, Hash, HashConfig, Hashed};
pub use jsonl::{Jsonl, JsonlConfig};
pub use moment::{Moment, ParseMomentError};
pub use null::{Null, NullConfig};
pub use output_file::{OUTPUT_FACT, OutputFile, WrittenOutput};
pub use output_mark::{MARK_SCHEMA, MarkedStage, OutputMark, VerifyError};
pub use output_path::OutputPath;
pub use paths::{Paths, PathsConfig, Separator};
pub use record_batch::{Change, RecordBatch};
pub use registration::register;
pub use repeated::{Repeated, RepeatedConfig};
pub use repetition::{REPETITION_SCHEMA, Repetition};
pub use roots::RootPath;
pub use row::{Row, RowIter, Rows};
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
