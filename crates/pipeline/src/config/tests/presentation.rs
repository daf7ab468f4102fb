//! How problems look, whatever they are.

use insta::assert_snapshot;

use super::report;
use crate::config::{Location, Problem, Problems};

#[test]
fn the_wanted_look() {
    let text = "\n\n\n\n\n\n\n\n\n\ninputs = [\"wlak\"]\n";
    let mut problems = Problems::in_file("nightly.toml", text);
    let location = Location::new("stages.group.inputs", Some(20..26));
    problems.push(
        Problem::error(location, "no stage is called \"wlak\"").help("did you mean \"walk\"?"),
    );
    assert_snapshot!(problems, @r#"
    error: nightly.toml:11:11: stages.group.inputs: no stage is called "wlak"
       11 | inputs = ["wlak"]
          |           ^^^^^^ did you mean "walk"?
    1 error in nightly.toml
    "#);
}

#[test]
fn problems_without_a_place() {
    let mut problems = Problems::without_file();
    problems.push(
        Problem::error(Location::of_path("stages.x.limit"), "is too small").help("write \"1MiB\""),
    );
    problems.push(Problem::warning(Location::default(), "nothing happens"));
    assert_snapshot!(problems, @r#"
    error: stages.x.limit: is too small
          = write "1MiB"
    warning: nothing happens
    1 error and 1 warning in the job
    "#);
    let mut problems = Problems::in_file("job.toml", "");
    problems.push(Problem::warning(
        Location::of_path("stages.x"),
        "is of no use",
    ));
    assert_snapshot!(problems, @r"
    warning: job.toml: stages.x: is of no use
    1 warning in job.toml
    ");
}

#[test]
fn a_path_is_found_in_the_file() {
    let (_, mut problems) = super::load("[stages.x]\ntype = \"demo\"\npath = \"a\"\n", &[]);
    let header = Location::of_path("stages.x");
    problems.push(Problem::error(header.child("path"), "is not absolute"));
    problems.push(Problem::error(header.child("limit"), "is needed here"));
    assert_snapshot!(problems, @r#"
    error: job.toml:1:1: stages.x.limit: is needed here
        1 | [stages.x]
          | ^^^^^^^^^^
    error: job.toml:3:8: stages.x.path: is not absolute
        3 | path = "a"
          |        ^^^
    2 errors in job.toml
    "#);
}

#[test]
fn a_problem_is_told_once() {
    let mut problems = Problems::in_file("job.toml", "a = 1\n");
    for _ in 0..3 {
        problems.push(Problem::error(Location::new("a", Some(4..5)), "is wrong"));
    }
    assert_eq!(problems.iter().count(), 1);
    assert_eq!(problems.errors().count(), 1);
    assert!(problems.has_errors());
}

#[test]
fn carriage_returns_and_the_byte_order_mark_do_not_shift_columns() {
    assert_snapshot!(report("\u{feff}x = 1\r\n[stages.a]\r\ntype = 3\r\n"), @r#"
    error: job.toml:1:1: x: unknown key "x"
        1 | x = 1
          | ^ known tables: pipeline, stages
    error: job.toml:3:8: stages.a.type: expected a string, found integer 3
        3 | type = 3
          |        ^ write "3"
    2 errors in job.toml
    "#);
}

#[test]
fn tabs_and_wide_characters_line_up() {
    assert_snapshot!(
        report("[stages.a]\ntype = \"x\"\n\taccept\t= [\"漢字\", \"é\", \"e\u{301}\", 13]\ninputs = [\"日本.\"]\n"),
        @r#"
    error: job.toml:3:29: stages.a.accept[3]: expected a string, found integer 13
        3 |     accept    = ["漢字", "é", "é", 13]
          |                                    ^^ write "13"
    error: job.toml:4:11: stages.a.inputs: "日本." names no stage
        4 | inputs = ["日本."]
          |           ^^^^^^^ write "STAGE", or "STAGE.PORT" for a port other than its main one
    2 errors in job.toml
    "#
    );
}

#[test]
fn a_value_of_several_lines_is_marked_in_the_first() {
    assert_snapshot!(report("[stages.a]\ntype = \"\"\"\nx\"\"\"\ninputs = \"\"\"\nwalk\n\"\"\"\n"), @r#"
    error: job.toml:4:10: stages.a.inputs: expected an array of stages, found string "walk\n"
        4 | inputs = """
          |          ^^^ write inputs = ["walk\n"]
    1 error in job.toml
    "#);
}

#[test]
fn a_long_line_is_shown_in_part() {
    let text = format!(
        "[stages.a]\ntype = \"x\"\naccept = [{}13, {}]\n",
        "\"EACCES\", ".repeat(40),
        "\"EIO\", ".repeat(40)
    );
    assert_snapshot!(report(&text), @r#"
    error: job.toml:3:411: stages.a.accept[40]: expected a string, found integer 13
        3 | …"EACCES", "EACCES", "EACCES", "EACCES", 13, "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EIO", "EI…
          |                                          ^^ write "13"
    1 error in job.toml
    "#);
}

#[test]
fn a_long_name_does_not_drown_its_message() {
    let report = report(&format!("[{}]\n", "x".repeat(60_000)));
    assert!(report.len() < 1500, "{report}");
    assert!(report.contains("x…: unknown table \"xxx"), "{report}");
}

#[test]
fn characters_without_width_do_not_flood_the_terminal() {
    let report = report(&format!("a = \"{}\"\n", "e\u{301}\u{200b}".repeat(10_000)));
    assert!(report.len() < 1500, "{report}");
}

#[test]
fn nothing_in_a_file_steers_the_terminal() {
    let report = report(
        "[stages.a]\n# \u{202e}\ntype = \"demo\"\npath = \"\"\n\"\\u001b[31m\" = 1\ninputs = [\"\\u001b[2J.\"] # \u{202e}\n[\"\\u001b\"]\n",
    );
    assert!(!report.contains(['\u{1b}', '\u{202e}']), "{report}");
    assert_snapshot!(report, @r#"
    error: job.toml:5:1: stages.a."\u{1b}[31m": unknown key "\u{1b}[31m"
        5 | "\u001b[31m" = 1
          | ^^^^^^^^^^^^
    error: job.toml:6:11: stages.a.inputs: "\u{1b}[2J." names no stage
        6 | inputs = ["\u001b[2J."] # �
          |           ^^^^^^^^^^^^ write "STAGE", or "STAGE.PORT" for a port other than its main one
    error: job.toml:7:2: "\u{1b}": unknown table "\u{1b}"
        7 | ["\u001b"]
          |  ^^^^^^^^ known tables: pipeline, stages
    3 errors in job.toml
    "#);
}

#[test]
fn a_program_gets_rows() {
    let (_, problems) = super::load("[stages.a]\ntypo = 3\n", &["x"]);
    assert_snapshot!(serde_json::to_string_pretty(&problems).expect("plain data"), @r#"
    [
      {
        "severity": "error",
        "file": "job.toml",
        "line": 1,
        "column": 1,
        "path": "stages.a",
        "message": "missing key \"type\"",
        "help": "did you mean \"type\" where you wrote \"typo\"?"
      },
      {
        "severity": "error",
        "file": "job.toml",
        "set": "x",
        "path": "",
        "message": "there is no `=`",
        "help": "write KEY=VALUE"
      }
    ]
    "#);
}

#[test]
fn colour_is_that_of_rustc() {
    let mut problems = Problems::in_file("job.toml", "a = 1\n");
    problems.push(Problem::error(Location::new("a", Some(4..5)), "is wrong").help("write 2"));
    problems.push(Problem::warning(Location::default(), "is odd").help("look"));
    assert_snapshot!(problems.render(true).replace('\u{1b}', "␛"), @r"
    ␛[1;31merror␛[0m␛[1m: job.toml:1:5: a: is wrong␛[0m
    ␛[1;34m    1 |␛[0m a = 1
    ␛[1;34m      |␛[0m     ␛[1;31m^ write 2␛[0m
    ␛[1;33mwarning␛[0m␛[1m: job.toml: is odd␛[0m
    ␛[1;34m      =␛[0m look
    1 error and 1 warning in job.toml
    ");
}
