//! What every backend must do alike, call by call.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;

use statline_platform::{
    Backend, Entries, Fault, Fields, Handle, Kind, Metadata, Name, NameBuf, Timestamp, error_code,
};
use tempfile::TempDir;

fn name(name: &str) -> NameBuf {
    NameBuf::new(name.as_bytes()).unwrap()
}

/// Runs `test` with each backend and a directory of its own.
fn with_each(test: impl Fn(&Arc<dyn Backend>, &TempDir, &Handle)) {
    for backend in crate::common::backends() {
        let directory = tempfile::tempdir().unwrap();
        let handle = backend.open_root(directory.path()).unwrap();
        test(&backend, &directory, &handle);
    }
}

#[test]
fn only_fields_that_were_asked_for_are_filled() {
    with_each(|backend, directory, handle| {
        fs::write(directory.path().join("file"), b"12345").unwrap();
        for field in Fields::ALL.iter() {
            let stat = backend
                .stat(handle, name("file").as_name(), field, false)
                .unwrap();
            assert!(
                field.contains(stat.fields()),
                "{field:?} led to {:?}",
                stat.fields()
            );
            if Fields::BASIC.contains(field) {
                assert_eq!(stat.fields(), field);
            }
        }
        let nothing = backend
            .stat(handle, name("file").as_name(), Fields::empty(), false)
            .unwrap();
        assert_eq!(nothing, Metadata::default());
    });
}

/// C libraries take the error for the end of the directory.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_is_gone_does_not_pass_for_an_empty_one() {
    with_each(|backend, directory, handle| {
        fs::create_dir(directory.path().join("gone")).unwrap();
        let gone = backend
            .open_child(handle, name("gone").as_name(), false)
            .unwrap();
        fs::remove_dir(directory.path().join("gone")).unwrap();
        let listed = backend.read_names(&gone, &mut Entries::default());
        assert_eq!(error_code(&listed.unwrap_err()), "ENOENT");
    });
}

/// Some C libraries leave them out.
#[cfg(target_os = "linux")]
#[test]
fn an_entry_without_an_inode_number_is_listed() {
    use statline_testfs::fuse::{Operation, Rule, Shown, TestFs, Tree};
    let tree = Tree::new().file("a", 1).file("b", 1);
    let rule = Rule::on(Operation::Readdir)
        .path("a")
        .shows(Shown::new().inode(0));
    let Some(mounted) = TestFs::generated(tree)
        .rule(rule)
        .mount_unless_skipped()
        .unwrap()
    else {
        return;
    };
    for backend in crate::common::backends() {
        let root = backend.open_root(mounted.path()).unwrap();
        let mut entries = Entries::default();
        while backend.read_names(&root, &mut entries).unwrap() {}
        assert_eq!(entries.len(), 2, "{}", backend.name());
    }
}

#[test]
fn the_empty_name_is_the_directory_itself() {
    with_each(|backend, directory, handle| {
        let ours = backend
            .stat(handle, Name::EMPTY, Fields::ALL, false)
            .unwrap();
        crate::common::assert_same(&ours, &fs::metadata(directory.path()).unwrap(), b"itself");
        let identity = backend.identify(handle).unwrap();
        assert_eq!(Some(identity.device), ours.device());
        assert_eq!(Some(identity.file_id), ours.file_id());
    });
}

