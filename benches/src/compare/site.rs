//! What is walked: how it is made, and what is done to it before each run.
//!
//! What must stay true: every run of a scenario finds the same state. So a slow mount is a new one each time, with nothing
//! cached and its counters at zero, and a cold cache is made cold each time.

use std::fs;
use std::path::{Path, PathBuf};

use super::ground::{self, Ground, MountPoint};
use super::image::{self, Image, Mounted};
use super::obstacle::Obstacle;
use crate::error::{IoContext, IoError};
use crate::floor::{self, Order};
use crate::slow::{Mount, Served, Slow};
use crate::tree::{self, Parameters};

/// What is to be walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory that somebody named.
    Given(PathBuf),
    /// A tree on the disk.
    Tree(Parameters),
    /// Several trees on the disk side by side, every other one of which is in the cache.
    Striped { trees: u32, each: Parameters },
    /// One tree on the disk, mounted so many times; [`Part::Less`] is one of them.
    Copies { tree: Parameters, times: u32 },
    /// A file system of its own.
    Image { image: Image, tree: Parameters },
    /// A mount that answers slowly, and for [`Part::Less`] the same with a smaller tree.
    Slow { whole: Slow, less: Slow },
    /// A slow mount and a tree on the disk; [`Part::Less`] is the slow mount alone.
    Two { slow: Slow, fast: Parameters },
}

/// How much of it a contender walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Less,
}

/// The cache of the file system when a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// As the run before left it.
    Kept,
    /// Empty.
    Dropped,
}

/// A place that is there.
#[derive(Debug)]
pub(super) struct Site {
    cache: Cache,
    /// The program that serves slow mounts.
    slowfs: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory {
        root: PathBuf,
        entries: Option<u64>,
        /// Kept mounted while it is walked.
        _mounted: Option<Mounted>,
    },
    Striped {
        root: PathBuf,
        warm: Vec<PathBuf>,
    },
    Copies {
        root: PathBuf,
        first: PathBuf,
        each: u64,
        times: u64,
        /// The copies before the directory that they are in.
        _points: Vec<MountPoint>,
    },
    Slow {
        whole: Slow,
        less: Slow,
    },
    Two {
        slow: Slow,
        fast: PathBuf,
        entries: u64,
    },
}

/// A site that is ready for one run.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) roots: Vec<PathBuf>,
    mount: Option<Mount>,
}

impl Site {
    pub(super) fn prepare(
        place: &Place,
        cache: Cache,
        ground: &Ground,
        slowfs: PathBuf,
    ) -> Result<Self, Obstacle> {
        let drops = cache == Cache::Dropped || matches!(place, Place::Striped { .. });
        if drops && let Err(reason) = ground::can_drop_caches() {
            return Err(Obstacle::Unavailable(reason));
        }
        let mounts = matches!(
            place,
            Place::Copies { .. } | Place::Slow { .. } | Place::Two { .. }
        );
        if mounts && let Some(reason) = ground.no_mounts() {
            return Err(Obstacle::Unavailable(reason.to_owned()));
        }
        Ok(Self {
            cache,
            slowfs,
            kind: Kind::make(place, ground)?,
        })
    }

    /// How many entries there are, if that is known without counting.
    pub(super) fn entries(&self, part: Part) -> Option<u64> {
        match (&self.kind, part) {
            (Kind::Directory { entries, .. }, _) => *entries,
            (Kind::Striped { .. }, _) => None,
            (Kind::Copies { each, .. }, Part::Less) => Some(*each),
            // The directories that they are mounted on are entries too.
            (Kind::Copies { each, times, .. }, Part::Whole) => Some((each + 1) * times),
            (Kind::Slow { whole, .. }, Part::Whole) => whole.entries(),
            (Kind::Slow { less, .. }, Part::Less) => less.entries(),
            (Kind::Two { slow, entries, .. }, Part::Whole) => Some(slow.entries()? + entries),
            (Kind::Two { slow, .. }, Part::Less) => slow.entries(),
        }
    }

    /// Makes everything ready for one run.
    pub(super) fn ready(&self, part: Part) -> Result<Ready, IoError> {
        if self.cache == Cache::Dropped {
            ground::drop_caches()?;
        }
        let here = |root: &Path| Ready {
            roots: vec![root.to_owned()],
            mount: None,
        };
        match (&self.kind, part) {
            (Kind::Directory { root, .. }, _) | (Kind::Copies { root, .. }, Part::Whole) => {
                Ok(here(root))
            }
            (Kind::Copies { first, .. }, Part::Less) => Ok(here(first)),
            (Kind::Striped { root, warm }, _) => {
                ground::drop_caches()?;
                for tree in warm {
                    floor::walk(tree, floor::Options::on_all_cores(Order::Inode))?;
                }
                Ok(here(root))
            }
            (Kind::Slow { whole, .. }, Part::Whole) => self.mount(whole),
            (Kind::Slow { less, .. }, Part::Less) => self.mount(less),
            (Kind::Two { slow, fast, .. }, part) => {
                let mut ready = self.mount(slow)?;
                if part == Part::Whole {
                    ready.roots.push(fast.clone());
                }
                Ok(ready)
            }
        }
    }

