//! One side of a comparison of two scans: its rows in path order, and what is known of what it has not looked at.
//!
//! One thing must stay true: when the first row of a side has come, everything is known that its stages have not looked at.
//! That is so because whatever puts rows in order holds them all, and a saved scan says it before its first row. A side on
//! which more is noted later fails the run.

use std::sync::Arc;

use serde_json::Value;
use statline_pipeline::{Context, Inlet, StageError, Upstream};
use statline_platform::{DirNode, NameBuf, compare_paths};

use crate::omissions::{self, Omission};
use crate::roots::ROOTS;
use crate::unread::UnreadPaths;
use crate::{Change, DirectoryStatus, RecordBatch, Row};

/// One of two sides.
pub(crate) struct Side {
    inlet: Inlet<RecordBatch>,
    context: Context,
    port: &'static str,
    batch: RecordBatch,
    at: usize,
    /// The row before the current one.
    last: Option<(Arc<DirNode>, NameBuf)>,
    /// The path of the first row's root, as it was given.
    root: Option<Vec<u8>>,
    unread: UnreadPaths,
    /// What was noted of the stages before, when `unread` was made.
    noted: u64,
}

impl Side {
    pub(crate) fn new(context: &Context, port: &'static str, inlet: Inlet<RecordBatch>) -> Side {
        Side {
            inlet,
            context: context.clone(),
            port,
            batch: RecordBatch::default(),
            at: 0,
            last: None,
            root: None,
            unread: UnreadPaths::default(),
            noted: 0,
        }
    }

    /// Waits for the first message. Only then can it be known what the side has not looked at.
    pub(crate) fn begin(&mut self) -> Result<(), StageError> {
        self.batch = self.inlet.recv()?.unwrap_or_default();
        self.noted = self.count_noted();
        for stage in self.readers() {
            let unread = stage.unread();
            self.unread.add(unread);
        }
        if self.settle()? {
            self.root = Some(root_of(&self.batch.row(self.at)));
        } else if !self.unread.is_empty() {
            // Not even its root was seen, so there is no path to tell by what is covered.
            self.unread.add_everything();
        }
        Ok(())
    }

    fn count_noted(&self) -> u64 {
        let stages = self.readers();
        stages.iter().map(|stage| stage.unread_count()).sum()
    }

    /// The stages that know what is there, from what puts rows in order on. What comes between that and here passes rows
    /// on; what it cannot do is no reason to think that an entry was missed, as where contents cannot be read.
    fn readers(&self) -> Vec<Upstream> {
        let stages = self.context.upstream(self.port);
        let orders = |stage: &Upstream| matches!(stage.kind(), "sort" | "saved");
        let first = stages.iter().position(orders).unwrap_or(0);
        stages[first..].to_vec()
    }

    /// The name of the input.
    pub(crate) fn port(&self) -> &'static str {
        self.port
    }

    /// How many roots the side has, as far as its stages say so.
    pub(crate) fn roots(&self) -> usize {
        let stages = self.context.upstream(self.port).iter();
        let stated = stages.filter_map(|stage| stage.facts().remove(ROOTS));
        let count = |roots: Value| roots.as_array().map_or(0, Vec::len);
        stated.map(count).sum()
    }

    /// What the job left out of the side on purpose, in the order in which its stages did.
    pub(crate) fn left_out(&self) -> Vec<Omission> {
        let stages = self.context.upstream(self.port).iter().rev();
        stages
            .flat_map(|stage| {
                let (kind, is_source) = (stage.kind(), stage.is_source());
                omissions::of_stage(kind, is_source, stage.options(), &stage.facts())
            })
            .collect()
    }

    /// Takes nothing for certain any more that was not seen.
    pub(crate) fn distrust(&mut self) {
        self.unread.add_everything();
    }

    /// What was not looked at.
    pub(crate) fn unread(&self) -> &UnreadPaths {
        &self.unread
    }

    /// The path of the side's root as it was given, once a row has come.
    pub(crate) fn root(&self) -> Option<&[u8]> {
        self.root.as_deref()
    }

    /// The current row, unless the side has ended.
    pub(crate) fn row(&self) -> Option<Row<'_>> {
        (self.at < self.batch.len()).then(|| self.batch.row(self.at))
    }

    /// Goes on to the next row.
    pub(crate) fn advance(&mut self) -> Result<(), StageError> {
        self.at += 1;
        self.settle().map(|_| ())
    }

    /// Turns to the next row from the current place on that counts. Returns whether there is one.
    fn settle(&mut self) -> Result<bool, StageError> {
        loop {
            while self.at < self.batch.len() {
                if self.is_next()? {
                    return Ok(true);
                }
                self.at += 1;
            }
            self.check_ends()?;
            match self.inlet.recv()? {
                Some(batch) => self.batch = batch,
                None => {
                    self.batch = RecordBatch::default();
                    self.at = 0;
                    return self.check_noted().map(|()| false);
                }
            }
            self.at = 0;
        }
    }

    /// Whether the row at the current place counts: it is no second one of its path, and it tells what is there.
    fn is_next(&mut self) -> Result<bool, StageError> {
        let row = self.batch.row(self.at);
        let gone = [Change::Deleted, Change::Removed, Change::Delete];
        if row.change.is_some_and(|change| gone.contains(&change)) {
            return Ok(false);
        }
        if let Some((directory, name)) = &self.last {
            let last = (&**directory, name.as_name().as_bytes());
            let order = compare_paths(last, (row.directory, row.name.as_bytes()));
            if order.is_eq() {
                return Ok(false);
            }
            if order.is_gt() {
                return Err(StageError::failed(format!(
                    "the input {:?} is not in path order: {} comes too late",
                    self.port,
                    row.path_bytes().escape_ascii()
                )));
            }
        }
        self.last = Some((Arc::clone(row.directory), row.name.into()));
        Ok(true)
    }

    /// Whether every directory that was not read whole was known to be so.
    fn check_ends(&mut self) -> Result<(), StageError> {
        for end in self.batch.take_ends() {
            if end.status != DirectoryStatus::Failed {
                continue;
            }
            let path = end.directory.path_bytes();
            if !self.unread.covers(&path) {
                return Err(self.too_late(&format!("{} was not read whole", path.escape_ascii())));
            }
        }
        Ok(())
    }

    /// Whether nothing was noted after the first row.
    fn check_noted(&self) -> Result<(), StageError> {
        match self.count_noted() == self.noted {
            true => Ok(()),
            false => Err(self.too_late("something could not be read")),
        }
    }

    fn too_late(&self, what: &str) -> StageError {
        StageError::failed(format!(
            "{what}, and the rows of the input {:?} came before that was known; put a sort by path right before it",
            self.port
        ))
    }
}

fn root_of(row: &Row<'_>) -> Vec<u8> {
    let root = row.directory.root_path().as_os_str();
    root.as_encoded_bytes().to_vec()
}