#[test]
fn symbolic_links_are_followed_only_when_told() {
    with_each(|backend, directory, handle| {
        fs::create_dir(directory.path().join("directory")).unwrap();
        symlink("directory", directory.path().join("link")).unwrap();
        symlink("nowhere", directory.path().join("dangling")).unwrap();
        let kind = |entry: &str, follow| {
            let stat = backend.stat(handle, name(entry).as_name(), Fields::KIND, follow);
            stat.map(|metadata| metadata.kind().unwrap())
                .map_err(|error| error_code(&error))
        };
        assert_eq!(kind("link", false), Ok(Kind::Symlink));
        assert_eq!(kind("link", true), Ok(Kind::Directory));
        assert_eq!(kind("dangling", false), Ok(Kind::Symlink));
        assert_eq!(kind("dangling", true), Err("ENOENT".into()));

        let refused = backend
            .open_child(handle, name("link").as_name(), false)
            .unwrap_err();
        assert!(
            matches!(&*error_code(&refused), "ENOTDIR" | "ELOOP" | "EMLINK"),
            "{refused}"
        );
        let followed = backend
            .open_child(handle, name("link").as_name(), true)
            .unwrap();
        let entered = backend
            .open_child(handle, name("directory").as_name(), false)
            .unwrap();
        assert_eq!(
            backend.identify(&followed).unwrap(),
            backend.identify(&entered).unwrap()
        );
    });
}

#[test]
fn statting_many_keeps_the_order_and_tells_who_vanished() {
    with_each(|backend, directory, handle| {
        let mut entries = Entries::default();
        for size in 0..500 {
            let name = format!("file-{size}");
            fs::write(directory.path().join(&name), vec![b'x'; size]).unwrap();
            entries.push(name.as_bytes(), None, 0);
        }
        fs::remove_file(directory.path().join("file-7")).unwrap();
        let order: Vec<u32> = (0..500).rev().filter(|index| index % 3 != 0).collect();
        let mut results = Vec::new();
        backend.stat_each(
            handle,
            &entries,
            &order,
            Fields::SIZE,
            false,
            &mut |index, result| {
                results.push((index, result.map(|metadata| metadata.size())));
            },
        );
        assert_eq!(
            results.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            order
        );
        for (index, result) in results {
            match result {
                Ok(size) => assert_eq!(size, Some(u64::from(index))),
                Err(error) => assert_eq!((index, &*error_code(&error)), (7, "ENOENT")),
            }
        }
    });
}

/// What whoever watches such a call relies on: the first name that was not told is the one that hangs.
#[cfg(target_os = "linux")]
#[test]
fn statting_many_tells_what_comes_before_a_name_that_hangs() {
    use statline_testfs::fuse::{Operation, Rule, Shape, TestFs, Tree};
    const LONG: std::time::Duration = std::time::Duration::from_secs(60);
    for backend in crate::common::backends() {
        let mount = TestFs::generated(Tree::of(Shape::files(200)))
            .rule(Rule::on(Operation::Getattr).path("f150").hang());
        let Some(mounted) = mount.mount_unless_skipped().unwrap() else {
            return;
        };
        let root = backend.open_root(mounted.path()).unwrap();
        let mut entries = Entries::default();
        for index in 0..200 {
            entries.push(format!("f{index}").as_bytes(), None, 0);
        }
        let order: Vec<u32> = (0..200).collect();
        std::thread::scope(|scope| {
            let _releasing = mounted.releasing();
            let (sender, told) = std::sync::mpsc::channel();
            let (backend, entries, root, order) = (&backend, &entries, &root, &order);
            scope.spawn(move || {
                let sink = &mut |index, result: std::io::Result<Metadata>| {
                    sender.send((index, result.is_ok())).unwrap();
                };
                backend.stat_each(root, entries, order, Fields::SIZE, false, sink);
            });
            for index in 0..150 {
                assert_eq!(told.recv_timeout(LONG), Ok((index, true)), "{backend:?}");
            }
            assert!(mounted.wait_until_hung(1, LONG));
            assert!(told.try_recv().is_err(), "told before its turn");
            mounted.release();
            for index in 150..200 {
                assert_eq!(told.recv_timeout(LONG), Ok((index, true)), "{backend:?}");
            }
        });
    }
}

