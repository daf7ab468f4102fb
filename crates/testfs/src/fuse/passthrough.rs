//! A real tree, read only, behind the mount.
//!
//! An entry keeps the inode number that it really has, so hard links stay recognisable. What FUSE
//! knows by number is known here by path, the one under which it was last looked up; all of them
//! are remembered until the mount is gone. Nothing is ever followed out of the tree: no component
//! of a path but the last is opened through a symbolic link, and the last neither.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::backing::{Listed, Stat};
use super::tree::{Kind, ROOT};

/// The kernel takes paths of 4,095 bytes; longer ones are walked in pieces of at most this.
const PIECE: usize = 4_000;

/// Inode numbers from here on are given out to what cannot keep its own: entries of other file
/// systems mounted below the root, and numbers that are reserved.
const FOREIGN: u64 = 1 << 63;

/// A real directory and all below it.
#[derive(Debug)]
pub(crate) struct Passthrough {
    root: OwnedFd,
    device: u64,
    /// The real number of the root.
    root_inode: u64,
    nodes: Mutex<Nodes>,
    handles: Mutex<HashMap<u64, Handle>>,
    next_handle: AtomicU64,
}

#[derive(Debug, Default)]
struct Nodes {
    paths: HashMap<u64, Arc<[u8]>>,
    parents: HashMap<u64, u64>,
    /// Device and inode number of those that got another number, and that number.
    foreign: HashMap<(u64, u64), u64>,
}

#[derive(Debug, Clone)]
enum Handle {
    Directory(Arc<Vec<Listed>>),
    File(Arc<OwnedFd>),
}

impl Passthrough {
    pub(crate) fn open_root(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        let mut nodes = Nodes::default();
        nodes.paths.insert(ROOT, Arc::from([]));
        nodes.parents.insert(ROOT, ROOT);
        Ok(Self {
            root,
            device: stat.st_dev,
            root_inode: stat.st_ino,
            nodes: Mutex::new(nodes),
            handles: Mutex::default(),
            next_handle: AtomicU64::new(1),
        })
    }

    pub(crate) fn path(&self, inode: u64) -> Option<Vec<u8>> {
        Some(self.nodes.lock().paths.get(&inode)?.to_vec())
    }

    pub(crate) fn name(&self, inode: u64) -> Option<Vec<u8>> {
        let path = self.path(inode)?;
        Some(
            path.rsplit(|&byte| byte == b'/')
                .next()
                .unwrap_or_default()
                .to_vec(),
        )
    }

    pub(crate) fn parent(&self, inode: u64) -> Option<u64> {
        self.nodes.lock().parents.get(&inode).copied()
    }

    pub(crate) fn lookup(&self, directory: u64, name: &[u8]) -> Result<Stat, Errno> {
        let mut path = self.path(directory).ok_or(Errno::STALE)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let (device, mut stat) = self.stat_path(&path)?;
        stat.inode = self.number(device, stat.inode);
        if stat.inode != ROOT {
            let mut nodes = self.nodes.lock();
            nodes.paths.insert(stat.inode, Arc::from(path));
            nodes.parents.insert(stat.inode, directory);
        }
        Ok(stat)
    }

    pub(crate) fn stat(&self, inode: u64) -> Result<Stat, Errno> {
        let path = self.path(inode).ok_or(Errno::STALE)?;
        let (_, mut stat) = self.stat_path(&path)?;
        stat.inode = inode;
        Ok(stat)
    }

    pub(crate) fn open_directory(&self, inode: u64) -> Result<u64, Errno> {
        let directory = self.open_path(inode, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            entries.push(Listed {
                inode: entry.ino(),
                kind: kind(file_type),
                name: name.to_bytes().to_vec(),
            });
        }
        Ok(self.keep(Handle::Directory(Arc::new(entries))))
    }

    pub(crate) fn at(&self, handle: u64, position: u64) -> Result<Option<Listed>, Errno> {
        match self.handles.lock().get(&handle) {
            Some(Handle::Directory(entries)) => Ok(usize::try_from(position)
                .ok()
                .and_then(|at| entries.get(at))
                .cloned()),
            _ => Err(Errno::BADF),
        }
    }

