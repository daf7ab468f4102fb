//! Other file systems, each in a file on a loop device, in memory, or over another one, for as long as a scenario takes.
//!
//! The file of an image is removed as soon as it is mounted, and its loop device frees itself when nothing is mounted from it
//! any more, so that both end with the mount.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ground::{Ground, MountPoint};
use super::obstacle::Obstacle;
use crate::error::{IoContext, IoError};
use crate::tree::{self, Parameters};

/// As large as the file systems take themselves to be. The files are sparse, so most of it is never there.
const IMAGE_BYTES: u64 = 16 << 30;

/// A file system to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    /// An empty layer in memory over the tree on disk.
    Overlay,
    Squashfs,
}

/// A tree on a file system of its own.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) root: PathBuf,
    /// Taken down in this order.
    _points: Vec<MountPoint>,
}

impl Image {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
            Self::Squashfs => "squashfs",
        }
    }

    /// Makes the file system with the tree of `parameters` on it, and mounts it.
    pub(super) fn mount(
        self,
        ground: &Ground,
        parameters: Parameters,
    ) -> Result<Mounted, Obstacle> {
        if let Some(reason) = ground.no_mounts() {
            return Err(Obstacle::Unavailable(reason.to_owned()));
        }
        match self {
            Self::Ext4 => {
                // As many inodes as there is room for by default would take minutes to write down.
                let inodes = (parameters.entries * 2).max(1_000).to_string();
                let options = ["-q", "-F", "-N", &inodes, "-E", "lazy_itable_init=0"];
                self.on_loop(ground, "mkfs.ext4", &options, parameters)
            }
            Self::Xfs => self.on_loop(ground, "mkfs.xfs", &["-q", "-f"], parameters),
            Self::Btrfs => self.on_loop(ground, "mkfs.btrfs", &["-q", "-f"], parameters),
            Self::Tmpfs => {
                let point = in_memory(ground, "tmpfs")?;
                let root = filled(&point, parameters)?;
                Ok(Mounted {
                    root,
                    _points: vec![point],
                })
            }
            Self::Overlay => overlay(ground, parameters),
            Self::Squashfs => squashfs(ground, parameters),
        }
    }

    fn on_loop(
        self,
        ground: &Ground,
        program: &str,
        options: &[&str],
        parameters: Parameters,
    ) -> Result<Mounted, Obstacle> {
        let file = ImageFile::create(ground, self.name())?;
        let mut make = Command::new(program);
        make.args(options).arg(&file.0);
        run(make, program)?;
        let point = on_loop(ground, self.name(), &file, "rw")?;
        let root = filled(&point, parameters)?;
        Ok(Mounted {
            root,
            _points: vec![point],
        })
    }
}

/// The file of an image, which is removed when this is dropped.
struct ImageFile(PathBuf);

impl ImageFile {
    fn create(ground: &Ground, name: &str) -> Result<Self, IoError> {
        // On the disk where trees are: memory may not be large enough.
        let path = ground
            .trees()
            .join(format!("{name}-{}.image", std::process::id()));
        let file = File::create_new(&path).during("create", &path)?;
        let image = Self(path);
        file.set_len(IMAGE_BYTES)
            .during("set the size of", &image.0)?;
        Ok(image)
    }
}

impl Drop for ImageFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

fn on_loop(
    ground: &Ground,
    kind: &str,
    image: &ImageFile,
    options: &str,
) -> Result<MountPoint, Obstacle> {
    let point = MountPoint::empty(ground.point(kind))?;
    let mut mount = Command::new("mount");
    // It finds a loop device that is free and marks it as one that frees itself.
    mount
        .args(["-t", kind, "-o", &format!("loop,nodev,nosuid,{options}")])
        .arg(&image.0)
        .arg(point.path());
    run(mount, "mount")?;
    Ok(point.taken())
}

fn in_memory(ground: &Ground, name: &str) -> Result<MountPoint, IoError> {
    // Its default number of inodes follows the machine's memory and may be too low for a tree.
    MountPoint::mount(
        ground.point(name),
        "tmpfs",
        "tmpfs",
        c"nr_inodes=0,mode=755",
    )
}

fn filled(point: &MountPoint, parameters: Parameters) -> Result<PathBuf, tree::Error> {
    let root = point.path().join("tree");
    tree::make(&root, parameters)?;
    Ok(root)
}

fn overlay(ground: &Ground, parameters: Parameters) -> Result<Mounted, Obstacle> {
    let lower = kept(ground, parameters)?;
    let memory = in_memory(ground, "overlay-memory")?;
    let [upper, work] = ["upper", "work"].map(|name| memory.path().join(name));
    for directory in [&upper, &work] {
        fs::create_dir(directory).during("create the directory", directory)?;
    }
    let mut options = Vec::new();
    for (option, path) in [
        ("lowerdir=", &lower),
        (",upperdir=", &upper),
        (",workdir=", &work),
    ] {
        let path = path.as_os_str().as_bytes();
        if path.iter().any(|byte| b",:\\".contains(byte)) {
            let reason = "the directory of the trees has a comma, colon or backslash in its path";
            return Err(Obstacle::Unavailable(reason.to_owned()));
        }
        options.extend_from_slice(option.as_bytes());
        options.extend_from_slice(path);
    }
    let options = CString::new(options)
        .map_err(io::Error::other)
        .during("name", &lower)?;
    let point = MountPoint::mount(ground.point("overlay"), "overlay", "overlay", &options)?;
    Ok(Mounted {
        root: point.path().to_owned(),
        _points: vec![point, memory],
    })
}

fn squashfs(ground: &Ground, parameters: Parameters) -> Result<Mounted, Obstacle> {
    let image = ImageFile::create(ground, "squashfs")?;
    {
        // Of files without contents: their sizes add up to hundreds of GiB, which would all be packed.
        let memory = in_memory(ground, "squashfs-source")?;
        let source = filled(&memory, parameters)?;
        hollow(&source)?;
        let mut make = Command::new("mksquashfs");
        make.arg(&source)
            .arg(&image.0)
            .args(["-noappend", "-quiet", "-no-progress"]);
        run(make, "mksquashfs")?;
    }
    let point = on_loop(ground, "squashfs", &image, "ro")?;
    Ok(Mounted {
        root: point.path().to_owned(),
        _points: vec![point],
    })
}

/// Takes the contents from all files.
fn hollow(root: &Path) -> Result<(), IoError> {
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).during("read the directory", &directory)? {
            let entry = entry.during("read the directory", &directory)?;
            let kind = entry.file_type().during("look at", &entry.path())?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                File::create(entry.path()).during("truncate", &entry.path())?;
            }
        }
    }
    Ok(())
}

/// The tree of these parameters on the disk, made if it is not there yet.
pub(super) fn kept(ground: &Ground, parameters: Parameters) -> Result<PathBuf, tree::Error> {
    let name = parameters.to_string().replace("--", "").replace(' ', "-");
    let root = ground.trees().join(name);
    tree::make(&root, parameters)?;
    Ok(root)
}

fn run(mut command: Command, program: &str) -> Result<(), Obstacle> {
    let ended = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let output = match ended {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Obstacle::Unavailable(format!(
                "{program} is not installed; `benches/install-peers.sh apt` installs it"
            )));
        }
        ended => ended.during("start", Path::new(program))?,
    };
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Obstacle::Unavailable(format!(
        "{program} failed ({}): {}",
        output.status,
        complaint.lines().next().unwrap_or("it said nothing")
    )))
}
