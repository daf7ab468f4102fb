//! The kinds of this crate under the names that jobs use.

use statline_pipeline::Registry;

use crate::{
    Batch, Cache, Csv, Enumerate, Filter, Hash, Jsonl, Null, Paths, Repeated, Sort, Stat, Summarize,
};

/// Registers every kind of this crate.
///
/// # Panics
/// If one of the names is taken.
pub fn register(registry: &mut Registry) {
    registry.register("enumerate", Enumerate);
    registry.register("batch", Batch);
    registry.register("stat", Stat);
    registry.register("cache", Cache::default());
    registry.register("sort", Sort);
    registry.register("filter", Filter);
    registry.register("hash", Hash);
    registry.register("repeated", Repeated);
    registry.register("summary", Summarize);
    registry.register("jsonl", Jsonl);
    registry.register("csv", Csv);
    registry.register("paths", Paths);
    registry.register("null", Null);
}
