//! What a store promises, whatever happens to its file.

use std::fs;
use std::sync::Arc;

use super::directory::{Directory, DirectoryWriter, Fresh, Remembered};
use super::*;
use crate::ContentHash;
use crate::fixtures::{file, listing, time};

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, Access::Own, &|| true)
}

fn about(run: &str) -> LastRun {
    LastRun {
        run_id: run.to_owned(),
        job: "nightly".to_owned(),
        finished: "2026-02-03T04:05:06Z".to_owned(),
    }
}

fn value(size: u64) -> Vec<u8> {
    let entry = Remembered {
        metadata: file(|metadata| _ = metadata.set_size(size)),
        is_settled: true,
        looked_at: 5,
    };
    let mut fresh = Fresh::default();
    fresh.push(b"name", &entry);
    let mut writer = DirectoryWriter::after(&Directory::default(), &fresh);
    writer.add(&fresh, 0);
    let mut value = Vec::new();
    assert!(writer.finish(&mut value));
    value
}

fn digest(contents: &[u8]) -> Digest {
    Digest {
        size: contents.len() as u64,
        modified: time(1, 2),
        changed: time(3, 4),
        looked_at: time(9, 0),
        hash: ContentHash::of(contents),
    }
}

/// Commits, or not, a directory and a digest.
fn write(path: &Path, size: u64, delivers: bool) {
    let store = open(path).unwrap();
    let root = store.root(b"root").unwrap();
    store
        .put_directory(&Key::of_path(root, b"d"), &value(size))
        .unwrap();
    let file = FileId::from(size);
    store.put_digests(root, [(file, digest(b"x"))]).unwrap();
    store.run().writers = 1;
    let about = about(&size.to_string());
    store.finish(delivers.then_some(&about)).unwrap();
}

/// What a store remembers of the directory, and when it was last written.
fn read(store: &Store) -> Option<(Vec<u8>, String)> {
    let root = store.root_before(b"root").unwrap()?;
    let mut value = Vec::new();
    assert!(
        store
            .directory_before(&Key::of_path(root, b"d"), &mut value)
            .unwrap()
    );
    Some((value, store.last_run().unwrap().unwrap().run_id))
}

#[test]
fn what_was_committed_is_there_and_what_was_not_is_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    write(&path, 1, false);
    assert_eq!(read(&open(&path).unwrap()), None);
    write(&path, 2, true);
    write(&path, 3, false);
    let store = open(&path).unwrap();
    assert_eq!(read(&store), Some((value(2), "2".to_owned())));
    let root = store.root(b"root").unwrap();
    assert_eq!(
        store.digest_before(root, 2_u64.into()).unwrap(),
        Some(digest(b"x"))
    );
    assert_eq!(store.digest_before(root, 3_u64.into()).unwrap(), None);
    assert_ne!(store.root(b"other").unwrap(), root);
    assert_eq!(store.root(b"other").unwrap(), store.root(b"other").unwrap());
    assert!(store.put_aside().is_none());
}

#[test]
fn a_run_reads_what_was_there_before_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    write(&path, 1, true);
    let store = open(&path).unwrap();
    let root = store.root(b"root").unwrap();
    let key = Key::of_path(root, b"d");
    store.put_directory(&key, &[]).unwrap();
    store.forget_digests(root, [1_u64.into()]).unwrap();
    let mut found = Vec::new();
    assert!(store.directory_before(&key, &mut found).unwrap());
    assert_eq!(found, value(1));
    assert!(!store.directory_now(&key, &mut found).unwrap());
    assert!(store.digest_before(root, 1_u64.into()).unwrap().is_some());
    store.run().writers = 1;
    store.finish(Some(&about("2"))).unwrap();
    drop(store);
    let store = open(&path).unwrap();
    assert!(!store.directory_before(&key, &mut found).unwrap());
    assert!(store.digest_before(root, 1_u64.into()).unwrap().is_none());
}

#[test]
fn it_commits_when_all_have_delivered() {
    let place = tempfile::tempdir().unwrap();
    for (spoils, committed) in [(false, true), (true, false)] {
        let path = place.path().join(format!("store-{spoils}"));
        let store = Arc::new(open(&path).unwrap());
        let writers = [store.writer(), store.writer(), store.writer()];
        store.root(b"root").unwrap();
        let [mut first, second, mut third] = writers;
        first.end(Some(&about("1"))).unwrap();
        match spoils {
            true => drop(second),
            false => { second }.end(Some(&about("1"))).unwrap(),
        }
        third.end(Some(&about("1"))).unwrap();
        drop((first, third, store));
        let found = open(&path).unwrap().root_before(b"root").unwrap();
        assert_eq!(found.is_some(), committed);
    }
}

#[test]
fn one_run_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let store = open(&path).unwrap();
    let error = open(&path).err().unwrap().to_string();
    assert!(error.ends_with("store: another run uses it"), "{error}");
    drop(store);
    open(&path).unwrap();
    assert_eq!(listing(place.path()).len(), 1);
}

