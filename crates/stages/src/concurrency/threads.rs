//! How many threads a stage may use on each mount, by what the job says and what the mount is.
//!
//! What is known of a kind of file system is where to start; what is measured decides. One thing must stay true: a number
//! that the job states is used as it stands.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::available_parallelism;

use statline_pipeline::ThreadSetting;
use statline_platform::{Concurrency, Filesystem};

use super::governor::{Decided, Governor, History};
use super::{Bounds, Controller};
use crate::mount::Mount;

/// The most threads on a mount where calls wait for a server.
const MOST: usize = ThreadSetting::MOST;

/// The most on a local one: no disk that was measured gains by more.
const MOST_LOCAL: usize = 64;

/// The least on a local one once calls wait for its disk, if there are not more processors.
const LEAST_ON_DISK: usize = 16;

/// How many threads to use, as far as it is known before anything was measured.
pub(crate) struct Threads {
    setting: ThreadSetting,
    /// The most workers that there are.
    most: usize,
    governor: Arc<Governor>,
    decided: Arc<Decided>,
}

impl Threads {
    /// As the job has it, but not more than `most`.
    pub(crate) fn new(
        setting: ThreadSetting,
        most: usize,
        governor: &Arc<Governor>,
        decided: impl Fn(&Mount, &History) + Send + Sync + 'static,
    ) -> Threads {
        Threads {
            setting,
            most: most.max(1),
            governor: Arc::clone(governor),
            decided: Arc::new(decided),
        }
    }

    /// The most workers that can be at work on one mount.
    pub(crate) fn most(setting: ThreadSetting, max_concurrency: Option<NonZeroU32>) -> usize {
        let most = match setting {
            ThreadSetting::Auto => MOST,
            ThreadSetting::Count(most) | ThreadSetting::Range { max: most, .. } => most,
        };
        // Whoever waits at a gate is of no use.
        max_concurrency.map_or(most, |allowed| most.min(allowed.get() as usize))
    }

    /// How many to begin with on such a mount.
    pub(crate) fn start(&self, filesystem: Option<Filesystem>) -> usize {
        let bounds = self.bounds(filesystem);
        start(filesystem).clamp(bounds.min, bounds.max)
    }

    fn bounds(&self, filesystem: Option<Filesystem>) -> Bounds {
        let (min, max) = match self.setting {
            ThreadSetting::Auto => (1, most(filesystem)),
            ThreadSetting::Count(count) => (count, count),
            ThreadSetting::Range { min, max } => (min, max),
        };
        Bounds {
            min: min.min(self.most),
            max: max.min(self.most),
        }
    }

    /// Has the limit of a mount follow what is measured there, unless the job fixes it.
    pub(crate) fn govern(&self, mount: &Arc<Mount>) {
        let bounds = self.bounds(mount.filesystem);
        let follows = bounds.min < bounds.max;
        let controller = follows.then(|| {
            let controller = Controller::new(bounds, mount.limit.allowed(), cores());
            match is_local(mount.filesystem) {
                true => controller.on_disk(LEAST_ON_DISK.max(cores())),
                false => controller,
            }
        });
        self.governor.add(mount, controller, &self.decided);
    }
}

fn start(filesystem: Option<Filesystem>) -> usize {
    match filesystem.map(|found| found.profile().stat_threads) {
        None => cores(),
        Some(Concurrency::PerCore(each)) => cores() * usize::from(each),
        Some(Concurrency::Range { min, .. }) => usize::from(min),
        Some(Concurrency::Fixed(count)) => usize::from(count),
    }
}

fn most(filesystem: Option<Filesystem>) -> usize {
    match filesystem.map(|found| found.profile()) {
        Some(profile) if profile.pseudo => start(filesystem),
        Some(profile) if profile.network => MOST,
        _ => MOST_LOCAL,
    }
}

/// Whether it is known that calls wait for nothing but a disk of this machine.
fn is_local(filesystem: Option<Filesystem>) -> bool {
    filesystem.is_some_and(|found| !found.profile().network && !found.profile().pseudo)
}

/// How many processors there are for this process.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}
