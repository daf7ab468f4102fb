//! Where the programs are, and how each contender's command is made of them.
//!
//! What must stay true: a peer is asked for the same work as the others, as its authors would have it done. Where it has no
//! option that prints all metadata, it is given one that makes it read them.

use std::env;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::contender::{Contender, Floor, RECORDS, REPORT, Reads, Version, Word};
use super::count::CountFrom;
use crate::peers::Peer;

/// Everybody that there is, apart from floors on another number of threads.
pub(super) const NAMES: [&str; 20] = [
    "floor",
    "statline",
    "statline-jsonl",
    "statline-sorted",
    "statline-sorted-64mib",
    "statline-jsonl-512",
    "std",
    "walkdir",
    "jwalk",
    "ignore",
    "origin",
    "find",
    "bfs",
    "du",
    "fd",
    "fd-names",
    "rsync",
    "dust",
    "diskus",
    "pdu",
];

/// The metadata that a record of ours has as well, so that the same work is compared.
const PRINTF: &str = "%s %b %n %i %m %U %G %T@ %p\\n";

/// The status that statline ends with when it finished and something could not be read.
const INCOMPLETE: i32 = 3;

const FROM_APT: &str = "not installed; `benches/install-peers.sh apt` installs it";
const FROM_CRATES: &str = "not installed; `benches/install-peers.sh cargo` installs it";

/// Where the programs are.
#[derive(Debug)]
pub struct Programs {
    /// The directory of this crate's programs.
    pub beside: PathBuf,
    /// The statline to measure, if it is not there as well.
    pub statline: Option<PathBuf>,
    /// Where peers are that were installed from crates.io; others are looked for where the shell looks.
    pub peers: PathBuf,
    /// Threads of the floor and of the peers that can be told.
    pub threads: NonZeroUsize,
}

/// Why nobody can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
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

/// A contender, or why it is not there.
pub(super) type Found = Result<Contender, String>;

