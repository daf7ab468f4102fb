//! The stage kind `hash`: reads the contents of regular files and adds their digests.
//!
//! This file takes batches in, has its threads share the files in them (`claims.rs`), watches each reading
//! (`digester.rs`), and accounts for what cannot be read. What earlier runs have read it finds in a store
//! (`remembered_hashes.rs`).
//!
//! One thing must stay true: as many records go out as came in, each as it was but for the digest. A file that cannot be
//! read keeps its record, which tells what `stat` saw; that its digest is missing, an error record says, or the
//! `vanished_files` count.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, Counter, DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, ErrorRecord, Inlet, InputPort, Kind,
    Opening, Outlet, OutputPort, Pulse, Received, Scope, StageError, Stop, Threading, Watch,
    Watched,
};
use statline_platform::{
    DirNode, Fault, FileId, Kind as EntryKind, Metadata, Timestamp, error_code, is_cancelled,
};

use crate::claims::{Claim, Claims, SLICE};
use crate::digester::{CHUNK, Digester, Reading};
use crate::directories::{BackendSetting, Directories, Errand, after_cancel, backend};
use crate::error_codes;
use crate::field::{Field, carries, come_as_records, need, report_missing};
use crate::remembered_hashes::{NewHashes, RememberedHashes};
use crate::{Change, ContentHash, RecordBatch, Row, Rows};

/// The version of the form of [`Hashed`]. It changes when a field changes its meaning or goes; new fields do not change
/// it.
pub const HASHED_SCHEMA: u32 = 1;

/// What tells whether a file is still the one that the record describes.
const NEEDED: [Field; 4] = [Field::Size, Field::Inode, Field::Device, Field::Mtime];

/// Options of `hash`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HashConfig {
    /// The file that remembers digests from run to run, such as the `path` of a stage of type cache.
    ///
    /// A file that has the number, size, mtime and ctime that it had when it was read is not opened, unless it had
    /// changed within two seconds before. Nothing is remembered on file systems where these prove nothing: images
    /// (SquashFS, EROFS, ISO 9660) and FAT. Elsewhere they must be what they seem: a FUSE or CIFS mount that makes up
    /// its ctime hides a change that sets the old size and mtime again. What was read is remembered when the run has
    /// delivered; what is remembered of files that are gone, a stage of type cache with the same file removes.
    pub cache: Option<PathBuf>,
}

/// The kind `hash`: records in, the same records out, regular files with the BLAKE3 digest of their contents.
///
/// Files are opened in their open directory, without following a symbolic link (unless the job does so everywhere) and
/// without waiting for anything. An empty file is not opened. Names of one file that are next to each other are read
/// once.
///
/// Each thread takes 256 KiB beside the batch that it brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hash;

impl Kind for Hash {
    type Config = HashConfig;
    type Ports = (InputPort<RecordBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "reads the contents of regular files and adds their digests"
    }

    fn threading(&self) -> Threading {
        Threading::Adaptive
    }

    fn declare(&self, config: Option<&HashConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        error_codes::declare(ports);
        if come_as_records(ports) {
            let missing: Vec<Field> = NEEDED
                .into_iter()
                .filter(|&field| !carries(ports, field))
                .collect();
            if !missing.is_empty() {
                report_missing(ports, "", &missing);
            }
        }
        if let Some(path) = config.and_then(|config| config.cache.as_ref()) {
            if path.as_os_str().is_empty() {
                ports.problem("cache", "an empty path names no file", None);
            }
            if come_as_records(ports) {
                need(ports, "cache", Field::Ctime);
            }
        }
        let mut properties = ports
            .incoming(DEFAULT_INPUT)
            .map(|stream| stream.properties.clone())
            .unwrap_or_default();
        // A stream that states no fields is trusted to have them all, this one too.
        if !properties.fields.is_empty() {
            properties.fields.insert(Field::Hash.to_string());
        }
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, properties),
        )
    }

    fn open(
        &self,
        config: HashConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let backend = backend(BackendSetting::Auto)?;
        let directories = Directories::of_run(stage, &backend)?;
        let threads = stage.threads().resolve_to(directories.threads());
        let remembered = match &config.cache {
            Some(path) => Some(RememberedHashes::open(path, &directories, stage)?),
            None => None,
        };
        let context = stage.context().clone();
        let shared = Arc::new(Hashing {
            claims: Claims::default(),
            remembered,
            files: context.counter("hashed_files"),
            vanished: context.counter("vanished_files"),
            began: OnceLock::new(),
            result: Mutex::new(()),
            bytes: context.counter("hashed_bytes"),
            digester: Digester {
                directories,
                backend,
            },
            context,
        });
        for _ in 0..threads {
            stage.watched(|ends| {
                Ok(HashWorker {
                    input: ends.input(&input),
                    out: ends.output(&output),
                    errand: Errand::new(&shared.digester.directories),
                    shared: Arc::clone(&shared),
                    buffer: Vec::new(),
                    claim: None,
                    given_up: false,
                    last: None,
                    new: NewHashes::default(),
                })
            })?;
        }
        Ok(())
    }
}

