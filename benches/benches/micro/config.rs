//! What it costs to load a job, and to refuse what only looks like one.
//!
//! - `config/job`: the ready-made job with most stages.
//! - the others: the texts within the loader's limits that were found to keep it busy longest. Each must be answered
//!   within 100 ms.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, SamplingMode};
use statline_pipeline::{Job, Registry};

/// What variables hold.
const VALUE: usize = 10_000;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut registry = Registry::new();
    statline_stages::register(&mut registry);
    let environment = |name: &str| (name == "A").then(|| "x".repeat(VALUE).into());
    let mut group = criterion.benchmark_group("config");
    group.sampling_mode(SamplingMode::Flat);
    let job = include_str!("../../../pipelines/inventory.toml").to_owned();
    for (name, text) in [("job", job)].into_iter().chain(bombs()) {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let job = Job::parse(&registry, "job.toml", black_box(&text), &environment, &[]);
                job.map_err(|problems| problems.render(true)).is_ok()
            });
        });
    }
}

/// Texts that are no jobs.
fn bombs() -> [(&'static str, String); 6] {
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect();
    let stages = |count: usize, keys: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for at in 0..count {
            let _ = writeln!(
                text,
                "[stages.{}{at}]\ntype = \"batch\"\n{}",
                "s".repeat(26),
                keys(at)
            );
        }
        text
    };
    let wrong = |at: usize| format!("\"{}{:05}\"", "s".repeat(25), at);
    let walk = |roots: &str| format!("[stages.s]\ntype = \"enumerate\"\nroots = [{roots}]\n");
    [
        ("ten thousand stages", stages(10_000, &|_| String::new())),
        (
            "unknown stages",
            stages(256, &|_| {
                let inputs: Vec<String> = (0..100).map(wrong).collect();
                format!("inputs = [{}]", inputs.join(","))
            }),
        ),
        (
            "unknown keys",
            stages(256, &|_| lines(120, &|at| format!("inputz{at}=1\n"))),
        ),
        (
            "unknown tables",
            lines(15_000, &|at| format!("[a{at:05}]\ntype=1\n")),
        ),
        (
            "many levels",
            format!(
                "a=[{}]",
                format!("{}{},", "[".repeat(62), "]".repeat(62)).repeat(750)
            ),
        ),
        ("large variables", walk(&"\"${A}\",".repeat(45_000))),
    ]
}
