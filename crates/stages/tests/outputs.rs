//! Outputs as a job file asks for them, from a tree on disk to what other programs read.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use statline_pipeline::{Builder, Job, Outcome, Problems, Registry, RunReport};
use statline_stages::{
    Enumerate, EnumerateConfig, OutputMark, Paths, PathsConfig, RootPath, Summary, register,
};

const SCAN: &str = r#"
[stages.walk]
type = "enumerate"
roots = ["${ROOT}"]

[stages.meta]
type = "stat"
inputs = ["walk"]
fields = ["all"]
targets = true
"#;

fn parse(text: &str, directory: &Path) -> Result<Job, Problems> {
    let mut registry = Registry::new();
    register(&mut registry);
    let environment = |name: &str| match name {
        "ROOT" => Some(directory.join("tree").into_os_string()),
        "OUT" => Some(directory.as_os_str().to_owned()),
        _ => None,
    };
    Job::parse(&registry, "test.toml", text, &environment, &[])
}

fn run(stages: &str, directory: &Path) -> RunReport {
    let job = parse(&format!("{SCAN}{stages}"), directory);
    job.unwrap_or_else(|problems| panic!("{problems}")).run()
}

/// A small tree with names of all sorts. Returns the paths of its entries, the root among them.
fn tree(directory: &Path) -> BTreeSet<PathBuf> {
    let root = directory.join("tree");
    let below = root.join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir_all(&below).unwrap();
    let mut paths = BTreeSet::from([root.clone(), below.clone()]);
    for (directory, name, size) in [
        (&root, &b"plain.txt"[..], 5000),
        (&root, b"new\nline", 0),
        (&below, b"quote\".TXT", 7),
        (&below, b"\xfe", 1),
    ] {
        let path = directory.join(OsStr::from_bytes(name));
        fs::write(&path, vec![b'x'; size]).unwrap();
        paths.insert(path);
    }
    fs::hard_link(root.join("plain.txt"), below.join("again")).unwrap();
    symlink(OsStr::from_bytes(b"to\xfd"), root.join("link")).unwrap();
    paths.extend([below.join("again"), root.join("link")]);
    let private = fs::Permissions::from_mode(0o4640);
    fs::set_permissions(root.join("plain.txt"), private).unwrap();
    paths
}

#[test]
fn json_lines_say_what_the_file_system_says() {
    let directory = tempfile::tempdir().unwrap();
    let paths = tree(directory.path());
    let report = run(
        r#"
[stages.out]
type = "jsonl"
inputs = ["meta"]
path = "${OUT}/out.jsonl"
"#,
        directory.path(),
    );
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let text = fs::read_to_string(directory.path().join("out.jsonl")).unwrap();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = match row["path"].as_str() {
            Some(path) => PathBuf::from(path),
            None => {
                use base64::Engine;
                let base64 = row["path_b64"].as_str().unwrap();
                let bytes = base64::prelude::BASE64_STANDARD.decode(base64).unwrap();
                std::ffi::OsString::from_vec(bytes).into()
            }
        };
        let found = path.symlink_metadata().unwrap();
        assert_eq!(row["mode"], found.mode() & 0o7777);
        assert_eq!(row["uid"], found.uid());
        assert_eq!(row["size"], found.size());
        assert_eq!(row["allocated"], found.blocks() * 512);
        assert_eq!(row["nlink"], found.nlink());
        assert_eq!(row["inode"], found.ino());
        assert_eq!(row["device"], found.dev());
        let modified = found.mtime() * 1_000_000_000 + found.mtime_nsec();
        assert_eq!(row["mtime_ns"], modified);
        match found.is_symlink() {
            true => assert_eq!(
                (&row["kind"], &row["target_b64"]),
                (&"symlink".into(), &"dG/9".into())
            ),
            false => assert!(row.get("target").is_none() && row.get("target_b64").is_none()),
        }
        seen.insert(path);
    }
    assert_eq!(seen, paths);
    let mark = fs::read(directory.path().join("out.jsonl.run.json")).unwrap();
    let mark: OutputMark = serde_json::from_slice(&mark).unwrap();
    assert_eq!(mark.rows, paths.len() as u64);
}

#[test]
fn one_scan_feeds_outputs_of_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let paths = tree(directory.path());
    let report = run(
        r#"
[stages.texts]
type = "filter"
inputs = ["meta"]
kind = ["file"]
name = ["*.{txt,TXT}"]
min_size = "10B"
newer_than = "1d"

[stages.table]
type = "csv"
inputs = ["texts"]
path = "${OUT}/texts.csv"
fields = ["size", "path", "mode"]

[stages.names]
type = "paths"
inputs = ["walk"]
path = "${OUT}/names"
separator = "nul"

[stages.totals]
type = "summary"
inputs = ["meta"]
largest = 1
by = ["extension", "owner", "age", "size"]

[stages.nothing]
type = "null"
inputs = ["meta"]

[stages.problems]
type = "jsonl"
inputs = ["walk.errors", "meta.errors"]
path = "${OUT}/problems.jsonl"
"#,
        directory.path(),
    );
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let read = |name| fs::read(directory.path().join(name)).unwrap();
    let root = directory.path().join("tree");
    assert_eq!(
        String::from_utf8(read("texts.csv")).unwrap(),
        format!(
            "size,path,path_b64,mode\n5000,{}/plain.txt,,2464\n",
            root.display()
        )
    );
    let names = read("names");
    let names = names.strip_suffix(b"\0").unwrap().split(|&byte| byte == 0);
    let names: BTreeSet<PathBuf> = names.map(|name| OsStr::from_bytes(name).into()).collect();
    assert_eq!(names, paths);
    assert!(read("problems.jsonl").is_empty());
    let totals = report
        .stages
        .iter()
        .find(|stage| stage.name == "totals")
        .unwrap();
    let totals: Summary = serde_json::from_value(totals.result.clone().unwrap()).unwrap();
    assert_eq!(
        (
            totals.entries,
            totals.files,
            totals.directories,
            totals.symlinks
        ),
        (8, 5, 2, 1)
    );
    assert_eq!(totals.hard_links, Some(1));
    assert_eq!(totals.apparent_bytes, Some(5000 + 7 + 1 + 3));
    assert_eq!(totals.largest[0].bytes, 5000);
    assert_eq!(totals.breakdowns.len(), 4);
}

