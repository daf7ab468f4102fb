//! `saved`: reads a scan that was written as JSON Lines, so that stages work on it as on a live one.
//!
//! The mark beside the file says whether anything is missing from it, and where; what was not looked at then is noted for
//! the stages further on. One thing must stay true: a file that is not the one that its mark is about never passes for a
//! scan. Its digest is taken while it is read, and the run fails if it is another.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    DEFAULT_OUTPUT, Declare, ErrorRecord, Kind, Opening, Order, Outcome, Outlet, OutputPort,
    Properties, Scope, Source, StageError, Unread,
};
use statline_platform::{DirNode, Kind as EntryKind, NameBuf, compare_paths};

use crate::omissions::{self, LEFT_OUT, Omission};
use crate::output_mark::digest;
use crate::roots::ROOTS;
use crate::saved_path::SavedPaths;
use crate::saved_row::SavedRow;
use crate::{MarkedStage, OutputMark, RecordBatch, RootPath, Row, VerifyError};

/// Rows in a batch.
const BATCH: usize = 1024;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// No line is longer: a path has a few megabytes at the very most, and there are up to three in a row.
const LONGEST_LINE: u64 = 64 << 20;

/// The code of the error that stands for all that the run could not read that wrote the file.
const INCOMPLETE: &str = "INCOMPLETE";

/// The fact by which a stage states its roots as the paths of its rows begin with them.
const GIVEN_ROOTS: &str = "given_roots";

/// Options of `saved`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SavedConfig {
    /// The file, which `jsonl` has written; its mark FILE.run.json is beside it.
    pub path: RootPath,
    /// Whether its rows are in the order of their paths; if not, and it says so here, a sort can follow.
    ///
    /// The order is checked: a file that is not in order fails the run.
    #[serde(default = "yes")]
    pub sorted: bool,
    /// Whether to read it even if something is missing from it.
    ///
    /// That counts as an error with the code INCOMPLETE, and what is missing counts as not looked at.
    #[serde(default)]
    pub allow_incomplete: bool,
}

fn yes() -> bool {
    true
}

impl SavedConfig {
    /// The default options for this file.
    pub fn new(path: impl Into<PathBuf>) -> SavedConfig {
        SavedConfig {
            path: RootPath::new(path),
            sorted: true,
            allow_incomplete: false,
        }
    }
}

/// The kind `saved`: the rows of a file that `jsonl` has written, all of their columns.
///
/// It holds a batch of rows and a chunk of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Saved;

impl Kind for Saved {
    type Config = SavedConfig;
    type Ports = OutputPort<RecordBatch>;

    fn about(&self) -> &'static str {
        "reads a scan that was saved as JSON Lines"
    }

    fn declare(&self, config: Option<&SavedConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.error_codes([INCOMPLETE], |code| code == INCOMPLETE);
        let order = match config.is_none_or(|config| config.sorted) {
            true => Order::By(vec!["path".to_owned()]),
            false => Order::Unknown,
        };
        // Which columns the file has is only known when it is read; those that come in are trusted to be there.
        let fields = BTreeSet::new();
        ports.output(DEFAULT_OUTPUT, Properties { order, fields })
    }

    fn open(
        &self,
        config: SavedConfig,
        output: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let path = config.path.as_path().to_owned();
        let place = path.clone();
        let opened = stage.attempt("open", path.as_os_str().as_encoded_bytes(), move || {
            // The file first: a run that publishes meanwhile puts its mark in place before its file, so that the worst is
            // a mismatch.
            let file = File::open(&place).map_err(VerifyError::Output)?;
            let found = file.metadata().map_err(VerifyError::Output)?;
            Ok((OutputMark::read(&place)?, found, file))
        })?;
        let opened: Result<_, VerifyError> =
            opened.ok_or_else(|| cannot(&path, "be opened: it does not answer"))?;
        let (mark, found, file) = opened.map_err(|error| unfit(&path, error))?;
        if found.is_file() && found.len() != mark.bytes {
            let error = VerifyError::Length {
                expected: mark.bytes,
                found: found.len(),
            };
            return Err(unfit(&path, error));
        }
        if mark.outcome != Outcome::Complete && !config.allow_incomplete {
            return Err(cannot(
                &path,
                &format!(
                    "be relied on: the run that wrote it was {}, so that entries may be missing; \
                     allow_incomplete = true reads it all the same",
                    mark.outcome
                ),
            ));
        }
        let scan = MarkedScan::of(&mark);
        let context = stage.context();
        context.set_fact(ROOTS, &mark.roots)?;
        context.set_fact(GIVEN_ROOTS, &scan.roots)?;
        context.set_fact(LEFT_OUT, &scan.left_out)?;
        let saved = SavedScan {
            paths: SavedPaths::new(&scan.roots),
            unread: scan.unread,
            reader: BufReader::with_capacity(CHUNK, Hashing::new(file)),
            sorted: config.sorted,
            last: None,
            line: 0,
            mark,
            path,
        };
        stage.source(&output, |_| Ok(saved))
    }
}

