//! The keys of the framework: `[pipeline]`, the stages, their inputs, `--set` and variables.

use insta::assert_snapshot;

use super::{load, report, report_overrides};
use crate::config::ThreadSetting;
use crate::quantity::ByteSize;

#[test]
fn a_job_that_is_right_is_described_in_the_order_of_its_file() {
    let (job, problems) = load(
        r#"
[pipeline]
name = "inventory"
capacity = 32
max_runtime = "2h30m"

[stages.walk]
type = "demo"
path = "${ROOT}/data"
threads = "auto"

[stages.known]
type = "cache"
inputs = ["walk", "walk.errors"]
threads = "${COUNT}"
capacity = 4
capacity_bytes = "1MiB"
accept = ["EACCES"]

[stages.changes]
type = "diff"
inputs = { old = "known", new = ["walk"] }
"#,
        &[],
    );
    assert!(problems.is_empty(), "{problems}");
    let job = job.expect("is right");
    assert_eq!(job.pipeline.name.as_deref(), Some("inventory"));
    assert_eq!(job.pipeline.capacity, 32);
    assert_eq!(job.pipeline.capacity_bytes, ByteSize::from_mib(8));
    let names: Vec<_> = job.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["walk", "known", "changes"]);
    let threads = |at: usize| job.stages[at].threads.as_ref().map(|(threads, _)| *threads);
    assert_eq!(
        [threads(0), threads(1)],
        [Some(ThreadSetting::Auto), Some(ThreadSetting::Count(12))]
    );
    let inputs: Vec<_> = job.stages[1..]
        .iter()
        .flat_map(|stage| &stage.inputs)
        .map(|input| {
            (
                input.port.as_deref(),
                &*input.stage,
                input.from_port.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        inputs,
        [
            (None, "walk", None),
            (None, "walk", Some("errors")),
            (Some("old"), "known", None),
            (Some("new"), "walk", None)
        ]
    );
}

#[test]
fn bounds_for_the_number_of_threads() {
    let threads = |threads: &str| {
        let (job, problems) = load(
            &format!("[stages.a]\ntype = \"demo\"\npath = \"x\"\nthreads = {threads}\n"),
            &[],
        );
        assert!(problems.is_empty(), "{problems}");
        job.unwrap().stages[0].threads.as_ref().unwrap().0
    };
    let bounds = |min, max| ThreadSetting::Range { min, max };
    assert_eq!(threads("{ min = 2, max = 64 }"), bounds(2, 64));
    assert_eq!(threads("{ min = 1, max = 512 }"), bounds(1, 512));
    assert_eq!(threads("{ min = 3, max = \"${COUNT}\" }"), bounds(3, 12));
    assert_snapshot!(
        report(
            "[stages.a]\ntype = \"x\"\nthreads = { min = 8, max = 4 }\n\
             [stages.b]\ntype = \"x\"\nthreads = { min = 0, max = 513 }\n\
             [stages.c]\ntype = \"x\"\nthreads = { min = 2, maxx = 4 }\n\
             [stages.d]\ntype = \"x\"\nthreads = { max = 4 }\n\
             [stages.e]\ntype = \"x\"\nthreads = [2, 4]\n\
             [stages.f]\ntype = \"x\"\nthreads = { min = 1, max = 4, step = 2 }\n"
        ),
        @r#"
    error: job.toml:3:11: stages.a.threads: at least 8 and at most 4 threads leaves no number; write the smaller one as min
        3 | threads = { min = 8, max = 4 }
          |           ^^^^^^^^^^^^^^^^^^^^
    error: job.toml:6:19: stages.b.threads.min: expected a number of threads from 1 to 512, found integer 0
        6 | threads = { min = 0, max = 513 }
          |                   ^
    error: job.toml:6:28: stages.b.threads.max: expected a number of threads from 1 to 512, found integer 513
        6 | threads = { min = 0, max = 513 }
          |                            ^^^
    error: job.toml:9:22: stages.c.threads.maxx: unknown key "maxx"
        9 | threads = { min = 2, maxx = 4 }
          |                      ^^^^ did you mean "max"?
    error: job.toml:12:11: stages.d.threads: missing key "min"
       12 | threads = { max = 4 }
          |           ^^^^^^^^^^^
    error: job.toml:15:11: stages.e.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found an array
       15 | threads = [2, 4]
          |           ^^^^^^
    error: job.toml:18:31: stages.f.threads.step: unknown key "step"
       18 | threads = { min = 1, max = 4, step = 2 }
          |                               ^^^^ known keys: min, max
    7 errors in job.toml
    "#
    );
}

#[test]
fn an_empty_file() {
    assert_snapshot!(report(""), @r#"
    error: job.toml: stages: this job has no stages
          = a stage starts with [stages.NAME] and names its kind with type = "…"
    1 error in job.toml
    "#);
    assert_snapshot!(report("# later\n[stages]\n"), @r#"
    error: job.toml:2:1: stages: this job has no stages
        2 | [stages]
          | ^^^^^^^^ a stage starts with [stages.NAME] and names its kind with type = "…"
    1 error in job.toml
    "#);
}

#[test]
fn names_at_the_top_that_are_not_known() {
    assert_snapshot!(report("capacity = 3\n[stage.walk]\ntype = \"x\"\n[extra]\n"), @r#"
    error: job.toml:1:1: capacity: unknown key "capacity"
        1 | capacity = 3
          | ^^^^^^^^ it belongs below [pipeline]
    error: job.toml:2:2: stage: unknown table "stage"
        2 | [stage.walk]
          |  ^^^^^ did you mean "stages"?
    error: job.toml:4:2: extra: unknown table "extra"
        4 | [extra]
          |  ^^^^^ known tables: pipeline, stages
    3 errors in job.toml
    "#);
}

#[test]
fn settings_that_are_wrong() {
    assert_snapshot!(
        report(
            "[pipeline]\nname = 7\ncapacity = 0\ncapacity_bytes = \"2GiB\"\nmax_runtime = 3600\nmax-run = 1\n\
             [stages.walk]\ntype = \"x\"\n"
        ),
        @r#"
    error: job.toml:2:8: pipeline.name: expected a string, found integer 7
        2 | name = 7
          |        ^ write "7"
    error: job.toml:3:12: pipeline.capacity: expected a number of messages from 1 to 65536, found integer 0
        3 | capacity = 0
          |            ^
    error: job.toml:4:18: pipeline.capacity_bytes: 2GiB is out of range; it goes from 1KiB to 1GiB
        4 | capacity_bytes = "2GiB"
          |                  ^^^^^^
    error: job.toml:5:15: pipeline.max_runtime: expected a time such as "30s" or "2h30m", found integer 3600
        5 | max_runtime = 3600
          |               ^^^^ write the unit, as in "3600s" or "3600ms"
    error: job.toml:6:1: pipeline.max-run: unknown key "max-run"
        6 | max-run = 1
          | ^^^^^^^ did you mean "max_runtime"?
    5 errors in job.toml
    "#
    );
    assert_snapshot!(report("pipeline = 1\nstages = 2\n"), @r"
    error: job.toml:1:12: pipeline: expected a table, found integer 1
        1 | pipeline = 1
          |            ^
    error: job.toml:2:10: stages: expected a table of stages, found integer 2
        2 | stages = 2
          |          ^ a stage starts with [stages.NAME]
    2 errors in job.toml
    ");
    assert_snapshot!(report("[[stages]]\ntype = \"x\"\n"), @r"
    error: job.toml:1:1: stages: expected a table of stages, found an array
        1 | [[stages]]
          | ^^^^^^^^^^ a stage starts with [stages.NAME]
    1 error in job.toml
    ");
}

#[test]
fn a_stage_that_is_not_a_table() {
    assert_snapshot!(report("[stages]\nwalk = \"enumerate\"\n[[stages.group]]\ntype = \"batch\"\n"), @r#"
    error: job.toml:2:8: stages.walk: expected a stage, found string "enumerate"
        2 | walk = "enumerate"
          |        ^^^^^^^^^^^ write [stages.walk] and its options below
    error: job.toml:3:1: stages.group: expected a stage, found an array
        3 | [[stages.group]]
          | ^^^^^^^^^^^^^^^^ write [stages.group] and its options below
    2 errors in job.toml
    "#);
}

#[test]
fn a_stage_whose_name_is_no_name() {
    assert_snapshot!(report("[stages.\"walk.errors\"]\ntype = \"x\"\n[stages.\"\"]\ntype = \"x\"\n"), @r#"
    error: job.toml:1:9: stages."walk.errors": "walk.errors" can't be the name of a stage
        1 | [stages."walk.errors"]
          |         ^^^^^^^^^^^^^ names take the letters a to z, digits, `-` and `_`
    error: job.toml:3:9: stages."": "" can't be the name of a stage
        3 | [stages.""]
          |         ^^ names take the letters a to z, digits, `-` and `_`
    2 errors in job.toml
    "#);
}

#[test]
fn a_type_that_is_missing_or_wrong() {
    assert_snapshot!(
        report("[stages.a]\n[stages.b]\ntype = 3\n[stages.c]\ntyp = \"x\"\n[stages.d]\nkind = \"x\"\n"),
        @r#"
    error: job.toml:1:1: stages.a: missing key "type"
        1 | [stages.a]
          | ^^^^^^^^^^ name the kind of the stage with type = "…"
    error: job.toml:3:8: stages.b.type: expected a string, found integer 3
        3 | type = 3
          |        ^ write "3"
    error: job.toml:4:1: stages.c: missing key "type"
        4 | [stages.c]
          | ^^^^^^^^^^ did you mean "type" where you wrote "typ"?
    error: job.toml:6:1: stages.d: missing key "type"
        6 | [stages.d]
          | ^^^^^^^^^^ did you mean "type" where you wrote "kind"?
    4 errors in job.toml
    "#
    );
}

#[test]
fn threads_and_capacities_that_are_wrong() {
    assert_snapshot!(
        report(
            "[stages.a]\ntype = \"x\"\nthreads = 0\ncapacity = -1\ncapacity_bytes = 64\naccept = [\"EACCES\", 13]\n\
             [stages.b]\ntype = \"x\"\nthreads = \"8\"\ncapacity = 1.5\ncapacity_bytes = \"1B\"\naccept = \"EACCES\"\n\
             [stages.c]\ntype = \"x\"\nthreads = \"many\"\ncapacity = 99999\n"
        ),
        @r#"
    error: job.toml:3:11: stages.a.threads: expected "auto" or a number of threads from 1 to 512, found integer 0
        3 | threads = 0
          |           ^
    error: job.toml:4:12: stages.a.capacity: expected a number of messages from 1 to 65536, found integer -1
        4 | capacity = -1
          |            ^^
    error: job.toml:5:18: stages.a.capacity_bytes: expected a size such as "64MiB", found integer 64
        5 | capacity_bytes = 64
          |                  ^^ write the unit, as in "64MiB", or "64B" for bytes
    error: job.toml:6:21: stages.a.accept[1]: expected a string, found integer 13
        6 | accept = ["EACCES", 13]
          |                     ^^ write "13"
    error: job.toml:9:11: stages.b.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found string "8"
        9 | threads = "8"
          |           ^^^
    error: job.toml:10:12: stages.b.capacity: expected a number of messages from 1 to 65536, found float 1.5
       10 | capacity = 1.5
          |            ^^^
    error: job.toml:11:18: stages.b.capacity_bytes: 1B is out of range; it goes from 1KiB to 1GiB
       11 | capacity_bytes = "1B"
          |                  ^^^^
    error: job.toml:12:10: stages.b.accept: expected an array, found string "EACCES"
       12 | accept = "EACCES"
          |          ^^^^^^^^ write ["EACCES"]
    error: job.toml:15:11: stages.c.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found string "many"
       15 | threads = "many"
          |           ^^^^^^
    error: job.toml:16:12: stages.c.capacity: expected a number of messages from 1 to 65536, found integer 99999
       16 | capacity = 99999
          |            ^^^^^
    10 errors in job.toml
    "#
    );
}

#[test]
fn inputs_that_are_wrong() {
    assert_snapshot!(
        report(
            "[stages.a]\ntype = \"x\"\ninputs = \"walk\"\n[stages.b]\ntype = \"x\"\ninputs = 3\n\
             [stages.c]\ntype = \"x\"\ninputs = [\"walk\", 3, \"\", \"walk.\", \"a.b.c\", \"walk\"]\n\
             [stages.d]\ntype = \"x\"\ninputs = { old = 1, new = [\"a\", true] }\n"
        ),
        @r#"
    error: job.toml:3:10: stages.a.inputs: expected an array of stages, found string "walk"
        3 | inputs = "walk"
          |          ^^^^^^ write inputs = ["walk"]
    error: job.toml:6:10: stages.b.inputs: expected an array of stages, found integer 3
        6 | inputs = 3
          |          ^ write inputs = ["STAGE"] or inputs = { PORT = "STAGE" }
    error: job.toml:9:19: stages.c.inputs: expected the name of a stage, found integer 3
        9 | inputs = ["walk", 3, "", "walk.", "a.b.c", "walk"]
          |                   ^
    error: job.toml:9:22: stages.c.inputs: "" names no stage
        9 | inputs = ["walk", 3, "", "walk.", "a.b.c", "walk"]
          |                      ^^ write "STAGE", or "STAGE.PORT" for a port other than its main one
    error: job.toml:9:26: stages.c.inputs: "walk." names no stage
        9 | inputs = ["walk", 3, "", "walk.", "a.b.c", "walk"]
          |                          ^^^^^^^ write "STAGE", or "STAGE.PORT" for a port other than its main one
    error: job.toml:9:35: stages.c.inputs: "a.b.c" names no stage
        9 | inputs = ["walk", 3, "", "walk.", "a.b.c", "walk"]
          |                                   ^^^^^^^ write "STAGE", or "STAGE.PORT" for a port other than its main one
    error: job.toml:9:44: stages.c.inputs: "walk" is listed twice
        9 | inputs = ["walk", 3, "", "walk.", "a.b.c", "walk"]
          |                                            ^^^^^^ every message would arrive twice; list it once
    error: job.toml:12:18: stages.d.inputs.old: expected the name of a stage, found integer 1
       12 | inputs = { old = 1, new = ["a", true] }
          |                  ^
    error: job.toml:12:33: stages.d.inputs.new: expected the name of a stage, found boolean true
       12 | inputs = { old = 1, new = ["a", true] }
          |                                 ^^^^
    9 errors in job.toml
    "#
    );
}

#[test]
fn a_stage_with_problems_is_still_known_by_its_name() {
    let text = "[stages]\nwalk = 3\ngroup = \"${UNSET}\"\n[stages.known]\ntype = \"${UNSET}\"\n\
                inputs = [\"${UNSET}\", \"walk\"]\n[stages.a]\ninputs = \"${UNSET}\"\n";
    let (job, problems) = load(text, &[]);
    let job = job.expect("is TOML");
    let names: Vec<_> = job.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["walk", "group", "known", "a"]);
    assert!(
        job.stages
            .iter()
            .all(|stage| stage.kind.is_none() && !stage.inputs_complete)
    );
    assert_eq!(problems.iter().count(), 6);
}

#[test]
fn too_many_stages() {
    let stages: String = (0..300)
        .map(|at| format!("[stages.s{at}]\ntype = \"x\"\n"))
        .collect();
    assert_snapshot!(report(&stages), @r"
    error: job.toml:513:9: stages: a job has at most 256 stages, and this one has 300
      513 | [stages.s256]
          |         ^^^^
    1 error in job.toml
    ");
}

#[test]
fn variables_that_can_not_be_put_in() {
    assert_snapshot!(
        report(
            "[stages.x]\ntype = \"demo\"\npath = \"${UNSET}/data\"\nroots = [\"/a\", \"b/${HOEM}\", \"${1X}\"]\n\
             report.title = \"${ROOT} ${OPEN\"\nlimit = \"${EMPTY:?say how much}\"\ndelay = \"${A:-${B}}\"\n\
             compression = \"${UNSET:?}\"\n"
        ),
        @r#"
    error: job.toml:3:9: stages.x.path: the variable UNSET is not set
        3 | path = "${UNSET}/data"
          |         ^^^^^^^^ set UNSET, or write `${UNSET:-default}`
    error: job.toml:4:19: stages.x.roots[1]: the variable HOEM is not set
        4 | roots = ["/a", "b/${HOEM}", "${1X}"]
          |                   ^^^^^^^ set HOEM, or write `${HOEM:-default}`
    error: job.toml:4:30: stages.x.roots[2]: "${1X}" is not a variable
        4 | roots = ["/a", "b/${HOEM}", "${1X}"]
          |                              ^^^^^ the forms are `${VAR}`, `${VAR:-default}` and `${VAR:?message}`; `$${` stands for `${` itself
    error: job.toml:5:25: stages.x.report.title: this `${` has no closing `}`
        5 | report.title = "${ROOT} ${OPEN"
          |                         ^^^^^^ write `$${` for a `${` that is no variable
    error: job.toml:6:10: stages.x.limit: say how much
        6 | limit = "${EMPTY:?say how much}"
          |          ^^^^^^^^^^^^^^^^^^^^^^ set EMPTY
    error: job.toml:7:10: stages.x.delay: the default of A holds another variable
        7 | delay = "${A:-${B}}"
          |          ^^^^^^^^^ a default is plain text
    error: job.toml:8:16: stages.x.compression: the variable UNSET is unset or empty
        8 | compression = "${UNSET:?}"
          |                ^^^^^^^^^^ set UNSET
    7 errors in job.toml
    "#
    );
}

#[test]
fn a_variable_whose_value_is_wrong() {
    assert_snapshot!(
        report("[stages.x]\ntype = \"demo\"\npath = \"$${ROOT}\"\nmax_entries = \"${COUNT}\"\noffset = \"${WORD}\"\n"),
        @r#"
    error: job.toml:5:10: stages.x.offset: expected a whole number, found string "twelve"
        5 | offset = "${WORD}"
          |          ^^^^^^^^^
    1 error in job.toml
    "#
    );
}

#[test]
fn overrides_that_are_wrong() {
    assert_snapshot!(
        report_overrides(&[
            "stages.meta.threads=8x",
            "stages.walk.path.deep=1",
            "stages.wlak.threads=2",
            "threads",
            "=1",
            "stages..x=1",
            "stages.walk.roots=[1, 2",
            "stages.walk.ofset=1",
            "pipeline.capacity=99999999999999999999",
        ]),
        @r#"
    error: --set stages.walk.path.deep=1: stages.walk.path is not a table: it holds string "/tmp"
    error: --set threads: there is no `=`
          = write KEY=VALUE
    error: --set =1: "" is not the path of a key
          = write it like `stages.walk.threads=2`
    error: --set stages..x=1: "stages..x" is not the path of a key
          = write it like `stages.walk.threads=2`
    error: --set stages.walk.roots=[1, 2: "[1, 2" is not a TOML value
    error: --set pipeline.capacity=99999999999999999999: this number does not fit into 64 bits
    error: --set stages.meta.threads=8x: stages.meta.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found string "8x"
    error: --set stages.wlak.threads=2: stages.wlak: no stage is called "wlak"
          = did you mean "walk"?
    error: --set stages.walk.ofset=1: stages.walk.ofset: unknown key "ofset"
          = did you mean "offset"?
    9 errors in job.toml
    "#
    );
}

#[test]
fn overrides_go_in_before_anything_is_checked() {
    let text = "[stages.walk]\ntype = \"demo\"\npath = 3\n";
    let set = [
        "stages.walk.path=/tmp",
        "stages.\"walk\".max_entries = 8",
        "stages.walk.report.title=a = b",
        "stages.out.type=x",
    ];
    let (job, problems) = load(text, &set);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(job.expect("is right").stages.len(), 2);
}
