//! Quantity skeleton.
use std::time::Duration;

/// A number of bytes, written with its unit: `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A length of time, written with its unit: `2h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(Duration);

impl Period {
    /// This length of time.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// This length of time.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no quantity")]
pub struct ParseQuantityError;
