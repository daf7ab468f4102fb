//! Who is compared, with which command, and where its number of entries comes from.

use std::env;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::count::CountFrom;
use crate::peers::Peer;

/// What everybody is divided by.
pub(super) const FLOOR: &str = "floor";

/// Everybody that there is, in the order of the table.
const NAMES: [&str; 13] = [
    FLOOR,
    "statline",
    "statline-jsonl",
    "statline-sorted",
    "statline-sorted-64mib",
    "std",
    "walkdir",
    "jwalk",
    "ignore",
    "origin",
    "find",
    "bfs",
    "du",
];

/// The metadata that a record of ours has as well, so that the same work is compared.
const PRINTF: &str = "%s %b %n %i %m %U %G %T@ %p\\n";

/// Where a contender's records go, inside the scratch directory.
pub(super) const RECORDS: &str = "records.jsonl";

/// The mark that statline leaves beside its records.
pub(super) const MARK: &str = "records.jsonl.run.json";

/// The status that statline ends with when it finished and something could not be read.
const INCOMPLETE: i32 = 3;

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) count: CountFrom,
    pub(super) version: Version,
    /// The exit status that says: finished, but not complete. Any other than this and 0 is a failure.
    pub(super) incomplete_status: Option<i32>,
}

/// Where the version comes from that the table states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing to state.
    OfThisCrate,
    /// A library that was compiled in.
    Library(&'static str),
    /// The program says it when it is asked.
    Asked,
}

/// A contender that is not run, and why.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// Who.
    pub name: &'static str,
    /// Why, and what can be done about it.
    pub reason: String,
}

/// Where the programs are and what they walk.
#[derive(Debug)]
pub struct Field {
    pub(super) contenders: Vec<Contender>,
    /// Who could not be entered.
    pub skipped: Vec<Skipped>,
}

/// Why nobody can be compared.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// A name that means nobody.
    #[error("nobody is called \"{name}\"; there are: {}", NAMES.join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// This crate's own programs are not beside this one.
    #[error("{} is missing; build all of them: cargo build --release -p statline-benches", path.display())]
    NotBuilt {
        /// What is missing.
        path: PathBuf,
    },
    /// The statline that was named is not there.
    #[error("{} is not there; build it: cargo build --release -p statline-cli", path.display())]
    NoStatline {
        /// What was named.
        path: PathBuf,
    },
}

impl Field {
    /// Enters everybody, or those whose names are in `only`, and always the floor. A name stands for its variants as well:
    /// `statline` for `statline-jsonl`.
    ///
    /// `beside` is the directory of this crate's programs, `statline` the binary to measure if it is not there too.
    ///
    /// # Errors
    ///
    /// On a name that means nobody, and when a program that must be there is not.
    pub fn new(
        tree: &Path,
        scratch: &Path,
        threads: NonZeroUsize,
        beside: &Path,
        statline: Option<&Path>,
        only: &[String],
    ) -> Result<Self, FieldError> {
        let means = |asked: &str, name: &str| {
            name.strip_prefix(asked)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if let Some(name) = only
            .iter()
            .find(|asked| !NAMES.iter().any(|name| means(asked, name)))
        {
            return Err(FieldError::Unknown { name: name.clone() });
        }
        let commands = Commands {
            tree,
            scratch,
            threads,
            beside,
        };
        let mut field = Self {
            contenders: Vec::new(),
            skipped: Vec::new(),
        };
        for name in NAMES {
            if name == FLOOR || only.is_empty() || only.iter().any(|asked| means(asked, name)) {
                match commands.contender(name, statline)? {
                    Ok(contender) => field.contenders.push(contender),
                    Err(reason) => field.skipped.push(Skipped { name, reason }),
                }
            }
        }
        Ok(field)
    }
}

struct Commands<'a> {
    tree: &'a Path,
    scratch: &'a Path,
    threads: NonZeroUsize,
    beside: &'a Path,
}

