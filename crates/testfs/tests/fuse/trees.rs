//! What a mount shows is what its tree says.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom};
use statline_testfs::fuse::{Kind, Mounted, Names, Operation, Shape, TestFs, Tree};
use statline_testfs::{hostile_tree, remove_tree};

use super::{at, list, mount, open, stat};

/// Every path below a mount with its type, size and inode number, found without ever using a path
/// of more than one component.
fn scan(mounted: &Mounted) -> HashMap<Vec<u8>, (FileType, u64, u64)> {
    let mut found = HashMap::new();
    let mut pending = vec![(Vec::new(), open(mounted.path()).unwrap())];
    while let Some((path, directory)) = pending.pop() {
        let (entries, error) = list(&directory, usize::MAX);
        assert_eq!(error, None, "{path:?}");
        for (name, listed, inode) in entries {
            let below = if path.is_empty() {
                name.clone()
            } else {
                [path.as_slice(), &name].join(&b'/')
            };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = rustix::fs::statat(&directory, name.as_slice(), flags).unwrap();
            let kind = FileType::from_raw_mode(stat.st_mode);
            assert_eq!((listed, inode), (kind, stat.st_ino), "{below:?}");
            if kind == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                let child = rustix::fs::openat(&directory, &*name, flags, Mode::empty()).unwrap();
                pending.push((below.clone(), child));
            }
            let size = stat.st_size.unsigned_abs();
            assert!(found.insert(below, (kind, size, inode)).is_none());
        }
    }
    found
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

#[test]
fn a_generated_tree_is_found_as_its_truth_says() {
    let tree = Tree::new()
        .file("plain/of seven", 7)
        .file(b"plain/\x01\n\xff", 0)
        .file([b'x'; 255], 1 << 40)
        .symlink("plain/link", "of seven")
        .special("special/fifo", Kind::Fifo)
        .special("special/socket", Kind::Socket)
        .special("special/char", Kind::CharDevice)
        .special("special/block", Kind::BlockDevice)
        .directory("empty")
        .shape("balanced", Shape::balanced(3, 3, 2).file_size(11))
        .shape("bytes", Shape::balanced(2, 2, 9).names(Names::Bytes))
        .shape("", Shape::files(100).names(Names::Padded(100)));
    for readdirplus in [false, true] {
        let fs = TestFs::generated(tree.clone()).readdirplus(readdirplus);
        let Some(mounted) = mount(fs) else { return };
        let truth: HashMap<_, _> = tree
            .entries()
            .map(|entry| (entry.path, (file_type(entry.kind), entry.size, entry.inode)))
            .collect();
        assert_eq!(scan(&mounted), truth);
        assert_eq!(
            std::fs::read(at(&mounted, "plain/of seven")).unwrap(),
            [0; 7]
        );
        let target = std::fs::read_link(at(&mounted, "plain/link")).unwrap();
        assert_eq!(target.as_os_str().as_bytes(), b"of seven");
        assert_eq!(stat(&at(&mounted, "balanced")).unwrap().st_nlink, 5);
    }
}

#[test]
fn a_real_tree_is_passed_through_with_its_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let real = hostile_tree(&directory.path().join("tree")).unwrap();
    let Some(mounted) = mount(TestFs::passthrough(real.root())) else {
        return;
    };
    let found = scan(&mounted);
    let mut paths: Vec<_> = found.keys().collect();
    let mut truth: Vec<_> = real.paths().iter().collect();
    paths.sort();
    truth.sort();
    assert_eq!(paths, truth);
    // Each component of a path is a call of its own, so not all those of the deep chain.
    let near = real.paths().iter().filter(|path| path.len() < 100);
    for path in near {
        let through = std::fs::symlink_metadata(at(&mounted, path)).unwrap();
        let there = real.root().join(std::ffi::OsStr::from_bytes(path));
        let there = std::fs::symlink_metadata(there).unwrap();
        let of = |metadata: &std::fs::Metadata| {
            let times = (
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime_nsec(),
            );
            let owner = (
                metadata.uid(),
                metadata.gid(),
                metadata.mode(),
                metadata.nlink(),
            );
            (
                metadata.ino(),
                metadata.size(),
                metadata.blocks(),
                metadata.rdev(),
                owner,
                times,
            )
        };
        assert_eq!(of(&through), of(&there), "{}", path.escape_ascii());
    }
}

#[test]
fn the_content_of_a_real_file_is_read_through() {
    let directory = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::create_dir(directory.path().join("below")).unwrap();
    std::fs::write(directory.path().join("below/file"), &content).unwrap();
    let Some(mounted) = mount(TestFs::passthrough(directory.path())) else {
        return;
    };
    assert_eq!(std::fs::read(at(&mounted, "below/file")).unwrap(), content);
    // Through the mount nothing is written.
    let written = std::fs::write(at(&mounted, "below/file"), "no");
    assert_eq!(super::errno(written), Some(libc::EROFS));
    assert_eq!(
        std::fs::read(directory.path().join("below/file")).unwrap(),
        content
    );
}

#[test]
fn a_tree_that_changes_is_seen_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mounted) = mount(TestFs::passthrough(directory.path())) else {
        return;
    };
    assert!(scan(&mounted).is_empty());
    std::fs::create_dir(directory.path().join("new")).unwrap();
    assert_eq!(scan(&mounted).len(), 1);
    remove_tree(&directory.path().join("new")).unwrap();
    assert!(stat(&at(&mounted, "new")).is_err());
}

