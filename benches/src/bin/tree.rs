//! Makes a reproducible tree to measure on.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use statline_benches::tree::{self, Parameters, Shape};

/// Make a reproducible tree of sparse files in DIR, and DIR.tree.json beside it.
///
/// Nothing is done when DIR holds that very tree already; nothing is ever deleted.
#[derive(Debug, Parser)]
#[command(name = "tree")]
struct Arguments {
    /// Where to make it: a directory that is missing, or empty
    directory: PathBuf,
    /// Entries below DIR, of all kinds together
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// The same seed makes the same tree
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How directories hang together
    #[arg(long, value_enum, default_value_t = Shape::Realistic)]
    shape: Shape,
}

fn main() -> ExitCode {
    let Arguments {
        directory,
        entries,
        seed,
        shape,
    } = Arguments::parse();
    match tree::make(
        &directory,
        Parameters {
            entries,
            seed,
            shape,
        },
    ) {
        Ok(made) => {
            let counts = made.counts;
            let state = if made.already_there {
                "already there: "
            } else {
                ""
            };
            println!(
                "{state}{} entries: {} directories, {} files ({} bytes apparent), {} symbolic links, {} hard links",
                counts.entries,
                counts.directories,
                counts.files,
                counts.apparent_bytes,
                counts.symlinks,
                counts.hard_links
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tree: {error}");
            ExitCode::FAILURE
        }
    }
}
