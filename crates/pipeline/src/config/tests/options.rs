//! The options of a kind.

use insta::assert_snapshot;
use serde::Deserialize;

use super::{Demo, report, report_options};
use crate::config::options::field_names;
use crate::quantity::ByteSize;

#[test]
fn options_that_are_right_give_no_message() {
    let options = r#"
path = "out"
roots = ["${ROOT}", "b"]
max_entries = 1024
offset = -1
workers = 1
ratio = 2
follow = true
limit = "64MiB"
delay = "50ms"
compression = { zstd = { level = 3 } }
window = [1, 2]
limits = [{ name = "a", size = "1kB", age = "7d" }]
report = { title = "t" }
"#;
    assert_eq!(report_options(options), "");
    assert_eq!(report_options("path = \"x\"\ncompression = \"gzip\""), "");
}

#[test]
fn a_key_that_is_missing() {
    assert_snapshot!(report_options("follow = true"), @r#"
    error: job.toml:1:1: stages.x: missing key "path"
        1 | [stages.x]
          | ^^^^^^^^^^
    1 error in job.toml
    "#);
}

#[test]
fn all_missing_keys_are_told() {
    assert_snapshot!(report_options("path = \"\"\nlimits = [{}, { size = 3 }]\n[stages.x.report]\n"), @r#"
    error: job.toml:4:11: stages.x.limits[0]: missing key "name"
        4 | limits = [{}, { size = 3 }]
          |           ^^
    error: job.toml:4:11: stages.x.limits[0]: missing key "size"
        4 | limits = [{}, { size = 3 }]
          |           ^^
    error: job.toml:4:11: stages.x.limits[0]: missing key "age"
        4 | limits = [{}, { size = 3 }]
          |           ^^
    error: job.toml:4:15: stages.x.limits[1]: missing key "name"
        4 | limits = [{}, { size = 3 }]
          |               ^^^^^^^^^^^^
    error: job.toml:4:15: stages.x.limits[1]: missing key "age"
        4 | limits = [{}, { size = 3 }]
          |               ^^^^^^^^^^^^
    error: job.toml:4:24: stages.x.limits[1].size: expected a size such as "64MiB", found integer 3
        4 | limits = [{}, { size = 3 }]
          |                        ^ write the unit, as in "3MiB", or "3B" for bytes
    error: job.toml:5:1: stages.x.report: missing key "title"
        5 | [stages.x.report]
          | ^^^^^^^^^^^^^^^^^
    7 errors in job.toml
    "#);
}

#[test]
fn a_quantity_without_a_unit() {
    assert_snapshot!(report_options("path = \"\"\nlimit = 64\ndelay = 30"), @r#"
    error: job.toml:4:9: stages.x.limit: expected a size such as "64MiB", found integer 64
        4 | limit = 64
          |         ^^ write the unit, as in "64MiB", or "64B" for bytes
    error: job.toml:5:9: stages.x.delay: expected a time such as "30s" or "2h30m", found integer 30
        5 | delay = 30
          |         ^^ write the unit, as in "30s" or "30ms"
    2 errors in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\nlimit = \"64\"\ndelay = \"30 sec\""), @r#"
    error: job.toml:4:9: stages.x.limit: "64" has no unit, write it like "64MiB"
        4 | limit = "64"
          |         ^^^^
    error: job.toml:5:9: stages.x.delay: "30 sec" has the unknown unit "sec", known units: w, d, h, m, s, ms, us, ns
        5 | delay = "30 sec"
          |         ^^^^^^^^
    2 errors in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\nlimit = \"64mib\"\ndelay = 1.5"), @r#"
    error: job.toml:4:9: stages.x.limit: "64mib" has the unknown unit "mib", write "MiB"
        4 | limit = "64mib"
          |         ^^^^^^^
    error: job.toml:5:9: stages.x.delay: expected a time such as "30s" or "2h30m", found float 1.5
        5 | delay = 1.5
          |         ^^^ write the unit, as in "1.5s"
    2 errors in job.toml
    "#);
}

#[test]
fn numbers_out_of_their_range() {
    assert_snapshot!(
        report_options("path = \"\"\nmax_entries = -1\noffset = 9223372036854775808\nworkers = 0\nratio = \"1.5\""),
        @r#"
    error: job.toml:4:15: stages.x.max_entries: expected a whole number from 0 to 4294967295, found integer -1
        4 | max_entries = -1
          |               ^^
    error: job.toml:5:10: stages.x.offset: expected a whole number, found integer 9223372036854775808
        5 | offset = 9223372036854775808
          |          ^^^^^^^^^^^^^^^^^^^
    error: job.toml:6:11: stages.x.workers: expected a whole number of at least 1, found integer 0
        6 | workers = 0
          |           ^
    error: job.toml:7:9: stages.x.ratio: expected a number, found string "1.5"
        7 | ratio = "1.5"
          |         ^^^^^ write it without quotes
    4 errors in job.toml
    "#
    );
    assert_snapshot!(
        report_options("path = \"\"\nmax_entries = 1.0\noffset = 0.5\nworkers = \"2\"\nwindow = [1, 5000000000]"),
        @r#"
    error: job.toml:4:15: stages.x.max_entries: expected a whole number, found float 1.0
        4 | max_entries = 1.0
          |               ^^^ write 1
    error: job.toml:5:10: stages.x.offset: expected a whole number, found float 0.5
        5 | offset = 0.5
          |          ^^^
    error: job.toml:6:11: stages.x.workers: expected a whole number, found string "2"
        6 | workers = "2"
          |           ^^^ write it without quotes
    error: job.toml:7:14: stages.x.window[1]: expected a whole number from 0 to 4294967295, found integer 5000000000
        7 | window = [1, 5000000000]
          |              ^^^^^^^^^^
    4 errors in job.toml
    "#
    );
}

#[test]
fn values_of_other_types() {
    assert_snapshot!(
        report_options("path = 3\nroots = \"a\"\nfollow = \"true\"\nreport = \"daily\"\nlimits = 2026-01-01\nratio = []"),
        @r#"
    error: job.toml:3:8: stages.x.path: expected a string, found integer 3
        3 | path = 3
          |        ^ write "3"
    error: job.toml:4:9: stages.x.roots: expected an array, found string "a"
        4 | roots = "a"
          |         ^^^ write ["a"]
    error: job.toml:5:10: stages.x.follow: expected true or false, found string "true"
        5 | follow = "true"
          |          ^^^^^^ write it without quotes
    error: job.toml:6:10: stages.x.report: expected a table, found string "daily"
        6 | report = "daily"
          |          ^^^^^^^
    error: job.toml:7:10: stages.x.limits: expected an array, found date 2026-01-01
        7 | limits = 2026-01-01
          |          ^^^^^^^^^^
    error: job.toml:8:9: stages.x.ratio: expected a number, found an array
        8 | ratio = []
          |         ^^
    6 errors in job.toml
    "#
    );
}

#[test]
fn one_element_of_an_array() {
    assert_snapshot!(report_options("path = \"\"\nroots = [\n  \"a\",\n  2,\n  \"c\",\n  true,\n]"), @r#"
    error: job.toml:6:3: stages.x.roots[1]: expected a string, found integer 2
        6 |   2,
          |   ^ write "2"
    error: job.toml:8:3: stages.x.roots[3]: expected a string, found boolean true
        8 |   true,
          |   ^^^^ write "true"
    2 errors in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\nwindow = [1]\n"), @r"
    error: job.toml:4:10: stages.x.window: expected an array of 2 values, found 1
        4 | window = [1]
          |          ^^^
    1 error in job.toml
    ");
    assert_snapshot!(report_options("path = \"\"\nwindow = [1, 2, 3]\n"), @r"
    error: job.toml:4:10: stages.x.window: expected an array of 2 values, found 3
        4 | window = [1, 2, 3]
          |          ^^^^^^^^^
    1 error in job.toml
    ");
    assert_snapshot!(report_options("path = \"\"\nwindow = [\"1\", 2]\n"), @r#"
    error: job.toml:4:11: stages.x.window[0]: expected a whole number, found string "1"
        4 | window = ["1", 2]
          |           ^^^ write it without quotes
    1 error in job.toml
    "#);
}

#[test]
fn a_choice_that_is_not_one() {
    assert_snapshot!(report_options("path = \"\"\ncompression = \"gzp\""), @r#"
    error: job.toml:4:15: stages.x.compression: expected one of "none", "gzip", "zstd", found string "gzp"
        4 | compression = "gzp"
          |               ^^^^^ did you mean "gzip"?
    1 error in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\ncompression = 3"), @r#"
    error: job.toml:4:15: stages.x.compression: expected one of "none", "gzip", "zstd", found integer 3
        4 | compression = 3
          |               ^
    1 error in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\ncompression = { zstd = { level = 300 } }"), @r"
    error: job.toml:4:34: stages.x.compression.zstd.level: expected a whole number from 0 to 255, found integer 300
        4 | compression = { zstd = { level = 300 } }
          |                                  ^^^
    1 error in job.toml
    ");
    assert_snapshot!(report_options("path = \"\"\ncompression = { zstd = { levle = 3 } }"), @r#"
    error: job.toml:4:26: stages.x.compression.zstd.levle: unknown key "levle"
        4 | compression = { zstd = { levle = 3 } }
          |                          ^^^^^ did you mean "level"?
    1 error in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\ncompression = { gzip = {} }"), @r#"
    error: job.toml:4:15: stages.x.compression: "gzip" takes no options, write it as a string
        4 | compression = { gzip = {} }
          |               ^^^^^^^^^^^^^
    1 error in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\ncompression = \"zstd\""), @r#"
    error: job.toml:4:15: stages.x.compression: "zstd" needs more: write { zstd = … }
        4 | compression = "zstd"
          |               ^^^^^^
    1 error in job.toml
    "#);
}

#[test]
fn keys_that_are_not_known() {
    assert_snapshot!(report_options("path = \"\"\nmax-entries = 1\ninput = [\"a\"]\nzzz = 1"), @r#"
    error: job.toml:4:1: stages.x.max-entries: unknown key "max-entries"
        4 | max-entries = 1
          | ^^^^^^^^^^^ did you mean "max_entries"?
    error: job.toml:5:1: stages.x.input: unknown key "input"
        5 | input = ["a"]
          | ^^^^^ did you mean "inputs"?
    error: job.toml:6:1: stages.x.zzz: unknown key "zzz"
        6 | zzz = 1
          | ^^^
    3 errors in job.toml
    "#);
    assert_snapshot!(report_options("path = \"\"\n[stages.x.report]\ntitle = \"\"\nevry = \"1d\"\n"), @r#"
    error: job.toml:6:1: stages.x.report.evry: unknown key "evry"
        6 | evry = "1d"
          | ^^^^ did you mean "every"?
    1 error in job.toml
    "#);
}

#[test]
fn a_slip_in_a_required_key_is_one_problem() {
    assert_snapshot!(report_options("paht = \"/tmp\"\n"), @r#"
    error: job.toml:3:1: stages.x.paht: unknown key "paht"
        3 | paht = "/tmp"
          | ^^^^ did you mean "path"?
    1 error in job.toml
    "#);
}

#[test]
fn the_problems_of_all_stages_come_at_once() {
    assert_snapshot!(
        report("[stages.a]\ntype = \"demo\"\npath = 1\n\n[stages.b]\ntype = \"demo\"\nlimit = 2\nthreads = \"x\"\n"),
        @r#"
    error: job.toml:3:8: stages.a.path: expected a string, found integer 1
        3 | path = 1
          |        ^ write "1"
    error: job.toml:5:1: stages.b: missing key "path"
        5 | [stages.b]
          | ^^^^^^^^^^
    error: job.toml:7:9: stages.b.limit: expected a size such as "64MiB", found integer 2
        7 | limit = 2
          |         ^ write the unit, as in "2MiB", or "2B" for bytes
    error: job.toml:8:11: stages.b.threads: expected "auto", a number of threads from 1 to 512, or { min = 2, max = 64 }, found string "x"
        8 | threads = "x"
          |           ^^^
    4 errors in job.toml
    "#
    );
}

#[test]
fn a_check_of_the_whole_fails_at_the_header_unless_a_part_did() {
    #[derive(Deserialize)]
    #[serde(try_from = "Raw")]
    struct Checked;

    #[derive(Deserialize)]
    struct Raw {
        low: u32,
        high: u32,
    }

    impl TryFrom<Raw> for Checked {
        type Error = &'static str;

        fn try_from(raw: Raw) -> Result<Self, Self::Error> {
            if raw.low < raw.high {
                Ok(Self)
            } else {
                Err("low must be less than high")
            }
        }
    }

    let check = |options: &str| {
        let (job, mut problems) = super::load(&format!("[stages.x]\ntype = \"y\"\n{options}"), &[]);
        job.expect("is TOML").stages[0]
            .options
            .decode::<Checked>(&mut problems);
        problems.to_string()
    };
    assert_eq!(check("low = 1\nhigh = 2"), "");
    assert_snapshot!(check("low = 3\nhigh = 2"), @r"
    error: job.toml:1:1: stages.x: low must be less than high
        1 | [stages.x]
          | ^^^^^^^^^^
    1 error in job.toml
    ");
    assert_snapshot!(check("low = \"3\"\nhigh = 0"), @r#"
    error: job.toml:3:7: stages.x.low: expected a whole number, found string "3"
        3 | low = "3"
          |       ^^^ write it without quotes
    1 error in job.toml
    "#);
}

#[test]
fn field_names_are_those_of_the_type() {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Wrapped(#[expect(dead_code, reason = "only its fields are asked for")] Option<Demo>);

    assert_eq!(
        field_names::<Wrapped>()[..3],
        ["path", "roots", "max_entries"]
    );
    assert!(field_names::<ByteSize>().is_empty());
}

#[test]
fn a_thousand_wrong_values_are_not_a_thousand_messages() {
    let report = report_options(&format!("path = \"\"\nroots = [{}]", "1, ".repeat(1000)));
    assert_eq!(report.matches("error:").count(), 32);
    assert!(report.contains(
        "warning: job.toml:1:1: stages.x: too many problems here; the rest was not looked at"
    ));
}
