//! `scan`: what it writes, and where.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tree::{ENTRIES, small};
use crate::{run_in, sorted, statline, status, stderr, stdout, succeeded};

fn rows(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn paths(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect()
}

#[test]
fn as_many_rows_as_find_has_lines() {
    let found = Command::new("find")
        .arg("/usr/lib")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // Names with line feeds would count twice in both.
    let found = found.stdout.iter().filter(|&&byte| byte == b'\n').count();
    let output = succeeded(run_in("/".as_ref(), &["scan", "/usr/lib", "-o", "-"]));
    let rows = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(rows, found);
}

#[test]
fn without_an_output_the_totals_are_on_standard_output() {
    let home = small();
    let output = succeeded(run_in(home.path(), &["scan", "data"]));
    let told = stdout(&output);
    assert_eq!(stderr(&output), "");
    assert!(told.starts_with("15 entries in "), "{told}");
    assert!(told.contains(", complete\n"), "{told}");
    assert!(
        told.contains("  8 files · 5 directories · 2 symlinks · 0 errors\n"),
        "{told}"
    );
    assert!(told.contains("71.5 KiB apparent"), "{told}");
    assert!(told.contains("1 hard link counted once"), "{told}");
    for column in ["stage", "threads", "service p50", "p99", "max", "blocked"] {
        assert!(told.contains(column), "{told}");
    }
    for stage in ["walk   enumerate", "meta   stat", "totals  summary"] {
        let stage: Vec<&str> = stage.split_whitespace().collect();
        let mut lines = told
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(lines.any(|line| line.starts_with(&stage)), "{told}");
    }
}

#[test]
fn quiet_leaves_out_the_table_and_twice_everything() {
    let home = small();
    let told = |arguments: &[&str]| {
        let output = succeeded(run_in(
            home.path(),
            &[&["scan", "data"], arguments].concat(),
        ));
        (stdout(&output), stderr(&output))
    };
    let (out, err) = told(&["-q"]);
    assert!(out.contains("8 files") && !out.contains("service"), "{out}");
    assert_eq!(err, "");
    let (out, err) = told(&["-o", "x.jsonl"]);
    assert_eq!(out, "");
    assert!(
        err.starts_with("15 entries in ") && err.contains("service"),
        "{err}"
    );
    assert_eq!(
        told(&["-o", "x.jsonl", "-qq"]),
        (String::new(), String::new())
    );
    let (_, err) = told(&["-o", "-", "-q"]);
    assert_eq!(err, "");
}

#[test]
fn verbose_shows_channels_and_twice_waiting() {
    let home = small();
    let told = |flag| stdout(&succeeded(run_in(home.path(), &["scan", "data", flag])));
    let once = told("-v");
    assert!(
        once.contains("walk → meta") && !once.contains("waiting p50"),
        "{once}"
    );
    assert!(told("-vv").contains("waiting p50"));
}

#[test]
fn rows_go_to_standard_output_and_what_is_said_does_not() {
    let home = small();
    let output = succeeded(run_in(home.path(), &["scan", "data", "-o", "-"]));
    let rows = rows(&stdout(&output));
    assert_eq!(rows.len(), ENTRIES);
    let told = stderr(&output);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("15 entries in "), "{told}");
    let row = rows
        .iter()
        .find(|row| row["path"] == "data/src/lib.rs")
        .unwrap();
    let metadata = fs::metadata(home.path().join("data/src/lib.rs")).unwrap();
    assert_eq!(row["size"], 3_000);
    assert_eq!(row["kind"], "file");
    assert_eq!(row["nlink"], 2);
    assert_eq!(row["inode"], metadata.ino());
    assert_eq!(
        row["mtime_ns"].as_i64().unwrap(),
        metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
    );
}

