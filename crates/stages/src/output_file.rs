//! A file that appears whole or not at all, and the streams that outputs can go to instead.
//!
//! A file is written under a temporary name beside its final one: created exclusively, readable by its owner alone.
//! [`prepare`](OutputFile::prepare) makes it durable, [`publish`](OutputFile::publish) gives it its name by a rename.
//! One thing must stay true: whatever stood under the final name stays as it is until a run has ended that publishes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use statline_pipeline::{Opening, StageError, Verdict};
use tempfile::NamedTempFile;

use crate::output_mark::OutputMark;
use crate::output_path::{Destination, OutputPath};
use crate::run_start::run_start;

/// Bytes that are written at once: enough for the cost of a call to vanish, few enough to stay in a cache.
const CHUNK: usize = 256 * 1024;

/// An output under way. Dropping it leaves nothing behind.
///
/// A symbolic link under the final name is replaced, not followed. Something that is neither a file nor a link there
/// (a directory, a named pipe, a device) is refused when the output is opened. The file is readable by its owner
/// alone, as names can be private; so is its mark, the file `FILE.run.json` beside it, which is put in place first.
///
/// Standard output and paths below `/dev` are written to as the rows come, without a mark. A reader who leaves
/// ([`BrokenPipe`](io::ErrorKind::BrokenPipe)) has enough, which ends the stage well.
pub struct OutputFile {
    target: Target,
    /// As the job names it, for messages.
    name: PathBuf,
    /// What was not handed to the system yet.
    buffer: Vec<u8>,
    rows: u64,
    /// Handed to the system, the buffer not counted.
    bytes: u64,
}

enum Target {
    File {
        temporary: NamedTempFile,
        /// The directory, resolved when the output was opened: a later change of the working directory has no effect.
        directory: PathBuf,
        path: PathBuf,
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

fn claim(stage: &Opening<'_>, output: &Path) -> Result<(), StageError> {
    let claims = stage.resource(|| Ok(Claims::default()))?;
    let mut claims = claims.0.lock().unwrap_or_else(PoisonError::into_inner);
    let own = stage.context().stage().to_owned();
    match claims.insert(output.to_owned(), own) {
        Some(other) => Err(StageError::failed(format!(
            "stage {other:?} writes {output:?} already"
        ))),
        None => Ok(()),
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
                claim(stage, Path::new("standard output"))?;
                let name = PathBuf::from("standard output");
                Ok(OutputFile::stream(name, io::stdout()))
            }
            Destination::Stream(path) => {
                // Appending is what keeps a shared file, such as a redirected /dev/fd/3, from being written over.
                let file = File::options().append(true).open(&path);
                let file = file.map_err(|error| failed("open", &path, error))?;
                Ok(OutputFile::stream(path, file))
            }
            Destination::File(path) => {
                let output = OutputFile::create(path)?;
                if let Target::File { path, .. } = &output.target {
                    claim(stage, path)?;
                }
                Ok(output)
            }
        }
    }

    fn create(name: PathBuf) -> Result<OutputFile, StageError> {
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
        for final_name in [&path, &OutputMark::path_for(&path)] {
            match final_name.symlink_metadata() {
                Ok(found) if found.is_file() || found.is_symlink() => {}
                Ok(_) => {
                    let why = "there is something that is no file; move it away";
                    let error = io::Error::new(io::ErrorKind::AlreadyExists, why);
                    return Err(failed("write", final_name, error));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("write", final_name, error)),
            }
        }
        let temporary = temporary_in(&directory)
            .map_err(|error| failed("create a temporary file for", &name, error))?;
        let target = Target::File {
            temporary,
            directory,
            path,
        };
        Ok(OutputFile::new(name, target))
    }

    fn stream(name: PathBuf, writer: impl Write + Send + 'static) -> OutputFile {
        OutputFile::new(name, Target::Stream(Box::new(writer)))
    }

    fn new(name: PathBuf, target: Target) -> OutputFile {
        OutputFile {
            target,
            name,
            // A row more than a chunk fits without the buffer growing.
            buffer: Vec::with_capacity(CHUNK + CHUNK / 8),
            rows: 0,
            bytes: 0,
        }
    }

