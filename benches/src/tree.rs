//! The tree that is measured: large, unequal, and the same for everybody who names the same seed.
//!
//! A measurement can be repeated only on the tree that it was made on, so what is made depends on [`Parameters`] and on
//! nothing else, and a tree that exists is used again rather than made again. Files are sparse: a million of them take inodes
//! and no data blocks, since nothing here reads data.

mod make;
mod marker;
pub mod name;
mod plan;

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

pub use make::{Made, made_from, make};

use crate::error::IoError;

/// What fixes a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Entries below the root: directories, files, symbolic links and hard links together.
    pub entries: u64,
    /// Where the random numbers start.
    pub seed: u64,
    /// How directories hang together.
    pub shape: Shape,
}

/// How directories hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// As on a file server: a directory for every 16 entries, most of them small, some with thousands of entries, one
    /// with about a thirtieth of all.
    Realistic,
    /// One directory that holds everything.
    Wide,
    /// Many small directories: one for every three entries, the other entries spread evenly.
    Small,
    /// One chain of up to 5,000 directories, deeper than any path can name, with the entries spread over it.
    Deep,
}

impl Display for Parameters {
    /// As options of the program `tree`.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "--entries {} --seed {}", self.entries, self.seed)?;
        match self.shape {
            Shape::Realistic => Ok(()),
            Shape::Wide => out.write_str(" --shape wide"),
            Shape::Small => out.write_str(" --shape small"),
            Shape::Deep => out.write_str(" --shape deep"),
        }
    }
}

/// What was made, each kind counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Everything below the root.
    pub entries: u64,
    /// Directories below the root.
    pub directories: u64,
    /// Regular files, by their first name.
    pub files: u64,
    /// Symbolic links; some lead nowhere, some lead upwards.
    pub symlinks: u64,
    /// Further names of files that have one already.
    pub hard_links: u64,
    /// The sum of the files' sizes. None of it is allocated.
    pub apparent_bytes: u64,
}

/// Why a tree was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory holds something that this program did not make.
    #[error(
        "{} is not empty and {} does not say that this program made it (a run that was cut short leaves such a directory); \
         remove it or choose another",
        root.display(), marker.display()
    )]
    Foreign {
        /// The directory.
        root: std::path::PathBuf,
        /// The file that would say so.
        marker: std::path::PathBuf,
    },
    /// The directory holds another tree.
    #[error("{} holds another tree ({found:?}); remove it or choose another directory", root.display())]
    Different {
        /// The directory.
        root: std::path::PathBuf,
        /// What it was made from.
        found: Parameters,
    },
    /// The marker beside the directory cannot be understood.
    #[error("{} is not a marker of this program: {source}", path.display())]
    Marker {
        /// The marker.
        path: std::path::PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The directory has no name, so that nothing can be written beside it.
    #[error("{} does not end in a name: name the directory itself", .0.display())]
    Nameless(std::path::PathBuf),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoError),
}
