//! Makes the entries of a plan, each relative to its open directory.
//!
//! One thread, in the plan's order: inode numbers and the order inside directories follow from the order of creation, and a cold
//! measurement depends on both. The system calls take nearly all of the time anyway.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::marker::Marker;
use super::plan::{Leaf, LeafKind, Plan};
use super::{Counts, Error, Parameters};
use crate::error::{IoContext, IoError};

/// A tree that is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// What it holds.
    pub counts: Counts,
    /// It was there before, from the same parameters.
    pub already_there: bool,
}

/// Makes the tree of `parameters` in `root`, unless it is there already.
///
/// # Errors
///
/// When `root` holds anything else, or when the system refuses.
pub fn make(root: &Path, parameters: Parameters) -> Result<Made, Error> {
    let marker_path = Marker::path(root)?;
    fs::create_dir_all(root).during("create the directory", root)?;
    let marker = Marker::read(&marker_path)?;
    let empty = fs::read_dir(root)
        .during("read the directory", root)?
        .next()
        .is_none();
    if !empty {
        return match marker {
            Some(marker) if marker.parameters == parameters => Ok(Made {
                counts: marker.counts,
                already_there: true,
            }),
            Some(marker) => Err(Error::Different {
                root: root.to_owned(),
                found: marker.parameters,
            }),
            None => Err(Error::Foreign {
                root: root.to_owned(),
                marker: marker_path,
            }),
        };
    }
    let counts = Maker::new(root).make(&Plan::new(parameters))?;
    Marker::new(parameters, counts).write(&marker_path)?;
    Ok(Made {
        counts,
        already_there: false,
    })
}

/// What the tree in `root` was made from; `None` when it is not known that this program made it.
///
/// # Errors
///
/// When the marker beside it cannot be read.
pub fn made_from(root: &Path) -> Result<Option<Parameters>, Error> {
    let marker = Marker::read(&Marker::path(root)?)?;
    Ok(marker.map(|marker| marker.parameters))
}

/// Every this many files, one is remembered as the one that hard links lead to: near enough together for links inside one
/// directory, far enough apart for links between directories.
const LINKED_EVERY: u64 = 8;

/// A directory that waits to be made.
struct Pending {
    parent: Rc<OwnedFd>,
    number: u32,
}

/// The file that the next hard link leads to.
struct LinkSource {
    directory: Rc<OwnedFd>,
    name: Vec<u8>,
}

struct Maker<'a> {
    root: &'a Path,
    counts: Counts,
    link_source: Option<LinkSource>,
}

impl<'a> Maker<'a> {
    fn new(root: &'a Path) -> Self {
        Self {
            root,
            counts: Counts::default(),
            link_source: None,
        }
    }

