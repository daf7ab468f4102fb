//! Files that are no jobs, by mistake or on purpose: refused with one message, and soon.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Declare, InputPort, Job, Kind, Opening, OutputPort, Properties, Registry, StageError,
};

#[derive(Deserialize, Serialize, JsonSchema)]
struct NoOptions {}

/// Takes numbers on these ports, and sends some.
struct Pass(&'static [&'static str]);

impl Kind for Pass {
    type Config = NoOptions;
    type Ports = (Vec<InputPort<u64>>, OutputPort<u64>);

    fn declare(&self, _: Option<&NoOptions>, ports: &mut Declare<'_>) -> Self::Ports {
        let inputs = self.0.iter().map(|name| ports.input(name));
        (inputs.collect(), ports.output("out", Properties::default()))
    }

    fn open(&self, _: NoOptions, _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        Err(StageError::failed("this kind is only declared"))
    }
}

/// The messages about the job `text`.
fn messages(text: &str) -> Vec<String> {
    let mut registry = Registry::new();
    registry.register("source", Pass(&[]));
    registry.register("pass", Pass(&["in"]));
    registry.register("join", Pass(&["old", "new"]));
    let problems = match Job::parse(&registry, "job.toml", text, &|_| None, &[]) {
        Ok(job) => job.warnings().clone(),
        Err(problems) => problems,
    };
    problems
        .iter()
        .map(|problem| problem.message.clone())
        .collect()
}

fn stages(count: usize, mut inputs: impl FnMut(usize) -> String) -> String {
    let mut text = String::new();
    for at in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(text, "[stages.s{at}]\n{}\n", inputs(at));
    }
    text
}

#[test]
fn a_hundred_megabytes() {
    let text = "# not a job\n".repeat(100 << 20 >> 3);
    assert_eq!(
        messages(&text),
        ["larger than 1 MiB, so this is not a job file"]
    );
}

#[test]
fn ten_thousand_stages() {
    let text = stages(10_000, |_| "type = \"source\"".to_owned());
    assert_eq!(
        messages(&text),
        ["a job has at most 256 stages, and this one has 10000"]
    );
}

#[test]
fn any_depth() {
    for text in [
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{ a = ".repeat(150_000)),
        format!("[stages.{}a]", "a.".repeat(500_000)),
        format!("{}a = 1", "a.".repeat(500_000)),
    ] {
        assert_eq!(
            messages(&text),
            ["more than 64 levels of tables and arrays"]
        );
    }
}

#[test]
fn numbers_that_fit_into_no_capacity() {
    let text = format!(
        "[stages.a]\ntype = \"source\"\ncapacity = {}\n[stages.b]\ntype = \"pass\"\ninputs = [\"a\"]\n\
         capacity = {}\ncapacity_bytes = \"{}B\"\nthreads = {}\n[stages.c]\ntype = \"pass\"\ninputs = [\"b\"]\n",
        1_u64 << 63,
        u64::MAX,
        1_u64 << 63,
        i64::MIN,
    );
    assert_eq!(
        messages(&text),
        [
            "expected a number of messages from 1 to 65536, found integer 9223372036854775808",
            "expected a number of messages from 1 to 65536, found integer 18446744073709551615",
            "8EiB is out of range; it goes from 1KiB to 1GiB",
            "expected \"auto\" or a number of threads from 1 to 512, found integer -9223372036854775808",
            "no stage reads what \"c\" sends",
        ]
    );
}

#[test]
fn a_cycle_of_all_stages() {
    let text = stages(256, |at| {
        format!("type = \"pass\"\ninputs = [\"s{}\"]", (at + 255) % 256)
    });
    assert_eq!(
        messages(&text),
        ["stages feed each other: s0 → s1 → s2 → s3 → s4 → s5 → s6 → … 248 more … → s255 → s0"]
    );
    let text = stages(257, |at| {
        format!("type = \"pass\"\ninputs = [\"s{}\"]", (at + 256) % 257)
    });
    assert_eq!(
        messages(&text),
        ["a job has at most 256 stages, and this one has 257"]
    );
}

#[test]
fn every_stage_reads_every_other() {
    let all: Vec<String> = (0..256).map(|at| format!("\"s{at}\"")).collect();
    let text = stages(256, |_| {
        format!("type = \"pass\"\ninputs = [{}]", all.join(", "))
    });
    // All others are on it or behind it.
    assert_eq!(messages(&text), ["a stage feeds itself: s0 → s0"]);
}

#[test]
fn joins_of_joins() {
    let text = stages(256, |at| match at {
        0..2 => "type = \"source\"".to_owned(),
        at => format!(
            "type = \"join\"\ninputs = {{ old = \"s{}\", new = \"s{}\" }}",
            at - 1,
            at - 2
        ),
    });
    let found = messages(&text);
    assert_eq!(
        found[0],
        "the inputs \"old\" and \"new\" both come from \"s1\", and would wait for each other for ever"
    );
}

#[test]
fn joins_of_two_sources() {
    let text = stages(256, |at| match at {
        0..2 => "type = \"source\"".to_owned(),
        at => format!(
            "type = \"join\"\ninputs = {{ old = \"s{}\", new = \"s{}\" }}",
            at % 2,
            1 - at % 2
        ),
    });
    let found = messages(&text);
    let circle =
        "the inputs of s2 and s3 come from the same stages, and would wait for each other for ever";
    assert!(found.iter().any(|message| message == circle), "{found:?}");
}

#[test]
fn a_file_of_nothing_but_mistakes() {
    for line in [
        "x = \n",
        "[stages.a]\n",
        "a.b = [{}, {}, {}]\n",
        "\"\\u001b\" = 1\n",
        "[[stages]]\n",
    ] {
        let text = line.repeat((1 << 17) / line.len());
        let found = messages(&text);
        assert!((1..=1000).contains(&found.len()), "{line}: {}", found.len());
    }
    let text: String = (0..6_000).map(|at| format!("k{at} = \"x\"\n")).collect();
    assert!(!messages(&text).is_empty());
    let text: String = (0..3_000)
        .map(|at| format!("[t{at}]\ntype = \"x\"\n"))
        .collect();
    assert!(!messages(&text).is_empty());
}
