//! The open directories that the stages of one run share.
//!
//! One thing must stay true: a run has one budget of descriptors, because the limit behind it is the process's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use statline_pipeline::{Opening, StageError};
use statline_platform::{
    Backend, BackendChoice, Concurrency, DirNode, Fields, Filesystem, Handles, default_budget,
    select,
};

/// Shared through [`Opening::resource`] by all stages that open directories.
pub(crate) struct Directories {
    pub(crate) handles: Handles,
    /// The threads that the most demanding of the mounts seen so far is worth.
    threads: AtomicUsize,
    /// How many stages list.
    listers: AtomicUsize,
    /// What each stage that fetches metadata asks for.
    wishes: Mutex<Vec<Wish>>,
    /// For each device, how many calls to it were given up and have not come back.
    stuck: Mutex<HashMap<u64, usize>>,
    /// Whether any call was ever given up; as a rule there is nothing to look up.
    any_stuck: AtomicBool,
}

/// How many calls to one file system may hang before no more are made to it: each costs a thread, and `stall_after`.
const STUCK_PER_DEVICE: usize = 16;

/// What a `stat` stage will ask for of every name.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) fields: Fields,
    pub(crate) backend: Arc<dyn Backend>,
}

impl Directories {
    /// Those of the run; made with `backend` by the first stage that asks.
    pub(crate) fn of_run(
        stage: &Opening<'_>,
        backend: &Arc<dyn Backend>,
    ) -> Result<Arc<Directories>, StageError> {
        stage.resource(|| {
            Ok(Directories {
                handles: Handles::new(Arc::clone(backend), default_budget()),
                threads: AtomicUsize::new(cores()),
                listers: AtomicUsize::new(0),
                wishes: Mutex::default(),
                stuck: Mutex::default(),
                any_stuck: AtomicBool::new(false),
            })
        })
    }

    /// Notes that one more stage lists. Called while the stage opens.
    pub(crate) fn note_lister(&self) {
        self.listers.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what a stage will ask for. Called while the stage opens.
    pub(crate) fn note_wish(&self, wish: Wish) {
        self.wishes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wish);
    }

    /// What the only stage that fetches metadata asks for, if there is one and one that lists: then
    /// everything that is listed is for it. Known when all stages are open.
    pub(crate) fn only_wish(&self) -> Option<Wish> {
        match &self.wishes.lock().unwrap_or_else(PoisonError::into_inner)[..] {
            // The kind alone mostly comes with the name, without a call.
            [wish] if wish.fields != Fields::KIND && self.listers.load(Ordering::Relaxed) == 1 => {
                Some(wish.clone())
            }
            _ => None,
        }
    }

    /// Notes that a root is on this file system.
    pub(crate) fn note_filesystem(&self, filesystem: Filesystem) {
        let threads = match filesystem.profile().stat_threads {
            Concurrency::PerCore(each) => cores() * usize::from(each),
            Concurrency::Range { max, .. } => usize::from(max),
            Concurrency::Fixed(count) => usize::from(count),
        };
        self.threads.fetch_max(threads, Ordering::Relaxed);
    }

    /// Whether the file system of a directory has hung so often that nothing more is to be asked of it.
    pub(crate) fn is_dead(&self, directory: &DirNode) -> bool {
        self.any_stuck.load(Ordering::Relaxed)
            && device_of(directory)
                .is_some_and(|device| self.stuck().get(&device) >= Some(&STUCK_PER_DEVICE))
    }

    fn stuck(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many threads `auto` means.
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }
}

/// The device that a directory is on, or the nearest one above it of which that is known.
fn device_of(directory: &DirNode) -> Option<u64> {
    let mut above = directory.ancestors();
    above.find_map(|node| node.identity().map(|identity| identity.device))
}

/// What a call that may hang takes along: it is dropped when the call has come back.
pub(crate) struct Errand {
    directories: Arc<Directories>,
    /// The device that the call hangs on, once it was given up.
    stuck_on: OnceLock<u64>,
}

impl Errand {
    pub(crate) fn new(directories: &Arc<Directories>) -> Arc<Errand> {
        Arc::new(Errand {
            directories: Arc::clone(directories),
            stuck_on: OnceLock::new(),
        })
    }

    /// The call, made on `directory`, is given up. Makes up for what its thread holds.
    pub(crate) fn give_up(&self, directory: &DirNode) {
        let directories = &self.directories;
        if let Some(device) = device_of(directory) {
            *directories.stuck().entry(device).or_default() += 1;
            let _ = self.stuck_on.set(device);
        }
        directories.any_stuck.store(true, Ordering::Relaxed);
        directories.handles.write_off();
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(device) = self.stuck_on.get()
            && let Some(count) = self.directories.stuck().get_mut(device)
        {
            *count -= 1;
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The backend that an option names.
pub(crate) fn backend(choice: BackendSetting) -> Result<Arc<dyn Backend>, StageError> {
    let choice = match choice {
        BackendSetting::Auto => BackendChoice::Auto,
        BackendSetting::Statx => BackendChoice::Statx,
        BackendSetting::Fstatat => BackendChoice::Fstatat,
    };
    select(choice).map_err(StageError::failed)
}

/// The system calls that read names and metadata.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BackendSetting {
    /// The fastest ones that work here, found out by trying.
    #[default]
    Auto,
    /// Linux: getdents64 and statx.
    Statx,
    /// Any Unix: readdir and fstatat.
    Fstatat,
}
