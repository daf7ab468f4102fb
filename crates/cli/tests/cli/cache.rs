//! A cache on disk, as `pipelines/changes.toml` uses it: what it reports, what kills leave of it, and the commands that
//! look after it.
//!
//! Times are set to moments long ago, because what was changed within two seconds before the look proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::tree::{ENTRIES, small};
use crate::{run_in, statline, status, stderr, stdout, succeeded};

const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/changes.toml");

/// Without ctime, which nobody can set.
const FIELDS: &str = "stages.meta.fields=[\"kind\", \"size\", \"mtime\", \"inode\"]";

fn changes(home: &Path, out: &str) -> Command {
    let mut command = changes_with_account(home, out);
    command.arg("-qq");
    command
}

fn changes_with_account(home: &Path, out: &str) -> Command {
    let mut command = statline();
    command.current_dir(home).arg("run").arg(JOB);
    command.args(["--set", FIELDS]);
    let variables = [("ROOT", "data"), ("CACHE", "store"), ("OUT", out)];
    command.envs(variables).env("PROBLEMS", "problems.jsonl");
    command
}

fn run(home: &Path, out: &str) -> Output {
    changes(home, out).output().unwrap()
}

type Marks = BTreeMap<String, String>;

/// Each path in an output with its mark.
fn marks(home: &Path, out: &str) -> Marks {
    let text = fs::read_to_string(home.join(out)).unwrap();
    let rows = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("path"), text("change"))
    });
    rows.collect()
}

/// Gives everything below a place a time of long ago.
fn age(place: &Path) {
    let all = Command::new("find")
        .arg(place)
        .args(["-exec", "touch", "-h", "-d", "2001-02-03", "{}", "+"])
        .output();
    succeeded(all.unwrap());
}

#[test]
fn changes_are_reported_once() {
    let home = small();
    let home = home.path();
    age(home);
    assert_eq!(stderr(&succeeded(run(home, "out.jsonl"))), "");
    let first = marks(home, "out.jsonl");
    assert_eq!(first.len(), ENTRIES);
    assert!(first.values().all(|mark| mark == "new"));
    succeeded(run(home, "out.jsonl"));
    assert_eq!(marks(home, "out.jsonl"), Marks::new());
    fs::remove_dir_all(home.join("data/src/deep")).unwrap();
    fs::write(home.join("data/README.md"), "longer than it was").unwrap();
    fs::write(home.join("data/added"), "").unwrap();
    age(&home.join("data"));
    succeeded(run(home, "out.jsonl"));
    let expected = [
        ("data/README.md", "changed"),
        ("data/added", "new"),
        ("data/src/deep", "deleted"),
        ("data/src/deep/a.o", "deleted"),
        ("data/src/deep/er", "deleted"),
        ("data/src/deep/er/b.o", "deleted"),
    ];
    // Directories may have another size by now.
    let mut told = marks(home, "out.jsonl");
    told.retain(|path, mark| mark != "changed" || !home.join(path).is_dir());
    assert_eq!(
        told,
        expected
            .map(|(path, mark)| (path.to_owned(), mark.to_owned()))
            .into()
    );
}

#[test]
fn a_run_without_a_row_tells_what_it_has_compared() {
    let home = small();
    let home = home.path();
    age(home);
    for told in [
        format!("  {ENTRIES} new · 0 changed · 0 deleted · 0 unchanged\n"),
        format!("  0 new · 0 changed · 0 deleted · {ENTRIES} unchanged\n"),
    ] {
        let output = changes_with_account(home, "out.jsonl").output().unwrap();
        let output = succeeded(output);
        let said = stdout(&output) + &stderr(&output);
        assert!(said.contains(&told), "{said}");
    }
}

#[test]
fn a_run_whose_output_fails_is_made_up_for_by_the_next() {
    let home = small();
    let home = home.path();
    age(home);
    succeeded(run(home, "out.jsonl"));
    fs::write(home.join("data/added"), "").unwrap();
    age(&home.join("data"));
    // The rows cannot get their name: there is a directory.
    fs::create_dir_all(home.join("taken/in")).unwrap();
    assert_eq!(status(&run(home, "taken")), 1);
    succeeded(run(home, "out.jsonl"));
    assert_eq!(marks(home, "out.jsonl")["data/added"], "new");
}

