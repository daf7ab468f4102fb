//! `pipelines/plan.toml`, carried out by rsync.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::mutator::{self, Random, Seen};
use crate::{installed, statline, status, stderr};

fn pipeline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../pipelines")
        .join("plan.toml")
}

/// Plans `from` → `to`: the status, and how many paths are in the lists.
fn plan(home: &Path) -> (i32, [usize; 2]) {
    let mut command = statline();
    command
        .current_dir(home)
        .env("SOURCE", "from")
        .env("DESTINATION", "to");
    let output = command
        .arg("run")
        .arg(pipeline())
        .arg("-qq")
        .output()
        .unwrap();
    assert!([0, 3].contains(&status(&output)), "{}", stderr(&output));
    let lists = ["plan-copy.nul", "plan-delete.nul"].map(|list| {
        let paths = fs::read(home.join(list)).unwrap();
        paths.iter().filter(|&&byte| byte == 0).count()
    });
    (status(&output), lists)
}

/// Does what the header of the pipeline says.
fn carry_out(home: &Path) {
    let list = fs::File::open(home.join("plan-delete.nul")).unwrap();
    let removed = Command::new("xargs")
        .args(["-0", "-r", "rm", "-df", "--"])
        .current_dir(home.join("to"))
        .stdin(list)
        .output()
        .unwrap();
    assert!(removed.status.success(), "{removed:?}");
    let copied = Command::new("rsync")
        .args([
            "-a",
            "--from0",
            "--files-from=plan-copy.nul",
            "from/",
            "to/",
        ])
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
}

/// What must be equal: all but the size of directories, fractions of seconds, and the number of the file.
fn comparable(root: &Path) -> Vec<(Vec<u8>, Seen)> {
    let seen = mutator::look(root).into_iter();
    let comparable = seen.map(|(path, mut seen)| {
        if seen.kind == "directory" {
            seen.size = 0;
        }
        seen.inode = 0;
        seen.mtime.1 = 0;
        (path, seen)
    });
    comparable.collect()
}

#[track_caller]
fn assert_same(from: &Path, to: &Path) {
    let (from, to) = (comparable(from), comparable(to));
    let unlike = from.iter().find(|entry| !to.contains(*entry));
    let unlike = unlike.or_else(|| to.iter().find(|entry| !from.contains(*entry)));
    assert_eq!(unlike, None);
}

#[test]
fn rsync_makes_the_trees_equal_and_the_next_plan_is_empty() {
    if !installed("rsync") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let place = home.path();
    let (from, to) = (place.join("from"), place.join("to"));
    mutator::make(&from, 1_500);
    for name in [
        "#comment",
        ";other",
        "-rf",
        " ",
        "a\nb",
        "*",
        "back\\slash",
        "red\u{1b}[31m",
    ] {
        fs::write(from.join(name), name).unwrap();
        fs::create_dir(from.join(format!("{name}.d"))).unwrap();
    }
    fs::hard_link(from.join("*"), from.join("also")).unwrap();
    let pipe = Command::new("mkfifo").arg(from.join("pipe")).status();
    assert!(pipe.unwrap().success());
    fs::create_dir(&to).unwrap();
    let entries = comparable(&from).len();
    assert_eq!(plan(place), (0, [entries, 0]));
    carry_out(place);
    assert_same(&from, &to);
    assert!(
        fs::symlink_metadata(to.join("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert_eq!(plan(place), (0, [0, 0]));

    for seed in 0..3 {
        mutator::mutate(&from, 150, &mut Random::new(seed));
        mutator::mutate(&to, 60, &mut Random::new(100 + seed));
        let (status, [copied, deleted]) = plan(place);
        assert_eq!(status, 0);
        assert!(copied > 20 && deleted > 20, "{copied} {deleted}");
        carry_out(place);
        assert_same(&from, &to);
        assert_eq!(plan(place), (0, [0, 0]));
    }
}

#[test]
fn what_could_not_be_read_is_not_deleted() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path();
    for file in ["from/a/kept", "to/a/kept", "to/a/b/kept", "to/gone"] {
        let file = place.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }
    symlink("nowhere", place.join("to/a/link")).unwrap();
    // Leaving a directory unread by its rights needs somebody whom rights bind; a limit binds everybody.
    fs::set_permissions(place.join("from"), fs::Permissions::from_mode(0o755)).unwrap();
    for number in 0..50 {
        fs::write(place.join(format!("from/a/{number}")), "x").unwrap();
    }
    let mut command = statline();
    command
        .current_dir(place)
        .env("SOURCE", "from")
        .env("DESTINATION", "to");
    let limit = "stages.source_walk.max_entries_per_directory=20";
    let output = command
        .arg("run")
        .arg(pipeline())
        .args(["-qq", "--set", limit]);
    let output = output.output().unwrap();
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    assert_eq!(fs::read(place.join("plan-delete.nul")).unwrap(), b"gone\0");
    let unknown = fs::read_to_string(place.join("plan-unknown.jsonl")).unwrap();
    for path in ["to/a/b", "to/a/b/kept", "to/a/link"] {
        assert!(
            unknown.contains(&format!("{path:?}")),
            "{path} in {unknown}"
        );
    }
}
