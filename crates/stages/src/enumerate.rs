//! `enumerate`: reads the names below the roots.
//!
//! Workers descend in parallel. Names go out as they are read, many directories in one message; the directories among
//! them go to the frontier. One thing must stay true: every directory that is met ends in exactly one `DirectoryEnd`,
//! and one that was not read whole ends as `Failed` with an error record, or as `Excluded`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Actor, Context, Counter, DEFAULT_OUTPUT, Declare, ErrorRecord, Kind, Opening, Outlet,
    OutputPort, Properties, Scope, StageError, Stop, ThreadSetting, Threading,
};
use statline_platform::{
    Backend, DirNode, Entries, Fields, Filesystem, FilesystemKind, Identity, Kind as EntryKind,
    Profile, error_code, is_cancelled,
};

use crate::directories::{BackendSetting, Directories, backend};
use crate::error_codes;
use crate::exclude::Excludes;
use crate::frontier::{Frontier, LocalFrontier, Next, Siblings};
use crate::opened_roots::{First, Roots};
use crate::roots::{ROOTS, RootPath};
use crate::stat_ahead::StatAhead;
use crate::{DirectoryEnd, DirectoryStatus, EntryBatch};

/// Entries that make a message full.
const BATCH: usize = 1024;

/// How long a name may wait in a worker for others to travel with.
const PATIENCE: Duration = Duration::from_millis(2);

/// Options of `enumerate`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EnumerateConfig {
    /// Where to begin: paths, or { base64 = "…" } for paths that are not UTF-8.
    pub roots: Vec<RootPath>,
    /// Whether symbolic links stand for what they lead to.
    #[serde(default)]
    pub follow_symlinks: bool,
    /// Whether to stay on the file systems of the roots.
    #[serde(default)]
    pub one_file_system: bool,
    /// How many levels below a root to go: 0 is the root alone.
    #[serde(default)]
    pub max_depth: Option<u32>,
    /// Patterns of names, or of paths below a root if they hold a slash, to leave out with all below them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether to leave out what the kernel makes up: /proc, /sys and their like, unless they are roots.
    #[serde(default = "yes")]
    pub skip_pseudo: bool,
    /// Whether to leave out the snapshot directories of file servers: .snapshot on NFS, .zfs on ZFS and NFS.
    #[serde(default = "yes")]
    pub skip_snapshots: bool,
    /// The system calls to use.
    #[serde(default)]
    pub backend: BackendSetting,
}

fn yes() -> bool {
    true
}

impl EnumerateConfig {
    /// The default options for these roots.
    pub fn new(roots: impl IntoIterator<Item = impl Into<std::path::PathBuf>>) -> EnumerateConfig {
        EnumerateConfig {
            roots: roots.into_iter().map(RootPath::new).collect(),
            follow_symlinks: false,
            one_file_system: false,
            max_depth: None,
            exclude: Vec::new(),
            skip_pseudo: true,
            skip_snapshots: true,
            backend: BackendSetting::Auto,
        }
    }
}

/// The kind `enumerate`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Enumerate;

impl Kind for Enumerate {
    type Config = EnumerateConfig;
    type Ports = OutputPort<EntryBatch>;

    fn about(&self) -> &'static str {
        "reads the names below the roots"
    }

    fn threading(&self) -> Threading {
        Threading::Parallel
    }

    fn declare(&self, config: Option<&EnumerateConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        error_codes::declare(ports);
        if let Some(config) = config {
            if config.roots.is_empty() {
                ports.problem(
                    "roots",
                    "no root",
                    Some("add a path, such as roots = [\".\"]".to_owned()),
                );
            }
            Excludes::compile(&config.exclude, |place, message| {
                ports.problem(&format!("exclude[{place}]"), message, None);
            });
        }
        ports.output(DEFAULT_OUTPUT, Properties::default())
    }

    fn open(
        &self,
        config: EnumerateConfig,
        output: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let backend = backend(config.backend)?;
        let directories = Directories::of_run(stage, &backend)?;
        directories.note_lister();
        let roots = Roots::open(&config, &directories)?;
        let named: Vec<RootPath> = config.roots.iter().map(RootPath::absolute).collect();
        stage.context().set_fact(ROOTS, &named)?;
        let threads = match stage.threads() {
            ThreadSetting::Auto => directories.threads(),
            ThreadSetting::Count(count) => count,
        };
        let shared = Arc::new(Scan {
            excludes: Excludes::compile(&config.exclude, |_, _| {}),
            excluded: stage.context().counter("excluded"),
            skipped: stage.context().counter("skipped_directories"),
            fetched: stage.context().counter("fetched_ahead"),
            context: stage.context().clone(),
            root_identities: roots.identities,
            config,
            directories,
            backend,
        });
        let mut first = roots.first;
        for frontier in Frontier::share(roots.directories, threads) {
            let first = std::mem::take(&mut first);
            stage.worker(|ends| {
                Ok(EnumerateWorker {
                    scan: Arc::clone(&shared),
                    out: ends.output(&output),
                    frontier,
                    pending: Pending::new(shared.config.follow_symlinks),
                    first,
                    scratch: Entries::default(),
                    prefix: Vec::new(),
                    filesystems: HashMap::new(),
                    ahead: None,
                })
            })?;
        }
        Ok(())
    }
}