#[test]
fn mistakes_in_options_are_told_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let stages = r#"
[stages.some]
type = "filter"
inputs = ["meta"]
newer_than = "yesterday"

[stages.out]
type = "jsonl"
inputs = ["meta"]
path = "out/"
fields = ["path", "mtme"]

[stages.raw]
type = "csv"
inputs = ["walk"]
path = "raw.csv"
fields = ["path", "size"]

[stages.list]
type = "paths"
inputs = ["walk.errors"]
path = "%Y-%"
"#;
    let problems = parse(&format!("{SCAN}{stages}"), directory.path()).unwrap_err();
    let found: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.location.path(), problem.message))
        .collect();
    for (place, part) in [
        ("stages.some.newer_than", "is no point in time"),
        ("stages.out.fields[1]", "unknown value \"mtme\""),
        ("stages.raw.fields", "have no \"size\""),
        ("stages.list.path", "is no pattern of a path"),
        ("stages.list", "takes"),
    ] {
        let told = found
            .iter()
            .any(|problem| problem.starts_with(place) && problem.contains(part));
        assert!(told, "{place} {part}: {found:#?}");
    }
}

#[test]
fn a_mark_says_what_was_scanned_and_how() {
    let directory = tempfile::tempdir().unwrap();
    tree(directory.path());
    let text = r#"
[pipeline]
name = "inventory"

[stages.walk]
type = "enumerate"
roots = [".", "${ROOT}", { base64 = "L25vd2hlcmUv/w==" }]
accept = ["EACCES", "ENOENT"]

[stages.out]
type = "csv"
inputs = ["walk"]
path = "${OUT}/out.csv"
"#;
    let mut registry = Registry::new();
    register(&mut registry);
    let place = directory.path().to_owned();
    let environment = move |name: &str| match name {
        "ROOT" => Some(place.join("tree").into_os_string()),
        _ => Some(place.clone().into_os_string()),
    };
    let overrides = [
        "stages.walk.max_depth=0",
        "stages.walk.roots=[\"${ROOT}\", \"src\"]",
    ];
    let overrides = overrides.map(str::to_owned);
    let job = Job::parse(&registry, "job.toml", text, &environment, &overrides).unwrap();
    let report = job.run();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
    let path = directory.path().join("out.csv");
    let mark = OutputMark::verify(&path).unwrap();
    assert_eq!(
        (mark.job.as_str(), &mark.version),
        ("inventory", &report.version)
    );
    let roots: Vec<&Path> = mark.roots.iter().map(RootPath::as_path).collect();
    let here = std::env::current_dir().unwrap();
    assert_eq!(roots, [directory.path().join("tree"), here.join("src")]);
    let [walk, out] = &mark.stages[..] else {
        panic!("{:?}", mark.stages);
    };
    assert_eq!(
        (walk.name.as_str(), walk.kind.as_str()),
        ("walk", "enumerate")
    );
    assert_eq!(walk.accept, ["EACCES", "ENOENT"]);
    let options = walk.options.as_ref().unwrap();
    assert_eq!(options["max_depth"], 0, "as --set has it");
    assert_eq!(options["skip_pseudo"], true, "a default");
    assert_eq!(options["roots"][0], roots[0].to_str().unwrap());
    assert_eq!(out.inputs["in"], ["walk"]);
    assert_eq!(
        out.options.as_ref().unwrap()["path"],
        path.to_str().unwrap()
    );
    // The report tells the same.
    let told = report.stage("walk").unwrap();
    assert_eq!(told.options, walk.options);
    assert_eq!(
        told.facts["roots"],
        serde_json::to_value(&mark.roots).unwrap()
    );
}

#[test]
fn a_root_that_is_no_text_is_marked_as_jobs_write_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join(OsStr::from_bytes(b"r\xff"));
    fs::create_dir(&root).unwrap();
    let mut builder = Builder::new("test");
    let config = EnumerateConfig::new([&root]);
    let walk = builder.stage("walk", Enumerate, config).done();
    let path = directory.path().join("out");
    let config = PathsConfig::new(path.to_str().unwrap());
    let _ = builder.stage("out", Paths, config).reads(&walk);
    assert_eq!(builder.build().unwrap().run().outcome, Outcome::Complete);
    let mark = OutputMark::read(&path).unwrap();
    assert_eq!(mark.roots, [RootPath::new(root)]);
    let text = fs::read_to_string(OutputMark::path_for(&path)).unwrap();
    assert!(text.contains("\"base64\""), "{text}");
}