impl Programs {
    /// Whether `asked` is a contender's name or begins one: `statline` stands for `statline-jsonl` as well.
    pub(super) fn means(asked: &str, name: &str) -> bool {
        name.strip_prefix(asked)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Refuses names that mean nobody.
    ///
    /// # Errors
    ///
    /// With the first of them.
    pub fn check(only: &[String]) -> Result<(), ProgramError> {
        let known = |asked: &String| {
            Floor::named(asked).is_some() || NAMES.iter().any(|name| Self::means(asked, name))
        };
        match only.iter().find(|asked| !known(asked)) {
            Some(name) => Err(ProgramError::Unknown { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// One of this crate's programs.
    pub(super) fn own(&self, program: &str) -> Result<PathBuf, ProgramError> {
        let path = self.beside.join(program);
        if path.is_file() {
            Ok(path)
        } else {
            Err(ProgramError::NotBuilt { path })
        }
    }

    /// The contender of a name; inside, why it can be done without.
    pub(super) fn contender(&self, name: &str) -> Result<Found, ProgramError> {
        if let Some(floor) = Floor::named(name) {
            return self.floor(name, floor).map(Ok);
        }
        if let Ok(peer) = Peer::from_str(name, false) {
            return self.peer(name, peer).map(Ok);
        }
        if name.starts_with("statline") {
            return self.statline(name);
        }
        Ok(self.installed(name))
    }

    fn floor(&self, name: &str, floor: Floor) -> Result<Contender, ProgramError> {
        let threads = floor.threads.unwrap_or(self.threads).to_string();
        let mut words = vec![Word::Roots, "--threads".into(), threads.into()];
        if floor.inode_order {
            words.extend(["--order".into(), "inode".into()]);
        }
        Ok(Contender {
            name: name.to_owned(),
            program: self.own("floor")?,
            words,
            count: CountFrom::Report,
            version: Version::OfThisCrate,
            reads: Reads::All,
            incomplete_status: None,
        })
    }

    fn peer(&self, name: &str, peer: Peer) -> Result<Contender, ProgramError> {
        let version = match peer {
            Peer::Std => Version::OfThisCrate,
            Peer::Walkdir => Version::Library("walkdir"),
            Peer::Jwalk => Version::Library("jwalk"),
            Peer::Ignore => Version::Library("ignore"),
            Peer::Origin => Version::Library("rayon"),
        };
        let threads = self.threads.to_string();
        Ok(Contender {
            name: name.to_owned(),
            program: self.own("peers")?,
            words: vec![name.into(), Word::Roots, "--threads".into(), threads.into()],
            count: CountFrom::Report,
            version,
            reads: Reads::All,
            incomplete_status: None,
        })
    }

    fn statline(&self, name: &str) -> Result<Found, ProgramError> {
        let program = match &self.statline {
            Some(path) if path.is_file() => path.clone(),
            Some(path) => return Err(ProgramError::NoStatline { path: path.clone() }),
            None => self.beside.join("statline"),
        };
        if !program.is_file() {
            let reason = "not built; build it: cargo build --release -p statline-cli, or name one with --statline";
            return Ok(Err(reason.to_owned()));
        }
        let mut words: Vec<Word> = vec!["scan".into(), Word::Roots];
        if name.ends_with("-512") {
            words.extend(["--threads", "512"].map(Word::from));
        }
        if name.starts_with("statline-sorted") {
            words.extend(["--sort", "path"].map(Word::from));
        }
        if name == "statline-sorted-64mib" {
            words.extend(["--memory-limit", "64MiB"].map(Word::from));
        }
        let count = if name == "statline" {
            words.extend(["--report".into(), Word::Scratch(REPORT)]);
            CountFrom::RunReport
        } else {
            words.extend(["-o".into(), Word::Scratch(RECORDS)]);
            CountFrom::Records
        };
        words.extend(["--color", "never", "--progress", "never"].map(Word::from));
        Ok(Ok(Contender {
            name: name.to_owned(),
            program,
            words,
            count,
            version: Version::Asked,
            reads: Reads::All,
            incomplete_status: Some(INCOMPLETE),
        }))
    }

    fn installed(&self, name: &str) -> Found {
        let with_root = CountFrom::Stdout { and_root: true };
        let without_root = CountFrom::Stdout { and_root: false };
        let (words, count): (Vec<Word>, CountFrom) = match name {
            "find" | "bfs" => (
                vec![Word::Roots, "-printf".into(), PRINTF.into()],
                with_root,
            ),
            "du" => (vec!["-s".into(), Word::Roots], CountFrom::Nowhere),
            // It prints names alone; a condition on the time, which all fulfil, makes it read the rest.
            "fd" => (
                [
                    "-u",
                    "--color",
                    "never",
                    "--changed-after",
                    "1970-01-02",
                    ".",
                ]
                .map(Word::from)
                .into_iter()
                .chain([Word::Roots])
                .collect(),
                without_root,
            ),
            "fd-names" => (
                ["-u", "--color", "never", "."]
                    .map(Word::from)
                    .into_iter()
                    .chain([Word::Roots])
                    .collect(),
                without_root,
            ),
            // Links and devices as well; it leaves them out of the list otherwise.
            "rsync" => (
                vec!["-rlD".into(), "--list-only".into(), Word::RootsWithin],
                with_root,
            ),
            "dust" => (
                // No deeper than the directory itself, and nothing drawn: the totals cover everything all the same.
                ["--depth", "0", "--no-colors", "--no-progress"]
                    .map(Word::from)
                    .into_iter()
                    .chain([Word::Roots])
                    .collect(),
                CountFrom::Nowhere,
            ),
            "diskus" => (vec![Word::Roots], CountFrom::Nowhere),
            "pdu" => (
                vec!["--max-depth".into(), "1".into(), Word::Roots],
                CountFrom::Nowhere,
            ),
            _ => return Err(format!("nobody is called \"{name}\"")),
        };
        let from_crates = matches!(name, "dust" | "diskus" | "pdu");
        // Debian calls it otherwise, because of another program of that name.
        let called: &[&str] = if name.starts_with("fd") {
            &["fdfind", "fd"]
        } else {
            &[name]
        };
        let program =
            self.look_for(called)
                .ok_or(if from_crates { FROM_CRATES } else { FROM_APT })?;
        Ok(Contender {
            name: name.to_owned(),
            program,
            words,
            count,
            version: Version::Asked,
            reads: if name == "fd-names" {
                Reads::Names
            } else {
                Reads::All
            },
            incomplete_status: None,
        })
    }

    fn look_for(&self, called: &[&str]) -> Option<PathBuf> {
        let path: OsString = env::var_os("PATH").unwrap_or_default();
        let places: Vec<PathBuf> = std::iter::once(self.peers.clone())
            .chain(env::split_paths(&path))
            .collect();
        called
            .iter()
            .flat_map(|name| places.iter().map(move |place| place.join(name)))
            .find(|path| Path::is_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that holds this crate's programs, by name only.
    fn built(programs: &[&str]) -> (tempfile::TempDir, Programs) {
        let directory = tempfile::tempdir().unwrap();
        for program in programs {
            std::fs::write(directory.path().join(program), "").unwrap();
        }
        let programs = Programs {
            beside: directory.path().to_owned(),
            statline: None,
            peers: directory.path().join("peers"),
            threads: NonZeroUsize::new(2).unwrap(),
        };
        (directory, programs)
    }

    #[test]
    fn every_name_means_somebody() {
        let (_directory, programs) = built(&["floor", "peers", "statline"]);
        for name in NAMES {
            match programs.contender(name).unwrap() {
                Ok(contender) => assert_eq!(contender.name, name),
                Err(reason) => assert!(reason.contains("install-peers.sh"), "{name}: {reason}"),
            }
        }
    }

    #[test]
    fn a_name_that_means_nobody_is_refused() {
        Programs::check(&["statline".into(), "floor-32-inode".into()]).unwrap();
        let message = Programs::check(&["walk".into()]).unwrap_err().to_string();
        assert!(
            message.contains("\"walk\"") && message.contains("walkdir"),
            "{message}"
        );
    }

    #[test]
    fn a_statline_that_is_not_built_is_done_without_and_one_that_was_named_is_not() {
        let (_directory, mut programs) = built(&["floor", "peers"]);
        let reason = programs.contender("statline").unwrap().unwrap_err();
        assert!(reason.contains("cargo build"), "{reason}");
        programs.statline = Some("/no/such/statline".into());
        assert!(matches!(
            programs.contender("statline"),
            Err(ProgramError::NoStatline { .. })
        ));
    }

    #[test]
    fn what_a_name_says_is_on_the_command_line() {
        let (_directory, programs) = built(&["floor", "peers", "statline"]);
        let shown = |name: &str| programs.contender(name).unwrap().unwrap().shown();
        assert_eq!(
            shown("floor-32-inode"),
            "floor DIR --threads 32 --order inode"
        );
        assert_eq!(shown("floor"), "floor DIR --threads 2");
        assert_eq!(
            shown("statline-sorted-64mib"),
            "statline scan DIR --sort path --memory-limit 64MiB -o records.jsonl --color never --progress never"
        );
        assert_eq!(
            shown("statline-jsonl-512"),
            "statline scan DIR --threads 512 -o records.jsonl --color never --progress never"
        );
    }

    #[test]
    fn this_crate_is_built_whole_or_not_used() {
        let (_directory, programs) = built(&["floor"]);
        assert!(matches!(
            programs.contender("walkdir"),
            Err(ProgramError::NotBuilt { .. })
        ));
    }

    #[test]
    fn peers_from_crates_io_have_a_place_of_their_own() {
        let (directory, programs) = built(&[]);
        std::fs::create_dir(directory.path().join("peers")).unwrap();
        let diskus = directory.path().join("peers/diskus");
        std::fs::write(&diskus, "").unwrap();
        let found = programs.contender("diskus").unwrap().unwrap();
        assert_eq!(found.program, diskus);
    }
}
