//! Merging: the smallest of the heads of several runs, again and again.

use std::cmp::Ordering;

use statline_pipeline::StageError;

use super::block::{Block, HEADER, lengths};
use super::file::SpillFile;
use super::run::Run;
use super::{Entry, Watch};

/// One run being read.
pub(super) struct RunReader {
    at: u64,
    end: u64,
    block: Block,
}

impl RunReader {
    /// Goes to the next entry; false at the end.
    #[inline]
    fn advance(&mut self, source: &mut Source) -> Result<bool, StageError> {
        if self.block.is_over() && !self.load(source)? {
            return Ok(false);
        }
        match self.block.advance() {
            Some(()) => Ok(true),
            None => Err(source.file.damaged()),
        }
    }

    /// Reads the next block; false at the end.
    fn load(&mut self, source: &mut Source) -> Result<bool, StageError> {
        source.watch.checkpoint()?;
        if self.at == self.end {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        source.file.read_at(&mut header, self.at)?;
        let (compressed, length) = lengths(header);
        let start = self.at + HEADER as u64;
        let end = start + compressed as u64;
        if end > self.end {
            return Err(source.file.damaged());
        }
        source.compressed.resize(compressed, 0);
        source.file.read_at(&mut source.compressed, start)?;
        self.at = end;
        match self.block.load(&source.compressed, length) {
            true => Ok(true),
            false => Err(source.file.damaged()),
        }
    }
}

/// What all runs are read through.
struct Source {
    file: SpillFile,
    watch: Watch,
    /// A block as it is in the file.
    compressed: Vec<u8>,
}

/// The entries of several runs in the order of their keys; those of equal keys in the order of the runs.
pub(crate) struct Merge {
    source: Source,
    readers: Vec<RunReader>,
    /// Numbers of readers as a binary heap, the one whose entry comes first on top.
    heap: Vec<u32>,
    /// Whether the entry on top was handed out.
    taken: bool,
}

impl Merge {
    pub(super) fn new(file: SpillFile, runs: &[Run], watch: Watch) -> Result<Merge, StageError> {
        let reader = |run: &Run| RunReader {
            at: run.place.start,
            end: run.place.end,
            block: Block::default(),
        };
        let mut merge = Merge {
            source: Source {
                file,
                watch,
                compressed: Vec::new(),
            },
            readers: runs.iter().map(reader).collect(),
            heap: Vec::with_capacity(runs.len()),
            taken: false,
        };
        for (number, reader) in (0..).zip(&mut merge.readers) {
            if reader.advance(&mut merge.source)? {
                merge.heap.push(number);
            }
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        Ok(merge)
    }

    /// The next entry: its key and its payload.
    ///
    /// # Errors
    /// If the temporary file cannot be read, or the run is stopping.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>, StageError> {
        if self.taken {
            let top = self.heap[0] as usize;
            if !self.readers[top].advance(&mut self.source)? {
                // Its memory may be wanted by others.
                self.readers[top].block = Block::default();
                self.heap.swap_remove(0);
            }
            self.sift_down(0);
        }
        self.taken = !self.heap.is_empty();
        let top = self.heap.first().map(|&top| &self.readers[top as usize]);
        Ok(top.map(|reader| (reader.block.key(), reader.block.payload())))
    }

    /// What was read is not what was written.
    pub(crate) fn damaged(&self) -> StageError {
        self.source.file.damaged()
    }

    pub(super) fn into_file(self) -> SpillFile {
        self.source.file
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        let key = |number: u32| self.readers[number as usize].block.key();
        key(a).cmp(key(b)).then(a.cmp(&b))
    }

    /// Puts the reader at a place of the heap where it belongs, below it.
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut first = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len()
                    && self.compare(self.heap[child], self.heap[first]).is_lt()
                {
                    first = child;
                }
            }
            if first == at {
                return;
            }
            self.heap.swap(at, first);
            at = first;
        }
    }
}
