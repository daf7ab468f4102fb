//! T11: damaged directories and jobs.
//!
//! Mutations of a corpus go through the parser of `getdents64` and through the loader of jobs. The parser is held
//! against one that is written here, for speed's sake without care; the loader must refuse or accept, soon, and never
//! panic. The corpus is `fuzz/seeds` and what is made here. A case is one execution; the numbers of cases count batches
//! of a thousand.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use statline_pipeline::{Environment, Job, Registry};
use statline_platform::{Entries, parse_dirents};

use crate::oracle::{Findings, Oracle, some_of};
use crate::random::Random;
use crate::suite::{Broken, FAMILY, Part, Suite};

/// Executions of one batch.
const BATCH: u64 = 1000;

/// How long one job may take to be refused, on a machine that does something else too.
const SOON: Duration = Duration::from_secs(2);

/// What is put into jobs now and then.
const TOKENS: [&str; 22] = [
    "[stages.walk]",
    "[pipeline]",
    "[[stages]]",
    "type = \"enumerate\"\n",
    "inputs = [\"walk\"]\n",
    "inputs = [\"walk.errors\", \"meta\"]\n",
    "inputs = { old = \"a\", new = \"b\" }\n",
    "threads = 512\n",
    "capacity = 9223372036854775808",
    "capacity_bytes = \"1GiB\"",
    "${ROOT:-.}",
    "${A:?b}",
    "${",
    "\"\"\"",
    "'''",
    "= = =",
    "\u{202e}",
    "\\u0000",
    "1979-05-27",
    "inf",
    "[[[[[[[[[[[[[[[[",
    "{a={a={a={a={a=",
];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let directories = Corpus::new("dirents", directories());
    let jobs = Corpus::new("job", jobs());
    let (dirent_batches, job_batches) = (suite.size(100, 10_000), suite.size(100, 10_000));
    suite.share(3, |thread, threads| {
        let mine = |batch: &u64| batch % threads == thread;
        for batch in (0..dirent_batches).filter(mine) {
            damaged_directories(suite, batch, &directories);
        }
        for batch in (0..job_batches).filter(mine) {
            damaged_jobs(suite, FAMILY + batch, &jobs);
        }
    });
    std::panic::set_hook(hook);
    suite.note(
        Part::Fuzz,
        format!(
            "executions on {} directories and {} jobs, damaged",
            directories.0.len(),
            jobs.0.len()
        ),
    );
    Ok(())
}

/// What is damaged.
struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    fn new(name: &str, mut made: Vec<Vec<u8>>) -> Corpus {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fuzz/seeds")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(committed)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        // Cases must not depend on the order of a directory.
        files.sort();
        made.extend(files.iter().filter_map(|file| fs::read(file).ok()));
        Corpus(made)
    }

    fn damaged(&self, random: &mut Random, tokens: &[&str]) -> Vec<u8> {
        let mut bytes = random.pick(&self.0).clone();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len() + 1);
            let end = at + random.below(bytes.len() - at + 1);
            match random.below(8) {
                0 => bytes.insert(at, random.byte()),
                1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                2 if at < bytes.len() => bytes[at] = *random.pick(&[0, 1, b'/', b'.', 0x7f, 0xff]),
                3 => drop(bytes.drain(at..end.min(at + 40))),
                4 => bytes.truncate(at),
                5 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                6 => {
                    let other = random.pick(&self.0);
                    let from = random.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ if !tokens.is_empty() => {
                    bytes.splice(at..at, random.pick(tokens).bytes());
                }
                _ => bytes.extend_from_slice(&random.next().to_ne_bytes()),
            }
        }
        bytes
    }
}

