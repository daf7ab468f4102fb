//! Texts that are no TOML, or not within the limits.

use insta::assert_snapshot;

use super::report;

#[test]
fn a_string_without_quotes() {
    assert_snapshot!(report("[stages.walk]\ntype = enumerate\nlimit = 64MiB\npath = C:\\new\n"), @r#"
    error: job.toml:2:8: a string must stand in quotes
        2 | type = enumerate
          |        ^^^^^^^^^ write "enumerate"
    error: job.toml:3:9: a string must stand in quotes
        3 | limit = 64MiB
          |         ^^^^^ write "64MiB"
    error: job.toml:4:8: a string must stand in quotes
        4 | path = C:\new
          |        ^^^^^^ write 'C:\new'
    3 errors in job.toml
    "#);
}

#[test]
fn a_string_that_is_not_closed() {
    assert_snapshot!(report("[stages.walk]\ntype = \"enumerate\ninputs = []\n"), @r#"
    error: job.toml:2:18: this string is never closed
        2 | type = "enumerate
          |                  ^ add the missing `"`
    1 error in job.toml
    "#);
}

#[test]
fn a_backslash_of_windows() {
    assert_snapshot!(report("path = \"C:\\data\\qux\"\n"), @r#"
    error: job.toml:1:11: this escape does not exist
        1 | path = "C:\data\qux"
          |           ^^ write `\\` for a backslash, or put the string in single quotes
    1 error in job.toml
    "#);
}

#[test]
fn a_value_that_is_not_there() {
    assert_snapshot!(report("type =\nkey\nkey: 1\n= 3\n"), @r"
    error: job.toml:1:7: there is no value after the `=`
        1 | type =
          |       ^
    error: job.toml:2:4: there is no `=` after this key
        2 | key
          |    ^
    error: job.toml:3:6: there is no `=` after this key
        3 | key: 1
          |      ^ write key = value
    3 errors in job.toml
    ");
}

#[test]
fn a_boolean_as_python_has_it() {
    assert_snapshot!(report("follow = True\n"), @r#"
    error: job.toml:1:10: "True" is not a boolean
        1 | follow = True
          |          ^^^^ write `true` or `false`, in lower case
    1 error in job.toml
    "#);
}

#[test]
fn an_array_that_is_not_closed_hides_what_follows() {
    assert_snapshot!(report("a = 1\ninputs = [\"walk\"\nthreads = [8]\nx = y\n"), @r#"
    error: job.toml:2:10: this array is never closed
        2 | inputs = ["walk"
          |          ^ add the missing `]`
    1 error in job.toml
    "#);
    assert_snapshot!(report("limits = { a = 1, \n b = 2\n"), @r"
    error: job.toml:1:10: this inline table is never closed
        1 | limits = { a = 1, 
          |          ^ add the missing `}`
    1 error in job.toml
    ");
}

#[test]
fn values_without_commas() {
    assert_snapshot!(report("a = [1 2]\nb = [\"x\" \"y\"]\nc = Nightly scan\n"), @r#"
    error: job.toml:1:6: there is no comma between these values
        1 | a = [1 2]
          |      ^^^
    error: job.toml:2:10: there is no comma between these values
        2 | b = ["x" "y"]
          |          ^
    error: job.toml:3:5: a string must stand in quotes
        3 | c = Nightly scan
          |     ^^^^^^^^^^^^ write "Nightly scan"
    3 errors in job.toml
    "#);
}

#[test]
fn a_header_that_is_not_closed() {
    assert_snapshot!(report("[stages.walk\ntype = \"enumerate\"\n[[x]\n"), @r"
    error: job.toml:1:13: this header is never closed
        1 | [stages.walk
          |             ^ add the missing `]`
    error: job.toml:3:5: this header is never closed
        3 | [[x]
          |     ^ add the missing `]]`
    2 errors in job.toml
    ");
}

#[test]
fn two_keys_in_a_line() {
    assert_snapshot!(report("a = 1 b = 2\n[x]] \nc = \"x\" d = 1\n"), @r#"
    error: job.toml:1:9: the line goes on where it should end
        1 | a = 1 b = 2
          |         ^ write one key on a line; a comment starts with `#`
    error: job.toml:2:4: the line goes on where it should end
        2 | [x]] 
          |    ^ write one key on a line; a comment starts with `#`
    error: job.toml:3:9: the line goes on where it should end
        3 | c = "x" d = 1
          |         ^ write one key on a line; a comment starts with `#`
    3 errors in job.toml
    "#);
}

#[test]
fn a_stage_that_is_defined_twice() {
    assert_snapshot!(
        report("[stages.walk]\ntype = \"enumerate\"\n\n[stages.walk]\ntype = \"stat\"\n"),
        @r"
    error: job.toml:4:9: stages.walk is defined twice, first on line 1
        4 | [stages.walk]
          |         ^^^^ give each table a name of its own, or join the two
    1 error in job.toml
    "
    );
}

#[test]
fn a_key_that_is_defined_twice() {
    assert_snapshot!(report("[stages.walk]\nthreads = 1\nthreads = 2\nx = { a = 1, a = 2 }\n"), @r#"
    error: job.toml:3:1: stages.walk.threads is defined twice, first on line 2
        3 | threads = 2
          | ^^^^^^^
    error: job.toml:4:14: the key "a" is defined twice
        4 | x = { a = 1, a = 2 }
          |              ^
    2 errors in job.toml
    "#);
    assert_snapshot!(report("[stages]\nwalk.type = \"x\"\n[stages.walk]\na = 1\n"), @r"
    error: job.toml:3:9: stages.walk is defined twice
        3 | [stages.walk]
          |         ^^^^ give each table a name of its own, or join the two
    1 error in job.toml
    ");
    assert_snapshot!(report("a = 1\na.b.c = 2\n"), @r#"
    error: job.toml:2:1: "a" is set to a value that is not a table
        2 | a.b.c = 2
          | ^ give this key another name
    1 error in job.toml
    "#);
}

#[test]
fn a_name_that_needs_quotes() {
    assert_snapshot!(report("[stages.wälk]\ntype = \"x\"\n"), @r"
    error: job.toml:1:10: this character can't stand in a name
        1 | [stages.wälk]
          |          ^ names take the letters a to z, digits, `-` and `_`
    1 error in job.toml
    ");
}

#[test]
fn numbers_that_toml_does_not_have() {
    assert_snapshot!(
        report("a = 010\nb = 1_000_\nc = 99999999999999999999\nd = 1.\ne = 2026-13-01\n"),
        @r"
    error: job.toml:1:5: unexpected leading zero
        1 | a = 010
          |     ^
    error: job.toml:2:10: `_` may only go between digits
        2 | b = 1_000_
          |          ^
    error: job.toml:4:7: invalid fraction, expected digits
        4 | d = 1.
          |       ^
    error: job.toml:5:5: invalid date, expected month between 01 and 12
        5 | e = 2026-13-01
          |     ^^^^^^^^^^
    4 errors in job.toml
    "
    );
    assert_snapshot!(report("a = 99999999999999999999\nb = 1e999\n"), @r"
    error: job.toml:1:5: this number does not fit into 64 bits
        1 | a = 99999999999999999999
          |     ^^^^^^^^^^^^^^^^^^^^
    error: job.toml:2:5: this number is too large
        2 | b = 1e999
          |     ^^^^^
    2 errors in job.toml
    ");
}

#[test]
fn other_formats() {
    assert_snapshot!(report("{\n  \"stages\": {\n    \"walk\": { \"type\": \"enumerate\" }\n  }\n}\n"), @r"
    error: job.toml:1:1: this looks like JSON, and a job is written in TOML
        1 | {
          | ^ a stage starts with [stages.NAME], and its options follow as key = value
    1 error in job.toml
    ");
    assert_snapshot!(report("# nightly\nstages:\n  walk:\n    type: enumerate\n"), @r"
    error: job.toml:2:1: this looks like YAML, and a job is written in TOML
        2 | stages:
          | ^^^^^^^ a stage starts with [stages.NAME], and its options follow as key = value
    1 error in job.toml
    ");
    assert_snapshot!(report("---\nstages:\n"), @r"
    error: job.toml:1:1: this looks like YAML, and a job is written in TOML
        1 | ---
          | ^^^ a stage starts with [stages.NAME], and its options follow as key = value
    1 error in job.toml
    ");
}

#[test]
fn at_most_twenty_lines_and_soon() {
    let start = std::time::Instant::now();
    let report = report(&"x\n".repeat(90_000));
    assert_eq!(report.matches("error:").count(), 20);
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn control_characters() {
    assert_snapshot!(report("name = \"a\u{1b}[31mb\"\n"), @r#"
    error: job.toml:1:10: this character can't stand in a string
        1 | name = "a␛[31mb"
          |          ^ write it as an escape: `\t`, `\n`, `\u001B`
    1 error in job.toml
    "#);
}

#[test]
fn too_deep() {
    assert_snapshot!(report(&format!("a = {}", "[".repeat(100))), @r"
    error: job.toml:1:68: more than 64 levels of tables and arrays
        1 | a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
          |                                                                    ^
    1 error in job.toml
    ");
}

#[test]
fn too_large() {
    assert_snapshot!(report(&"#".repeat((1 << 20) + 1)), @r"
    error: job.toml: larger than 1 MiB, so this is not a job file
    1 error in job.toml
    ");
}

#[test]
fn too_much() {
    assert_snapshot!(report(&format!("a = [\n{}]", "1,\n".repeat(100_000))), @r"
    error: job.toml:49152:2: more than 98304 keys, values and signs, so this is not a job
    49152 | 1,
          |  ^
    1 error in job.toml
    ");
}

#[test]
fn too_long() {
    let report = report(&format!("[stages.walk]\npath = '{}'\n", "x".repeat(65_536)));
    assert!(
        report.starts_with("error: job.toml:2:8: this is longer than 64 KiB\n"),
        "{report}"
    );
    assert!(report.len() < 500, "{report}");
}
