//! T4: shapes that break scanners, with 64 descriptors and 128 MiB for the program and all its children.
//!
//! One directory of ten million entries, a million directories, five thousand levels, loops, a directory without end.
//! The peak of resident memory of a job that streams stays below 64 MiB, whatever the tree. What is charged to the control
//! group is noted too; below the test file system that is mostly the kernel's own.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::Signal;
use statline_testfs::fuse::{Operation, Shape, TestFs, Tree, can_mount};

use crate::guard::{ControlGroup, Loopback, Mount};
use crate::oracle::{Findings, Oracle};
use crate::program::Program;
use crate::suite::{Broken, Part, Suite};

/// What a streaming job may have resident, the parent process of the program included.
const MOST_MEMORY: u64 = 64 << 20;

/// What the program may use of all that is charged to it.
const LIMIT: u64 = 128 << 20;

const DESCRIPTORS: usize = 64;

const PATIENCE: Duration = Duration::from_secs(1200);

/// The deadline of a run that is stopped, and two seconds.
const STOP: Duration = Duration::from_secs(12);

/// How long the path of the deepest directory is, in components and in bytes of each.
const LEVELS: u64 = 5000;
const NAME: usize = 200;

const ORACLES: [Oracle; 3] = [Oracle::Loss, Oracle::Lie, Oracle::Bound];

/// The options of a job that streams.
const NAMES: &[&str] = &[
    "-o",
    "/dev/null",
    "--format",
    "jsonl",
    "--fields",
    "path,kind",
];
const ROWS: &[&str] = &["-o", "/dev/null", "--format", "jsonl"];
const TOTALS: &[&str] = &[];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let group = match ControlGroup::with_memory(LIMIT) {
        Ok(group) => Some(group),
        Err(error) => {
            suite.note(
                Part::Shapes,
                format!("no limit of memory, only its peak: {error}"),
            );
            None
        }
    };
    let field = Field { suite, group };
    if can_mount().is_err() || Mount::tmpfs(1 << 16).is_err() {
        suite.skip(Part::Shapes, "no right to mount");
        return Ok(());
    }
    field.large_directories()?;
    field.many_directories()?;
    field.deep()?;
    field.loops()?;
    field.endless()
}

struct Field<'a> {
    suite: &'a Suite,
    group: Option<ControlGroup>,
}

/// What a scan of a shape must come to.
struct Expected {
    status: i32,
    entries: u64,
}

