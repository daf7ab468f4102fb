//! `enumerate`: reads the names below the roots.
//!
//! This file says what the kind's options are and opens it; `descent.rs` is what its workers do, `reading.rs` how one
//! directory is read, `admission.rs` which directories are. One thing must stay true: what the workers share is made
//! here, once.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock, Weak};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Context, Counter, DEFAULT_OUTPUT, Declare, Kind, Opening, OutputPort, Properties, StageError,
    Threading,
};
use statline_platform::{Backend, Identity};

use crate::EntryBatch;
use crate::concurrency::{Governor, Threads};
use crate::descent::Descent;
use crate::directories::{BackendSetting, Directories, backend};
use crate::error_codes;
use crate::exclude::Excludes;
use crate::frontier::Frontier;
use crate::left_out::LeftOut;
use crate::mount::Mounts;
use crate::mount_report::MountReport;
use crate::omissions;
use crate::opened_roots::Roots;
use crate::roots::{ROOTS, RootPath};

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
    /// After how many entries a directory is given up, as a broken file system may list for ever.
    #[serde(default)]
    pub max_entries_per_directory: Option<u64>,
    /// Patterns of names, or of paths below a root if they hold a slash, to leave out with all below them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether to leave out what the kernel makes up: /proc, /sys and their like, unless they are roots.
    #[serde(default = "yes")]
    pub skip_pseudo: bool,
    /// Whether to leave out the snapshot directories of file servers: .snapshot on NFS, .zfs on ZFS and NFS.
    #[serde(default = "yes")]
    pub skip_snapshots: bool,
    /// How many calls may be under way on one mount at a time, so that a file server has something left for others.
    #[serde(default)]
    pub max_concurrency: Option<NonZeroU32>,
    /// How many calls may be made to one mount in a second.
    #[serde(default)]
    pub max_ops_per_second: Option<NonZeroU32>,
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
            max_entries_per_directory: None,
            exclude: Vec::new(),
            skip_pseudo: true,
            skip_snapshots: true,
            max_concurrency: None,
            max_ops_per_second: None,
            backend: BackendSetting::Auto,
        }
    }
}

/// Patterns are compiled when a job is checked; so many take some 50 ms.
const MAX_EXCLUDES: usize = 8192;

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
        Threading::Adaptive
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
            match config.exclude.len() <= MAX_EXCLUDES {
                true => {
                    Excludes::compile(&config.exclude, |place, message| {
                        ports.problem(&format!("exclude[{place}]"), message, None);
                    });
                }
                false => ports.problem(
                    "exclude",
                    format!("more than {MAX_EXCLUDES} patterns"),
                    Some("write some as one, such as \"*.{bak,tmp,cache}\"".to_owned()),
                ),
            }
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
        directories
            .politeness
            .restrict(config.max_concurrency, config.max_ops_per_second);
        if config.follow_symlinks {
            directories.note_followed_links();
        }
        let roots = Roots::open(&config, &directories, stage)?;
        let named: Vec<RootPath> = config.roots.iter().map(RootPath::absolute).collect();
        stage.context().set_fact(ROOTS, &named)?;
        omissions::state(stage.context(), "enumerate", &config)?;
        let excludes = Arc::new(Excludes::compile(&config.exclude, |_, _| {}));
        let left_out = LeftOut::of_run(stage)?;
        for root in &roots.directories {
            left_out.note(root.root_path(), &excludes);
        }
        let governor = stage.resource(|| Ok(Governor::new()))?;
        governor.start()?;
        let most = Threads::most(stage.threads(), config.max_concurrency)
            .min(directories.handles.leases());
        // The frontier begins with the roots' mounts, so it is made after them.
        let told: Arc<OnceLock<Weak<Frontier>>> = Arc::default();
        let report = MountReport::new(stage.context(), {
            let told = Arc::clone(&told);
            move || {
                if let Some(frontier) = told.get().and_then(Weak::upgrade) {
                    frontier.limits_changed();
                }
            }
        });
        let threads = Threads::new(stage.threads(), most, &governor, move |mount, history| {
            report.decided(mount, history);
        });
        let mounts = Mounts::new(threads, &directories.politeness);
        let on_mounts: Vec<_> = roots
            .directories
            .iter()
            .zip(&roots.filesystems)
            .filter_map(|(root, filesystem)| {
                let mount = mounts.of(root.identity()?, root, *filesystem);
                Some((mount, Arc::clone(root)))
            })
            .collect();
        let started = on_mounts
            .iter()
            .map(|(mount, _)| mount.limit.allowed())
            .max()
            .unwrap_or(1);
        let frontier = Frontier::new(on_mounts, {
            let context = stage.context().clone();
            move || context.call_up()
        });
        let _ = told.set(Arc::downgrade(&frontier));
        let shared = Arc::new(Scan {
            excludes,
            excluded: stage.context().counter("excluded"),
            skipped: stage.context().counter("skipped_directories"),
            fetched: stage.context().counter("fetched_ahead"),
            vanished: stage.context().counter("vanished"),
            vanished_directories: stage.context().counter("vanished_directories"),
            context: stage.context().clone(),
            root_identities: roots.identities,
            config,
            directories,
            backend,
            mounts,
            _governor: governor,
        });
        let mut first = roots.first;
        for _ in 0..started {
            let first = std::mem::take(&mut first);
            stage.watched(|ends| {
                let out = ends.output(&output);
                Ok(Descent::new(&shared, out, frontier.part(false), first))
            })?;
        }
        for _ in started..most {
            let (shared, frontier) = (Arc::clone(&shared), Arc::clone(&frontier));
            stage.watched_in_reserve(move |ends| {
                let out = ends.output(&output);
                Ok(Descent::new(&shared, out, frontier.part(true), Vec::new()))
            });
        }
        Ok(())
    }
}

/// What all workers of the stage share.
pub(crate) struct Scan {
    pub(crate) config: EnumerateConfig,
    pub(crate) excludes: Arc<Excludes>,
    /// Entries that a pattern left out.
    pub(crate) excluded: Counter,
    /// Directories that were not entered.
    pub(crate) skipped: Counter,
    /// Entries whose metadata was fetched here.
    pub(crate) fetched: Counter,
    /// Entries that were gone before their kind could be asked for.
    pub(crate) vanished: Counter,
    /// Directories that were gone before they could be read.
    pub(crate) vanished_directories: Counter,
    pub(crate) context: Context,
    pub(crate) root_identities: Vec<Identity>,
    pub(crate) directories: Arc<Directories>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) mounts: Mounts,
    /// Sets the limits of the mounts for as long as anybody works.
    _governor: Arc<Governor>,
}
