//! SIGINT at random moments of a scan that writes JSON Lines.
//!
//! Whatever the moment: a file under the final name has a mark that matches it and every row; exit status 0 means that
//! all rows are there; otherwise there is no file, and nothing temporary either; and the end comes in time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::guard::Mount;
use crate::oracle::{Findings, Oracle};
use crate::program::Program;
use crate::suite::{Broken, Part, Suite};

/// The deadline of a run that is stopped, and two seconds.
const DEADLINE: Duration = Duration::from_secs(12);

const PATIENCE: Duration = Duration::from_secs(120);

/// Files in each directory.
const FILES: usize = 100;

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let moments = suite.size(40, 200);
    if !(0..moments).any(|case| suite.wants(case)) {
        return Ok(());
    }
    let mount = Mount::tmpfs(4 << 30).ok();
    let directory = tempfile::tempdir()?;
    let root = mount
        .as_ref()
        .map_or(directory.path(), Mount::path)
        .join("root");
    let directories = suite.size(1000, 10_000);
    for number in 0..directories {
        let directory = root.join(format!("d{number}"));
        fs::create_dir_all(&directory)?;
        for file in 0..FILES {
            fs::File::create(directory.join(format!("f{file}")))?;
        }
    }
    // The root, the directories, the files.
    let entries = 1 + directories + directories * FILES;
    let undisturbed = scan(suite, &root, &directory.path().join("undisturbed"))?.wait(PATIENCE)?;
    let Ok(undisturbed) = undisturbed else {
        return Err("an undisturbed scan does not end".into());
    };
    let mut whole = 0;
    for case in 0..moments {
        let mut random = suite.random(Part::Interrupts, case);
        let share = random.below(1100) as u32;
        let moment = undisturbed.took * share / 1000;
        let home = directory.path().join(format!("home{case}"));
        let oracles = [Oracle::Loss, Oracle::Lie, Oracle::Bound, Oracle::Output];
        suite.case(Part::Interrupts, case, &oracles, |findings| {
            whole += u64::from(one(suite, &root, &home, entries, moment, findings)?);
            Ok(())
        });
        let _ = fs::remove_dir_all(home);
    }
    suite.note(
        Part::Interrupts,
        format!(
            "{moments} moments of a scan of {entries} entries; {whole} came too late to matter"
        ),
    );
    Ok(())
}

fn scan(suite: &Suite, root: &Path, home: &Path) -> Result<crate::program::Running, Broken> {
    fs::create_dir(home)?;
    let arguments = [
        "scan".as_ref(),
        root.as_os_str(),
        "-o".as_ref(),
        "out.jsonl".as_ref(),
    ];
    Ok(Program::new(&suite.program, arguments)
        .directory(home)
        .start()?)
}

/// Returns whether the signal came after all was done.
fn one(
    suite: &Suite,
    root: &Path,
    home: &Path,
    entries: usize,
    moment: Duration,
    findings: &mut Findings,
) -> Result<bool, Broken> {
    let running = scan(suite, root, home)?;
    let running = match running.wait(moment)? {
        Ok(ended) => return judge(ended.code(), home, entries, findings).map(|()| true),
        Err(running) => running,
    };
    running.signal(Signal::INT)?;
    let begin = std::time::Instant::now();
    match running.wait(PATIENCE)? {
        Ok(ended) => {
            let waited = begin.elapsed();
            findings.check(Oracle::Bound, waited < DEADLINE, || {
                format!("it ended {waited:?} after the signal")
            });
            judge(ended.code(), home, entries, findings)?;
            Ok(ended.code() == 0)
        }
        Err(_) => {
            findings.add(Oracle::Bound, "it does not end");
            Ok(false)
        }
    }
}

fn judge(code: i32, home: &Path, entries: usize, findings: &mut Findings) -> Result<(), Broken> {
    let left = names(home)?;
    match code {
        0 => {
            findings.check(
                Oracle::Output,
                left == ["out.jsonl", "out.jsonl.run.json"],
                || format!("status 0 left {left:?}"),
            );
            let rows = check_mark(&home.join("out.jsonl"), findings);
            findings.check(Oracle::Loss, rows == Some(entries as u64), || {
                format!("status 0 with {rows:?} rows of {entries}")
            });
        }
        // 130 is what the program says; a signal that comes before it listens kills it.
        130 => findings.check(Oracle::Output, left.is_empty(), || {
            format!("a run that was stopped left {left:?}")
        }),
        code => findings.add(Oracle::Lie, format!("status {code}, and {left:?}")),
    }
    Ok(())
}

/// What is in a directory, hidden files too.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Broken> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Holds a published file against the mark beside it, and says how many rows the mark tells of.
pub(crate) fn check_mark(file: &Path, findings: &mut Findings) -> Option<u64> {
    let mut mark = file.as_os_str().to_owned();
    mark.push(".run.json");
    let mark = fs::read(mark)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let (Some(mark), Ok(content)) = (mark, fs::read(file)) else {
        findings.add(Oracle::Output, format!("{} has no mark", file.display()));
        return None;
    };
    let mark: serde_json::Value = mark;
    let length = mark["bytes"].as_u64();
    findings.check(Oracle::Output, length == Some(content.len() as u64), || {
        format!(
            "the mark tells of {length:?} bytes, and there are {}",
            content.len()
        )
    });
    let digest = format!("blake3:{}", blake3::hash(&content).to_hex());
    findings.check(Oracle::Output, mark["digest"] == digest.as_str(), || {
        format!(
            "the mark's digest is {}, the file's {digest}",
            mark["digest"]
        )
    });
    mark["rows"].as_u64()
}