#[test]
fn a_cache_that_is_no_good_is_put_aside_with_a_warning() {
    let home = small();
    let home = home.path();
    age(home);
    succeeded(run(home, "out.jsonl"));
    let store = home.join("store");
    let mut bytes = fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&store, &bytes).unwrap();
    let verified = run_in(home, &["cache", "verify", "store"]);
    assert_eq!(status(&verified), 1);
    assert!(
        stderr(&verified).contains("is damaged"),
        "{}",
        stderr(&verified)
    );
    let output = succeeded(run(home, "out.jsonl"));
    let told = stderr(&output);
    assert!(told.starts_with("warning: the store "), "{told}");
    assert!(told.contains("store.damaged-"), "{told}");
    assert_eq!(marks(home, "out.jsonl").len(), ENTRIES);
    let aside = fs::read_dir(home).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.to_string_lossy()
            .contains("store.damaged-")
            .then_some(path)
    });
    assert_eq!(fs::read(aside.unwrap()).unwrap(), bytes);
    succeeded(run_in(home, &["cache", "verify", "store"]));
    // A file that no cache made is not touched.
    fs::write(&store, "my letters").unwrap();
    assert_eq!(status(&run(home, "out.jsonl")), 1);
    assert_eq!(fs::read_to_string(&store).unwrap(), "my letters");
}

#[test]
fn a_cache_is_looked_into_and_made_smaller() {
    let home = small();
    let home = home.path();
    age(home);
    let missing = run_in(home, &["cache", "info", "store"]);
    assert_eq!(status(&missing), 1);
    assert!(
        stderr(&missing).contains("there is no such file"),
        "{}",
        stderr(&missing)
    );
    succeeded(run(home, "out.jsonl"));
    let told = stdout(&succeeded(run_in(home, &["cache", "info", "store"])));
    assert!(told.contains(&format!("{ENTRIES} entries in ")), "{told}");
    assert!(told.contains("  path /"), "{told}");
    assert!(told.contains(" of changes, which ended 2"), "{told}");
    let json = run_in(home, &["cache", "info", "store", "--format", "json"]);
    let json: Value = serde_json::from_str(&stdout(&succeeded(json))).unwrap();
    assert_eq!(
        (json["schema"].as_u64(), json["entries"].as_u64()),
        (Some(1), Some(ENTRIES as u64))
    );
    succeeded(run_in(home, &["cache", "verify", "store"]));
    succeeded(run_in(home, &["cache", "compact", "store"]));
    succeeded(run_in(home, &["cache", "verify", "store"]));
    succeeded(run(home, "out.jsonl"));
    assert_eq!(marks(home, "out.jsonl"), Marks::new());
}