    /// Where to append what is to be written. Call [`end_row`](OutputFile::end_row) often.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Counts a row, and writes if there is enough to write.
    ///
    /// # Errors
    /// If it cannot be written; [`StageError::ENOUGH`] if nobody reads it any more.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), StageError> {
        self.rows += 1;
        if self.buffer.len() < CHUNK {
            return Ok(());
        }
        self.flush()
    }

    /// Shows what there is to the reader of a stream, who must not wait for a chunk to be full.
    ///
    /// # Errors
    /// As [`end_row`](OutputFile::end_row).
    pub fn end_message(&mut self) -> Result<(), StageError> {
        match self.target {
            Target::File { .. } => Ok(()),
            Target::Stream(_) | Target::Gone => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), StageError> {
        let written = match &mut self.target {
            Target::File { temporary, .. } => temporary.as_file_mut().write_all(&self.buffer),
            Target::Stream(writer) => writer.write_all(&self.buffer).and_then(|()| writer.flush()),
            Target::Gone => Ok(()),
        };
        match written {
            Ok(()) => {
                self.bytes += self.buffer.len() as u64;
                self.buffer.clear();
                Ok(())
            }
            Err(error)
                if error.kind() == io::ErrorKind::BrokenPipe
                    && matches!(self.target, Target::Stream(_)) =>
            {
                self.target = Target::Gone;
                self.buffer.clear();
                Err(StageError::ENOUGH)
            }
            Err(error) => Err(failed("write", &self.name, error)),
        }
    }

    /// Writes what is left and makes it durable, still under the temporary name.
    ///
    /// # Errors
    /// As [`end_row`](OutputFile::end_row).
    pub fn prepare(&mut self) -> Result<(), StageError> {
        self.flush()?;
        match &self.target {
            Target::File { temporary, .. } => temporary
                .as_file()
                .sync_all()
                .map_err(|error| failed("sync", &self.name, error)),
            Target::Stream(_) | Target::Gone => Ok(()),
        }
    }

    /// Puts the mark and then the file in place, or throws it away if the run's outcome publishes nothing.
    ///
    /// # Errors
    /// If the file or its mark cannot be put in place. Then what stood there stands there still, without a mark.
    pub fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        let Target::File {
            temporary,
            directory,
            path,
        } = self.target
        else {
            return Ok(());
        };
        if !verdict.outcome.publishes() {
            return Ok(());
        }
        let beside = OutputMark::path_for(&path);
        let mark = OutputMark::new(verdict, self.rows, self.bytes);
        put_mark(&mark, &directory, &beside)
            .and_then(|()| sync_directory(&directory))
            .map_err(|error| failed("write", &beside, error))?;
        if let Err(error) = temporary.persist(&path) {
            // A mark that tells of another file than the one beside it is worse than none.
            let _ = std::fs::remove_file(&beside);
            return Err(failed("put in place", &self.name, error.error));
        }
        sync_directory(&directory).map_err(|error| failed("sync the directory of", &path, error))
    }
}

fn put_mark(mark: &OutputMark, directory: &Path, path: &Path) -> io::Result<()> {
    let mut temporary = temporary_in(directory)?;
    serde_json::to_writer_pretty(temporary.as_file_mut(), mark)?;
    temporary.as_file_mut().write_all(b"\n")?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file that nobody else can open, removed when it is dropped. A process that is killed leaves it.
fn temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".statline-")
        .suffix(".tmp")
        .rand_bytes(12)
        .tempfile_in(directory)
}