/// Some of these may also be about the call itself, and are asked about again.
#[cfg(target_os = "linux")]
#[test]
fn statting_many_gives_each_entry_its_own_error() {
    use statline_testfs::fuse::{Operation, Rule, Shape, TestFs, Tree};
    let errors = [
        "EIO",
        "EPERM",
        "EACCES",
        "EINVAL",
        "ENOMEM",
        "EINTR",
        "EAGAIN",
        "ECANCELED",
        "ESTALE",
        "EOPNOTSUPP",
        "ENOTCONN",
        "ETIMEDOUT",
        "ENAMETOOLONG",
    ];
    let number = |index: u32| {
        let name = errors.get(index as usize / 8)?;
        let fails = index % 8 == 5;
        fails.then(|| statline_platform::errno_from_name(name).unwrap())
    };
    let mount = (0..200).fold(
        TestFs::generated(Tree::of(Shape::files(200))),
        |mount, index| match number(index) {
            Some(number) => {
                let rule = Rule::on(Operation::Getattr).path(format!("f{index}"));
                mount.rule(rule.errno(number))
            }
            None => mount,
        },
    );
    let Some(mounted) = mount.mount_unless_skipped().unwrap() else {
        return;
    };
    let mut entries = Entries::default();
    for index in 0..200 {
        entries.push(format!("f{index}").as_bytes(), None, 0);
    }
    // What no slot may be too short for.
    for length in [254, 255, 256, 300, 5_000] {
        entries.push("x".repeat(length).as_bytes(), None, 0);
    }
    let order: Vec<u32> = (0..).take(entries.len()).collect();
    for backend in crate::common::backends() {
        let root = backend.open_root(mounted.path()).unwrap();
        let mut told = 0;
        let sink = &mut |index: u32, result: std::io::Result<Metadata>| {
            let found = result.map_err(|error| error.raw_os_error());
            let single = backend
                .stat(&root, entries.name(index as usize), Fields::SIZE, false)
                .map_err(|error| error.raw_os_error());
            assert_eq!(found, single, "{index} by {backend:?}");
            if index < 200 {
                assert_eq!(
                    found.err().flatten(),
                    number(index),
                    "{index} by {backend:?}"
                );
            }
            told += 1;
        };
        backend.stat_each(&root, &entries, &order, Fields::SIZE, false, sink);
        assert_eq!(told, entries.len());
    }
}

#[test]
fn a_directory_is_listed_again_after_rewinding() {
    with_each(|backend, directory, handle| {
        // More than one chunk.
        for index in 0..3_000 {
            File::create(
                directory
                    .path()
                    .join(format!("a-somewhat-longer-name-{index}")),
            )
            .unwrap();
        }
        let mut passes = Vec::new();
        for _ in 0..2 {
            let (mut entries, mut chunks) = (Entries::default(), 1);
            while backend.read_names(handle, &mut entries).unwrap() {
                chunks += 1;
            }
            assert!(chunks > 2, "{chunks}");
            assert!(
                !backend.read_names(handle, &mut entries).unwrap(),
                "the end is not the end"
            );
            let mut names: Vec<_> = (0..entries.len())
                .map(|index| entries.name(index).as_bytes().to_vec())
                .collect();
            names.sort_unstable();
            passes.push(names);
            backend.rewind(handle).unwrap();
        }
        assert_eq!(passes[0].len(), 3_000);
        assert!(passes[0] == passes[1]);

        // One that fits into a chunk, which then ends where it ended before.
        fs::create_dir(directory.path().join("small")).unwrap();
        File::create(directory.path().join("small/file")).unwrap();
        let small = backend
            .open_child(handle, name("small").as_name(), false)
            .unwrap();
        for _ in 0..2 {
            let mut entries = Entries::default();
            backend.read_names(&small, &mut entries).unwrap();
            assert_eq!(entries.name(0), name("file").as_name());
            backend.rewind(&small).unwrap();
        }
    });
}

