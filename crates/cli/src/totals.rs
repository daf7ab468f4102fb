//! The result of a `summary` stage, as people read it.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use statline_stages::{Breakdown, Group, LargeFile, Share, Summary};

use crate::escape::escaped;
use crate::human::{self, Units};
use crate::table::{Align, Table};
use crate::terminal::Palette;

/// More rows of a breakdown than fit on a screen are for the report.
const MOST_ROWS: usize = 20;

/// The totals in two or three lines.
pub(crate) fn lines(summary: &Summary, errors: u64, units: Units) -> String {
    let mut kinds = vec![
        human::counted(summary.files, "file", "files"),
        human::counted(summary.directories, "directory", "directories"),
        human::counted(summary.symlinks, "symlink", "symlinks"),
    ];
    if summary.others > 0 {
        kinds.push(human::counted(summary.others, "other", "others"));
    }
    kinds.push(human::counted(errors, "error", "errors"));
    let mut space = Vec::new();
    if let Some(bytes) = summary.apparent_bytes {
        space.push(format!("{} apparent", human::bytes(bytes, units)));
    }
    if let Some(bytes) = summary.allocated_bytes {
        space.push(format!("{} allocated", human::bytes(bytes, units)));
    }
    match summary.hard_links {
        Some(0) | None => {}
        Some(links) => space.push(format!(
            "{} counted once",
            human::counted(links, "hard link", "hard links")
        )),
    }
    let unknown = summary.without_size.max(summary.without_allocated);
    if !space.is_empty() && unknown > 0 {
        space.push(format!("{} of unknown size", human::count(unknown)));
    }
    let lines = [kinds, space].into_iter().filter(|line| !line.is_empty());
    lines
        .map(|line| format!("  {}\n", line.join(" · ")))
        .collect()
}

/// The largest files and the breakdowns, each under its heading.
pub(crate) fn tables(summary: &Summary, units: Units, palette: Palette) -> String {
    let Palette { bold, reset, .. } = palette;
    let mut out = String::new();
    if !summary.largest.is_empty() {
        let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
        for file in &summary.largest {
            table.row([human::bytes(file.bytes, units), path(file)]);
        }
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "\n  {bold}largest files{reset}\n{}",
            table.render(palette)
        );
    }
    for breakdown in &summary.breakdowns {
        out.push('\n');
        out.push_str(&self::breakdown(breakdown, units, palette));
    }
    out
}

fn breakdown(breakdown: &Breakdown, units: Units, palette: Palette) -> String {
    let by = breakdown.by.as_str();
    let mut table = Table::new(&[
        (by, Align::Left),
        ("entries", Align::Right),
        ("apparent", Align::Right),
        ("allocated", Align::Right),
    ]);
    let mut row = |value: String, share: &Share| {
        table.row([
            value,
            human::count(share.entries),
            human::bytes(share.apparent_bytes, units),
            human::bytes(share.allocated_bytes, units),
        ]);
    };
    for group in breakdown.groups.iter().take(MOST_ROWS) {
        row(value(group), &group.share);
    }
    let more = breakdown.groups.len().saturating_sub(MOST_ROWS);
    if let Some(other) = &breakdown.other {
        row("(without room)".to_owned(), other);
    }
    let mut out = table.render(palette);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more, which are in the report");
    }
    out
}

fn path(file: &LargeFile) -> String {
    text(file.path.as_deref(), file.path_b64.as_deref())
}

fn value(group: &Group) -> String {
    match text(group.value.as_deref(), group.value_b64.as_deref()) {
        empty if empty.is_empty() => "(none)".to_owned(),
        value => value,
    }
}

/// A name that is UTF-8, or base64 if it is not.
fn text(utf8: Option<&str>, base64: Option<&str>) -> String {
    match (utf8, base64) {
        (Some(text), _) => escaped(text.as_bytes()),
        (None, Some(base64)) => BASE64_STANDARD
            .decode(base64)
            .map_or_else(|_| escaped(base64.as_bytes()), |bytes| escaped(&bytes)),
        (None, None) => String::new(),
    }
}