#[test]
fn an_open_directory_stays_the_same_when_it_is_moved_and_replaced() {
    let real = tempfile::tempdir().unwrap();
    let there = |name: &str| real.path().join(name);
    std::fs::create_dir_all(there("a/below")).unwrap();
    std::fs::write(there("a/below/old"), "old").unwrap();
    let Some(mounted) = mount(TestFs::passthrough(real.path())) else {
        return;
    };
    let directory = open(&at(&mounted, "a/below")).unwrap();
    std::fs::rename(there("a"), there("b")).unwrap();
    std::fs::create_dir_all(there("a/below/new")).unwrap();
    assert_eq!(list(&directory, 9).0[0].0, b"old");
    let name = |name: &str| rustix::fs::statat(&directory, name, AtFlags::empty()).is_ok();
    assert!(name("old") && !name("new"));
    assert!(at(&mounted, "a/below/new").exists() && at(&mounted, "b/below/old").exists());
}

#[test]
fn what_has_been_replaced_is_not_passed_off_as_what_it_was() {
    let real = tempfile::tempdir().unwrap();
    let there = |name: &str| real.path().join(name);
    let hour = std::time::Duration::from_secs(3600);
    let fs = TestFs::passthrough(real.path())
        .entry_timeout(hour)
        .attribute_timeout(hour);
    let Some(mounted) = mount(fs) else { return };
    std::fs::create_dir(there("directory")).unwrap();
    std::fs::write(there("file"), "").unwrap();
    for name in ["directory", "file"] {
        stat(&at(&mounted, name)).unwrap();
        std::fs::rename(there(name), there("before")).unwrap();
        if name == "file" {
            std::fs::write(there(name), "").unwrap();
        } else {
            std::fs::create_dir(there(name)).unwrap();
        }
        let opened = std::fs::File::open(at(&mounted, name)).unwrap();
        let now = std::fs::metadata(there(name)).unwrap();
        assert_eq!(opened.metadata().unwrap().ino(), now.ino(), "{name}");
        std::fs::rename(there("before"), there(&format!("old {name}"))).unwrap();
    }
}

#[test]
fn more_real_directories_than_are_kept_open_are_passed_through() {
    let real = tempfile::tempdir().unwrap();
    for number in 0..1_200 {
        std::fs::create_dir_all(real.path().join(format!("{number}/x/y"))).unwrap();
    }
    let hour = std::time::Duration::from_secs(3600);
    // The kernel remembers them all, so they are not forgotten.
    let fs = TestFs::passthrough(real.path())
        .entry_timeout(hour)
        .attribute_timeout(hour);
    let Some(mounted) = mount(fs) else { return };
    assert_eq!(scan(&mounted).len(), 3_600);
}

#[test]
fn ten_million_entries_are_listed_from_any_place_without_going_through_those_before() {
    let tree = Tree::of(Shape::files(10_000_000));
    assert_eq!(tree.totals().files, 10_000_000);
    let Some(mounted) = mount(TestFs::generated(tree)) else {
        return;
    };
    let directory = open(mounted.path()).unwrap();
    assert_eq!(list(&directory, 50_000).0.len(), 50_000);
    // The first two places are those of `.` and `..`.
    rustix::fs::seek(&directory, SeekFrom::Start(9_999_990 + 2)).unwrap();
    let (last, error) = list(&directory, usize::MAX);
    let wanted: Vec<_> = (9_999_990..10_000_000)
        .map(|number| format!("f{number}"))
        .collect();
    assert_eq!(
        super::names(&last),
        wanted.iter().map(String::as_bytes).collect::<Vec<_>>()
    );
    assert_eq!(error, None);
    assert_eq!(stat(&at(&mounted, "f9999999")).unwrap().st_ino, last[9].2);
    assert!(stat(&at(&mounted, "f10000000")).is_err());
}

#[test]
fn a_million_sibling_directories_can_be_entered() {
    let tree = Tree::of(Shape::directories(1_000_000));
    assert_eq!(tree.totals().directories, 1_000_000);
    let Some(mounted) = mount(TestFs::generated(tree)) else {
        return;
    };
    let root = stat(mounted.path()).unwrap();
    assert_eq!(root.st_nlink, 1_000_002);
    let last = open(&at(&mounted, "d1000000")).unwrap();
    assert_eq!(list(&last, 1), (Vec::new(), None));
}

#[test]
fn five_thousand_levels_of_long_names_are_there() {
    let tree = Tree::of(Shape::chain(5_000, 200));
    let Some(mounted) = mount(TestFs::generated(tree.clone())) else {
        return;
    };
    let mut directory = open(mounted.path()).unwrap();
    let mut levels = 0;
    let mut length = 0;
    loop {
        let (entries, error) = list(&directory, 2);
        assert_eq!(error, None);
        let Some((name, _, _)) = entries.first() else {
            break;
        };
        assert_eq!((entries.len(), name.len()), (1, 200));
        directory = rustix::fs::openat(&directory, &**name, OFlags::RDONLY, Mode::empty()).unwrap();
        levels += 1;
        length += name.len() + 1;
    }
    assert_eq!(levels, 5_000);
    let deepest = tree.entries().last().unwrap();
    assert_eq!(deepest.path.len() + 1, length);
    assert_eq!(rustix::fs::fstat(&directory).unwrap().st_ino, deepest.inode);
}

#[test]
fn an_endless_directory_does_not_end() {
    let Some(mounted) = mount(TestFs::generated(Tree::new().shape("e", Shape::endless()))) else {
        return;
    };
    let directory = open(&at(&mounted, "e")).unwrap();
    assert_eq!(list(&directory, 300_000).0.len(), 300_000);
    assert!(mounted.counts().calls(Operation::Readdir) > 100);
}
