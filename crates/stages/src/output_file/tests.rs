//! Outputs that appear whole or not at all, and what is kept of those that do not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use statline_pipeline::testing::Items;
use statline_pipeline::{
    Builder, CancelHandle, Declare, ErrorRecord, Errors, FaultKind, InputPort, Kind, Message,
    Outcome, Outlet, PipelineSettings, PublishOrder, RunReport, Scope, Sink, Source,
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

/// As [`job`], of a source that does what a test says, in a job that keeps partial results.
fn keeping<F>(path: &Path, acts: F) -> Builder
where
    F: FnMut(&mut Outlet<EntryBatch>) -> Result<(), StageError> + Send + 'static,
{
    let mut settings = PipelineSettings::default();
    settings.keep_partial = true;
    let mut builder = Builder::new("nightly").with_settings(settings);
    let source = builder.source("in", Acts(acts)).done();
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
    assert_eq!((mark.schema, mark.outcome), (2, Outcome::Complete));
    assert_eq!(
        (mark.job.as_str(), &mark.run_id),
        ("nightly", &report.run_id)
    );
    assert_eq!(mark.started, report.started);
    assert!(mark.finished > mark.started);
    assert_eq!(mark.finished, report.finished);
    assert_eq!(mark.rows, 40_000);
    let size = fs::metadata(&path).unwrap().len();
    assert_eq!(mark.bytes, size);
    assert_eq!(mark, OutputMark::verify(&path).unwrap());
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

/// An output that tells when it is ready for its final name.
struct TellsWhenReady(OutputFile, mpsc::Sender<()>);

impl Sink for TellsWhenReady {
    type In = EntryBatch;

    fn write(&mut self, _: EntryBatch, _: &Errors) -> Result<(), StageError> {
        self.0.buffer().extend_from_slice(b"a row\n");
        self.0.end_row()
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.0.prepare()?;
        self.1.send(()).map_err(StageError::failed)
    }

    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        self.0.seal(verdict)
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.0.publish(verdict)
    }
}

struct TellsWhenReadyKind;

impl Kind for TellsWhenReadyKind {
    type Config = (PathBuf, mpsc::Sender<()>);
    type Ports = InputPort<EntryBatch>;

    fn declare(&self, _: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input("in")
    }

    fn open(
        &self,
        (path, ready): Self::Config,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let output = OutputFile::open(stage, &path.to_str().unwrap().into())?;
        let sink = TellsWhenReady(output, ready);
        stage.sink(&input, PublishOrder::Output, sink)
    }
}

#[test]
fn an_output_that_was_ready_when_the_run_was_cancelled_does_not_appear() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    fs::write(&path, "yesterday").unwrap();
    let cancel = CancelHandle::new();
    let canceller = cancel.clone();
    let (sender, ready) = mpsc::channel();
    let mut builder = Builder::new("test");
    let source = builder.source("in", Items(vec![entries(&[b"a"])])).done();
    let _ = builder
        .stage("out", TellsWhenReadyKind, (path.clone(), sender))
        .reads(&source);
    // Another branch of the job is still at work then.
    let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
        ready.recv().unwrap();
        canceller.cancel();
        loop {
            out.send(entries(&[b"b"]))?;
        }
    });
    let source = builder.source("busy", acts).done();
    let _ = builder.sink("other", Meddles(|| ())).reads(&source);
    let report = builder.build().unwrap().start(&cancel).wait();
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(fs::read_to_string(&path).unwrap(), "yesterday");
    assert_eq!(listing(directory.path()).len(), 1);
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

/// The partial result of the output, after it was found to be what its mark says.
fn partial(path: &Path) -> (OutputMark, String) {
    let partial = beside(path, PARTIAL);
    let mark = OutputMark::verify(&partial).unwrap_or_else(|error| panic!("{error}"));
    (mark, fs::read_to_string(partial).unwrap())
}