    fn make(mut self, plan: &Plan) -> Result<Counts, IoError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            Rc::new(rustix::fs::open(self.root, flags, Mode::empty()).during("open", self.root)?);
        // A parent stays open while a child of it waits here, which is one descriptor a level, and one in all for a chain.
        let mut pending = Vec::new();
        self.fill(plan, &root, 0, &mut pending)?;
        drop(root);
        while let Some(Pending { parent, number }) = pending.pop() {
            let name = plan.name(number);
            let name = OsStr::from_bytes(&name);
            rustix::fs::mkdirat(&*parent, name, Mode::from_raw_mode(0o755))
                .during("create a directory", &self.shown(name))?;
            let directory =
                rustix::fs::openat(&*parent, name, flags | OFlags::NOFOLLOW, Mode::empty())
                    .during("open a directory", &self.shown(name))?;
            drop(parent);
            self.counts.entries += 1;
            self.counts.directories += 1;
            self.fill(plan, &Rc::new(directory), number, &mut pending)?;
        }
        Ok(self.counts)
    }

    fn fill(
        &mut self,
        plan: &Plan,
        directory: &Rc<OwnedFd>,
        number: u32,
        pending: &mut Vec<Pending>,
    ) -> Result<(), IoError> {
        for leaf in plan.leaves(number) {
            self.leaf(directory, leaf)?;
        }
        let children = plan.children(number).iter().rev();
        pending.extend(children.map(|child| Pending {
            parent: Rc::clone(directory),
            number: *child,
        }));
        Ok(())
    }

    fn leaf(&mut self, directory: &Rc<OwnedFd>, leaf: Leaf) -> Result<(), IoError> {
        let name = OsStr::from_bytes(&leaf.name);
        self.counts.entries += 1;
        match (leaf.kind, &self.link_source) {
            (LeafKind::Symlink { target }, _) => {
                rustix::fs::symlinkat(OsStr::from_bytes(&target), &**directory, name)
                    .during("create a symbolic link", &self.shown(name))?;
                self.counts.symlinks += 1;
            }
            (LeafKind::HardLink, Some(source)) => {
                let source_name = OsStr::from_bytes(&source.name);
                rustix::fs::linkat(
                    &*source.directory,
                    source_name,
                    &**directory,
                    name,
                    AtFlags::empty(),
                )
                .during("create a hard link", &self.shown(name))?;
                self.counts.hard_links += 1;
            }
            (LeafKind::HardLink, None) => self.file(directory, name, 0)?,
            (LeafKind::File { size }, _) => {
                self.file(directory, name, size)?;
                if self.counts.files % LINKED_EVERY == 1 {
                    self.link_source = Some(LinkSource {
                        directory: Rc::clone(directory),
                        name: leaf.name,
                    });
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, directory: &OwnedFd, name: &OsStr, size: u64) -> Result<(), IoError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))
            .during("create a file", &self.shown(name))?;
        if size > 0 {
            rustix::fs::ftruncate(&file, size)
                .during("set the size of a file", &self.shown(name))?;
        }
        self.counts.files += 1;
        self.counts.apparent_bytes += size;
        Ok(())
    }

    /// A path for an error message. The directories in between are left out: nobody keeps them.
    fn shown(&self, name: &OsStr) -> PathBuf {
        self.root.join("…").join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::tree::Shape;

    /// Everything that a tree is: name, type, size, links, target. Not: inode numbers and times.
    fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, u64, u64, Option<PathBuf>)> {
        walkdir::WalkDir::new(root)
            .min_depth(1)
            .into_iter()
            .map(|entry| {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                // The size of a directory is the file system's own affair.
                let size = if metadata.is_dir() { 0 } else { metadata.len() };
                let links = if metadata.is_dir() {
                    0
                } else {
                    metadata.nlink()
                };
                let target = fs::read_link(entry.path()).ok();
                let relative = entry.path().strip_prefix(root).unwrap().to_owned();
                (relative, (metadata.mode(), size, links, target))
            })
            .collect()
    }

    fn parameters(seed: u64) -> Parameters {
        Parameters {
            entries: 3_000,
            seed,
            shape: Shape::Realistic,
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_tree_and_another_seed_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let roots = ["a", "b", "c"].map(|name| directory.path().join(name));
        make(&roots[0], parameters(1)).unwrap();
        make(&roots[1], parameters(1)).unwrap();
        make(&roots[2], parameters(2)).unwrap();
        let listings = roots.each_ref().map(|root| listing(root));
        assert_eq!(listings[0], listings[1]);
        assert_ne!(listings[0], listings[2]);
    }

    #[test]
    fn the_counts_are_what_was_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        let counts = make(&root, parameters(1)).unwrap().counts;
        let listing = listing(&root);
        assert_eq!(counts.entries, 3_000);
        assert_eq!(counts.entries, listing.len() as u64);
        assert_eq!(
            counts.entries,
            counts.directories + counts.files + counts.symlinks + counts.hard_links
        );
        assert_eq!(
            counts.symlinks,
            listing.values().filter(|entry| entry.3.is_some()).count() as u64
        );
        assert!(
            (10..60).contains(&counts.symlinks),
            "about one in a hundred: {}",
            counts.symlinks
        );
        assert!(
            (10..60).contains(&counts.hard_links),
            "about one in a hundred: {}",
            counts.hard_links
        );
        assert!(
            listing.values().any(|entry| entry.2 > 1),
            "hard links share an inode"
        );
    }

    #[test]
    fn a_tree_that_is_there_is_not_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        let first = make(&root, parameters(1)).unwrap();
        let second = make(&root, parameters(1)).unwrap();
        assert_eq!((first.already_there, second.already_there), (false, true));
        assert_eq!(first.counts, second.counts);
    }

    #[test]
    fn what_somebody_else_made_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("thesis.tex"), "").unwrap();
        assert!(matches!(
            make(&root, parameters(1)),
            Err(Error::Foreign { .. })
        ));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    }

    #[test]
    fn another_tree_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        make(&root, parameters(1)).unwrap();
        assert!(matches!(
            make(&root, parameters(2)),
            Err(Error::Different { .. })
        ));
    }
}
