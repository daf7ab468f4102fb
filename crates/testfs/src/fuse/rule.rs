//! What a test asks for: which calls, and what shall happen to them.
//!
//! A rule is a plain description. `rules.rs` holds the rules of a mount and decides by them.

use std::fmt;

use globset::{Candidate, GlobBuilder, GlobMatcher};

use super::latency::Latency;
use super::operation::Operations;
use super::tree::Kind;

/// The kernel refuses answers with larger error numbers.
const LARGEST_ERRNO: i32 = 511;

/// Something that happens to some calls.
///
/// A rule first selects calls (by operation, path, number, place in a listing), then says what
/// happens. All rules that select a call apply to it, in the order in which they were given:
/// latencies add up, one hang is enough, the first error wins, and where several say what is shown,
/// the later ones win. A call that both hangs and fails hangs first.
///
/// # What the kernel makes of system calls
///
/// With timeouts of zero, which is how a [`TestFs`](super::TestFs) begins, nothing is cached:
///
/// | system call | calls to the file system |
/// |---|---|
/// | `stat(2)`, `statx(2)` of an entry of an open directory | `lookup`, `getattr` |
/// | the same of an open file or directory | `getattr` |
/// | `openat(2)` of a directory | `lookup`, `opendir` |
/// | `openat(2)` of a file | `lookup`, `open` |
/// | `getdents64(2)` | one `readdir`; so is the one that finds the end |
/// | `close(2)` | `release`, `releasedir`, some time later |
///
/// and one `lookup` for each directory on the way of a path. Where attributes may be cached, a
/// `stat` is answered from the `lookup`, so [`Operations::STAT`] is what selects it in any case.
///
/// Some errors are not what they seem:
///
/// - A `lookup` of a name that the kernel remembers, that of an open directory or, to some kernels,
///   any that was found before, is made once more if it fails, unless with `EINTR` or `ENOMEM`. If
///   only the first fails, no user sees it: for an exact number of failures, put the rule on
///   `getattr`, `open` or `opendir`.
/// - A system call that takes a name and gets `ESTALE` from any of its calls begins again, once. An
///   exact number of failures takes twice as many.
/// - `ENOSYS` from `open`, `opendir` and `access` means "not needed" and is refused here.
/// - What `release` and `releasedir` answer goes nowhere.
#[derive(Clone)]
pub struct Rule {
    pub(crate) operations: Operations,
    pub(crate) place: Place,
    pub(crate) after: u64,
    pub(crate) times: Option<u64>,
    pub(crate) at_offset: Option<u64>,
    pub(crate) share: Option<f64>,
    pub(crate) latency: Option<Latency>,
    pub(crate) errno: Option<i32>,
    pub(crate) hang: bool,
    pub(crate) cookies: Option<Cookies>,
    pub(crate) shown: Option<Shown>,
}

/// Which paths a rule is about.
#[derive(Clone)]
pub(crate) enum Place {
    Anywhere,
    Path(Vec<u8>),
    Glob(Glob),
}

/// A pattern for paths.
#[derive(Clone)]
pub(crate) struct Glob {
    matcher: GlobMatcher,
    /// The pattern is `**/` and a pattern for a name: the path need not be known.
    pub(crate) name_only: bool,
}

impl Glob {
    /// Whether a path, or a name if that is enough, matches. The root has neither and does not.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty()
            && self
                .matcher
                .is_match_candidate(&Candidate::from_bytes(bytes))
    }
}

/// Offsets of directory entries that lead nowhere new. Entries are counted from 0, without `.`
/// and `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// Entry `from` and all behind it carry the offset of entry `from`: a listing never gets
    /// further than one buffer behind it.
    Stuck {
        /// The entry that every further reading begins with.
        from: u64,
    },
    /// Behind the last of `length` entries from `start` comes the first of them again.
    Cycle {
        /// The first entry of the cycle.
        start: u64,
        /// How many entries are in the cycle, at least one.
        length: u64,
    },
}

/// What is shown in place of the truth, field by field.
///
/// On [`Operation::Lookup`](super::Operation::Lookup) and
/// [`Operation::Getattr`](super::Operation::Getattr) it changes what `stat` shows, on
/// [`Operation::Readdir`](super::Operation::Readdir) the type and the inode number in the listing.
///
/// Whatever is shown here reaches the user, with two exceptions: for a size of 2^63 and above the
/// kernel gives `EIO`, and an inode number is shown by `stat` only while attributes are not cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub(crate) kind: Option<Kind>,
    pub(crate) inode: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) links: Option<u32>,
    pub(crate) accessed: Option<i64>,
    pub(crate) modified: Option<i64>,
    pub(crate) changed: Option<i64>,
}

impl Shown {
    /// The truth.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows another type.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Shows another inode number, also 0.
    #[must_use]
    pub fn inode(mut self, inode: u64) -> Self {
        self.inode = Some(inode);
        self
    }

    /// Shows another size in bytes.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Shows another number of links, also 0.
    #[must_use]
    pub fn links(mut self, links: u32) -> Self {
        self.links = Some(links);
        self
    }

    /// Shows another time of access, in seconds since 1970.
    #[must_use]
    pub fn accessed(mut self, seconds: i64) -> Self {
        self.accessed = Some(seconds);
        self
    }

