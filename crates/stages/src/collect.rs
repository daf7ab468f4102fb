//! A whole tree as a list, for programs that want no pipeline: everything below a root with its metadata, in order.
//!
//! It is the pipeline all the same, assembled here. What must stay true: a list that is returned as such is whole; what
//! could not be read is an error, and whoever can live with less asks for it by name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use statline_pipeline::{
    Builder, ErrorRecord, Errors, Outcome, Problems, RunReport, Sink, StageError,
};
use statline_platform::{Fields, Metadata, path_from_bytes};

use crate::path_prefix::PathPrefix;
use crate::{
    Enumerate, EnumerateConfig, RecordBatch, Rows, Sort, SortConfig, Stat, StatConfig, StatFields,
};

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    relative_path: PathBuf,
    metadata: Metadata,
}

impl Entry {
    /// Its path below the root; empty for the root itself.
    pub fn relative_path(&self) -> &Path {
        &self.relative_path
    }

    /// Its name; empty for the root.
    pub fn name(&self) -> &OsStr {
        self.relative_path.file_name().unwrap_or_default()
    }

    /// Its metadata, with every field that the file system has.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How far below the root it is: 0 for the root.
    pub fn depth(&self) -> usize {
        self.relative_path.components().count()
    }
}

/// What [`collect_with_errors`] found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collection {
    /// The entries that could be read, in path order.
    pub entries: Vec<Entry>,
    /// What could not be read. Empty if nothing is missing.
    pub errors: Vec<ErrorRecord>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// Something could not be read, so the list would not be whole.
    #[error("{} of the entries of {} could not be read, such as {}", .errors.len(), .root.display(), describe(.errors))]
    Incomplete {
        /// The root.
        root: PathBuf,
        /// What could not be read.
        errors: Vec<ErrorRecord>,
    },
    /// The scan failed as a whole.
    #[error("could not scan {}: {cause}", .root.display())]
    Failed {
        /// The root.
        root: PathBuf,
        /// What happened.
        cause: String,
    },
    /// The job was refused, which is a mistake in this crate.
    #[error(transparent)]
    Refused(#[from] Problems),
}

fn describe(errors: &[ErrorRecord]) -> String {
    errors.first().map_or_else(String::new, |error| {
        let subject = String::from_utf8_lossy(&error.subject);
        format!("{subject:?} ({})", error.message)
    })
}

/// Everything at and below `root`, in path order: component by component and by bytes, each directory right before its
/// contents. The first entry is the root itself.
///
/// With `follow_symlinks` a symbolic link stands for what it leads to; one that leads nowhere, or back to a directory
/// above it, stands for itself and is not entered. An entry that is deleted while the scan goes on is left out.
///
/// # Errors
/// [`CollectError::Incomplete`] if anything could not be read, [`CollectError::Failed`] if the root could not be
/// opened.
pub fn collect_with_batched_stats(
    root: &Path,
    follow_symlinks: bool,
) -> Result<Vec<Entry>, CollectError> {
    whole(root, collect_with_errors(root, follow_symlinks)?)
}

fn whole(root: &Path, collection: Collection) -> Result<Vec<Entry>, CollectError> {
    let Collection { entries, errors } = collection;
    match errors.is_empty() {
        true => Ok(entries),
        false => Err(CollectError::Incomplete {
            root: root.to_owned(),
            errors,
        }),
    }
}

