//! What to make, worked out before anything is made: pure, so that it can be compared and counted.
//!
//! What must stay true: a plan depends on its [`Parameters`] alone, through integer arithmetic alone, and holds exactly as many
//! entries as it was asked for. A test pins the plan of seed 1; changing it changes what every past measurement was made on.

use super::name;
use super::{Parameters, Shape};
use crate::random::Random;

/// One directory for so many entries, as on file servers.
const ENTRIES_PER_DIRECTORY: u64 = 16;
/// One directory for so many entries, where all are small.
const ENTRIES_PER_SMALL_DIRECTORY: u64 = 3;
/// The share of all entries that the one huge directory gets.
const HUGE_SHARE: u64 = 30;
/// No other directory weighs more than `2^WEIGHT_LIMIT` times the smallest.
const WEIGHT_LIMIT: u32 = 12;
/// Beyond any path (4,096 bytes) and any reasonable number of descriptors.
const DEEPEST: u64 = 5_000;
/// Keeps sizes below 1 TiB, which every file system with sparse files takes.
const SIZE_DOUBLINGS: u32 = 30;

/// Streams of random numbers: one for each purpose, so that a change in one leaves the others as they were.
const STREAM_TREE: u64 = 0;
const STREAM_NAMES: u64 = 1 << 40;
const STREAM_LEAVES: u64 = 2 << 40;

/// The directories of a tree and how much is in each. Leaves are worked out one directory at a time.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    /// The first one is the root; every other one comes after its parent.
    directories: Vec<Directory>,
}

#[derive(Debug, Clone)]
struct Directory {
    children: Vec<u32>,
    leaves: u64,
}

/// An entry that is not a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leaf {
    pub(super) name: Vec<u8>,
    pub(super) kind: LeafKind,
}

/// What a leaf is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LeafKind {
    File {
        size: u64,
    },
    Symlink {
        target: Vec<u8>,
    },
    /// A further name of a file that was made before, here or elsewhere.
    HardLink,
}

impl Plan {
    pub(super) fn new(parameters: Parameters) -> Self {
        let mut random = Random::new(parameters.seed, STREAM_TREE);
        let directories = match parameters.shape {
            Shape::Realistic => realistic(parameters.entries, &mut random),
            Shape::Wide => vec![Directory {
                children: Vec::new(),
                leaves: parameters.entries,
            }],
            Shape::Small => small(parameters.entries, &mut random),
            Shape::Deep => chain(parameters.entries),
        };
        Self {
            seed: parameters.seed,
            directories,
        }
    }

    /// The directories below one, by number. The root's number is 0.
    pub(super) fn children(&self, directory: u32) -> &[u32] {
        &self.directories[directory as usize].children
    }

    /// The name of a directory below the root.
    pub(super) fn name(&self, directory: u32) -> Vec<u8> {
        name::directory(
            &mut Random::new(self.seed, STREAM_NAMES + u64::from(directory)),
            u64::from(directory),
        )
    }

    /// What is in a directory besides directories.
    pub(super) fn leaves(&self, directory: u32) -> impl Iterator<Item = Leaf> {
        let mut random = Random::new(self.seed, STREAM_LEAVES + u64::from(directory));
        let mut sibling = b"missing".to_vec();
        (0..self.directories[directory as usize].leaves).map(move |number| {
            let name = name::file(&mut random, number);
            let kind = match random.below(100) {
                0 => LeafKind::Symlink {
                    target: target(&mut random, &sibling),
                },
                1 => LeafKind::HardLink,
                _ => LeafKind::File {
                    size: size(&mut random),
                },
            };
            sibling.clone_from(&name);
            Leaf { name, kind }
        })
    }
}

/// Half of the links lead to a neighbour, a quarter upwards (a loop for whoever follows it), a quarter nowhere.
fn target(random: &mut Random, sibling: &[u8]) -> Vec<u8> {
    match random.below(4) {
        0 => b"..".to_vec(),
        1 => b"../nowhere/to be found".to_vec(),
        _ => sibling.to_vec(),
    }
}

/// One file in twenty is empty; the others are heavy-tailed: most are a few KiB, a handful of a million are over 100 GiB.
fn size(random: &mut Random) -> u64 {
    if random.chance(1, 20) {
        return 0;
    }
    let doublings = (random.exponent(SIZE_DOUBLINGS) * 3 / 2).min(SIZE_DOUBLINGS);
    let base = 512 << doublings;
    base + random.below(base)
}

/// Empty directories, so many below the root, each in one that comes before it.
fn hierarchy(below_root: u32, random: &mut Random) -> Vec<Directory> {
    let empty = Directory {
        children: Vec::new(),
        leaves: 0,
    };
    let mut directories = vec![empty; below_root as usize + 1];
    let mut parents = vec![0; below_root as usize + 1];
    for number in 1..=below_root {
        // A uniform choice alone grows too deep; copying the choice of an earlier one, half of the time, gives a few
        // directories hundreds of subdirectories and a depth of 5 to 10, as in home directories.
        let drawn = random.below(u64::from(number)) as u32;
        let parent = if random.chance(1, 2) {
            parents[drawn as usize]
        } else {
            drawn
        };
        parents[number as usize] = parent;
        directories[parent as usize].children.push(number);
    }
    directories
}

