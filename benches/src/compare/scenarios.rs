//! The scenarios of the report, in its order.
//!
//! What must stay true: each says for readers what was done and what 1.0 means, and the quick form runs the same code as the
//! standard one, on less.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::image::Image;
use super::scenario::{Entrant, Figure, Scenario, Sweep};
use super::site::{Cache, Part, Place};
use crate::slow::Slow;
use crate::tree::{Parameters, Shape};

/// How large everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Runs that last long enough to be measured.
    Standard,
    /// Runs that only show that everything works.
    Quick,
}

/// Every thread count that is tried.
const COUNTS: [u32; 10] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];
const COUNTS_QUICK: [u32; 2] = [8, 2];

/// What a measurement lasts at least, where the clock is to be trusted.
const LEAST: Duration = Duration::from_secs(2);

/// The longest that a contender is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest that those are waited for on slow mounts that walk a tenth of the tree: long enough to tell.
const LIMIT_FEWER: Duration = Duration::from_secs(15);
const LIMIT_QUICK: Duration = Duration::from_secs(10);

const AGAINST_FLOOR: &str = "1.0 is the floor: a bare program that makes one openat for each directory, getdents64 until it is \
     empty, one statx for each entry, and nothing else, on one thread for each core.";
const AGAINST_SWEEP: &str = "1.0 is the best of ten floors, each on a fixed number of threads: 1, 2, 4 and so on to 512. All others run \
     with nothing configured.";
const SLOW_MOUNT: &str = "A FUSE mount of a generated tree, served by a process of its own whose time and memory nobody is charged with; \
     names and attributes are cached for a second, and each run gets a new mount. ";
const FEWER: &str = " Those marked † walked a tree with about a tenth of the entries, once; their times are scaled up by the ratio of the \
     entries.";

/// The scenarios, of which `size` says how large they are.
pub(super) fn all(size: Size) -> Vec<Scenario> {
    let catalogue = Catalogue { size };
    let mut scenarios = vec![
        catalogue.hot(),
        catalogue.cold(),
        catalogue.latency("latency-500us", 500),
        catalogue.latency("latency-5ms", 5_000),
        catalogue.no_latency(),
        catalogue.step(),
        catalogue.four_at_once(),
        catalogue.striped(),
        catalogue.wide(),
        catalogue.deep(),
        catalogue.small(),
        catalogue.two(),
    ];
    let images = [
        ("ext4", Image::Ext4),
        ("xfs", Image::Xfs),
        ("btrfs", Image::Btrfs),
        ("tmpfs", Image::Tmpfs),
        ("overlay", Image::Overlay),
        ("squashfs", Image::Squashfs),
    ];
    scenarios.extend(images.map(|(name, image)| catalogue.image(name, image)));
    scenarios.push(catalogue.memory());
    scenarios
}

/// The scenario of a directory that somebody named.
pub(super) fn given(directory: PathBuf) -> Scenario {
    let shown = directory.display().to_string();
    Scenario {
        about: format!("{shown}, with what the runs before left in the cache. {AGAINST_FLOOR}"),
        least: Duration::ZERO,
        entrants: everybody(),
        ..Catalogue {
            size: Size::Standard,
        }
        .plain("directory", &shown, Place::Given(directory))
    }
}

fn everybody() -> Vec<Entrant> {
    super::programs::NAMES
        .into_iter()
        .filter(|name| !name.ends_with("-512"))
        .map(Entrant::new)
        .collect()
}

fn entrants<const N: usize>(names: [&str; N]) -> Vec<Entrant> {
    names.map(Entrant::new).to_vec()
}

struct Catalogue {
    size: Size,
}

impl Catalogue {
    fn pick<T>(&self, standard: T, quick: T) -> T {
        match self.size {
            Size::Standard => standard,
            Size::Quick => quick,
        }
    }

    fn tree(&self, shape: Shape, entries: u64) -> Parameters {
        Parameters {
            entries: self.pick(entries, 2_000),
            seed: 1,
            shape,
        }
    }