#[test]
fn a_mark_is_explained() {
    let home = small();
    let home = home.path();
    let explain = |path: &str, more: &[&str]| {
        let mut command = statline();
        command
            .current_dir(home)
            .args(["explain", JOB, path, "--set", FIELDS])
            .args(more);
        command.env("ROOT", "data").env("CACHE", "store");
        command.output().unwrap()
    };
    let told = |path: &str, more: &[&str], what: &str| {
        let output = succeeded(explain(path, more));
        assert!(stdout(&output).contains(what), "{}", stdout(&output));
        stdout(&output)
    };
    told(
        "data/README.md",
        &[],
        "data/README.md would be marked new: there is no cache yet\n",
    );
    // What was just written is not trusted.
    succeeded(run(home, "out.jsonl"));
    told(
        "data/README.md",
        &[],
        "looked at within two seconds of its last change",
    );
    age(home);
    succeeded(run(home, "out.jsonl"));
    told(
        "data/README.md",
        &[],
        "would be marked unchanged: all that is compared is as it was",
    );
    told("data", &[], "data would be marked unchanged");
    told(
        "data/src/deep/a.o",
        &["--set", "stages.walk.exclude=[\"src/deep/\"]"],
        "the pattern \"src/deep/\" leaves out src/deep\n",
    );
    fs::write(home.join("data/README.md"), "another").unwrap();
    let text = told(
        "data/README.md",
        &[],
        "would be marked changed: size, mtime differs from what is remembered",
    );
    assert!(text.contains("  size   10  "), "{text}");
    fs::write(home.join("data/src/\u{1b}[31m"), "").unwrap();
    told(
        "data/src/\u{1b}[31m",
        &[],
        "data/src/\\x1b[31m would be marked new: its directory is remembered, it is not",
    );
    fs::create_dir(home.join("data/fresh")).unwrap();
    fs::write(home.join("data/fresh/file"), "").unwrap();
    told(
        "data/fresh/file",
        &[],
        "nothing is remembered of its directory",
    );
    fs::remove_file(home.join("data/dangling")).unwrap();
    told(
        "data/dangling",
        &[],
        "would have no record: it cannot be looked at: ",
    );
    told(
        "data/README.md",
        &[
            "--set",
            "stages.meta.max_age=1h",
            "--set",
            "stages.meta.cache=store",
        ],
        "stat     takes it from the cache",
    );
    told(
        "data/README.md",
        &[
            "--set",
            "stages.meta.max_age=1ns",
            "--set",
            "stages.meta.cache=store",
        ],
        "stat     looks at it again: what is remembered is older than `max_age`",
    );
    assert_eq!(status(&explain("elsewhere", &[])), 2);
}

#[test]
fn what_is_young_enough_is_not_looked_at() {
    let home = small();
    let home = home.path();
    age(home);
    let aged = |max_age: &str| {
        let mut command = changes(home, "out.jsonl");
        command.args(["--set", &format!("stages.meta.max_age={max_age}")]);
        command.args([
            "--set",
            "stages.meta.cache=store",
            "--report",
            "report.json",
        ]);
        command.args([
            "--set",
            "stages.changed.change=[\"new\", \"changed\", \"unchanged\", \"deleted\"]",
        ]);
        succeeded(command.output().unwrap());
        let report: Value =
            serde_json::from_slice(&fs::read(home.join("report.json")).unwrap()).unwrap();
        let stages = report["stages"].as_array().unwrap().clone();
        let meta = stages
            .into_iter()
            .find(|stage| stage["name"] == "meta")
            .unwrap();
        let text = fs::read_to_string(home.join("out.jsonl")).unwrap();
        let rows: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let row = rows
            .iter()
            .find(|row| row["path"] == "data/README.md")
            .unwrap();
        let flagged = rows.iter().filter(|row| row["remembered"] == true).count() as u64;
        assert_eq!(meta["counters"]["remembered"].as_u64(), Some(flagged));
        (
            flagged,
            row["size"].as_u64().unwrap(),
            row["change"].as_str().unwrap().to_owned(),
        )
    };
    let unchanged = "unchanged".to_owned();
    assert_eq!(aged("1h"), (0, 10, "new".to_owned()));
    // All but the root, which is opened in any case.
    assert_eq!(aged("1h"), (ENTRIES as u64 - 1, 10, unchanged.clone()));
    fs::write(home.join("data/README.md"), "longer than it was").unwrap();
    assert_eq!(aged("1h"), (ENTRIES as u64 - 1, 10, unchanged.clone()));
    // Having been taken from memory has not made it younger.
    let (flagged, size, mark) = aged("1ms");
    assert_eq!((flagged, size, mark.as_str()), (0, 18, "changed"));
    // It was looked at again just now, and too soon after the change.
    let (flagged, size, mark) = aged("1h");
    assert_eq!(
        (flagged, size, mark.as_str()),
        (ENTRIES as u64 - 2, 18, "changed")
    );
}

/// What the job compares of each entry.
fn snapshot(home: &Path) -> BTreeMap<String, (u64, i64, u64)> {
    let mut all = BTreeMap::new();
    let mut left = vec![PathBuf::from("data")];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(home.join(&path)).unwrap();
        if found.is_dir() {
            let names = fs::read_dir(home.join(&path)).unwrap();
            left.extend(names.map(|entry| path.join(entry.unwrap().file_name())));
        }
        let seen = (found.size(), found.mtime(), found.ino());
        all.insert(path.to_str().unwrap().to_owned(), seen);
    }
    all
}