fn small(entries: u64, random: &mut Random) -> Vec<Directory> {
    let below_root = u32::try_from(entries / ENTRIES_PER_SMALL_DIRECTORY).unwrap_or(u32::MAX);
    let mut directories = hierarchy(below_root, random);
    let leaves = entries - u64::from(below_root);
    let (share, left) = (
        leaves / directories.len() as u64,
        leaves % directories.len() as u64,
    );
    for (number, directory) in directories.iter_mut().enumerate() {
        directory.leaves = share + u64::from((number as u64) < left);
    }
    directories
}

fn realistic(entries: u64, random: &mut Random) -> Vec<Directory> {
    let below_root = u32::try_from(entries / ENTRIES_PER_DIRECTORY).unwrap_or(u32::MAX);
    let mut directories = hierarchy(below_root, random);

    let leaves = entries - u64::from(below_root);
    let huge = if below_root > 0 {
        leaves / HUGE_SHARE
    } else {
        0
    };
    let weights: Vec<u64> = directories
        .iter()
        .map(|_| random.heavy(WEIGHT_LIMIT))
        .collect();
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    let mut left = leaves - huge;
    let shared = u128::from(left);
    for (directory, weight) in directories.iter_mut().zip(&weights) {
        // A share of `left` is no more than `left`.
        directory.leaves = (u128::from(*weight) * shared / total) as u64;
        left -= directory.leaves;
    }
    // Rounding leaves fewer than one for each directory.
    for directory in directories.iter_mut().take(left as usize) {
        directory.leaves += 1;
    }
    let at = if below_root > 0 {
        1 + random.below(u64::from(below_root)) as usize
    } else {
        0
    };
    directories[at].leaves += huge;
    directories
}

fn chain(entries: u64) -> Vec<Directory> {
    let depth = DEEPEST.min(entries / 2);
    let leaves = entries - depth;
    (0..=depth)
        .map(|level| Directory {
            children: if level < depth {
                vec![level as u32 + 1]
            } else {
                Vec::new()
            },
            leaves: leaves / (depth + 1) + u64::from(level < leaves % (depth + 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(entries: u64, shape: Shape) -> Plan {
        Plan::new(Parameters {
            entries,
            seed: 1,
            shape,
        })
    }

    /// FNV-1a, because std's hashers promise nothing from one version to the next.
    fn fingerprint(plan: &Plan) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for number in 0..plan.directories.len() as u32 {
            eat(&plan.name(number));
            plan.children(number)
                .iter()
                .for_each(|child| eat(&child.to_le_bytes()));
            for leaf in plan.leaves(number) {
                eat(&leaf.name);
                match leaf.kind {
                    LeafKind::File { size } => eat(&size.to_le_bytes()),
                    LeafKind::Symlink { target } => eat(&target),
                    LeafKind::HardLink => eat(b"="),
                }
            }
        }
        hash
    }

    #[test]
    fn seed_1_means_the_same_tree_for_ever() {
        assert_eq!(
            fingerprint(&plan(10_000, Shape::Realistic)),
            5_905_490_537_471_411_509
        );
    }

    #[test]
    fn every_shape_holds_exactly_what_was_asked_for() {
        for shape in [Shape::Realistic, Shape::Wide, Shape::Small, Shape::Deep] {
            for entries in [0, 1, 2, 15, 16, 17, 1_000, 12_345] {
                let plan = plan(entries, shape);
                let held: u64 = plan
                    .directories
                    .iter()
                    .map(|directory| directory.leaves)
                    .sum();
                assert_eq!(
                    held + plan.directories.len() as u64 - 1,
                    entries,
                    "{shape:?} of {entries}"
                );
            }
        }
    }

    #[test]
    fn every_directory_hangs_below_the_root_once() {
        let plan = plan(20_000, Shape::Realistic);
        let mut seen = HashSet::from([0]);
        let mut pending = vec![0];
        while let Some(directory) = pending.pop() {
            for child in plan.children(directory) {
                assert!(seen.insert(*child));
                pending.push(*child);
            }
        }
        assert_eq!(seen.len(), plan.directories.len());
    }

    #[test]
    fn a_million_entries_look_like_a_file_server() {
        let plan = plan(1_000_000, Shape::Realistic);
        let mut leaves: Vec<u64> = plan
            .directories
            .iter()
            .map(|directory| directory.leaves)
            .collect();
        leaves.sort_unstable();
        let over_a_thousand = leaves.iter().filter(|leaves| **leaves >= 1_000).count();
        assert!(leaves[leaves.len() / 2] <= 8, "most are small");
        assert!(
            (30..1_000).contains(&over_a_thousand),
            "{over_a_thousand} have thousands"
        );
        assert!(
            (20_000..60_000).contains(leaves.last().unwrap()),
            "one has tens of thousands"
        );

        let mut deepest = 0;
        let mut pending = vec![(0, 0)];
        while let Some((directory, depth)) = pending.pop() {
            deepest = deepest.max(depth);
            pending.extend(
                plan.children(directory)
                    .iter()
                    .map(|child| (*child, depth + 1)),
            );
        }
        assert!((10..40).contains(&deepest), "{deepest} levels");
    }
}
