//! Who is compared, with which command, what it reads, and where its number of entries comes from.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::count::CountFrom;
use super::notation::quote;

/// Where a contender's records go, inside the scratch directory.
pub(super) const RECORDS: &str = "records.jsonl";

/// The mark that statline leaves beside its records.
pub(super) const MARK: &str = "records.jsonl.run.json";

/// Where statline's report of its run goes.
pub(super) const REPORT: &str = "report.json";

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) words: Vec<Word>,
    pub(super) count: CountFrom,
    pub(super) version: Version,
    pub(super) reads: Reads,
    /// The exit status that says: finished, but not complete. Any other than this and 0 is a failure.
    pub(super) incomplete_status: Option<i32>,
}

/// A word of a command line. What is walked differs from run to run where each has a mount of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Is(OsString),
    /// What is walked; several words where it is several directories.
    Roots,
    /// The same with a slash behind each, by which rsync knows that their contents are meant.
    RootsWithin,
    /// A file in the scratch directory.
    Scratch(&'static str),
}

impl<T: AsRef<OsStr>> From<T> for Word {
    fn from(word: T) -> Self {
        Self::Is(word.as_ref().to_owned())
    }
}

/// Where the version comes from that the report states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing to state.
    OfThisCrate,
    /// A library that was compiled in.
    Library(&'static str),
    /// The program says it when it is asked.
    Asked,
}

/// What a contender reads of each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// All that stat(2) gives, of every entry.
    All,
    /// Names, and which of them are directories: no call for an entry.
    Names,
}

impl Reads {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Names => "names",
        }
    }
}

/// Which floor is meant by a name: `floor`, `floor-32`, `floor-32-inode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    /// One for each core where there is no number.
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) inode_order: bool,
}

impl Floor {
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        if parts.next() != Some("floor") {
            return None;
        }
        let mut floor = Self {
            threads: None,
            inode_order: false,
        };
        for part in parts {
            match part.parse() {
                Ok(threads) if floor.threads.is_none() && !floor.inode_order => {
                    floor.threads = Some(threads);
                }
                Err(_) if part == "inode" && !floor.inode_order => floor.inode_order = true,
                _ => return None,
            }
        }
        Some(floor)
    }
}

impl Contender {
    /// The arguments of a run over `roots`.
    pub(super) fn arguments(&self, roots: &[PathBuf], scratch: &Path) -> Vec<OsString> {
        let within = |root: &PathBuf| {
            let mut root = root.clone().into_os_string();
            root.push("/");
            root
        };
        let mut arguments = Vec::new();
        for word in &self.words {
            match word {
                Word::Is(word) => arguments.push(word.clone()),
                Word::Roots => arguments.extend(roots.iter().map(|root| root.clone().into())),
                Word::RootsWithin => arguments.extend(roots.iter().map(within)),
                Word::Scratch(name) => arguments.push(scratch.join(name).into()),
            }
        }
        arguments
    }

    /// The command as it would be typed, with DIR for what is walked.
    pub(super) fn shown(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = self.words.iter().map(|word| match word {
            Word::Is(word) => quote(&word.to_string_lossy()),
            Word::Roots => "DIR".to_owned(),
            Word::RootsWithin => "DIR/".to_owned(),
            Word::Scratch(name) => (*name).to_owned(),
        });
        std::iter::once(quote(&program.to_string_lossy()))
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(words: Vec<Word>) -> Contender {
        Contender {
            name: "x".into(),
            program: "/usr/bin/x".into(),
            words,
            count: CountFrom::Nowhere,
            version: Version::OfThisCrate,
            reads: Reads::All,
            incomplete_status: None,
        }
    }

    #[test]
    fn what_is_walked_takes_the_place_of_its_word() {
        let x = contender(vec![
            "-r".into(),
            Word::Roots,
            "-o".into(),
            Word::Scratch(RECORDS),
        ]);
        let roots = ["/a".into(), "/b c".into()];
        assert_eq!(
            x.arguments(&roots, Path::new("/s")),
            ["-r", "/a", "/b c", "-o", "/s/records.jsonl"]
        );
        assert_eq!(x.shown(), "x -r DIR -o records.jsonl");
        let rsync = contender(vec![Word::RootsWithin]);
        assert_eq!(rsync.arguments(&roots, Path::new("/s")), ["/a/", "/b c/"]);
    }

    #[test]
    fn a_floor_is_known_by_its_name() {
        let floor = |threads, inode_order| {
            Some(Floor {
                threads: NonZeroUsize::new(threads),
                inode_order,
            })
        };
        assert_eq!(Floor::named("floor"), floor(0, false));
        assert_eq!(Floor::named("floor-32"), floor(32, false));
        assert_eq!(Floor::named("floor-32-inode"), floor(32, true));
        assert_eq!(Floor::named("floor-inode"), floor(0, true));
        for wrong in [
            "floors",
            "floor-0",
            "floor-x",
            "floor-inode-32",
            "floor-1-2",
            "x",
        ] {
            assert_eq!(Floor::named(wrong), None, "{wrong}");
        }
    }
}
