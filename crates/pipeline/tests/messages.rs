//! Every message of the framework as a user sees it, from a job of kinds that a host could have registered.
//!
//! One mistake is one problem, at its line and column, with what to do about it; the tests hold the whole text. Those
//! of values alone are in the configuration's own tests.

use std::ffi::OsString;

use insta::assert_snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    ByteSize, Declare, ErrorRecord, InputPort, Job, Kind, Message, Opening, Order, OutputPort,
    Period, Properties, Registry, StageError, Threading,
};

#[derive(Clone)]
struct Names;

#[derive(Clone)]
struct Records;

impl Message for Names {
    fn weight(&self) -> usize {
        1
    }
}

impl Message for Records {
    fn weight(&self) -> usize {
        1
    }
}

fn only_declared() -> Result<(), StageError> {
    Err(StageError::failed("this kind is only declared"))
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct WalkOptions {
    roots: Vec<String>,
    depth: Option<u8>,
    buffer: Option<ByteSize>,
    patience: Option<Period>,
}

/// A source, on any number of threads.
struct Walk;

impl Kind for Walk {
    type Config = WalkOptions;
    type Ports = OutputPort<Names>;

    fn threading(&self) -> Threading {
        Threading::Adaptive
    }

    fn declare(&self, config: Option<&WalkOptions>, ports: &mut Declare<'_>) -> OutputPort<Names> {
        ports.error_codes(["EACCES", "EIO", "ELOOP"], |code| {
            ["EACCES", "EIO", "ELOOP", "E524"].contains(&code)
        });
        let roots = config.map_or(&[][..], |config| &config.roots);
        for (place, root) in roots.iter().enumerate() {
            if root.is_empty() {
                ports.problem(
                    &format!("roots[{place}]"),
                    "an empty path names nothing",
                    None,
                );
            }
        }
        ports.output("out", Properties::default())
    }

    fn open(&self, _: WalkOptions, _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        only_declared()
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct NoOptions {}

/// One thing after another: `In` comes in, `Out` goes out on as many ports as there are names.
struct Step<In, Out> {
    inputs: &'static [&'static str],
    outputs: &'static [&'static str],
    threading: Threading,
    /// What it makes of the order.
    order: Option<&'static str>,
    needs_order: bool,
    holds_everything: bool,
    messages: std::marker::PhantomData<fn(In) -> Out>,
}

impl<In, Out> Step<In, Out> {
    const fn new(inputs: &'static [&'static str], outputs: &'static [&'static str]) -> Self {
        Step {
            inputs,
            outputs,
            threading: Threading::Single,
            order: None,
            needs_order: false,
            holds_everything: false,
            messages: std::marker::PhantomData,
        }
    }
}

impl<In: Message, Out: Message> Kind for Step<In, Out> {
    type Config = NoOptions;
    type Ports = (Vec<InputPort<In>>, Vec<OutputPort<Out>>);

    fn threading(&self) -> Threading {
        self.threading
    }

    fn declare(&self, _: Option<&NoOptions>, ports: &mut Declare<'_>) -> Self::Ports {
        if self.holds_everything {
            ports.holds_everything();
        }
        if self.needs_order {
            for input in self.inputs {
                ports.needs_order(input, &["path"]);
            }
        }
        let order = match (self.order, ports.incoming("in")) {
            (Some(key), _) => Order::By(vec![key.to_owned()]),
            (None, Some(stream)) => stream.properties.order.clone(),
            (None, None) => Order::Unknown,
        };
        let properties = Properties {
            order,
            ..Properties::default()
        };
        let inputs = self.inputs.iter().map(|name| ports.input(name)).collect();
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|name| ports.output(name, properties.clone()));
        (inputs, outputs.collect())
    }

    fn open(&self, _: NoOptions, _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        only_declared()
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register("walk", Walk);
    let fetch = Step::<Names, Records> {
        threading: Threading::Parallel,
        ..Step::new(&["in"], &["out"])
    };
    registry.register("fetch", fetch);
    let keep = Step::<Records, Records> {
        threading: Threading::Parallel,
        ..Step::new(&["in"], &["out"])
    };
    registry.register("keep", keep);
    let sort = |key| Step::<Records, Records> {
        order: Some(key),
        holds_everything: true,
        ..Step::new(&["in"], &["out"])
    };
    registry.register("sort", sort("path"));
    registry.register("sort_by_size", sort("size"));
    registry.register(
        "split",
        Step::<Records, Records>::new(&["in"], &["out", "deleted"]),
    );
    registry.register(
        "halve",
        Step::<Records, Records>::new(&["in"], &["left", "right"]),
    );
    let compare = Step::<Records, Records> {
        needs_order: true,
        ..Step::new(&["old", "new"], &["out"])
    };
    registry.register("compare", compare);
    registry.register(
        "join",
        Step::<Records, Records>::new(&["old", "new"], &["out"]),
    );
    let tree = Step::<Records, Records> {
        needs_order: true,
        ..Step::new(&["in"], &[])
    };
    registry.register("tree", tree);
    registry.register("count", Step::<Records, Records>::new(&["in"], &[]));
    registry.register("log", Step::<ErrorRecord, Records>::new(&["in"], &[]));
    registry
}

fn environment(name: &str) -> Option<OsString> {
    match name {
        "ROOT" => Some("/srv".into()),
        "WORD" => Some("twelve".into()),
        _ => None,
    }
}