    fn sweep(&self) -> Sweep {
        Sweep {
            threads: self.pick(COUNTS.to_vec(), COUNTS_QUICK.to_vec()),
            inode_order: false,
        }
    }

    /// A scenario on a hot cache against the floor, to be filled in.
    fn plain(&self, name: &'static str, title: &str, place: Place) -> Scenario {
        Scenario {
            name,
            title: title.to_owned(),
            about: String::new(),
            place,
            cache: Cache::Kept,
            sweep: Sweep::default(),
            entrants: Vec::new(),
            figure: Figure::Time,
            least: self.pick(LEAST, Duration::ZERO),
            limit: self.pick(LIMIT, LIMIT_QUICK),
            limit_once: self.pick(LIMIT, LIMIT_QUICK),
        }
    }

    fn hot(&self) -> Scenario {
        let tree = self.tree(Shape::Realistic, 1_000_000);
        Scenario {
            about: format!(
                "A million entries in 62,501 directories on a local disk, all of whose metadata is in memory. {AGAINST_FLOOR}"
            ),
            entrants: everybody()
                .into_iter()
                .map(|entrant| match entrant.contender.as_str() {
                    "std" | "origin" | "rsync" => entrant.once(),
                    _ => entrant,
                })
                .collect(),
            ..self.plain("hot", "Hot cache", Place::Tree(tree))
        }
    }

    fn cold(&self) -> Scenario {
        let tree = self.tree(Shape::Realistic, 1_000_000);
        let mut field = entrants(["floor-32-inode", "floor-32", "statline", "statline-jsonl"]);
        field
            .extend(["floor", "ignore", "fd", "find", "bfs"].map(|name| Entrant::new(name).once()));
        Scenario {
            about: "The same tree, with all caches of the kernel dropped before each run. 1.0 is the floor on 32 threads that asks \
                    for the names of a chunk in the order of their inode numbers. What the host of a virtual machine has cached \
                    cannot be dropped from inside, so a disk that is really cold may be slower for all."
                .to_owned(),
            cache: Cache::Dropped,
            entrants: field,
            least: Duration::ZERO,
            ..self.plain("cold", "Cold cache", Place::Tree(tree))
        }
    }

    /// 344,440 entries, or 34,440 with one level less.
    fn slow_tree(&self, depth: u64) -> Slow {
        Slow {
            fan_out: self.pick(10, 3),
            depth: self.pick(depth, depth - 1),
            files: self.pick(30, 5),
            latency_us: 0,
            after: 0,
            calls: None,
            at_once: None,
        }
    }

    fn slow(&self, name: &'static str, title: &str, whole: Slow) -> Scenario {
        let less = Slow {
            depth: whole.depth.saturating_sub(1),
            ..whole
        };
        Scenario {
            sweep: self.sweep(),
            entrants: entrants(["statline", "statline-jsonl"]),
            least: Duration::ZERO,
            limit_once: self.pick(LIMIT_FEWER, LIMIT_QUICK),
            ..self.plain(name, title, Place::Slow { whole, less })
        }
    }

    fn latency(&self, name: &'static str, latency_us: u64) -> Scenario {
        let whole = Slow {
            latency_us,
            ..self.slow_tree(4)
        };
        let milliseconds = latency_us as f64 / 1_000.0;
        let mut scenario = self.slow(name, &format!("{milliseconds} ms for each call"), whole);
        let fewer = ["find", "bfs", "fd", "ignore"];
        scenario
            .entrants
            .extend(fewer.map(|name| Entrant::new(name).on(Part::Less).once()));
        scenario.about =
            format!("{SLOW_MOUNT}Each call takes {milliseconds} ms. {AGAINST_SWEEP}{FEWER}");
        scenario
    }

