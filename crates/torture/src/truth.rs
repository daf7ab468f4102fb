//! What is known to be there, and what a scan of it must have said.
//!
//! One thing must stay true: each entry is accounted for in one of the four ways of the contract, or it is a loss.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use statline_pipeline::{Outcome, Scope};
use statline_platform::Kind;
use statline_stages::DirectoryStatus;

use crate::oracle::{Findings, Oracle, some_of};
use crate::scan::{Observed, Scan};

/// Every entry below a root, which is not among them, by its path relative to the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) entries: BTreeMap<Vec<u8>, Kind>,
    /// How many entries each directory has, the root's under the empty path.
    children: HashMap<Vec<u8>, u64>,
}

/// What may be wrong with a scan that was interfered with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    /// Places that may be missing, with all below them. The empty path is the root.
    pub(crate) affected: Vec<Vec<u8>>,
    /// Whether anything may have vanished.
    pub(crate) vanishing: bool,
    /// Kinds may be others than the truth's.
    pub(crate) kinds_differ: bool,
    /// Directories may repeat entries without end.
    pub(crate) repeats: bool,
    /// What was wrong went away, so the run must be complete.
    pub(crate) heals: bool,
}

impl Truth {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Vec<u8>, Kind)>) -> Truth {
        let mut truth = Truth::default();
        truth.children.insert(Vec::new(), 0);
        for (path, kind) in entries {
            *truth.children.entry(parent(&path).to_vec()).or_default() += 1;
            if kind == Kind::Directory {
                truth.children.entry(path.clone()).or_default();
            }
            truth.entries.insert(path, kind);
        }
        truth
    }

    /// Holds what a scan said against the truth. `Complete` scans of an undisturbed tree pass with no allowance.
    pub(crate) fn judge(
        &self,
        scan: &Scan,
        seen: &Observed,
        allowed: &Allowance,
        findings: &mut Findings,
    ) {
        let mut records: HashSet<&[u8]> = HashSet::new();
        let mut twice = Vec::new();
        for record in &seen.records {
            if !records.insert(&record.path) {
                twice.push(record.path.as_slice());
            }
        }
        findings.check(
            Oracle::Duplicate,
            twice.is_empty() || allowed.repeats,
            || format!("{} records come twice", some_of(twice)),
        );
        self.look_for_phantoms(seen, allowed, findings);
        let coverage = Coverage::new(scan, seen);
        let missing: Vec<&[u8]> = self
            .entries
            .keys()
            .map(Vec::as_slice)
            .filter(|path| !records.contains(path))
            .collect();
        let root_failed = allowed.affected.iter().any(Vec::is_empty);
        let failed = seen.report.outcome == Outcome::Failed && root_failed;
        let vanished = seen.counter("vanished") + seen.counter("vanished_directories");
        if !failed {
            let uncovered: Vec<&[u8]> = missing
                .iter()
                .copied()
                .filter(|path| !coverage.covers(path))
                .collect();
            let counted = usize::try_from(seen.counter("vanished")).unwrap_or(usize::MAX);
            findings.check(Oracle::Loss, uncovered.len() <= counted, || {
                let outcome = seen.report.outcome;
                format!(
                    "{} missing without a word, {counted} vanished, outcome {outcome}",
                    some_of(uncovered)
                )
            });
            let beyond = missing.iter().copied().filter(|path| !allowed.admits(path));
            let beyond: Vec<&[u8]> = beyond.collect();
            findings.check(Oracle::Loss, beyond.is_empty(), || {
                format!("{} missing, which nobody interfered with", some_of(beyond))
            });
        }
        findings.check(Oracle::Lie, vanished == 0 || allowed.vanishing, || {
            format!("{vanished} entries are said to have vanished, and none did")
        });
        self.look_at_ends(seen, &coverage, allowed, findings);
        findings.check(
            Oracle::Lie,
            seen.errors.is_empty() || !allowed.heals,
            || format!("what went away is reported: {:?}", seen.errors[0]),
        );
        look_at_outcome(seen, missing.len(), failed, findings);
    }

    fn look_for_phantoms(&self, seen: &Observed, allowed: &Allowance, findings: &mut Findings) {
        let mut phantoms = Vec::new();
        for record in seen.records.iter().filter(|record| !record.path.is_empty()) {
            match self.entries.get(&record.path) {
                None => phantoms.push(record.path.as_slice()),
                Some(kind) if record.kind != Some(*kind) && !allowed.kinds_differ => {
                    let path = some_of([record.path.as_slice()]);
                    findings.add(
                        Oracle::Lie,
                        format!("{path} is {kind:?} and said to be {:?}", record.kind),
                    );
                }
                Some(_) => {}
            }
        }
        findings.check(Oracle::Escape, phantoms.is_empty(), || {
            format!("records of {}, which is not there", some_of(phantoms))
        });
    }

    /// Every directory that was met must end once, and one that ended as complete must have all its entries.
    fn look_at_ends(
        &self,
        seen: &Observed,
        coverage: &Coverage,
        allowed: &Allowance,
        findings: &mut Findings,
    ) {
        let mut ends: HashMap<&[u8], u64> = HashMap::new();
        for end in &seen.ends {
            *ends.entry(&end.path).or_default() += 1;
            let children = self.children.get(&end.path).copied();
            let whole = end.status != DirectoryStatus::Complete
                || allowed.kinds_differ
                || allowed.repeats
                // What vanished or failed while its kind was asked for was not sent.
                || children.is_some_and(|children| {
                    end.entries == children || !coverage.places.is_empty() || allowed.vanishing
                });
            findings.check(Oracle::Lie, whole, || {
                format!(
                    "{} ended as complete with {} entries, and has {children:?}",
                    some_of([end.path.as_slice()]),
                    end.entries
                )
            });
            let explained = end.status != DirectoryStatus::Failed
                || coverage.subtrees.contains(end.path.as_slice());
            findings.check(Oracle::Lie, explained, || {
                let path = some_of([end.path.as_slice()]);
                format!("{path} failed, and no error row says so")
            });
        }
        let twice: Vec<&[u8]> = ends
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(path, _)| *path)
            .collect();
        findings.check(Oracle::Lie, twice.is_empty() || allowed.repeats, || {
            format!("{} ended more than once", some_of(twice))
        });
        if !seen.report.outcome.publishes() || allowed.kinds_differ {
            return;
        }
        let unended = self.children.keys().map(Vec::as_slice).filter(|path| {
            !ends.contains_key(path) && !coverage.covers(path) && !allowed.admits(path)
        });
        let unended: Vec<&[u8]> = unended.collect();
        findings.check(Oracle::Lie, unended.is_empty(), || {
            format!("the directory {} has no end", some_of(unended))
        });
    }
}

