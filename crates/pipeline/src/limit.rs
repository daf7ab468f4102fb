//! Which stage held a run back, and how one can tell.

use serde::{Deserialize, Serialize};

use crate::declare::ERRORS_OUTPUT;
use crate::report::{EdgeReport, StageReport};

/// Below this part of the run, no stage is called busy.
const BUSY: f64 = 0.25;

/// Where fewer than this part of a stage's threads were at hand on average, that is worth telling.
const MOSTLY: f64 = 0.9;

/// The stage that limits a run: with it faster, the run would be faster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The stage.
    pub stage: String,
    /// The finding and its reason, in one sentence.
    pub explanation: String,
}

/// The stage whose threads were busy for the largest part of the run, but for the time that they were parked or had not
/// been started: there were as many as paid. Its neighbours are the witnesses: those before it
/// wait to hand over, those after it wait for input.
pub(crate) fn find(stages: &[StageReport], edges: &[EdgeReport]) -> Option<Limit> {
    let limit = stages
        .iter()
        .max_by(|a, b| a.busy_share.total_cmp(&b.busy_share))?;
    if limit.busy_share < BUSY {
        return None;
    }
    let before = neighbour(
        stages,
        |stage| feeds(edges, &stage.name, &limit.name),
        |stage| stage.blocked_share,
    );
    let after = neighbour(
        stages,
        |stage| feeds(edges, &limit.name, &stage.name),
        |stage| stage.waited_share,
    );
    let mut witnesses = Vec::new();
    if let Some(stage) = before {
        witnesses.push(format!(
            "{} waited to hand over ({})",
            stage.name,
            percent(stage.blocked_share)
        ));
    }
    if let Some(stage) = after {
        witnesses.push(format!(
            "{} waited for input ({})",
            stage.name,
            percent(stage.waited_share)
        ));
    }
    let threads = match limit.threads {
        1 => "its thread was".to_owned(),
        threads if limit.threads_mean < threads as f64 * MOSTLY => format!(
            "its threads, {:.1} of {threads} on average, were",
            limit.threads_mean
        ),
        threads => format!("its {threads} threads were"),
    };
    let mut explanation = format!(
        "{} limits this run: {threads} busy {} of the time",
        limit.name,
        percent(limit.busy_share)
    );
    if !witnesses.is_empty() {
        explanation.push_str(" while ");
        explanation.push_str(&witnesses.join(" and "));
    }
    Some(Limit {
        stage: limit.name.clone(),
        explanation,
    })
}

/// The stage among those chosen that has most to say, if it has something to say.
fn neighbour(
    stages: &[StageReport],
    chosen: impl Fn(&StageReport) -> bool,
    share: impl Fn(&StageReport) -> f64,
) -> Option<&StageReport> {
    let candidates = stages
        .iter()
        .filter(|stage| chosen(stage) && share(stage) >= 0.1);
    candidates.max_by(|a, b| share(a).total_cmp(&share(b)))
}

fn feeds(edges: &[EdgeReport], from: &str, to: &str) -> bool {
    // Whoever only reads a stage's errors is no witness: that it waits is a good sign.
    let is_data = |output: &str| match output.strip_prefix(from) {
        Some("") => true,
        Some(port) => port.starts_with('.') && port[1..] != *ERRORS_OUTPUT,
        None => false,
    };
    edges
        .iter()
        .any(|edge| edge.to == to && edge.from.iter().any(|output| is_data(output)))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
