//! Tables: of stages, of channels, of anything in columns.

use std::fmt::Write;
use std::time::Duration;

use statline_pipeline::{EdgeReport, Latency, RunReport, StageReport};

use crate::escape::escaped_message;
use crate::human;
use crate::terminal::Palette;

/// Rows under a heading, their columns as wide as they need to be.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    marked: Option<usize>,
}

struct Column {
    heading: &'static str,
    align: Align,
}

/// Where the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Table {
        let columns = columns.iter();
        Table {
            columns: columns
                .map(|&(heading, align)| Column { heading, align })
                .collect(),
            rows: Vec::new(),
            marked: None,
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // Names of stages come from reports as well, which anybody can write.
        let cells = cells.into_iter().map(|cell| escaped_message(&cell));
        self.rows.push(cells.collect());
    }

    /// Makes the last row stand out.
    fn mark(&mut self) {
        self.marked = self.rows.len().checked_sub(1);
    }

    /// The table, each line indented by two.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells = cells.map(|cell| cell.chars().count());
            let heading = self.columns[index].heading.chars().count();
            cells.chain([heading]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for ((cell, column), width) in cells.zip(&self.columns).zip(&widths) {
                let pad = " ".repeat(width - cell.chars().count());
                match column.align {
                    Align::Left => line.extend([" ", cell, &pad, " "]),
                    Align::Right => line.extend([" ", &pad, cell, " "]),
                }
            }
            line.trim_end().to_owned()
        };
        let Palette {
            bold, dim, reset, ..
        } = palette;
        let mut out = String::new();
        if self.columns.iter().any(|column| !column.heading.is_empty()) {
            let heading = line(&mut self.columns.iter().map(|column| column.heading));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{dim}{heading}{reset}");
        }
        for (index, row) in self.rows.iter().enumerate() {
            let line = line(&mut row.iter().map(String::as_str));
            let _ = match self.marked == Some(index) {
                true => writeln!(out, "{bold}{line}{reset}"),
                false => writeln!(out, "{line}"),
            };
        }
        out
    }
}

/// The stages of a run; the one that limits it stands out.
pub(crate) fn stages(report: &RunReport, palette: Palette) -> String {
    let limit = report.limit.as_ref().map(|limit| limit.stage.as_str());
    stage_table(&report.stages, limit, palette)
}

/// The stages of a run that goes on, with how long it has.
#[cfg(unix)]
pub(crate) fn snapshot(snapshot: &statline_pipeline::Snapshot, palette: Palette) -> String {
    let elapsed = Duration::try_from_secs_f64(snapshot.elapsed_seconds).unwrap_or_default();
    format!(
        "after {}\n{}",
        human::duration(elapsed),
        stage_table(&snapshot.stages, None, palette)
    )
}

fn stage_table(stages: &[StageReport], limit: Option<&str>, palette: Palette) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("stage", Left),
        ("type", Left),
        ("threads", Right),
        ("items", Right),
        ("service p50", Right),
        ("p99", Right),
        ("max", Right),
        ("busy", Right),
        ("waited", Right),
        ("blocked", Right),
    ]);
    for stage in stages {
        table.row(
            [
                stage.name.clone(),
                stage.kind.clone(),
                stage.threads.to_string(),
                human::short_count(items(stage)),
            ]
            .into_iter()
            .chain(latency(&stage.service))
            .chain([
                human::percent(stage.busy_share),
                human::percent(stage.waited_share),
                human::percent(stage.blocked_share),
            ]),
        );
        if limit == Some(&stage.name) {
            table.mark();
        }
    }
    table.render(palette)
}

/// What went through a stage: what it sent, or received if it is an end.
pub(crate) fn items(stage: &StageReport) -> u64 {
    match stage.items_out {
        0 => stage.items_in,
        items => items,
    }
}

fn latency(latency: &Latency) -> [String; 3] {
    match latency.count {
        0 => ["–", "–", "–"].map(str::to_owned),
        _ => [latency.p50_ns, latency.p99_ns, latency.max_ns]
            .map(|time| human::short_duration(Duration::from_nanos(time))),
    }
}

/// The channels of a run.
pub(crate) fn channels(edges: &[EdgeReport], palette: Palette) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("channel", Left),
        ("carries", Left),
        ("messages", Right),
        ("holds", Right),
        ("mean", Right),
        ("most", Right),
    ]);
    for edge in edges {
        table.row([
            format!("{} → {}", edge.from.join(", "), edge.to),
            edge.message.clone(),
            human::short_count(edge.received),
            edge.capacity.to_string(),
            format!("{:.1}", edge.depth_mean),
            edge.depth_max.to_string(),
        ]);
    }
    table.render(palette)
}

/// How long messages were waited for, and how long handing them over took.
pub(crate) fn waits(stages: &[StageReport], palette: Palette) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("stage", Left),
        ("waiting p50", Right),
        ("p99", Right),
        ("max", Right),
        ("blocked p50", Right),
        ("p99", Right),
        ("max", Right),
    ]);
    for stage in stages {
        let cells = [stage.name.clone()].into_iter();
        table.row(
            cells
                .chain(latency(&stage.wait))
                .chain(latency(&stage.blocked)),
        );
    }
    table.render(palette)
}

/// What the stages counted themselves, one line a stage.
pub(crate) fn counters(stages: &[StageReport]) -> String {
    let mut out = String::new();
    for stage in stages {
        let counters = stage.counters.iter().filter(|(_, number)| **number > 0);
        let counters: Vec<String> = counters
            .map(|(name, number)| format!("{} {}", human::count(*number), escaped_message(name)))
            .collect();
        if !counters.is_empty() {
            let name = escaped_message(&stage.name);
            let _ = writeln!(out, "  {name}: {}", counters.join(" · "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(&[("name", Align::Left), ("µs", Align::Right)]);
        table.row(["walk".to_owned(), "1".to_owned()]);
        table.row(["m".to_owned(), "12 µs".to_owned()]);
        assert_eq!(
            table.render(Palette::new(false)),
            "  name     µs\n  walk      1\n  m     12 µs\n"
        );
    }
}
