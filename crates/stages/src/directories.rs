//! The open directories that the stages of one run share.
//!
//! One thing must stay true: a run has one budget of descriptors, because the limit behind it is the process's.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use statline_pipeline::{Context, Opening, StageError};
use statline_platform::{
    Backend, BackendChoice, Concurrency, DirNode, Fault, Fields, FileId, Filesystem, Handles,
    Identity, default_budget, is_cancelled, select,
};

use crate::concurrency::cores;
use crate::politeness::Politeness;

/// What a wait that was cut short came to: the run stops, or nothing more is asked.
pub(crate) fn after_cancel(context: &Context, error: io::Error) -> io::Error {
    match is_cancelled(&error) && !context.is_stopping() {
        true => Fault::Stalled.into(),
        false => error,
    }
}

/// Shared through [`Opening::resource`] by all stages that open directories.
pub(crate) struct Directories {
    pub(crate) handles: Handles,
    /// The threads that the most demanding of the mounts seen so far is worth.
    threads: AtomicUsize,
    /// How many stages list.
    listers: AtomicUsize,
    /// Whether some stage follows symbolic links.
    follows_links: AtomicBool,
    /// What each stage that fetches metadata asks for.
    wishes: Mutex<Vec<Wish>>,
    /// How much the run may ask of each mount.
    pub(crate) politeness: Arc<Politeness>,
    /// Whether some stage does not want metadata of everything that is listed.
    picks: AtomicBool,
    /// How many calls were given up and have not come back, by what they show to hang.
    stuck: Mutex<HashMap<Place, usize>>,
    /// Whether any call was ever given up; as a rule there is nothing to look up.
    any_stuck: AtomicBool,
}

/// How many calls to one place may hang before no more are made to it: each costs a thread, and `stall_after`.
const STUCK_PER_PLACE: usize = 16;

/// Where calls hang.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// Everywhere on a device.
    Device(u64),
    /// Below a directory: what is mounted there may be dead, and the directory's own file system not.
    Below(u64, FileId),
}

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
        stage.resource(|| Ok(Directories::new(backend)))
    }

    pub(crate) fn new(backend: &Arc<dyn Backend>) -> Directories {
        Directories {
            handles: Handles::new(Arc::clone(backend), default_budget()),
            threads: AtomicUsize::new(cores()),
            listers: AtomicUsize::new(0),
            follows_links: AtomicBool::new(false),
            wishes: Mutex::default(),
            politeness: Arc::default(),
            picks: AtomicBool::new(false),
            stuck: Mutex::default(),
            any_stuck: AtomicBool::new(false),
        }
    }

    /// Notes that one more stage lists. Called while the stage opens.
    pub(crate) fn note_lister(&self) {
        self.listers.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that names may be links that stand for what they lead to. Called while the stage opens.
    pub(crate) fn note_followed_links(&self) {
        self.follows_links.store(true, Ordering::Relaxed);
    }

    /// Whether names may be links that stand for what they lead to. Known when all stages are open.
    pub(crate) fn follows_links(&self) -> bool {
        self.follows_links.load(Ordering::Relaxed)
    }

    /// Notes what a stage will ask for. Called while the stage opens.
    pub(crate) fn note_wish(&self, wish: Wish) {
        self.wishes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wish);
    }

    /// Notes that a stage asks only for some of what is listed: then nothing is fetched before it was asked. Called while
    /// the stage opens.
    pub(crate) fn note_picking(&self) {
        self.picks.store(true, Ordering::Relaxed);
    }

    /// What the only stage that fetches metadata asks for, if there is one and one that lists: then
    /// everything that is listed is for it. Known when all stages are open.
    pub(crate) fn only_wish(&self) -> Option<Wish> {
        if self.picks.load(Ordering::Relaxed) {
            return None;
        }
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
            && known_above(directory).is_some_and(|known| {
                let stuck = self.stuck();
                let places = [
                    Place::Device(known.device),
                    Place::Below(known.device, known.file_id),
                ];
                let mut counts = places.iter().filter_map(|place| stuck.get(place));
                counts.any(|count| *count >= STUCK_PER_PLACE)
            })
    }

    fn stuck(&self) -> MutexGuard<'_, HashMap<Place, usize>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many threads `auto` means.
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }
}

/// What a directory is, or the nearest one above it of which that is known.
fn known_above(directory: &DirNode) -> Option<Identity> {
    let mut above = directory.ancestors();
    above.find_map(|node| node.identity().copied())
}

/// What a call that may hang takes along: it is dropped when the call has come back.
pub(crate) struct Errand {
    directories: Arc<Directories>,
    /// What the call hangs on, once it was given up.
    stuck_on: OnceLock<Option<Place>>,
}

impl Errand {
    pub(crate) fn new(directories: &Arc<Directories>) -> Arc<Errand> {
        Arc::new(Errand {
            directories: Arc::clone(directories),
            stuck_on: OnceLock::new(),
        })
    }

    /// The call, made on `directory`, is given up; whether it shows that the whole device hangs, its maker knows. Makes
    /// up for what its thread holds.
    pub(crate) fn give_up(&self, directory: &DirNode, of_device: bool) {
        let directories = &self.directories;
        let place = known_above(directory).map(|known| match of_device {
            true => Place::Device(known.device),
            false => Place::Below(known.device, known.file_id),
        });
        if let Some(place) = place {
            *directories.stuck().entry(place).or_default() += 1;
        }
        let _ = self.stuck_on.set(place);
        directories.any_stuck.store(true, Ordering::Relaxed);
        directories.handles.write_off();
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let Some(place) = self.stuck_on.get() else {
            return;
        };
        // The thread has given back what it held.
        self.directories.handles.undo_write_off();
        if let Some(place) = place
            && let Some(count) = self.directories.stuck().get_mut(place)
        {
            *count -= 1;
        }
    }
}

/// The backend that an option names.
pub(crate) fn backend(choice: BackendSetting) -> Result<Arc<dyn Backend>, StageError> {
    let choice = match choice {
        BackendSetting::Auto => BackendChoice::Auto,
        BackendSetting::Statx => BackendChoice::Statx,
        BackendSetting::Fstatat => BackendChoice::Fstatat,
        BackendSetting::IoUring => BackendChoice::IoUring,
        BackendSetting::Nt => BackendChoice::Nt,
        BackendSetting::NtExact => BackendChoice::NtExact,
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
    /// Linux: as `statx`, but each thread has up to 64 calls under way at a time. Never what `auto` picks: it has more
    /// threads instead.
    IoUring,
    /// Windows: NtQueryDirectoryFile, whose answers hold the metadata beside the names.
    Nt,
    /// Windows: the same for names, and each file is opened for its metadata. Slower, and has `nlink`.
    #[serde(rename = "nt-exact")]
    NtExact,
}
