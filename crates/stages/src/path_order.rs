//! Puts the rows of many batches into path order without ever comparing two paths.
//!
//! The directories form a tree. Rows and subdirectories are put under the directory that they are in, each directory
//! sorts its few names by themselves, and one walk down the tree reads off the order: a directory is followed at once
//! by its contents. The result is the order of [`compare_paths`](statline_platform::compare_paths), which `sort` tests.
//!
//! Nothing recurses: a tree may be as deep as memory allows.

use std::collections::HashMap;
use std::ops::Range;

use statline_platform::DirNode;

use crate::byte_prefix;
use crate::entry_batch::EntryBatch;
use crate::workers::Workers;

/// From how many names on a directory is sorted by several threads.
const LARGE: usize = 1 << 14;

/// One row of many batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The batch's place in the slice.
    pub(crate) batch: u32,
    /// The row's place in the batch.
    pub(crate) row: u32,
}

/// A name in a directory: a row's, or that of a directory below it.
#[derive(Clone, Copy)]
struct Item {
    /// The first bytes in which the names of the directory can differ: settles most comparisons without the names.
    prefix: u64,
    /// [`DIRECTORY`] for a directory, whose number is then in `row`.
    batch: u32,
    row: u32,
}

/// Larger than the place of any batch, so that a row comes before the contents of the directory of its name.
const DIRECTORY: u32 = u32::MAX;

struct Directory<'a> {
    name: &'a [u8],
    parent: u32,
    /// How many rows and directories are in it.
    items: usize,
}

/// The directories above all rows. The first one is none: the roots are in it.
struct Tree<'a> {
    directories: Vec<Directory<'a>>,
    /// By address; the batches keep the nodes alive.
    by_node: HashMap<*const DirNode, u32, foldhash::fast::RandomState>,
    /// Two nodes may stand for one directory; here they meet.
    by_name: HashMap<(u32, &'a [u8]), u32, foldhash::fast::RandomState>,
    unknown: Vec<&'a DirNode>,
}

impl<'a> Tree<'a> {
    fn new() -> Tree<'a> {
        Tree {
            directories: vec![Directory {
                name: &[],
                parent: 0,
                items: 0,
            }],
            by_node: HashMap::default(),
            by_name: HashMap::default(),
            unknown: Vec::new(),
        }
    }

    /// The number of a directory, which is entered with all above it if it is new.
    fn number(&mut self, node: &'a DirNode) -> u32 {
        let mut number = 0;
        for node in node.ancestors() {
            if let Some(&known) = self.by_node.get(&std::ptr::from_ref(node)) {
                number = known;
                break;
            }
            self.unknown.push(node);
        }
        while let Some(node) = self.unknown.pop() {
            number = self.enter(number, node);
            self.by_node.insert(node, number);
        }
        number
    }

    fn enter(&mut self, parent: u32, node: &'a DirNode) -> u32 {
        let name = if node.is_root() {
            node.root_path().as_os_str().as_encoded_bytes()
        } else {
            node.name().as_bytes()
        };
        *self.by_name.entry((parent, name)).or_insert_with(|| {
            let number = count(self.directories.len());
            self.directories[parent as usize].items += 1;
            self.directories.push(Directory {
                name,
                parent,
                items: 0,
            });
            number
        })
    }
}

/// All rows of the batches in path order, or in the reverse of it. Rows of one path stay as they came in either.
pub(crate) fn in_path_order(
    batches: &[&EntryBatch],
    descending: bool,
    workers: &Workers,
) -> Vec<Place> {
    let mut tree = Tree::new();
    // The number of the directory of each group of each batch.
    let mut numbers = Vec::new();
    let mut rows = 0;
    for batch in batches {
        for (node, group) in batch.groups() {
            let number = tree.number(node);
            tree.directories[number as usize].items += group.len();
            rows += group.len();
            numbers.push(number);
        }
    }
    let directories = tree.directories;

    let mut ranges = Vec::with_capacity(directories.len());
    let mut end = 0;
    for directory in &directories {
        ranges.push(end..end);
        end += directory.items;
    }
    let mut items = vec![
        Item {
            prefix: 0,
            batch: 0,
            row: 0
        };
        end
    ];
    let mut put = |directory: u32, batch, row| {
        let range: &mut Range<usize> = &mut ranges[directory as usize];
        items[range.end] = Item {
            prefix: 0,
            batch,
            row,
        };
        range.end += 1;
    };
    let mut number = numbers.into_iter();
    for (at, batch) in (0..).zip(batches) {
        for ((_, group), directory) in batch.groups().zip(&mut number) {
            (count(group.start)..count(group.end)).for_each(|row| put(directory, at, row));
        }
    }
    for (at, directory) in (0..).zip(&directories).skip(1) {
        put(directory.parent, DIRECTORY, at);
    }

    sort_names(&mut items, &ranges, descending, workers, |item: &Item| {
        let row = item.row as usize;
        match item.batch {
            DIRECTORY => directories[row].name,
            batch => batches[batch as usize].entries().name(row).as_bytes(),
        }
    });

    let mut order = Vec::with_capacity(rows);
    // What is left of each directory that the walk is in.
    let mut stack = vec![ranges[0].clone()];
    while let Some(rest) = stack.last_mut() {
        match rest.next().map(|at| items[at]) {
            Some(Item {
                batch: DIRECTORY,
                row,
                ..
            }) => stack.push(ranges[row as usize].clone()),
            Some(Item { batch, row, .. }) => order.push(Place { batch, row }),
            None => {
                stack.pop();
            }
        }
    }
    order
}

/// Sorts each of the ranges, which follow each other, by names.
fn sort_names<'a>(
    items: &mut [Item],
    ranges: &[Range<usize>],
    descending: bool,
    workers: &Workers,
    name: impl Fn(&Item) -> &'a [u8] + Send + Sync,
) {
    let mut rest = items;
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (part, after) = rest.split_at_mut(range.len());
        rest = after;
        if part.len() > 1 {
            parts.push(part);
        }
    }
    workers.for_each(parts, |part| {
        let first = name(&part[0]);
        let shared = part.iter().fold(first.len(), |shared, item| {
            byte_prefix::shared(&first[..shared], name(item))
        });
        for item in part.iter_mut() {
            item.prefix = byte_prefix::head(&name(item)[shared..]);
        }
        let compare = |a: &Item, b: &Item| {
            let is_directory = |item: &Item| item.batch == DIRECTORY;
            let by_name = (a.prefix.cmp(&b.prefix))
                .then_with(|| name(a)[shared..].cmp(&name(b)[shared..]))
                .then_with(|| is_directory(a).cmp(&is_directory(b)));
            let in_direction = match descending {
                true => by_name.reverse(),
                false => by_name,
            };
            in_direction.then_with(|| (a.batch, a.row).cmp(&(b.batch, b.row)))
        };
        if part.len() < LARGE {
            part.sort_unstable_by(compare);
        } else {
            workers.sort(part, compare);
        }
    });
}

/// A number of rows or directories.
fn count(number: usize) -> u32 {
    u32::try_from(number).expect("four thousand million rows or directories in memory")
}
