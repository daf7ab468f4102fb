//! The values that the framework's own keys take.
//!
//! Each is a type that refuses what is out of its range, so its message is made where those of the
//! kinds' options are.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::whole_number::Range;

use crate::quantity::{ByteSize, Period};

/// What holds for a whole job: the `[pipeline]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineSettings {
    /// The name of the job in reports.
    pub name: Option<String>,
    /// Messages that a channel holds, unless a stage says otherwise: 1 to 65536, and 16 when unset.
    pub capacity: usize,
    /// Bytes that a channel holds, unless a stage says otherwise: 1 KiB to 1 GiB, and 8 MiB when
    /// unset.
    pub capacity_bytes: ByteSize,
    /// The time after which a run is cancelled.
    pub max_runtime: Option<Period>,
    /// How long a call of the system may take before it is given up and its thread replaced: 30 s
    /// when unset.
    pub stall_after: Period,
    /// How long no call may come back, while some are under way, before no further ones are made:
    /// 2 min when unset.
    pub stall_timeout: Period,
    /// How long a run that was stopped waits for its threads before it ends without them: 10 s when
    /// unset.
    pub stop_timeout: Period,
    /// Whether a run that does not finish leaves what there is of its outputs under names that say so:
    /// false when unset.
    pub keep_partial: bool,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            name: None,
            capacity: 16,
            capacity_bytes: ByteSize::from_mib(8),
            max_runtime: None,
            stall_after: Period::new(Duration::from_secs(30)),
            stall_timeout: Period::new(Duration::from_secs(120)),
            stop_timeout: Period::new(Duration::from_secs(10)),
            keep_partial: false,
        }
    }
}

/// The `[pipeline]` table as it is written.
#[derive(Deserialize)]
pub(super) struct PipelineTable {
    name: Option<String>,
    capacity: Option<Capacity>,
    capacity_bytes: Option<CapacityBytes>,
    max_runtime: Option<MaxRuntime>,
    stall_after: Option<StallLimit>,
    stall_timeout: Option<StallLimit>,
    stop_timeout: Option<Period>,
    keep_partial: Option<bool>,
}

impl From<PipelineTable> for PipelineSettings {
    fn from(table: PipelineTable) -> Self {
        let default = Self::default();
        Self {
            name: table.name,
            capacity: table
                .capacity
                .map_or(default.capacity, |capacity| capacity.0),
            capacity_bytes: table
                .capacity_bytes
                .map_or(default.capacity_bytes, |capacity| capacity.0),
            max_runtime: table.max_runtime.map(|period| period.0),
            stall_after: table.stall_after.map_or(default.stall_after, |it| it.0),
            stall_timeout: table.stall_timeout.map_or(default.stall_timeout, |it| it.0),
            stop_timeout: table.stop_timeout.unwrap_or(default.stop_timeout),
            keep_partial: table.keep_partial.unwrap_or(default.keep_partial),
        }
    }
}

/// A capacity in messages.
pub(super) struct Capacity(pub(super) usize);

/// A capacity in bytes.
pub(super) struct CapacityBytes(pub(super) ByteSize);

/// A length of time that is not zero, for with that a run would end before it starts.
struct MaxRuntime(Period);

/// How long a call may hang. A short limit would take a busy disk for a dead one.
struct StallLimit(Period);

impl StallLimit {
    const LEAST: Period = Period::new(Duration::from_millis(100));
}

impl<'de> Deserialize<'de> for Capacity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let range = Range {
            low: 1,
            high: 65_536,
            expected: "a number of messages from 1 to 65536",
        };
        deserializer.deserialize_u64(range).map(Self)
    }
}

impl<'de> Deserialize<'de> for CapacityBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = ByteSize::deserialize(deserializer)?;
        if (ByteSize::from_kib(1)..=ByteSize::from_mib(1024)).contains(&size) {
            return Ok(Self(size));
        }
        Err(de::Error::custom(format!(
            "{size} is out of range; it goes from 1KiB to 1GiB"
        )))
    }
}

impl<'de> Deserialize<'de> for MaxRuntime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let period = Period::deserialize(deserializer)?;
        if period == Period::default() {
            return Err(de::Error::custom(
                "a run needs more time than none; leave the key out for no limit",
            ));
        }
        Ok(Self(period))
    }
}

impl<'de> Deserialize<'de> for StallLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let period = Period::deserialize(deserializer)?;
        if period < StallLimit::LEAST {
            return Err(de::Error::custom(
                "calls of the system take their time; it starts at 100ms",
            ));
        }
        Ok(Self(period))
    }
}