fn difference<V: PartialEq>(before: &BTreeMap<String, V>, now: &BTreeMap<String, V>) -> Marks {
    let mut marks = Marks::new();
    for (path, seen) in now {
        let mark = match before.get(path) {
            None => "new",
            Some(before) if before != seen => "changed",
            Some(_) => continue,
        };
        marks.insert(path.clone(), mark.to_owned());
    }
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    marks.extend(gone.map(|path| (path.clone(), "deleted".to_owned())));
    marks
}

/// Numbers that differ from run to run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Changes some files, each to a time of its own.
fn mutate(home: &Path, random: &mut Random, clock: &mut u64) {
    for _ in 0..20 {
        let directory = home.join(format!("data/d{}", random.below(30)));
        let file = directory.join(format!("f{}", random.below(20)));
        *clock += 10;
        let time = std::time::UNIX_EPOCH + Duration::from_secs(*clock);
        if random.below(3) == 0 {
            let _ = fs::remove_file(&file);
        } else {
            fs::write(&file, vec![b'x'; random.below(9) as usize]).unwrap();
            fs::File::open(&file).unwrap().set_modified(time).unwrap();
        }
        fs::File::open(&directory)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
}

/// Ends a run and all that belongs to it, without a chance to clear up.
fn kill(run: &mut std::process::Child) {
    let group = format!("-{}", run.id());
    let killed = Command::new("kill")
        .args(["-9", "--", &group])
        .stderr(Stdio::null())
        .status();
    killed.unwrap();
    run.wait().unwrap();
}

#[test]
fn whenever_a_run_is_killed_the_next_one_tells_what_has_not_been_delivered() {
    let seed = RandomState::new().hash_one("moments");
    println!("seed {seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for directory in 0..30 {
        let directory = home.join(format!("data/d{directory}"));
        fs::create_dir_all(&directory).unwrap();
        (0..20).for_each(|file| fs::write(directory.join(format!("f{file}")), "x").unwrap());
    }
    age(home);
    let mut clock = 1_100_000_000;
    succeeded(run(home, "out.jsonl"));
    let mut delivered = snapshot(home);
    let mut longest = Duration::ZERO;
    let (mut in_time, mut too_late) = (0, 0);
    for round in 0..100 {
        mutate(home, &mut random, &mut clock);
        let now = snapshot(home);
        let killed = home.join("killed.jsonl");
        let _ = fs::remove_file(&killed);
        let limit = longest.as_micros() as u64 * 9 / 10 + 1000;
        let mut process = changes(home, "killed.jsonl")
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moment = Instant::now() + Duration::from_micros(random.below(limit));
        while Instant::now() < moment && process.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        kill(&mut process);
        mutate(home, &mut random, &mut clock);
        let later = snapshot(home);
        let mut began = Instant::now();
        let mut next = run(home, "out.jsonl");
        // The kernel may need its time to take the killed run's lock away.
        let patience = Instant::now() + Duration::from_secs(60);
        while stderr(&next).contains("another run uses it") && Instant::now() < patience {
            began = Instant::now();
            next = run(home, "out.jsonl");
        }
        succeeded(next);
        longest = longest.max(began.elapsed());
        let told = marks(home, "out.jsonl");
        if told == difference(&delivered, &later) {
            in_time += 1;
        } else {
            // It was committed before it was killed: then all of it had been delivered.
            assert_eq!(told, difference(&now, &later), "round {round}");
            assert_eq!(
                marks(home, "killed.jsonl"),
                difference(&delivered, &now),
                "round {round}"
            );
            too_late += 1;
        }
        delivered = later;
    }
    println!("{in_time} killed before they committed, {too_late} after");
    succeeded(run_in(home, &["cache", "verify", "store"]));
    let aside = fs::read_dir(home).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("damaged")
    });
    assert_eq!(aside.count(), 0, "a kill leaves the last good store");
}
