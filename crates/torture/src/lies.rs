//! T1, lies: the file system says something else than what is, or never comes to an end.
//!
//! Listings with other kinds than `stat` tells and the other way round, absurd sizes, times and numbers, cookies that
//! lead in circles. What was said must come out as it was said; what contradicts itself must be an error row.

use std::path::Path;
use std::process::Command;

use statline_platform::Kind;
use statline_stages::BackendSetting;
use statline_testfs::fuse::{
    Cookies, Kind as TreeKind, Mounted, Operation, Operations, Rule, Shape, Shown, TestFs, Tree,
    can_mount,
};

use crate::errors::Field;
use crate::guard::Loopback;
use crate::oracle::{Findings, Oracle};
use crate::random::Random;
use crate::scan::{BACKENDS, Scan};
use crate::suite::{Broken, FAMILY, Part, Suite};
use crate::truth::{Allowance, Truth};

/// The numbers of these cases begin here.
const KINDS: u64 = 2 * FAMILY;
const VALUES: u64 = 3 * FAMILY;
const COOKIES: u64 = 4 * FAMILY;
const UNKNOWN: u64 = 5 * FAMILY;

const SHOWN: [TreeKind; 5] = [
    TreeKind::File,
    TreeKind::Directory,
    TreeKind::Symlink,
    TreeKind::Fifo,
    TreeKind::Socket,
];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    unknown_kinds(suite)?;
    if can_mount().is_err() {
        return Ok(());
    }
    suite.share(3, |thread, threads| {
        let field = match Field::new(suite, 0) {
            Ok(field) => field,
            Err(error) => return suite.broken(Part::Errors, error.to_string()),
        };
        let mine = |case: &usize| *case as u64 % threads == thread;
        let cases = kind_cases(&field);
        for case in (0..cases).filter(mine) {
            let number = KINDS + case as u64;
            suite.case(Part::Errors, number, Oracle::RECORDS, |findings| {
                kinds(&field, case, findings)
            });
        }
        for case in (0..suite.size(600, 6000)).filter(mine) {
            let number = VALUES + case as u64;
            let mut random = suite.random(Part::Errors, number);
            suite.case(Part::Errors, number, Oracle::RECORDS, |findings| {
                values(&field, case, &mut random, findings)
            });
        }
        for case in (0..suite.size(120, 600)).filter(mine) {
            let number = COOKIES + case as u64;
            let mut random = suite.random(Part::Errors, number);
            suite.case(Part::Errors, number, Oracle::RECORDS, |findings| {
                cookies(BACKENDS[case % BACKENDS.len()], &mut random, findings)
            });
        }
    });
    Ok(())
}

fn kind_cases(field: &Field) -> usize {
    field.planted.positions.len() * 3 * SHOWN.len() * 2 * BACKENDS.len()
}

/// A listing that tells another kind than `stat`, or a `stat` that tells another than the listing.
fn kinds(field: &Field, case: usize, findings: &mut Findings) -> Result<(), Broken> {
    let backend = BACKENDS[case % BACKENDS.len()];
    let case = case / BACKENDS.len();
    let operations = [Operation::Readdir.into(), Operations::STAT][case % 2];
    let case = case / 2;
    let shown = SHOWN[case % SHOWN.len()];
    let case = case / SHOWN.len();
    let position = &field.planted.positions[case / 3];
    let place = match case % 3 {
        0 => position.file.clone(),
        1 => position.link.clone(),
        _ => [&position.directory[..], b"/sub"].concat(),
    };
    let rule = Rule::on(operations)
        .path(&place)
        .shows(Shown::new().kind(shown));
    let allowed = Allowance {
        kinds_differ: true,
        ..Allowance::at(&place)
    };
    field.scan(backend, vec![rule], |_| allowed, findings)?;
    // What is shown is no error that was made, so the case is one.
    findings.void = false;
    Ok(())
}

