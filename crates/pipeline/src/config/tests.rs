//! Every message as a user sees it.
//!
//! A wrong word in a message is a bug like any other, so the tests hold the whole text.

mod framework;
mod options;
mod presentation;
mod properties;
mod syntax;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use super::description::JobDescription;
use super::{Problems, describe};
use crate::quantity::{ByteSize, Period};

/// What the options of a stage can look like.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only the reading of it is tested")]
struct Demo {
    path: PathBuf,
    roots: Option<Vec<String>>,
    max_entries: Option<u32>,
    offset: Option<i64>,
    workers: Option<NonZeroU32>,
    ratio: Option<f64>,
    follow: Option<bool>,
    limit: Option<ByteSize>,
    delay: Option<Period>,
    compression: Option<Compression>,
    window: Option<(u32, u32)>,
    #[serde(default)]
    limits: Vec<Limit>,
    report: Option<Report>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the reading of it is tested")]
enum Compression {
    None,
    Gzip,
    Zstd { level: u8 },
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only the reading of it is tested")]
struct Limit {
    name: String,
    size: ByteSize,
    age: Period,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the reading of it is tested")]
struct Report {
    title: String,
    every: Option<Period>,
}

fn environment(name: &str) -> Option<OsString> {
    match name {
        "ROOT" => Some("/srv".into()),
        "COUNT" => Some("12".into()),
        "WORD" => Some("twelve".into()),
        "EMPTY" => Some("".into()),
        _ => None,
    }
}

/// Loads `text`, and reads every stage of the type "demo" as [`Demo`].
fn load(text: &str, overrides: &[&str]) -> (Option<JobDescription>, Problems) {
    let mut problems = Problems::in_file("job.toml", text);
    let overrides: Vec<_> = overrides.iter().map(|set| (*set).to_owned()).collect();
    let job = describe(&mut problems, &environment, &overrides);
    for stage in job.iter().flat_map(|job| &job.stages) {
        if stage.kind.as_deref() == Some("demo") {
            let decoded = stage.options.decode::<Demo>(&mut problems);
            assert!(decoded.is_some() || problems.has_errors());
        }
    }
    (job, problems)
}

/// What a user sees of `text`.
fn report(text: &str) -> String {
    load(text, &[]).1.to_string()
}

/// What a user sees of a stage with these options.
fn report_options(options: &str) -> String {
    report(&format!("[stages.x]\ntype = \"demo\"\n{options}"))
}

/// What a user sees when these `--set` arguments go with a job that is right.
fn report_overrides(overrides: &[&str]) -> String {
    let job = "[stages.walk]\ntype = \"demo\"\npath = \"/tmp\"\n[stages.meta]\ntype = \"stat\"\ninputs = [\"walk\"]\n";
    load(job, overrides).1.to_string()
}
