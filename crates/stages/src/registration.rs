//! The kinds of this crate under the names that jobs use.

use statline_pipeline::Registry;

use crate::{
    Batch, Cache, Csv, Diff, Enumerate, Filter, GrowthOf, Hash, Jsonl, Null, Paths, Plan, Renames,
    Repeated, Saved, Sort, Stat, Summarize,
};

/// Registers every kind of this crate.
///
/// # Panics
/// If one of the names is taken.
pub fn register(registry: &mut Registry) {
    registry.register("enumerate", Enumerate);
    registry.register("saved", Saved);
    registry.register("batch", Batch);
    registry.register("stat", Stat);
    registry.register("cache", Cache::default());
    registry.register("sort", Sort);
    registry.register("filter", Filter);
    registry.register("hash", Hash);
    registry.register("repeated", Repeated);
    registry.register("diff", Diff);
    registry.register("renames", Renames);
    registry.register("plan", Plan);
    registry.register("growth", GrowthOf);
    registry.register("summary", Summarize);
    registry.register("jsonl", Jsonl);
    registry.register("csv", Csv);
    registry.register("paths", Paths);
    registry.register("null", Null);
}
