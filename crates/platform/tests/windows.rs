//! The backend of Windows on a real file system: one of Windows, or one that Wine shows.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::{ErrorKind, Read};
use std::os::windows::fs::{FileTimesExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_platform::{
    Backend, DirNode, DirectoryClass, Entries, Fault, Fields, Filesystem, Handle, Handles, Kind,
    Metadata, Name, NameBuf, Nt, Timestamp, error_code, statx,
};
use tempfile::TempDir;

fn name(name: &str) -> NameBuf {
    NameBuf::new(name.as_bytes()).unwrap()
}

/// Everything that a directory lists, with metadata.
fn list(backend: &Nt, directory: &Handle) -> std::io::Result<BTreeMap<String, Option<Metadata>>> {
    let mut entries = Entries::default();
    while backend.read_names(directory, &mut entries)? {}
    let rows = (0..entries.len()).map(|index| {
        let name = String::from_utf8(entries.name(index).as_bytes().to_vec()).unwrap();
        (name, entries.metadata(index).cloned())
    });
    let listed: BTreeMap<_, _> = rows.collect();
    assert_eq!(listed.len(), entries.len(), "a name came twice");
    Ok(listed)
}

fn list_path(backend: &Nt, path: &Path) -> BTreeMap<String, Option<Metadata>> {
    list(backend, &backend.open_root(path).unwrap()).unwrap()
}

/// A directory with files of different sizes, times, attributes and numbers of names.
fn tree() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    fs::create_dir(path.join("empty")).unwrap();
    fs::create_dir(path.join("full")).unwrap();
    fs::write(path.join("full/inner"), "inner").unwrap();
    for size in [0, 1, 4096, 70_000] {
        fs::write(path.join(format!("size-{size}")), vec![7; size]).unwrap();
    }
    for (at, nanoseconds) in [
        (0_i64, 100),
        (-315_619_200, 999_999_900),
        (2_208_988_800, 0),
    ] {
        let file = File::create(path.join(format!("time-{at}"))).unwrap();
        let time = match u64::try_from(at) {
            Ok(after) => UNIX_EPOCH + Duration::new(after, nanoseconds),
            Err(_) => UNIX_EPOCH - Duration::from_secs(-at as u64) + Duration::new(0, nanoseconds),
        };
        file.set_times(
            FileTimes::new()
                .set_modified(time)
                .set_accessed(time)
                .set_created(time),
        )
        .unwrap();
    }
    let read_only = path.join("read-only");
    fs::write(&read_only, "x").unwrap();
    let mut permissions = fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions).unwrap();
    fs::write(path.join("Größe €.txt"), "x").unwrap();
    fs::write(path.join("hard-1"), "hard").unwrap();
    fs::hard_link(path.join("hard-1"), path.join("hard-2")).unwrap();
    root
}

/// Lets a tree with a read-only file go.
#[expect(clippy::permissions_set_readonly_false, reason = "this is Windows")]
fn unlock(root: &Path) {
    let path = root.join("read-only");
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(false);
    fs::set_permissions(&path, permissions).unwrap();
}

fn time(time: SystemTime) -> Option<Timestamp> {
    Some(Timestamp::from(time))
}

#[test]
fn listed_metadata_is_what_the_standard_library_says() {
    let root = tree();
    let listed = list_path(&Nt::new(), root.path());
    let std: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(listed.len(), std.len());
    for entry in std {
        let std = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        let ours = listed[&name].as_ref().unwrap();
        let kind = if std.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        };
        assert_eq!(ours.kind(), Some(kind), "{name}");
        assert_eq!(ours.size(), Some(std.file_size()), "{name}");
        assert_eq!(
            ours.attributes(),
            Some(std.file_attributes().into()),
            "{name}"
        );
        assert_eq!(ours.modified(), time(std.modified().unwrap()), "{name}");
        assert_eq!(ours.accessed(), time(std.accessed().unwrap()), "{name}");
        assert_eq!(ours.born(), time(std.created().unwrap()), "{name}");
        let absent = Fields::MODE | Fields::UID | Fields::GID | Fields::NLINK | Fields::RDEV;
        assert!(!ours.fields().intersects(absent), "{name}");
    }
    let before_1970 = listed["time--315619200"]
        .as_ref()
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        (before_1970.seconds, before_1970.nanoseconds),
        (-315_619_200, 999_999_900)
    );
    unlock(root.path());
}

