//! `diff`: two sides, compared with what the standard library sees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::mutator::{self, Random, Seen};
use crate::tree::{small, wide};
use crate::{run_in, status, stderr, stdout, succeeded};

/// A difference by the path below the root: what it is, and in what.
type Differences = BTreeMap<(Vec<u8>, String), Vec<String>>;

/// Where links lead is not saved unless it is asked for.
const TARGETS: &str = "stages.meta.targets=true";

/// What `diff` tells as JSON Lines, and its status.
#[track_caller]
fn differences(home: &Path, old: &str, new: &str, more: &[&str]) -> (Differences, i32) {
    let arguments = [&["diff", old, new, "--format", "jsonl"], more].concat();
    let output = run_in(home, &arguments);
    assert!(status(&output) < 2, "{}", stderr(&output));
    let text = stdout(&output);
    let rows = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let path = match (row["path"].as_str(), row["path_b64"].as_str()) {
            (Some(path), _) => path.as_bytes().to_vec(),
            (None, encoded) => BASE64_STANDARD.decode(encoded.unwrap()).unwrap(),
        };
        let below = path.splitn(2, |&byte| byte == b'/').nth(1);
        let differs = row["differs"].as_array().cloned().unwrap_or_default();
        let differs = differs
            .iter()
            .map(|field| field.as_str().unwrap().to_owned());
        let change = row["change"].as_str().unwrap().to_owned();
        (
            (below.unwrap_or_default().to_vec(), change),
            differs.collect(),
        )
    });
    let found: Differences = rows.collect();
    assert_eq!(
        found.len(),
        text.lines().count(),
        "a difference is told twice"
    );
    (found, status(&output))
}

/// The same from what the standard library saw.
fn expected(old: &BTreeMap<Vec<u8>, Seen>, new: &BTreeMap<Vec<u8>, Seen>) -> Differences {
    let mut expected = Differences::new();
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        expected.insert((path.clone(), "removed".to_owned()), Vec::new());
    }
    for (path, now) in new {
        let Some(before) = old.get(path) else {
            expected.insert((path.clone(), "added".to_owned()), Vec::new());
            continue;
        };
        let directories = before.kind == "directory" && now.kind == "directory";
        let targets = before.target.is_some() && now.target.is_some();
        let differs: Vec<String> = [
            ("kind", before.kind != now.kind),
            ("mode", before.mode != now.mode),
            ("uid", before.uid != now.uid),
            ("gid", before.gid != now.gid),
            ("size", before.size != now.size && !directories),
            ("mtime", before.mtime != now.mtime && !directories),
            ("target", before.target != now.target && targets),
        ]
        .into_iter()
        .filter(|(_, differ)| *differ)
        .map(|(field, _)| field.to_owned())
        .collect();
        if !differs.is_empty() {
            expected.insert((path.clone(), "changed".to_owned()), differs);
        }
    }
    expected
}

#[test]
fn a_mutated_tree_differs_as_the_standard_library_sees_it() {
    let home = tempfile::tempdir().unwrap();
    let (place, data) = (home.path(), home.path().join("data"));
    mutator::make(&data, 90_000);
    let before = mutator::look(&data);
    assert!(before.len() > 99_000, "{}", before.len());
    let save = |file: &str, order: &[&str]| {
        let scan = ["scan", "data", "-qq", "-o", file, "--set", TARGETS];
        succeeded(run_in(place, &[&scan[..], order].concat()));
    };
    save("old.jsonl", &["--sort", "path"]);
    mutator::mutate(&data, 1_500, &mut Random::new(11));
    let after = mutator::look(&data);
    save("new.jsonl", &["--sort", "path"]);
    save("shuffled.jsonl", &[]);
    let expected = expected(&before, &after);
    for change in ["added", "removed", "changed"] {
        let count = expected.keys().filter(|(_, of)| of == change).count();
        assert!(count > 100, "{count} {change}");
    }
    for new in ["new.jsonl", "shuffled.jsonl", "data"] {
        let (found, status) = differences(place, "old.jsonl", new, &["--no-renames"]);
        assert_eq!(status, 1);
        let wrong = expected
            .iter()
            .find(|(place, differs)| found.get(*place) != Some(*differs));
        let wrong = wrong.map(|(place, differs)| (place, differs, found.get(place)));
        assert_eq!(wrong, None, "{new}");
        assert_eq!(found.len(), expected.len(), "{new}");
    }
    let (found, status) = differences(place, "new.jsonl", "data", &[]);
    assert_eq!((found.len(), status), (0, 0));
}

