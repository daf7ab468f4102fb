//! The kinds of this crate under the names that jobs use.

use statline_pipeline::Registry;

use crate::{Csv, Filter, Jsonl, Null, Paths, Summarize};

/// Registers what works on rows that are there already: `filter`, `summary` and the outputs `csv`, `jsonl`, `null` and
/// `paths`.
///
/// # Panics
/// If one of the names is taken.
pub fn register_outputs(registry: &mut Registry) {
    registry.register("csv", Csv);
    registry.register("filter", Filter);
    registry.register("jsonl", Jsonl);
    registry.register("null", Null);
    registry.register("paths", Paths);
    registry.register("summary", Summarize);
}
