//! A tree of everything that a scanner may meet.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::remove_tree;

/// How many levels of one-letter directories the deep chain has: a path of 6,000 bytes, where Linux
/// takes 4,095.
const DEEP_LEVELS: usize = 3_000;

/// How many levels of directories with the longest possible names the long chain has: 5,120 bytes.
const LONG_LEVELS: usize = 20;

/// How many files are in the one large directory: several reads of 32 KiB.
const MANY: usize = 5_000;

/// Names that break parsers, terminals, shells and formats.
const NAMES: &[&[u8]] = &[
    b"plain",
    b".hidden",
    b"...",
    b"new\nline",
    b"tab\tbed",
    b"carriage\rreturn",
    b"red \x1b[31malert\x1b[0m",
    b"\x01\x07\x08\x7f",
    b"it's \"quoted\" `twice`",
    b"-rf",
    b"--help",
    b" spaces around ",
    b"trailing.",
    b"back\\slash",
    b"*?[a-z]{x,y}",
    b"$HOME;id|true&",
    b"=1+1,2;3",
    b"percent%2e%2e",
    b"c:colon",
    // Right-to-left override: shows as "txt.exe" on a screen that obeys.
    "bidi \u{202e}exe.txt".as_bytes(),
    "bom \u{feff}".as_bytes(),
    "line separator \u{2028}".as_bytes(),
    "crab \u{1f980}".as_bytes(),
    // One letter, composed and not.
    "\u{e9}".as_bytes(),
    "e\u{301}".as_bytes(),
    // No UTF-8, and equal to each other once made so.
    b"l\xfe",
    b"l\xff",
    // Surrogates, which no UTF-8 may hold.
    b"\xed\xa0\x80",
    &[b'n'; 255],
    &[0xff; 255],
];

/// Modification times at the edges: seconds since 1970 and nanoseconds.
const TIMES: &[(&str, i64, i64)] = &[
    ("1901", -2_147_483_648, 1),
    ("1969", -1, 250_000_000),
    ("1970", 0, 0),
    ("2001", 1_000_000_000, 999_999_999),
    ("2038", 2_147_483_648, 0),
    ("2100", 4_102_444_800, 123_456_789),
    ("2400", 13_569_465_600, 1),
];

/// A tree of everything that a scanner may meet, made by [`hostile_tree`]. Removed when dropped.
#[derive(Debug)]
pub struct HostileTree {
    root: PathBuf,
    paths: Vec<Vec<u8>>,
}

impl HostileTree {
    /// The directory that holds the tree.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of everything that was made, relative to the root, which is not among them. In no
    /// particular order, each once.
    #[must_use]
    pub fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }
}

impl Drop for HostileTree {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.root) {
            // Nobody can handle it here, and a leftover in the temporary directory harms no test.
            eprintln!("cannot remove {}: {error}", self.root.display());
        }
    }
}

/// Makes a hostile tree in `root`, which must not exist.
///
/// It holds, each in a directory of its own:
///
/// - `names`: files whose names break parsers, terminals, shells and formats;
/// - `kinds`: FIFO, socket, block and character device, hard links, a sparse file of 5 GiB, and
///   symbolic links that dangle, loop, lead to a file, to a directory and to a target of 4,095
///   bytes;
/// - `times`: files last modified between 1901 and 2400;
/// - `modes`: files and directories with unusual modes and owners, some unreadable;
/// - `empty`: nothing;
/// - `many`: 5,000 files;
/// - `deep`: a chain of 3,000 directories with a file at the end, and `long`, one of 20 directories
///   with names of 255 bytes: the paths of both are longer than any system call takes.
///
/// What needs rights that the process does not have (devices, owners), or what the file system does
/// not know (names that are no UTF-8), is left out.
///
/// # Errors
/// If the system refuses anything else. What was made until then is removed.
pub fn hostile_tree(root: &Path) -> io::Result<HostileTree> {
    fs::create_dir(root)?;
    // From here on dropped, so removed, on errors too.
    let mut tree = HostileTree {
        root: root.to_owned(),
        paths: Vec::new(),
    };
    tree.names()?;
    tree.kinds()?;
    tree.times()?;
    tree.modes()?;
    tree.directory("empty")?;
    tree.many()?;
    tree.chain("deep", b"d", DEEP_LEVELS)?;
    tree.chain("long", &[b'x'; 255], LONG_LEVELS)?;
    Ok(tree)
}

