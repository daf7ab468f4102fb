//! T2: an attacker swaps a directory for a symbolic link that leads out of the tree, again and again.
//!
//! What is outside must never come in: neither its names nor its sizes. What nobody swaps must all be there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, RenameFlags, renameat_with, statat};
use statline_platform::Kind;
use statline_stages::BackendSetting;

use crate::oracle::{Findings, Oracle, some_of};
use crate::scan::{Hung, Observed, Scan};
use crate::suite::{Broken, Part, Suite};
use crate::truth::{Truth, is_below};

/// No file in the tree is of this size, and all files outside are.
const CANARY_SIZE: u64 = 424_242;

/// A backend that was swapped under less often was not tested.
const FEWEST_SWAPS: u64 = 1_000;

const BACKENDS: [BackendSetting; 3] = [
    BackendSetting::Statx,
    BackendSetting::Fstatat,
    BackendSetting::Auto,
];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let length = Duration::from_secs(suite.size(10, 60));
    for (number, backend) in BACKENDS.into_iter().enumerate() {
        if suite.wants(number as u64) {
            race(suite, number as u64, backend, length)?;
        }
    }
    Ok(())
}

/// The tree and what is outside of it.
struct Field {
    root: PathBuf,
    truth: Truth,
    /// The directories that are swapped, each with the link that it is swapped for.
    pairs: Vec<(PathBuf, PathBuf)>,
    _directory: tempfile::TempDir,
}

impl Field {
    fn new() -> Result<Field, Broken> {
        let directory = tempfile::tempdir()?;
        let (root, canary) = (
            directory.path().join("root"),
            directory.path().join("canary"),
        );
        // Outside is the same as inside, but for sizes and one name more: an escape can show in either.
        populate(&canary, CANARY_SIZE)?;
        fs::write(canary.join("SECRET"), vec![0; CANARY_SIZE as usize])?;
        fs::write(canary.join("sub/SECRET"), vec![0; CANARY_SIZE as usize])?;
        let mut pairs = Vec::new();
        for above in ["", "still/", "still/deeper/"] {
            let above = root.join(above);
            fs::create_dir_all(&above)?;
            fs::write(above.join("stays"), "x")?;
            let (real, link) = (above.join("victim"), above.join("link"));
            populate(&real, 10)?;
            symlink(&canary, &link)?;
            pairs.push((real, link));
        }
        let mut entries = Vec::new();
        collect(&root, &root, &mut entries)?;
        Ok(Field {
            truth: Truth::new(entries),
            root,
            pairs,
            _directory: directory,
        })
    }

    /// Whether a place may be another at any moment.
    fn is_swapped(&self, path: &[u8]) -> bool {
        let root = self.root.as_os_str().as_encoded_bytes();
        self.pairs
            .iter()
            .flat_map(|(real, link)| [real, link])
            .any(|place| {
                let place = crate::scan::relative(root, place.as_os_str().as_encoded_bytes());
                path == place || is_below(path, place)
            })
    }

    fn judge(&self, seen: &Result<Observed, Hung>, findings: &mut Findings) {
        let Ok(seen) = seen else {
            findings.add(Oracle::Bound, "the scan does not end");
            return;
        };
        let escaped = seen.records.iter().filter(|record| {
            record.path.ends_with(b"SECRET")
                || record.kind == Some(Kind::File) && record.metadata.size() == Some(CANARY_SIZE)
        });
        let escaped: Vec<&[u8]> = escaped.map(|record| record.path.as_slice()).collect();
        findings.check(Oracle::Escape, escaped.is_empty(), || {
            format!("{} came from outside", some_of(escaped))
        });
        let still = self
            .truth
            .entries
            .keys()
            .filter(|path| !self.is_swapped(path));
        let lost: Vec<&[u8]> = still
            .map(Vec::as_slice)
            .filter(|path| !seen.records.iter().any(|record| record.path == *path))
            .collect();
        findings.check(Oracle::Loss, lost.is_empty(), || {
            format!("{} lost, which nobody swapped", some_of(lost))
        });
        let outcome = seen.report.outcome;
        findings.check(Oracle::Lie, outcome.publishes(), || {
            format!("outcome {outcome}: {:?}", seen.report.cause)
        });
    }
}

fn race(
    suite: &Suite,
    number: u64,
    backend: BackendSetting,
    length: Duration,
) -> Result<(), Broken> {
    let field = Field::new()?;
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut scans = 0;
    let mut broken = None;
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (real, link) in &field.pairs {
                    let swapped = renameat_with(CWD, real, CWD, link, RenameFlags::EXCHANGE);
                    swaps.fetch_add(swapped.is_ok().into(), Ordering::Relaxed);
                }
                std::thread::yield_now();
            }
        });
        let began = Instant::now();
        while began.elapsed() < length && !suite.is_stopping() {
            let mut findings = Findings::default();
            let mut scan = Scan::of(&field.root, backend);
            scan.threads = 1 + scans as usize % 3;
            match scan.run() {
                Ok(seen) => field.judge(&seen, &mut findings),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
            scans += 1;
            refused += u64::from(!findings.violations.is_empty());
            let oracles = [Oracle::Loss, Oracle::Escape, Oracle::Lie, Oracle::Bound];
            suite.count(Part::Swaps, number, &oracles, 1, findings);
        }
        over.store(true, Ordering::Relaxed);
    });
    if let Some(error) = broken {
        return Err(error);
    }
    let swaps = swaps.load(Ordering::Relaxed);
    suite.note(
        Part::Swaps,
        format!("{backend:?}: {swaps} swaps under {scans} scans, {refused} of them wrong"),
    );
    if swaps <= FEWEST_SWAPS && !suite.is_stopping() {
        suite.broken(Part::Swaps, format!("only {swaps} swaps under {backend:?}"));
    }
    Ok(())
}

fn populate(directory: &Path, size: u64) -> Result<(), Broken> {
    fs::create_dir_all(directory.join("sub/sub"))?;
    for place in ["", "sub/", "sub/sub/"] {
        for number in 0..5 {
            let file = fs::File::create(directory.join(format!("{place}f{number}")))?;
            file.set_len(size)?;
        }
    }
    Ok(())
}

/// Everything below `directory`, by other calls than statline's.
fn collect(
    root: &Path,
    directory: &Path,
    entries: &mut Vec<(Vec<u8>, Kind)>,
) -> Result<(), Broken> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let found = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::File,
        };
        let below = path.strip_prefix(root)?.as_os_str().as_encoded_bytes();
        entries.push((below.to_vec(), kind));
        if kind == Kind::Directory {
            collect(root, &path, entries)?;
        }
    }
    Ok(())
}