#[test]
fn a_cancelled_run_keeps_whole_rows_if_it_is_to_and_the_next_one_removes_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    fs::write(&path, "yesterday").unwrap();
    let cancel = CancelHandle::new();
    let canceller = cancel.clone();
    let mut sent = 0;
    let builder = keeping(&path, move |out| {
        loop {
            out.send(entries(&[b"a", b"b"]))?;
            sent += 1;
            if sent == 10_000 {
                canceller.cancel();
            }
        }
    });
    let report = builder.build().unwrap().start(&cancel).wait();
    assert_eq!(report.outcome, Outcome::Cancelled);
    let (mark, text) = partial(&path);
    assert_eq!(mark.outcome, Outcome::Cancelled);
    assert_eq!(mark.cause, report.cause);
    assert!(mark.rows > 10_000);
    assert_eq!(text.lines().count() as u64, mark.rows);
    assert!(text.ends_with("}\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "yesterday");
    assert_eq!(listing(directory.path()).len(), 3);
    let stated = &report.stage("out").unwrap().facts[OUTPUT_FACT];
    let stated: WrittenOutput = serde_json::from_value(stated.clone()).unwrap();
    assert_eq!((stated.partial, stated.rows), (true, mark.rows));
    assert_eq!(
        stated.path.as_path(),
        beside(&path, PARTIAL).canonicalize().unwrap()
    );

    assert_eq!(
        run(job(vec![records(&[b"a"])], &path)).outcome,
        Outcome::Complete
    );
    assert_eq!(listing(directory.path()).len(), 2);
}

#[test]
fn a_file_of_somebody_else_does_not_pass_for_a_partial_result() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let download = beside(&path, PARTIAL);
    fs::write(&download, "mine").unwrap();
    let report = run(job(vec![records(&[b"a"])], &path));
    assert_eq!(report.outcome, Outcome::Complete, "{}", cause(&report));
    assert_eq!(fs::read_to_string(download).unwrap(), "mine");
}

/// Writes a row and a half, and then fails or panics.
struct HalfRow(OutputFile, bool);

impl Sink for HalfRow {
    type In = EntryBatch;

    fn write(&mut self, _: EntryBatch, _: &Errors) -> Result<(), StageError> {
        self.0.buffer().extend_from_slice(b"a whole row\n");
        self.0.end_row()?;
        self.0.buffer().extend_from_slice(b"half a r");
        assert!(!self.1, "meant to panic");
        Err(StageError::failed("meant to fail"))
    }

    fn keep(self, verdict: &Verdict) -> Result<(), StageError> {
        self.0.keep(verdict)
    }
}

struct HalfRowKind;

impl Kind for HalfRowKind {
    type Config = (PathBuf, bool);
    type Ports = InputPort<EntryBatch>;

    fn declare(&self, _: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports {
        ports.input("in")
    }

    fn open(
        &self,
        (path, panics): Self::Config,
        input: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let output = OutputFile::open(stage, &path.to_str().unwrap().into())?;
        stage.sink(&input, PublishOrder::Output, HalfRow(output, panics))
    }
}

#[test]
fn a_sink_that_fails_or_panics_in_a_row_keeps_the_rows_before_it() {
    for panics in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("half");
        let mut builder = keeping(&directory.path().join("other.jsonl"), |out| {
            out.send(entries(&[b"a"]))
        });
        let more = Acts(|out: &mut Outlet<EntryBatch>| out.send(entries(&[b"a"])));
        let more = builder.source("more", more).done();
        let config = (path.clone(), panics);
        let _ = builder.stage("half", HalfRowKind, config).reads(&more);
        let report = run(builder);
        assert_eq!(report.outcome, Outcome::Failed);
        let (mark, text) = partial(&path);
        assert_eq!(text, "a whole row\n");
        assert_eq!((mark.rows, mark.outcome), (1, Outcome::Failed));
        assert!(mark.cause.unwrap().contains("meant to"));
    }
}

#[test]
fn a_run_that_fails_while_it_is_opened_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = keeping(&directory.path().join("out.jsonl"), |_| Ok(()));
    let more = builder.source("more", Items(vec![entries(&[b"a"])])).done();
    let config = JsonlConfig::new("no/such/place.jsonl");
    let _ = builder.stage("other", Jsonl, config).reads(&more);
    assert_eq!(run(builder).outcome, Outcome::Failed);
    assert!(listing(directory.path()).is_empty());
}