/// As [`collect_with_batched_stats`], but what cannot be read is listed and the rest returned.
///
/// # Errors
/// [`CollectError::Failed`] if the root could not be opened.
pub fn collect_with_errors(root: &Path, follow_symlinks: bool) -> Result<Collection, CollectError> {
    let mut job = Builder::new("collect");
    let walk = EnumerateConfig {
        follow_symlinks,
        // Everything is everything.
        skip_pseudo: false,
        skip_snapshots: false,
        ..EnumerateConfig::new([root])
    };
    // Of a loop nothing is missing: the directory that it leads back to is in the list.
    let walk = job.stage("walk", Enumerate, walk).accept(["LOOP"]).done();
    let stat = StatConfig {
        fields: StatFields::new(Fields::ALL),
        ..StatConfig::default()
    };
    let stat = job.stage("stat", Stat, stat).reads(&walk).done();
    let sort = job
        .stage("sort", Sort, SortConfig::default())
        .reads(&stat)
        .done();
    let unread = Unread::default();
    let _ = job
        .sink("unread", unread.clone())
        .reads(walk.port("errors"))
        .reads(stat.port("errors"));

    let mut results = job.results::<RecordBatch>(&sort)?;
    let mut entries = Entries::below(root);
    let failed = |cause| CollectError::Failed {
        root: root.to_owned(),
        cause,
    };
    for batch in results.by_ref() {
        entries.add(&batch).map_err(failed)?;
    }
    let report = results.finish();
    match report.outcome {
        Outcome::Complete | Outcome::Incomplete => Ok(Collection {
            entries: entries.entries,
            errors: unread.take(),
        }),
        Outcome::Cancelled | Outcome::Failed => Err(failed(cause(report))),
    }
}

fn cause(report: RunReport) -> String {
    let fault = report.fault.map(|fault| fault.message);
    fault
        .or(report.cause)
        .unwrap_or_else(|| report.outcome.to_string())
}

/// Keeps the errors that are not acceptable.
#[derive(Clone, Default)]
struct Unread(Arc<Mutex<Vec<ErrorRecord>>>);

impl Unread {
    fn take(&self) -> Vec<ErrorRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Unread {
    type In = ErrorRecord;

    fn write(&mut self, error: ErrorRecord, _: &Errors) -> Result<(), StageError> {
        if !error.accepted {
            let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            unread.push(error);
        }
        Ok(())
    }
}

/// Turns rows into entries.
struct Entries<'a> {
    root: &'a Path,
    prefix: PathPrefix,
    entries: Vec<Entry>,
}

impl Entries<'_> {
    fn below(root: &Path) -> Entries<'_> {
        Entries {
            root,
            prefix: PathPrefix::default(),
            entries: Vec::new(),
        }
    }

    /// Adds the rows of a batch. Fails on a name that cannot be part of a path of the standard library.
    fn add(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let root = self.root.as_os_str().as_encoded_bytes();
        self.entries.reserve(batch.len());
        for row in batch.rows() {
            self.prefix.enter(&row);
            // A root that is no directory is a name in the directory above it.
            let is_root = row.name.is_empty() || row.directory.root_path() != self.root;
            let (below, name) = match is_root {
                true => (&[][..], &[][..]),
                false => (&self.prefix.bytes()[root.len()..], row.name.as_bytes()),
            };
            let below = below.strip_prefix(b"/").unwrap_or(below);
            let relative_path = path_from_bytes([below, name].concat())
                .ok_or_else(|| format!("{:?} is no name of this system", row.name))?;
            self.entries.push(Entry {
                relative_path,
                metadata: row.metadata.cloned().unwrap_or_default(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use statline_pipeline::Scope;

    use super::*;

    #[test]
    fn a_list_that_is_not_whole_is_no_list() {
        let error = |path: &[u8]| {
            ErrorRecord::new(
                "open",
                path.to_vec(),
                "EACCES",
                "permission denied",
                Scope::Subtree,
            )
        };
        let collection = Collection {
            entries: Vec::new(),
            errors: vec![error(b"r/a\xff"), error(b"r/b")],
        };
        let error = whole(Path::new("r"), collection).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of the entries of r could not be read, such as \"r/a\u{fffd}\" (permission denied)"
        );
        assert!(matches!(error, CollectError::Incomplete { errors, .. } if errors.len() == 2));
        assert!(
            whole(Path::new("r"), Collection::default())
                .unwrap()
                .is_empty()
        );
    }
}