    fn no_latency(&self) -> Scenario {
        let mut scenario = self.slow("fuse", "FUSE without latency", self.slow_tree(4));
        scenario
            .entrants
            .extend(["find", "fd", "ignore"].map(|name| Entrant::new(name).on(Part::Less).once()));
        scenario.about = format!(
            "{SLOW_MOUNT}Calls are answered as soon as a core is free, which the server needs as well, so more threads only \
             cost. The entries that the floor gets in a second here are the most that server and cores can do together, whatever the \
             latency. {AGAINST_SWEEP}{FEWER}"
        );
        scenario
    }

    fn step(&self) -> Scenario {
        let tree = self.slow_tree(4);
        // A look-up for an entry and four calls for a directory, of which there is one for 31 entries.
        let calls = tree.entries().unwrap_or(0) * 35 / 31;
        let whole = Slow {
            latency_us: 5_000,
            after: calls / 3,
            calls: Some(calls / 3),
            ..tree
        };
        let mut scenario = self.slow("step", "Latency that comes and goes", whole);
        scenario.about = format!(
            "{SLOW_MOUNT}The first third of the calls is answered at once, each of the second third takes 5 ms, the last third \
             is quick again. {AGAINST_SWEEP}"
        );
        scenario
    }

    fn four_at_once(&self) -> Scenario {
        let whole = Slow {
            latency_us: 1_000,
            at_once: NonZeroU64::new(4),
            files: self.pick(14, 5),
            ..self.slow_tree(3)
        };
        let mut scenario = self.slow("four", "A server that serves four calls at once", whole);
        scenario.about = format!(
            "{SLOW_MOUNT}Each call takes 1 ms, and four are served at a time; more threads only make a queue. The column *at once* \
             says how many calls were under way, in the middle and at most: it should be no more than 8. {AGAINST_SWEEP}"
        );
        scenario
    }

    fn striped(&self) -> Scenario {
        let each = self.tree(Shape::Realistic, 150_000);
        Scenario {
            about: format!(
                "Six trees side by side on a local disk, every other one in the cache and the rest not, so that a run goes through hot \
                 and cold parts in turns. {AGAINST_SWEEP} These floors ask in the order of inode numbers."
            ),
            sweep: Sweep {
                inode_order: true,
                ..self.sweep()
            },
            entrants: entrants(["statline", "statline-jsonl"]),
            least: Duration::ZERO,
            ..self.plain(
                "striped",
                "A local disk that goes cold and hot",
                Place::Striped { trees: 6, each },
            )
        }
    }

    fn wide(&self) -> Scenario {
        let tree = self.tree(Shape::Wide, 1_000_000);
        Scenario {
            about: "One directory with a million files, hot. 1.0 is the floor, which lists it on one thread and stats on all."
                .to_owned(),
            entrants: entrants(["floor", "floor-1", "statline", "statline-jsonl", "ignore", "find"]),
            ..self.plain("wide", "One huge directory", Place::Tree(tree))
        }
    }

    fn deep(&self) -> Scenario {
        let tree = self.tree(Shape::Deep, 200_000);
        Scenario {
            about: format!(
                "A chain of 5,000 directories with 200,000 entries in them, deeper than any path can name, hot. Programs that go by \
                 whole paths cannot read it; those that print whole paths would print gigabytes and are left out. \
                 {AGAINST_FLOOR}"
            ),
            entrants: entrants(["floor", "statline", "du", "ignore"]),
            ..self.plain("deep", "A deep chain", Place::Tree(tree))
        }
    }

    fn small(&self) -> Scenario {
        let tree = self.tree(Shape::Small, 600_000);
        Scenario {
            about: format!(
                "200,000 directories with two files each, hot: opening and closing directories is most of the work. {AGAINST_FLOOR}"
            ),
            entrants: entrants([
                "floor",
                "statline",
                "statline-jsonl",
                "ignore",
                "fd",
                "find",
            ]),
            ..self.plain("small", "Many small directories", Place::Tree(tree))
        }
    }

