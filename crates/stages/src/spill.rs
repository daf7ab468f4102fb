//! Sorting more than memory holds: sorted runs of entries in a temporary file, and merging them.
//!
//! An entry is a key and a payload, both plain bytes; keys are compared as bytes. [`Spill`] takes runs that their maker
//! has sorted and merges them; [`ExternalSort`] takes entries in any order and does the sorting too. Neither knows what
//! the bytes mean, so stages share them.
//!
//! Two things must stay true. Entries whose keys are equal come out in the order in which they went in, whatever the
//! limit of memory and however many passes it takes. And nothing is left behind: the file has no name from the moment
//! it is made, so that it ends with the process, however that ends.

mod block;
mod external_sort;
mod file;
mod merge;
mod run;

use std::path::{Path, PathBuf};

use statline_pipeline::{Context, Counter, StageError};

pub(crate) use block::Blocks;
pub(crate) use external_sort::{ExternalSort, Sorted};
use file::SpillFile;
pub(crate) use merge::Merge;
use run::Run;
pub(crate) use run::RunWriter;

/// Bytes of a block before it is compressed, where memory allows: LZ4 is quickest below 64 KiB.
const LARGEST_BLOCK: usize = 56 << 10;
/// Less is not worth a call to write it.
const SMALLEST_BLOCK: usize = 512;
/// Runs that are merged at once, however much memory there is.
const LARGEST_FAN_IN: usize = 1024;

/// A key and a payload.
pub(crate) type Entry<'e> = (&'e [u8], &'e [u8]);

/// Where to spill, within which memory, and who is told.
#[derive(Clone)]
pub(crate) struct SpillOptions {
    /// The directory of the temporary file.
    pub(crate) directory: PathBuf,
    /// What merging may take, in bytes.
    pub(crate) memory: usize,
    /// Whose counters are kept, and who can stop it. `None` where nobody watches.
    pub(crate) context: Option<Context>,
}

/// Sorted runs in a temporary file.
pub(crate) struct Spill {
    options: SpillOptions,
    watch: Watch,
    file: SpillFile,
    runs: Vec<Run>,
}

/// What others see of the work: counters of the stage's report, and signs of life.
#[derive(Clone)]
struct Watch {
    context: Option<Context>,
    runs: Counter,
    bytes: Counter,
    passes: Counter,
}

impl Watch {
    fn new(context: Option<&Context>) -> Watch {
        let counter = |name| context.map_or_else(Counter::default, |context| context.counter(name));
        Watch {
            context: context.cloned(),
            runs: counter("runs"),
            bytes: counter("spilled_bytes"),
            passes: counter("merge_passes"),
        }
    }

    fn checkpoint(&self) -> Result<(), StageError> {
        self.context.as_ref().map_or(Ok(()), Context::checkpoint)
    }
}

impl Spill {
    /// Shows the counters of a stage that may spill, whether or not it comes to that.
    pub(crate) fn announce(context: &Context) {
        Watch::new(Some(context));
    }

    /// Makes the temporary file.
    ///
    /// # Errors
    /// If the directory does not take one.
    pub(crate) fn create(options: SpillOptions) -> Result<Spill, StageError> {
        Ok(Spill {
            watch: Watch::new(options.context.as_ref()),
            file: SpillFile::create_in(&options.directory)?,
            options,
            runs: Vec::new(),
        })
    }

    /// What merging may take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.options.memory
    }

    /// How large blocks are that go into it, before they are compressed.
    pub(crate) fn block_bytes(&self) -> usize {
        block_bytes(self.options.memory)
    }

    /// Begins a run. Its entries must come in the order of their keys.
    pub(crate) fn run(&mut self) -> RunWriter<'_> {
        self.watch.runs.add(1);
        RunWriter::new(self)
    }

    fn write(&mut self, blocks: &[u8]) -> Result<(), StageError> {
        self.watch.checkpoint()?;
        self.file.append(blocks)?;
        self.watch.bytes.add(blocks.len() as u64);
        Ok(())
    }

    /// Merges all runs: in one pass if they are few enough for the memory, in several if not.
    ///
    /// # Errors
    /// If the temporary file cannot be read, or another not be written; or the run is stopping.
    pub(crate) fn merge(mut self) -> Result<Merge, StageError> {
        loop {
            let fan_in = self.fan_in();
            self.watch.passes.add(1);
            if self.runs.len() <= fan_in {
                return Merge::new(self.file, &self.runs, self.watch);
            }
            self = self.pass(fan_in)?;
        }
    }

    /// Merges neighbours, so many at a time: then there are fewer runs.
    fn pass(self, fan_in: usize) -> Result<Spill, StageError> {
        let mut merged = Spill {
            file: SpillFile::create_in(&self.options.directory)?,
            runs: Vec::new(),
            watch: self.watch,
            options: self.options,
        };
        let mut file = self.file;
        for runs in self.runs.chunks(fan_in) {
            let mut merge = Merge::new(file, runs, merged.watch.clone())?;
            let mut out = RunWriter::new(&mut merged);
            while let Some((key, payload)) = merge.next()? {
                out.push(key, payload)?;
            }
            out.finish()?;
            file = merge.into_file();
        }
        Ok(merged)
    }

    /// How many runs can be merged at once.
    fn fan_in(&self) -> usize {
        let longest = self.runs.iter().map(|run| run.longest).max();
        // A block and the key that is being read, and the same for what is written.
        let each = self.block_bytes() + 2 * longest.unwrap_or(0) + size_of::<merge::RunReader>();
        (self.options.memory / each)
            .saturating_sub(3)
            .clamp(2, LARGEST_FAN_IN)
    }
}

fn block_bytes(memory: usize) -> usize {
    (memory / 64).clamp(SMALLEST_BLOCK, LARGEST_BLOCK)
}

/// A directory for spilling that cannot be used for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} a temporary file in {directory:?} for what does not fit in memory")]
struct SpillError {
    operation: &'static str,
    directory: PathBuf,
    source: std::io::Error,
}

fn failed(operation: &'static str, directory: &Path, source: std::io::Error) -> StageError {
    let directory = directory.to_owned();
    StageError::failed(SpillError {
        operation,
        directory,
        source,
    })
}

#[cfg(test)]
mod tests;