/// What a user sees of the job `text`; nothing if it is right.
fn report(text: &str) -> String {
    let text = text.trim_start();
    match Job::parse(&registry(), "job.toml", text, &environment, &[]) {
        Ok(job) => job.warnings().to_string(),
        Err(problems) => problems.to_string(),
    }
}

/// What a user sees of a source and these stages.
fn report_behind_walk(stages: &str) -> String {
    report(&format!(
        "[stages.walk]\ntype = \"walk\"\nroots = [\"/data\"]\n{stages}"
    ))
}

const FETCH_AND_COUNT: &str = r#"
[stages.meta]
type = "fetch"
inputs = ["walk"]

[stages.count]
type = "count"
inputs = ["meta"]
"#;

#[test]
fn a_job_that_is_right_gives_no_message() {
    assert_eq!(report_behind_walk(FETCH_AND_COUNT), "");
    assert_eq!(
        report_behind_walk(&format!(
            "threads = \"auto\"{FETCH_AND_COUNT}threads = \"auto\"\n"
        )),
        ""
    );
}

#[test]
fn a_key_of_the_pipeline_that_is_not_known() {
    assert_snapshot!(report_behind_walk(&format!("{FETCH_AND_COUNT}[pipeline]\nnmae = \"x\"\n")), @r#"
    error: job.toml:13:1: pipeline.nmae: unknown key "nmae"
       13 | nmae = "x"
          | ^^^^ did you mean "name"?
    1 error in job.toml
    "#);
}

#[test]
fn a_type_that_is_not_known() {
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"fetch\"", "\"fecth\"")), @r#"
    error: job.toml:6:8: stages.meta.type: no stage type is called "fecth"
        6 | type = "fecth"
          |        ^^^^^^^ did you mean "fetch"?
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"fetch\"", "\"rsync\"")), @r#"
    error: job.toml:6:8: stages.meta.type: no stage type is called "rsync"
        6 | type = "rsync"
          |        ^^^^^^^ known types: compare, count, fetch, halve, join, keep, log, sort, sort_by_size, split, tree, walk
    1 error in job.toml
    "#);
}

#[test]
fn an_input_that_is_not_known() {
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"walk\"", "\"wlak\"")), @r#"
    error: job.toml:7:11: stages.meta.inputs: no stage is called "wlak"
        7 | inputs = ["wlak"]
          |           ^^^^^^ did you mean "walk"?
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"walk\"", "\"source.errors\"")), @r#"
    error: job.toml:7:11: stages.meta.inputs: no stage is called "source"
        7 | inputs = ["source.errors"]
          |           ^^^^^^^^^^^^^^^ known stages: count, meta, walk
    1 error in job.toml
    "#);
}

#[test]
fn an_output_port_that_is_not_known() {
    assert_snapshot!(
        report_behind_walk(&format!(
            "{FETCH_AND_COUNT}\n[stages.log]\ntype = \"log\"\ninputs = [\"walk.erors\", \"meta.errors\"]\n"
        )),
        @r#"
    error: job.toml:15:11: stages.log.inputs: stage "walk" has no output called "erors"
       15 | inputs = ["walk.erors", "meta.errors"]
          |           ^^^^^^^^^^^^ did you mean "walk.errors"?
    1 error in job.toml
    "#
    );
    // The one reader that an output has.
    assert_snapshot!(
        report_behind_walk(
            r#"
[stages.meta]
type = "fetch"
inputs = ["walk.names"]
[stages.split]
type = "split"
inputs = ["meta"]
[stages.here]
type = "count"
inputs = ["split"]
[stages.gone]
type = "count"
inputs = ["split.delted"]
"#
        ),
        @r#"
    error: job.toml:7:11: stages.meta.inputs: stage "walk" has no output called "names"
        7 | inputs = ["walk.names"]
          |           ^^^^^^^^^^^^ known outputs: walk, walk.errors
    error: job.toml:16:11: stages.gone.inputs: stage "split" has no output called "delted"
       16 | inputs = ["split.delted"]
          |           ^^^^^^^^^^^^^^ did you mean "split.deleted"?
    2 errors in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_walk(&format!(
            "{FETCH_AND_COUNT}[stages.last]\ntype = \"count\"\ninputs = [\"count\"]\n"
        )),
        @r#"
    error: job.toml:14:11: stages.last.inputs: stage "count" has no output but its errors
       14 | inputs = ["count"]
          |           ^^^^^^^ to read those, write "count.errors"
    1 error in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_walk(
            r#"
[stages.meta]
type = "fetch"
inputs = ["walk"]
[stages.halve]
type = "halve"
inputs = ["meta"]
[stages.count]
type = "count"
inputs = ["halve"]
"#
        ),
        @r#"
    error: job.toml:13:11: stages.count.inputs: stage "halve" has no main output
       13 | inputs = ["halve"]
          |           ^^^^^^^ write which of its outputs: "halve.left", "halve.right"
    1 error in job.toml
    "#
    );
}

const TWO: &str = r#"
[stages.walk1]
type = "walk"
roots = ["/a"]
[stages.walk2]
type = "walk"
roots = ["/b"]
[stages.a]
type = "fetch"
inputs = ["walk1"]
[stages.b]
type = "fetch"
inputs = ["walk2"]
"#;

