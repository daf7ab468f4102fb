//! A tree that is made, changed at random, and looked at by the standard library alone.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Numbers that are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What an entry is, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) target: Option<PathBuf>,
    pub(crate) inode: u64,
}

fn kind_of(found: &fs::Metadata) -> &'static str {
    match found.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_fifo() => "fifo",
        _ => "file",
    }
}

/// All entries below a directory, by their paths below it.
pub(crate) fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = kind_of(&found);
        if kind == "directory" {
            let entries = fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let below = path.strip_prefix(root).unwrap();
        let entry = Seen {
            kind,
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            size: found.size(),
            mtime: (found.mtime(), found.mtime_nsec()),
            target: (kind == "symlink").then(|| fs::read_link(&path).unwrap()),
            inode: found.ino(),
        };
        seen.insert(below.as_os_str().as_bytes().to_vec(), entry);
    }
    seen
}

/// Makes a tree with so many files, ten to a directory, some of them links.
pub(crate) fn make(root: &Path, files: usize) {
    let mut directory = root.to_owned();
    for number in 0..files {
        if number % 10 == 0 {
            let group = number / 10;
            directory = root.join(format!("d{}/e{}/f{group}", group % 7, group % 31));
            fs::create_dir_all(&directory).unwrap();
        }
        let path = directory.join(format!("n{number}"));
        match number % 20 {
            19 => symlink(format!("n{}", number - 1), &path).unwrap(),
            _ => fs::write(&path, vec![b'x'; number % 50]).unwrap(),
        }
    }
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 5);
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Does so many random things to the tree.
pub(crate) fn mutate(root: &Path, changes: usize, random: &mut Random) {
    let seen = look(root);
    let below = |path: &[u8]| root.join(std::ffi::OsStr::from_bytes(path));
    let all: Vec<(PathBuf, &'static str)> = seen
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, seen)| (below(path), seen.kind))
        .collect();
    let directories: Vec<&PathBuf> = all
        .iter()
        .filter(|(_, kind)| *kind == "directory")
        .map(|(path, _)| path)
        .collect();
    for number in 0..changes {
        let (path, kind) = &all[random.below(all.len())];
        let place = directories[random.below(directories.len())];
        // An earlier change may have made something else of it.
        let is_still = fs::symlink_metadata(path).is_ok_and(|found| kind_of(&found) == *kind);
        if !is_still || !place.is_dir() {
            continue;
        }
        let fresh = place.join(format!("new{number}"));
        match (random.below(9), *kind) {
            (0, "file") => set_mtime(path, 1_000_000_000 + number as u64),
            (1, "file") => fs::write(path, vec![b'y'; 1 + random.below(90)]).unwrap(),
            (2, "file") => File::create(path).map(drop).unwrap(),
            (3, "file" | "symlink") => fs::remove_file(path).unwrap(),
            (4, _) => fs::write(&fresh, vec![b'z'; random.below(90)]).unwrap(),
            (5, "file") => {
                let mode = 0o600 + random.below(0o100) as u32;
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            // A directory moves with all that is in it, but not into itself.
            (6, _) if !place.starts_with(path) => fs::rename(path, &fresh).unwrap(),
            (7, "file") => {
                fs::remove_file(path).unwrap();
                match random.below(3) {
                    0 => symlink("elsewhere", path).unwrap(),
                    1 => fs::create_dir(path).unwrap(),
                    _ => {
                        fs::create_dir(path).unwrap();
                        fs::write(path.join("inside"), "x").unwrap();
                    }
                }
            }
            (8, "directory") if random.below(8) == 0 => fs::remove_dir_all(path).unwrap(),
            (_, "symlink") => {
                fs::remove_file(path).unwrap();
                symlink(format!("target{number}"), path).unwrap();
            }
            _ => {}
        }
    }
}
