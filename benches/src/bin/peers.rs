//! One peer, in a process of its own, so that its memory can be measured.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use serde::Serialize;
use statline_benches::peers::{Peer, Tally};

/// Walk DIR the way another program would, and print a line of JSON.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Arguments {
    /// How to walk
    #[arg(value_enum)]
    peer: Peer,
    /// The tree
    directory: PathBuf,
    /// Threads, where the peer has them [default: one for each core]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

/// `compare` reads `entries` and `errors`.
#[derive(Debug, Serialize)]
struct Report {
    tool: Peer,
    seconds: f64,
    #[serde(flatten)]
    tally: Tally,
}

fn main() -> ExitCode {
    let Arguments {
        peer,
        directory,
        threads,
    } = Arguments::parse();
    let threads = threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let start = Instant::now();
    let tally = peer.walk(&directory, threads);
    match serde_json::to_string(&Report {
        tool: peer,
        seconds: start.elapsed().as_secs_f64(),
        tally,
    }) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("peers: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}