    /// Shows another time of modification, in seconds since 1970.
    #[must_use]
    pub fn modified(mut self, seconds: i64) -> Self {
        self.modified = Some(seconds);
        self
    }

    /// Shows another time of change, in seconds since 1970.
    #[must_use]
    pub fn changed(mut self, seconds: i64) -> Self {
        self.changed = Some(seconds);
        self
    }

    /// These, and where they say nothing, those before.
    pub(crate) fn over(&self, before: &Self) -> Self {
        Self {
            kind: self.kind.or(before.kind),
            inode: self.inode.or(before.inode),
            size: self.size.or(before.size),
            links: self.links.or(before.links),
            accessed: self.accessed.or(before.accessed),
            modified: self.modified.or(before.modified),
            changed: self.changed.or(before.changed),
        }
    }
}

impl Rule {
    /// A rule for one operation or several (`Operation::Open | Operation::Opendir`).
    #[must_use]
    pub fn on(operations: impl Into<Operations>) -> Self {
        Self {
            operations: operations.into(),
            place: Place::Anywhere,
            after: 0,
            times: None,
            at_offset: None,
            share: None,
            latency: None,
            errno: None,
            hang: false,
            cookies: None,
            shown: None,
        }
    }

    /// Only for what is at this path, relative to the root, which is the empty path itself.
    ///
    /// The path of a call is that of the entry it is about: of the name that is looked up, of the
    /// directory that is opened or listed. In a rule that [shows](Rule::shows) something, that of
    /// the entry that is listed.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.place = Place::Path(path.as_ref().to_vec());
        self
    }

    /// Only for paths that match this pattern: `*` matches within a component, `**/` any number
    /// of them. None matches the root.
    ///
    /// # Panics
    /// If it is no valid pattern.
    #[must_use]
    pub fn path_glob(mut self, pattern: &str) -> Self {
        let name = pattern
            .strip_prefix("**/")
            .filter(|name| !name.contains(['/', '{']));
        let glob = GlobBuilder::new(name.unwrap_or(pattern))
            .literal_separator(true)
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        self.place = Place::Glob(Glob {
            matcher: glob.compile_matcher(),
            name_only: name.is_some(),
        });
        self
    }

    /// Only for this share of the paths, from 0 to 1, chosen by the seed of the mount. All calls
    /// for one path are treated alike.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.share = Some(share);
        self
    }

    /// Not for the first `calls` calls that are selected otherwise.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Only for so many calls; then it is as if the rule were not there.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    /// For listings: not before `offset` entries, `.` and `..` not counted, have been handed out,
    /// then at once. For reading files: not before byte `offset`, then at once.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.at_offset = Some(offset);
        self
    }

    /// The call fails with this error number.
    ///
    /// # Panics
    /// If it is not between 1 and 511: the kernel takes no others.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        assert!(
            (1..=LARGEST_ERRNO).contains(&errno),
            "{errno} is no error number"
        );
        self.errno = Some(errno);
        self
    }

    /// The answer is held back. It holds no thread of the file system, so any number of answers
    /// can be held back at a time, unless [`serve_at_once`](super::TestFs::serve_at_once) says
    /// otherwise.
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.latency = Some(latency.into());
        self
    }

    /// There is no answer until [`release`](super::Mounted::release) or the end of the mount.
    #[must_use]
    pub fn hang(mut self) -> Self {
        self.hang = true;
        self
    }

    /// A listing that goes in circles; the rule must be on
    /// [`Operation::Readdir`](super::Operation::Readdir).
    #[must_use]
    pub fn cookies(mut self, cookies: Cookies) -> Self {
        self.cookies = Some(cookies);
        self
    }

    /// Something else is shown than the truth.
    #[must_use]
    pub fn shows(mut self, shown: Shown) -> Self {
        self.shown = Some(shown);
        self
    }

    /// Whether the rule does something to whole calls, rather than to entries in a listing.
    pub(crate) fn is_for_calls(&self) -> bool {
        self.latency.is_some() || self.errno.is_some() || self.hang || self.cookies.is_some()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere => f.write_str("anywhere"),
            Self::Path(path) => write!(f, "at \"{}\"", path.escape_ascii()),
            Self::Glob(glob) if glob.name_only => write!(f, "at **/{}", glob.matcher.glob()),
            Self::Glob(glob) => write!(f, "at {}", glob.matcher.glob()),
        }
    }
}

/// One line that a person can read: a failing test prints it.
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.operations, self.place)?;
        if let Some(share) = self.share {
            write!(f, ", for {share} of the paths")?;
        }
        if self.after != 0 {
            write!(f, ", after {} calls", self.after)?;
        }
        if let Some(times) = self.times {
            write!(f, ", {times} times")?;
        }
        if let Some(offset) = self.at_offset {
            write!(f, ", at offset {offset}")?;
        }
        f.write_str(":")?;
        if let Some(latency) = &self.latency {
            write!(f, " latency {latency:?}")?;
        }
        if self.hang {
            f.write_str(" hangs")?;
        }
        if let Some(errno) = self.errno {
            write!(f, " {}", std::io::Error::from_raw_os_error(errno))?;
        }
        if let Some(cookies) = self.cookies {
            write!(f, " {cookies:?}")?;
        }
        if let Some(shown) = &self.shown {
            write!(f, " {shown:?}")?;
        }
        Ok(())
    }
}
