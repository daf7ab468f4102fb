//! T3: a tree that changes while it is scanned.
//!
//! A mutator creates, removes and renames about a thousand things a second, and keeps book: what was there throughout a
//! scan (*must*), and what was there at any time of it (*may*). Every scan must have all of the first, as a record or as
//! an error, and nothing but the second. When the mutator has ended, a scan must have exactly what is there.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statline_pipeline::Scope;
use statline_platform::Kind;
use statline_stages::{BackendSetting, DirectoryStatus};

use crate::guard::Mount;
use crate::oracle::{Findings, Oracle, some_of};
use crate::random::Random;
use crate::scan::{Observed, Scan};
use crate::suite::{Broken, Part, Suite};
use crate::truth::{Allowance, Truth, is_below, parent};

const BACKENDS: [BackendSetting; 3] = [
    BackendSetting::Statx,
    BackendSetting::Fstatat,
    BackendSetting::Auto,
];

/// Files in each directory at the beginning.
const FILES: usize = 50;

/// Between two changes.
const PACE: Duration = Duration::from_millis(1);

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let length = Duration::from_secs(suite.size(8, 60));
    for (number, backend) in BACKENDS.into_iter().enumerate() {
        let number = number as u64;
        if suite.wants(number) {
            scan_while_it_changes(suite, number, backend, length)?;
        }
    }
    Ok(())
}

/// The tree as it is, and what became of it since the scan under way began.
struct Book {
    alive: BTreeMap<Vec<u8>, Kind>,
    /// Was there when the scan began.
    at_first: HashSet<Vec<u8>>,
    /// Was there at any time since.
    ever: HashSet<Vec<u8>>,
    /// Removed or renamed since; what was below them is not counted on either.
    touched: HashSet<Vec<u8>>,
    /// Directories that were moved since. Nothing is changed in them: whoever has them open calls them by their former
    /// names.
    moved: Vec<Vec<u8>>,
    random: Random,
    made: u64,
}

impl Book {
    fn begin(&mut self) {
        self.at_first = self.alive.keys().cloned().collect();
        self.ever = self.at_first.clone();
        self.touched.clear();
        self.moved.clear();
    }

    fn must(&self) -> Vec<&[u8]> {
        let untouched = |path: &&Vec<u8>| {
            let mut place = path.as_slice();
            loop {
                if self.touched.contains(place) {
                    return false;
                }
                if place.is_empty() {
                    return true;
                }
                place = parent(place);
            }
        };
        let must = self.at_first.iter().filter(untouched);
        must.map(Vec::as_slice).collect()
    }

    fn add(&mut self, path: Vec<u8>, kind: Kind) {
        self.ever.insert(path.clone());
        self.alive.insert(path, kind);
    }

    fn remove(&mut self, path: &[u8]) {
        self.alive.remove(path);
        self.touched.insert(path.to_vec());
    }

    /// Something that is there and may be changed.
    fn any(&mut self, kind: Kind) -> Option<Vec<u8>> {
        for _ in 0..20 {
            // A place near a random one, without going through all.
            let mut from = self.random.name(3);
            from[0] = b'd';
            from[1] = b'0' + self.random.below(10) as u8;
            let found = self.alive.range(from..).find(|(_, what)| **what == kind);
            let Some((path, _)) = found else { continue };
            let frozen = |place: &Vec<u8>| path == place || is_below(path, place);
            if !self.moved.iter().any(frozen) {
                return Some(path.clone());
            }
        }
        None
    }

    fn new_name(&mut self, directory: &[u8]) -> Vec<u8> {
        self.made += 1;
        // Names come back now and then, as those of temporary files do.
        let number = match self.random.chance(4) {
            true => self.random.below(50) as u64,
            false => self.made,
        };
        [directory, format!("/n{number}").as_bytes()].concat()
    }