#[test]
fn if_one_directory_vanishes_no_output_of_the_run_is_published() {
    for vanishing in ["a", "z"] {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::create_dir(place("m")).unwrap();
        fs::create_dir(place(vanishing)).unwrap();
        let doomed = place(vanishing);
        let mut builder = Builder::new("test");
        let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
            fs::remove_dir_all(&doomed).unwrap();
            out.send(entries(&[b"a"]))
        });
        let source = builder.source("in", acts).done();
        // Publishing follows the order of the stages: once before the other, once after it.
        let mut names = [vanishing, "m"];
        names.sort_unstable();
        for name in names {
            let config = JsonlConfig::new(place(name).join("out").to_str().unwrap());
            let _ = builder.stage(name, Jsonl, config).reads(&source);
        }
        let report = run(builder);
        let fault = report.fault.as_ref().unwrap();
        assert_eq!(
            (fault.stage.as_str(), fault.kind),
            (vanishing, FaultKind::Publish)
        );
        let named = format!("{:?}", place(vanishing).join("out"));
        assert!(cause(&report).contains(&named), "{}", cause(&report));
        assert!(listing(&place("m")).is_empty());
    }
}

#[test]
fn an_output_may_not_take_the_names_that_belong_to_another() {
    for taken in ["out.run.json", "out.partial", "out.partial.run.json"] {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = job(vec![records(&[b"a"])], &directory.path().join("out"));
        let source = builder
            .stage("more", Given::new(records(&[b"b"])), ())
            .done();
        let config = PathsConfig::new(directory.path().join(taken).to_str().unwrap());
        let _ = builder.stage("paths", Paths, config).reads(&source);
        let report = run(builder);
        assert!(
            cause(&report).contains("writes"),
            "{taken}: {}",
            cause(&report)
        );
        assert!(listing(directory.path()).is_empty());
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".statline-0123456789ab.tmp"), "left").unwrap();
    let report = run(job(vec![records(&[b"a"])], &directory.path().join("out")));
    assert_eq!(report.outcome, Outcome::Complete, "{}", cause(&report));
    assert_eq!(
        listing(directory.path()).into_iter().collect::<Vec<_>>(),
        ["out", "out.run.json"]
    );
}

/// A sink that does something once all that seal before it have sealed.
struct Meddles<F>(F);

impl<F: FnMut() + Send + 'static> Sink for Meddles<F> {
    type In = EntryBatch;

    fn write(&mut self, _: EntryBatch, _: &Errors) -> Result<(), StageError> {
        Ok(())
    }

    fn seal(&mut self, _: &Verdict) -> Result<(), StageError> {
        (self.0)();
        Ok(())
    }
}

/// A run in which a directory takes this place after everything was sealed.
fn run_with_a_surprise(path: &Path, place: PathBuf) -> RunReport {
    let mut builder = Builder::new("test");
    let source = builder.source("in", Items(vec![entries(&[b"a"])])).done();
    let config = JsonlConfig::new(path.to_str().unwrap());
    let _ = builder.stage("out", Jsonl, config).reads(&source);
    let meddles = Meddles(move || fs::create_dir(&place).unwrap());
    let _ = builder.sink("surprise", meddles).reads(&source);
    run(builder)
}

#[test]
fn a_file_whose_mark_cannot_be_put_in_place_does_not_appear() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let report = run_with_a_surprise(&path, OutputMark::path_for(&path));
    assert_eq!(report.fault.as_ref().unwrap().kind, FaultKind::Publish);
    assert!(!path.exists());
    assert_eq!(listing(directory.path()).len(), 1);
}

#[test]
fn a_file_that_cannot_be_renamed_leaves_no_mark() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let report = run_with_a_surprise(&path, path.clone());
    assert_eq!(report.fault.as_ref().unwrap().kind, FaultKind::Publish);
    assert!(!OutputMark::path_for(&path).exists());
    assert_eq!(listing(directory.path()).len(), 1);
}

#[test]
fn a_file_that_cannot_be_put_in_place_keeps_the_others_from_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let taken = place("second");
    let mut builder = Builder::new("test");
    let acts = Acts(move |out: &mut Outlet<EntryBatch>| {
        fs::create_dir(&taken).unwrap();
        out.send(entries(&[b"a"]))
    });
    let source = builder.source("in", acts).done();
    for name in ["first", "second"] {
        let config = JsonlConfig::new(place(name).to_str().unwrap());
        let _ = builder.stage(name, Jsonl, config).reads(&source);
    }
    let report = run(builder);
    assert_eq!(report.fault.as_ref().unwrap().stage, "second");
    assert_eq!(
        listing(directory.path()).into_iter().collect::<Vec<_>>(),
        ["second"]
    );
}
