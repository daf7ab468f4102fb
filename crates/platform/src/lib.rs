//! The operating system: an open directory, its names and their metadata.
