//! T8: hostile names through every sink, read back by Python.
//!
//! Every single byte, every byte in the middle of a name, names that break formats, and random bytes: as names, as targets
//! of links, as subjects of error rows. A case is one name in one output; the numbers of cases count outputs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use statline_testfs::fuse::{Operations, Rule, TestFs, Tree, can_mount};

use crate::interrupts::check_mark;
use crate::oracle::{Findings, Oracle, some_of};
use crate::program::Program;
use crate::random::Random;
use crate::suite::{Broken, Part, Suite};

const PATIENCE: Duration = Duration::from_secs(60);

const ORACLES: [Oracle; 5] = [
    Oracle::Loss,
    Oracle::Escape,
    Oracle::Duplicate,
    Oracle::Lie,
    Oracle::Output,
];

/// The reader.
const READER: &str = include_str!("read_back.py");

/// Names that break parsers, tables, terminals and shells.
const HOSTILE: [&[u8]; 24] = [
    b"a,b",
    b"\"quoted\"",
    b"\"",
    b"new\nline",
    b"\r\n",
    b"tab\there",
    b"=1+1",
    b"@SUM(A1)",
    b"-rf",
    b"--",
    b"$(id)",
    b"`id`",
    b";id",
    b"\x1b[31mred\x1b[0m",
    b"\xe2\x80\xae txt.exe",
    b"l\xfe",
    b"l\xff",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\\u0000",
    b"back\\slash",
    b" ",
    b"trailing ",
];

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    if !(0..2_000).any(|case| suite.wants(case)) {
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    let script = home.path().join("read_back.py");
    fs::write(&script, READER)?;
    let python = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !python.is_ok_and(|status| status.success()) {
        suite.skip(Part::Names, "there is no python3");
        return Ok(());
    }
    let rounds = suite.size(2, 20);
    for round in 0..rounds {
        let names = names(&mut suite.random(Part::Names, round));
        let field = Field {
            suite,
            script: script.clone(),
            home: home.path().join(format!("round{round}")),
            names,
        };
        fs::create_dir(&field.home)?;
        field.names_and_targets(round * 10)?;
        field.subjects_of_errors(round * 10 + 5)?;
    }
    Ok(())
}

/// Names, no two alike.
fn names(random: &mut Random) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for byte in 1..=255_u8 {
        if byte != b'/' {
            names.push(vec![byte]);
            names.push(vec![b'x', byte, b'y']);
        }
    }
    names.extend(HOSTILE.map(<[u8]>::to_vec));
    for _ in 0..1000 {
        let length = 1 + random.below(40);
        names.push(random.name(length));
    }
    names.push(random.name(255));
    names.retain(|name| name != b"." && name != b"..");
    names.sort();
    names.dedup();
    names
}

struct Field<'a> {
    suite: &'a Suite,
    script: PathBuf,
    home: PathBuf,
    names: Vec<Vec<u8>>,
}

