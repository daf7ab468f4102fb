//! From a description to a mounted file system, and its handle.
//!
//! What must stay true: dropping a [`Mounted`] always comes back. First everything that hangs or
//! waits is answered, then the kernel aborts the connection and forgets the mount, and only then
//! are threads waited for, each of which has nothing more to wait for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::connection::Connection;
use super::counts::Counts;
use super::filesystem::{Control, Injected};
use super::operation::Operation;
use super::queue::Queue;
use super::rule::{Cookies, Rule};
use super::rules::Rules;
use super::session;
use super::tree::Tree;

/// How long the end of a mount waits for its session, which has nothing left to do.
const SESSION_END: Duration = Duration::from_secs(10);

/// The description of a file system to be mounted.
#[derive(Debug, Clone)]
#[must_use]
pub struct TestFs {
    pub(crate) source: Source,
    rules: Vec<Rule>,
    /// How many calls are served at a time, if not any number.
    pub(crate) places: Option<usize>,
    pub(crate) attribute_timeout: Duration,
    pub(crate) entry_timeout: Duration,
    pub(crate) readdirplus: bool,
    seed: u64,
}

/// What is behind the mount.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Generated(Tree),
    Passthrough(PathBuf),
}

impl TestFs {
    /// A file system that shows a generated tree.
    pub fn generated(tree: Tree) -> Self {
        Self::new(Source::Generated(tree))
    }

    /// A file system that shows a real directory, read only. The directory may change meanwhile,
    /// and entries keep their inode numbers. Permissions are not checked: the mount shows what this
    /// process may see, to everybody.
    pub fn passthrough(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::Passthrough(path.into()))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            rules: Vec::new(),
            places: None,
            attribute_timeout: Duration::ZERO,
            entry_timeout: Duration::ZERO,
            readdirplus: false,
            seed: 0,
        }
    }

    /// Adds a rule. Rules apply in the order in which they are added.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Serves so many calls at a time, as a server with so many threads; the others wait. A call
    /// holds its place while its answer is held back, and while it hangs. There is no limit
    /// otherwise.
    pub fn serve_at_once(mut self, calls: usize) -> Self {
        self.places = Some(calls);
        self
    }

    /// How long the kernel may answer from the attributes that it was told last. Zero otherwise,
    /// so that every call arrives; network file systems give a second or more.
    pub fn attribute_timeout(mut self, timeout: Duration) -> Self {
        self.attribute_timeout = timeout;
        self
    }

    /// How long the kernel may believe that a name leads to what it led to last. Zero otherwise.
    pub fn entry_timeout(mut self, timeout: Duration) -> Self {
        self.entry_timeout = timeout;
        self
    }

    /// Whether listings carry metadata, which spares look-ups if both timeouts allow it. Not
    /// otherwise.
    pub fn readdirplus(mut self, on: bool) -> Self {
        self.readdirplus = on;
        self
    }

    /// What everything random depends on. Zero otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Mounts the file system on a new directory of its own.
    ///
    /// Should this process be killed, calls under way end with an error, also those of the process
    /// itself; the mount stays, dead, and has to be unmounted by hand.
    ///
    /// # Errors
    /// If there is no right to mount, the real directory cannot be opened, or a rule can never do
    /// anything: one that says nothing, or one of those that [`Rule`] describes as impossible.
    pub fn mount(self) -> io::Result<Mounted> {
        check(&self.rules)?;
        let seed = self.seed;
        let control = Arc::new(Control {
            rules: RwLock::new(Arc::new(Rules::new(self.rules.clone(), seed))),
            counters: Arc::default(),
            injected: Mutex::default(),
        });
        let what = match &self.source {
            Source::Generated(tree) => format!("generated, {:?}", tree.totals()),
            Source::Passthrough(path) => format!("passing {} through", path.display()),
        };
        let point = MountPoint::new()?;
        let started = session::start(self, &point, Arc::clone(&control))?;
        Ok(Mounted {
            control,
            queue: started.queue,
            seed,
            what,
            connection: Some(started.connection),
            ended: Mutex::new(started.ended),
            point,
        })
    }
}

