//! The threads that serve a mount, apart from all others in one respect: their open files.
//!
//! A process that is killed while one of its threads waits for an answer from its own mount would
//! never end: the waiting thread keeps `/dev/fuse` open, for which the kernel waits in turn. So the
//! threads that serve have a table of open files of their own, which dies with them.
//!
//! What must stay true: a descriptor means nothing outside its table. What holds one (the device,
//! the directories of a passthrough, answers) is opened, used and dropped only by threads that are
//! started from [`run`].

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use fuser::{Config, Session, SessionACL};
use nix::sched::CloneFlags;

use super::backing::Backing;
use super::connection::Connection;
use super::filesystem::{Control, Server, TestFilesystem};
use super::mount::{MountPoint, Source, TestFs};
use super::passthrough::Passthrough;
use super::queue::Queue;

/// Threads that read calls. They never wait for an answer's time; several so that real files can
/// be slow.
const THREADS: usize = 4;

/// A session that has begun, for those who do not serve.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) queue: Arc<Queue>,
    pub(crate) connection: Connection,
    /// Cut off when the session has ended and everything is dropped.
    pub(crate) ended: Receiver<()>,
}

/// Mounts `fs` on `point` and serves it on threads of its own.
pub(crate) fn start(fs: TestFs, point: &MountPoint, control: Arc<Control>) -> io::Result<Started> {
    let point = point.path().to_owned();
    let (report, reported) = channel();
    std::thread::Builder::new()
        .name("testfs-session".to_owned())
        .spawn(move || {
            // The receiver waits for a report, and takes none for a panic.
            let report_error = report.clone();
            if let Err(error) = own_files().and_then(|()| run(fs, &point, control, &report)) {
                let _ = report_error.send(Err(error));
            }
        })?;
    reported
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the session panicked")))
}

/// Mounts, reports that, and serves until the mount is gone.
fn run(
    fs: TestFs,
    point: &std::path::Path,
    control: Arc<Control>,
    report: &Sender<io::Result<Started>>,
) -> io::Result<()> {
    let backing = match fs.source {
        Source::Generated(tree) => Backing::Generated(tree),
        Source::Passthrough(path) => Backing::Passthrough(Passthrough::open_root(&path)?),
    };
    let server = Arc::new(Server {
        backing,
        control,
        attribute_timeout: fs.attribute_timeout,
        entry_timeout: fs.entry_timeout,
        readdirplus: fs.readdirplus,
    });
    // Its threads inherit the table of open files from this one.
    let queue = Arc::new(Queue::new(fs.places)?);
    let (connection, device) = Connection::mount(point)?;
    let filesystem = TestFilesystem {
        server,
        queue: Arc::clone(&queue),
    };
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    let session = Session::from_fd(filesystem, device, SessionACL::All, config)?;
    let (end, ended) = channel::<()>();
    let _ = report.send(Ok(Started {
        queue,
        connection,
        ended,
    }));
    // A session that is aborted ends well; another error shows as calls that fail.
    if let Err(error) = session.run() {
        eprintln!("the session of a test file system ended: {error}");
    }
    drop(end);
    Ok(())
}

/// Gives the calling thread a table of open files of its own: the standard streams, nothing else.
fn own_files() -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_FILES)?;
    // The table began as a copy, and in it are pipes whose other ends wait for them to be closed.
    let mut open: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/thread-self/fd")? {
        open.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2) {
        // One of them was that of the listing. Nobody but this thread knows any.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}