/// What a stage of the kind `hash` has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hashed {
    /// [`HASHED_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Files that were read whole.
    pub files: u64,
    /// Bytes that were read, those of files included that then had no digest.
    pub bytes: u64,
    /// Files whose digests an earlier run had found, each name counted.
    #[serde(default)]
    pub remembered: u64,
    /// From the first batch to the last file.
    pub seconds: f64,
    /// Bytes a second, all threads together; 0 if there was nothing to read.
    pub bytes_per_second: f64,
}

/// What all workers of the stage share.
struct Hashing {
    claims: Claims,
    remembered: Option<RememberedHashes>,
    digester: Digester,
    context: Context,
    files: Counter,
    bytes: Counter,
    /// Files that were gone when they were to be opened.
    vanished: Counter,
    began: OnceLock<Instant>,
    /// Held while the result is put together, so that the last one to do so has seen all.
    result: Mutex<()>,
}

impl Hashing {
    /// Reads a file, inside a watched call. Says as well whether what was read is to be remembered.
    fn read(
        &self,
        record: &Row<'_>,
        buffer: &mut [u8],
        pulse: &Pulse,
    ) -> io::Result<(Reading, bool)> {
        let nothing = Metadata::default();
        let seen = record.metadata.unwrap_or(&nothing);
        let steps = Cell::new(0);
        let goes_on = |count| {
            match count {
                0 => pulse.alive(),
                count => {
                    self.bytes.add(count);
                    steps.set(steps.get() + 1);
                    pulse.done(steps.get());
                }
            }
            !(self.context.is_stopping() || self.context.has_given_up())
        };
        let directory = record.directory;
        let digester = &self.digester;
        let reading = digester.digest(directory, record.name, seen, buffer, &goes_on)?;
        let remember = self.remembered.as_ref().is_some_and(|remembered| {
            // A link that is followed may lead to another device.
            let here = directory.identity().map(|identity| identity.device);
            let device = reading.file.device().filter(|&device| here == Some(device));
            let pin = || digester.directories.handles.pin(directory, &|| !goes_on(0));
            device.is_some_and(|device| remembered.is_worth_keeping(device, pin))
        });
        Ok((reading, remember))
    }

    fn set_result(&self) -> Result<(), StageError> {
        let _alone = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.bytes.get();
        let began = self.began.get();
        let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "it is told in three digits")]
        let bytes_per_second = match bytes {
            0 => 0.0,
            bytes => bytes as f64 / seconds.max(f64::EPSILON),
        };
        self.context.set_result(&Hashed {
            schema: HASHED_SCHEMA,
            files: self.files.get(),
            bytes,
            remembered: self.remembered.as_ref().map_or(0, RememberedHashes::taken),
            seconds,
            bytes_per_second,
        })
    }
}

