//! T1: every error number × operation × position × backend.
//!
//! A case is one rule of the test file system: one operation on one place fails, for good, with one error number. What
//! may be missing then is the place and what is below it; all else must be there, and the outcome must tell.

use std::time::Duration;

use statline_platform::errno_name;
use statline_stages::BackendSetting;
use statline_testfs::fuse::{Mounted, Operation, Operations, Rule, TestFs, can_mount};

use crate::oracle::{Findings, Oracle};
use crate::scan::{BACKENDS, Scan};
use crate::suite::{Broken, Part, Suite};
use crate::trees::{Planted, Position, plant};
use crate::truth::Allowance;

/// How many calls may fail of one scan because of one rule: two users of a place, four attempts each, the kernel's own
/// repetition of a look-up that is stale, and a directory that is found anew three times.
pub(crate) const MOST_ATTEMPTS: usize = 64;

/// What fails.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) operations: Operations,
    path: Vec<u8>,
    /// For listings: after so many entries.
    pub(crate) offset: Option<u64>,
    /// What may be missing then.
    affected: Vec<Vec<u8>>,
}

impl Target {
    fn at(operations: impl Into<Operations>, path: &[u8]) -> Target {
        Target {
            operations: operations.into(),
            path: path.to_vec(),
            offset: None,
            affected: vec![path.to_vec()],
        }
    }

    /// The listing of a directory from an entry on.
    fn listing(position: &Position, from: usize) -> Target {
        let mut target = Target::at(Operation::Readdir, &position.directory);
        target.offset = Some(from as u64);
        if from > 0 {
            target.affected = position.listed[from..].to_vec();
        }
        target
    }

    pub(crate) fn rule(&self) -> Rule {
        let rule = Rule::on(self.operations).path(&self.path);
        match self.offset {
            Some(offset) => rule.at_offset(offset),
            None => rule,
        }
    }

    pub(crate) fn allowance(&self) -> Allowance {
        Allowance {
            affected: self.affected.clone(),
            ..Allowance::default()
        }
    }
}

/// All that can fail in a tree.
pub(crate) fn targets(planted: &Planted) -> Vec<Target> {
    let mut targets = Vec::new();
    for position in &planted.positions {
        let Position {
            directory,
            listed,
            file,
            link,
        } = position;
        targets.extend([
            Target::at(Operation::Lookup, file),
            Target::at(Operation::Getattr, file),
            Target::at(Operations::STAT, file),
            Target::at(Operation::Lookup, directory),
            Target::at(Operation::Getattr, directory),
            Target::at(Operations::STAT, directory),
            Target::at(Operations::STAT, link),
            Target::at(Operation::Readlink, link),
            Target::at(Operation::Opendir, directory),
            Target::listing(position, 0),
            Target::listing(position, listed.len() / 2),
            Target::listing(position, listed.len()),
        ]);
    }
    let root = Position {
        directory: Vec::new(),
        listed: planted.top(),
        file: Vec::new(),
        link: Vec::new(),
    };
    targets.extend([
        Target::at(Operation::Getattr, b""),
        Target::at(Operation::Opendir, b""),
        Target::listing(&root, 0),
        Target::listing(&root, 1),
        Target::listing(&root, root.listed.len()),
    ]);
    // What kind of file system it is need not be known.
    targets.push(Target {
        affected: Vec::new(),
        ..Target::at(Operation::Statfs, b"")
    });
    targets
}

/// Every number that has a name, and one that has none.
pub(crate) fn numbers() -> Vec<i32> {
    (1..=511)
        .filter(|&number| errno_name(number).is_some() || number == 511)
        .collect()
}

/// A tree, mounted in one of two ways: everything asked for arrives, or the kernel remembers for a second and listings
/// carry metadata, as on network file systems.
pub(crate) struct Field {
    pub(crate) planted: Planted,
    pub(crate) mounted: Mounted,
    pub(crate) targets: Vec<Target>,
}

impl Field {
    pub(crate) fn new(suite: &Suite, number: u64) -> Result<Field, Broken> {
        let planted = plant(&mut suite.random(Part::Errors, number));
        let remembers = number % 2 == 1;
        let timeout = Duration::from_secs(remembers.into());
        let mounted = TestFs::generated(planted.tree.clone())
            .attribute_timeout(timeout)
            .entry_timeout(timeout)
            .readdirplus(remembers)
            .seed(suite.seed)
            .mount()?;
        Ok(Field {
            targets: targets(&planted),
            planted,
            mounted,
        })
    }

    /// Scans under rules, and judges what came out.
    pub(crate) fn scan(
        &self,
        backend: BackendSetting,
        rules: Vec<Rule>,
        allowed: impl FnOnce(usize) -> Allowance,
        findings: &mut Findings,
    ) -> Result<(), Broken> {
        let told = format!("{rules:?}, {backend:?}");
        let _ = self.mounted.take_injected();
        self.mounted.set_rules(rules)?;
        let scan = Scan::of(self.mounted.path(), backend);
        let seen = scan.run()?;
        self.mounted.set_rules(Vec::new())?;
        let injected = self.mounted.take_injected().len();
        findings.void = injected == 0;
        findings.check(Oracle::Bound, injected <= MOST_ATTEMPTS, || {
            format!("{injected} attempts at what fails")
        });
        match seen {
            Ok(seen) => {
                let allowed = allowed(injected);
                self.planted.truth.judge(&scan, &seen, &allowed, findings);
            }
            Err(_) => findings.add(Oracle::Bound, "the scan does not end"),
        }
        for (_, violation) in &mut findings.violations {
            violation.push_str(&format!(" [{told}]"));
        }
        Ok(())
    }
}

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    if let Err(reason) = can_mount() {
        suite.skip(Part::Errors, format!("no right to mount: {reason}"));
        return Ok(());
    }
    let fields = suite.size(2, 8);
    let numbers = numbers();
    let mut first = 0;
    for field in 0..fields {
        let probe = Field::new(suite, field)?;
        let cases = (probe.targets.len() * numbers.len() * BACKENDS.len()) as u64;
        drop(probe);
        let range = first..first + cases;
        suite.share(3, |thread, threads| {
            if !range.clone().any(|case| suite.wants(case)) {
                return;
            }
            let field = match Field::new(suite, field) {
                Ok(field) => field,
                Err(error) => return suite.broken(Part::Errors, error.to_string()),
            };
            for case in range.clone().filter(|case| case % threads == thread) {
                suite.case(Part::Errors, case, Oracle::RECORDS, |findings| {
                    one(&field, &numbers, (case - range.start) as usize, findings)
                });
            }
        });
        first += cases;
    }
    Ok(())
}

fn one(field: &Field, numbers: &[i32], case: usize, findings: &mut Findings) -> Result<(), Broken> {
    let backend = BACKENDS[case % BACKENDS.len()];
    let case = case / BACKENDS.len();
    let number = numbers[case % numbers.len()];
    let target = &field.targets[case / numbers.len()];
    let enosys = 38;
    if number == enosys && target.operations == Operation::Opendir.into() {
        // The kernel takes it for "not needed".
        findings.void = true;
        return Ok(());
    }
    let enoent = 2;
    let rule = target.rule().errno(number);
    field.scan(
        backend,
        vec![rule],
        |injected| match injected {
            0 => Allowance::default(),
            _ => Allowance {
                vanishing: number == enoent,
                ..target.allowance()
            },
        },
        findings,
    )
}
