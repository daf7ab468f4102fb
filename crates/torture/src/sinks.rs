//! T7: outputs that fail: no space, too large, nobody reads, not to be written, gone, another's.
//!
//! Whatever happens, an output is absent or valid, with a mark that matches; no other output of the run is published
//! either; the status is 1; and nothing temporary is left.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use statline_testfs::fuse::{Operation, Rule, Shape, TestFs, Tree, can_mount};

use crate::guard::Mount;
use crate::interrupts::{check_mark, names};
use crate::oracle::{Findings, Oracle};
use crate::program::{Ended, Program};
use crate::suite::{Broken, FAMILY, Part, Suite};

const PATIENCE: Duration = Duration::from_secs(60);

/// Endings that choose a sink.
const FORMATS: [&str; 4] = ["jsonl", "csv", "txt", "nul"];

/// Entries of the tree that is scanned: rows of some megabytes.
const FILES: usize = 20_000;

const ORACLES: [Oracle; 3] = [Oracle::Lie, Oracle::Bound, Oracle::Output];

/// The kinds of cases, each numbered from a multiple of [`FAMILY`].
const KINDS: [(&str, Run); 8] = [
    ("no space", no_space),
    ("too large", too_large),
    ("/dev/full", dev_full),
    ("a reader who leaves", closed_pipe),
    ("a directory not to be written", read_only),
    ("a planted link", planted_link),
    ("two outputs, one fails", two_outputs),
    ("a directory that goes away", vanished_directory),
];

type Run = fn(&Field<'_>, u64, &mut Findings) -> Result<(), Broken>;

/// What all cases share.
struct Field<'a> {
    suite: &'a Suite,
    tree: PathBuf,
    home: PathBuf,
}

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    let home = tempfile::tempdir()?;
    let tree = home.path().join("tree");
    for number in 0..FILES {
        let directory = tree.join(format!("d{}", number / 200));
        if number % 200 == 0 {
            fs::create_dir_all(&directory)?;
        }
        fs::File::create(directory.join(format!("file-{number}")))?;
    }
    if let Err(error) = Mount::tmpfs(1 << 16) {
        suite.skip(Part::Sinks, format!("no right to mount: {error}"));
        return Ok(());
    }
    let rounds = suite.size(24, 200);
    suite.share(2, |thread, threads| {
        let field = Field {
            suite,
            tree: tree.clone(),
            home: home.path().to_owned(),
        };
        for (kind, (what, run)) in KINDS.into_iter().enumerate() {
            for round in (0..rounds).filter(|round| round % threads == thread) {
                let number = kind as u64 * FAMILY + round;
                suite.case(Part::Sinks, number, &ORACLES, |findings| {
                    run(&field, round, findings)?;
                    for (_, violation) in &mut findings.violations {
                        violation.push_str(&format!(" [{what}]"));
                    }
                    Ok(())
                });
            }
        }
    });
    Ok(())
}

impl Field<'_> {
    /// `statline scan TREE` with more arguments.
    fn scan(&self, more: &[&str]) -> Program {
        let tree = self.tree.display().to_string();
        let arguments = ["scan", &tree].into_iter().chain(more.iter().copied());
        Program::new(&self.suite.program, arguments)
    }

    fn ended(&self, program: Program, findings: &mut Findings) -> Result<Option<Ended>, Broken> {
        match program.run(PATIENCE)? {
            Ok(ended) => Ok(Some(ended)),
            Err(_) => {
                findings.add(Oracle::Bound, "it does not end");
                Ok(None)
            }
        }
    }

    /// Runs what must fail and leave nothing in `directory` but what was there.
    fn fails(
        &self,
        program: Program,
        directory: &Path,
        named: &str,
        findings: &mut Findings,
    ) -> Result<(), Broken> {
        let before = names(directory)?;
        let Some(ended) = self.ended(program, findings)? else {
            return Ok(());
        };
        findings.check(Oracle::Lie, ended.code() == 1, || {
            format!("status {}: {}", ended.code(), ended.stderr)
        });
        findings.check(Oracle::Lie, ended.stderr.contains(named), || {
            format!("{named} is not named: {}", ended.stderr)
        });
        let left = names(directory)?;
        findings.check(Oracle::Output, left == before, || {
            format!("{left:?} is left")
        });
        Ok(())
    }
}

