//! Small trees for the test file system, made from a seed, with the places at which something happens to them.

use statline_platform::Kind;
use statline_testfs::fuse::{Kind as TreeKind, Tree};

use crate::random::Random;
use crate::truth::{Truth, parent};

/// A tree with what is known of it.
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) tree: Tree,
    pub(crate) truth: Truth,
    /// Right below the root, half-way down, far down.
    pub(crate) positions: [Position; 3],
}

/// Places in one directory, each of another kind.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) directory: Vec<u8>,
    /// The entries of the directory in the order of its listing, without the path.
    pub(crate) listed: Vec<Vec<u8>>,
    pub(crate) file: Vec<u8>,
    pub(crate) link: Vec<u8>,
}

/// A tree of forty to sixty entries.
///
/// Three directories, at depth 1, 2 and 5, have everything that something can happen to: files, links, directories
/// with something in them. More is scattered about, some of it with names that are no text.
pub(crate) fn plant(random: &mut Random) -> Planted {
    let tops: [&[u8]; 3] = [b"top", b"branch/mid", b"a/b/c/d/deep"];
    let mut tree = Tree::new();
    let mut number = 0;
    for top in tops {
        let at = |name: &[u8]| [top, b"/", name].concat();
        for _ in 0..3 + random.below(4) {
            number += 1;
            let mut name = format!("f{number}").into_bytes();
            if random.chance(3) {
                name.extend(random.name(5));
            }
            tree = tree.file(at(&name), random.next() >> (1 + random.below(60)));
        }
        tree = tree
            .file(at(b"file"), 7)
            .symlink(at(b"link"), "file")
            .symlink(at(b"astray"), "../../nowhere")
            .special(at(b"pipe"), TreeKind::Fifo)
            .file(at(b"sub/inner"), 1)
            .directory(at(b"sub/empty"));
    }
    for _ in 0..random.below(8) {
        number += 1;
        let above = random.pick::<&[u8]>(&[b"", b"branch/", b"a/b/", b"a/b/c/"]);
        tree = tree.file([above, format!("x{number}").as_bytes()].concat(), 0);
    }
    let entries: Vec<(Vec<u8>, Kind)> = tree
        .entries()
        .map(|entry| (entry.path, kind(entry.kind)))
        .collect();
    let positions = tops.map(|top| {
        let listed = entries
            .iter()
            .filter(|(path, _)| parent(path) == top)
            .map(|(path, _)| path.clone())
            .collect();
        Position {
            directory: top.to_vec(),
            listed,
            file: [top, b"/file"].concat(),
            link: [top, b"/link"].concat(),
        }
    });
    Planted {
        truth: Truth::new(entries),
        tree,
        positions,
    }
}

/// The kind of an entry of a test file system as statline calls it.
pub(crate) fn kind(kind: TreeKind) -> Kind {
    match kind {
        TreeKind::File => Kind::File,
        TreeKind::Directory => Kind::Directory,
        TreeKind::Symlink => Kind::Symlink,
        TreeKind::Fifo => Kind::Fifo,
        TreeKind::Socket => Kind::Socket,
        TreeKind::CharDevice => Kind::CharDevice,
        TreeKind::BlockDevice => Kind::BlockDevice,
    }
}

impl Planted {
    /// What is right below the root, in the order of its listing.
    pub(crate) fn top(&self) -> Vec<Vec<u8>> {
        let entries = self.tree.entries().map(|entry| entry.path);
        entries.filter(|path| !path.contains(&b'/')).collect()
    }
}