impl Field<'_> {
    /// The program under limits. Below a test file system there is none of memory, only its peak counts: what the kernel
    /// remembers of such a mount is charged to the program too, and is not always taken back in time.
    fn limited(&self, arguments: Vec<String>, root: &Path) -> Program {
        let program = Program::new(&self.suite.program, arguments);
        let program = program.after(format!("ulimit -n {DESCRIPTORS}"));
        let group = self.group.as_ref().filter(|_| !is_test_file_system(root));
        match group {
            Some(group) => program.after(format!("echo $$ > {}", group.processes().display())),
            None => program,
        }
    }

    /// One scan under limits.
    fn scan(&self, number: u64, what: &str, root: &Path, options: &[&str], expected: &Expected) {
        self.suite.case(Part::Shapes, number, &ORACLES, |findings| {
            let home = tempfile::tempdir()?;
            let report = home.path().join("report.json");
            let mut arguments: Vec<String> = vec![
                "scan".into(),
                root.display().to_string(),
                "--report".into(),
                report.display().to_string(),
            ];
            arguments.extend(options.iter().map(|&option| option.to_owned()));
            let group = self.group.as_ref().filter(|_| !is_test_file_system(root));
            let charged = || group.and_then(ControlGroup::take_peak);
            let _ = charged();
            let Ok(ended) = self.limited(arguments, root).run(PATIENCE)? else {
                findings.add(Oracle::Bound, format!("it does not end: {what}"));
                return Ok(());
            };
            let told = format!("{what}, {}", options.join(" "));
            findings.check(Oracle::Lie, ended.code() == expected.status, || {
                format!("status {}: {} [{told}]", ended.code(), ended.stderr)
            });
            let report: serde_json::Value = match fs::read(&report) {
                Ok(text) => serde_json::from_slice(&text)?,
                Err(error) => {
                    findings.add(Oracle::Lie, format!("no report: {error} [{told}]"));
                    return Ok(());
                }
            };
            let walked = report["stages"][0]["items_out"].as_u64();
            findings.check(Oracle::Loss, walked == Some(expected.entries), || {
                format!("{walked:?} entries of {} [{told}]", expected.entries)
            });
            findings.check(Oracle::Bound, ended.peak < MOST_MEMORY, || {
                format!("{} resident [{told}]", mib(ended.peak))
            });
            findings.check(Oracle::Bound, ended.descriptors <= DESCRIPTORS, || {
                format!("{} descriptors [{told}]", ended.descriptors)
            });
            self.suite.note(
                Part::Shapes,
                format!(
                    "{told}: {} entries in {:.1} s, {} resident, {} charged, {} descriptors",
                    expected.entries,
                    ended.took.as_secs_f64(),
                    mib(ended.peak),
                    charged().map_or("nothing".into(), mib),
                    ended.descriptors
                ),
            );
            Ok(())
        });
    }

    /// One directory with millions of files.
    fn large_directories(&self) -> Result<(), Broken> {
        let large = 10_000_000;
        // Each row takes two calls of the test file system, which is what takes the time.
        let rows = self.suite.size(300_000, 10_000_000);
        for (number, count, options) in [(0, large, NAMES), (1, rows, ROWS)] {
            if self.suite.wants(number) {
                let mounted = TestFs::generated(Tree::of(Shape::files(count))).mount()?;
                let expected = Expected {
                    status: 0,
                    entries: count + 1,
                };
                self.scan(number, "one directory", mounted.path(), options, &expected);
            }
        }
        if self.suite.wants(2) {
            let mount = Mount::tmpfs(8 << 30)?;
            let root = mount.path().join("root");
            make_files(&root, 1_000_000)?;
            let expected = Expected {
                status: 0,
                entries: 1_000_001,
            };
            self.scan(2, "one directory in memory", &root, ROWS, &expected);
        }
        Ok(())
    }

    /// A million directories side by side.
    fn many_directories(&self) -> Result<(), Broken> {
        let expected = Expected {
            status: 0,
            entries: 1_000_001,
        };
        if self.suite.wants(10) || self.suite.wants(11) {
            let mount = Mount::tmpfs(8 << 30)?;
            let root = mount.path().join("root");
            make_directories(&root, 1_000_000)?;
            self.scan(10, "siblings in memory", &root, ROWS, &expected);
            self.scan(11, "siblings in memory", &root, TOTALS, &expected);
        }
        if self.suite.full && self.suite.wants(12) {
            let mounted = TestFs::generated(Tree::of(Shape::directories(1_000_000))).mount()?;
            self.scan(
                12,
                "siblings of a test file system",
                mounted.path(),
                ROWS,
                &expected,
            );
        }
        if self.suite.full && self.suite.wants(13) {
            let disk = Loopback::ext4(&["-N", "1100000"], 8 << 30)?;
            let root = disk.path().join("root");
            make_directories(&root, 1_000_000)?;
            self.scan(13, "siblings on ext4", &root, ROWS, &expected);
        }
        Ok(())
    }

    /// Five thousand levels: paths of a megabyte.
    fn deep(&self) -> Result<(), Broken> {
        let expected = Expected {
            status: 0,
            entries: LEVELS + 1,
        };
        if self.suite.wants(20) || self.suite.wants(21) {
            let mount = Mount::tmpfs(1 << 30)?;
            let root = mount.path().join("root");
            make_levels(&root)?;
            self.scan(20, "5,000 levels in memory", &root, TOTALS, &expected);
            // Each row has its path: two and a half gigabytes of them.
            self.scan(21, "5,000 levels in memory", &root, NAMES, &expected);
        }
        if self.suite.wants(22) {
            let mounted = TestFs::generated(Tree::of(Shape::chain(LEVELS, NAME))).mount()?;
            self.scan(
                22,
                "5,000 levels of a test file system",
                mounted.path(),
                TOTALS,
                &expected,
            );
        }
        Ok(())
    }

    /// Links and mounts that lead back up.
    fn loops(&self) -> Result<(), Broken> {
        if (30..33).any(|case| self.suite.wants(case)) {
            let mount = Mount::tmpfs(1 << 20)?;
            let root = mount.path().join("root");
            fs::create_dir_all(root.join("a/b/c"))?;
            for (target, link) in [("..", "a/up"), ("../../..", "a/b/c/top"), ("self", "self")] {
                symlink(target, root.join(link))?;
            }
            // a, b, c, three links, the root.
            let links = Expected {
                status: 0,
                entries: 7,
            };
            self.scan(30, "links that are not followed", &root, TOTALS, &links);
            let followed = Expected {
                status: 3,
                entries: 7,
            };
            self.scan(31, "links that are followed", &root, &["-L"], &followed);
            fs::create_dir(root.join("a/b/again"))?;
            let again = Mount::bind(&root, &root.join("a/b/again"))?;
            let mounted = Expected {
                status: 3,
                entries: 8,
            };
            self.scan(
                32,
                "a mount of the root in the tree",
                &root,
                TOTALS,
                &mounted,
            );
            drop(again);
        }
        Ok(())
    }

    /// A directory without end: only a signal ends its scan.
    fn endless(&self) -> Result<(), Broken> {
        let oracles = [Oracle::Lie, Oracle::Bound];
        for (number, options) in [(40, NAMES), (41, ROWS), (42, TOTALS)] {
            self.suite.case(Part::Shapes, number, &oracles, |findings| {
                let mounted = TestFs::generated(Tree::of(Shape::endless())).mount()?;
                let mut arguments = vec!["scan".into(), mounted.path().display().to_string()];
                arguments.extend(options.iter().map(|&option| option.to_owned()));
                let mut running = self.limited(arguments, mounted.path()).start()?;
                // Some thousand names each; with metadata, listing waits for it.
                let listed = || mounted.counts().calls(Operation::Readdir) > 20;
                let reached = running.wait_until(Duration::from_secs(60), listed)?;
                running.signal(Signal::INT)?;
                let begin = std::time::Instant::now();
                match running.wait(STOP)? {
                    Ok(ended) => judge_stop(&ended, begin.elapsed(), findings),
                    Err(_) => findings.add(Oracle::Bound, "a scan without end does not stop"),
                }
                match reached {
                    true => Ok(()),
                    false => Err("it does not list".into()),
                }
            });
        }
        Ok(())
    }
}