/// Refuses rules that cannot do what they say.
fn check(rules: &[Rule]) -> io::Result<()> {
    let needless = Operation::Open | Operation::Opendir | Operation::Access;
    for rule in rules {
        let on = |operation| rule.operations.contains(operation);
        let only = |operation: Operation| rule.operations == operation.into();
        let wrong = if !rule.is_for_calls() && rule.shown.is_none() {
            "it does nothing"
        } else if rule.errno == Some(libc::ENOSYS)
            && Operation::ALL
                .iter()
                .any(|&one| needless.contains(one) && on(one))
        {
            "the kernel takes ENOSYS for a call that it can do without"
        } else if rule.cookies.is_some() && !only(Operation::Readdir) {
            "only listings have cookies"
        } else if matches!(rule.cookies, Some(Cookies::Cycle { length: 0, .. })) {
            "a cycle has at least one entry"
        } else if rule
            .share
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            "a share is from 0 to 1"
        } else {
            continue;
        };
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{rule:?}: {wrong}"),
        ));
    }
    Ok(())
}

/// A directory to mount on, removed when dropped.
#[derive(Debug)]
pub(crate) struct MountPoint(PathBuf);

impl MountPoint {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn new() -> io::Result<Self> {
        // Not removed with all that is in it: should unmounting fail, that would be the mount.
        Ok(Self(
            tempfile::Builder::new()
                .prefix("statline-testfs-")
                .tempdir()?
                .keep(),
        ))
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            // Nobody can handle it here.
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A mounted file system. It is unmounted when this is dropped.
///
/// Prints as its seed, its rules and its counts, for a failing test to show.
pub struct Mounted {
    control: Arc<Control>,
    queue: Arc<Queue>,
    seed: u64,
    /// What is behind the mount.
    what: String,
    /// Taken when dropped.
    connection: Option<Connection>,
    ended: Mutex<Receiver<()>>,
    /// Removed last.
    point: MountPoint,
}

/// Releases what hangs in a mount when dropped: see [`Mounted::releasing`].
#[derive(Debug)]
#[must_use]
pub struct Releasing<'a>(&'a Mounted);

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Mounted {
    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.point.path()
    }

    /// What everything random depends on.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The calls so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.control.counters.read()
    }

    /// Replaces all rules, for the calls that come in from now on. What rules have counted begins
    /// anew; what hangs, hangs.
    ///
    /// # Errors
    /// As [`TestFs::mount`], for rules that can never do anything. Then nothing has changed.
    pub fn set_rules(&self, rules: Vec<Rule>) -> io::Result<()> {
        check(&rules)?;
        *self.control.rules.write() = Arc::new(Rules::new(rules, self.seed));
        Ok(())
    }

    /// The errors that rules have made since this was asked last, in the order of the calls.
    #[must_use]
    pub fn take_injected(&self) -> Vec<Injected> {
        std::mem::take(&mut *self.control.injected.lock())
    }

    /// How many calls hang.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.queue.hung()
    }

    /// Waits until so many calls hang at a time, and says whether they do.
    #[must_use]
    pub fn wait_until_hung(&self, calls: usize, timeout: Duration) -> bool {
        self.queue.wait_until_hung(calls, timeout)
    }

    /// Answers all that hangs, truthfully unless a rule says otherwise. From now on nothing hangs.
    pub fn release(&self) {
        self.queue.release();
    }

    /// Releases as soon as what this gives is dropped. A test that fails inside
    /// [`std::thread::scope`] waits for the threads of the scope, so where they hang:
    ///
    /// ```no_run
    /// # let mounted: statline_testfs::fuse::Mounted = unimplemented!();
    /// std::thread::scope(|scope| {
    ///     let _releasing = mounted.releasing();
    ///     scope.spawn(|| std::fs::metadata(mounted.path().join("hangs")));
    ///     assert!(mounted.wait_until_hung(1, std::time::Duration::from_secs(60)));
    /// });
    /// ```
    pub fn releasing(&self) -> Releasing<'_> {
        Releasing(self)
    }

    /// Has the kernel end all calls under way, and all to come, with an error: `ECONNABORTED` or
    /// `ENOTCONN`. The mount stays, as that of a server that has died.
    ///
    /// # Errors
    /// If there is no right to do so.
    pub fn abort(&self) -> io::Result<()> {
        self.connection.as_ref().map_or(Ok(()), Connection::abort)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.queue.close();
        drop(self.connection.take());
        // Nothing is ever sent; the other side is dropped.
        if self.ended.get_mut().recv_timeout(SESSION_END) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the session of a test file system does not end; it is left behind");
        }
    }
}

impl fmt::Display for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test file system on {}, ", self.path().display())?;
        if let Some(connection) = &self.connection {
            write!(f, "connection {}, ", connection.number())?;
        }
        write!(f, "seed {}, ", self.seed)?;
        f.write_str(&self.what)?;
        for rule in Arc::clone(&self.control.rules.read()).iter() {
            write!(f, "\n  rule: {rule:?}")?;
        }
        write!(f, "\n  {:?}", self.counts())
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