fn report_behind_two(stages: &str) -> String {
    report(&format!("{TWO}{stages}"))
}

#[test]
fn an_input_port_that_is_not_known() {
    let end = "[stages.count]\ntype = \"count\"\ninputs = [\"join\"]\n";
    let join = |inputs: &str| {
        report_behind_two(&format!(
            "[stages.join]\ntype = \"join\"\ninputs = {inputs}\n{end}"
        ))
    };
    assert_eq!(join("{ old = \"a\", new = \"b\" }"), "");
    assert_snapshot!(join("{ old = \"a\", nwe = \"b\" }"), @r#"
    error: job.toml:15:23: stages.join.inputs.nwe: a stage of type join has no input called "nwe"
       15 | inputs = { old = "a", nwe = "b" }
          |                       ^^^ did you mean "new"?
    1 error in job.toml
    "#);
    assert_snapshot!(join("{ old = \"a\", new = \"b\", newer = [\"a\", \"b\"] }"), @r#"
    error: job.toml:15:34: stages.join.inputs.newer: a stage of type join has no input called "newer"
       15 | inputs = { old = "a", new = "b", newer = ["a", "b"] }
          |                                  ^^^^^ did you mean "new"?
    1 error in job.toml
    "#);
    assert_snapshot!(join("[\"a\", \"b\"]"), @r#"
    error: job.toml:15:10: stages.join.inputs: a stage of type join has more than one input, so each needs its name
       15 | inputs = ["a", "b"]
          |          ^^^^^^^^^^ write inputs = { old = "…", new = "…" }
    1 error in job.toml
    "#);
    assert_snapshot!(join("{ old = [\"a\", \"b\"] }"), @r#"
    error: job.toml:15:10: stages.join.inputs: a stage of type join needs its input "new"
       15 | inputs = { old = ["a", "b"] }
          |          ^^^^^^^^^^^^^^^^^^^^ write inputs = { new = "name of a stage", … }
    1 error in job.toml
    "#);
}

#[test]
fn a_key_of_a_stage_that_is_not_known() {
    assert_snapshot!(report_behind_walk(&format!("detph = 3\nthread = 2\n{FETCH_AND_COUNT}")), @r#"
    error: job.toml:4:1: stages.walk.detph: unknown key "detph"
        4 | detph = 3
          | ^^^^^ did you mean "depth"?
    error: job.toml:5:1: stages.walk.thread: unknown key "thread"
        5 | thread = 2
          | ^^^^^^ did you mean "threads"?
    2 errors in job.toml
    "#);
    // The inputs are not missing: they are misspelt.
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replacen("inputs", "input", 1)), @r#"
    error: job.toml:7:1: stages.meta.input: unknown key "input"
        7 | input = ["walk"]
          | ^^^^^ did you mean "inputs"?
    1 error in job.toml
    "#);
    // A stage under a wrong header is known all the same to those who read from it, and so are those whom it reads.
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("[stages.count]", "[count]")), @r#"
    error: job.toml:9:2: count: unknown table "count"
        9 | [count]
          |  ^^^^^ a stage is written [stages.count]
    1 error in job.toml
    "#);
}

#[test]
fn stages_below_a_misspelt_table() {
    assert_snapshot!(
        report_behind_walk(&FETCH_AND_COUNT.replace("[stages.meta]", "[stage.meta]").replace("\"meta\"", "\"mta\"")),
        @r#"
    error: job.toml:5:2: stage: unknown table "stage"
        5 | [stage.meta]
          |  ^^^^^ did you mean "stages"?
    error: job.toml:11:11: stages.count.inputs: no stage is called "mta"
       11 | inputs = ["mta"]
          |           ^^^^^ did you mean "meta"?
    2 errors in job.toml
    "#
    );
    assert_snapshot!(report(&format!("[stage.walk]\ntype = \"walk\"\n{}", FETCH_AND_COUNT.replace("stages", "stage"))), @r#"
    error: job.toml:1:1: stages.walk: missing key "roots"
        1 | [stage.walk]
          | ^^^^^^^^^^^^
    error: job.toml:1:2: stage: unknown table "stage"
        1 | [stage.walk]
          |  ^^^^^ did you mean "stages"?
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&format!("{FETCH_AND_COUNT}[meta]\ntype = \"fetch\"\n")), @r#"
    error: job.toml:12:2: meta: unknown table "meta"
       12 | [meta]
          |  ^^^^ a stage is written [stages.meta]
    1 error in job.toml
    "#);
}

#[test]
fn a_message_of_another_type() {
    // Something has to come in between.
    assert_snapshot!(
        report_behind_walk("[stages.count]\ntype = \"count\"\ninputs = [\"walk\"]\n"),
        @r#"
    error: job.toml:6:11: stages.count.inputs: "walk" sends Names, but a stage of type count takes Records
        6 | inputs = ["walk"]
          |           ^^^^^^ put a stage of type fetch in between
    1 error in job.toml
    "#
    );
    // Nothing makes anything of errors.
    assert_snapshot!(
        report_behind_walk(&FETCH_AND_COUNT.replace("\"meta\"", "\"meta\", \"walk.errors\"")),
        @r#"
    error: job.toml:11:19: stages.count.inputs: "walk.errors" sends ErrorRecord, but a stage of type count takes Records
       11 | inputs = ["meta", "walk.errors"]
          |                   ^^^^^^^^^^^^^ what takes ErrorRecord: stages of type log
    1 error in job.toml
    "#
    );
    // Nothing makes names.
    assert_snapshot!(
        report_behind_walk(&format!(
            "{FETCH_AND_COUNT}[stages.again]\ntype = \"fetch\"\ninputs = [\"meta\"]\n[stages.end]\ntype = \"count\"\ninputs = [\"again\"]\n"
        )),
        @r#"
    error: job.toml:14:11: stages.again.inputs: "meta" sends Records, but a stage of type fetch takes Names
       14 | inputs = ["meta"]
          |           ^^^^^^
    1 error in job.toml
    "#
    );
}

#[test]
fn options_that_are_wrong() {
    assert_snapshot!(
        report(&format!(
            "[stages.walk]\ntype = \"walk\"\nbuffer = 64\npatience = \"5\"\ndepth = 1000\n{FETCH_AND_COUNT}"
        )),
        @r#"
    error: job.toml:1:1: stages.walk: missing key "roots"
        1 | [stages.walk]
          | ^^^^^^^^^^^^^
    error: job.toml:3:10: stages.walk.buffer: expected a size such as "64MiB", found integer 64
        3 | buffer = 64
          |          ^^ write the unit, as in "64MiB", or "64B" for bytes
    error: job.toml:4:12: stages.walk.patience: "5" has no unit, write it like "30s"
        4 | patience = "5"
          |            ^^^
    error: job.toml:5:9: stages.walk.depth: expected a whole number from 0 to 255, found integer 1000
        5 | depth = 1000
          |         ^^^^
    4 errors in job.toml
    "#
    );
    assert_snapshot!(
        report(&format!("[stages.walk]\ntype = \"walk\"\nroots = \"/data\"\nbuffer = \"64 mib\"\n{FETCH_AND_COUNT}")),
        @r#"
    error: job.toml:3:9: stages.walk.roots: expected an array, found string "/data"
        3 | roots = "/data"
          |         ^^^^^^^ write ["/data"]
    error: job.toml:4:10: stages.walk.buffer: "64 mib" has the unknown unit "mib", write "MiB"
        4 | buffer = "64 mib"
          |          ^^^^^^^^
    2 errors in job.toml
    "#
    );
}

#[test]
fn a_finding_of_a_kind_about_an_element_of_an_array() {
    assert_snapshot!(
        report(&format!("[stages.walk]\ntype = \"walk\"\nroots = [\n  \"/data\",\n  \"\",\n]\n{FETCH_AND_COUNT}")),
        @r#"
    error: job.toml:5:3: stages.walk.roots[1]: an empty path names nothing
        5 |   "",
          |   ^^
    1 error in job.toml
    "#
    );
}

#[test]
fn stages_that_feed_each_other() {
    let keep =
        |name: &str, from: &str| format!("[stages.{name}]\ntype = \"keep\"\ninputs = [{from}]\n");
    assert_snapshot!(
        report_behind_walk(&format!(
            "[stages.meta]\ntype = \"fetch\"\ninputs = [\"walk\"]\n{}{}{}",
            keep("a", "\"meta\", \"b\""),
            keep("b", "\"a\""),
            "[stages.end]\ntype = \"count\"\ninputs = [\"b\"]\n"
        )),
        @r#"
    error: job.toml:9:19: stages.a.inputs: stages feed each other: a → b → a
        9 | inputs = ["meta", "b"]
          |                   ^^^ messages travel one way; take one of these inputs out
    1 error in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_walk(&format!(
            "{FETCH_AND_COUNT}{}{}{}",
            keep("a", "\"c\""),
            keep("b", "\"a\""),
            keep("c", "\"b\"")
        )),
        @r#"
    error: job.toml:14:11: stages.a.inputs: stages feed each other: a → b → c → a
       14 | inputs = ["c"]
          |           ^^^ messages travel one way; take one of these inputs out
    1 error in job.toml
    "#
    );
    assert_snapshot!(report_behind_walk(&format!("{FETCH_AND_COUNT}{}", keep("a", "\"meta\", \"a\""))), @r#"
    error: job.toml:14:19: stages.a.inputs: a stage feeds itself: a → a
       14 | inputs = ["meta", "a"]
          |                   ^^^ messages travel one way; take this input out
    1 error in job.toml
    "#);
    // Two of them, and something behind each.
    assert_snapshot!(
        report_behind_walk(&format!(
            "{FETCH_AND_COUNT}{}{}{}{}",
            keep("a", "\"a\""),
            keep("b", "\"c\", \"a\""),
            keep("c", "\"b\""),
            "[stages.end]\ntype = \"count\"\ninputs = [\"b\"]\n"
        )),
        @r#"
    error: job.toml:14:11: stages.a.inputs: a stage feeds itself: a → a
       14 | inputs = ["a"]
          |           ^^^ messages travel one way; take this input out
    error: job.toml:17:11: stages.b.inputs: stages feed each other: b → c → b
       17 | inputs = ["c", "a"]
          |           ^^^ messages travel one way; take one of these inputs out
    2 errors in job.toml
    "#
    );
}

#[test]
fn several_inputs_from_one_ancestor() {
    let end = "[stages.end]\ntype = \"count\"\ninputs = [\"join\"]\n";
    assert_snapshot!(
        report_behind_walk(&format!(
            r#"
[stages.meta]
type = "fetch"
inputs = ["walk"]
[stages.kept]
type = "keep"
inputs = ["meta"]
[stages.join]
type = "join"
inputs = {{ old = "meta", new = "kept" }}
{end}"#
        )),
        @r#"
    error: job.toml:13:10: stages.join.inputs: the inputs "old" and "new" both come from "meta", and would wait for each other for ever
       13 | inputs = { old = "meta", new = "kept" }
          |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ let a stage that holds everything, such as a sort, stand on both ways
    1 error in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_two(
            r#"
[stages.p]
type = "join"
inputs = { old = "a", new = "b" }
[stages.q]
type = "join"
inputs = { old = "b", new = "a" }
[stages.end]
type = "count"
inputs = ["p", "q"]
"#
        ),
        @r#"
    error: job.toml:16:10: stages.p.inputs: the inputs of p and q come from the same stages, and would wait for each other for ever
       16 | inputs = { old = "a", new = "b" }
          |          ^^^^^^^^^^^^^^^^^^^^^^^^ give each of them stages of its own to read from, or sort before each input
    1 error in job.toml
    "#
    );
}

#[test]
fn an_order_that_is_not_there_where_a_stage_needs_it() {
    let meta = "[stages.meta]\ntype = \"fetch\"\ninputs = [\"walk\"]\n";
    let sorted = format!("{meta}[stages.sorted]\ntype = \"sort\"\ninputs = [\"meta\"]\n");
    let tree = |input: &str| format!("[stages.tree]\ntype = \"tree\"\ninputs = [{input}]\n");
    assert_eq!(
        report_behind_walk(&format!("{sorted}{}", tree("\"sorted\""))),
        ""
    );
    assert_snapshot!(report_behind_walk(&format!("{meta}{}", tree("\"meta\""))), @r#"
    error: job.toml:9:10: stages.tree.inputs: needs its input ordered by path, but nothing orders it
        9 | inputs = ["meta"]
          |          ^^^^^^^^ put a sort by path right before it
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_walk(&format!("{}{}", sorted.replace("\"sort\"", "\"sort_by_size\""), tree("\"sorted\""))),
        @r#"
    error: job.toml:12:10: stages.tree.inputs: needs its input ordered by path, but it is ordered by size
       12 | inputs = ["sorted"]
          |          ^^^^^^^^^^ put a sort by path right before it
    1 error in job.toml
    "#
    );
    let kept = format!("{sorted}[stages.kept]\ntype = \"keep\"\ninputs = [\"sorted\"]\n");
    assert_eq!(
        report_behind_walk(&format!("{kept}threads = 1\n{}", tree("\"kept\""))),
        ""
    );
    assert_snapshot!(report_behind_walk(&format!("{kept}{}", tree("\"kept\""))), @r#"
    error: job.toml:15:10: stages.tree.inputs: needs its input ordered by path, but the order by path is lost: stage "kept" runs on several threads
       15 | inputs = ["kept"]
          |          ^^^^^^^^ put a sort by path right before it, or set threads = 1 on stage "kept"
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&format!("{kept}threads = 4\n{}", tree("\"kept\""))), @r#"
    error: job.toml:16:10: stages.tree.inputs: needs its input ordered by path, but the order by path is lost: stage "kept" runs on 4 threads
       16 | inputs = ["kept"]
          |          ^^^^^^^^ put a sort by path right before it, or set threads = 1 on stage "kept"
    1 error in job.toml
    "#);
    // Lost in the stage itself, and further up.
    let two = "[stages.sa]\ntype = \"sort\"\ninputs = [\"a\"]\n[stages.sb]\ntype = \"sort\"\ninputs = [\"b\"]\n";
    assert_snapshot!(report_behind_two(&format!("{two}{}", tree("\"sa\", \"sb\""))), @r#"
    error: job.toml:21:10: stages.tree.inputs: needs its input ordered by path, but the order by path is lost: "sa" and "sb" flow together in "tree"
       21 | inputs = ["sa", "sb"]
          |          ^^^^^^^^^^^^ put a sort by path right before it
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_two(&format!(
            "{two}[stages.both]\ntype = \"keep\"\nthreads = 1\ninputs = [\"sa\", \"sb\"]\n{}",
            tree("\"both\"")
        )),
        @r#"
    error: job.toml:25:10: stages.tree.inputs: needs its input ordered by path, but the order by path is lost: "sa" and "sb" flow together in "both"
       25 | inputs = ["both"]
          |          ^^^^^^^^ put a sort by path right before it
    1 error in job.toml
    "#
    );
    // On one of two ports.
    assert_snapshot!(
        report_behind_two(&format!(
            "{two}[stages.changes]\ntype = \"compare\"\ninputs = {{ old = \"sa\", new = \"b\" }}\n{}",
            "[stages.end]\ntype = \"count\"\ninputs = [\"changes\"]\n"
        )),
        @r#"
    error: job.toml:16:1: stages.sb: no stage reads what "sb" sends
       16 | [stages.sb]
          | ^^^^^^^^^^^ add "sb" to the inputs of a stage, or take the stage out
    error: job.toml:21:30: stages.changes.inputs.new: needs its input "new" ordered by path, but nothing orders it
       21 | inputs = { old = "sa", new = "b" }
          |                              ^^^ put a sort by path right before it
    2 errors in job.toml
    "#
    );
}

#[test]
fn what_nobody_reads() {
    assert_snapshot!(report_behind_walk("[stages.meta]\ntype = \"fetch\"\ninputs = [\"walk\"]\n"), @r#"
    error: job.toml:4:1: stages.meta: no stage reads what "meta" sends
        4 | [stages.meta]
          | ^^^^^^^^^^^^^ add "meta" to the inputs of a stage, or take the stage out
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_walk(
            "[stages.meta]\ntype = \"fetch\"\ninputs = [\"walk\"]\n[stages.split]\ntype = \"split\"\ninputs = [\"meta\"]\n\
             [stages.end]\ntype = \"count\"\ninputs = [\"split\"]\n"
        ),
        @r#"
    error: job.toml:7:1: stages.split: no stage reads the output "deleted" of "split"
        7 | [stages.split]
          | ^^^^^^^^^^^^^^ add "split.deleted" to the inputs of a stage
    1 error in job.toml
    "#
    );
}

#[test]
fn a_stage_that_is_there_twice() {
    assert_snapshot!(report_behind_walk(&format!("{FETCH_AND_COUNT}{FETCH_AND_COUNT}")), @r"
    error: job.toml:13:9: stages.meta is defined twice, first on line 5
       13 | [stages.meta]
          |         ^^^^ give each table a name of its own, or join the two
    error: job.toml:17:9: stages.count is defined twice, first on line 9
       17 | [stages.count]
          |         ^^^^^ give each table a name of its own, or join the two
    2 errors in job.toml
    ");
}

#[test]
fn an_input_that_is_listed_twice() {
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"meta\"", "\"meta\", \"meta\"")), @r#"
    error: job.toml:11:19: stages.count.inputs: "meta" is listed twice
       11 | inputs = ["meta", "meta"]
          |                   ^^^^^^ every message would arrive twice; list it once
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("\"meta\"", "\"meta\", \"meta.out\"")), @r#"
    error: job.toml:11:19: stages.count.inputs: "meta" is listed twice
       11 | inputs = ["meta", "meta.out"]
          |                   ^^^^^^^^^^ every message would arrive twice; list it once
    1 error in job.toml
    "#);
}

#[test]
fn inputs_of_a_stage_that_takes_none() {
    assert_snapshot!(report(&format!("{TWO}{}", "[stages.end]\ntype = \"count\"\ninputs = [\"a\", \"b\"]\n").replace(
        "roots = [\"/b\"]", "roots = [\"/b\"]\ninputs = [\"walk1\"]"
    )), @r#"
    error: job.toml:7:10: stages.walk2.inputs: a stage of type walk takes no input
        7 | inputs = ["walk1"]
          |          ^^^^^^^^^ take `inputs` out
    1 error in job.toml
    "#);
}

#[test]
fn inputs_that_are_missing() {
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("inputs = [\"walk\"]", "")), @r#"
    error: job.toml:5:1: stages.meta: a stage of type fetch needs an input
        5 | [stages.meta]
          | ^^^^^^^^^^^^^ add inputs = ["name of a stage"]
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("[\"walk\"]", "[]")), @r#"
    error: job.toml:7:10: stages.meta.inputs: a stage of type fetch needs an input
        7 | inputs = []
          |          ^^ add inputs = ["name of a stage"]
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_two(
            "[stages.join]\ntype = \"join\"\ninputs = { old = [\"a\", \"b\"] }\n[stages.end]\ntype = \"count\"\ninputs = [\"join\"]\n"
        ),
        @r#"
    error: job.toml:15:10: stages.join.inputs: a stage of type join needs its input "new"
       15 | inputs = { old = ["a", "b"] }
          |          ^^^^^^^^^^^^^^^^^^^^ write inputs = { new = "name of a stage", … }
    1 error in job.toml
    "#
    );
}