#[test]
fn the_extension_chooses_the_format() {
    let home = small();
    for (file, first_byte) in [
        ("a.jsonl", b'{'),
        ("a.NDJSON", b'{'),
        ("a.csv", b'p'),
        ("a.txt", b'd'),
        ("a.nul", b'd'),
    ] {
        succeeded(run_in(home.path(), &["scan", "data", "-o", file]));
        let written = fs::read(home.path().join(file)).unwrap();
        assert_eq!(written[0], first_byte, "{file}");
        let ends = |byte| written.iter().filter(|&&found| found == byte).count();
        let (rows, header) = match file {
            "a.nul" => (ends(0), 0),
            "a.csv" => (ends(b'\n'), 1),
            _ => (ends(b'\n'), 0),
        };
        assert_eq!(rows - header, ENTRIES, "{file}");
    }
    let output = run_in(home.path(), &["scan", "data", "-o", "a.parquet"]);
    assert_eq!(status(&output), 2);
    insta::assert_snapshot!(stderr(&output), @"error: -o a.parquet: no format has the extension .parquet; there are .jsonl and .ndjson for JSON Lines, .csv, .txt for a path a line, .nul for paths ended by NUL; or say --format");
    succeeded(run_in(
        home.path(),
        &["scan", "data", "-o", "a.parquet", "--format", "csv"],
    ));
}

#[test]
fn paths_end_with_what_was_asked_for() {
    let home = small();
    for arguments in [&["-0"][..], &["-0", "-o", "-"]] {
        let output = succeeded(run_in(
            home.path(),
            &[&["scan", "data"], arguments].concat(),
        ));
        assert_eq!(output.stdout.split(|&byte| byte == 0).count() - 1, ENTRIES);
    }
    let output = succeeded(run_in(home.path(), &["scan", "data", "--format", "paths"]));
    assert_eq!(stdout(&output).lines().count(), ENTRIES);
}