    fn two(&self) -> Scenario {
        let alone = "statline, slow mount alone";
        let slow = Slow {
            latency_us: 5_000,
            at_once: NonZeroU64::new(64),
            files: self.pick(60, 5),
            ..self.slow_tree(3)
        };
        Scenario {
            about: format!(
                "One job over two roots: a million entries on a local disk, hot, and {SLOW_MOUNT}Its calls take 5 ms, and 64 are \
                 served at a time. 1.0 is the same job over the slow mount alone."
            ),
            entrants: vec![
                Entrant::new("statline").on(Part::Less).called(alone),
                Entrant::new("statline").called("statline, both"),
            ],
            least: Duration::ZERO,
            ..self.plain(
                "two",
                "Two mounts at once",
                Place::Two {
                    slow,
                    fast: self.tree(Shape::Realistic, 1_000_000),
                },
            )
        }
    }

    fn image(&self, name: &'static str, image: Image) -> Scenario {
        let tree = self.tree(Shape::Realistic, 300_000);
        let how = match image {
            Image::Tmpfs => "tmpfs, which is memory and nothing else",
            Image::Overlay => {
                "an overlay: an empty layer in memory over the tree on the local disk"
            }
            Image::Squashfs => "squashfs on a loop device; its files are empty",
            _ => "a new file system on a loop device",
        };
        Scenario {
            about: format!("300,000 entries on {how}; hot. {AGAINST_FLOOR}"),
            entrants: entrants(["floor", "statline", "statline-jsonl", "ignore"]),
            least: self.pick(LEAST / 2, Duration::ZERO),
            ..self.plain(name, image.name(), Place::Image { image, tree })
        }
    }

    fn memory(&self) -> Scenario {
        let job = |contender: &str, less: &'static str, whole: &'static str| {
            [
                Entrant::new(contender)
                    .on(Part::Less)
                    .called(less)
                    .against(less),
                Entrant::new(contender).called(whole).against(less).once(),
            ]
        };
        Scenario {
            about: "A tree of a million entries, hot, and the same mounted ten times below one directory. What is divided here is the \
                    peak memory of the whole process, not time: 1.0 is that of the same job over a million entries."
                .to_owned(),
            entrants: [
                job("statline", "scan, 1 M", "scan, 10 M"),
                job("statline-jsonl", "JSON Lines, 1 M", "JSON Lines, 10 M"),
                job(
                    "statline-jsonl-512",
                    "JSON Lines on 512 threads, 1 M",
                    "JSON Lines on 512 threads, 10 M",
                ),
            ]
            .into_iter()
            .flatten()
            .collect(),
            figure: Figure::PeakMemory,
            least: Duration::ZERO,
            ..self.plain(
                "memory",
                "Peak memory",
                Place::Copies {
                    tree: self.tree(Shape::Realistic, 1_000_000),
                    times: 10,
                },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::compare::programs::Programs;

    #[test]
    fn every_entrant_is_somebody_and_is_divided_by_somebody() {
        for size in [Size::Standard, Size::Quick] {
            let mut names = HashSet::new();
            for scenario in all(size) {
                assert!(names.insert(scenario.name), "{}", scenario.name);
                assert!(scenario.about.contains("1.0 is"), "{}", scenario.name);
                let labels: Vec<&str> = scenario.entrants.iter().map(Entrant::label).collect();
                let unique: HashSet<&&str> = labels.iter().collect();
                assert_eq!(unique.len(), labels.len(), "{labels:?}");
                for entrant in &scenario.entrants {
                    Programs::check(std::slice::from_ref(&entrant.contender)).unwrap();
                    assert!(
                        entrant.against.is_none_or(|other| labels.contains(&other)),
                        "{entrant:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn quick_means_little_work_and_nothing_else() {
        for (standard, quick) in all(Size::Standard).iter().zip(all(Size::Quick)) {
            assert_eq!(standard.name, quick.name);
            assert_eq!(standard.entrants, quick.entrants);
            if let (Place::Slow { whole, .. }, Place::Slow { whole: little, .. }) =
                (&standard.place, &quick.place)
            {
                assert!(whole.entries() > Some(15_000) && little.entries() < Some(1_000));
            }
        }
    }
}