#[test]
fn two_directories_differ_as_their_saved_scans_do() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path();
    mutator::make(&place.join("a"), 2_000);
    succeeded(
        std::process::Command::new("cp")
            .args(["-a", "a", "b"])
            .current_dir(place)
            .output()
            .unwrap(),
    );
    mutator::mutate(&place.join("b"), 300, &mut Random::new(5));
    let expected = expected(
        &mutator::look(&place.join("a")),
        &mutator::look(&place.join("b")),
    );
    for side in ["a", "b"] {
        let file = format!("{side}.jsonl");
        let scan = [
            "scan", side, "-qq", "--sort", "path", "-o", &file, "--set", TARGETS,
        ];
        succeeded(run_in(place, &scan));
    }
    for old in ["a", "a.jsonl"] {
        for new in ["b", "b.jsonl"] {
            let (found, status) = differences(place, old, new, &["--no-renames"]);
            assert_eq!((found == expected, status), (true, 1), "{old} {new}");
        }
    }
    for same in [["a", "a.jsonl"], ["a.jsonl", "a"]] {
        let output = run_in(place, &["diff", same[0], same[1]]);
        assert_eq!((status(&output), stdout(&output)), (0, String::new()));
    }
}

#[test]
fn differences_are_lines_to_read() {
    let home = small();
    let place = home.path();
    succeeded(run_in(
        place,
        &["scan", "data", "-q", "-o", "old.jsonl", "--set", TARGETS],
    ));
    let data = place.join("data");
    fs::write(data.join("README.md"), vec![b'x'; 2048]).unwrap();
    fs::remove_file(data.join("red\u{1b}[31m\u{202e}.txt")).unwrap();
    fs::create_dir(data.join("made")).unwrap();
    fs::set_permissions(data.join("src/main.rs"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(data.join("link")).unwrap();
    std::os::unix::fs::symlink("target", data.join("link")).unwrap();
    let output = run_in(place, &["diff", "old.jsonl", "data"]);
    assert_eq!(
        stdout(&output),
        "~ data/README.md (size 10 B → 2.0 KiB, mtime)\n\
         ~ data/link (size 3 B → 6 B, mtime, target)\n\
         + data/made/\n\
         - data/red\\x1b[31m\\u{202e}.txt\n\
         ~ data/src/main.rs (mode)\n"
    );
    let told = stderr(&output);
    assert!(told.contains(", complete\n"), "{told}");
    assert!(
        told.ends_with("  1 added · 1 removed · 3 changed\n"),
        "{told}"
    );
    assert_eq!(status(&output), 1);

    let named = run_in(
        place,
        &["diff", "old.jsonl", "data", "-qq", "--fields", "mode"],
    );
    assert_eq!(
        stdout(&named),
        "+ data/made/\n- data/red\\x1b[31m\\u{202e}.txt\n~ data/src/main.rs (mode)\n"
    );
    assert_eq!(stderr(&named), "");

    let csv = ["diff", "old.jsonl", "data", "-o", "d.csv"];
    assert_eq!(status(&run_in(place, &csv)), 1);
    let written = fs::read_to_string(place.join("d.csv")).unwrap();
    assert_eq!(written.lines().count(), 6);
    assert!(place.join("d.csv.run.json").exists());
}

#[test]
fn a_printed_job_does_what_the_flags_do() {
    let home = small();
    let place = home.path();
    succeeded(run_in(
        place,
        &["scan", "data", "-q", "-o", "old.jsonl", "-e", "*.o"],
    ));
    fs::write(place.join("data/new"), "x").unwrap();
    let flags = [
        "diff",
        "old.jsonl",
        "data",
        "-e",
        "*.o",
        "--allow-incomplete",
        "--fields",
        "size",
    ];
    let direct = run_in(place, &flags);
    assert_eq!(stdout(&direct), "+ data/new\n");
    let printed = run_in(place, &[&flags[..], &["--print-job"]].concat());
    fs::write(place.join("job.toml"), stdout(&succeeded(printed))).unwrap();
    let from_file = succeeded(run_in(place, &["run", "job.toml", "-qq"]));
    assert_eq!(stdout(&from_file), "+ data/new\n");
}

#[test]
fn what_cannot_be_relied_on_is_refused_with_the_status_for_trouble() {
    let home = small();
    let place = home.path();
    let scan = |more: &[&str]| {
        let scan = ["scan", "data", "-q", "--sort", "path", "-o", "old.jsonl"];
        succeeded(run_in(place, &[&scan[..], more].concat()));
    };
    let trouble = |more: &[&str], expected: &str| {
        let output = run_in(place, &[&["diff", "old.jsonl", "data"], more].concat());
        assert_eq!(status(&output), 2, "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        stdout(&output)
    };
    trouble(&[], "old.jsonl: No such file");
    fs::write(place.join("old.jsonl"), "{}\n").unwrap();
    trouble(&[], "old.jsonl is neither a directory nor a scan");
    scan(&[]);
    let text = fs::read_to_string(place.join("old.jsonl")).unwrap();
    let other = text.replacen("\"size\":10,", "\"size\":11,", 1);
    assert_ne!(other, text);
    fs::write(place.join("old.jsonl"), other).unwrap();
    trouble(&["-o", "d.jsonl"], "its mark is about a file with");
    assert!(!place.join("d.jsonl").exists());
    scan(&["-e", "src/"]);
    trouble(
        &[],
        "left out different things: old enumerate with {\"exclude\":[\"src/\"]}, and new nothing",
    );
    let told = trouble(&["--allow-incomplete"], "7 unknown");
    assert!(
        told.lines()
            .all(|line| line.starts_with("? data/src/") || line == "? data/src/"),
        "{told}"
    );
    trouble(&["--fields", "sise"], "sise");
    trouble(&["-o", "d.xml"], "say --format");
    trouble(&["--fields", "hash"], "hash");
}

#[test]
fn what_has_another_path_is_renamed() {
    let home = small();
    let place = home.path();
    mutator::make(&place.join("data/many"), 400);
    succeeded(run_in(place, &["scan", "data", "-q", "-o", "old.jsonl"]));
    let before = mutator::look(&place.join("data"));
    mutator::mutate(&place.join("data/many"), 150, &mut Random::new(3));
    fs::rename(place.join("data/src/deep"), place.join("data/deeper")).unwrap();
    fs::rename(
        place.join("data/README.md"),
        place.join("data/READ\u{1b}ME"),
    )
    .unwrap();
    fs::set_permissions(
        place.join("data/READ\u{1b}ME"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let after = mutator::look(&place.join("data"));
    let output = run_in(place, &["diff", "old.jsonl", "data"]);
    assert_eq!(status(&output), 1);
    let text = stdout(&output);
    for line in [
        "> data/README.md → data/READ\\x1bME (mode)\n",
        "> data/src/deep/ → data/deeper/\n",
        "> data/src/deep/er/b.o → data/deeper/er/b.o\n",
    ] {
        let line = line.replace("deep/ →", "deep →");
        assert!(text.contains(&line), "{line} in {text}");
    }
    // By the numbers that the standard library saw.
    let lone = |these: &BTreeMap<Vec<u8>, Seen>, others: &BTreeMap<Vec<u8>, Seen>| {
        let lone = these.iter().filter(|(path, _)| !others.contains_key(*path));
        let by = lone.map(|(_, seen)| (seen.inode, seen.kind, seen.size, seen.mtime));
        by.collect::<std::collections::BTreeSet<_>>()
    };
    let renamed = lone(&before, &after)
        .intersection(&lone(&after, &before))
        .count();
    let shown = text.lines().filter(|line| line.starts_with("> ")).count();
    assert!(renamed > 10, "{renamed}");
    assert_eq!(shown, renamed);
}

#[test]
fn what_a_saved_scan_could_not_read_is_unknown() {
    let home = wide();
    let place = home.path();
    fs::create_dir(place.join("root")).unwrap();
    fs::rename(place.join("data"), place.join("root/wide")).unwrap();
    fs::create_dir(place.join("root/src")).unwrap();
    let few = "stages.walk.max_entries_per_directory=20";
    let scan = [
        "scan",
        "root",
        "-q",
        "-o",
        "old.jsonl",
        "--sort",
        "path",
        "--set",
        few,
    ];
    assert_eq!(status(&run_in(place, &scan)), 3);
    fs::write(place.join("root/src/new"), "x").unwrap();
    let refused = run_in(place, &["diff", "old.jsonl", "root"]);
    assert_eq!(status(&refused), 2);
    let told = stderr(&refused);
    assert!(
        told.contains("the run that wrote it was incomplete"),
        "{told}"
    );
    for (old, new, sign) in [("old.jsonl", "root", '+'), ("root", "old.jsonl", '-')] {
        let output = run_in(place, &["diff", old, new, "--allow-incomplete"]);
        assert_eq!(status(&output), 2, "{}", stderr(&output));
        let text = stdout(&output);
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.remove(0), format!("{sign} root/src/new"));
        assert!(lines.len() > 20, "{text}");
        assert!(
            lines.iter().all(|line| line.starts_with("? root/wide/")),
            "{text}"
        );
    }
}

#[test]
fn growth_is_summed_up_by_directory() {
    let home = small();
    let place = home.path();
    succeeded(run_in(place, &["scan", "data", "-q", "-o", "old.jsonl"]));
    let data = place.join("data");
    fs::create_dir(data.join("src/deep/new")).unwrap();
    fs::write(data.join("src/deep/new/a"), vec![b'x'; 50_000]).unwrap();
    fs::write(data.join("src/main.rs"), vec![b'x'; 1_224]).unwrap();
    fs::remove_file(data.join("target/b.rs")).unwrap();
    let output = run_in(place, &["diff", "old.jsonl", "data", "--by-dir"]);
    assert_eq!(
        stdout(&output),
        [
            "     growth  of its own  entries  directory",
            "  +49.8 KiB    +1.0 KiB       +2  src",
            "  +49.8 KiB         0 B       +1  .",
            "  +48.8 KiB         0 B       +2  src/deep",
            "  +48.8 KiB   +48.8 KiB       +1  src/deep/new",
            "      -40 B       -40 B       -1  target",
            "",
        ]
        .join("\n")
    );
    assert_eq!(status(&output), 1);
    let few = run_in(
        place,
        &["diff", "old.jsonl", "data", "--by-dir", "--top", "2"],
    );
    assert_eq!(stdout(&few).lines().count(), 3);
    let none = run_in(place, &["diff", "data", "data", "--by-dir"]);
    assert_eq!(status(&none), 0);
    assert_eq!(
        status(&run_in(place, &["diff", "data", "data", "--top", "2"])),
        2
    );
}