/// What a file cannot be, and why.
fn cannot(path: &Path, what: &str) -> StageError {
    StageError::failed(format!("{path:?} cannot {what}"))
}

/// A file that its mark does not vouch for. The cause follows from its source.
fn unfit(path: &Path, error: VerifyError) -> StageError {
    #[derive(Debug, thiserror::Error)]
    #[error("the scan in {path:?} cannot be used")]
    struct Unfit {
        path: PathBuf,
        source: VerifyError,
    }
    StageError::failed(Unfit {
        path: path.to_owned(),
        source: error,
    })
}

/// What a mark says of the scan whose rows are in its file.
struct MarkedScan {
    /// As the paths begin with them.
    roots: Vec<RootPath>,
    left_out: Vec<Omission>,
    unread: Vec<Unread>,
}

impl MarkedScan {
    fn of(mark: &OutputMark) -> MarkedScan {
        let stages = sources(mark);
        let mut roots: Vec<RootPath> = stages.iter().flat_map(|stage| given_roots(stage)).collect();
        if roots.is_empty() {
            roots.clone_from(&mark.roots);
        }
        let left_out = stages
            .iter()
            .flat_map(|stage| {
                let (options, is_source) = (stage.options.as_ref(), stage.inputs.is_empty());
                omissions::of_stage(&stage.kind, is_source, options, &stage.facts)
            })
            .collect();
        let listed = mark.unread.iter().flatten();
        let mut unread: Vec<Option<Unread>> = listed.map(|marked| marked.to_unread()).collect();
        let skipped = stages.iter().any(|stage| {
            let skipped = stage.counters.get("skipped_directories");
            skipped.is_some_and(|&count| count > 0)
        });
        let untold = mark.unread.is_none() && (!mark.errors.is_empty() || skipped);
        let cut = !mark.outcome.publishes();
        let whole = mark.unread_more == 0 && unread.iter().all(Option::is_some);
        if untold || cut || !whole {
            // Where something is missing nobody knows, so it may be missing anywhere.
            unread.extend(roots.iter().map(|root| {
                Some(Unread {
                    subject: root.as_path().as_os_str().as_encoded_bytes().to_vec(),
                    scope: Scope::Subtree,
                    reason: INCOMPLETE.into(),
                })
            }));
        }
        MarkedScan {
            roots,
            left_out,
            unread: unread.into_iter().flatten().collect(),
        }
    }
}

/// The stages that the rows of an output came from, in the order in which they travelled.
fn sources(mark: &OutputMark) -> Vec<&MarkedStage> {
    let named = |name: &str| mark.stages.iter().find(|stage| stage.name == name);
    let Some(writer) = named(&mark.stage) else {
        // An older mark does not say which stage wrote the file.
        return mark.stages.iter().filter(|stage| !writes(stage)).collect();
    };
    let mut found: Vec<&str> = Vec::new();
    let mut waiting = vec![writer];
    while let Some(stage) = waiting.pop() {
        for from in stage.inputs.values().flatten() {
            let before = mark.stages.iter().find(|before| {
                let port = from.strip_prefix(before.name.as_str());
                port.is_some_and(|port| port.is_empty() || port.starts_with('.'))
            });
            if let Some(before) = before.filter(|before| !found.contains(&before.name.as_str())) {
                found.push(&before.name);
                waiting.push(before);
            }
        }
    }
    let came = |stage: &&MarkedStage| found.contains(&stage.name.as_str());
    mark.stages.iter().filter(came).collect()
}

impl OutputMark {
    /// Whether the stages that wrote the output had put its rows in the order of their paths.
    #[must_use]
    pub fn is_in_path_order(&self) -> bool {
        let named = |name: &str| self.stages.iter().find(|stage| stage.name == name);
        let option = |stage: &MarkedStage, name: &str| stage.options.as_ref()?.get(name).cloned();
        let mut after = named(&self.stage);
        while let Some(stage) = after {
            let mut inputs = stage.inputs.values().flatten();
            // Of several that feed it, none vouches for the order of all.
            let (Some(from), None) = (inputs.next(), inputs.next()) else {
                return false;
            };
            let before = named(from.strip_suffix(".out").unwrap_or(from));
            match before.map(|stage| (stage, stage.kind.as_str())) {
                Some((stage, "sort")) => {
                    let by = option(stage, "by").unwrap_or_default();
                    return by.get(0).is_some_and(|first| first == "path");
                }
                Some((stage, "saved")) => {
                    return option(stage, "sorted").is_none_or(|sorted| sorted == true);
                }
                Some((stage, "filter" | "cache" | "hash")) if stage.threads == 1 => {
                    after = Some(stage);
                }
                _ => return false,
            }
        }
        false
    }
}

fn writes(stage: &MarkedStage) -> bool {
    matches!(
        stage.kind.as_str(),
        "jsonl" | "csv" | "paths" | "null" | "summary"
    )
}

