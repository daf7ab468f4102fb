//! A file that appears whole or not at all, and the streams that outputs can go to instead.
//!
//! A file is written under a temporary name beside its final one: created exclusively, readable by its owner alone.
//! [`prepare`](OutputFile::prepare) makes it durable, [`seal`](OutputFile::seal) writes its mark,
//! [`publish`](OutputFile::publish) gives both their names by renames. Where the run did not finish and its job wants to
//! see what there is, [`keep`](OutputFile::keep) does all of that under the name of a partial result. What goes to a file
//! is written by a thread of its own once there is much of it (`output_file/chunk_writer.rs`).
//! One thing must stay true: whatever stood under the final name stays as it is until a run has ended that publishes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use statline_pipeline::{Context, Opening, StageError, Verdict};
use tempfile::NamedTempFile;

use crate::RootPath;
use crate::output_mark::{Content, OutputMark, beside};
use crate::output_path::{Destination, OutputPath};
use crate::run_start::run_start;
use crate::temporary::{self, sync_directory};

mod chunk_writer;

use chunk_writer::{Chunk, ChunkWriter, SharedWritten, Unwritten};

/// Bytes that are written at once: enough for the cost of a call to vanish, few enough to stay in a cache.
const CHUNK: usize = 256 * 1024;

/// A row more than a chunk fits without the buffer growing.
const CAPACITY: usize = CHUNK + CHUNK / 8;

/// What the name of a partial result has more than that of a whole one.
const PARTIAL: &str = ".partial";

/// The fact by which a stage states what it has written: a [`WrittenOutput`].
pub const OUTPUT_FACT: &str = "output";

/// What a stage has left on disk, as it is in the run's report among the facts of the stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WrittenOutput {
    /// The file, as an absolute path.
    pub path: RootPath,
    /// Whether it is what there was when the run stopped, under the name for that.
    pub partial: bool,
    /// The rows in it, a header not counted.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its digest, as in its mark.
    pub digest: String,
}

/// An output under way. Dropping it leaves nothing behind.
///
/// A symbolic link under the final name is replaced, not followed. Something that is neither a file nor a link there
/// (a directory, a named pipe, a device) is refused when the output is opened. The file is readable by its owner
/// alone, as names can be private; so is its mark, the file `FILE.run.json` beside it, which is put in place first.
///
/// A run that does not finish leaves nothing of it, unless the job says `keep_partial`: then the rows until then are in
/// `FILE.partial`, with a mark of their own. Once a later run publishes FILE, such a partial result is removed.
///
/// Standard output and paths below `/dev` are written to as the rows come, without a mark. A reader who leaves
/// ([`BrokenPipe`](io::ErrorKind::BrokenPipe)) has enough, which ends the stage well.
pub struct OutputFile {
    target: Target,
    /// As the job names it, for messages.
    name: PathBuf,
    /// For stating what was left on disk.
    context: Context,
    /// What was not handed to the system yet.
    buffer: Vec<u8>,
    /// Where in the buffer the last whole row ends.
    row_end: usize,
    /// How many have ended.
    rows: u64,
    /// What a file has of them.
    written: SharedWritten,
    /// What could not be written when the run failed, to be tried once more if it is to be kept.
    unwritten: Vec<Chunk>,
}

enum Target {
    File {
        /// Writes it, from the first full chunk on until there will be no more.
        writer: Option<ChunkWriter>,
        temporary: NamedTempFile,
        /// The directory, resolved when the output was opened: a later change of the working directory has no effect.
        directory: PathBuf,
        path: PathBuf,
        /// The mark, written and waiting for its name.
        mark: Option<NamedTempFile>,
    },
    Stream(Box<dyn Write + Send>),
    /// A stream whose reader left.
    Gone,
}

/// What could not be done to which file. The cause follows from its source.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path:?}")]
struct OutputError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> StageError {
    let path = path.to_owned();
    StageError::failed(OutputError {
        operation,
        path,
        source,
    })
}

/// The outputs of a run and the stages that write them: no two may write the same one.
#[derive(Default)]
struct Claims(Mutex<BTreeMap<PathBuf, String>>);

