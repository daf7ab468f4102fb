//! The ground that a comparison stands on: a directory for trees that are kept, one for what is thrown away, and the right to
//! mount.
//!
//! What must stay true: nothing that is mounted here outlives this process, not even if it is killed. So it goes into a
//! mount namespace of its own before it mounts anything. Whatever is in there, loop devices included, the kernel takes down
//! when the last process of the namespace has ended; tidier ends come first, from [`MountPoint`].

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use tempfile::TempDir;

use crate::error::{IoContext, IoError};

/// Where the kernel is told to forget what it has cached.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Memory that looks like a directory, on most systems.
const MEMORY: &str = "/dev/shm";

/// Where things are, and what is allowed.
#[derive(Debug)]
pub struct Ground {
    trees: PathBuf,
    /// Why nothing can be mounted.
    no_mounts: Option<String>,
    /// Taken down before its directory is removed.
    memory: Option<MountPoint>,
    scratch: TempDir,
}

impl Ground {
    /// Prepares the ground. `trees` is where trees are made and kept; `scratch` is where records are written, if not into
    /// memory.
    ///
    /// This has to be called while the process has one thread: the others would stay outside.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made. That nothing can be mounted is no error; it shows later, in what is not run.
    pub fn new(trees: &Path, scratch: Option<&Path>) -> Result<Self, IoError> {
        let no_mounts = own_mounts().err().map(|error| {
            format!("needs the right to mount, and this process has none ({error}); run it as root")
        });
        fs::create_dir_all(trees).during("create the directory", trees)?;
        let trees = fs::canonicalize(trees).during("find", trees)?;
        let root = scratch.map_or_else(default_scratch, Path::to_owned);
        let directory = tempfile::Builder::new()
            .prefix("statline-compare-")
            .tempdir_in(&root)
            .during("create a directory in", &root)?;
        // Memory of its own goes with the namespace, whatever happens; a directory stays if this process is killed.
        let memory = if scratch.is_none() && no_mounts.is_none() {
            let path = directory.path().join("memory");
            Some(MountPoint::mount(path, "tmpfs", "tmpfs", c"mode=700")?)
        } else {
            None
        };
        Ok(Self {
            trees,
            no_mounts,
            memory,
            scratch: directory,
        })
    }

    /// Ground on which nothing can be mounted.
    #[cfg(test)]
    pub(super) fn without_mounts(trees: &Path) -> Self {
        Self {
            trees: trees.to_owned(),
            no_mounts: Some("not here".to_owned()),
            memory: None,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// Where trees are made that are used again.
    pub(super) fn trees(&self) -> &Path {
        &self.trees
    }

    /// Where records are written.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        match &self.memory {
            Some(memory) => memory.path(),
            None => self.scratch.path(),
        }
    }

    /// A place in the scratch directory to mount something on.
    pub(super) fn point(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Why nothing can be mounted, if so.
    pub(super) fn no_mounts(&self) -> Option<&str> {
        self.no_mounts.as_deref()
    }
}

/// Whether caches can be dropped; if not, why.
pub(super) fn can_drop_caches() -> Result<(), String> {
    match fs::OpenOptions::new().write(true).open(DROP_CACHES) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "needs the right to write to {DROP_CACHES} ({error}); run it as root"
        )),
    }
}

/// Has the kernel forget all that it has cached of file systems.
pub(super) fn drop_caches() -> Result<(), IoError> {
    // What is not written yet cannot be forgotten.
    rustix::fs::sync();
    fs::write(DROP_CACHES, "3").during("write to", Path::new(DROP_CACHES))
}

/// A mount that is taken down when this is dropped, with the directory that it is on.
#[derive(Debug)]
pub(super) struct MountPoint {
    path: PathBuf,
    mounted: bool,
}

impl MountPoint {
    /// A directory to mount on. It is removed again, whether or not anything is mounted.
    pub(super) fn empty(path: PathBuf) -> Result<Self, IoError> {
        fs::create_dir(&path).during("create the directory", &path)?;
        Ok(Self {
            path,
            mounted: false,
        })
    }

    pub(super) fn mount(
        path: PathBuf,
        source: impl AsRef<OsStr>,
        kind: &str,
        data: &CStr,
    ) -> Result<Self, IoError> {
        let mut point = Self::empty(path)?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount(source.as_ref(), &point.path, kind, flags, data)
            .during("mount something on", &point.path)?;
        point.mounted = true;
        Ok(point)
    }

    /// Shows a directory in another place.
    pub(super) fn bind(path: PathBuf, directory: &Path) -> Result<Self, IoError> {
        let mut point = Self::empty(path)?;
        rustix::mount::mount_bind(directory, &point.path)
            .during("mount a directory on", &point.path)?;
        point.mounted = true;
        Ok(point)
    }

    /// Says that something was mounted here by another program.
    pub(super) fn taken(mut self) -> Self {
        self.mounted = true;
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        let unmounted = if self.mounted {
            rustix::mount::unmount(&self.path, UnmountFlags::DETACH)
        } else {
            Ok(())
        };
        let removed = unmounted
            .map_err(io::Error::from)
            .and_then(|()| fs::remove_dir(&self.path));
        if let Err(error) = removed {
            // Nobody can handle it here, and the end of the namespace takes it down.
            eprintln!("cannot take down {}: {error}", self.path.display());
        }
    }
}

/// Enters a mount namespace of its own, from which nothing gets out.
fn own_mounts() -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private)?;
    Ok(())
}

fn default_scratch() -> PathBuf {
    let memory = Path::new(MEMORY);
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}
