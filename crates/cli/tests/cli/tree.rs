//! A small tree of known contents.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

/// A directory that holds `data`: files of known sizes, a hard link, symbolic links, and a name that acts on
/// terminals. The rest of the directory is for outputs.
pub(crate) fn small() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir_all(data.join("src/deep/er")).unwrap();
    fs::create_dir_all(data.join("target")).unwrap();
    for (name, size) in [
        ("README.md", 10),
        ("src/lib.rs", 3_000),
        ("src/main.rs", 200),
        ("src/deep/a.o", 70_000),
        ("src/deep/er/b.o", 5),
        ("target/b.rs", 40),
        ("red\u{1b}[31m\u{202e}.txt", 1),
    ] {
        fs::write(data.join(name), vec![b'x'; size]).unwrap();
    }
    fs::hard_link(data.join("src/lib.rs"), data.join("target/again.rs")).unwrap();
    symlink("src", data.join("link")).unwrap();
    symlink("nowhere", data.join("dangling")).unwrap();
    home
}

/// How many files [`wide`] makes: their paths fill a pipe and a small file system, and a few chunks of an output.
pub(crate) const WIDE: usize = 3_000;

/// A directory that holds `data`, with many files of long names.
pub(crate) fn wide() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    for number in 0..WIDE {
        fs::write(data.join(format!("{number:0>200}")), "").unwrap();
    }
    home
}

/// The number of entries in [`small`]'s `data`, itself included.
pub(crate) const ENTRIES: usize = 15;

/// Puts a job into a file of the directory.
pub(crate) fn job(home: &Path, text: &str) -> String {
    fs::write(home.join("job.toml"), text).unwrap();
    "job.toml".to_owned()
}