#[test]
fn link_targets_of_any_length_are_appended() {
    with_each(|backend, directory, handle| {
        for length in [1, 255, 256, 257, 1_000] {
            let target = "t".repeat(length);
            let entry = format!("link-{length}");
            symlink(&target, directory.path().join(&entry)).unwrap();
            let mut out = b"before ".to_vec();
            backend
                .read_link(handle, name(&entry).as_name(), &mut out)
                .unwrap();
            assert_eq!(out, format!("before {target}").as_bytes());
        }
        fs::write(directory.path().join("file"), b"").unwrap();
        let mut out = b"before".to_vec();
        let error = backend
            .read_link(handle, name("file").as_name(), &mut out)
            .unwrap_err();
        assert_eq!((&*error_code(&error), &out[..]), ("EINVAL", &b"before"[..]));
    });
}

#[test]
fn only_regular_files_are_opened_and_none_is_waited_for() {
    with_each(|backend, directory, handle| {
        fs::write(directory.path().join("file"), b"contents").unwrap();
        symlink("file", directory.path().join("link")).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(directory.path().join("fifo"))
            .status();
        assert!(fifo.unwrap().success());

        let mut contents = String::new();
        backend
            .open_file(handle, name("file").as_name(), false)
            .unwrap()
            .read_to_string(&mut contents)
            .unwrap();
        assert_eq!(contents, "contents");
        // Would block for ever if it waited for a writer.
        let error = backend
            .open_file(handle, name("fifo").as_name(), false)
            .unwrap_err();
        assert_eq!(Fault::of(&error), Some(Fault::NotRegular));
        let error = backend.open_file(handle, Name::EMPTY, false).unwrap_err();
        assert_eq!(error_code(&error), "ENOENT");
        let error = backend
            .open_file(handle, name("link").as_name(), false)
            .unwrap_err();
        assert_eq!(error_code(&error), "ELOOP");
        let followed = backend.open_file(handle, name("link").as_name(), true);
        let fields = Fields::INODE | Fields::SIZE | Fields::KIND;
        let stat = backend.stat_file(&followed.unwrap(), fields).unwrap();
        let of_file = backend.stat(handle, name("file").as_name(), fields, false);
        assert_eq!(stat, of_file.unwrap());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn reading_a_file_leaves_its_access_time_alone() {
    with_each(|backend, directory, handle| {
        let path = directory.path().join("file");
        fs::write(&path, b"contents").unwrap();
        // Older than the modification: with `relatime` a read would update it.
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_times(fs::FileTimes::new().set_accessed(old))
            .unwrap();
        let mut contents = Vec::new();
        let mut file = backend
            .open_file(handle, name("file").as_name(), false)
            .unwrap();
        file.read_to_end(&mut contents).unwrap();
        let stat = backend
            .stat(handle, name("file").as_name(), Fields::ACCESSED, false)
            .unwrap();
        assert_eq!(
            stat.accessed(),
            Some(Timestamp {
                seconds: 1,
                nanoseconds: 0
            })
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn made_up_file_systems_leave_fields_out() {
    let backend = statline_platform::select(statline_platform::BackendChoice::Auto).unwrap();
    let proc = backend.open_root("/proc".as_ref()).unwrap();
    let stat = backend
        .stat(&proc, name("version").as_name(), Fields::ALL, false)
        .unwrap();
    let std = fs::symlink_metadata("/proc/version").unwrap();
    assert_eq!(stat.file_id(), Some(std.ino().into()));
    // /proc has no creation times, and must not seem to have one of 1970.
    assert_eq!(stat.born(), None);
    assert!(!stat.fields().contains(Fields::BORN));
}

#[test]
fn roots_that_are_no_directories_are_refused() {
    with_each(|backend, directory, _| {
        fs::write(directory.path().join("file"), b"").unwrap();
        let error = |path: &std::path::Path| error_code(&backend.open_root(path).unwrap_err());
        assert_eq!(error(&directory.path().join("file")), "ENOTDIR");
        assert_eq!(error(&directory.path().join("nothing")), "ENOENT");
        assert_eq!(
            error(std::ffi::OsStr::from_bytes(b"a\0b").as_ref()),
            "INVALID_INPUT"
        );
    });
}