/// What all workers of the stage share.
struct Scan {
    config: EnumerateConfig,
    excludes: Excludes,
    /// Entries that a pattern left out.
    excluded: Counter,
    /// Directories that were not entered.
    skipped: Counter,
    /// Entries whose metadata was fetched here.
    fetched: Counter,
    context: Context,
    root_identities: Vec<Identity>,
    directories: Arc<Directories>,
    backend: Arc<dyn Backend>,
}

/// Names that were read and not yet sent.
struct Pending {
    batch: EntryBatch,
    /// When the oldest was read.
    since: Instant,
}

impl Pending {
    fn new(follows_links: bool) -> Pending {
        let mut batch = EntryBatch::with_capacity(BATCH);
        batch.set_follows_links(follows_links);
        Pending {
            batch,
            since: Instant::now(),
        }
    }
}

struct EnumerateWorker {
    scan: Arc<Scan>,
    out: Outlet<EntryBatch>,
    frontier: LocalFrontier,
    pending: Pending,
    first: Vec<First>,
    /// A chunk of a directory on its way through the exclude patterns.
    scratch: Entries,
    /// The path of the directory being read below its root, for the exclude patterns.
    prefix: Vec<u8>,
    /// What each device holds, asked once.
    filesystems: HashMap<u64, Option<Filesystem>>,
    /// Fetches metadata too, where all that is listed is for one `stat`.
    ahead: Option<StatAhead>,
}

impl Actor for EnumerateWorker {
    fn run(&mut self) -> Result<(), StageError> {
        self.ahead = self.scan.directories.only_wish().map(StatAhead::new);
        for first in std::mem::take(&mut self.first) {
            match first {
                First::Row(directory, name, kind) => {
                    self.pending.batch.extend(&directory, |entries| {
                        entries.push(name.as_name().as_bytes(), Some(kind), 0)
                    });
                }
                First::Unreadable(node, error) => {
                    self.directory_failed(&node, Sent::default(), "open", &error)?
                }
            }
        }
        loop {
            match self.frontier.next() {
                Next::Directory(node) => {
                    self.read_directory(&node)?;
                    self.frontier.finished();
                }
                Next::Nothing => {
                    // Whoever sleeps keeps nothing that others could work on.
                    self.flush()?;
                    if self.scan.context.is_stopping() {
                        return Err(StageError::Stopped(Stop::Cancelled));
                    }
                    self.frontier.wait();
                }
                Next::End => return self.flush(),
            }
        }
    }
}

impl EnumerateWorker {
    fn flush(&mut self) -> Result<(), StageError> {
        if self.pending.batch.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(
            &mut self.pending,
            Pending::new(self.scan.config.follow_symlinks),
        );
        self.out.send(full.batch)
    }

    fn flush_if_due(&mut self) -> Result<(), StageError> {
        if self.pending.batch.len() >= BATCH || self.pending.since.elapsed() >= PATIENCE {
            self.flush()?;
        }
        Ok(())
    }

