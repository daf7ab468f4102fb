//! `--print-job`: flags grow into a file, and the file does what the flags did.

use std::fs;
use std::path::Path;

use crate::tree::{job, small};
use crate::{run_in, sorted, status, stderr, stdout, succeeded};

/// What the flags yield and what the printed job yields, rows in a fixed order.
#[track_caller]
fn both_ways(home: &Path, flags: &[&str]) -> (Vec<String>, Vec<String>) {
    let scan = [&["scan", "data"], flags].concat();
    let direct = run_in(home, &scan);
    let printed = succeeded(run_in(home, &[&scan[..], &["--print-job"]].concat()));
    let file = job(home, &stdout(&printed));
    let from_file = run_in(home, &["run", &file, "-q"]);
    assert_eq!(
        status(&direct),
        status(&from_file),
        "{}\n{}",
        stdout(&printed),
        stderr(&from_file)
    );
    let rows = |text: &[u8]| sorted(&String::from_utf8_lossy(text).replace('\0', "\n"));
    (rows(&direct.stdout), rows(&from_file.stdout))
}

#[test]
fn every_flag_means_the_same_in_the_file() {
    let home = small();
    std::os::unix::fs::symlink("..", home.path().join("data/src/up")).unwrap();
    fs::write(home.path().join("patterns"), "*.o\n${HOME}\n").unwrap();
    let flags: &[&[&str]] = &[
        &["-o", "-"],
        &["-0"],
        &["--print0"],
        &["--format", "csv"],
        &["--format", "paths"],
        &["--format", "jsonl"],
        &["-x", "-o", "-"],
        &["-L", "-o", "-"],
        &["-d", "1", "-o", "-"],
        &["-e", "*.o", "--exclude", "target/", "-o", "-"],
        &["--exclude-from", "patterns", "-o", "-"],
        &["--fields", "path,kind"],
        &["--fields", "size,path,target,depth"],
        &["--sort", "-size", "--sort", "path"],
        &["--sort", "path", "-0"],
        &[
            "--sort",
            "path",
            "--memory-limit",
            "8MiB",
            "--spill-dir",
            ".",
        ],
        &["-j", "3", "-o", "-"],
        &["--threads", "1", "-o", "-"],
        &["-j", "2..64", "-o", "-"],
        &["-j", "auto", "-o", "-"],
        &["--backend", "fstatat", "-o", "-"],
        &[
            "--set",
            "stages.walk.max_depth=1",
            "--set",
            "pipeline.capacity=2",
            "-o",
            "-",
        ],
        &["--set", "stages.out.type=csv", "-o", "-"],
        &["-L", "-o", "-", "--errors", "problems.jsonl"],
        &["a${HOME}b", "$${x}", "-o", "-"],
    ];
    fs::create_dir_all(home.path().join("a${HOME}b/c")).unwrap();
    fs::create_dir_all(home.path().join("$${x}/d")).unwrap();
    // The first to read a directory or a link moves its access time.
    both_ways(home.path(), &["-L", "-o", "-"]);
    both_ways(home.path(), &["a${HOME}b", "$${x}", "-o", "-"]);
    for flags in flags {
        let (direct, from_file) = both_ways(home.path(), flags);
        assert!(!direct.is_empty(), "{flags:?}");
        assert_eq!(direct, from_file, "{flags:?}");
    }
}

#[test]
fn flags_of_totals_mean_the_same_in_the_file() {
    let home = small();
    for flags in [&[][..], &["--largest", "3"], &["--by", "extension,owner"]] {
        let (direct, from_file) = both_ways(home.path(), &[flags, &["-q"]].concat());
        // The first line has the time in it.
        let totals = |lines: Vec<String>| -> Vec<String> {
            let lines = lines.into_iter();
            lines
                .filter(|line| !line.contains(" entries in "))
                .collect()
        };
        assert!(direct.len() > 2);
        assert_eq!(totals(direct), totals(from_file), "{flags:?}");
    }
}

#[test]
fn outputs_are_named_the_same_in_the_file() {
    let home = small();
    let flags = ["-o", "out %% \"x\".csv", "--sort", "path"];
    let (_, _) = both_ways(home.path(), &flags);
    let written = home.path().join("out % \"x\".csv");
    let from_file = fs::read_to_string(&written).unwrap();
    succeeded(run_in(
        home.path(),
        &[&["scan", "data"], &flags[..]].concat(),
    ));
    assert_eq!(fs::read_to_string(&written).unwrap(), from_file);
}

#[test]
fn a_path_of_any_bytes_survives() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = small();
    let name = OsStr::from_bytes(b"l\xff");
    if fs::create_dir(home.path().join(name)).is_err() {
        eprintln!("skipped: the file system takes no such name");
        return;
    }
    let arguments = [
        OsStr::new("scan"),
        name,
        OsStr::new("-0"),
        OsStr::new("--print-job"),
    ];
    let printed = succeeded(run_in(home.path(), &arguments));
    assert!(stdout(&printed).contains("base64"), "{}", stdout(&printed));
    let file = job(home.path(), &stdout(&printed));
    let output = succeeded(run_in(home.path(), &["run", &file]));
    assert_eq!(output.stdout, b"l\xff\0");
}

#[test]
fn the_printed_job_reads_well() {
    let home = small();
    let arguments = [
        "scan",
        "data",
        "-x",
        "--sort",
        "-size",
        "-o",
        "big.jsonl",
        "--errors",
        "problems.jsonl",
        "--print-job",
    ];
    insta::assert_snapshot!(stdout(&succeeded(run_in(home.path(), &arguments))));
    let arguments = [
        "scan",
        "data",
        "-o",
        "big.jsonl",
        "--set",
        "stages.walk.thraeds=3",
        "--print-job",
    ];
    let output = run_in(home.path(), &arguments);
    assert_eq!(status(&output), 2);
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_printed_job_can_be_piped_into_run() {
    use std::io::Write;
    use std::process::Stdio;
    let home = small();
    let printed = succeeded(run_in(home.path(), &["scan", "data", "-0", "--print-job"]));
    let mut child = crate::statline()
        .args(["run", "-", "-q"])
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&printed.stdout)
        .unwrap();
    let output = succeeded(child.wait_with_output().unwrap());
    assert_eq!(
        output.stdout.split(|&byte| byte == 0).count() - 1,
        crate::tree::ENTRIES
    );
}
