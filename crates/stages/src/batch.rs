//! `batch`: regroups names into batches of an even size.
//!
//! Waiting for company costs latency and gains nothing while the next stage has nothing to do, so a batch goes out as
//! soon as its reader is idle; only a busy reader makes it grow. What is urgent waits for nobody.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Outlet, OutputPort, Period,
    StageError, Transform,
};

use crate::EntryBatch;

/// Options of `batch`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BatchConfig {
    /// Entries in a batch at the most: 1 to 65536.
    #[serde(deserialize_with = "max_entries")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_entries: usize,
    /// How long an entry may wait for company while the next stage is busy.
    pub max_delay: Period,
}

const MAX_ENTRIES: RangeInclusive<usize> = 1..=65_536;
const MAX_ENTRIES_EXPECTED: &str = "a number of entries from 1 to 65536";

fn max_entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = usize::deserialize(deserializer)?;
    match MAX_ENTRIES.contains(&count) {
        true => Ok(count),
        false => Err(de::Error::invalid_value(
            de::Unexpected::Unsigned(count as u64),
            &MAX_ENTRIES_EXPECTED,
        )),
    }
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig {
            max_entries: 1024,
            max_delay: Period::new(Duration::from_millis(5)),
        }
    }
}

/// The kind `batch`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch;

impl Kind for Batch {
    type Config = BatchConfig;
    type Ports = (InputPort<EntryBatch>, OutputPort<EntryBatch>);

    fn about(&self) -> &'static str {
        "regroups names into batches of an even size"
    }

    fn declare(&self, config: Option<&BatchConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        if let Some(config) = config
            && !MAX_ENTRIES.contains(&config.max_entries)
        {
            let found = config.max_entries;
            let message = format!("expected {MAX_ENTRIES_EXPECTED}, found {found}");
            ports.problem("max_entries", message, None);
        }
        let properties = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.clone());
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties.unwrap_or_default()),
        )
    }

    fn open(
        &self,
        config: BatchConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        stage.transform(&input, &output, |_| {
            Ok(Regroup {
                config,
                pending: EntryBatch::default(),
                since: None,
            })
        })
    }
}

struct Regroup {
    config: BatchConfig,
    pending: EntryBatch,
    /// When the first of the pending entries came.
    since: Option<Instant>,
}

impl Regroup {
    fn flush(&mut self, out: &mut Outlet<EntryBatch>) -> Result<(), StageError> {
        self.since = None;
        if self.pending.is_empty() {
            return Ok(());
        }
        let next = EntryBatch::with_capacity(self.config.max_entries);
        out.send(std::mem::replace(&mut self.pending, next))
    }
}

impl Transform for Regroup {
    type In = EntryBatch;
    type Out = EntryBatch;

    fn apply(
        &mut self,
        mut message: EntryBatch,
        out: &mut Outlet<EntryBatch>,
    ) -> Result<(), StageError> {
        let full = self.config.max_entries;
        if self.pending.follows_links() != message.follows_links() {
            self.flush(out)?;
            self.pending.set_follows_links(message.follows_links());
        }
        let looked_at = message.looked_at();
        // What is large enough already need not be copied.
        let goes_as_it_is = message.is_urgent() || message.len() * 2 >= full;
        if message.len() <= full && goes_as_it_is {
            self.flush(out)?;
            return out.send(message);
        }
        for (directory, range) in message.groups() {
            let mut start = range.start;
            while start < range.end {
                if let Some(looked_at) = looked_at {
                    self.pending.note_looked_at(looked_at);
                }
                let end = range.end.min(start + full - self.pending.len());
                self.pending
                    .append_range(directory, message.entries(), start..end);
                start = end;
                if self.pending.len() == full {
                    self.flush(out)?;
                    self.pending.set_follows_links(message.follows_links());
                }
            }
        }
        for end in message.take_ends() {
            self.pending.push_end(end);
        }
        if self.since.is_none() && !self.pending.is_empty() {
            self.since = Some(Instant::now());
        }
        Ok(())
    }

    fn idle(&mut self, out: &mut Outlet<EntryBatch>) -> Result<(), StageError> {
        let overdue = self
            .since
            .is_some_and(|since| since.elapsed() >= self.config.max_delay.duration());
        if overdue || out.is_starved() {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.since
            .map(|since| since + self.config.max_delay.duration())
    }

    fn finish(&mut self, out: &mut Outlet<EntryBatch>) -> Result<(), StageError> {
        self.flush(out)
    }
}