#[test]
fn inputs_that_are_no_list() {
    // What was meant is plain, so nothing is missing and nothing goes unread.
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("[\"walk\"]", "\"walk\"")), @r#"
    error: job.toml:7:10: stages.meta.inputs: expected an array of stages, found string "walk"
        7 | inputs = "walk"
          |          ^^^^^^ write inputs = ["walk"]
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_walk(&FETCH_AND_COUNT.replace("[\"walk\"]", "true")), @r#"
    error: job.toml:7:10: stages.meta.inputs: expected an array of stages, found boolean true
        7 | inputs = true
          |          ^^^^ write inputs = ["STAGE"] or inputs = { PORT = "STAGE" }
    1 error in job.toml
    "#);
}

#[test]
fn capacities_and_threads_out_of_range() {
    assert_snapshot!(
        report_behind_walk(&format!(
            "threads = 513\n{FETCH_AND_COUNT}capacity = 65537\ncapacity_bytes = \"1B\"\n[pipeline]\ncapacity = 0\n"
        )),
        @r#"
    error: job.toml:4:11: stages.walk.threads: expected "auto" or a number of threads from 1 to 512, found integer 513
        4 | threads = 513
          |           ^^^
    error: job.toml:13:12: stages.count.capacity: expected a number of messages from 1 to 65536, found integer 65537
       13 | capacity = 65537
          |            ^^^^^
    error: job.toml:14:18: stages.count.capacity_bytes: 1B is out of range; it goes from 1KiB to 1GiB
       14 | capacity_bytes = "1B"
          |                  ^^^^
    error: job.toml:16:12: pipeline.capacity: expected a number of messages from 1 to 65536, found integer 0
       16 | capacity = 0
          |            ^
    4 errors in job.toml
    "#
    );
}