    pub(crate) fn open(&self, inode: u64) -> Result<u64, Errno> {
        let file = self.open_path(inode, OFlags::RDONLY | OFlags::NONBLOCK)?;
        Ok(self.keep(Handle::File(Arc::new(file))))
    }

    pub(crate) fn read(&self, handle: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let Some(Handle::File(file)) = self.handles.lock().get(&handle).cloned() else {
            return Err(Errno::BADF);
        };
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::pread(&*file, &mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    pub(crate) fn close(&self, handle: u64) {
        self.handles.lock().remove(&handle);
    }

    pub(crate) fn target(&self, inode: u64) -> Result<Vec<u8>, Errno> {
        let path = self.path(inode).ok_or(Errno::STALE)?;
        let (directory, last) = self.walk(&path)?;
        let directory = directory.as_ref().unwrap_or(&self.root);
        Ok(rustix::fs::readlinkat(directory, last, Vec::new())?.into_bytes())
    }

    fn keep(&self, handle: Handle) -> u64 {
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.handles.lock().insert(number, handle);
        number
    }

    fn open_path(&self, inode: u64, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = self.path(inode).ok_or(Errno::STALE)?;
        let (directory, last) = self.walk(&path)?;
        let directory = directory.as_ref().unwrap_or(&self.root);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, last, flags, Mode::empty())
    }

    /// The device and, with its real number, the metadata of what is at `path`.
    fn stat_path(&self, path: &[u8]) -> Result<(u64, Stat), Errno> {
        let (directory, last) = self.walk(path)?;
        let directory = directory.as_ref().unwrap_or(&self.root);
        let stat = rustix::fs::statat(directory, last, AtFlags::SYMLINK_NOFOLLOW)?;
        let time = |seconds, nanoseconds| (seconds, u32::try_from(nanoseconds).unwrap_or(0));
        let found = Stat {
            inode: stat.st_ino,
            kind: kind(FileType::from_raw_mode(stat.st_mode)),
            permissions: (stat.st_mode & 0o7777) as u16,
            size: stat.st_size.unsigned_abs(),
            blocks: stat.st_blocks.unsigned_abs(),
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            // The lower half is the kernel's own encoding of small device numbers.
            device: stat.st_rdev as u32,
            block_size: u32::try_from(stat.st_blksize).unwrap_or(4096),
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        };
        Ok((stat.st_dev, found))
    }

    /// Goes down `path` until what is left is one component, `.` for an empty path. The directory
    /// is `None` where it is the root.
    fn walk<'a>(&self, path: &'a [u8]) -> Result<(Option<OwnedFd>, &'a [u8]), Errno> {
        let (mut above, last) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None if path.is_empty() => return Ok((None, b".")),
            None => return Ok((None, path)),
        };
        let mut directory: Option<OwnedFd> = None;
        while !above.is_empty() {
            let piece = if above.len() <= PIECE {
                above.len()
            } else {
                // A name has at most 255 bytes, so there is a slash.
                above[..PIECE]
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .ok_or(Errno::NAMETOOLONG)?
            };
            let flags = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
            directory = Some(rustix::fs::openat2(
                directory.as_ref().unwrap_or(&self.root),
                &above[..piece],
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                flags,
            )?);
            above = above.get(piece + 1..).unwrap_or_default();
        }
        Ok((directory, last))
    }

    /// The number under which FUSE shall know an entry.
    fn number(&self, device: u64, inode: u64) -> u64 {
        if device == self.device {
            if inode == self.root_inode {
                return ROOT;
            }
            if inode > ROOT && inode < FOREIGN {
                return inode;
            }
        }
        let mut nodes = self.nodes.lock();
        let next = FOREIGN + nodes.foreign.len() as u64;
        *nodes.foreign.entry((device, inode)).or_insert(next)
    }
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => Kind::File,
    }
}
