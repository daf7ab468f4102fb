//! A whole tree as a list, compared with what the standard library reads.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use statline_platform::Kind;
use statline_stages::{CollectError, collect_with_batched_stats, collect_with_errors};

/// Inode and size of everything below `root`, by relative path.
fn walk(root: &Path, relative: &Path, found: &mut BTreeMap<PathBuf, (u64, u64)>) {
    let metadata = fs::symlink_metadata(root.join(relative)).unwrap();
    found.insert(relative.to_owned(), (metadata.ino(), metadata.size()));
    if metadata.is_dir() {
        for entry in fs::read_dir(root.join(relative)).unwrap() {
            walk(root, &relative.join(entry.unwrap().file_name()), found);
        }
    }
}

#[test]
fn the_list_is_the_whole_tree_in_path_order() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b", "b.d/x", "b/c", "b/c.d", "a-", "a/é"] {
        fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("b/c/file"), "12345").unwrap();
    symlink("nowhere", directory.path().join("b/link")).unwrap();
    let mut expected = BTreeMap::new();
    walk(directory.path(), Path::new(""), &mut expected);

    let entries = collect_with_batched_stats(directory.path(), false).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| {
            let metadata = entry.metadata();
            let inode = metadata.file_id().unwrap().low();
            let path = entry.relative_path().to_owned();
            (path, (inode, metadata.size().unwrap()))
        })
        .collect();
    // Paths compare by components, as the list is ordered.
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    assert_eq!((entries[0].depth(), entries[0].name()), (0, "".as_ref()));
    let file = entries.iter().find(|entry| entry.name() == "file").unwrap();
    assert_eq!(
        (file.depth(), file.metadata().kind()),
        (3, Some(Kind::File))
    );
}

#[test]
fn every_name_of_a_hostile_tree_is_listed() {
    use std::os::unix::ffi::OsStrExt;

    let directory = tempfile::tempdir().unwrap();
    let tree = statline_testfs::hostile_tree(&directory.path().join("tree")).unwrap();
    let collection = collect_with_errors(tree.root(), false).unwrap();
    let found: Vec<&[u8]> = collection.entries[1..]
        .iter()
        .map(|entry| entry.relative_path().as_os_str().as_bytes())
        .collect();
    let mut expected: Vec<&[u8]> = tree.paths().iter().map(Vec::as_slice).collect();
    expected.sort_by_key(|path| path.split(|&byte| byte == b'/').collect::<Vec<_>>());
    assert_eq!(found.len(), expected.len());
    assert!(found == expected);
}

#[test]
fn a_file_is_a_list_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "123").unwrap();
    let entries = collect_with_batched_stats(&file, false).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].relative_path(), Path::new(""));
    assert_eq!(entries[0].metadata().size(), Some(3));
}

#[test]
fn a_followed_link_stands_for_what_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("real/below")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    symlink("..", directory.path().join("real/up")).unwrap();
    let list = |follow| {
        collect_with_batched_stats(directory.path(), follow)
            .unwrap()
            .into_iter()
            .map(|entry| {
                (
                    entry.relative_path().display().to_string(),
                    entry.metadata().kind().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let entry = |path: &str, kind| (path.to_owned(), kind);
    assert_eq!(
        list(false),
        [
            entry("", Kind::Directory),
            entry("dangling", Kind::Symlink),
            entry("link", Kind::Symlink),
            entry("real", Kind::Directory),
            entry("real/below", Kind::Directory),
            entry("real/up", Kind::Symlink),
        ]
    );
    let followed: Vec<String> = list(true).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        followed,
        [
            "",
            "dangling",
            "link",
            "link/below",
            "link/up",
            "real",
            "real/below",
            "real/up"
        ]
    );
}

#[test]
fn a_root_that_is_not_there_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = collect_with_errors(&missing, false).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, CollectError::Failed { .. }));
    assert!(
        message.contains("missing") && message.contains("No such file"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_read_is_an_error_in_one_form_and_listed_in_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let error = collect_with_batched_stats(directory.path(), false).unwrap_err();
    assert!(matches!(error, CollectError::Incomplete { errors, .. } if errors.len() == 1));
    let collection = collect_with_errors(directory.path(), false).unwrap();
    assert_eq!((collection.entries.len(), collection.errors.len()), (2, 1));
    assert_eq!(collection.errors[0].code, "EACCES");
}