fn damaged_directories(suite: &Suite, batch: u64, corpus: &Corpus) {
    if !suite.wants(batch) {
        return;
    }
    let mut random = suite.random(Part::Fuzz, batch);
    let mut findings = Findings::default();
    for _ in 0..BATCH {
        let bytes = corpus.damaged(&mut random, &[]);
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            let mut entries = Entries::default();
            let ended_well = parse_dirents(&bytes, &mut entries).is_ok();
            let names = (0..entries.len()).map(|entry| entries.name(entry).as_bytes().to_vec());
            (names.collect::<Vec<_>>(), ended_well)
        }));
        let Ok((names, ended_well)) = parsed else {
            findings.add(
                Oracle::Bound,
                format!("a panic on {}", bytes.escape_ascii()),
            );
            continue;
        };
        let (expected, sound) = names_in(&bytes);
        let lost: Vec<&[u8]> = expected
            .iter()
            .skip(names.len())
            .map(Vec::as_slice)
            .collect();
        findings.check(Oracle::Loss, lost.is_empty(), || {
            format!("{} lost from {}", some_of(lost), bytes.escape_ascii())
        });
        findings.check(Oracle::Escape, expected.starts_with(&names), || {
            format!("{names:?} read from {}", bytes.escape_ascii())
        });
        findings.check(Oracle::Lie, ended_well == sound, || {
            format!(
                "sound: {sound}, read well: {ended_well}: {}",
                bytes.escape_ascii()
            )
        });
    }
    // A quick execution is not worth a scan: it does not stand behind the oracles of scans, though it may violate them.
    suite.count(Part::Fuzz, batch, &[Oracle::Bound], BATCH, findings);
}

/// The names in a result of `getdents64`, and whether all of it is sound.
fn names_in(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < 19 {
            return (names, false);
        }
        let length = usize::from(bytes[16]) | usize::from(bytes[17]) << 8;
        if length < 19 || length > bytes.len() {
            return (names, false);
        }
        let name: Vec<u8> = bytes[19..length]
            .iter()
            .copied()
            .take_while(|&byte| byte != 0)
            .collect();
        let ended = 19 + name.len() < length;
        if !ended || name.is_empty() || name.contains(&b'/') {
            return (names, false);
        }
        if name != b"." && name != b".." {
            names.push(name);
        }
        bytes = &bytes[length..];
    }
    (names, true)
}

fn damaged_jobs(suite: &Suite, batch: u64, corpus: &Corpus) {
    if !suite.wants(batch) {
        return;
    }
    let mut registry = Registry::new();
    statline_stages::register(&mut registry);
    let mut random = suite.random(Part::Fuzz, batch);
    let mut findings = Findings::default();
    let known = |name: &str| matches!(name, "ROOT" | "OUT").then(|| "/tmp".into());
    let environment: &Environment<'_> = &known;
    for _ in 0..BATCH {
        let text = corpus.damaged(&mut random, &TOKENS);
        let text = String::from_utf8_lossy(&text);
        let began = Instant::now();
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            match Job::parse(&registry, "job.toml", &text, environment, &[]) {
                Ok(job) => drop(job.stages().count()),
                // Messages point into the text, which is where they go wrong.
                Err(problems) => drop(problems.render(false)),
            }
        }));
        findings.check(Oracle::Bound, parsed.is_ok(), || {
            format!("a panic on {text:?}")
        });
        let took = began.elapsed();
        findings.check(Oracle::Bound, took < SOON, || {
            format!("{took:?} for a text of {} bytes", text.len())
        });
    }
    suite.count(Part::Fuzz, batch, &[Oracle::Bound], BATCH, findings);
}

/// Results of `getdents64` as the kernel gives them.
fn directories() -> Vec<Vec<u8>> {
    let record = |name: &[u8], kind: u8, number: u64| {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut record = number.to_ne_bytes().to_vec();
        record.extend((number as i64 * 7).to_ne_bytes());
        record.extend((length as u16).to_ne_bytes());
        record.push(kind);
        record.extend(name);
        record.resize(length, 0);
        record
    };
    let long = [b'n'; 255];
    let sets: [&[&[u8]]; 4] = [
        &[b".", b"..", b"a", b"file with spaces", b"\xff\xfe"],
        &[&long, b"x", &long[..100]],
        &[b"...", b".hidden", b"l\xfe", b"new\nline"],
        &[],
    ];
    let sets = sets.iter().map(|names| {
        let records = names.iter().zip(1..).map(|(name, number)| {
            let kind = [0, 4, 8, 10, 12, 1][number as usize % 6];
            record(name, kind, number)
        });
        records.flatten().collect()
    });
    sets.collect()
}

/// Jobs that are valid, before they are damaged.
fn jobs() -> Vec<Vec<u8>> {
    let ready = [
        include_str!("../../../pipelines/big-files.toml"),
        include_str!("../../../pipelines/full.toml"),
        include_str!("../../../pipelines/inventory.toml"),
        include_str!("../../../pipelines/names.toml"),
        include_str!("../../../pipelines/sorted.toml"),
        include_str!("../../../pipelines/summary.toml"),
    ];
    ready.iter().map(|text| text.as_bytes().to_vec()).collect()
}