fn output(round: u64) -> String {
    format!("out.{}", FORMATS[round as usize % FORMATS.len()])
}

fn no_space(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let mut random = field.suite.random(Part::Sinks, round);
    // Rows of all formats take more than this; a page is the least that fails at all.
    let disk = Mount::tmpfs(4096 * (1 + random.below(60) as u64))?;
    let output = output(round);
    let program = field.scan(&["-o", &output]).directory(disk.path());
    field.fails(program, disk.path(), &output, findings)
}

fn too_large(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let mut random = field.suite.random(Part::Sinks, FAMILY + round);
    let home = tempfile::tempdir_in(&field.home)?;
    let output = output(round);
    // In blocks of 512 bytes, or of 1024, as the shell likes.
    let limit = format!("ulimit -f {}", random.below(400));
    let program = field
        .scan(&["-o", &output])
        .after(limit)
        .directory(home.path());
    field.fails(program, home.path(), &output, findings)
}

fn dev_full(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let home = tempfile::tempdir_in(&field.home)?;
    let format = ["jsonl", "csv", "paths"][round as usize % 3];
    let program = match round % 2 {
        0 => field.scan(&["-o", "/dev/full", "--format", format]),
        _ => {
            let full = fs::File::options().write(true).open("/dev/full")?;
            field.scan(&["-o", "-", "--format", format]).stdout(full)
        }
    };
    field.fails(
        program.directory(home.path()),
        home.path(),
        "No space left",
        findings,
    )
}

/// A reader who leaves has enough: a quiet end, and no failure.
fn closed_pipe(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let mut random = field.suite.random(Part::Sinks, 3 * FAMILY + round);
    let format = ["jsonl", "csv", "paths"][round as usize % 3];
    let mut child = Command::new(&field.suite.program)
        .args(["scan", "-o", "-", "--format", format])
        .arg(&field.tree)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut some = vec![0; random.below(100_000)];
    let mut pipe = child.stdout.take().ok_or("no pipe")?;
    pipe.read_exact(&mut some)?;
    drop(pipe);
    let output = child.wait_with_output()?;
    findings.check(Oracle::Lie, output.status.code() == Some(0), || {
        format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    });
    findings.check(Oracle::Lie, output.stderr.is_empty(), || {
        format!("not quiet: {}", String::from_utf8_lossy(&output.stderr))
    });
    Ok(())
}

fn read_only(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let disk = Mount::tmpfs(1 << 20)?;
    let point = tempfile::tempdir_in(&field.home)?;
    let shown = Mount::bind(disk.path(), point.path())?;
    shown.forbid_writing()?;
    let output = output(round);
    let program = field.scan(&["-o", &output]).directory(shown.path());
    field.fails(program, shown.path(), &output, findings)
}

fn planted_link(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let home = tempfile::tempdir_in(&field.home)?;
    let victim = home.path().join("victim");
    fs::write(&victim, "mine")?;
    let output = output(round);
    let mark = format!("{output}.run.json");
    let place = home.path().join(&output);
    let (link, target) = match round / 4 % 3 {
        0 => (place.clone(), victim.clone()),
        1 => (home.path().join(&mark), victim.clone()),
        _ => (place.clone(), home.path().join("nowhere")),
    };
    symlink(target, &link)?;
    let program = field.scan(&["-o", &output]).directory(home.path());
    let Some(ended) = field.ended(program, findings)? else {
        return Ok(());
    };
    findings.check(Oracle::Lie, ended.code() == 0, || {
        format!("status {}: {}", ended.code(), ended.stderr)
    });
    findings.check(Oracle::Output, fs::read(&victim)? == b"mine", || {
        "the file behind a link was written".into()
    });
    let left = names(home.path())?;
    findings.check(
        Oracle::Output,
        left == [&output[..], &mark, "victim"],
        || format!("{left:?} is left"),
    );
    for path in [&place, &link] {
        let found = path.symlink_metadata()?;
        findings.check(Oracle::Output, found.is_file(), || {
            format!("{} is no file", path.display())
        });
    }
    check_mark(&place, findings);
    Ok(())
}

