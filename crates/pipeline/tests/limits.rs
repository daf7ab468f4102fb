//! Files that are no jobs, by mistake or on purpose: refused with one message, and soon.

use std::ffi::OsString;
use std::fmt::Write as _;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Declare, InputPort, Job, Kind, Opening, OutputPort, Problems, Properties, Registry, StageError,
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

/// Takes numbers, and texts that it has no use for.
struct End;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Texts {
    #[serde(default)]
    texts: Vec<String>,
}

impl Kind for End {
    type Config = Texts;
    type Ports = InputPort<u64>;

    fn declare(&self, _: Option<&Texts>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input("in")
    }

    fn open(&self, _: Texts, _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        Err(StageError::failed("this kind is only declared"))
    }
}

/// All that is wrong with the job `text`, where every variable has this value.
fn problems(text: &str, value: Option<&str>) -> Problems {
    let mut registry = Registry::new();
    registry.register("source", Pass(&[]));
    registry.register("pass", Pass(&["in"]));
    registry.register("join", Pass(&["old", "new"]));
    registry.register("end", End);
    let environment = |_: &str| value.map(OsString::from);
    match Job::parse(&registry, "job.toml", text, &environment, &[]) {
        Ok(job) => job.warnings().clone(),
        Err(problems) => problems,
    }
}

/// The messages about the job `text`.
fn messages(text: &str) -> Vec<String> {
    problems(text, None)
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
    let all: Vec<String> = (0..200).map(|at| format!("\"s{at}\"")).collect();
    let text = stages(200, |_| {
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

#[test]
fn more_inputs_than_a_job_has_outputs() {
    let inputs: String = (0..40_000).map(|at| format!("\"x{at}\", ")).collect();
    let text = format!("[stages.a]\ntype = \"pass\"\ninputs = [{inputs}]\n");
    let found = messages(&text);
    assert!(found.contains(&"a stage has at most 1024 inputs".to_owned()));
}

/// A job of one source and one end, with these settings of the job, the source and the end.
fn job(pipeline: &str, source: &str, end: &str) -> String {
    format!(
        "[pipeline]\n{pipeline}\n[stages.a]\ntype = \"source\"\n{source}\n\
         [stages.b]\ntype = \"pass\"\ninputs = [\"a\"]\n[stages.c]\ntype = \"end\"\ninputs = [\"b\"]\n{end}\n"
    )
}

#[test]
fn channels_that_hold_more_than_the_machine() {
    let shown = |pipeline: &str, end: &str| problems(&job(pipeline, "", end), None).to_string();
    insta::assert_snapshot!(shown("capacity_bytes = \"1GiB\"", ""), @r#"
    error: job.toml:2:18: pipeline.capacity_bytes: the channels of this job may hold 2GiB in all, and 1GiB is the most
        2 | capacity_bytes = "1GiB"
          |                  ^^^^^^ with capacity_bytes = "512MiB" for each of the 2 it fits
    1 error in job.toml
    "#);
    insta::assert_snapshot!(shown("capacity_bytes = \"1MiB\"", "capacity_bytes = \"1GiB\""), @r#"
    error: job.toml:12:18: stages.c.capacity_bytes: the channels of this job may hold 1025MiB in all, and 1GiB is the most
       12 | capacity_bytes = "1GiB"
          |                  ^^^^^^ with capacity_bytes = "512MiB" for each of the 2 it fits
    1 error in job.toml
    "#);
    // Each channel is within its limits, and so are all together.
    assert_eq!(shown("capacity_bytes = \"512MiB\"", ""), "");
    let chain = stages(200, |at| match at {
        0 => "type = \"source\"".to_owned(),
        199 => "type = \"end\"\ninputs = [\"s198\"]".to_owned(),
        at => format!("type = \"pass\"\ninputs = [\"s{}\"]", at - 1),
    });
    insta::assert_snapshot!(problems(&chain, None), @r#"
    error: job.toml: pipeline.capacity_bytes: the channels of this job may hold 1592MiB in all, and 1GiB is the most
          = with capacity_bytes = "5MiB" for each of the 199 it fits
    1 error in job.toml
    "#);
    assert_eq!(
        messages(&format!("pipeline.capacity_bytes = \"5MiB\"\n{chain}")),
        [""; 0]
    );
}

#[test]
fn variables_that_multiply() {
    // What a variable holds is text, so it takes many of them.
    let texts = |text: &str| job("", "", &format!("texts = [{text}]"));
    let bomb = texts(&format!("\"{}\"", "${A}".repeat(16_000)));
    let value = "${A}".repeat(2_000);
    let found = problems(&bomb, Some(&value)).to_string();
    assert!(
        found.contains("texts[0]: with its variables this string is longer than 64 KiB"),
        "{found}"
    );
    let bomb = texts(&"\"${A}\", ".repeat(40_000));
    let found = problems(&bomb, Some(&value)).to_string();
    assert!(
        found.contains("texts[131]: with its variables this job is larger than 1 MiB"),
        "{found}"
    );
    assert!(found.ends_with("1 error in job.toml"), "{found}");
    let found = problems(&bomb, None);
    assert_eq!(found.iter().count(), 1000);
    assert_eq!(problems(&bomb, Some("x")).to_string(), "");
}

proptest! {
    #[test]
    fn no_change_to_a_job_makes_the_loader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, change()), 1..6)
    ) {
        let mut text = job("name = \"x\"\ncapacity = 4", "threads = 2", "capacity_bytes = \"1MiB\"\ntexts = [\"${A:-b}\"]");
        for (at, length, put) in changes {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) { at -= 1; }
                at
            };
            let start = at.index(text.len() + 1);
            let range = boundary(start)..boundary((start + length).min(text.len()));
            text.replace_range(range, &put);
        }
        let _ = problems(&text, Some("y")).render(true);
    }
}

/// What a mutation puts somewhere into a job.
fn change() -> impl Strategy<Value = String> {
    let words = [
        "",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\"",
        "'",
        "\"\"\"",
        "#",
        "${",
        "}",
        "\\",
        "\0",
        "\u{feff}",
        "漢",
        "[stages.a]\n",
        "[stages.b]\n",
        "[pipeline]\n",
        "inputs = [\"c\"]\n",
        "inputs = { old = \"a\", new = \"b\" }\n",
        "type = \"join\"\n",
        "\"a.errors\"",
        "9223372036854775808",
        "-1",
        "\"8EiB\"",
        "capacity = 0\n",
    ];
    prop_oneof![
        prop::sample::select(words.map(str::to_owned).to_vec()),
        r"\PC{0,8}",
    ]
}
