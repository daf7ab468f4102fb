//! The file system as the kernel calls it: each call is counted, judged by the rules, served by
//! what is behind the mount, and answered now or later.
//!
//! What must stay true: no call keeps a session thread waiting, so there is always one to read the
//! next call; and every call is answered once, since a reply that is dropped answers `EIO`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    AccessFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use super::backing::{Backing, Listed, Stat};
use super::counts::Counters;
use super::operation::Operation;
use super::queue::Queue;
use super::rule::{Cookies, Shown};
use super::rules::{DOTS, Rules, Subject, Verdict};
use super::tree::Kind;

/// How many calls the kernel may have under way that no process waits for, such as reading ahead.
const MAX_BACKGROUND: u16 = 1024;

/// Entries of generated trees are never replaced by others of the same number.
const GENERATION: Generation = Generation(0);

/// An error that a rule made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The call that failed.
    pub operation: Operation,
    /// The path of what it was about, relative to the root.
    pub path: Vec<u8>,
    /// The error number that was answered.
    pub errno: i32,
}

/// What a [`Mounted`](super::Mounted) shares with the threads that serve it: no open files, see
/// `session`.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) rules: RwLock<Arc<Rules>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) injected: Mutex<Vec<Injected>>,
}

/// What all threads share that serve a mount.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) backing: Backing,
    pub(crate) control: Arc<Control>,
    pub(crate) attribute_timeout: Duration,
    pub(crate) entry_timeout: Duration,
    pub(crate) readdirplus: bool,
}

/// What `fuser` drives.
#[derive(Debug)]
pub(crate) struct TestFilesystem {
    pub(crate) server: Arc<Server>,
    pub(crate) queue: Arc<Queue>,
}

/// What a call is about.
enum Target<'a> {
    Inode(INodeNo),
    Child(INodeNo, &'a OsStr),
}

impl TestFilesystem {
    /// Judges a call, and has it served by `serve` unless it is to fail, and answered by `answer`
    /// when its time has come. `range` is where a listing or a reading begins and ends.
    fn call<R, T>(
        &self,
        operation: Operation,
        target: &Target<'_>,
        range: Option<(u64, u64)>,
        reply: R,
        serve: impl FnOnce(&Server, &Verdict, &mut R) -> Result<T, Errno> + Send + 'static,
        answer: impl FnOnce(&Server, R, Result<T, fuser::Errno>) + Send + 'static,
    ) where
        R: Send + 'static,
    {
        let in_flight = self.server.control.counters.arrives(operation);
        let verdict = self.server.judge(operation, target, range);
        let (latency, hang) = (verdict.latency, verdict.hang);
        let server = Arc::clone(&self.server);
        let mut reply = reply;
        let later = move || {
            let result = match verdict.errno {
                Some(errno) => Err(fuser::Errno::from_i32(errno)),
                None => serve(&server, &verdict, &mut reply)
                    .map_err(|error| fuser::Errno::from_i32(error.raw_os_error())),
            };
            drop(in_flight);
            answer(&server, reply, result);
        };
        self.queue.put(latency, hang, Box::new(later));
    }
}

impl Server {
    fn judge(
        &self,
        operation: Operation,
        target: &Target<'_>,
        range: Option<(u64, u64)>,
    ) -> Verdict {
        let rules = Arc::clone(&self.control.rules.read());
        let subject = match target {
            Target::Inode(inode) => Subject::inode(&self.backing, inode.0),
            Target::Child(directory, name) => {
                Subject::child(&self.backing, directory.0, name.as_bytes())
            }
        };
        let verdict = rules.decide(operation, &subject, range);
        if let Some(errno) = verdict.errno {
            let path = subject.path().unwrap_or_default().to_vec();
            self.control.injected.lock().push(Injected {
                operation,
                path,
                errno,
            });
        }
        verdict
    }