    fn read_directory(&mut self, node: &Arc<DirNode>) -> Result<(), StageError> {
        let scan = Arc::clone(&self.scan);
        let max_depth = scan.config.max_depth;
        if max_depth.is_some_and(|max| node.depth() >= max) {
            return self.skip(node);
        }
        let mut listing = match scan
            .directories
            .handles
            .list(node, &|| scan.context.is_stopping())
        {
            Ok(listing) => listing,
            Err(error) if is_cancelled(&error) => return Err(StageError::Stopped(Stop::Cancelled)),
            Err(error) => return self.directory_failed(node, Sent::default(), "open", &error),
        };
        match self.admit(node, listing.handle())? {
            Admission::Enter => {}
            Admission::Skip => return self.skip(node),
            Admission::Elsewhere => return Ok(()),
        }
        self.prefix.clear();
        scan.excludes.write_prefix(node, &mut self.prefix);
        let mut sent = Sent::default();
        loop {
            let start = self.pending.batch.len();
            let more = match scan.excludes.any() {
                false => self
                    .pending
                    .batch
                    .extend(node, |entries| listing.read(entries)),
                true => {
                    self.scratch.clear();
                    let more = listing.read(&mut self.scratch);
                    self.keep_wanted(node);
                    more
                }
            };
            sent.entries += (self.pending.batch.len() - start) as u64;
            sent.directories += self.find_directories(node, start, listing.handle())?;
            if self.goes_ahead(node, listing.handle())
                && let Some(ahead) = &mut self.ahead
            {
                sent.fetched +=
                    ahead.fetch(&mut self.pending.batch, start, listing.handle()) as u64;
            }
            match more {
                Ok(true) => self.flush_if_due()?,
                Ok(false) => break,
                Err(error) => {
                    drop(listing);
                    return self.directory_failed(node, sent, "list", &error);
                }
            }
        }
        self.scan.fetched.add(sent.fetched);
        match sent.directories == 0 && sent.fetched == sent.entries {
            true => listing.retire(),
            false => drop(listing),
        }
        self.end(node, sent, DirectoryStatus::Complete)
    }

    /// Whether to fetch the metadata of the names just read here: as long as nobody lacks work. Asked for every chunk,
    /// because in a huge directory the others run out of work meanwhile.
    fn goes_ahead(&mut self, node: &DirNode, handle: &statline_platform::Handle) -> bool {
        if self.ahead.is_none() || self.frontier.has_sleepers() {
            return false;
        }
        let filesystem = node
            .identity()
            .and_then(|identity| self.filesystem(identity, handle));
        self.ahead
            .as_mut()
            .is_some_and(|ahead| ahead.tries(filesystem))
    }

    /// Moves what no pattern leaves out from the scratch space to the batch.
    fn keep_wanted(&mut self, node: &Arc<DirNode>) {
        let (scratch, prefix) = (&self.scratch, &mut self.prefix);
        let excludes = &self.scan.excludes;
        let mut excluded = 0;
        let mut start = 0;
        for index in 0..scratch.len() {
            let is_directory = scratch.kind(index) == Some(EntryKind::Directory);
            if excludes.matches(prefix, scratch.name(index), is_directory) {
                self.pending.batch.append_range(node, scratch, start..index);
                start = index + 1;
                excluded += 1;
            }
        }
        self.pending
            .batch
            .append_range(node, scratch, start..scratch.len());
        self.scan.excluded.add(excluded);
    }

    /// Finds the directories among the names added since `start` and puts them on the frontier. Returns
    /// how many there are.
    fn find_directories(
        &mut self,
        node: &Arc<DirNode>,
        start: usize,
        handle: &statline_platform::Handle,
    ) -> Result<u64, StageError> {
        let scan = &*self.scan;
        let follow = scan.config.follow_symlinks;
        let mut plain = Entries::default();
        let mut followed = Entries::default();
        for index in start..self.pending.batch.len() {
            let entries = self.pending.batch.entries();
            let listed = entries.kind(index);
            let kind = match listed {
                Some(kind) => kind,
                // The file system does not tell the kind with the name.
                None => match scan
                    .backend
                    .stat(handle, entries.name(index), Fields::KIND, false)
                {
                    Ok(metadata) => metadata.kind().unwrap_or(EntryKind::Other),
                    // The stage that stats it will meet the same and report it.
                    Err(_) => continue,
                },
            };
            match kind {
                EntryKind::Directory => plain.push(entries.name(index).as_bytes(), None, 0),
                EntryKind::Symlink if follow => {
                    let target = scan
                        .backend
                        .stat(handle, entries.name(index), Fields::KIND, true);
                    if target.is_ok_and(|target| target.kind() == Some(EntryKind::Directory)) {
                        followed.push(entries.name(index).as_bytes(), None, 0);
                    }
                }
                _ => {}
            }
            if listed.is_none() {
                self.pending.batch.set_kind(index, kind);
            }
        }
        let found = plain.len() + followed.len();
        self.frontier.push(Siblings::new(node, plain, false));
        self.frontier.push(Siblings::new(node, followed, true));
        Ok(found as u64)
    }