fn claim<'p>(
    stage: &Opening<'_>,
    outputs: impl IntoIterator<Item = &'p Path>,
) -> Result<(), StageError> {
    let claims = stage.resource(|| Ok(Claims::default()))?;
    let mut claims = claims.0.lock().unwrap_or_else(PoisonError::into_inner);
    for output in outputs {
        let own = stage.context().stage().to_owned();
        if let Some(other) = claims.insert(output.to_owned(), own) {
            return Err(StageError::failed(format!(
                "stage {other:?} writes {output:?} already"
            )));
        }
    }
    Ok(())
}

/// The names that an output may take, the final one and that of its mark first.
fn names(path: &Path) -> [PathBuf; 4] {
    let partial = beside(path, PARTIAL);
    [
        path.to_owned(),
        OutputMark::path_for(path),
        OutputMark::path_for(&partial),
        partial,
    ]
}

/// Refuses a name under which something is that a rename must not replace, or cannot.
fn check_free(name: &Path) -> io::Result<()> {
    match name.symlink_metadata() {
        Ok(found) if found.is_file() || found.is_symlink() => Ok(()),
        Ok(_) => {
            let why = "there is something that is no file; move it away";
            Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl OutputFile {
    /// Opens the output of a stage.
    ///
    /// # Errors
    /// If nothing can be written there, or another stage of the run writes there already.
    pub fn open(stage: &Opening<'_>, path: &OutputPath) -> Result<OutputFile, StageError> {
        let destination = path
            .destination(run_start(stage)?)
            .map_err(StageError::failed)?;
        match destination {
            Destination::Stdout => {
                let name = PathBuf::from("standard output");
                claim(stage, [name.as_path()])?;
                Ok(OutputFile::stream(stage, name, io::stdout()))
            }
            Destination::Stream(path) => {
                // Appending is what keeps a shared file, such as a redirected /dev/fd/3, from being written over.
                let file = File::options().append(true).open(&path);
                let file = file.map_err(|error| failed("open", &path, error))?;
                Ok(OutputFile::stream(stage, path, file))
            }
            Destination::File(path) => OutputFile::create(stage, path),
        }
    }

    fn create(stage: &Opening<'_>, name: PathBuf) -> Result<OutputFile, StageError> {
        let parent = match name.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = parent
            .canonicalize()
            .map_err(|error| failed("find the directory of", &name, error))?;
        let path = match name.file_name() {
            Some(file) => directory.join(file),
            None => return Err(StageError::failed(format!("{name:?} names no file"))),
        };
        // A name that the last step of the run would stumble over is better refused at its first.
        let names = names(&path);
        let taken = match stage.keeps_partial_results() {
            true => &names[..],
            false => &names[..2],
        };
        for taken in taken {
            check_free(taken).map_err(|error| failed("write", taken, error))?;
        }
        temporary::sweep(&directory);
        let temporary = temporary::create_in(&directory)
            .map_err(|error| failed("create a temporary file for", &name, error))?;
        claim(stage, names.iter().map(PathBuf::as_path))?;
        let target = Target::File {
            writer: None,
            temporary,
            directory,
            path,
            mark: None,
        };
        Ok(OutputFile::new(stage, name, target))
    }

    fn stream(
        stage: &Opening<'_>,
        name: PathBuf,
        writer: impl Write + Send + 'static,
    ) -> OutputFile {
        OutputFile::new(stage, name, Target::Stream(Box::new(writer)))
    }

    fn new(stage: &Opening<'_>, name: PathBuf, target: Target) -> OutputFile {
        OutputFile {
            target,
            name,
            context: stage.context().clone(),
            buffer: Vec::with_capacity(CAPACITY),
            row_end: 0,
            rows: 0,
            written: SharedWritten::default(),
            unwritten: Vec::new(),
        }
    }

    /// Where to append what is to be written. Call [`end_row`](OutputFile::end_row) often.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// States that what was written before the first row is whole: a header.
    pub fn end_header(&mut self) {
        self.row_end = self.buffer.len();
    }

    /// Counts a row, and writes if there is enough to write.
    ///
    /// # Errors
    /// If it cannot be written; [`StageError::ENOUGH`] if nobody reads it any more.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), StageError> {
        self.rows += 1;
        self.row_end = self.buffer.len();
        if self.row_end < CHUNK {
            return Ok(());
        }
        match self.target {
            Target::File { .. } => self.hand_over(),
            Target::Stream(_) | Target::Gone => self.show(),
        }
    }

    /// Shows what there is to the reader of a stream, who must not wait for a chunk to be full.
    ///
    /// # Errors
    /// As [`end_row`](OutputFile::end_row).
    pub fn end_message(&mut self) -> Result<(), StageError> {
        match self.target {
            Target::File { .. } => Ok(()),
            Target::Stream(_) | Target::Gone => self.show(),
        }
    }

    /// Writes what there is to a stream.
    fn show(&mut self) -> Result<(), StageError> {
        let Target::Stream(writer) = &mut self.target else {
            self.buffer.clear();
            return Ok(());
        };
        let written = writer.write_all(&self.buffer).and_then(|()| writer.flush());
        self.buffer.clear();
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.target = Target::Gone;
                Err(StageError::ENOUGH)
            }
            Err(error) => Err(failed("write", &self.name, error)),
        }
    }

    /// Hands a full chunk of a file to the thread that writes it.
    fn hand_over(&mut self) -> Result<(), StageError> {
        let Target::File {
            writer, temporary, ..
        } = &mut self.target
        else {
            return Ok(());
        };
        if writer.is_none() {
            let (name, file) = (self.context.stage(), temporary.as_file());
            // Where there is no thread to be had, this one writes.
            *writer = ChunkWriter::start(name, file, &self.written, CAPACITY).ok();
        }
        match writer {
            Some(writer) if writer.hand_over(&mut self.buffer, self.rows) => {
                self.row_end = 0;
                Ok(())
            }
            _ => self.write_here(),
        }
    }

    /// Writes what there is to a file, behind all that was handed over.
    fn write_here(&mut self) -> Result<(), StageError> {
        self.settle()?;
        if let Target::File { temporary, .. } = &self.target {
            let mut chunk = Chunk {
                bytes: std::mem::take(&mut self.buffer),
                rows: self.rows,
            };
            let written = self.written.lock().append(temporary.as_file(), &chunk);
            if written.is_ok() {
                chunk.bytes.clear();
                self.row_end = 0;
            }
            self.buffer = chunk.bytes;
            written.map_err(|error| failed("write", &self.name, error))?;
        }
        Ok(())
    }

    /// Waits until all is written that was handed over.
    fn settle(&mut self) -> Result<(), StageError> {
        let Target::File { writer, .. } = &mut self.target else {
            return Ok(());
        };
        match writer.take().map(ChunkWriter::end) {
            Some(Err(Unwritten { error, chunks })) => {
                self.unwritten = chunks;
                Err(failed("write", &self.name, error))
            }
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Writes what is left and makes it durable, still under the temporary name.
    ///
    /// # Errors
    /// As [`end_row`](OutputFile::end_row).
    pub fn prepare(&mut self) -> Result<(), StageError> {
        match self.target {
            Target::File { .. } => self.write_here()?,
            Target::Stream(_) | Target::Gone => self.show()?,
        }
        match &self.target {
            Target::File { temporary, .. } => temporary
                .as_file()
                .sync_all()
                .map_err(|error| failed("sync", &self.name, error)),
            Target::Stream(_) | Target::Gone => Ok(()),
        }
    }

    /// Writes the mark, still under a temporary name, looks whether the names can be given, and makes the directory
    /// durable as it is. After that only renames are left, and making those durable.
    ///
    /// # Errors
    /// If the file or its mark could not be put in place.
    pub fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        let content = self.written.lock().content();
        let Target::File {
            temporary,
            directory,
            path,
            mark,
            ..
        } = &mut self.target
        else {
            return Ok(());
        };
        if !temporary::is_in_place(temporary) {
            let why = "its temporary file was removed, or its directory moved away";
            let error = io::Error::new(io::ErrorKind::NotFound, why);
            return Err(failed("put in place", &self.name, error));
        }
        check_free(path).map_err(|error| failed("put in place", &self.name, error))?;
        let beside = OutputMark::path_for(path);
        let sealed = check_free(&beside)
            .and_then(|()| {
                write_mark(
                    &OutputMark::new(verdict, self.context.stage(), &content),
                    directory,
                )
            })
            .map_err(|error| failed("write", &beside, error))?;
        *mark = Some(sealed);
        sync_directory(directory).map_err(|error| failed("sync the directory of", path, error))
    }

    /// Puts the mark and then the file in place, or throws both away if the run's outcome publishes nothing.
    ///
    /// # Errors
    /// If the file or its mark cannot be put in place; then what stood there stands there still, without a mark. Or if
    /// that cannot be made durable; then both are in place as far as anybody can see.
    pub fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        let content = self.written.lock().content();
        let Target::File {
            temporary,
            directory,
            path,
            mark,
            ..
        } = self.target
        else {
            return Ok(());
        };
        if !verdict.outcome.publishes() {
            return Ok(());
        }
        let mark = match mark {
            Some(mark) => mark,
            // Whoever writes outputs without the framework's sinks need not seal.
            None => write_mark(
                &OutputMark::new(verdict, self.context.stage(), &content),
                &directory,
            )
            .map_err(|error| failed("write", &OutputMark::path_for(&path), error))?,
        };
        put_in_place(mark, temporary, &directory, &path)?;
        remove_partial(&path);
        state(&self.context, path, false, content)
    }

    /// Puts what there is in place as a partial result, whole rows only, with its mark.
    ///
    /// # Errors
    /// If it cannot be put in place; then nothing is left of it.
    pub fn keep(mut self, verdict: &Verdict) -> Result<(), StageError> {
        // What stopped the writing is known by now.
        let _ = self.settle();
        if let Target::File { temporary, .. } = &self.target {
            let mut file = temporary.as_file();
            self.buffer.truncate(self.row_end);
            self.unwritten.push(Chunk {
                bytes: std::mem::take(&mut self.buffer),
                rows: self.rows,
            });
            let mut written = self.written.lock();
            // As much of it as can be written.
            let _ = file.seek(SeekFrom::Start(written.bytes())).and_then(|_| {
                self.unwritten
                    .iter()
                    .try_for_each(|chunk| written.append(file, chunk))
            });
            // A write that failed, now or before, may have left a part of what it was given.
            file.set_len(written.bytes())
                .and_then(|()| file.sync_all())
                .map_err(|error| failed("keep what was written of", &self.name, error))?;
        }
        let content = self.written.lock().content();
        let Target::File {
            temporary,
            directory,
            path,
            // A mark that was sealed tells of a run that finished.
            mark: _,
            ..
        } = self.target
        else {
            return Ok(());
        };
        let path = beside(&path, PARTIAL);
        let mark = write_mark(
            &OutputMark::new(verdict, self.context.stage(), &content),
            &directory,
        )
        .map_err(|error| failed("write", &OutputMark::path_for(&path), error))?;
        put_in_place(mark, temporary, &directory, &path)?;
        state(&self.context, path, true, content)
    }
}