    /// Makes one change of the tree and of the book.
    fn change(&mut self, root: &Path) -> std::io::Result<()> {
        let Some(directory) = self.any(Kind::Directory) else {
            return Ok(());
        };
        let at = |path: &[u8]| -> PathBuf {
            use std::os::unix::ffi::OsStrExt;
            root.join(std::ffi::OsStr::from_bytes(path))
        };
        let new = self.new_name(&directory);
        match self.random.below(10) {
            0..3 => {
                if !self.alive.contains_key(&new) {
                    fs::write(at(&new), "x")?;
                    self.add(new, Kind::File);
                }
            }
            3..5 => {
                if let Some(file) = self.any(Kind::File) {
                    fs::remove_file(at(&file))?;
                    self.remove(&file);
                }
            }
            // Within a directory, or to another one.
            5..8 => {
                let file = self.any(Kind::File);
                if let Some(file) = file.filter(|_| !self.alive.contains_key(&new)) {
                    fs::rename(at(&file), at(&new))?;
                    self.remove(&file);
                    self.add(new, Kind::File);
                }
            }
            8 => {
                if !self.alive.contains_key(&new) {
                    fs::create_dir(at(&new))?;
                    self.add(new, Kind::Directory);
                }
            }
            _ => {
                let Some(from) = self.any(Kind::Directory) else {
                    return Ok(());
                };
                if !self.is_under(&from, b"/") {
                    fs::remove_dir(at(&from))?;
                    self.remove(&from);
                } else if self.random.chance(4) && from.contains(&b'/') {
                    self.move_directory(&from, &new, &at)?;
                }
            }
        }
        Ok(())
    }

    /// Whether anything is in a directory.
    fn is_under(&self, directory: &[u8], slash: &[u8]) -> bool {
        let from = [directory, slash].concat();
        let next = self.alive.range(from.clone()..).next();
        next.is_some_and(|(path, _)| path.starts_with(&from))
    }

    fn move_directory(
        &mut self,
        from: &[u8],
        to: &[u8],
        at: &impl Fn(&[u8]) -> PathBuf,
    ) -> std::io::Result<()> {
        if self.alive.contains_key(to) || to == from || is_below(to, from) {
            return Ok(());
        }
        fs::rename(at(from), at(to))?;
        let below: Vec<(Vec<u8>, Kind)> = self
            .alive
            .range(from.to_vec()..)
            .take_while(|(path, _)| path.starts_with(from))
            .filter(|(path, _)| *path == from || is_below(path, from))
            .map(|(path, kind)| (path.clone(), *kind))
            .collect();
        for (path, kind) in below {
            self.remove(&path);
            self.add([to, &path[from.len()..]].concat(), kind);
        }
        self.moved.extend([from.to_vec(), to.to_vec()]);
        Ok(())
    }
}