/// The outcome must say whether something is missing.
fn look_at_outcome(seen: &Observed, missing: usize, failed: bool, findings: &mut Findings) {
    let outcome = seen.report.outcome;
    let reported = seen.report.error_count();
    let rows = seen.errors.len() as u64;
    if failed {
        findings.check(
            Oracle::Lie,
            seen.published
                .is_none_or(|as_what| as_what == Outcome::Failed),
            || "a run that failed was published".to_owned(),
        );
        return;
    }
    let expected = match rows {
        0 => Outcome::Complete,
        _ => Outcome::Incomplete,
    };
    findings.check(Oracle::Lie, outcome == expected, || {
        let cause = seen.report.cause.as_deref().unwrap_or_default();
        format!("outcome {outcome} with {rows} error rows and {missing} missing; {cause}")
    });
    findings.check(Oracle::Lie, seen.published == Some(outcome), || {
        let told = seen.published.map(Outcome::as_str);
        format!("the sink was told {told:?} of a run that ended {outcome}")
    });
    findings.check(Oracle::Lie, rows == reported, || {
        format!("the report counts {reported} errors, and there are {rows} rows")
    });
}

impl Allowance {
    /// The fault hits this place alone, with all below it.
    pub(crate) fn at(path: &[u8]) -> Allowance {
        Allowance {
            affected: vec![path.to_vec()],
            ..Allowance::default()
        }
    }

    fn admits(&self, path: &[u8]) -> bool {
        self.affected
            .iter()
            .any(|place| path == place || is_below(path, place))
    }
}

/// What error rows and ends of directories account for.
struct Coverage {
    /// Entries that an error row names.
    places: HashSet<Vec<u8>>,
    /// Places below which anything may be missing, by error rows alone.
    subtrees: BTreeSet<Vec<u8>>,
    /// The same by the ends of directories.
    ended: HashSet<Vec<u8>>,
}

impl Coverage {
    fn new(scan: &Scan, seen: &Observed) -> Coverage {
        let mut coverage = Coverage {
            places: HashSet::new(),
            subtrees: BTreeSet::new(),
            ended: HashSet::new(),
        };
        for error in &seen.errors {
            let path = scan.relative(&error.subject).to_vec();
            if error.scope == Scope::Subtree {
                coverage.subtrees.insert(path.clone());
            }
            coverage.places.insert(path);
        }
        for end in &seen.ends {
            if end.status != DirectoryStatus::Complete {
                coverage.ended.insert(end.path.clone());
            }
        }
        coverage
    }

    fn covers(&self, path: &[u8]) -> bool {
        if self.places.contains(path) {
            return true;
        }
        let mut above = path;
        while !above.is_empty() {
            above = parent(above);
            if self.subtrees.contains(above) || self.ended.contains(above) {
                return true;
            }
        }
        false
    }
}

/// The directory that a relative path is in; the root for one component.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    slash.map_or(b"", |slash| &path[..slash])
}

/// Whether `path` is below `place`.
pub(crate) fn is_below(path: &[u8], place: &[u8]) -> bool {
    place.is_empty() && !path.is_empty()
        || path
            .strip_prefix(place)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
}
