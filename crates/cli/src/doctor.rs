//! `doctor`: what this machine and one mount can do, by trying.
//!
//! One thing must stay true: what could not be found out is said to be so, and never guessed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use statline_platform::{
    Backend, BackendChoice, Concurrency, DirNode, Entries, Fields, Filesystem, Handles, Kind,
    Profile, default_budget, error_code, has_statx_support, open_file_limit, raise_open_file_limit,
    select,
};

use crate::args::{DoctorArguments, TextFormat};
use crate::escape::{escaped_message, escaped_path};
use crate::exit::{Exit, Failure};
use crate::human;
use crate::terminal::{Palette, Terminal};
use crate::trial::Trial;

/// The version of the form of the findings as JSON.
const SCHEMA: u32 = 1;

/// Entries to look at.
const SAMPLE: usize = 1000;

/// How long to look for them: a slow mount is worth a smaller sample.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that was found out.
#[derive(Serialize)]
struct Findings {
    schema: u32,
    path: String,
    cores: usize,
    statx: bool,
    #[serde(serialize_with = "flat")]
    backend: Result<BackendFinding, String>,
    #[serde(serialize_with = "flat")]
    io_uring: Result<IoUringFinding, String>,
    #[serde(serialize_with = "flat")]
    file_system: Result<FileSystemFinding, String>,
    open_files: OpenFiles,
    #[serde(serialize_with = "flat")]
    sample: Result<Sample, String>,
    #[serde(serialize_with = "flat")]
    trial: Result<Trial, String>,
}

/// What was found out, or `{ "error": … }`.
fn flat<T: Serialize, S: Serializer>(
    result: &Result<T, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match result {
        Ok(found) => found.serialize(serializer),
        Err(error) => serializer.collect_map([("error", error)]),
    }
}

#[derive(Serialize)]
struct BackendFinding {
    name: &'static str,
    why: &'static str,
}

#[derive(Serialize)]
struct IoUringFinding {
    /// By one thread.
    calls_at_once: usize,
}

#[derive(Serialize)]
struct FileSystemFinding {
    name: String,
    magic: u32,
    /// Whether there is a profile for it, and not only the one for whatever is unknown.
    known: bool,
    stat_threads: String,
    inode_order: bool,
    chunk: usize,
    interleave: bool,
    pseudo: bool,
    network: bool,
}

#[derive(Serialize)]
struct OpenFiles {
    soft: u64,
    hard: u64,
    /// What the soft limit becomes when statline starts.
    raised: Option<u64>,
    /// How many directories a scan keeps open.
    budget: usize,
}

/// What a few entries tell.
#[derive(Serialize)]
struct Sample {
    entries: usize,
    directories: usize,
    unreadable: usize,
    /// How many entries had their kind listed with their name.
    kinds_listed: usize,
    filled: Vec<&'static str>,
    /// Fields that not every entry had.
    partly: Vec<&'static str>,
    missing: Vec<&'static str>,
    /// What else the backend has to tell of how it reads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<&'static str, String>,
    /// The first stat of each entry.
    first: Option<Times>,
    /// The same again.
    again: Option<Times>,
}