/// The roots of a stage as the paths of its rows begin with them.
fn given_roots(stage: &MarkedStage) -> Vec<RootPath> {
    let roots = match stage.kind.as_str() {
        "enumerate" => stage
            .options
            .as_ref()
            .and_then(|options| options.get("roots")),
        _ => stage.facts.get(GIVEN_ROOTS),
    };
    let roots = roots.cloned().unwrap_or_default();
    serde_json::from_value(roots).unwrap_or_default()
}

/// Takes the digest of all that is read through it.
struct Hashing {
    file: File,
    hasher: Box<blake3::Hasher>,
}

impl Hashing {
    fn new(file: File) -> Hashing {
        Hashing {
            file,
            hasher: Box::default(),
        }
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A saved scan while it is read.
struct SavedScan {
    path: PathBuf,
    mark: OutputMark,
    reader: BufReader<Hashing>,
    paths: SavedPaths,
    unread: Vec<Unread>,
    sorted: bool,
    /// The row before, where the order matters.
    last: Option<(Arc<DirNode>, NameBuf)>,
    /// The number of the last line that was read, from 1.
    line: u64,
}

impl Source for SavedScan {
    type Out = RecordBatch;

    fn run(&mut self, out: &mut Outlet<RecordBatch>) -> Result<(), StageError> {
        // Before the first row: whoever compares must know by then.
        for unread in std::mem::take(&mut self.unread) {
            out.errors().note_unread(unread);
        }
        if self.mark.outcome != Outcome::Complete {
            self.report_incomplete(out)?;
        }
        let mut line = Vec::new();
        let mut batch = RecordBatch::with_capacity(BATCH);
        while self.next_line(&mut line)? {
            self.push_row(&line, &mut batch)?;
            if batch.len() == BATCH {
                let next = RecordBatch::with_capacity(BATCH);
                out.send(std::mem::replace(&mut batch, next))?;
            }
        }
        self.verify()?;
        match batch.is_empty() {
            true => Ok(()),
            false => out.send(batch),
        }
    }
}

impl SavedScan {
    fn report_incomplete(&self, out: &Outlet<RecordBatch>) -> Result<(), StageError> {
        let subject = self.path.as_os_str().as_encoded_bytes().to_vec();
        let message = format!("the run that wrote it was {}", self.mark.outcome);
        let record = ErrorRecord::new("read", subject, INCOMPLETE, message, Scope::Entry);
        out.errors().report(record)
    }

    /// Reads the next line without its line feed; false at the end.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, StageError> {
        line.clear();
        let read = (&mut self.reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', line)
            .map_err(|error| unfit(&self.path, VerifyError::Output(error)))?;
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        match line.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(self.malformed(match read as u64 == LONGEST_LINE {
                true => "it is too long",
                false => "it does not end",
            })),
        }
    }

    fn malformed(&self, what: &str) -> StageError {
        let (path, line) = (&self.path, self.line);
        StageError::failed(format!("{path:?}, line {line}: {what}"))
    }

    fn push_row(&mut self, line: &[u8], batch: &mut RecordBatch) -> Result<(), StageError> {
        let row = SavedRow::parse(line).map_err(|wrong| self.malformed(&wrong))?;
        let kind = row.metadata.kind();
        let is_directory = kind.is_none_or(|kind| kind == EntryKind::Directory);
        let Some((directory, name)) = self.paths.place(&row.path, is_directory) else {
            let path = row.path.escape_ascii();
            return Err(self.malformed(&format!("{path} is no path below the roots of the scan")));
        };
        if self.sorted {
            self.check_order(&directory, &name, &row.path)?;
        }
        batch.push_row(&Row {
            directory: &directory,
            name: name.as_name(),
            kind,
            metadata: Some(&row.metadata),
            target: row.target.as_deref(),
            change: row.change,
            remembered: row.remembered,
            hash: row.hash.as_ref(),
            former: row.former(),
        });
        Ok(())
    }

    fn check_order(
        &mut self,
        directory: &Arc<DirNode>,
        name: &NameBuf,
        path: &[u8],
    ) -> Result<(), StageError> {
        if let Some((last, last_name)) = &self.last {
            let last = (&**last, last_name.as_name().as_bytes());
            if compare_paths(last, (directory, name.as_name().as_bytes())).is_gt() {
                let mut before = Vec::new();
                last.0.write_path(&mut before);
                return Err(self.malformed(&format!(
                    "{} is behind {} in {}, so the rows are not in path order; set sorted = false, and put a stage of \
                     type sort behind it",
                    path.escape_ascii(),
                    last.1.escape_ascii(),
                    before.escape_ascii(),
                )));
            }
        }
        self.last = Some((Arc::clone(directory), name.clone()));
        Ok(())
    }

    /// Whether what was read is what the mark is about.
    fn verify(&self) -> Result<(), StageError> {
        let hasher = &self.reader.get_ref().hasher;
        let (expected, found) = (self.mark.bytes, hasher.count());
        if expected != found {
            return Err(unfit(&self.path, VerifyError::Length { expected, found }));
        }
        match digest(hasher) {
            found if found == self.mark.digest => Ok(()),
            found => {
                let expected = self.mark.digest.clone();
                Err(unfit(&self.path, VerifyError::Digest { expected, found }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