impl Field<'_> {
    /// Files with such names, and links with such targets.
    fn names_and_targets(&self, first: u64) -> Result<(), Broken> {
        let root = self.home.join("tree");
        fs::create_dir_all(root.join("links"))?;
        fs::create_dir_all(root.join("files"))?;
        for (number, name) in self.names.iter().enumerate() {
            fs::File::create(root.join("files").join(OsStr::from_bytes(name)))?;
            symlink(
                OsStr::from_bytes(name),
                root.join(format!("links/{number}")),
            )?;
        }
        let files = root.join("files");
        let base = files.as_os_str().as_bytes();
        let mut paths: Vec<Vec<u8>> = self
            .names
            .iter()
            .map(|name| [base, b"/", name].concat())
            .collect();
        paths.push(base.to_vec());
        let forms = [("jsonl", "jsonl"), ("csv", "csv"), ("nul", "nul")];
        for (number, (form, ending)) in (first..).zip(forms) {
            let output = self.home.join(format!("paths.{ending}"));
            self.one(
                number,
                &files,
                &output,
                "-o",
                None,
                0,
                (form, "path"),
                &paths,
            )?;
        }
        let links = root.join("links");
        for (number, (form, ending)) in (first + 3..).zip(&forms[..2]) {
            let output = self.home.join(format!("targets.{ending}"));
            let fields = Some("path,target");
            self.one(
                number,
                &links,
                &output,
                "-o",
                fields,
                0,
                (form, "target"),
                &self.names,
            )?;
        }
        Ok(())
    }

    /// Files whose metadata cannot be read: each has an error row.
    fn subjects_of_errors(&self, first: u64) -> Result<(), Broken> {
        if let Err(reason) = can_mount() {
            self.suite
                .skip(Part::Names, format!("no right to mount: {reason}"));
            return Ok(());
        }
        let tree = self.names.iter().fold(Tree::new(), |tree, name| {
            tree.file([b"d/", &name[..]].concat(), 1)
        });
        let rule = Rule::on(Operations::STAT).path_glob("d/*").errno(5);
        let mounted = TestFs::generated(tree).mount()?;
        mounted.set_rules(vec![rule])?;
        let base = mounted.path().as_os_str().as_bytes();
        let paths: Vec<Vec<u8>> = self
            .names
            .iter()
            .map(|name| [base, b"/d/", name].concat())
            .collect();
        let output = self.home.join("errors.jsonl");
        let errors = ("jsonl", "path");
        self.one(
            first,
            mounted.path(),
            &output,
            "--errors",
            None,
            3,
            errors,
            &paths,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "one line for each output")]
    fn one(
        &self,
        number: u64,
        root: &Path,
        output: &Path,
        option: &str,
        fields: Option<&str>,
        status: i32,
        (form, column): (&str, &str),
        expected: &[Vec<u8>],
    ) -> Result<(), Broken> {
        if !self.suite.wants(number) {
            return Ok(());
        }
        let mut findings = Findings::default();
        let mut arguments = vec![
            "scan".as_ref(),
            root.as_os_str(),
            option.as_ref(),
            output.as_os_str(),
        ];
        if let Some(fields) = fields {
            arguments.extend(["--fields".as_ref(), OsStr::new(fields)]);
        }
        match Program::new(&self.suite.program, arguments).run(PATIENCE)? {
            Ok(ended) => {
                findings.check(Oracle::Lie, ended.code() == status, || {
                    format!("status {}: {}", ended.code(), ended.stderr)
                });
                let raw = ended
                    .stderr
                    .bytes()
                    .any(|byte| byte < b' ' && byte != b'\n');
                findings.check(Oracle::Output, !raw, || {
                    format!("control characters on standard error: {:?}", ended.stderr)
                });
            }
            Err(_) => findings.add(Oracle::Bound, "it does not end"),
        }
        check_mark(output, &mut findings);
        self.read_back(output, (form, column), expected, &mut findings)?;
        let told = output.file_name().unwrap_or_default().display();
        for (_, violation) in &mut findings.violations {
            violation.push_str(&format!(" [{told}]"));
        }
        self.suite.count(
            Part::Names,
            number,
            &ORACLES,
            expected.len() as u64,
            findings,
        );
        Ok(())
    }

    /// Has Python read an output, and compares.
    fn read_back(
        &self,
        output: &Path,
        (form, column): (&str, &str),
        expected: &[Vec<u8>],
        findings: &mut Findings,
    ) -> Result<(), Broken> {
        let mut python = Command::new("python3");
        python.arg(&self.script).arg(form).arg(output).arg(column);
        let read = python.stdin(Stdio::null()).output()?;
        if !read.status.success() {
            let told = String::from_utf8_lossy(&read.stderr).into_owned();
            findings.add(Oracle::Output, format!("Python does not read it: {told}"));
            return Ok(());
        }
        let mut found: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for line in String::from_utf8(read.stdout)?.lines() {
            *found.entry(unhex(line)?).or_default() += 1;
        }
        let lost: Vec<&[u8]> = expected
            .iter()
            .filter(|path| !found.contains_key(*path))
            .map(Vec::as_slice)
            .collect();
        findings.check(Oracle::Loss, lost.is_empty(), || {
            format!("{} lost", some_of(lost))
        });
        let twice: Vec<&[u8]> = found
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(path, _)| path.as_slice())
            .collect();
        findings.check(Oracle::Duplicate, twice.is_empty(), || {
            format!("{} twice", some_of(twice))
        });
        let phantoms = found.len().saturating_sub(expected.len());
        findings.check(Oracle::Escape, phantoms == 0, || {
            format!("{phantoms} more than there are")
        });
        Ok(())
    }
}

fn unhex(line: &str) -> Result<Vec<u8>, Broken> {
    let digits = (0..line.len()).step_by(2).map(|at| {
        let digits = line.get(at..at + 2).ok_or("half a byte")?;
        Ok(u8::from_str_radix(digits, 16)?)
    });
    digits.collect()
}