#[cfg(unix)]
#[test]
fn it_is_for_its_owner_alone_and_never_behind_a_link() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let link = place.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(open(&link).is_err());
    symlink(place.path().join("nowhere"), place.path().join("dangling")).unwrap();
    assert!(open(&place.path().join("dangling")).is_err());
    assert!(!place.path().join("nowhere").exists());
    assert!(open(place.path()).is_err());
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("letter");
    for contents in [&b"Dear reader"[..], &[0; 9000]] {
        fs::write(&path, contents).unwrap();
        let error = open(&path).err().unwrap();
        assert!(matches!(error.problem, StoreProblem::NotAStore), "{error}");
        assert_eq!(fs::read(&path).unwrap(), contents);
    }
    assert_eq!(listing(place.path()).len(), 1);
    // An empty file holds nothing that could be lost.
    fs::write(&path, b"").unwrap();
    write(&path, 1, true);
    assert!(read(&open(&path).unwrap()).is_some());
}

#[test]
fn whoever_reads_alters_nothing_and_needs_a_store() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    assert!(Store::open(&path, Access::Read, &|| true).is_err());
    assert!(!path.exists());
    write(&path, 1, true);
    let before = fs::read(&path).unwrap();
    let store = Store::open(&path, Access::Read, &|| true).unwrap();
    let other = Store::open(&path, Access::Read, &|| true).unwrap();
    assert_eq!(read(&store), read(&other));
    assert!(read(&store).is_some());
    drop((store, other));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, &before[..before.len() - 1]).unwrap();
    let error = Store::open(&path, Access::Read, &|| true).err().unwrap();
    assert!(matches!(error.problem, StoreProblem::Damaged(_)), "{error}");
    assert_eq!(listing(place.path()).len(), 1);
}

/// Puts other bytes in place of a store's and opens it: it is as it was, or it is empty and the other aside.
fn try_damaged(path: &Path, damaged: &[u8], sound: &Option<(Vec<u8>, String)>, what: &str) -> bool {
    fs::write(path, damaged).unwrap();
    let store = open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = read(&store);
    let aside = store.put_aside().map(|(aside, _)| aside.to_owned());
    drop(store);
    match aside {
        Some(aside) => {
            assert_eq!(found, None, "{what}");
            assert_eq!(fs::read(&aside).unwrap(), damaged, "{what}");
            fs::remove_file(aside).unwrap();
            true
        }
        None => {
            assert!(
                found == *sound || found.is_none() && damaged.is_empty(),
                "{what}"
            );
            false
        }
    }
}

#[test]
fn whatever_byte_is_damaged_and_wherever_it_is_cut_somebody_sees_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    write(&path, 1, true);
    let length = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let is_sound = || place::open(&path, Access::Read, &|| true).is_ok();
    assert!(is_sound());
    // Wine takes milliseconds to open a file.
    let step = if cfg!(windows) { 101 } else { 1 };
    for at in (0..length).step_by(step) {
        let mut byte = [0];
        positioned::read_exact_at(&file, &mut byte, at).unwrap();
        positioned::write_all_at(&file, &[byte[0] ^ 1 << (at % 8)], at).unwrap();
        assert!(!is_sound(), "byte {at} was damaged");
        positioned::write_all_at(&file, &byte, at).unwrap();
    }
    assert!(is_sound());
    for at in (0..length).rev().step_by(step) {
        file.set_len(at).unwrap();
        assert!(!is_sound(), "it was cut at {at}");
    }
}

#[test]
fn a_store_that_is_no_good_is_put_aside_and_a_new_one_takes_its_place() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    write(&path, 1, true);
    let sound = read(&open(&path).unwrap());
    assert!(sound.is_some());
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    for at in (0..bytes.len()).step_by(1023) {
        damaged[at] ^= 1 << (at % 8);
        assert!(try_damaged(&path, &damaged, &sound, &format!("byte {at}")));
        damaged[at] = bytes[at];
        let what = format!("cut at {at}");
        assert_eq!(try_damaged(&path, &bytes[..at], &sound, &what), at > 0);
    }
    let mut foreign = bytes.clone();
    foreign[16] = 2;
    pages::seal(&mut foreign[..pages::PAGE], 0, 0);
    assert!(try_damaged(&path, &foreign, &sound, "another version"));
    // Sound pages in which the database finds nothing that it knows.
    let salt = u64::from_le_bytes(bytes[20..28].try_into().unwrap());
    let mut strange = bytes.clone();
    for (number, page) in strange.chunks_exact_mut(pages::PAGE).enumerate().skip(1) {
        page[..64].fill(0x5a);
        pages::seal(page, salt, number as u64);
    }
    assert!(try_damaged(&path, &strange, &sound, "strange pages"));
    // More than the header counts is what a killed process was about to add.
    let longer = [&bytes[..], &[7; 5000]].concat();
    assert!(!try_damaged(&path, &longer, &sound, "a longer file"));
}