/// Gives a mark and then its file their names.
fn put_in_place(
    mark: NamedTempFile,
    temporary: NamedTempFile,
    directory: &Path,
    path: &Path,
) -> Result<(), StageError> {
    let beside = OutputMark::path_for(path);
    let put = mark.persist(&beside).map_err(|error| error.error);
    put.map_err(|error| failed("put in place", &beside, error))?;
    if let Err(error) = temporary.persist(path) {
        // A mark that tells of another file than the one beside it is worse than none.
        let _ = std::fs::remove_file(&beside);
        return Err(failed("put in place", path, error.error));
    }
    sync_directory(directory).map_err(|error| failed("sync the directory of", path, error))
}

/// Removes what an earlier run left under the name of a partial result: beside a newer whole one it would only confuse.
/// A file without a mark of ours is somebody else's. That it cannot be removed is no reason to fail.
fn remove_partial(path: &Path) {
    let partial = beside(path, PARTIAL);
    let is_ours = OutputMark::read(&partial).is_ok_and(|mark| !mark.outcome.publishes());
    if is_ours && std::fs::remove_file(&partial).is_ok() {
        let _ = std::fs::remove_file(OutputMark::path_for(&partial));
    }
}

fn state(
    context: &Context,
    path: PathBuf,
    partial: bool,
    content: Content,
) -> Result<(), StageError> {
    let output = WrittenOutput {
        path: RootPath::new(path),
        partial,
        rows: content.rows,
        bytes: content.bytes,
        digest: content.digest,
    };
    context.set_fact(OUTPUT_FACT, &output)
}

fn write_mark(mark: &OutputMark, directory: &Path) -> io::Result<NamedTempFile> {
    let mut temporary = temporary::create_in(directory)?;
    let mut text = serde_json::to_vec_pretty(mark)?;
    text.push(b'\n');
    temporary.as_file_mut().write_all(&text)?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