fn scan_while_it_changes(
    suite: &Suite,
    number: u64,
    backend: BackendSetting,
    length: Duration,
) -> Result<(), Broken> {
    // In memory where that may be mounted: the changes are meant to be many.
    let mount = Mount::tmpfs(1 << 30).ok();
    let directory = tempfile::tempdir()?;
    let above = mount.as_ref().map_or(directory.path(), Mount::path);
    let root = above.join("root");
    let book = Mutex::new(make(suite, number, &root)?);
    let lock = || book.lock().unwrap_or_else(PoisonError::into_inner);
    let (over, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut sums = [0_u64; 3];
    let mut broken: Option<Broken> = None;
    std::thread::scope(|scope| {
        let mutator = scope.spawn(|| -> std::io::Result<()> {
            while !over.load(Ordering::Relaxed) {
                lock().change(&root)?;
                changes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
            Ok(())
        });
        let began = Instant::now();
        while began.elapsed() < length && !suite.is_stopping() && broken.is_none() {
            lock().begin();
            let mut scan = Scan::of(&root, backend);
            scan.threads = 1 + sums[0] as usize % 3;
            let seen = scan.run();
            let mut findings = Findings::default();
            match seen {
                Ok(Ok(seen)) => {
                    sums[1] += seen.counter("vanished");
                    sums[2] += seen.errors.len() as u64;
                    judge(&lock(), &scan, &seen, &mut findings);
                }
                Ok(Err(_)) => findings.add(Oracle::Bound, "the scan does not end"),
                Err(error) => broken = Some(error),
            }
            sums[0] += 1;
            let oracles = [Oracle::Loss, Oracle::Escape, Oracle::Lie, Oracle::Bound];
            suite.count(Part::Mutation, number, &oracles, 1, findings);
        }
        over.store(true, Ordering::Relaxed);
        match mutator.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => broken = Some(format!("the mutator: {error}").into()),
            Err(_) => broken = Some("the mutator panicked".into()),
        }
    });
    if let Some(error) = broken {
        return Err(error);
    }
    let [scans, vanished, errors] = sums;
    let changes = changes.load(Ordering::Relaxed);
    suite.note(
        Part::Mutation,
        format!(
            "{backend:?}: {changes} changes under {scans} scans of {} entries; {vanished} vanished, {errors} error rows",
            lock().alive.len()
        ),
    );
    let truth = Truth::new(lock().alive.clone());
    suite.case(Part::Mutation, number, Oracle::RECORDS, |findings| {
        let scan = Scan::of(&root, backend);
        match scan.run()? {
            Ok(seen) => {
                let whole = Allowance {
                    heals: true,
                    ..Allowance::default()
                };
                truth.judge(&scan, &seen, &whole, findings);
            }
            Err(_) => findings.add(Oracle::Bound, "the scan does not end"),
        }
        Ok(())
    });
    Ok(())
}

fn make(suite: &Suite, number: u64, root: &Path) -> Result<Book, Broken> {
    let mut alive = BTreeMap::new();
    let directories = suite.size(400, 2000);
    for directory in 0..directories {
        let name = match directory % 5 {
            0 => format!("d{directory}"),
            // One level further down.
            _ => format!("d{}/e{directory}", directory / 5 * 5),
        };
        fs::create_dir_all(root.join(&name))?;
        alive.insert(name.clone().into_bytes(), Kind::Directory);
        for file in 0..FILES {
            let name = format!("{name}/f{file}");
            fs::write(root.join(&name), "x")?;
            alive.insert(name.into_bytes(), Kind::File);
        }
    }
    Ok(Book {
        alive,
        at_first: HashSet::new(),
        ever: HashSet::new(),
        touched: HashSet::new(),
        moved: Vec::new(),
        random: suite.random(Part::Mutation, number),
        made: 100,
    })
}

fn judge(book: &Book, scan: &Scan, seen: &Observed, findings: &mut Findings) {
    let records: HashSet<&[u8]> = seen.records.iter().map(|record| &record.path[..]).collect();
    let errors = seen.errors.iter();
    let named: HashSet<&[u8]> = errors.map(|error| scan.relative(&error.subject)).collect();
    let mut failed: HashSet<&[u8]> = seen
        .ends
        .iter()
        .filter(|end| end.status != DirectoryStatus::Complete)
        .map(|end| end.path.as_slice())
        .collect();
    let subtrees = seen
        .errors
        .iter()
        .filter(|error| error.scope == Scope::Subtree);
    failed.extend(subtrees.map(|error| scan.relative(&error.subject)));
    let mut lost = book.must();
    lost.retain(|path| {
        let mut above = *path;
        let mut below_failed = false;
        while !above.is_empty() && !below_failed {
            above = parent(above);
            below_failed = failed.contains(above);
        }
        !records.contains(path) && !named.contains(path) && !below_failed
    });
    findings.check(Oracle::Loss, lost.is_empty(), || {
        format!("{} lost, which nobody touched", some_of(lost))
    });
    let phantoms = records
        .iter()
        .filter(|path| !path.is_empty() && !book.ever.contains(**path));
    let phantoms: Vec<&[u8]> = phantoms.copied().collect();
    findings.check(Oracle::Escape, phantoms.is_empty(), || {
        format!("{} recorded, which never was there", some_of(phantoms))
    });
    let outcome = seen.report.outcome;
    let right = match seen.errors.is_empty() {
        true => statline_pipeline::Outcome::Complete,
        false => statline_pipeline::Outcome::Incomplete,
    };
    findings.check(Oracle::Lie, outcome == right, || {
        let cause = &seen.report.cause;
        format!(
            "outcome {outcome} with {} error rows: {cause:?}",
            seen.errors.len()
        )
    });
}