    fn mount(&self, slow: &Slow) -> Result<Ready, IoError> {
        let mount = Mount::start(&self.slowfs, slow)?;
        Ok(Ready {
            roots: vec![mount.path().to_owned()],
            mount: Some(mount),
        })
    }
}

impl Kind {
    fn make(place: &Place, ground: &Ground) -> Result<Self, Obstacle> {
        Ok(match place {
            Place::Given(root) => Self::Directory {
                root: fs::canonicalize(root).during("find", root)?,
                // Nobody knows whether it is still what it was made as.
                entries: None,
                _mounted: None,
            },
            Place::Tree(parameters) => Self::Directory {
                root: image::kept(ground, *parameters)?,
                entries: Some(parameters.entries),
                _mounted: None,
            },
            Place::Striped { trees, each } => {
                let root = ground
                    .trees()
                    .join(format!("striped-{trees}-{}", each.entries));
                let roots: Vec<PathBuf> = (0..*trees)
                    .map(|number| root.join(number.to_string()))
                    .collect();
                for (tree, seed) in roots.iter().zip(each.seed..) {
                    tree::make(tree, Parameters { seed, ..*each })?;
                }
                Self::Striped {
                    root,
                    warm: roots.into_iter().step_by(2).collect(),
                }
            }
            Place::Copies { tree, times } => {
                let kept = image::kept(ground, *tree)?;
                let around =
                    MountPoint::mount(ground.point("copies"), "tmpfs", "tmpfs", c"mode=755")?;
                let root = around.path().to_owned();
                let mut points = Vec::new();
                for number in 0..*times {
                    points.push(MountPoint::bind(root.join(number.to_string()), &kept)?);
                }
                points.push(around);
                Self::Copies {
                    first: root.join("0"),
                    root,
                    each: tree.entries,
                    times: u64::from(*times),
                    _points: points,
                }
            }
            Place::Image { image, tree } => {
                let mounted = image.mount(ground, *tree)?;
                Self::Directory {
                    root: mounted.root.clone(),
                    entries: Some(tree.entries),
                    _mounted: Some(mounted),
                }
            }
            Place::Slow { whole, less } => Self::Slow {
                whole: *whole,
                less: *less,
            },
            Place::Two { slow, fast } => Self::Two {
                slow: *slow,
                fast: image::kept(ground, *fast)?,
                entries: fast.entries,
            },
        })
    }
}

impl Ready {
    /// Ends what was made for the run, and tells what was asked of a slow mount.
    pub(super) fn end(self) -> Result<Option<Served>, IoError> {
        self.mount.map(Mount::end).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::tree::Shape;

    fn parameters(entries: u64) -> Parameters {
        Parameters {
            entries,
            seed: 1,
            shape: Shape::Realistic,
        }
    }

    #[test]
    fn a_tree_is_made_once_and_its_entries_are_known() {
        let trees = tempfile::tempdir().unwrap();
        let ground = Ground::without_mounts(trees.path());
        let place = Place::Tree(parameters(300));
        let prepare = || Site::prepare(&place, Cache::Kept, &ground, "slowfs".into()).unwrap();
        let site = prepare();
        assert_eq!(site.entries(Part::Whole), Some(300));
        let ready = site.ready(Part::Whole).unwrap();
        let options = floor::Options {
            threads: NonZeroUsize::MIN,
            ..floor::Options::on_all_cores(Order::Readdir)
        };
        assert_eq!(floor::walk(&ready.roots[0], options).unwrap().entries, 300);
        assert_eq!(ready.end().unwrap(), None);
        let made = fs::read_dir(trees.path()).unwrap().count();
        drop(prepare());
        assert_eq!(fs::read_dir(trees.path()).unwrap().count(), made);
    }

    #[test]
    fn what_needs_a_mount_says_so_where_there_is_no_right_to() {
        let trees = tempfile::tempdir().unwrap();
        let ground = Ground::without_mounts(trees.path());
        let tree = parameters(10);
        for place in [
            Place::Copies { tree, times: 2 },
            Place::Image {
                image: Image::Tmpfs,
                tree,
            },
        ] {
            let outcome = Site::prepare(&place, Cache::Kept, &ground, "slowfs".into());
            assert!(
                matches!(&outcome, Err(Obstacle::Unavailable(reason)) if reason == "not here"),
                "{outcome:?}"
            );
        }
    }
}
