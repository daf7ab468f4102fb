//! Overrides skeleton.