    /// Hands out a directory's entries from `offset` until `add` says that there is no more room.
    fn list(
        &self,
        inode: u64,
        handle: u64,
        offset: u64,
        verdict: &Verdict,
        mut add: impl FnMut(&Rules, &Listed, u64) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let rules = Arc::clone(&self.control.rules.read());
        for position in offset..verdict.end.unwrap_or(u64::MAX) {
            let entry = match position.checked_sub(DOTS) {
                Some(position) => self.backing.at(inode, handle, position)?,
                None if position == 0 => Some(dots(".", inode)),
                None => Some(dots("..", self.backing.parent(inode).ok_or(Errno::STALE)?)),
            };
            let Some(mut entry) = entry else { break };
            if position >= DOTS {
                let subject = Subject::child(&self.backing, inode, &entry.name);
                if let Some(shown) = rules.shown_in_listing(&subject) {
                    entry.kind = shown.kind.unwrap_or(entry.kind);
                    entry.inode = shown.inode.unwrap_or(entry.inode);
                }
            }
            let next = next_offset(position, verdict.cookies);
            let full = add(&rules, &entry, next)?;
            // Whoever follows the offsets within one answer must see where the cycle closes too.
            if full || next <= position && matches!(verdict.cookies, Some(Cookies::Cycle { .. })) {
                break;
            }
        }
        Ok(())
    }
}

/// The offset that the entry at `position` carries: that of the entry which follows.
fn next_offset(position: u64, cookies: Option<Cookies>) -> u64 {
    match cookies {
        Some(Cookies::Stuck { from }) if position >= from + DOTS => from + DOTS,
        Some(Cookies::Cycle { start, length }) if position == start + length - 1 + DOTS => {
            start + DOTS
        }
        _ => position + 1,
    }
}

fn dots(name: &str, inode: u64) -> Listed {
    Listed {
        name: name.as_bytes().to_vec(),
        inode,
        kind: Kind::Directory,
    }
}

impl Shown {
    /// Changes all that is shown but the inode number, by which the kernel knows an entry.
    fn apply(&self, stat: &mut Stat) {
        stat.kind = self.kind.unwrap_or(stat.kind);
        stat.size = self.size.unwrap_or(stat.size);
        stat.links = self.links.unwrap_or(stat.links);
        stat.accessed = self.accessed.map_or(stat.accessed, |seconds| (seconds, 0));
        stat.modified = self.modified.map_or(stat.modified, |seconds| (seconds, 0));
        stat.changed = self.changed.map_or(stat.changed, |seconds| (seconds, 0));
    }
}