    /// Whether a directory that has just been opened is to be read.
    fn admit(
        &mut self,
        node: &Arc<DirNode>,
        handle: &statline_platform::Handle,
    ) -> Result<Admission, StageError> {
        let (Some(parent), Some(identity)) = (node.parent(), node.identity()) else {
            return Ok(Admission::Enter);
        };
        if self.scan.root_identities.len() > 1 && self.scan.root_identities.contains(identity) {
            // It is a root itself, and read as that.
            return Ok(Admission::Elsewhere);
        }
        let crosses = parent.identity().is_some_and(|above| {
            above.device != identity.device || above.mount_id != identity.mount_id
        });
        // Without followed links only a mount can lead back up.
        if (crosses || self.scan.config.follow_symlinks) && is_loop(node, identity) {
            let error = io::Error::other("the directory is one of those above it");
            let record = record(node, "open", error_codes::LOOP, &error);
            self.out.errors().report(record)?;
            self.end(node, Sent::default(), DirectoryStatus::Failed)?;
            return Ok(Admission::Elsewhere);
        }
        if crosses {
            if self.scan.config.one_file_system {
                return Ok(Admission::Skip);
            }
            let pseudo = |profile: &Profile| profile.pseudo;
            if self.scan.config.skip_pseudo
                && self
                    .filesystem(identity, handle)
                    .is_some_and(|filesystem| pseudo(filesystem.profile()))
            {
                return Ok(Admission::Skip);
            }
        }
        if self.scan.config.skip_snapshots && self.is_snapshots(node, identity, handle) {
            return Ok(Admission::Skip);
        }
        Ok(Admission::Enter)
    }

    /// Whether a directory is where a file server shows its snapshots. The names mean nothing on other file systems.
    fn is_snapshots(
        &mut self,
        node: &DirNode,
        identity: &Identity,
        handle: &statline_platform::Handle,
    ) -> bool {
        let on: &[FilesystemKind] = match node.name().as_bytes() {
            b".snapshot" => &[FilesystemKind::Nfs],
            b".zfs" => &[FilesystemKind::Zfs, FilesystemKind::Nfs],
            _ => return false,
        };
        self.filesystem(identity, handle)
            .is_some_and(|filesystem| on.contains(&filesystem.kind()))
    }

    fn filesystem(
        &mut self,
        identity: &Identity,
        handle: &statline_platform::Handle,
    ) -> Option<Filesystem> {
        *self
            .filesystems
            .entry(identity.device)
            .or_insert_with(|| Filesystem::of(handle).ok())
    }

    fn skip(&mut self, node: &Arc<DirNode>) -> Result<(), StageError> {
        self.scan.skipped.add(1);
        self.end(node, Sent::default(), DirectoryStatus::Excluded)
    }

    fn directory_failed(
        &mut self,
        node: &Arc<DirNode>,
        sent: Sent,
        operation: &'static str,
        error: &io::Error,
    ) -> Result<(), StageError> {
        self.out
            .errors()
            .report(record(node, operation, error_code(error), error))?;
        self.end(node, sent, DirectoryStatus::Failed)
    }

    fn end(
        &mut self,
        node: &Arc<DirNode>,
        sent: Sent,
        status: DirectoryStatus,
    ) -> Result<(), StageError> {
        self.pending.batch.push_end(DirectoryEnd {
            directory: Arc::clone(node),
            entries: sent.entries,
            directories: sent.directories,
            status,
        });
        self.flush_if_due()
    }
}

/// What was sent of a directory.
#[derive(Clone, Copy, Default)]
struct Sent {
    entries: u64,
    directories: u64,
    /// Those whose metadata was fetched ahead.
    fetched: u64,
}

enum Admission {
    Enter,
    /// Not entered, and ended as excluded.
    Skip,
    /// Its end is told elsewhere.
    Elsewhere,
}

fn is_loop(node: &DirNode, identity: &Identity) -> bool {
    node.ancestors()
        .skip(1)
        .any(|above| above.identity() == Some(identity))
}

fn record(
    node: &DirNode,
    operation: &'static str,
    code: impl Into<std::borrow::Cow<'static, str>>,
    error: &io::Error,
) -> ErrorRecord {
    ErrorRecord::new(
        operation,
        node.path_bytes(),
        code,
        error.to_string(),
        Scope::Subtree,
    )
}
