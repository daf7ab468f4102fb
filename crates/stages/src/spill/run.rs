//! One sorted run: writing it to the end of the temporary file, and where it is then.

use std::ops::Range;

use statline_pipeline::StageError;

use super::Spill;
use super::block::Blocks;

/// Where a run is in its file.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) place: Range<u64>,
    /// The bytes of its largest entry.
    pub(super) longest: usize,
}

/// Writes a run.
pub(crate) struct RunWriter<'s> {
    spill: &'s mut Spill,
    blocks: Blocks,
    run: Run,
}

impl<'s> RunWriter<'s> {
    pub(super) fn new(spill: &'s mut Spill) -> RunWriter<'s> {
        let start = spill.file.length();
        RunWriter {
            blocks: Blocks::new(spill.block_bytes()),
            run: Run {
                place: start..start,
                longest: 0,
            },
            spill,
        }
    }

    /// Appends an entry, whose key must not be smaller than the one before.
    ///
    /// # Errors
    /// If it cannot be written, or the run is stopping.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<(), StageError> {
        self.blocks.push(key, payload);
        match self.blocks.sealed().is_empty() {
            true => Ok(()),
            false => self.write_out(),
        }
    }

    /// Appends blocks that somebody else has made, of entries behind all that came before.
    ///
    /// # Errors
    /// As [`push`](RunWriter::push).
    pub(crate) fn append(&mut self, blocks: &Blocks) -> Result<(), StageError> {
        self.blocks.seal();
        self.write_out()?;
        self.spill.write(blocks.sealed())?;
        self.run.longest = self.run.longest.max(blocks.longest());
        Ok(())
    }

    /// Ends the run.
    ///
    /// # Errors
    /// As [`push`](RunWriter::push).
    pub(crate) fn finish(mut self) -> Result<(), StageError> {
        self.blocks.seal();
        self.write_out()?;
        self.run.longest = self.run.longest.max(self.blocks.longest());
        self.run.place.end = self.spill.file.length();
        self.spill.runs.push(self.run);
        Ok(())
    }

    /// Writes the blocks that are finished.
    fn write_out(&mut self) -> Result<(), StageError> {
        self.spill.write(self.blocks.sealed())?;
        self.blocks.clear();
        Ok(())
    }
}
