//! What a job left out of a scan on purpose: by options, by filters, by limits.
//!
//! Two scans can be compared entry by entry only if they left out the same. Our own stages state it as a fact when they are
//! opened; of a stage that a program registers, its options say it. One thing must stay true: a stage of a job's text of
//! which nothing is known, and that others feed, counts as one that may leave something out. A program that assembles a
//! job from its own values answers for them itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use statline_pipeline::{Context, StageError};

/// The fact by which a stage states what was left out of what it reads.
pub(crate) const LEFT_OUT: &str = "left_out";

/// A stage that leaves something out, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Omission {
    pub(crate) kind: String,
    pub(crate) options: Value,
}

/// The options of `enumerate` that leave something out, with what they are unless a job says otherwise.
fn walk_options() -> [(&'static str, Value); 6] {
    [
        ("follow_symlinks", json!(false)),
        ("one_file_system", json!(false)),
        ("max_depth", Value::Null),
        ("exclude", json!([])),
        ("skip_pseudo", json!(true)),
        ("skip_snapshots", json!(true)),
    ]
}

/// States what one of our own stages leaves out, if it does.
pub(crate) fn state(
    context: &Context,
    kind: &str,
    options: &impl Serialize,
) -> Result<(), StageError> {
    let options = serde_json::to_value(options).map_err(StageError::failed)?;
    match own(kind, &options) {
        None => Ok(()),
        Some(left_out) => context.set_fact(LEFT_OUT, &[left_out]),
    }
}

/// What one of our own stages leaves out with these options.
fn own(kind: &str, options: &Value) -> Option<Omission> {
    let option = |name: &str| options.get(name);
    let options = match kind {
        "filter" => options.clone(),
        "enumerate" => {
            let said = walk_options().into_iter().filter_map(|(name, default)| {
                let value = option(name).filter(|value| **value != default)?;
                Some((name.to_owned(), value.clone()))
            });
            let said: Map<String, Value> = said.collect();
            (!said.is_empty()).then_some(Value::Object(said))?
        }
        "sort" => match option("limit") {
            None | Some(Value::Null) => return None,
            Some(limit) => json!({"by": option("by"), "limit": limit}),
        },
        _ => return None,
    };
    Some(Omission {
        kind: kind.to_owned(),
        options,
    })
}

/// The kinds of ours that pass on all that comes in to them.
const WHOLE: [&str; 5] = ["batch", "stat", "cache", "hash", "sort"];

/// What a stage leaves out, that other stages feed or that is a source.
pub(crate) fn of_stage(
    kind: &str,
    is_source: bool,
    options: Option<&Value>,
    facts: &BTreeMap<String, Value>,
) -> Vec<Omission> {
    if let Some(stated) = facts.get(LEFT_OUT) {
        return serde_json::from_value(stated.clone()).unwrap_or_default();
    }
    match options {
        // What a program's own source could have sent, and did not, nobody knows.
        Some(options) if !is_source && !WHOLE.contains(&kind) => vec![Omission {
            kind: kind.to_owned(),
            options: options.clone(),
        }],
        _ => Vec::new(),
    }
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.kind, self.options)
    }
}

/// What was left out, in words.
pub(crate) fn describe(left_out: &[Omission]) -> String {
    match left_out {
        [] => "nothing".to_owned(),
        some => {
            let some: Vec<String> = some.iter().map(Omission::to_string).collect();
            some.join(", then ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EnumerateConfig;

    fn of(kind: &str, options: &Value) -> String {
        describe(own(kind, options).as_slice())
    }

    #[test]
    fn options_that_leave_nothing_out_do_not_count() {
        let mut config = EnumerateConfig::new(["/data"]);
        let options = |config: &EnumerateConfig| serde_json::to_value(config).unwrap();
        assert_eq!(of("enumerate", &options(&config)), "nothing");
        config.max_entries_per_directory = Some(7);
        assert_eq!(of("enumerate", &options(&config)), "nothing");
        config.exclude = vec!["*.o".to_owned()];
        config.skip_pseudo = false;
        assert_eq!(
            of("enumerate", &options(&config)),
            r#"enumerate with {"exclude":["*.o"],"skip_pseudo":false}"#
        );
        let all = json!({"by": ["path"], "limit": null});
        assert_eq!(of("sort", &all), "nothing");
        assert_eq!(
            of("sort", &json!({"by": ["-size"], "limit": 10})),
            r#"sort with {"by":["-size"],"limit":10}"#
        );
    }

    #[test]
    fn every_option_of_enumerate_that_leaves_something_out_is_one_that_it_has() {
        let options = serde_json::to_value(EnumerateConfig::new(["/data"])).unwrap();
        for (name, default) in walk_options() {
            assert_eq!(options.get(name), Some(&default), "{name}");
        }
    }

    #[test]
    fn what_is_stated_counts_and_a_stage_that_nobody_knows_may_leave_anything_out() {
        let none = BTreeMap::new();
        let options = json!({"min": 1});
        let of =
            |kind, is_source, options, facts| describe(&of_stage(kind, is_source, options, facts));
        let unknown = r#"only_big with {"min":1}"#;
        assert_eq!(of("only_big", false, Some(&options), &none), unknown);
        assert_eq!(of("only_big", true, Some(&options), &none), "nothing");
        assert_eq!(of("only_big", false, None, &none), "nothing");
        assert_eq!(of("stat", false, Some(&options), &none), "nothing");
        let filter = own("filter", &json!({"min_size": "1MiB"})).unwrap();
        let stated = serde_json::to_value([&filter]).unwrap();
        let facts = BTreeMap::from([(LEFT_OUT.to_owned(), stated)]);
        let expected = r#"filter with {"min_size":"1MiB"}"#;
        assert_eq!(of("few", false, None, &facts), expected);
        assert_eq!(of("saved", true, Some(&options), &facts), expected);
    }
}
