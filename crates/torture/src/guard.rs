//! What has to be taken down again: mounts, control groups.
//!
//! One thing must stay true: dropping a guard undoes what it stands for, whatever state the case was left in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use tempfile::TempDir;

/// How long the last process of a control group may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// A mount, on a directory of its own or on one that is given.
#[derive(Debug)]
pub(crate) struct Mount {
    point: PathBuf,
    /// Removed after the mount.
    _directory: Option<TempDir>,
}

impl Mount {
    /// An empty `tmpfs` of so many bytes on a directory of its own.
    pub(crate) fn tmpfs(bytes: u64) -> io::Result<Mount> {
        let directory = own_directory()?;
        let point = directory.path().to_owned();
        let options = std::ffi::CString::new(format!("size={bytes},mode=755"))?;
        mount(
            "torture",
            &point,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )?;
        Ok(Mount {
            point,
            _directory: Some(directory),
        })
    }

    /// Shows `source` a second time on `point`.
    pub(crate) fn bind(source: &Path, point: &Path) -> io::Result<Mount> {
        mount_bind(source, point)?;
        Ok(Mount {
            point: point.to_owned(),
            _directory: None,
        })
    }

    /// Makes the mount read-only.
    pub(crate) fn forbid_writing(&self) -> io::Result<()> {
        let flags = MountFlags::RDONLY | MountFlags::BIND;
        Ok(mount_remount(&self.point, flags, "")?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.point, UnmountFlags::DETACH) {
            // Nobody can handle it here.
            eprintln!("cannot unmount {}: {error}", self.point.display());
        }
    }
}

fn own_directory() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("statline-torture-")
        .tempdir()
}

/// A file system in a file.
#[derive(Debug)]
pub(crate) struct Loopback {
    mount: Mount,
    /// The image.
    _image: tempfile::NamedTempFile,
}

impl Loopback {
    /// An empty ext4, made with these options of `mkfs.ext4`.
    pub(crate) fn ext4(options: &[&str], bytes: u64) -> io::Result<Loopback> {
        let image = tempfile::NamedTempFile::new()?;
        image.as_file().set_len(bytes)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .args(options)
            .arg(image.path()))?;
        let directory = own_directory()?;
        // `mount` finds a free loop device, and the kernel lets go of it with the mount.
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image.path())
            .arg(directory.path()))?;
        let mount = Mount {
            point: directory.path().to_owned(),
            _directory: Some(directory),
        };
        Ok(Loopback {
            mount,
            _image: image,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// A control group with a limit of memory.
#[derive(Debug)]
pub(crate) struct ControlGroup {
    path: PathBuf,
    peak: &'static str,
}

impl ControlGroup {
    /// A new group whose processes may take `bytes` together.
    pub(crate) fn with_memory(bytes: u64) -> io::Result<ControlGroup> {
        let places = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ),
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
        ];
        let mut failed = io::Error::other("there is no control group of memory");
        for (above, limit, peak) in places {
            let path = Path::new(above).join(format!("statline-torture-{}", std::process::id()));
            let group = ControlGroup { path, peak };
            let made = fs::create_dir(&group.path)
                .and_then(|()| fs::write(group.path.join(limit), bytes.to_string()));
            match made {
                Ok(()) => return Ok(group),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The file that takes the numbers of processes.
    pub(crate) fn processes(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// The most that was taken so far, in bytes, and begins to count anew.
    pub(crate) fn take_peak(&self) -> Option<u64> {
        let path = self.path.join(self.peak);
        let peak = fs::read_to_string(&path).ok()?.trim().parse().ok();
        // Not every kernel lets it begin anew; then it is an upper bound.
        let _ = fs::write(path, "0");
        peak
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let begin = Instant::now();
        while self.path.exists() && fs::remove_dir(&self.path).is_err() {
            if begin.elapsed() > GONE {
                eprintln!("cannot remove {}", self.path.display());
                return;
            }
            // Its last process may still be on its way out.
            std::thread::yield_now();
        }
    }
}
