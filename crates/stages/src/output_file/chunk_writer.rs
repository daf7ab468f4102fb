//! Writes the chunks of a file and takes their digest, on a thread of its own.
//!
//! Making text of rows keeps a core busy, and writing it with its digest costs nearly as much again. Here both go on at
//! once: whoever makes the text hands over a full buffer, and gets back an empty one. There are few buffers, so whoever
//! is faster waits. One thing must stay true: chunks are written in the order in which they came, each wholly and once or
//! not at all, and [`Written`] tells of those that were; the others are given back.

use std::fs::File;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::output_mark::{Content, digest};

/// One that is being filled, one that is being written, and one in between.
const BUFFERS: usize = 3;

/// Whole rows on their way to a file.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// How many rows the file has at its end.
    pub(super) rows: u64,
}

/// What was handed to the system of a file: whole rows.
#[derive(Default)]
pub(super) struct Written {
    rows: u64,
    bytes: u64,
    hasher: Box<blake3::Hasher>,
}

impl Written {
    /// Writes a chunk. If it could not be written whole, it does not count.
    pub(super) fn append(&mut self, mut file: &File, chunk: &Chunk) -> io::Result<()> {
        file.write_all(&chunk.bytes)?;
        self.hasher.update(&chunk.bytes);
        self.bytes += chunk.bytes.len() as u64;
        self.rows = chunk.rows;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn content(&self) -> Content {
        Content {
            rows: self.rows,
            bytes: self.bytes,
            digest: digest(&self.hasher),
        }
    }
}

/// [`Written`] of a file that a thread may be writing.
#[derive(Clone, Default)]
pub(super) struct SharedWritten(Arc<Mutex<Written>>);

impl SharedWritten {
    pub(super) fn lock(&self) -> MutexGuard<'_, Written> {
        // Nothing under this lock panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What could not be written, and why: the chunk that failed, and those handed over after it.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) error: io::Error,
    pub(super) chunks: Vec<Chunk>,
}

/// The thread that writes a file, as whoever makes its text sees it. Dropping it waits for the thread to end.
pub(super) struct ChunkWriter {
    /// `None` once no more will come.
    full: Option<Sender<Chunk>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<(), Unwritten>>>,
}

impl ChunkWriter {
    /// Starts the thread. What it writes comes behind what was `written`, and buffers have this capacity.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub(super) fn start(
        name: &str,
        file: &File,
        written: &SharedWritten,
        capacity: usize,
    ) -> io::Result<ChunkWriter> {
        let (file, written) = (file.try_clone()?, written.clone());
        let (full, chunks) = mpsc::channel();
        let (back, empty) = mpsc::channel();
        for _ in 1..BUFFERS {
            let _ = back.send(Vec::with_capacity(capacity));
        }
        let work = move || write_all(&file, &chunks, back, &written);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(ChunkWriter {
            full: Some(full),
            empty,
            thread: Some(thread),
        })
    }

    /// Takes what is in `buffer` and puts an empty one in its place, waiting for one if need be. Returns whether it did: if
    /// not, the thread has met an error, and [`end`](ChunkWriter::end) tells which.
    pub(super) fn hand_over(&self, buffer: &mut Vec<u8>, rows: u64) -> bool {
        // Both fail only if the thread has ended before its time.
        let (Some(full), Ok(empty)) = (&self.full, self.empty.recv()) else {
            return false;
        };
        let bytes = std::mem::replace(buffer, empty);
        match full.send(Chunk { bytes, rows }) {
            Ok(()) => true,
            Err(mpsc::SendError(chunk)) => {
                *buffer = chunk.bytes;
                false
            }
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// What could not be written.
    ///
    /// # Panics
    /// If the thread did.
    pub(super) fn end(mut self) -> Result<(), Unwritten> {
        match self.join() {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(()),
        }
    }

    fn join(&mut self) -> Option<thread::Result<Result<(), Unwritten>>> {
        self.full = None;
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

/// What the thread does.
fn write_all(
    file: &File,
    chunks: &Receiver<Chunk>,
    back: Sender<Vec<u8>>,
    written: &SharedWritten,
) -> Result<(), Unwritten> {
    for mut chunk in chunks {
        if let Err(error) = written.lock().append(file, &chunk) {
            // Whoever waits for an empty buffer learns by this that none will come.
            drop(back);
            let chunks = std::iter::once(chunk).chain(chunks).collect();
            return Err(Unwritten { error, chunks });
        }
        chunk.bytes.clear();
        // Nobody wants it any more at the end.
        let _ = back.send(chunk.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands over chunks until one is refused or `count` are; returns how many were taken.
    fn hand_over(writer: &ChunkWriter, count: u64) -> u64 {
        let taken = (1..=count).take_while(|rows| {
            let mut buffer = format!("row {rows}\n").into_bytes();
            let taken = writer.hand_over(&mut buffer, *rows);
            assert_eq!(buffer.is_empty(), taken, "what is not taken stays");
            taken
        });
        taken.count() as u64
    }

    fn rows(range: std::ops::RangeInclusive<u64>) -> String {
        range.map(|row| format!("row {row}\n")).collect()
    }

    #[test]
    fn chunks_are_written_in_their_order_with_their_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = SharedWritten::default();
        let writer = ChunkWriter::start("out", file.as_file(), &written, 64).unwrap();
        assert_eq!(hand_over(&writer, 1000), 1000);
        writer.end().unwrap();
        let text = rows(1..=1000);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
        let content = written.lock().content();
        assert_eq!((content.rows, content.bytes), (1000, text.len() as u64));
        assert_eq!(
            content.digest,
            digest(blake3::Hasher::new().update(text.as_bytes()))
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_device_does_not_take_is_given_back_whole() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let written = SharedWritten::default();
        let writer = ChunkWriter::start("out", &full, &written, 64).unwrap();
        let taken = hand_over(&writer, 1000);
        assert!(
            (1..1000).contains(&taken),
            "a dead thread takes no more: {taken}"
        );
        let Unwritten { error, chunks } = writer.end().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(28), "ENOSPC");
        assert_eq!(written.lock().bytes(), 0);
        let text: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| chunk.bytes.clone())
            .collect();
        assert_eq!(String::from_utf8(text).unwrap(), rows(1..=taken));
        assert_eq!(chunks.last().map(|chunk| chunk.rows), Some(taken));
    }
}