#[derive(Serialize)]
struct Times {
    median_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

pub(crate) fn doctor(arguments: &DoctorArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let path = &arguments.path;
    // The one thing without which there is nothing to tell.
    std::fs::metadata(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    let findings = examine(path);
    match arguments.format {
        TextFormat::Json => terminal.print_json(&findings)?,
        TextFormat::Text => terminal.print(text(&findings, path, terminal.palette()).as_bytes())?,
    }
    Ok(Exit::Complete)
}

fn examine(path: &Path) -> Findings {
    let (soft, hard) = open_file_limit();
    let raised = raise_open_file_limit().ok();
    let backend = select(BackendChoice::Auto).map_err(|error| error.to_string());
    Findings {
        schema: SCHEMA,
        path: path.to_string_lossy().into_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        statx: has_statx_support(),
        io_uring: select(BackendChoice::IoUring)
            .map(|backend| IoUringFinding {
                calls_at_once: backend.calls_at_once(),
            })
            .map_err(|error| error.reason().to_owned()),
        file_system: Filesystem::of_path(path)
            .map(file_system)
            .map_err(|error| error.to_string()),
        open_files: OpenFiles {
            soft,
            hard,
            raised,
            budget: default_budget(),
        },
        sample: match &backend {
            Ok(backend) => sample(path, backend).map_err(|error| error.to_string()),
            Err(_) => Err("no backend works here".to_owned()),
        },
        trial: Trial::of(path),
        backend: backend.map(|backend| BackendFinding {
            name: backend.name(),
            why: match backend.name() {
                "statx" => "a call of statx, made to find out, succeeded",
                "nt" => "this is Windows: NtQueryDirectoryFile gives metadata with the names",
                _ => "statx is not to be had here: another system, a kernel before 4.11, or a filter of calls",
            },
        }),
    }
}

fn file_system(found: Filesystem) -> FileSystemFinding {
    let Profile {
        stat_threads,
        inode_order,
        chunk,
        interleave,
        pseudo,
        network,
        ..
    } = *found.profile();
    FileSystemFinding {
        name: found.to_string(),
        magic: found.magic(),
        known: found.name() != "unknown",
        stat_threads: match stat_threads {
            Concurrency::PerCore(1) => "one for each core".to_owned(),
            Concurrency::PerCore(count) => format!("{count} for each core"),
            Concurrency::Range { min, .. } => min.to_string(),
            Concurrency::Fixed(count) => count.to_string(),
        },
        inode_order,
        chunk,
        interleave,
        pseudo,
        network,
    }
}

/// Entries of one directory that were listed.
struct Listed {
    directory: Arc<DirNode>,
    entries: Entries,
}

fn sample(root: &Path, backend: &Arc<dyn Backend>) -> std::io::Result<Sample> {
    let handles = Handles::new(Arc::clone(backend), default_budget());
    let begin = Instant::now();
    let never = || false;
    let mut queue = VecDeque::from([handles.open_root(root)?]);
    let mut listed: Vec<Listed> = Vec::new();
    let mut unreadable = 0;
    let mut count = 0;
    while let Some(directory) = queue.pop_front() {
        if count >= SAMPLE || begin.elapsed() > PATIENCE {
            break;
        }
        let mut entries = Entries::default();
        let read = handles.list(&directory, &never).and_then(|mut listing| {
            while entries.len() + count < SAMPLE && listing.read(&mut entries)? {}
            Ok(())
        });
        unreadable += usize::from(read.is_err());
        count += entries.len();
        for index in 0..entries.len() {
            if entries.kind(index) == Some(Kind::Directory) {
                queue.push_back(DirNode::child(&directory, entries.name(index)));
            }
        }
        listed.push(Listed { directory, entries });
    }
    let mut sample = Sample {
        entries: 0,
        directories: listed.len(),
        unreadable,
        kinds_listed: 0,
        filled: Vec::new(),
        partly: Vec::new(),
        missing: Vec::new(),
        details: listed
            .first()
            .and_then(|first| handles.pin(&first.directory, &never).ok())
            .map(|root| backend.details(&root).into_iter().collect())
            .unwrap_or_default(),
        first: None,
        again: None,
    };
    let mut all = Fields::ALL;
    let mut any = Fields::empty();
    let mut times = [Vec::new(), Vec::new()];
    for (round, times) in times.iter_mut().enumerate() {
        for Listed { directory, entries } in &listed {
            let Ok(handle) = handles.pin(directory, &never) else {
                continue;
            };
            for index in 0..entries.len().min(SAMPLE) {
                let begin = Instant::now();
                let stat = backend.stat(&handle, entries.name(index), Fields::ALL, false);
                times.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
                if round > 0 {
                    continue;
                }
                match stat {
                    Ok(metadata) => {
                        all &= metadata.fields();
                        any |= metadata.fields();
                        sample.entries += 1;
                        sample.kinds_listed += usize::from(entries.kind(index).is_some());
                    }
                    Err(error) if error_code(&error) == "ENOENT" => {}
                    Err(_) => sample.unreadable += 1,
                }
            }
        }
    }
    if sample.entries > 0 {
        // Only device files have one.
        let optional = Fields::RDEV;
        sample.filled = all.names().collect();
        sample.partly = (any - all - optional).names().collect();
        sample.missing = (Fields::ALL - any - optional).names().collect();
    }
    let [first, again] = times;
    sample.first = Times::of(first);
    sample.again = Times::of(again);
    Ok(sample)
}

impl Times {
    fn of(mut times: Vec<u64>) -> Option<Times> {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied();
        Some(Times {
            median_ns: at(50)?,
            p99_ns: at(99)?,
            max_ns: times.last().copied()?,
        })
    }
}

fn text(findings: &Findings, path: &Path, palette: Palette) -> String {
    let Palette { bold, reset, .. } = palette;
    let mut out = format!("{bold}{}{reset}\n", escaped_path(path));
    let mut line = |label: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {label:<15} {}", escaped_message(text));
    };
    match &findings.file_system {
        Ok(found) => {
            let magic = match found.magic {
                0 => String::new(),
                magic => format!(" (magic 0x{magic:x})"),
            };
            line("file system", &format!("{}{magic}", found.name));
            for (index, advice) in advice(found).iter().enumerate() {
                line(if index == 0 { "profile" } else { "" }, advice);
            }
        }
        Err(error) => line("file system", &format!("cannot tell: {error}")),
    }
    match &findings.backend {
        Ok(backend) => line("backend", &format!("{}: {}", backend.name, backend.why)),
        Err(error) => line("backend", &format!("none: {error}")),
    }
    line(
        "statx",
        if findings.statx {
            "supported"
        } else {
            "not supported"
        },
    );
    match &findings.io_uring {
        Ok(found) => line(
            "io_uring",
            &format!(
                "works: a thread may have {} calls under way; used only if asked for (--backend io_uring)",
                found.calls_at_once
            ),
        ),
        Err(reason) => line("io_uring", &format!("not to be had: {reason}")),
    }
    match &findings.sample {
        Ok(sample) => sample.lines(&mut line),
        Err(error) => line("sample", &format!("cannot tell: {error}")),
    }
    match &findings.trial {
        Ok(trial) => trial.lines(&mut line),
        Err(error) => line("trial scan", &format!("cannot tell: {error}")),
    }
    let files = &findings.open_files;
    let raised = match files.raised {
        Some(raised) if raised > files.soft => {
            format!(", which statline raises to {}", human::count(raised))
        }
        Some(_) => String::new(),
        None => format!(", which cannot be raised to {}", human::count(files.hard)),
    };
    let limit = match files.soft {
        u64::MAX => "no limit".to_owned(),
        soft => format!("at most {}", human::count(soft)),
    };
    line(
        "open files",
        &format!(
            "{limit}{raised}; a scan keeps at most {} directories open",
            human::count(files.budget as u64)
        ),
    );
    line("cores", &findings.cores.to_string());
    out
}

fn advice(found: &FileSystemFinding) -> Vec<String> {
    let mut advice = Vec::new();
    if !found.known {
        advice.push("there is none for this file system; this is what fits most".to_owned());
    }
    advice.push(format!("threads to begin with: {}", found.stat_threads));
    advice.push(format!(
        "stat {} entries in one go, in the order of {}",
        human::count(found.chunk as u64),
        if found.inode_order {
            "inode numbers"
        } else {
            "the directory"
        }
    ));
    if found.interleave {
        advice.push(
            "stat right after listing: the server sends attributes with the names".to_owned(),
        );
    }
    if found.network {
        advice.push("calls may cross a network".to_owned());
    }
    if found.pseudo {
        advice.push("made up by the kernel: a scan enters it only if it is a root".to_owned());
    }
    advice
}

impl Sample {
    fn lines(&self, line: &mut dyn FnMut(&str, &str)) {
        let of = format!(
            "{} in {}",
            human::counted(self.entries as u64, "entry", "entries"),
            human::counted(self.directories as u64, "directory", "directories")
        );
        if self.entries == 0 {
            line(
                "sample",
                &format!("{of}: too few to tell about names, fields and costs"),
            );
        } else {
            let kinds = match (self.kinds_listed, self.entries) {
                (listed, entries) if listed == entries => {
                    "listed with the names (d_type), so names alone need no stat".to_owned()
                }
                (0, _) => {
                    "not listed with the names (no d_type): every entry needs a stat".to_owned()
                }
                (listed, entries) => {
                    format!("listed with the names (d_type) of {listed} in {entries}")
                }
            };
            line("kinds", &kinds);
            line("fields", &self.filled.join(" "));
            if !self.partly.is_empty() {
                line(
                    "",
                    &format!("only some entries have: {}", self.partly.join(" ")),
                );
            }
            if !self.missing.is_empty() {
                line("", &format!("not to be had: {}", self.missing.join(" ")));
            }
        }
        for (name, text) in &self.details {
            line(&name.replace('_', " "), text);
        }
        let time = |nanoseconds| human::short_duration(Duration::from_nanos(nanoseconds));
        let cost = |times: &Times| {
            format!(
                "median {}, p99 {}, max {}",
                time(times.median_ns),
                time(times.p99_ns),
                time(times.max_ns)
            )
        };
        if let (Some(first), Some(again)) = (&self.first, &self.again) {
            line(
                "cost of a stat",
                &format!("{}, the first time", cost(first)),
            );
            line("", &format!("{}, again ({of})", cost(again)));
        }
        if self.unreadable > 0 {
            line("", &format!("{} could not be read", self.unreadable));
        }
    }
}
