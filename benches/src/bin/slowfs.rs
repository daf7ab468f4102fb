//! A file system that answers as slowly as it is told, in a process of its own.
//!
//! What it costs to serve must not count for whoever is measured, in processor time or in memory. It mounts, says where on one
//! line of standard output, and serves until its standard input ends, which it does when whoever started it ends, however that
//! happens. Then it unmounts and says on another line what was asked of it.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use statline_benches::slow::{Served, Slow};
use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, Shape, TestFs, Tree};

/// Far more than anybody waits for, and few enough for every number that is made of it.
const MOST_ENTRIES: u64 = 1 << 40;

/// How long the kernel may believe attributes and names: what network file systems begin with.
const CACHED: Duration = Duration::from_secs(1);

/// Between two looks at how many calls are under way.
const LOOK: Duration = Duration::from_millis(10);

/// Mount a generated tree whose every call takes a while, print where, and serve it until standard input ends.
///
/// Needs the right to mount. Names and attributes are cached for a second.
#[derive(Debug, Parser)]
#[command(name = "slowfs")]
struct Arguments {
    #[command(flatten)]
    slow: Slow,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().slow) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slowfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(slow: &Slow) -> io::Result<()> {
    let (end, ended) = channel();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let signalled = end.clone();
    thread::spawn(move || {
        for _ in &mut signals {
            // Nobody listens any more when it is over already.
            let _ = signalled.send(());
        }
    });
    let mounted = file_system(slow)?.mount()?;
    say(&mounted.path().display().to_string())?;
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut ignored = [0; 64];
        while matches!(input.read(&mut ignored), Ok(read) if read > 0) {}
        let _ = end.send(());
    });
    let served = watch(&mounted, &ended);
    drop(mounted);
    say(&serde_json::to_string(&served)?)
}

fn file_system(slow: &Slow) -> io::Result<TestFs> {
    if slow.entries().is_none_or(|entries| entries > MOST_ENTRIES) {
        let message = format!("{slow:?} has more than {MOST_ENTRIES} entries");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let tree = Tree::of(Shape::balanced(slow.fan_out, slow.depth, slow.files));
    let mut file_system = TestFs::generated(tree)
        .attribute_timeout(CACHED)
        .entry_timeout(CACHED);
    if slow.latency_us > 0 {
        let mut rule = Rule::on(Operations::ALL)
            .latency(Duration::from_micros(slow.latency_us))
            .after(slow.after);
        if let Some(calls) = slow.calls {
            rule = rule.times(calls);
        }
        file_system = file_system.rule(rule);
    }
    if let Some(calls) = slow.at_once {
        file_system = file_system.serve_at_once(usize::try_from(calls.get()).unwrap_or(usize::MAX));
    }
    Ok(file_system)
}

/// Looks at how many calls are under way until it is over.
fn watch(mounted: &Mounted, ended: &Receiver<()>) -> Served {
    let mut under_way = Vec::new();
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let counts = mounted.counts();
        let waited_for = Operation::ALL
            .into_iter()
            .filter(|operation| !matches!(operation, Operation::Releasedir | Operation::Release))
            .map(|operation| counts.in_flight(operation))
            .sum::<u64>();
        // Before the first call and after the last one nobody is there.
        if waited_for > 0 {
            under_way.push(waited_for);
        }
    }
    under_way.sort_unstable();
    let counts = mounted.counts();
    Served {
        calls: counts.all_calls(),
        lookups: counts.calls(Operation::Lookup),
        at_once_median: under_way.get(under_way.len() / 2).copied().unwrap_or(0),
        at_once_most: under_way.last().copied().unwrap_or(0),
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