/// Values at the edges of what they are stored in.
fn values(
    field: &Field,
    case: usize,
    random: &mut Random,
    findings: &mut Findings,
) -> Result<(), Broken> {
    let backend = BACKENDS[case % BACKENDS.len()];
    let position = random.pick(&field.planted.positions).clone();
    let edges: [i64; 9] = [
        0,
        -1,
        1 << 31,
        1 << 32,
        -(1 << 31) - 1,
        1 << 40,
        -(1 << 40),
        i64::MAX,
        i64::MIN,
    ];
    let size = *random.pick(&[0, 1, u64::from(u32::MAX) + 1, (1 << 62) + 1, (1 << 63) - 1]);
    let inode = *random.pick(&[1, u64::from(u32::MAX) + 1, 1 << 63, u64::MAX]);
    let listed = *random.pick(&[0, 1, u64::MAX]);
    let links = *random.pick(&[0, 1, u32::MAX]);
    let (accessed, modified) = (*random.pick(&edges), *random.pick(&edges));
    let changed = *random.pick(&edges);
    let shown = Shown::new()
        .size(size)
        .inode(inode)
        .links(links)
        .accessed(accessed)
        .modified(modified)
        .changed(changed);
    let rules = vec![
        Rule::on(Operations::STAT).path(&position.file).shows(shown),
        Rule::on(Operation::Readdir)
            .path(&position.file)
            .shows(Shown::new().inode(listed)),
    ];
    field.mounted.set_rules(rules)?;
    let scan = Scan::of(field.mounted.path(), backend);
    let seen = scan.run()?;
    field.mounted.set_rules(Vec::new())?;
    let Ok(seen) = seen else {
        findings.add(Oracle::Bound, "the scan does not end");
        return Ok(());
    };
    let whole = Allowance {
        heals: true,
        ..Allowance::default()
    };
    field.planted.truth.judge(&scan, &seen, &whole, findings);
    let found = seen.records.iter().find(|row| row.path == position.file);
    let Some(found) = found else { return Ok(()) };
    let seconds = |time: Option<statline_platform::Timestamp>| time.map(|time| time.seconds);
    let told = (
        found.metadata.size(),
        found.metadata.file_id().map(|id| id.as_u128()),
        found.metadata.nlink(),
        seconds(found.metadata.accessed()),
        seconds(found.metadata.modified()),
        seconds(found.metadata.changed()),
    );
    let expected = (
        Some(size),
        Some(u128::from(inode)),
        Some(u64::from(links)),
        Some(accessed),
        Some(modified),
        Some(changed),
    );
    findings.check(Oracle::Lie, told == expected, || {
        format!("{told:?} was recorded of {expected:?}, {backend:?}, listed inode {listed}")
    });
    Ok(())
}

/// A directory that leads in circles ends, as an error.
fn cookies(
    backend: BackendSetting,
    random: &mut Random,
    findings: &mut Findings,
) -> Result<(), Broken> {
    let count = *random.pick(&[20, 300, 5_000]);
    let from = random.below(count) as u64;
    let cookies = match random.chance(2) {
        true => Cookies::Stuck { from },
        false => Cookies::Cycle {
            start: from,
            length: 1 + random.below(count - from as usize) as u64,
        },
    };
    let tree = Tree::new()
        .file("before", 1)
        .shape("loop", Shape::files(count as u64))
        .file("zz/after", 1);
    let entries = tree.entries();
    let truth = Truth::new(entries.map(|entry| (entry.path, crate::trees::kind(entry.kind))));
    let rule = Rule::on(Operation::Readdir).path("loop").cookies(cookies);
    let mounted: Mounted = TestFs::generated(tree).rule(rule).mount()?;
    let mut scan = Scan::of(mounted.path(), backend);
    scan.patience = std::time::Duration::from_secs(10);
    let told = format!("{cookies:?} in {count} files, {backend:?}");
    let Ok(seen) = scan.run()? else {
        findings.add(Oracle::Bound, format!("the scan does not end: {told}"));
        return Ok(());
    };
    let allowed = Allowance {
        repeats: true,
        ..Allowance::at(b"loop")
    };
    truth.judge(&scan, &seen, &allowed, findings);
    let noticed = seen.errors.iter().any(|error| error.code == "READDIR_LOOP");
    findings.check(Oracle::Lie, noticed, || {
        format!("no READDIR_LOOP: {told}, outcome {}", seen.report.outcome)
    });
    Ok(())
}

/// An ext4 that does not tell kinds with names: every entry is `DT_UNKNOWN`.
fn unknown_kinds(suite: &Suite) -> Result<(), Broken> {
    if !(UNKNOWN..UNKNOWN + 20).any(|case| suite.wants(case)) {
        return Ok(());
    }
    let disk = match Loopback::ext4(&["-O", "^filetype"], 16 << 20) {
        Ok(disk) => disk,
        Err(error) => {
            suite.skip(Part::Errors, format!("no ext4 without kinds: {error}"));
            return Ok(());
        }
    };
    let root = disk.path().join("root");
    let mut entries = Vec::new();
    make(&root, &mut entries)?;
    let truth = Truth::new(entries);
    for case in 0..suite.size(20, 100) {
        suite.case(Part::Errors, UNKNOWN + case, Oracle::RECORDS, |findings| {
            let mut scan = Scan::of(&root, BACKENDS[case as usize % BACKENDS.len()]);
            scan.threads = 1 + case as usize % 3;
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
    }
    Ok(())
}

/// Makes a few of everything below `root`.
fn make(root: &Path, entries: &mut Vec<(Vec<u8>, Kind)>) -> Result<(), Broken> {
    std::fs::create_dir(root)?;
    for directory in ["a", "a/b", "a/b/c", "empty"] {
        std::fs::create_dir(root.join(directory))?;
        entries.push((directory.into(), Kind::Directory));
        for number in 0..40 {
            let file = format!("{directory}/f{number}");
            std::fs::write(root.join(&file), "x")?;
            entries.push((file.into(), Kind::File));
        }
        let link = format!("{directory}/link");
        std::os::unix::fs::symlink("..", root.join(&link))?;
        entries.push((link.into(), Kind::Symlink));
        let pipe = format!("{directory}/pipe");
        if Command::new("mkfifo")
            .arg(root.join(&pipe))
            .status()?
            .success()
        {
            entries.push((pipe.into(), Kind::Fifo));
        }
    }
    Ok(())
}