impl Filesystem for TestFilesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let unsupported = |bits| std::io::Error::other(format!("the kernel cannot do {bits:?}"));
        // Without this the kernel lets only one process at a time into a directory.
        config
            .add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS)
            .map_err(unsupported)?;
        config
            .add_capabilities(InitFlags::FUSE_ASYNC_DIO)
            .map_err(unsupported)?;
        if self.server.readdirplus {
            config
                .add_capabilities(InitFlags::FUSE_DO_READDIRPLUS)
                .map_err(unsupported)?;
        }
        config
            .set_max_background(MAX_BACKGROUND)
            .map_err(|_| std::io::ErrorKind::InvalidInput)?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let wanted = name.as_bytes().to_vec();
        self.call(
            Operation::Lookup,
            &Target::Child(parent, name),
            None,
            reply,
            move |server, verdict, _| {
                let mut stat = server.backing.lookup(parent.0, &wanted)?;
                let mut timeout = server.attribute_timeout;
                if let Some(shown) = &verdict.shown {
                    shown.apply(&mut stat);
                    // The number in this answer is the one by which the kernel will ask; another
                    // can only be shown by a call for the attributes, so one must come.
                    timeout = if shown.inode.is_some() {
                        Duration::ZERO
                    } else {
                        timeout
                    };
                }
                Ok((stat, timeout))
            },
            |server, reply, result| match result {
                Ok((stat, timeout)) => {
                    let attributes = stat.attributes();
                    reply.entry_with_ttls(&timeout, &server.entry_timeout, &attributes, GENERATION);
                }
                Err(error) => reply.error(error),
            },
        );
    }

    /// Not a call: nobody waits for an answer, so rules and counters know nothing of it.
    fn forget(&self, _: &Request, inode: INodeNo, lookups: u64) {
        self.server.backing.forget(inode.0, lookups);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.call(
            Operation::Getattr,
            &Target::Inode(inode),
            None,
            reply,
            move |server, verdict, _| {
                let mut stat = server.backing.stat(inode.0)?;
                if let Some(shown) = &verdict.shown {
                    shown.apply(&mut stat);
                    stat.inode = shown.inode.unwrap_or(stat.inode);
                }
                Ok(stat)
            },
            |server, reply, result| match result {
                Ok(stat) => reply.attr(&server.attribute_timeout, &stat.attributes()),
                Err(error) => reply.error(error),
            },
        );
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        self.call(
            Operation::Readlink,
            &Target::Inode(inode),
            None,
            reply,
            move |server, _, _| server.backing.target(inode.0),
            |_, reply, result| match result {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(error),
            },
        );
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.call(
            Operation::Opendir,
            &Target::Inode(inode),
            None,
            reply,
            move |server, _, _| server.backing.open_directory(inode.0),
            |_, reply, result| match result {
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
                Err(error) => reply.error(error),
            },
        );
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.call(
            Operation::Readdir,
            &Target::Inode(inode),
            Some((offset, u64::MAX)),
            reply,
            move |server, verdict, reply| {
                server.list(inode.0, handle.0, offset, verdict, |_, entry, next| {
                    let name = OsStr::from_bytes(&entry.name);
                    Ok(reply.add(INodeNo(entry.inode), next, entry.kind.into(), name))
                })
            },
            |_, reply, result| match result {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error),
            },
        );
    }

    fn readdirplus(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.call(
            Operation::Readdir,
            &Target::Inode(inode),
            Some((offset, u64::MAX)),
            reply,
            move |server, verdict, reply| {
                server.list(inode.0, handle.0, offset, verdict, |rules, entry, next| {
                    let dots = next <= DOTS && entry.name.starts_with(b".");
                    let mut stat = if dots {
                        server.backing.stat(entry.inode)?
                    } else {
                        match server.backing.lookup(inode.0, &entry.name) {
                            // Gone since it was listed: it is not there.
                            Err(Errno::NOENT) => return Ok(false),
                            stat => stat?,
                        }
                    };
                    stat.kind = entry.kind;
                    // Where a rule waits for the `stat`, the kernel must not have it from here.
                    let subject = Subject::child(&server.backing, inode.0, &entry.name);
                    let timeout = if rules.concern_stat(&subject) {
                        Duration::ZERO
                    } else {
                        server.attribute_timeout.min(server.entry_timeout)
                    };
                    let attributes = stat.attributes();
                    let name = OsStr::from_bytes(&entry.name);
                    Ok(reply.add(
                        attributes.ino,
                        next,
                        name,
                        &timeout,
                        &attributes,
                        GENERATION,
                    ))
                })
            },
            |_, reply, result| match result {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error),
            },
        );
    }

    fn releasedir(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.call(
            Operation::Releasedir,
            &Target::Inode(inode),
            None,
            reply,
            move |server, _, _| {
                server.backing.close(handle.0);
                Ok(())
            },
            answer_empty,
        );
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.call(
            Operation::Open,
            &Target::Inode(inode),
            None,
            reply,
            move |server, _, _| server.backing.open(inode.0),
            |_, reply, result| match result {
                // Past the page cache: every reading arrives, and arrives as it was asked for.
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
                Err(error) => reply.error(error),
            },
        );
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = offset.saturating_add(size.into());
        self.call(
            Operation::Read,
            &Target::Inode(inode),
            Some((offset, end)),
            reply,
            move |server, verdict, _| {
                // An end that a rule sets is within what was asked for.
                let size = verdict.end.map_or(size, |end| (end - offset) as u32);
                server.backing.read(inode.0, handle.0, offset, size)
            },
            |_, reply, result| match result {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(error),
            },
        );
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.call(
            Operation::Release,
            &Target::Inode(inode),
            None,
            reply,
            move |server, _, _| {
                server.backing.close(handle.0);
                Ok(())
            },
            answer_empty,
        );
    }

    fn statfs(&self, _: &Request, inode: INodeNo, reply: ReplyStatfs) {
        self.call(
            Operation::Statfs,
            &Target::Inode(inode),
            None,
            reply,
            |_, _, _| Ok(()),
            |_, reply, result| match result {
                // Nothing free, nothing used: nobody asks a test's file system for space.
                Ok(()) => reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096),
                Err(error) => reply.error(error),
            },
        );
    }

    fn access(&self, _: &Request, inode: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        let target = Target::Inode(inode);
        self.call(
            Operation::Access,
            &target,
            None,
            reply,
            |_, _, _| Ok(()),
            answer_empty,
        );
    }
}

fn answer_empty(_: &Server, reply: ReplyEmpty, result: Result<(), fuser::Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
