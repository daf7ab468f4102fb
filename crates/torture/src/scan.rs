//! A scan in this process, with everything kept that it says.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use statline_pipeline::{
    Builder, CancelHandle, ErrorRecord, Errors, Outcome, PipelineSettings, RunReport, Sink,
    StageError, Verdict,
};
use statline_platform::{Kind, Metadata};
use statline_stages::{
    BackendSetting, DirectoryStatus, Enumerate, EnumerateConfig, RecordBatch, Rows, Stat,
    StatConfig,
};

use crate::suite::Broken;

/// Backends that differ in their system calls.
pub(crate) const BACKENDS: [BackendSetting; 2] = [BackendSetting::Statx, BackendSetting::Fstatat];

/// More records than any tree here has: a directory that never ends must not fill the memory of the suite.
const MOST_RECORDS: usize = 2_000_000;

/// How long a scan of a small tree may take on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a scan that was cancelled may take to end: its deadline and two seconds.
const END: Duration = Duration::from_secs(12);

/// What to scan, and how.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) root: PathBuf,
    pub(crate) backend: BackendSetting,
    pub(crate) threads: usize,
    pub(crate) targets: bool,
    pub(crate) settings: PipelineSettings,
    pub(crate) patience: Duration,
}

/// A record, its path relative to the root.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Option<Kind>,
    pub(crate) metadata: Metadata,
}

/// The end of a directory, its path relative to the root.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) path: Vec<u8>,
    pub(crate) entries: u64,
    pub(crate) status: DirectoryStatus,
}

/// All that a scan said.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) records: Vec<Seen>,
    pub(crate) ends: Vec<End>,
    pub(crate) errors: Vec<ErrorRecord>,
    pub(crate) report: RunReport,
    /// Whether the sink was told to publish, and as what.
    pub(crate) published: Option<Outcome>,
}

/// A scan that did not end.
#[derive(Debug)]
pub(crate) struct Hung;

impl Scan {
    pub(crate) fn of(root: &Path, backend: BackendSetting) -> Scan {
        Scan {
            root: root.to_owned(),
            backend,
            threads: 1,
            targets: true,
            settings: PipelineSettings::default(),
            patience: PATIENCE,
        }
    }

    pub(crate) fn run(&self) -> Result<Result<Observed, Hung>, Broken> {
        let collected = Arc::new(Mutex::new(Collected::default()));
        let job = self.job(&collected)?;
        let cancel = CancelHandle::new();
        let run = job.start(&cancel);
        let (done, ended) = mpsc::channel();
        let waiting = std::thread::Builder::new().spawn(move || {
            // Nobody listens any more if the scan took too long.
            let _ = done.send(run.wait());
        })?;
        let report = match ended.recv_timeout(self.patience) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => {
                cancel.cancel();
                let begin = Instant::now();
                if ended.recv_timeout(END).is_err() {
                    eprintln!(
                        "  a scan does not end {:?} after it was cancelled",
                        begin.elapsed()
                    );
                }
                return Ok(Err(Hung));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("waiting for a run panicked".into()),
        };
        if waiting.join().is_err() {
            return Err("waiting for a run panicked".into());
        }
        let mut collected = lock(&collected);
        let collected = std::mem::take(&mut *collected);
        Ok(Ok(Observed {
            records: collected.records,
            ends: collected.ends,
            errors: collected.errors,
            report,
            published: collected.published,
        }))
    }

    fn job(&self, collected: &Arc<Mutex<Collected>>) -> Result<statline_pipeline::Job, Broken> {
        let mut job = Builder::new("torture").with_settings(self.settings.clone());
        let mut config = EnumerateConfig::new([&self.root]);
        config.backend = self.backend;
        let walk = job
            .stage("walk", Enumerate, config)
            .threads(self.threads)
            .done();
        let config = StatConfig {
            targets: self.targets,
            backend: self.backend,
            ..StatConfig::default()
        };
        let meta = job
            .stage("meta", Stat, config)
            .threads(self.threads)
            .reads(&walk)
            .done();
        let records = Records {
            root: self.root.as_os_str().as_encoded_bytes().to_vec(),
            collected: Arc::clone(collected),
        };
        let _ = job.sink("records", records).reads(&meta);
        let errors = ErrorRows(Arc::clone(collected));
        let _ = job
            .sink("problems", errors)
            .reads(walk.port("errors"))
            .reads(meta.port("errors"));
        job.build()
            .map_err(|problems| format!("{:?}", problems.iter().collect::<Vec<_>>()).into())
    }

    /// The path of something below the root, relative to it.
    pub(crate) fn relative<'a>(&self, path: &'a [u8]) -> &'a [u8] {
        relative(self.root.as_os_str().as_encoded_bytes(), path)
    }
}

/// `path` without `root` and the slash behind it.
pub(crate) fn relative<'a>(root: &[u8], path: &'a [u8]) -> &'a [u8] {
    let rest = path.strip_prefix(root).unwrap_or(path);
    rest.strip_prefix(b"/").unwrap_or(rest)
}

impl Observed {
    /// The sum of a counter over all stages.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stages = self.report.stages.iter();
        stages.filter_map(|stage| stage.counters.get(name)).sum()
    }
}

#[derive(Debug, Default)]
struct Collected {
    records: Vec<Seen>,
    ends: Vec<End>,
    errors: Vec<ErrorRecord>,
    published: Option<Outcome>,
}

fn lock(collected: &Mutex<Collected>) -> MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Records {
    root: Vec<u8>,
    collected: Arc<Mutex<Collected>>,
}

impl Sink for Records {
    type In = RecordBatch;

    fn write(&mut self, batch: RecordBatch, _: &Errors) -> Result<(), StageError> {
        let mut collected = lock(&self.collected);
        if collected.records.len() > MOST_RECORDS {
            return Ok(());
        }
        let mut path = Vec::new();
        for row in batch.rows() {
            path.clear();
            row.write_path(&mut path);
            collected.records.push(Seen {
                path: relative(&self.root, &path).to_vec(),
                kind: row.kind,
                metadata: row.metadata.cloned().unwrap_or_default(),
            });
        }
        for end in batch.ends() {
            collected.ends.push(End {
                path: relative(&self.root, &end.directory.path_bytes()).to_vec(),
                entries: end.entries,
                status: end.status,
            });
        }
        Ok(())
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        lock(&self.collected).published = Some(verdict.outcome);
        Ok(())
    }
}

struct ErrorRows(Arc<Mutex<Collected>>);

impl Sink for ErrorRows {
    type In = ErrorRecord;

    fn write(&mut self, error: ErrorRecord, _: &Errors) -> Result<(), StageError> {
        lock(&self.0).errors.push(error);
        Ok(())
    }
}
