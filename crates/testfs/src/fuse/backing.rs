//! What is behind the mount, a generated tree or a real one, seen through the same calls.
//!
//! Nothing here knows of rules or of FUSE: it answers truthfully and at once.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::Errno;

use super::passthrough::Passthrough;
use super::tree::{Kind, Tree};

/// When everything in a generated tree was last modified, in seconds since 1970: 2020-09-13.
const GENERATED_TIME: i64 = 1_600_000_000;

/// Where the entries come from.
#[derive(Debug)]
pub(crate) enum Backing {
    Generated(Tree),
    Passthrough(Passthrough),
}

/// The metadata of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    pub(crate) inode: u64,
    pub(crate) kind: Kind,
    pub(crate) permissions: u16,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: u32,
    pub(crate) block_size: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) accessed: (i64, u32),
    pub(crate) modified: (i64, u32),
    pub(crate) changed: (i64, u32),
}

/// An entry as a directory lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
    pub(crate) kind: Kind,
}

impl Backing {
    /// Looks up a name for the kernel, which has to [forget](Backing::forget) it some time.
    pub(crate) fn lookup(&self, directory: u64, name: &[u8]) -> Result<Stat, Errno> {
        match self {
            Self::Generated(tree) => {
                generated_stat(tree, tree.lookup(directory, name).ok_or(Errno::NOENT)?)
            }
            Self::Passthrough(real) => real.lookup(directory, name),
        }
    }

    pub(crate) fn stat(&self, inode: u64) -> Result<Stat, Errno> {
        match self {
            Self::Generated(tree) => generated_stat(tree, inode),
            Self::Passthrough(real) => real.stat(inode),
        }
    }

    /// The kernel does not know an inode any more that it was told of so many times.
    pub(crate) fn forget(&self, inode: u64, lookups: u64) {
        match self {
            Self::Generated(_) => {}
            Self::Passthrough(real) => real.forget(inode, lookups),
        }
    }

    /// Opens a directory; the answer is for [`Backing::at`] and [`Backing::close`].
    pub(crate) fn open_directory(&self, inode: u64) -> Result<u64, Errno> {
        match self {
            Self::Generated(tree) => match tree.kind(inode).ok_or(Errno::STALE)? {
                Kind::Directory => Ok(0),
                _ => Err(Errno::NOTDIR),
            },
            Self::Passthrough(real) => real.open_directory(inode),
        }
    }

    /// The entry at `position` of an open directory, `None` behind the last.
    pub(crate) fn at(
        &self,
        inode: u64,
        handle: u64,
        position: u64,
    ) -> Result<Option<Listed>, Errno> {
        match self {
            Self::Generated(tree) => {
                let Some(inode) = tree.at(inode, position) else {
                    return Ok(None);
                };
                let name = tree.name(inode).ok_or(Errno::STALE)?;
                let kind = tree.kind(inode).ok_or(Errno::STALE)?;
                Ok(Some(Listed { name, inode, kind }))
            }
            Self::Passthrough(real) => real.at(handle, position),
        }
    }

    pub(crate) fn open(&self, inode: u64) -> Result<u64, Errno> {
        match self {
            Self::Generated(tree) => tree.kind(inode).map(|_| 0).ok_or(Errno::STALE),
            Self::Passthrough(real) => real.open(inode),
        }
    }

    /// At most `size` bytes of an open file from `offset`, fewer only at its end.
    pub(crate) fn read(
        &self,
        inode: u64,
        handle: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Generated(tree) => {
                let left = tree.size(inode).ok_or(Errno::STALE)?.saturating_sub(offset);
                Ok(vec![
                    0;
                    usize::try_from(left).map_or(size as usize, |left| left
                        .min(size as usize))
                ])
            }
            Self::Passthrough(real) => real.read(handle, offset, size),
        }
    }

    /// Closes what was opened as `handle`.
    pub(crate) fn close(&self, handle: u64) {
        match self {
            Self::Generated(_) => {}
            Self::Passthrough(real) => real.close(handle),
        }
    }

    pub(crate) fn target(&self, inode: u64) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Generated(tree) => Ok(tree.target(inode).ok_or(Errno::INVAL)?.to_vec()),
            Self::Passthrough(real) => real.target(inode),
        }
    }

    /// The inode number of the directory that `inode` is in; the root is in itself.
    pub(crate) fn parent(&self, inode: u64) -> Option<u64> {
        match self {
            Self::Generated(tree) => tree.parent(inode),
            Self::Passthrough(real) => real.parent(inode),
        }
    }

    /// The last component of the path of `inode`; empty for the root.
    pub(crate) fn name(&self, inode: u64) -> Option<Vec<u8>> {
        match self {
            Self::Generated(tree) => tree.name(inode),
            Self::Passthrough(real) => real.name(inode),
        }
    }

    /// The path of `inode` relative to the root, which is empty itself.
    pub(crate) fn path(&self, inode: u64) -> Option<Vec<u8>> {
        match self {
            Self::Generated(tree) => tree.path(inode),
            Self::Passthrough(real) => real.path(inode),
        }
    }
}

fn generated_stat(tree: &Tree, inode: u64) -> Result<Stat, Errno> {
    let kind = tree.kind(inode).ok_or(Errno::STALE)?;
    let size = tree.size(inode).ok_or(Errno::STALE)?;
    let time = (GENERATED_TIME, 0);
    Ok(Stat {
        inode,
        kind,
        permissions: match kind {
            Kind::Directory => 0o755,
            Kind::Symlink => 0o777,
            _ => 0o644,
        },
        size,
        blocks: size.div_ceil(512),
        links: tree.links(inode).ok_or(Errno::STALE)?,
        uid: 0,
        gid: 0,
        device: 0,
        block_size: 4096,
        accessed: time,
        modified: time,
        changed: time,
    })
}

impl Stat {
    /// The same for the kernel.
    pub(crate) fn attributes(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo(self.inode),
            size: self.size,
            blocks: self.blocks,
            atime: system_time(self.accessed),
            mtime: system_time(self.modified),
            ctime: system_time(self.changed),
            crtime: SystemTime::UNIX_EPOCH,
            kind: self.kind.into(),
            perm: self.permissions,
            nlink: self.links,
            uid: self.uid,
            gid: self.gid,
            rdev: self.device,
            blksize: self.block_size,
            flags: 0,
        }
    }
}

/// A time since 1970. One that Linux cannot express becomes 1970; there is none in 64 bits.
fn system_time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    time.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

impl From<Kind> for FileType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::RegularFile,
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo => Self::NamedPipe,
            Kind::Socket => Self::Socket,
            Kind::CharDevice => Self::CharDevice,
            Kind::BlockDevice => Self::BlockDevice,
        }
    }
}
