//! A mount as the workers of one stage see it.
//!
//! Directories are on the same mount if the system says so (`mnt_id` of statx(2)), for the subvolumes of one btrfs have
//! devices of their own, or if they are on the same device, for one file system can be mounted in many places. One thing
//! must stay true: what is served by one device has one limit, however many directories lead to it.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statline_platform::{DirNode, Filesystem, Identity};

use crate::concurrency::{Limit, Threads};
use crate::politeness::{Gate, Politeness};

/// Tells mounts from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MountKey {
    Mount(u64),
    Device(u64),
}

impl From<&Identity> for MountKey {
    fn from(identity: &Identity) -> MountKey {
        match identity.mount_id {
            Some(mount) => MountKey::Mount(mount),
            None => MountKey::Device(identity.device),
        }
    }
}

/// A mount that one stage works on.
pub(crate) struct Mount {
    pub(crate) key: MountKey,
    /// The directory by which it was met.
    pub(crate) path: Vec<u8>,
    /// What it holds, if the system tells.
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) limit: Limit,
    pub(crate) gate: Arc<Gate>,
    /// How many things to do wait there that anybody may take.
    pub(crate) queued: AtomicUsize,
    /// How many of them are directories that were begun.
    pub(crate) begun: AtomicUsize,
}

/// A worker's right to be at work on a mount, until it is dropped.
pub(crate) struct Turn(Arc<Mount>);

impl Mount {
    /// A turn, if there is one now.
    pub(crate) fn turn(self: &Arc<Mount>) -> Option<Turn> {
        self.limit.enter().then(|| Turn(Arc::clone(self)))
    }

    /// Waits for a turn; none if `stopped` says that there is no use in waiting.
    pub(crate) fn wait_for_turn(self: &Arc<Mount>, stopped: impl Fn() -> bool) -> Option<Turn> {
        let entered = self.limit.enter_in_turn(stopped);
        entered.then(|| Turn(Arc::clone(self)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.limit.leave();
    }
}

/// The mounts that one stage has met.
pub(crate) struct Mounts {
    known: Mutex<HashMap<MountKey, Arc<Mount>>>,
    threads: Threads,
    politeness: Arc<Politeness>,
}

impl Mounts {
    pub(crate) fn new(threads: Threads, politeness: &Arc<Politeness>) -> Mounts {
        Mounts {
            known: Mutex::default(),
            threads,
            politeness: Arc::clone(politeness),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MountKey, Arc<Mount>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mount that was met before.
    pub(crate) fn known(&self, key: MountKey) -> Option<Arc<Mount>> {
        self.lock().get(&key).cloned()
    }

    /// The mount that an open directory is on.
    pub(crate) fn of(
        &self,
        identity: &Identity,
        directory: &DirNode,
        filesystem: Option<Filesystem>,
    ) -> Arc<Mount> {
        let (key, device) = (MountKey::from(identity), MountKey::Device(identity.device));
        let mut known = self.lock();
        if let Some(mount) = known.get(&key).or_else(|| known.get(&device)).cloned() {
            known.insert(key, Arc::clone(&mount));
            return mount;
        }
        let mount = Arc::new(Mount {
            key,
            path: directory.path_bytes(),
            filesystem,
            limit: Limit::new(self.threads.start(filesystem)),
            gate: self.politeness.gate([key, device]),
            queued: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        });
        self.threads.govern(&mount);
        known.insert(device, Arc::clone(&mount));
        known.insert(key, Arc::clone(&mount));
        mount
    }
}

#[cfg(test)]
impl Mount {
    /// One on which so many may be at work.
    pub(crate) fn with_limit(allowed: usize) -> Arc<Mount> {
        let key = MountKey::Device(0);
        Arc::new(Mount {
            key,
            path: Vec::new(),
            filesystem: None,
            limit: Limit::new(allowed),
            gate: Arc::new(Politeness::default()).gate([key, key]),
            queued: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use statline_pipeline::ThreadSetting;
    use statline_platform::FileId;

    use super::*;
    use crate::concurrency::Governor;

    fn identity(device: u64, mount_id: Option<u64>) -> Identity {
        Identity {
            device,
            file_id: FileId::from(2_u64),
            mount_id,
        }
    }

    #[test]
    fn what_one_device_serves_has_one_limit_wherever_it_is_mounted() {
        let governor = Arc::new(Governor::new());
        let threads = Threads::new(ThreadSetting::Auto, 64, &governor, |_, _| {});
        let mounts = Mounts::new(threads, &Arc::default());
        let directory = DirNode::root(Path::new("/"));
        let of = |device, mount_id| mounts.of(&identity(device, mount_id), &directory, None);
        // Another stage may meet it elsewhere first, and passes the same gate.
        let gate = |key| {
            mounts
                .politeness
                .gate([MountKey::Mount(key), MountKey::Device(1)])
        };
        let first = of(1, Some(10));
        let is_first = |mount: Arc<Mount>| Arc::ptr_eq(&first, &mount);
        assert!(Arc::ptr_eq(&first.gate, &gate(11)));
        // Mounted once more.
        assert!(is_first(of(1, Some(11))));
        assert!(is_first(mounts.known(MountKey::Mount(11)).unwrap()));
        // A subvolume of it.
        assert!(is_first(of(2, Some(10))));
        assert!(!is_first(of(3, Some(12))));
        assert!(is_first(of(1, None)));
    }
}