fn two_outputs(field: &Field<'_>, round: u64, findings: &mut Findings) -> Result<(), Broken> {
    let mut random = field.suite.random(Part::Sinks, 6 * FAMILY + round);
    let home = tempfile::tempdir_in(&field.home)?;
    let disk = Mount::tmpfs(4096 * (1 + random.below(60) as u64))?;
    let bad = match round % 3 {
        0 => "/dev/full".to_owned(),
        _ => disk.path().join("bad.csv").display().to_string(),
    };
    let job = format!(
        r#"
        stages.walk = {{ type = "enumerate", roots = ["{}"] }}
        stages.meta = {{ type = "stat", inputs = ["walk"] }}
        stages.good = {{ type = "jsonl", inputs = ["meta"], path = "good.jsonl" }}
        stages.bad = {{ type = "csv", inputs = ["meta"], path = "{bad}" }}
        stages.paths = {{ type = "paths", inputs = ["walk"], path = "paths.txt" }}
        "#,
        field.tree.display()
    );
    fs::write(home.path().join("job.toml"), job)?;
    let program = Program::new(&field.suite.program, ["run", "job.toml"]).directory(home.path());
    field.fails(program, home.path(), &bad, findings)?;
    let left = names(disk.path())?;
    findings.check(Oracle::Output, left.is_empty(), || {
        format!("{left:?} is left")
    });
    Ok(())
}

/// The directory of the output is removed while the scan waits for a listing.
fn vanished_directory(
    field: &Field<'_>,
    round: u64,
    findings: &mut Findings,
) -> Result<(), Broken> {
    can_mount()?;
    let home = tempfile::tempdir_in(&field.home)?;
    let place = home.path().join("place");
    fs::create_dir(&place)?;
    let tree = Tree::new().shape("d", Shape::files(50));
    let rule = Rule::on(Operation::Readdir).path("d").hang();
    let mounted = TestFs::generated(tree).rule(rule).mount()?;
    let output = place.join(output(round)).display().to_string();
    let root = mounted.path().display().to_string();
    let arguments = ["scan", &root, "-o", &output];
    let mut running = Program::new(&field.suite.program, arguments).start()?;
    let reached = running.wait_until(PATIENCE, || mounted.hung() > 0)?;
    if round.is_multiple_of(2) {
        fs::remove_dir_all(&place)?;
    } else {
        // Another one in its place: nothing may appear there either.
        fs::rename(&place, home.path().join("elsewhere"))?;
        fs::create_dir(&place)?;
    }
    mounted.release();
    let ended = running.wait(PATIENCE)?;
    if !reached {
        return Err("nothing hangs".into());
    }
    let Ok(ended) = ended else {
        findings.add(Oracle::Bound, "it does not end");
        return Ok(());
    };
    findings.check(Oracle::Lie, ended.code() == 1, || {
        format!("status {}: {}", ended.code(), ended.stderr)
    });
    findings.check(Oracle::Lie, ended.stderr.contains(&output), || {
        format!("{output} is not named: {}", ended.stderr)
    });
    let left = names(home.path())?;
    let right = match round % 2 {
        0 => left.is_empty(),
        _ => left == ["elsewhere", "place"] && names(&place)?.is_empty(),
    };
    findings.check(Oracle::Output, right, || format!("{left:?} is left"));
    Ok(())
}