/// A worker of `hash`.
struct HashWorker {
    input: Inlet<RecordBatch>,
    out: Outlet<RecordBatch>,
    shared: Arc<Hashing>,
    errand: Arc<Errand>,
    /// Away during a call, and lost with one that was given up.
    buffer: Vec<u8>,
    /// What it works on.
    claim: Option<Claim>,
    /// The call about the first of the claim's rows was given up.
    given_up: bool,
    /// The file that was read last, whose next name may follow.
    last: Option<(Signature, ContentHash)>,
    /// What is to be remembered.
    new: NewHashes,
}

/// What two names of one file have in common.
type Signature = (u64, FileId, u64, Option<Timestamp>);

impl Watched for HashWorker {
    fn run(worker: &mut Watch<HashWorker>) -> Result<(), StageError> {
        if let Some(mut claim) = worker.claim.take() {
            if std::mem::take(&mut worker.given_up)
                && let Some(row) = claim.rows.next()
            {
                worker.failed(&claim, row, &Fault::Stalled.into())?;
            }
            work_on(worker, claim)?;
        }
        let shared = Arc::clone(&worker.shared);
        loop {
            while let Some(claim) = shared.claims.take() {
                work_on(worker, claim)?;
            }
            let expected = shared.claims.expect();
            match worker.input.recv_until(Instant::now() + SLICE)? {
                Received::Message(batch) => worker.take_in(batch)?,
                Received::Idle => {}
                Received::End => {
                    drop(expected);
                    if shared.claims.is_over() {
                        break;
                    }
                    shared.context.checkpoint()?;
                }
            }
        }
        if let Some(remembered) = &shared.remembered {
            remembered.write(&mut worker.new)?;
        }
        shared.set_result()
    }

    fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
        let path = self.claim.as_ref().map(|claim| {
            let row = claim.batch.records.row(claim.rows.start);
            row.path_bytes()
        });
        ("read", path.unwrap_or_default())
    }

    fn give_up(&mut self, _: u64) {
        if let Some(claim) = &self.claim {
            let directory = claim.batch.records.row(claim.rows.start).directory;
            // Of a directory that was never opened, not even its device is known.
            let is_known = directory.identity().is_some();
            self.errand.give_up(directory, is_known);
        }
        self.given_up = true;
        self.errand = Errand::new(&self.shared.digester.directories);
    }
}

/// Digests the files of a claim, and sends the batch if it was the last one of it.
fn work_on(worker: &mut Watch<HashWorker>, mut claim: Claim) -> Result<(), StageError> {
    while !claim.rows.is_empty() {
        // Nothing else tells before a batch is sent, and that may take long.
        if worker.out.has_enough() {
            return Err(StageError::ENOUGH);
        }
        let row = claim.rows.start;
        let (left, digest) = digest(worker, claim, row)?;
        claim = left;
        match digest {
            Ok(hash) => claim.found(row, hash),
            Err(error) => {
                let error = after_cancel(&worker.shared.context, error);
                if is_cancelled(&error) {
                    return Err(StageError::Stopped(Stop::Cancelled));
                }
                worker.failed(&claim, row, &error)?;
            }
        }
        claim.rows.next();
    }
    match claim.finish() {
        Some(batch) => worker.out.send(batch),
        None => Ok(()),
    }
}

/// The digest of the file in one row.
fn digest(
    worker: &mut Watch<HashWorker>,
    claim: Claim,
    row: usize,
) -> Result<(Claim, io::Result<ContentHash>), StageError> {
    let record = claim.batch.records.row(row);
    let signature = record.metadata.and_then(signature);
    if let Some((last, hash)) = &worker.last
        && signature.as_ref() == Some(last)
    {
        let hash = *hash;
        return Ok((claim, Ok(hash)));
    }
    if worker.is_hopeless(record.directory) {
        return Ok((claim, Err(Fault::Stalled.into())));
    }
    let mut buffer = std::mem::take(&mut worker.buffer);
    buffer.resize(CHUNK, 0);
    let shared = Arc::clone(&worker.shared);
    let (errand, batch) = (Arc::clone(&worker.errand), Arc::clone(&claim.batch));
    worker.claim = Some(claim);
    let answer = worker.call(move |pulse| {
        let answer = shared.read(&batch.records.row(row), &mut buffer, pulse);
        drop((batch, errand));
        (buffer, answer)
    });
    let (buffer, answer) = answer?;
    worker.buffer = buffer;
    let claim = worker.claim.take();
    let claim = claim.expect("it was put there, and nobody else takes it");
    let (reading, remember) = match answer {
        Ok(answer) => answer,
        Err(error) => return Ok((claim, Err(error))),
    };
    let shared = Arc::clone(&worker.shared);
    shared.files.add(1);
    worker.last = signature.map(|signature| (signature, reading.hash));
    if let Some(remembered) = shared.remembered.as_ref().filter(|_| remember) {
        let directory = claim.batch.records.row(row).directory;
        remembered.keep(&mut worker.new, directory, &reading)?;
    }
    Ok((claim, Ok(reading.hash)))
}