impl HostileTree {
    fn names(&mut self) -> io::Result<()> {
        let names = self.directory("names")?;
        for name in NAMES {
            match file(&names, OsStr::from_bytes(name)) {
                Ok(_) => self.made("names", name),
                // File systems that insist on UTF-8.
                Err(Errno::ILSEQ | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn kinds(&mut self) -> io::Result<()> {
        let kinds = self.directory("kinds")?;
        for (name, kind, device) in [
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
            ("char", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
            ("block", FileType::BlockDevice, rustix::fs::makedev(7, 300)),
        ] {
            match rustix::fs::mknodat(&kinds, name, kind, Mode::RUSR, device) {
                Ok(()) => self.made("kinds", name.as_bytes()),
                // Devices, without the right to make them.
                Err(Errno::PERM | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }

        file(&kinds, "hard-1")?;
        rustix::fs::linkat(&kinds, "hard-1", &kinds, "hard-2", AtFlags::empty())?;
        rustix::fs::linkat(&kinds, "hard-1", &kinds, "hard-3", AtFlags::empty())?;
        rustix::fs::ftruncate(file(&kinds, "sparse")?, 5 << 30)?;
        rustix::io::write(file(&kinds, "contents")?, &[b'x'; 5_000])?;

        let far = "f/".repeat(2_047) + "f";
        let links = [
            ("dangling", "nowhere"),
            ("loop-a", "loop-b"),
            ("loop-b", "loop-a"),
            ("loop-self", "loop-self"),
            ("to-file", "contents"),
            ("to-directory", "../many"),
            ("to-parent", ".."),
            ("to-root", "/"),
            ("to-far", &far),
        ];
        for (name, target) in links {
            rustix::fs::symlinkat(target, &kinds, name)?;
        }
        let names = links.iter().map(|(name, _)| *name);
        for name in names.chain(["hard-1", "hard-2", "hard-3", "sparse", "contents"]) {
            self.made("kinds", name.as_bytes());
        }
        Ok(())
    }

    fn times(&mut self) -> io::Result<()> {
        let times = self.directory("times")?;
        for &(name, tv_sec, tv_nsec) in TIMES {
            let time = Timespec { tv_sec, tv_nsec };
            let stamps = Timestamps {
                last_access: time,
                last_modification: time,
            };
            rustix::fs::futimens(file(&times, name)?, &stamps)?;
            self.made("times", name.as_bytes());
        }
        Ok(())
    }

    fn modes(&mut self) -> io::Result<()> {
        let modes = self.directory("modes")?;
        for (name, mode) in [
            ("none", 0),
            ("set-user-id", 0o4755),
            ("set-group-id", 0o2755),
            ("all", 0o7777),
        ] {
            file(&modes, name)?;
            self.mode("modes", name, mode)?;
        }
        for (name, mode) in [
            ("sticky", 0o1777),
            ("unreadable", 0),
            ("unsearchable", 0o600),
        ] {
            rustix::fs::mkdirat(&modes, name, Mode::RWXU)?;
            file(&open(&modes, name)?, "inside")?;
            self.made("modes", format!("{name}/inside").as_bytes());
            self.mode("modes", name, mode)?;
        }
        file(&modes, "owned")?;
        self.made("modes", b"owned");
        let (owner, group) = (Uid::from_raw(4_000_000_000), Gid::from_raw(65_534));
        match rustix::fs::chownat(&modes, "owned", Some(owner), Some(group), AtFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn many(&mut self) -> io::Result<()> {
        let many = self.directory("many")?;
        for index in 0..MANY {
            let name = format!("file-{index:04}");
            file(&many, &name)?;
            self.made("many", name.as_bytes());
        }
        Ok(())
    }

    /// Makes a chain of `levels` directories with a file in the last.
    fn chain(&mut self, top: &str, name: &[u8], levels: usize) -> io::Result<()> {
        let mut directory = self.directory(top)?;
        let mut path = top.as_bytes().to_vec();
        for _ in 0..levels {
            rustix::fs::mkdirat(&directory, name, Mode::RWXU)?;
            directory = open(&directory, name)?;
            path.push(b'/');
            path.extend_from_slice(name);
            self.paths.push(path.clone());
        }
        file(&directory, "end")?;
        path.extend_from_slice(b"/end");
        self.paths.push(path);
        Ok(())
    }

    /// Makes a directory right below the root and opens it.
    fn directory(&mut self, name: &str) -> io::Result<OwnedFd> {
        let path = self.root.join(name);
        fs::create_dir(&path)?;
        self.paths.push(name.as_bytes().to_vec());
        open(CWD, path.as_os_str().as_bytes())
    }

    fn mode(&mut self, directory: &str, name: &str, mode: u32) -> io::Result<()> {
        let path = self.root.join(directory).join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        self.made(directory, name.as_bytes());
        Ok(())
    }

    fn made(&mut self, directory: &str, name: &[u8]) {
        self.paths.push([directory.as_bytes(), b"/", name].concat());
    }
}

fn file(directory: &OwnedFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_what_it_says_and_goes_away() {
        // In memory where there is such a place: this makes and removes thousands of entries.
        let parent = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let tree = hostile_tree(&parent.path().join("tree")).unwrap();
        let mut paths = tree.paths().to_vec();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), tree.paths().len(), "a path is listed twice");
        assert!(paths.len() > MANY + DEEP_LEVELS + LONG_LEVELS + NAMES.len());
        assert!(paths.iter().any(|path| path.len() > 6_000));
        for path in paths.iter().filter(|path| path.len() < 4_000) {
            let path = tree.root().join(OsStr::from_bytes(path));
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }
        drop(tree);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
