//! Whether io_uring pays: calls a second, and processor time a call, of the backends `statx` and `io_uring`.
//!
//! ```text
//! cargo bench -p statline-benches --bench rings                 # everything, ten minutes
//! cargo bench -p statline-benches --bench rings -- 5ms 8 512    # one mount: hot, cold, 0.5ms, 5ms or 20ms; two numbers of threads
//! ```
//!
//! Both answer the same question, the metadata of many names of one directory, shared out in slices among a number of
//! threads: names in memory; the same after the caches were dropped (needs root); on a file system that answers after 0.5,
//! after 5 and after 20 ms. The two take turns, and what is written is the median of three turns each. The file system with the
//! latency runs in this process, so its time is part of what a call costs. There are 32 rings at the most: beyond so many
//! threads the others ask as `statx` does, and the column is about a mixture.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use statline_platform::{
    Backend, BackendChoice, Entries, Fields, Handle, raise_open_file_limit, select,
};
use statline_testfs::fuse::{Operations, Rule, Shape, TestFs, Tree};

/// Names in the directory.
const NAMES: usize = 50_000;

/// Names that a thread takes at a time. Stages take 64 to 1,024.
const SLICE: usize = 256;

/// How long a turn lasts at least; threads finish the slice that they have in hand.
const TURN: Duration = Duration::from_millis(700);

const TURNS: usize = 3;

const THREADS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

type Failure = Box<dyn std::error::Error>;

/// What is measured, and how much of it.
struct Plan {
    names: usize,
    turn: Duration,
    turns: usize,
    threads: Vec<usize>,
    /// The mounts to measure, all if none is named.
    only: Vec<String>,
}

impl Plan {
    fn includes(&self, mount: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == mount)
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test` does not, and is to see that this still works.
    let measures = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| !argument.starts_with("--"));
    let mut threads: Vec<usize> = arguments
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    arguments.retain(|argument| argument.parse::<usize>().is_err());
    if threads.is_empty() {
        threads = THREADS.to_vec();
    }
    let plan = match measures {
        true => Plan {
            names: NAMES,
            turn: TURN,
            turns: TURNS,
            threads,
            only: arguments,
        },
        false => Plan {
            names: 100,
            turn: Duration::ZERO,
            turns: 1,
            threads: vec![1, 2],
            only: Vec::new(),
        },
    };
    // Directories, rings, and the mount of this very process.
    raise_open_file_limit()?;
    let statx = select(BackendChoice::Statx)?;
    let rings = match select(BackendChoice::IoUring) {
        Ok(rings) => rings,
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    let backends = [statx, rings];
    if plan.includes("hot") || plan.includes("cold") {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for index in 0..plan.names {
            File::create(directory.path().join(format!("file-{index}")))?;
        }
        if plan.includes("hot") {
            table("hot", directory.path(), &plan, &backends, None)?;
        }
        // Whoever tests has more to lose by it than a measurement.
        if measures && plan.includes("cold") {
            File::open(directory.path())?.sync_all()?;
            table(
                "cold",
                directory.path(),
                &plan,
                &backends,
                Some(drop_caches),
            )?;
        }
    }
    for (name, latency) in [
        ("0.5ms", Duration::from_micros(500)),
        ("5ms", Duration::from_millis(5)),
        ("20ms", Duration::from_millis(20)),
    ] {
        if !plan.includes(name) {
            continue;
        }
        let tree = Tree::of(Shape::files(plan.names as u64));
        // Attributes are cached and names are not, so that each call is one question to the server.
        let mount = TestFs::generated(tree)
            .attribute_timeout(Duration::from_secs(1))
            .rule(Rule::on(Operations::ALL).latency(latency));
        match mount.mount() {
            Ok(mounted) => table(name, mounted.path(), &plan, &backends, None)?,
            Err(error) => println!("{name}: cannot be mounted: {error}"),
        }
    }
    Ok(())
}

/// What a turn came to.
#[derive(Clone, Copy)]
struct Measured {
    calls_a_second: f64,
    /// Of the whole process, in microseconds.
    processor_a_call: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured {
            calls_a_second,
            processor_a_call,
        } = self;
        write!(f, "{calls_a_second:>9.0}/s {processor_a_call:>6.1} us")
    }
}

/// Measures a mount with each number of threads.
fn table(
    name: &str,
    path: &Path,
    plan: &Plan,
    backends: &[Arc<dyn Backend>; 2],
    before: Option<fn() -> Result<(), Failure>>,
) -> Result<(), Failure> {
    let (handle, entries) = list(&*backends[0], path)?;
    println!("\n{name}: {} names, {SLICE} a slice", entries.len());
    println!("threads                 statx              io_uring   rate");
    for &threads in &plan.threads {
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..plan.turns {
            for (backend, measured) in backends.iter().zip(&mut measured) {
                if let Some(before) = before {
                    before()?;
                }
                // A cold directory is cold once.
                let once = before.is_some();
                measured.push(turn(
                    &**backend, &handle, &entries, threads, plan.turn, once,
                )?);
            }
        }
        let [statx, rings] = measured.map(median);
        let rate = rings.calls_a_second / statx.calls_a_second;
        println!("{threads:>7}  {statx}  {rings}  {rate:>5.2}");
    }
    Ok(())
}

fn list(backend: &dyn Backend, path: &Path) -> Result<(Handle, Entries), Failure> {
    let handle = backend.open_root(path)?;
    let mut entries = Entries::default();
    while backend.read_names(&handle, &mut entries)? {}
    Ok((handle, entries))
}

/// Asks for the metadata of all names over and over until the turn is over, or `once`.
fn turn(
    backend: &dyn Backend,
    handle: &Handle,
    entries: &Entries,
    threads: usize,
    duration: Duration,
    once: bool,
) -> Result<Measured, Failure> {
    let mut order: Vec<u32> = (0..).take(entries.len()).collect();
    // As stages ask on file systems to which it matters.
    order.sort_by_key(|&index| entries.inode_hint(index as usize));
    let slices: Vec<&[u32]> = order.chunks(SLICE).collect();
    let (taken, failed, calls) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let processor = processor_time()?;
    let begin = Instant::now();
    let work = || {
        while begin.elapsed() < duration || taken.load(Ordering::Relaxed) == 0 || once {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            if once && number >= slices.len() {
                break;
            }
            let slice = slices[number % slices.len()];
            backend.stat_each(
                handle,
                entries,
                slice,
                Fields::ALL,
                false,
                &mut |_, result| {
                    failed.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
                },
            );
            calls.fetch_add(slice.len(), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let elapsed = begin.elapsed();
    let processor = processor_time()?.saturating_sub(processor);
    match failed.into_inner() {
        0 => {}
        failed => return Err(format!("{failed} calls failed").into()),
    }
    let calls = calls.into_inner() as f64;
    Ok(Measured {
        calls_a_second: calls / elapsed.as_secs_f64(),
        processor_a_call: processor.as_secs_f64() * 1e6 / calls,
    })
}

fn median(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|one, other| one.calls_a_second.total_cmp(&other.calls_a_second));
    measured[measured.len() / 2]
}

/// The processor time that this process has used, in user and kernel mode, the threads of its rings included.
fn processor_time() -> Result<Duration, Failure> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(
        time.tv_sec.try_into()?,
        time.tv_nsec.try_into()?,
    ))
}

/// Has the kernel forget names and inodes, and what it read of disks.
fn drop_caches() -> Result<(), Failure> {
    fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| format!("cold needs the right to drop caches: {error}").into())
}