fn is_test_file_system(root: &Path) -> bool {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("statline-testfs-")
}

fn judge_stop(ended: &crate::program::Ended, waited: Duration, findings: &mut Findings) {
    findings.check(Oracle::Lie, ended.code() == 130, || {
        format!("status {}: {}", ended.code(), ended.stderr)
    });
    findings.check(Oracle::Bound, waited < STOP, || {
        format!("it took {waited:?} to stop")
    });
    findings.check(Oracle::Bound, ended.peak < MOST_MEMORY, || {
        format!("{} resident in a directory without end", mib(ended.peak))
    });
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn make_directories(root: &Path, count: u64) -> Result<(), Broken> {
    fs::create_dir(root)?;
    let root = open(CWD, root)?;
    for number in 0..count {
        mkdirat(&root, format!("d{number}"), Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

fn make_files(root: &Path, count: u64) -> Result<(), Broken> {
    fs::create_dir(root)?;
    let root = open(CWD, root)?;
    for number in 0..count {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(
            &root,
            format!("f{number}"),
            flags,
            Mode::from_raw_mode(0o600),
        )?;
    }
    Ok(())
}

fn make_levels(root: &Path) -> Result<(), Broken> {
    fs::create_dir(root)?;
    let mut directory = open(CWD, root)?;
    for level in 0..LEVELS {
        let name = format!("{level:0NAME$}");
        mkdirat(&directory, &name, Mode::from_raw_mode(0o755))?;
        directory = open(&directory, Path::new(&name))?;
    }
    Ok(())
}

fn open(above: impl std::os::fd::AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}
