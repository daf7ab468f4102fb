//! The rules of a mount, and what they mean for a call.
//!
//! A call is decided once, when it comes in, so that "the first three calls" means what it says
//! however long answers are held back. Finding out a path is put off until a rule asks for it.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::backing::Backing;
use super::operation::{Operation, Operations};
use super::random::{Draw, hash};
use super::rule::{Cookies, Place, Rule, Shown};

/// Offsets 0 and 1 are those of `.` and `..`.
pub(crate) const DOTS: u64 = 2;

/// The rules of a mount with what they have done so far.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    /// The seed of the mount, made different for each rule.
    seed: u64,
    /// How many calls were selected, before `after` and `times` are looked at.
    selected: AtomicU64,
    /// How many latencies were drawn.
    drawn: AtomicU64,
}

/// What a call is about. A name that is looked up has no inode number yet.
pub(crate) struct Subject<'a> {
    backing: &'a Backing,
    inode: u64,
    name: Option<&'a [u8]>,
    path: OnceCell<Option<Vec<u8>>>,
}

/// What shall happen to a call.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) latency: Duration,
    pub(crate) hang: bool,
    pub(crate) errno: Option<i32>,
    pub(crate) cookies: Option<Cookies>,
    pub(crate) shown: Option<Shown>,
    /// The offset at which the answer has to end, so that the next call begins there.
    pub(crate) end: Option<u64>,
}

impl<'a> Subject<'a> {
    pub(crate) fn inode(backing: &'a Backing, inode: u64) -> Self {
        Self {
            backing,
            inode,
            name: None,
            path: OnceCell::new(),
        }
    }

    pub(crate) fn child(backing: &'a Backing, directory: u64, name: &'a [u8]) -> Self {
        Self {
            backing,
            inode: directory,
            name: Some(name),
            path: OnceCell::new(),
        }
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        let path = self.path.get_or_init(|| {
            let mut path = self.backing.path(self.inode)?;
            if let Some(name) = self.name {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
            Some(path)
        });
        path.as_deref()
    }

    /// Whether the last component of the path passes. Costs less than the whole path.
    fn name_is(&self, passes: impl FnOnce(&[u8]) -> bool) -> bool {
        match self.name {
            Some(name) => passes(name),
            None => self
                .backing
                .name(self.inode)
                .is_some_and(|name| passes(&name)),
        }
    }

    fn is_at(&self, place: &Place) -> bool {
        match place {
            Place::Anywhere => true,
            Place::Path(wanted) => {
                let last = wanted
                    .rsplit(|&byte| byte == b'/')
                    .next()
                    .unwrap_or_default();
                self.name_is(|name| name == last) && self.path() == Some(wanted)
            }
            Place::Glob(glob) if glob.name_only => self.name_is(|name| glob.matches(name)),
            Place::Glob(glob) => self.path().is_some_and(|path| glob.matches(path)),
        }
    }
}

impl Armed {
    /// Whether the rule is about the subject, whatever it did before.
    fn is_about(&self, subject: &Subject<'_>) -> bool {
        subject.is_at(&self.rule.place)
            && self.rule.share.is_none_or(|share| {
                // The share of a path must not depend on the other rules, so no drawing here.
                let path = subject.path().unwrap_or_default();
                Draw::new(hash(self.seed, path)).unit() < share
            })
    }

    /// Whether the rule has had all its calls.
    fn is_over(&self) -> bool {
        self.rule.times.is_some_and(|times| {
            self.selected.load(Ordering::Relaxed) >= self.rule.after.saturating_add(times)
        })
    }

    /// Counts a selected call and says whether it is one to which the rule applies.
    fn takes(&self) -> bool {
        let before = self.selected.fetch_add(1, Ordering::Relaxed);
        let applied = before.checked_sub(self.rule.after);
        applied.is_some_and(|applied| self.rule.times.is_none_or(|times| applied < times))
    }

    fn latency(&self) -> Duration {
        self.rule
            .latency
            .as_ref()
            .map_or(Duration::ZERO, |latency| {
                let number = self.drawn.fetch_add(1, Ordering::Relaxed);
                latency.draw(&mut Draw::new(hash(self.seed, &number.to_le_bytes())))
            })
    }
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        let armed = rules.into_iter().enumerate().map(|(number, rule)| Armed {
            rule,
            seed: hash(seed, &number.to_le_bytes()),
            selected: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
        });
        Self {
            armed: armed.collect(),
        }
    }

    /// The rules as they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.armed.iter().map(|armed| &armed.rule)
    }

    /// Decides about a call. `range` is what it wants of a listing or a file: the offset where it
    /// begins, and where it ends if that is known.
    pub(crate) fn decide(
        &self,
        operation: Operation,
        subject: &Subject<'_>,
        range: Option<(u64, u64)>,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let listing = operation == Operation::Readdir;
        for armed in &self.armed {
            let rule = &armed.rule;
            if !rule.operations.contains(operation)
                || listing && !rule.is_for_calls()
                || !armed.is_about(subject)
            {
                continue;
            }
            if let (Some(at), Some((begin, end))) = (rule.at_offset, range) {
                let at = if listing && at != 0 {
                    at.saturating_add(DOTS)
                } else {
                    at
                };
                if begin < at {
                    if end > at && !armed.is_over() {
                        verdict.end = Some(verdict.end.map_or(at, |end| end.min(at)));
                    }
                    continue;
                }
            }
            if !armed.takes() {
                continue;
            }
            verdict.latency += armed.latency();
            verdict.hang |= rule.hang;
            verdict.errno = verdict.errno.or(rule.errno);
            verdict.cookies = verdict.cookies.or(rule.cookies);
            if let Some(shown) = rule.shown.as_ref().filter(|_| !listing) {
                verdict.shown = Some(shown.over(&verdict.shown.unwrap_or_default()));
            }
        }
        verdict
    }

    /// What a listing shows of an entry in place of the truth.
    pub(crate) fn shown_in_listing(&self, entry: &Subject<'_>) -> Option<Shown> {
        let mut shown = None;
        for armed in &self.armed {
            let Some(next) = &armed.rule.shown else {
                continue;
            };
            let applies = armed.rule.operations.contains(Operation::Readdir)
                && armed.is_about(entry)
                && armed.takes();
            if applies {
                shown = Some(next.over(&shown.unwrap_or_default()));
            }
        }
        shown
    }

    /// Whether any rule may apply to a `stat` of the subject.
    pub(crate) fn concern_stat(&self, subject: &Subject<'_>) -> bool {
        self.armed.iter().any(|armed| {
            let operations = armed.rule.operations;
            let stat = Operation::ALL
                .iter()
                .any(|&one| Operations::STAT.contains(one) && operations.contains(one));
            stat && armed.is_about(subject)
        })
    }
}