#[test]
fn only_chosen_fields_are_fetched_and_written() {
    let home = small();
    let arguments = [
        "scan",
        "data",
        "--fields",
        "path,size,target",
        "--report",
        "r.json",
    ];
    let output = succeeded(run_in(home.path(), &arguments));
    for row in rows(&stdout(&output)) {
        let mut keys: Vec<&str> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.retain(|key| *key != "target");
        assert_eq!(keys, ["path", "size"]);
    }
    let link = r#"{"path":"data/link","size":3,"target":"src"}"#;
    assert!(stdout(&output).lines().any(|line| line == link));
    // Names alone need no stage for metadata.
    let arguments = [
        "scan",
        "data",
        "--fields",
        "path,kind",
        "--report",
        "r.json",
    ];
    let output = succeeded(run_in(home.path(), &arguments));
    assert_eq!(rows(&stdout(&output)).len(), ENTRIES);
    let report = fs::read_to_string(home.path().join("r.json")).unwrap();
    assert!(!report.contains(r#""kind": "stat""#), "{report}");
}

#[test]
fn rows_are_in_the_order_asked_for() {
    let home = small();
    let output = succeeded(run_in(
        home.path(),
        &["scan", "data", "--sort", "path", "-0"],
    ));
    let all = stdout(&output);
    let all: Vec<&str> = all.split_terminator('\0').collect();
    assert_eq!(all[0], "data");
    let components = |path: &&str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    assert!(all.is_sorted_by_key(components), "{all:?}");
    let arguments = [
        "scan",
        "data",
        "--sort",
        "kind",
        "--sort",
        "-size",
        "--fields",
        "path,kind,size",
    ];
    let output = succeeded(run_in(home.path(), &arguments));
    let rows = rows(&stdout(&output));
    assert_eq!(rows[0]["path"], "data/src/deep/a.o");
    let sizes = rows.iter().filter(|row| row["kind"] == "file");
    let sizes: Vec<u64> = sizes.map(|row| row["size"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
}

#[test]
fn what_is_excluded_is_left_out_with_all_below_it() {
    let home = small();
    fs::write(home.path().join("patterns"), "# objects\n*.o\n\ntarget/\n").unwrap();
    let by_flags = ["scan", "data", "-o", "-", "-e", "*.o", "-e", "target/"];
    let by_file = ["scan", "data", "-o", "-", "--exclude-from", "patterns"];
    for arguments in [&by_flags[..], &by_file] {
        let output = succeeded(run_in(home.path(), arguments));
        let rows = rows(&stdout(&output));
        assert_eq!(rows.len(), ENTRIES - 5, "{rows:?}");
        assert!(paths(&rows).iter().all(|path| !path.contains("target")));
        assert!(
            stderr(&output).contains("3 excluded"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn depth_and_links_are_followed_as_far_as_asked() {
    let home = small();
    let count = |arguments: &[&str]| {
        let arguments = [&["scan", "data", "-0"], arguments].concat();
        let output = succeeded(run_in(home.path(), &arguments));
        output.stdout.iter().filter(|&&byte| byte == 0).count()
    };
    assert_eq!(count(&["-d", "0"]), 1);
    assert_eq!(count(&["-d", "1"]), 7);
    assert_eq!(count(&["-j", "1"]), ENTRIES);
    assert_eq!(count(&["-j", "2..64"]), ENTRIES);
    assert_eq!(count(&["-x", "--backend", "fstatat"]), ENTRIES);
    // The link shows again what is in src: a directory in it, its file and directory, and a file each.
    assert_eq!(count(&["-L"]), ENTRIES + 6);
}

#[test]
fn a_scan_of_several_paths_has_each_entry_once() {
    let home = small();
    let output = succeeded(run_in(
        home.path(),
        &[
            "scan",
            "data/src",
            "data/target",
            "data/src/deep",
            "-o",
            "-",
        ],
    ));
    let rows = rows(&stdout(&output));
    let mut paths = paths(&rows);
    assert_eq!(paths.len(), 10);
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 10);
}

#[test]
fn the_report_is_data() {
    let home = small();
    let output = succeeded(run_in(home.path(), &["scan", "data", "--format", "json"]));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["outcome"], "complete");
    let stages = report["stages"].as_array().unwrap();
    let totals = stages
        .iter()
        .find(|stage| stage["name"] == "totals")
        .unwrap();
    assert_eq!(totals["result"]["files"], 8);
    assert_eq!(stderr(&output), "");
    let arguments = ["scan", "data", "-o", "x.csv", "--report", "run.json", "-q"];
    succeeded(run_in(home.path(), &arguments));
    let shown = succeeded(run_in(home.path(), &["report", "run.json"]));
    assert!(
        stdout(&shown).starts_with("15 entries in "),
        "{}",
        stdout(&shown)
    );
}

#[test]
fn totals_can_be_broken_down() {
    let home = small();
    let arguments = ["scan", "data", "--largest", "2", "--by", "extension,size"];
    let told = stdout(&succeeded(run_in(home.path(), &arguments)));
    assert!(told.contains("68.4 KiB  data/src/deep/a.o\n"), "{told}");
    assert!(
        told.contains("2.9 KiB  data/src/lib.rs\n")
            || told.contains("2.9 KiB  data/target/again.rs\n"),
        "{told}"
    );
    assert!(
        told.contains("  extension  entries  apparent  allocated\n"),
        "{told}"
    );
}

#[test]
fn si_shows_powers_of_1000() {
    let home = small();
    let told = stdout(&succeeded(run_in(home.path(), &["scan", "data", "--si"])));
    assert!(told.contains("73.3 kB apparent"), "{told}");
}

#[test]
fn one_value_of_the_job_can_be_set() {
    let home = small();
    let arguments = [
        "scan",
        "data",
        "-v",
        "--set",
        "stages.meta.threads=3",
        "--set",
        "pipeline.capacity=5",
    ];
    let told = stdout(&succeeded(run_in(home.path(), &arguments)));
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(
        told.lines()
            .any(|line| words(line).starts_with(&words("meta stat 3"))),
        "{told}"
    );
    let output = run_in(
        home.path(),
        &["scan", "data", "--set", "stages.mata.threads=3"],
    );
    assert_eq!(status(&output), 2);
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn errors_are_counted_and_can_be_written_down() {
    // Nobody may read a directory that is not there any more; root may read all others.
    let home = small();
    let arguments = [
        "scan",
        "data",
        "-L",
        "-o",
        "rows.csv",
        "--errors",
        "errors.jsonl",
    ];
    std::os::unix::fs::symlink("..", home.path().join("data/src/up")).unwrap();
    let output = run_in(home.path(), &arguments);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("incomplete: "), "{told}");
    assert!(told.contains("× open LOOP, in walk"), "{told}");
    let errors = fs::read_to_string(home.path().join("errors.jsonl")).unwrap();
    for error in rows(&errors) {
        assert_eq!(error["operation"], "open");
        assert_eq!(error["code"], "LOOP");
    }
    assert!(home.path().join("rows.csv").exists());
}

#[test]
fn names_are_raw_in_data_and_escaped_for_people() {
    let home = small();
    let output = succeeded(run_in(home.path(), &["scan", "data", "--format", "paths"]));
    assert!(stdout(&output).contains("red\u{1b}[31m\u{202e}.txt"));
    let told = succeeded(run_in(
        home.path(),
        &["scan", "data", "--largest", "9", "--color", "never"],
    ));
    assert!(
        stdout(&told).contains(r"red\x1b[31m\u{202e}.txt"),
        "{}",
        stdout(&told)
    );
    assert!(!stdout(&told).contains('\u{1b}'));
    let output = run_in(home.path(), &["scan", "no\u{1b}[31mwhere"]);
    assert_eq!(status(&output), 1);
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
}

#[test]
fn rows_on_a_terminal_are_escaped() {
    if !crate::installed("script") {
        return;
    }
    let home = small();
    let command = format!("{} scan data -0", env!("CARGO_BIN_EXE_statline"));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(r"red\x1b[31m\u{202e}.txt"), "{shown:?}");
    assert!(!shown.contains("\u{1b}[31m\u{202e}"), "{shown:?}");
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let home = small();
    let told = |arguments: &[&str], no_color: Option<&str>| {
        let mut command = statline();
        command
            .args(["scan", "data"])
            .args(arguments)
            .current_dir(home.path());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        stdout(&succeeded(command.output().unwrap()))
    };
    assert!(!told(&[], None).contains('\u{1b}'));
    assert!(told(&["--color", "always"], None).contains('\u{1b}'));
    assert!(told(&["--color", "always"], Some("1")).contains('\u{1b}'));
    assert!(!told(&["--color", "never"], None).contains('\u{1b}'));
    if crate::installed("script") {
        let on_terminal = |variable: &str| {
            let command = format!("{variable} {} scan data", env!("CARGO_BIN_EXE_statline"));
            let mut script = Command::new("script");
            script
                .args(["-qec", &command, "/dev/null"])
                .current_dir(home.path());
            script
                .env("TERM", "xterm")
                .env_remove("NO_COLOR")
                .stdin(Stdio::null());
            String::from_utf8(script.output().unwrap().stdout).unwrap()
        };
        assert!(on_terminal("").contains('\u{1b}'));
        assert!(!on_terminal("NO_COLOR=1").contains('\u{1b}'));
    }
}

#[test]
fn a_directory_named_like_a_stream_can_be_reached() {
    let home = small();
    fs::create_dir(home.path().join("-")).unwrap();
    fs::create_dir(home.path().join("-x")).unwrap();
    let output = run_in(home.path(), &["scan", "-"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("./-"), "{}", stderr(&output));
    let output = succeeded(run_in(
        home.path(),
        &["scan", "--format", "paths", "./-", "--", "-x"],
    ));
    assert_eq!(sorted(&stdout(&output)), ["-x", "./-"]);
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let home = small();
    for (arguments, why) in [
        (&["--format", "json", "-o", "x.jsonl"][..], "--format jsonl"),
        (&["--fields", "path", "-0"], "--fields chooses columns"),
        (
            &["--largest", "3", "-o", "x.csv"],
            "--largest and --by are about totals",
        ),
        (
            &["-o", "-", "--report", "-"],
            "standard output has other data",
        ),
        (&["-0", "--format", "csv"], "cannot be used with"),
        (&["-q", "-v"], "cannot be used with"),
        (&["--exclude-from", "nowhere"], "--exclude-from nowhere: "),
        (&["--fields", "path,siez"], "size"),
        (&["--sort", "siez"], "size"),
        (&["-e", "[a"], "stages.walk.exclude[0]"),
        (&["-j", "0"], "0 is not a number of threads from 1 to 512"),
        (&["-j", "8..2"], "write the smaller one as min"),
        (&["-j", "many"], "a range such as 2..64"),
        (&["--no-such-flag"], "unexpected argument"),
    ] {
        let output = run_in(home.path(), &[&["scan", "data"], arguments].concat());
        assert_eq!(status(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(why),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}
