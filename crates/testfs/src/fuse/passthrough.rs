//! A real tree, read only, behind the mount.
//!
//! An entry keeps the inode number that it really has, so hard links stay recognisable. A directory
//! that the kernel knows is kept open, so it stays the same one when the real tree is changed while
//! it is being scanned; everything else is reached by its name in its directory. What must stay
//! true: nothing is followed out of the tree, and what was found under an inode number is answered
//! for that number or not at all.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::backing::{Listed, Stat};
use super::tree::{Kind, ROOT};

/// Inode numbers from here on are given out to what cannot keep its own: entries of other file
/// systems mounted below the root, and numbers that are reserved.
const FOREIGN: u64 = 1 << 63;

/// How many directories are kept open. Beyond that the one that was opened first is closed, and
/// opened again by way of its parents when it is needed.
const MAX_OPEN: usize = 500;

/// A real directory and all below it.
#[derive(Debug)]
pub(crate) struct Passthrough {
    root: Arc<OwnedFd>,
    device: u64,
    /// The real number of the root.
    root_inode: u64,
    nodes: Mutex<Nodes>,
    handles: Mutex<HashMap<u64, Handle>>,
    next_handle: AtomicU64,
}

/// What the kernel knows: all that it looked up and has not forgotten.
#[derive(Debug, Default)]
struct Nodes {
    known: HashMap<u64, Node>,
    /// Those that are open, in the order in which they were opened.
    open: VecDeque<u64>,
    /// Device and inode number of those that got another number, and that number.
    foreign: HashMap<(u64, u64), u64>,
}

/// Where an inode was found last.
#[derive(Debug)]
struct Node {
    parent: u64,
    name: Vec<u8>,
    /// How often the kernel has been told of it.
    lookups: u64,
    directory: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Clone)]
enum Handle {
    Directory(Arc<Vec<Listed>>),
    File(Arc<OwnedFd>),
}

impl Nodes {
    fn keep_open(&mut self, inode: u64, directory: &Arc<OwnedFd>) {
        let Some(node) = self.known.get_mut(&inode) else {
            return;
        };
        if node.directory.replace(Arc::clone(directory)).is_some() {
            return;
        }
        self.open.push_back(inode);
        if self.open.len() > MAX_OPEN
            && let Some(first) = self.open.pop_front()
            && let Some(node) = self.known.get_mut(&first)
        {
            node.directory = None;
        }
    }
}

impl Passthrough {
    pub(crate) fn open_root(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        Ok(Self {
            root: Arc::new(root),
            device: stat.st_dev,
            root_inode: stat.st_ino,
            nodes: Mutex::default(),
            handles: Mutex::default(),
            next_handle: AtomicU64::new(1),
        })
    }