#[test]
fn threads_of_a_stage_that_runs_on_one() {
    assert_snapshot!(report_behind_walk(&format!("{FETCH_AND_COUNT}threads = 2\n")), @r"
    error: job.toml:12:11: stages.count.threads: a stage of type count runs on one thread
       12 | threads = 2
          |           ^ take `threads` out
    1 error in job.toml
    ");
    let bounds =
        |bounds: &str| report_behind_walk(&format!("{FETCH_AND_COUNT}threads = {bounds}\n"));
    assert_snapshot!(bounds("{ min = 1, max = 2 }"), @r"
    error: job.toml:12:11: stages.count.threads: a stage of type count runs on one thread
       12 | threads = { min = 1, max = 2 }
          |           ^^^^^^^^^^^^^^^^^^^^ take `threads` out
    1 error in job.toml
    ");
    // Bounds that leave no choice are as good as a number.
    assert_snapshot!(bounds("{ min = 1, max = 1 }"), @"");
}

#[test]
fn bounds_for_a_stage_that_does_not_vary_its_threads() {
    let fetch = FETCH_AND_COUNT.replacen(
        "[stages.count]",
        "threads = { min = 2, max = 64 }\n[stages.count]",
        1,
    );
    assert_ne!(fetch, FETCH_AND_COUNT);
    assert_snapshot!(report_behind_walk(&fetch), @r#"
    error: job.toml:9:11: stages.meta.threads: a stage of type fetch does not vary its number of threads
        9 | threads = { min = 2, max = 64 }
          |           ^^^^^^^^^^^^^^^^^^^^^ write a number, such as threads = 64, or "auto"
    1 error in job.toml
    "#);
    let walk = format!("threads = {{ min = 2, max = 64 }}\n{FETCH_AND_COUNT}");
    assert_snapshot!(report_behind_walk(&walk), @"");
}

#[test]
fn variables() {
    let report = |root: &str| {
        report(&format!(
            "[stages.walk]\ntype = \"walk\"\nroots = [\"/data\", \"{root}\"]\n{FETCH_AND_COUNT}"
        ))
    };
    assert_eq!(report("${ROOT}/x"), "");
    assert_snapshot!(report("${HOEM}/x"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: the variable HOEM is not set
        3 | roots = ["/data", "${HOEM}/x"]
          |                    ^^^^^^^ set HOEM, or write `${HOEM:-default}`
    1 error in job.toml
    "#);
    assert_snapshot!(report("${HOEM:?the home directory}/x"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: the home directory
        3 | roots = ["/data", "${HOEM:?the home directory}/x"]
          |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^ set HOEM
    1 error in job.toml
    "#);
    assert_snapshot!(report("${HOEM:?}/x"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: the variable HOEM is unset or empty
        3 | roots = ["/data", "${HOEM:?}/x"]
          |                    ^^^^^^^^^ set HOEM
    1 error in job.toml
    "#);
    assert_snapshot!(report("${1X}"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: "${1X}" is not a variable
        3 | roots = ["/data", "${1X}"]
          |                    ^^^^^ the forms are `${VAR}`, `${VAR:-default}` and `${VAR:?message}`; `$${` stands for `${` itself
    1 error in job.toml
    "#);
    assert_snapshot!(report("${ROOT"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: this `${` has no closing `}`
        3 | roots = ["/data", "${ROOT"]
          |                    ^^^^^^ write `$${` for a `${` that is no variable
    1 error in job.toml
    "#);
    assert_snapshot!(report("${ROOT:-${WORD}}"), @r#"
    error: job.toml:3:20: stages.walk.roots[1]: the default of ROOT holds another variable
        3 | roots = ["/data", "${ROOT:-${WORD}}"]
          |                    ^^^^^^^^^^^^^^^ a default is plain text
    1 error in job.toml
    "#);
}

#[test]
fn a_variable_whose_value_is_wrong() {
    assert_snapshot!(report_behind_walk(&format!("threads = \"${{WORD}}\"\n{FETCH_AND_COUNT}")), @r#"
    error: job.toml:4:11: stages.walk.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found string "twelve"
        4 | threads = "${WORD}"
          |           ^^^^^^^^^
    1 error in job.toml
    "#);
}

#[test]
fn syntax_errors_hide_what_follows_from_them() {
    assert_snapshot!(
        report_behind_walk("[stages.meta]\ntype = fetch\ninputs = [\"wlak\"]\n[stages.count\ntype = \"count\"\n"),
        @r#"
    error: job.toml:5:8: a string must stand in quotes
        5 | type = fetch
          |        ^^^^^ write "fetch"
    error: job.toml:7:14: this header is never closed
        7 | [stages.count
          |              ^ add the missing `]`
    2 errors in job.toml
    "#
    );
}

#[test]
fn a_file_with_many_mistakes_at_once() {
    assert_snapshot!(
        report(
            r#"
[pipeline]
name = "nightly"
capacity = 0
max_runtme = "8h"

[stages.walk]
type = "walk"
roots = ["/data", 7, "${HOEM}"]
detph = 3
buffer = 64

[stages.meta]
type = "fetch"
inputs = ["wlak"]
threads = 0

[stages.split]
type = "split"
inputs = ["meta.out", "meta.erors"]
threads = 4

[stages.sorted]
type = "sort"
inputs = "split"

[stages.kept]
type = "keep"
inputs = ["sorted", "sorted"]

[stages.tree]
type = "tree"
inputs = ["kept"]

[stages.changes]
type = "compare"
inputs = { old = "split.deleted", nwe = "split.deleted" }

[stages.loop]
type = "keep"
inputs = ["loop"]

[stages.log]
type = "log"
inputs = ["walk.errors", "meta"]

[stages.end]
type = "cuont"
inputs = ["changes", "loop"]
"#
        ),
        @r#"
    error: job.toml:3:12: pipeline.capacity: expected a number of messages from 1 to 65536, found integer 0
        3 | capacity = 0
          |            ^
    error: job.toml:4:1: pipeline.max_runtme: unknown key "max_runtme"
        4 | max_runtme = "8h"
          | ^^^^^^^^^^ did you mean "max_runtime"?
    error: job.toml:8:19: stages.walk.roots[1]: expected a string, found integer 7
        8 | roots = ["/data", 7, "${HOEM}"]
          |                   ^ write "7"
    error: job.toml:8:23: stages.walk.roots[2]: the variable HOEM is not set
        8 | roots = ["/data", 7, "${HOEM}"]
          |                       ^^^^^^^ set HOEM, or write `${HOEM:-default}`
    error: job.toml:9:1: stages.walk.detph: unknown key "detph"
        9 | detph = 3
          | ^^^^^ did you mean "depth"?
    error: job.toml:10:10: stages.walk.buffer: expected a size such as "64MiB", found integer 64
       10 | buffer = 64
          |          ^^ write the unit, as in "64MiB", or "64B" for bytes
    error: job.toml:14:11: stages.meta.inputs: no stage is called "wlak"
       14 | inputs = ["wlak"]
          |           ^^^^^^ did you mean "walk"?
    error: job.toml:15:11: stages.meta.threads: expected "auto" or a number of threads from 1 to 512, found integer 0
       15 | threads = 0
          |           ^
    error: job.toml:19:23: stages.split.inputs: stage "meta" has no output called "erors"
       19 | inputs = ["meta.out", "meta.erors"]
          |                       ^^^^^^^^^^^^ did you mean "meta.errors"?
    error: job.toml:20:11: stages.split.threads: a stage of type split runs on one thread
       20 | threads = 4
          |           ^ take `threads` out
    error: job.toml:24:10: stages.sorted.inputs: expected an array of stages, found string "split"
       24 | inputs = "split"
          |          ^^^^^^^ write inputs = ["split"]
    error: job.toml:28:21: stages.kept.inputs: "sorted" is listed twice
       28 | inputs = ["sorted", "sorted"]
          |                     ^^^^^^^^ every message would arrive twice; list it once
    error: job.toml:32:10: stages.tree.inputs: needs its input ordered by path, but the order by path is lost: stage "kept" runs on several threads
       32 | inputs = ["kept"]
          |          ^^^^^^^^ put a sort by path right before it, or set threads = 1 on stage "kept"
    error: job.toml:36:18: stages.changes.inputs.old: needs its input "old" ordered by path, but nothing orders it
       36 | inputs = { old = "split.deleted", nwe = "split.deleted" }
          |                  ^^^^^^^^^^^^^^^ put a sort by path right before it
    error: job.toml:36:35: stages.changes.inputs.nwe: a stage of type compare has no input called "nwe"
       36 | inputs = { old = "split.deleted", nwe = "split.deleted" }
          |                                   ^^^ did you mean "new"?
    error: job.toml:40:11: stages.loop.inputs: a stage feeds itself: loop → loop
       40 | inputs = ["loop"]
          |           ^^^^^^ messages travel one way; take this input out
    error: job.toml:44:26: stages.log.inputs: "meta" sends Records, but a stage of type log takes ErrorRecord
       44 | inputs = ["walk.errors", "meta"]
          |                          ^^^^^^
    error: job.toml:47:8: stages.end.type: no stage type is called "cuont"
       47 | type = "cuont"
          |        ^^^^^^^ did you mean "count"?
    18 errors in job.toml
    "#
    );
}

#[test]
fn codes_that_a_stage_never_reports_are_not_accepted() {
    assert_snapshot!(report(r#"
[stages.walk]
type = "walk"
roots = ["/data"]
accept = ["EACCES", "EACESS", "E524", "permission denied"]

[stages.out]
type = "fetch"
inputs = ["walk"]
accept = ["WHATEVER"]

[stages.count]
type = "count"
inputs = ["out"]
"#), @r#"
    error: job.toml:4:21: stages.walk.accept[1]: no error of this stage has the code "EACESS"
        4 | accept = ["EACCES", "EACESS", "E524", "permission denied"]
          |                     ^^^^^^^^ did you mean "EACCES"?
    error: job.toml:4:39: stages.walk.accept[3]: no error of this stage has the code "permission denied"
        4 | accept = ["EACCES", "EACESS", "E524", "permission denied"]
          |                                       ^^^^^^^^^^^^^^^^^^^ known codes: EACCES, EIO, ELOOP
    2 errors in job.toml
    "#);
}