/// Makes renames in a directory durable.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Directories cannot be opened as files here; a rename is as durable as the system makes it.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use statline_pipeline::testing::Items;
    use statline_pipeline::{
        Builder, CancelHandle, ErrorRecord, Errors, FaultKind, Message, Outcome, Outlet, RunReport,
        Scope, Sink, Source,
    };

    use super::*;
    use crate::fixtures::{Given, entries, listing, records};
    use crate::{EntryBatch, Jsonl, JsonlConfig, Paths, PathsConfig};

    fn job<M: Message + Sync>(messages: Vec<M>, path: &Path) -> Builder {
        let mut builder = Builder::new("nightly");
        let source = builder.stage("in", Given::all(messages), ()).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        builder
    }

    fn run(builder: Builder) -> RunReport {
        builder.build().unwrap().run()
    }

    fn cause(report: &RunReport) -> &str {
        report.cause.as_deref().unwrap_or_default()
    }

    /// A source that does what a test says.
    struct Acts<F>(F);

    impl<F> Source for Acts<F>
    where
        F: FnMut(&mut Outlet<EntryBatch>) -> Result<(), StageError> + Send + 'static,
    {
        type Out = EntryBatch;

        fn run(&mut self, out: &mut Outlet<EntryBatch>) -> Result<(), StageError> {
            (self.0)(out)
        }
    }

    /// A sink that fails at a given step, to fail a run whose output is under way.
    #[derive(Clone, Copy, PartialEq)]
    enum Fails {
        Writing,
        Preparing,
    }

    impl Sink for Fails {
        type In = EntryBatch;

        fn write(&mut self, _: EntryBatch, _: &Errors) -> Result<(), StageError> {
            match self {
                Fails::Writing => Err(StageError::failed("meant to fail")),
                Fails::Preparing => Ok(()),
            }
        }

        fn prepare(&mut self) -> Result<(), StageError> {
            Err(StageError::failed("meant to fail"))
        }
    }

    #[test]
    fn a_file_appears_with_its_mark_when_the_run_is_over_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let (sender, seen) = mpsc::channel();
        let place = path.clone();
        let mut builder = Builder::new("nightly");
        let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
            for _ in 0..20_000 {
                out.send(entries(&[b"a", b"b"]))?;
            }
            let _ = sender.send(place.exists());
            Ok(())
        });
        let source = builder.source("in", acts).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        let report = run(builder);
        assert_eq!(report.outcome, Outcome::Complete, "{}", cause(&report));
        assert_eq!(seen.recv(), Ok(false));

        assert_eq!(
            listing(directory.path()).into_iter().collect::<Vec<_>>(),
            ["out.jsonl", "out.jsonl.run.json"]
        );
        let beside = OutputMark::path_for(&path);
        let mark: OutputMark = serde_json::from_slice(&fs::read(&beside).unwrap()).unwrap();
        assert_eq!((mark.schema, mark.outcome), (1, Outcome::Complete));
        assert_eq!(
            (mark.job.as_str(), &mark.run_id),
            ("nightly", &report.run_id)
        );
        assert_eq!(mark.started, report.started);
        assert!(mark.finished > mark.started);
        assert_eq!(mark.rows, 40_000);
        let size = fs::metadata(&path).unwrap().len();
        assert_eq!(mark.bytes, size);
        assert!(size > 4 * CHUNK as u64, "several chunks");
        for file in [&path, &beside] {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn a_failed_run_leaves_what_was_there_and_nothing_else() {
        for fails in [Fails::Writing, Fails::Preparing] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("out.jsonl");
            fs::write(&path, "yesterday").unwrap();
            fs::write(OutputMark::path_for(&path), "mark").unwrap();
            let mut builder = Builder::new("test");
            let source = builder
                .source("in", Items(vec![entries(&[b"a"]); 100]))
                .done();
            let config = JsonlConfig::new(path.to_str().unwrap());
            let _ = builder.stage("out", Jsonl, config).reads(&source);
            let _ = builder.sink("other", fails).reads(&source);
            let report = run(builder);
            assert_eq!(report.outcome, Outcome::Failed);
            assert!(cause(&report).contains("meant to fail"));
            assert_eq!(fs::read(&path).unwrap(), b"yesterday");
            assert_eq!(fs::read(OutputMark::path_for(&path)).unwrap(), b"mark");
            assert_eq!(listing(directory.path()).len(), 2);
        }
    }

    #[test]
    fn a_cancelled_run_publishes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let cancel = CancelHandle::new();
        let canceller = cancel.clone();
        let mut builder = Builder::new("test");
        let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
            out.send(entries(&[b"a"]))?;
            canceller.cancel();
            loop {
                out.send(entries(&[b"b"]))?;
            }
        });
        let source = builder.source("in", acts).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        let report = builder.build().unwrap().start(&cancel).wait();
        assert_eq!(report.outcome, Outcome::Cancelled);
        assert!(listing(directory.path()).is_empty());
    }

    #[test]
    fn an_incomplete_run_publishes_and_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let mut builder = Builder::new("test");
        let acts = Acts(|out: &mut Outlet<EntryBatch>| {
            let (subject, message) = (b"dir/secret".to_vec(), "Permission denied");
            let error = ErrorRecord::new("open", subject, "EACCES", message, Scope::Subtree);
            out.errors().report(error)?;
            out.send(entries(&[b"a"]))
        });
        let source = builder.source("walk", acts).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        assert_eq!(run(builder).outcome, Outcome::Incomplete);
        let mark = fs::read(OutputMark::path_for(&path)).unwrap();
        let mark: serde_json::Value = serde_json::from_slice(&mark).unwrap();
        assert_eq!(mark["outcome"], "incomplete");
        assert_eq!(mark["rows"], 1);
        assert_eq!(
            mark["errors"],
            serde_json::json!([{
                "stage": "walk", "operation": "open", "code": "EACCES", "count": 1, "accepted": false
            }])
        );
    }

    #[test]
    fn a_symbolic_link_under_the_final_name_is_replaced_and_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let victim = directory.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, OutputMark::path_for(&path)).unwrap();
        let report = run(job(vec![records(&[b"a"])], &path));
        assert_eq!(report.outcome, Outcome::Complete, "{}", cause(&report));
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(path.symlink_metadata().unwrap().is_file());
        assert!(
            OutputMark::path_for(&path)
                .symlink_metadata()
                .unwrap()
                .is_file()
        );
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let is_directory = directory.path().join("directory");
        fs::create_dir(&is_directory).unwrap();
        let with_mark = directory.path().join("marked");
        fs::create_dir(OutputMark::path_for(&with_mark)).unwrap();
        let missing = directory.path().join("missing/out.jsonl");
        let lengthy = directory.path().join("x".repeat(250));
        for (path, why) in [
            (&is_directory, "something that is no file"),
            (&with_mark, "something that is no file"),
            (&missing, "No such file or directory"),
            (&lengthy, "File name too long"),
        ] {
            let before = listing(directory.path());
            let report = run(job(vec![records(&[b"a"])], path));
            assert_eq!(report.outcome, Outcome::Failed);
            assert_eq!(report.fault.as_ref().unwrap().kind, FaultKind::Open);
            assert!(
                cause(&report).contains(path.to_str().unwrap()),
                "{}",
                cause(&report)
            );
            assert!(cause(&report).contains(why), "{}", cause(&report));
            assert_eq!(listing(directory.path()), before);
        }
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_has_no_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let place = path.clone();
        let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
            fs::create_dir(&place).unwrap();
            out.send(entries(&[b"a"]))
        });
        let mut builder = Builder::new("test");
        let source = builder.source("in", acts).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        // Opened before the source runs, so that the directory comes as a surprise.
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        let report = run(builder);
        assert_eq!(report.fault.as_ref().unwrap().kind, FaultKind::Publish);
        let why = format!("cannot put in place {path:?}");
        assert!(cause(&report).contains(&why), "{}", cause(&report));
        assert_eq!(
            listing(directory.path()).into_iter().collect::<Vec<_>>(),
            ["out.jsonl"]
        );
    }

    #[test]
    fn a_full_device_fails_the_run_and_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other.jsonl");
        let mut builder = job(vec![records(&[b"a"])], Path::new("/dev/full"));
        let source = builder
            .stage("more", Given::new(records(&[b"b"])), ())
            .done();
        let config = JsonlConfig::new(other.to_str().unwrap());
        let _ = builder.stage("other", Jsonl, config).reads(&source);
        let report = run(builder);
        assert_eq!(report.outcome, Outcome::Failed);
        assert!(
            cause(&report).contains("cannot write \"/dev/full\": No space left on device"),
            "{}",
            cause(&report)
        );
        assert!(listing(directory.path()).is_empty());
    }

    #[test]
    fn two_stages_do_not_write_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut builder = job(vec![records(&[b"a"])], &path);
        let source = builder
            .stage("more", Given::new(records(&[b"b"])), ())
            .done();
        let roundabout = directory.path().join("./out");
        let config = PathsConfig::new(roundabout.to_str().unwrap());
        let _ = builder.stage("paths", Paths, config).reads(&source);
        let report = run(builder);
        assert_eq!(report.outcome, Outcome::Failed);
        assert!(cause(&report).contains("writes"), "{}", cause(&report));
        assert!(listing(directory.path()).is_empty());
    }

    #[test]
    fn a_date_in_the_path_is_that_of_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let report = run(job(
            vec![records(&[b"a"])],
            &directory.path().join("%Y-%m-%d"),
        ));
        let (day, _) = report.started.split_once('T').unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join(day))
                .unwrap()
                .lines()
                .count(),
            1
        );
    }

    #[test]
    fn a_stream_shows_each_message_at_once() {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = format!("/dev/fd/{}", writer.as_raw_fd());
        let (shown, seen) = mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(reader).read_line(&mut line).unwrap();
            shown.send(line).unwrap();
        });
        let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
            out.send(entries(&[b"a"]))?;
            let line = seen.recv_timeout(Duration::from_secs(30));
            assert_eq!(line.as_deref(), Ok("dir/a\n"), "while the run goes on");
            Ok(())
        });
        let mut builder = Builder::new("test");
        let source = builder.source("in", acts).done();
        let _ = builder
            .stage("out", Paths, PathsConfig::new(path))
            .reads(&source);
        let report = run(builder);
        assert_eq!(report.outcome, Outcome::Complete, "{}", cause(&report));
        drop(writer);
        reading.join().unwrap();
    }

    #[test]
    fn a_reader_of_standard_output_who_leaves_ends_the_run_well() {
        // The test runs itself as a child, as it cannot give its own standard output away.
        const CHILD: &str = "STATLINE_TEST_WRITES_TO_STDOUT";
        if std::env::var_os(CHILD).is_some() {
            let batches = vec![records(&[&b"a"[..]; 1000]); 1000];
            let report = run(job(batches, Path::new("-")));
            let received = report.stages.iter().find(|stage| stage.name == "out");
            let stopped_early = received.is_some_and(|stage| stage.items_in < 1_000_000);
            std::process::exit(match report.outcome {
                Outcome::Complete if stopped_early => 40,
                Outcome::Complete => 41,
                _ => 42,
            });
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"path\":\"dir/a\"") {
            line.clear();
            assert!(read.read_line(&mut line).unwrap() > 0);
        }
        drop(read);
        assert_eq!(child.wait().unwrap().code(), Some(40));
    }
}