#[test]
fn every_class_that_the_volume_has_gives_the_same_records() {
    let root = tree();
    let best = Nt::new();
    let expected = list_path(&best, root.path());
    let volume = best.open_root(root.path()).unwrap();
    let volume = best.identify(&volume).unwrap().device;
    let used = best.class_of(volume).unwrap();
    let mut denied = Vec::new();
    for class in DirectoryClass::ALL {
        let backend = Nt::forced(class);
        let directory = backend.open_root(root.path()).unwrap();
        let listed = match list(&backend, &directory) {
            Ok(listed) => listed,
            Err(error) => {
                denied.push(class);
                assert!(error.raw_os_error().is_some(), "{class:?}: {error}");
                continue;
            }
        };
        // What a class does not tell cannot be the same.
        let without_id = matches!(class, DirectoryClass::Full | DirectoryClass::Directory);
        let common = match without_id {
            true => Fields::ALL - Fields::INODE,
            false => Fields::ALL,
        };
        let of = |rows: &BTreeMap<String, Option<Metadata>>| -> BTreeMap<String, Metadata> {
            rows.iter()
                .map(|(name, metadata)| {
                    let mut metadata = metadata.clone().unwrap();
                    metadata.keep(common);
                    (name.clone(), metadata)
                })
                .collect()
        };
        assert_eq!(of(&listed), of(&expected), "{class:?}");
    }
    // Wine 8 and FAT have no class 60, so that the way down is gone for real.
    let all_before = DirectoryClass::ALL
        .iter()
        .take_while(|class| **class != used);
    assert!(
        all_before.clone().all(|class| denied.contains(class)),
        "{used:?} {denied:?}"
    );
    assert!(denied.len() < DirectoryClass::ALL.len());
    println!("class {}, denied {denied:?}", used.number());
    unlock(root.path());
}

#[test]
fn a_directory_takes_one_query_for_64_kib_and_none_for_a_file() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        File::create(
            root.path()
                .join(format!("a-file-with-a-name-of-some-length-{number:05}")),
        )
        .unwrap();
    }
    let backend = Nt::new();
    let directory = backend.open_root(root.path()).unwrap();
    assert_eq!(list(&backend, &directory).unwrap().len(), 3000);
    let first = backend.counters();
    assert_eq!(first.files, 0);
    let whole_buffers = first.bytes / (64 * 1024);
    assert!(whole_buffers >= 5, "{first:?}");
    // The classes that were denied, a buffer that was not full, and the end.
    let denied = 3;
    assert!(
        first.queries <= whole_buffers + whole_buffers / 50 + denied + 2,
        "{first:?}"
    );

    // By now the class of the volume is known.
    backend.rewind(&directory).unwrap();
    assert_eq!(list(&backend, &directory).unwrap().len(), 3000);
    let second = backend.counters();
    assert!(
        second.queries - first.queries <= whole_buffers + whole_buffers / 50 + 2,
        "{second:?}"
    );
    assert_eq!(second.bytes - first.bytes, first.bytes);
}

