//! `cache`: the file in which a cache remembers.

use std::fmt::Write;
use std::path::Path;

use statline_stages::{StoreError, StoreInfo, compact_store, verify_store};

use crate::args::{CacheCommand, TextFormat};
use crate::escape::{escaped_message, escaped_path};
use crate::exit::{Exit, Failure};
use crate::human::{self, Units};
use crate::terminal::Terminal;

pub(crate) fn cache(command: &CacheCommand, terminal: Terminal) -> Result<Exit, Failure> {
    let text = match command {
        CacheCommand::Info { file, format } => {
            let info = StoreInfo::of(file).map_err(failure)?;
            match format {
                TextFormat::Text => account(file, &info),
                TextFormat::Json => {
                    let json = serde_json::to_string_pretty(&info);
                    json.map_err(|error| Failure::failed(error.to_string()))? + "\n"
                }
            }
        }
        CacheCommand::Verify { file } => {
            verify_store(file).map_err(failure)?;
            format!("{}: sound\n", escaped_path(file))
        }
        CacheCommand::Compact { file } => {
            let (before, after) = compact_store(file).map_err(failure)?;
            format!(
                "{}: {}, before {}\n",
                escaped_path(file),
                human::bytes(after, Units::Binary),
                human::bytes(before, Units::Binary),
            )
        }
    };
    terminal.print(text.as_bytes())?;
    Ok(Exit::Complete)
}

pub(crate) fn failure(error: StoreError) -> Failure {
    Failure::failed(error.to_string())
}

fn account(path: &Path, info: &StoreInfo) -> String {
    let counts = |directories, entries| {
        let entries = human::counted(entries, "entry", "entries");
        let directories = human::counted(directories, "directory", "directories");
        format!("{entries} in {directories}")
    };
    let mut out = format!(
        "{}: {}, {}\n",
        escaped_path(path),
        counts(info.directories, info.entries),
        human::bytes(info.bytes, Units::Binary)
    );
    for root in &info.roots {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {}: {}, {}",
            escaped_message(&root.id),
            counts(root.directories, root.entries),
            human::bytes(root.bytes, Units::Binary)
        );
    }
    if info.digests > 0 {
        let digests = human::counted(info.digests, "digest", "digests");
        let _ = writeln!(out, "  {digests} of contents");
    }
    let _ = match &info.last_run {
        Some(last) => writeln!(
            out,
            "  last written by run {} of {}, which ended {}",
            escaped_message(&last.run_id),
            escaped_message(&last.job),
            escaped_message(&last.finished)
        ),
        None => writeln!(out, "  no run has written to it yet"),
    };
    out
}