impl Commands<'_> {
    /// The command of one name; inside, the reason why it can be done without.
    fn contender(
        &self,
        name: &'static str,
        statline: Option<&Path>,
    ) -> Result<Result<Contender, String>, FieldError> {
        if name == FLOOR {
            return Ok(Ok(self.own(name, FLOOR, &[], Version::OfThisCrate)?));
        }
        if let Ok(peer) = Peer::from_str(name, false) {
            let version = match peer {
                Peer::Std => Version::OfThisCrate,
                Peer::Walkdir | Peer::Jwalk | Peer::Ignore => Version::Library(name),
                Peer::Origin => Version::Library("rayon"),
            };
            return Ok(Ok(self.own(name, "peers", &[name], version)?));
        }
        if name.starts_with("statline") {
            return self.statline(name, statline);
        }
        Ok(self.installed(name))
    }

    fn own(
        &self,
        name: &'static str,
        program: &str,
        first: &[&str],
        version: Version,
    ) -> Result<Contender, FieldError> {
        let program = self.beside.join(program);
        if !program.is_file() {
            return Err(FieldError::NotBuilt { path: program });
        }
        let mut arguments: Vec<OsString> = first.iter().map(OsString::from).collect();
        arguments.extend([
            self.tree.into(),
            "--threads".into(),
            self.threads.to_string().into(),
        ]);
        Ok(Contender {
            name,
            program,
            arguments,
            count: CountFrom::Report,
            version,
            incomplete_status: None,
        })
    }

    fn statline(
        &self,
        name: &'static str,
        named: Option<&Path>,
    ) -> Result<Result<Contender, String>, FieldError> {
        let program = match named {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => {
                return Err(FieldError::NoStatline {
                    path: path.to_owned(),
                });
            }
            None => self.beside.join("statline"),
        };
        if !program.is_file() {
            let reason = "not built; build it: cargo build --release -p statline-cli, or name one with --statline";
            return Ok(Err(reason.to_owned()));
        }
        let records = self.scratch.join(RECORDS);
        let mut arguments: Vec<OsString> = vec!["scan".into(), self.tree.into()];
        let count = match name {
            "statline" => CountFrom::ExtraRun,
            _ => {
                if name.starts_with("statline-sorted") {
                    arguments.extend(["--sort".into(), "path".into()]);
                }
                if name == "statline-sorted-64mib" {
                    arguments.extend(["--memory-limit".into(), "64MiB".into()]);
                }
                arguments.extend(["-o".into(), records.into()]);
                CountFrom::Records
            }
        };
        arguments.extend(["--color", "never", "--progress", "never"].map(OsString::from));
        Ok(Ok(Contender {
            name,
            program,
            arguments,
            count,
            version: Version::Asked,
            incomplete_status: Some(INCOMPLETE),
        }))
    }

    fn installed(&self, name: &'static str) -> Result<Contender, String> {
        let program = env::var_os("PATH")
            .iter()
            .flat_map(env::split_paths)
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
            .ok_or("not installed; benches/install-peers.sh installs it")?;
        let (arguments, count) = match name {
            "du" => (vec!["-s".into(), self.tree.into()], CountFrom::Nowhere),
            _ => (
                vec![self.tree.into(), "-printf".into(), PRINTF.into()],
                CountFrom::Stdout { and_root: true },
            ),
        };
        Ok(Contender {
            name,
            program,
            arguments,
            count,
            version: Version::Asked,
            incomplete_status: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that holds this crate's programs, by name only.
    fn built(programs: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for program in programs {
            std::fs::write(directory.path().join(program), "").unwrap();
        }
        directory
    }

    fn field(beside: &Path, statline: Option<&Path>, only: &[&str]) -> Result<Field, FieldError> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        Field::new(
            Path::new("/tree"),
            Path::new("/scratch"),
            NonZeroUsize::MIN,
            beside,
            statline,
            &only,
        )
    }

    fn names(field: &Field) -> Vec<&str> {
        field
            .contenders
            .iter()
            .map(|contender| contender.name)
            .collect()
    }

    #[test]
    fn the_floor_is_always_in_the_field() {
        let beside = built(&["floor", "peers"]);
        assert_eq!(
            names(&field(beside.path(), None, &["walkdir"]).unwrap()),
            ["floor", "walkdir"]
        );
    }

    #[test]
    fn a_name_stands_for_its_variants() {
        let beside = built(&["floor", "peers", "statline"]);
        let all = field(beside.path(), None, &["statline"]).unwrap();
        assert_eq!(
            names(&all),
            [
                "floor",
                "statline",
                "statline-jsonl",
                "statline-sorted",
                "statline-sorted-64mib"
            ]
        );
        let one = field(beside.path(), None, &["statline-jsonl"]).unwrap();
        assert_eq!(names(&one), ["floor", "statline-jsonl"]);
    }

    #[test]
    fn a_name_that_means_nobody_is_refused() {
        let beside = built(&["floor", "peers"]);
        let message = field(beside.path(), None, &["walk"])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("\"walk\"") && message.contains("walkdir"),
            "{message}"
        );
    }

    #[test]
    fn a_statline_that_is_not_built_is_skipped_and_one_that_was_named_is_not() {
        let beside = built(&["floor", "peers"]);
        let skipped = field(beside.path(), None, &["statline"]).unwrap().skipped;
        assert_eq!(skipped.len(), 4);
        assert!(
            skipped[0].reason.contains("cargo build"),
            "{}",
            skipped[0].reason
        );
        let named = field(
            beside.path(),
            Some(Path::new("/no/such/statline")),
            &["statline"],
        );
        assert!(matches!(named, Err(FieldError::NoStatline { .. })));
    }

    #[test]
    fn sorting_and_the_output_are_asked_for_on_the_command_line() {
        let beside = built(&["floor", "peers", "statline"]);
        let field = field(beside.path(), None, &["statline-sorted-64mib"]).unwrap();
        assert_eq!(
            field.contenders[1].arguments,
            [
                "scan",
                "/tree",
                "--sort",
                "path",
                "--memory-limit",
                "64MiB",
                "-o",
                "/scratch/records.jsonl",
                "--color",
                "never",
                "--progress",
                "never"
            ]
        );
    }
}