#[test]
fn metadata_of_an_open_file_is_that_of_the_listing_and_knows_more() {
    let root = tree();
    let (listing, exact) = (Nt::new(), Nt::exact());
    let listed = list_path(&listing, root.path());
    let directory = exact.open_root(root.path()).unwrap();
    for (name, metadata) in list(&exact, &directory).unwrap() {
        assert!(
            metadata.is_none(),
            "an exact listing has no metadata: {name}"
        );
        let wanted = Fields::ALL - Fields::NLINK;
        let name_buf = NameBuf::new(name.as_bytes()).unwrap();
        let opened = exact
            .stat(&directory, name_buf.as_name(), wanted, false)
            .unwrap();
        assert_eq!(Some(&opened), listed[&name].as_ref(), "{name}");
    }
    let nlink = |entry: &str| {
        let found = exact
            .stat(&directory, name(entry).as_name(), Fields::NLINK, false)
            .unwrap();
        assert_eq!(found.fields(), Fields::NLINK);
        found.nlink()
    };
    assert_eq!((nlink("hard-1"), nlink("size-1")), (Some(2), Some(1)));
    let id = |entry: &str| listed[entry].as_ref().unwrap().file_id().unwrap();
    assert_eq!(id("hard-1"), id("hard-2"));
    assert_ne!(id("hard-1"), id("size-1"));
    let itself = exact
        .stat(&directory, Name::EMPTY, Fields::ALL, false)
        .unwrap();
    let identity = exact.identify(&directory).unwrap();
    assert_eq!(itself.kind(), Some(Kind::Directory));
    assert_eq!(itself.file_id(), Some(identity.file_id));
    assert_eq!(itself.device(), Some(identity.device));
    unlock(root.path());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let root = tree();
    let backend = Nt::new();
    let directory = backend.open_root(root.path()).unwrap();
    let open = |entry: &str| {
        backend
            .open_child(&directory, name(entry).as_name(), false)
            .unwrap_err()
    };
    assert_eq!(open("missing").kind(), ErrorKind::NotFound);
    assert_eq!(open("size-1").kind(), ErrorKind::NotADirectory);
    assert_eq!(error_code(&open("size-1")), "ENOTDIR");
    let file = backend.open_root(&root.path().join("size-1")).unwrap_err();
    assert_eq!(file.kind(), ErrorKind::NotADirectory);
    let missing = backend.open_root(&root.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let stat = backend.stat(&directory, name("missing").as_name(), Fields::ALL, false);
    assert_eq!(stat.unwrap_err().kind(), ErrorKind::NotFound);
    // No WTF-8, so no name of Windows.
    let no_name = NameBuf::new(b"\xFF").unwrap();
    let stat = backend.stat(&directory, no_name.as_name(), Fields::ALL, false);
    assert_eq!(error_code(&stat.unwrap_err()), "EILSEQ");
    unlock(root.path());
}

#[test]
fn files_are_read_and_compared_and_directories_are_none() {
    let root = tree();
    let backend = Nt::new();
    let directory = backend.open_root(root.path()).unwrap();
    let mut file = backend
        .open_file(&directory, name("hard-1").as_name(), false)
        .unwrap();
    let mut contents = String::new();
    file.read_to_string(&mut contents).unwrap();
    assert_eq!(contents, "hard");
    let listed = list(&backend, &directory).unwrap()["hard-1"]
        .clone()
        .unwrap();
    let fields = Fields::DEVICE | Fields::INODE | Fields::SIZE | Fields::MODIFIED;
    let mut of_listing = listed;
    of_listing.keep(fields);
    assert_eq!(backend.stat_file(&file, fields).unwrap(), of_listing);

    let error = backend
        .open_file(&directory, name("full").as_name(), false)
        .unwrap_err();
    assert_eq!(Fault::of(&error), Some(Fault::NotRegular), "{error}");
    unlock(root.path());
}

#[test]
fn a_file_that_somebody_has_for_himself_has_its_metadata() {
    let root = tree();
    let path = root.path().join("size-4096");
    let _alone = File::options()
        .read(true)
        .share_mode(0)
        .open(&path)
        .unwrap();
    let backend = Nt::exact();
    let directory = backend.open_root(root.path()).unwrap();
    let stat = backend.stat(&directory, name("size-4096").as_name(), Fields::SIZE, false);
    assert_eq!(stat.unwrap().size(), Some(4096));
    let error = backend
        .open_file(&directory, name("size-4096").as_name(), false)
        .unwrap_err();
    assert_eq!(error_code(&error), "EBUSY");
    unlock(root.path());
}

#[test]
fn a_directory_that_is_gone_is_not_found_or_has_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("gone");
    fs::create_dir(&path).unwrap();
    let backend = Nt::new();
    let directory = backend.open_root(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    match list(&backend, &directory) {
        Ok(listed) => assert!(listed.is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
}

/// A path with the prefix behind which Windows takes every name as it is.
fn verbatim(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap();
    let text = absolute.to_str().unwrap();
    match text.starts_with(r"\\?\") {
        true => absolute,
        false => PathBuf::from(format!(r"\\?\{text}")),
    }
}

#[test]
fn every_form_of_a_path_leads_to_the_same_root() {
    let root = tree();
    let backend = Nt::new();
    let backslashes = verbatim(root.path());
    let backslashes = backslashes.to_str().unwrap();
    let plain = backslashes.strip_prefix(r"\\?\").unwrap();
    let forms = [
        backslashes.to_owned(),
        backslashes.replace('\\', "/"),
        plain.to_owned(),
        plain.replace('\\', "/"),
        format!("{plain}\\"),
        format!("{}/./full/..", plain.replace('\\', "/")),
    ];
    let identity = |path: &str| {
        let handle = backend.open_root(Path::new(path));
        let handle = handle.unwrap_or_else(|error| panic!("{path}: {error}"));
        backend.identify(&handle).unwrap()
    };
    for form in &forms[1..] {
        assert_eq!(identity(form), identity(&forms[0]), "{form}");
    }
    assert_ne!(identity(&format!("{plain}\\full")), identity(plain));
    unlock(root.path());
}

#[test]
fn names_that_win32_would_change_are_entered_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let top = verbatim(root.path());
    for odd in ["dot.", "space ", "con", "nul.txt"] {
        fs::create_dir(top.join(odd)).unwrap();
        fs::write(top.join(odd).join("inner"), odd).unwrap();
    }
    let backend = Nt::new();
    let directory = backend.open_root(root.path()).unwrap();
    let listed = list(&backend, &directory).unwrap();
    assert_eq!(
        listed.keys().collect::<Vec<_>>(),
        ["con", "dot.", "nul.txt", "space "]
    );
    for odd in listed.keys() {
        let child = backend
            .open_child(&directory, name(odd).as_name(), false)
            .unwrap();
        let inner = list(&backend, &child).unwrap();
        let size = inner["inner"].as_ref().unwrap().size();
        assert_eq!(size, Some(odd.len() as u64), "{odd}");
    }
    fs::remove_dir_all(&top).unwrap();
}

#[test]
fn a_chain_of_directories_far_beyond_the_longest_path_is_walked() {
    const LEVELS: usize = 30;
    let root = tempfile::tempdir().unwrap();
    let long = "x".repeat(60);
    let mut deepest = verbatim(root.path());
    for _ in 0..LEVELS {
        deepest.push(&long);
    }
    fs::create_dir_all(&deepest).unwrap();
    fs::write(deepest.join("leaf"), "leaf").unwrap();
    let backend: Arc<dyn Backend> = Arc::new(Nt::new());
    // Few enough that directories above are closed and opened again.
    let handles = Handles::new(Arc::clone(&backend), 4);
    let mut node = handles.open_root(root.path()).unwrap();
    for _ in 0..LEVELS {
        let mut entries = Entries::default();
        let mut listing = handles.list(&node, &|| false).unwrap();
        while listing.read(&mut entries).unwrap() {}
        drop(listing);
        assert_eq!(entries.len(), 1);
        node = DirNode::child(&node, entries.name(0));
    }
    let pinned = handles.pin(&node, &|| false).unwrap();
    let leaf = backend
        .stat(&pinned, name("leaf").as_name(), Fields::SIZE, false)
        .unwrap();
    assert_eq!(leaf.size(), Some(4));
    assert!(node.path_bytes().len() > LEVELS * 60);
    drop(pinned);
    // A directory that is open is removed when it is closed.
    drop((node, handles));
    fs::remove_dir_all(verbatim(root.path()).join(&long)).unwrap();
}

#[test]
fn two_listers_of_one_directory_do_not_share_a_position() {
    let root = tree();
    let handles = Handles::new(Arc::new(Nt::new()), 8);
    let node = handles.open_root(root.path()).unwrap();
    let never = || false;
    let expected = list_path(&Nt::new(), root.path()).len();
    let mut first = handles.list(&node, &never).unwrap();
    let mut second = handles.list(&node, &never).unwrap();
    let (mut of_first, mut of_second) = (Entries::default(), Entries::default());
    loop {
        let more = first.read(&mut of_first).unwrap();
        if !(second.read(&mut of_second).unwrap() || more) {
            break;
        }
    }
    assert_eq!((of_first.len(), of_second.len()), (expected, expected));
    drop((first, second));
    unlock(root.path());
}

#[test]
fn a_directory_that_was_replaced_is_not_taken_for_the_one_that_it_was() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("place");
    fs::create_dir(&place).unwrap();
    let handles = Handles::new(Arc::new(Nt::new()), 4);
    let top = handles.open_root(root.path()).unwrap();
    let node = DirNode::child(&top, name("place").as_name());
    drop(handles.pin(&node, &|| false).unwrap());
    handles.retire(&node);
    fs::rename(&place, root.path().join("elsewhere")).unwrap();
    fs::create_dir(&place).unwrap();
    let error = handles.pin(&node, &|| false).unwrap_err();
    assert_eq!(Fault::of(&error), Some(Fault::Replaced), "{error}");
}

#[test]
fn a_path_alone_can_be_asked_about() {
    let root = tree();
    for follow in [false, true] {
        let found = statx(&root.path().join("size-4096"), follow).unwrap();
        assert_eq!((found.size(), found.nlink()), (Some(4096), Some(1)));
        let found = statx(root.path(), follow).unwrap();
        assert_eq!(found.kind(), Some(Kind::Directory));
        let missing = statx(&root.path().join("missing"), follow).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
    unlock(root.path());
}

#[test]
fn the_volume_is_named() {
    let root = tree();
    let backend = Nt::new();
    let directory = backend.open_root(root.path()).unwrap();
    let filesystem = Filesystem::of(&directory).unwrap();
    assert_eq!(Filesystem::of_path(root.path()).unwrap(), filesystem);
    list(&backend, &directory).unwrap();
    let details: BTreeMap<_, _> = backend.details(&directory).into_iter().collect();
    assert!(
        details["information_class"].starts_with("File"),
        "{details:?}"
    );
    let volume = backend.identify(&directory).unwrap().device;
    assert_eq!(details["volume"], format!("{volume:#x}"));
    unlock(root.path());
}