impl HashWorker {
    /// Puts a batch up to be worked on, or sends it at once if there is nothing to read.
    fn take_in(&mut self, mut batch: RecordBatch) -> Result<(), StageError> {
        self.shared.began.get_or_init(Instant::now);
        let mut hashes = Vec::with_capacity(batch.len());
        let mut claims: VecDeque<Range<usize>> = VecDeque::new();
        let mut before = None;
        for (at, row) in batch.rows().enumerate() {
            let known = match known_digest(&row) {
                None if is_to_be_read(&row) => self.remembered(&row)?,
                known => known,
            };
            hashes.push(known);
            if known.is_some() || !is_to_be_read(&row) {
                continue;
            }
            // Names of one file stay together, so that it is read once.
            let signature = row.metadata.and_then(signature);
            match claims.back_mut() {
                Some(last) if signature.is_some() && signature == before && last.end == at => {
                    last.end += 1;
                }
                _ => claims.push_back(at..at + 1),
            }
            before = signature;
        }
        match claims.is_empty() {
            true => {
                batch.set_hashes(hashes);
                self.out.send(batch)
            }
            false => {
                self.shared.claims.put(batch, hashes, claims);
                Ok(())
            }
        }
    }

    fn remembered(&self, row: &Row<'_>) -> Result<Option<ContentHash>, StageError> {
        match &self.shared.remembered {
            Some(remembered) => remembered.find(row),
            None => Ok(None),
        }
    }

    /// Accounts for a digest that is missing.
    fn failed(&self, claim: &Claim, row: usize, error: &io::Error) -> Result<(), StageError> {
        if error.kind() == io::ErrorKind::NotFound {
            self.shared.vanished.add(1);
            return Ok(());
        }
        let path = claim.batch.records.row(row).path_bytes();
        let (code, message) = (error_code(error), error.to_string());
        let record = ErrorRecord::new("read", path, code, message, Scope::Entry);
        self.out.errors().report(record)
    }

    /// Whether nothing is to be asked of a directory's file system any more, because it does not answer.
    fn is_hopeless(&self, directory: &DirNode) -> bool {
        let directories = &self.shared.digester.directories;
        self.shared.context.has_given_up() || directories.is_dead(directory)
    }
}

/// Whether a row is about a file that can be read: what is gone, and what is no regular file, is not opened.
fn is_to_be_read(row: &Row<'_>) -> bool {
    row.kind == Some(EntryKind::File) && row.change != Some(Change::Deleted)
}

/// The digest of a row that needs no reading: one that it has already, or that of nothing.
fn known_digest(row: &Row<'_>) -> Option<ContentHash> {
    let is_empty = || row.metadata.and_then(Metadata::size) == Some(0);
    match row.hash {
        Some(hash) => Some(*hash),
        None if is_to_be_read(row) && is_empty() => Some(ContentHash::of(b"")),
        None => None,
    }
}

/// What tells a file whose next name may follow; `None` if it has no other.
fn signature(metadata: &Metadata) -> Option<Signature> {
    let has_others = metadata.nlink().is_some_and(|nlink| nlink > 1);
    let identity = has_others.then_some((metadata.device()?, metadata.file_id()?))?;
    Some((
        identity.0,
        identity.1,
        metadata.size()?,
        metadata.modified(),
    ))
}