    pub(crate) fn path(&self, inode: u64) -> Option<Vec<u8>> {
        let nodes = self.nodes.lock();
        let mut names = Vec::new();
        let mut at = inode;
        while at != ROOT {
            let node = nodes.known.get(&at)?;
            names.push(node.name.as_slice());
            at = node.parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    pub(crate) fn name(&self, inode: u64) -> Option<Vec<u8>> {
        if inode == ROOT {
            return Some(Vec::new());
        }
        Some(self.nodes.lock().known.get(&inode)?.name.clone())
    }

    pub(crate) fn parent(&self, inode: u64) -> Option<u64> {
        if inode == ROOT {
            return Some(ROOT);
        }
        Some(self.nodes.lock().known.get(&inode)?.parent)
    }

    /// Looks up a name for the kernel, which has to [forget](Passthrough::forget) it some time.
    pub(crate) fn lookup(&self, directory: u64, name: &[u8]) -> Result<Stat, Errno> {
        let found = self.stat_at(&*self.directory(directory)?, name)?;
        if found.inode != ROOT {
            let mut nodes = self.nodes.lock();
            let node = nodes.known.entry(found.inode).or_insert_with(|| Node {
                parent: directory,
                name: Vec::new(),
                lookups: 0,
                directory: None,
            });
            node.parent = directory;
            node.name = name.to_vec();
            node.lookups += 1;
        }
        Ok(found)
    }

    /// The kernel does not know an inode any more that it was told of so many times.
    pub(crate) fn forget(&self, inode: u64, lookups: u64) {
        let mut nodes = self.nodes.lock();
        let Some(node) = nodes.known.get_mut(&inode) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups == 0 {
            nodes.known.remove(&inode);
            nodes.open.retain(|&open| open != inode);
        }
    }

    pub(crate) fn stat(&self, inode: u64) -> Result<Stat, Errno> {
        if let Some(directory) = self.opened(inode) {
            return self.stat_at(&*directory, b"");
        }
        let (directory, name) = self.place(inode)?;
        let stat = self.stat_at(&*directory, &name)?;
        if stat.inode == inode {
            Ok(stat)
        } else {
            Err(Errno::STALE)
        }
    }

    pub(crate) fn open_directory(&self, inode: u64) -> Result<u64, Errno> {
        let directory = self.directory(inode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&*directory, c".", flags, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(listing)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let name = name.to_bytes().to_vec();
            let kind = match entry.file_type() {
                FileType::Unknown => self.stat_at(&*directory, &name)?.kind,
                known => kind(known),
            };
            entries.push(Listed {
                name,
                inode: entry.ino(),
                kind,
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
        let (directory, name) = self.place(inode)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*directory, &*name, flags, Mode::empty())?;
        self.check(&file, inode)?;
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
        let (directory, name) = self.place(inode)?;
        Ok(rustix::fs::readlinkat(&*directory, &*name, Vec::new())?.into_bytes())
    }

    fn keep(&self, handle: Handle) -> u64 {
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.handles.lock().insert(number, handle);
        number
    }

    /// The directory that an inode is in, and its name there; for the root itself and `.`.
    fn place(&self, inode: u64) -> Result<(Arc<OwnedFd>, Vec<u8>), Errno> {
        let name = self.name(inode).filter(|name| !name.is_empty());
        let parent = self.parent(inode).ok_or(Errno::STALE)?;
        Ok((
            self.directory(parent)?,
            name.unwrap_or_else(|| b".".to_vec()),
        ))
    }

    /// An inode that is a directory and open already.
    fn opened(&self, inode: u64) -> Option<Arc<OwnedFd>> {
        if inode == ROOT {
            return Some(Arc::clone(&self.root));
        }
        self.nodes.lock().known.get(&inode)?.directory.clone()
    }

    /// An inode that is a directory, opened by way of the next one above that is open.
    fn directory(&self, inode: u64) -> Result<Arc<OwnedFd>, Errno> {
        let mut closed = Vec::new();
        let mut at = inode;
        let mut directory = loop {
            match self.opened(at) {
                Some(directory) => break directory,
                None => {
                    closed.push(at);
                    at = self.parent(at).ok_or(Errno::STALE)?;
                }
            }
        };
        for inode in closed.into_iter().rev() {
            let name = self.name(inode).ok_or(Errno::STALE)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = Arc::new(rustix::fs::openat(
                &*directory,
                &*name,
                flags,
                Mode::empty(),
            )?);
            self.check(&*directory, inode)?;
            self.nodes.lock().keep_open(inode, &directory);
        }
        Ok(directory)
    }

    /// Refuses what was opened if it is no longer what was found.
    fn check(&self, opened: impl AsFd, inode: u64) -> Result<(), Errno> {
        let found = self.stat_at(opened, b"")?.inode;
        if found == inode {
            Ok(())
        } else {
            Err(Errno::STALE)
        }
    }

    /// The metadata of an entry, or of the directory itself if the name is empty, with the number
    /// under which FUSE knows it.
    fn stat_at(&self, directory: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let stat = rustix::fs::statat(directory, name, flags)?;
        let time = |seconds, nanoseconds| (seconds, u32::try_from(nanoseconds).unwrap_or(0));
        Ok(Stat {
            inode: self.number(stat.st_dev, stat.st_ino),
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
        })
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
