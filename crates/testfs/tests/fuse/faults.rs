//! What rules inject reaches the user as it was said, and nothing else does.

use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::FileType;
use statline_testfs::fuse::{
    Cookies, Kind, Operation, Operations, Rule, Shape, Shown, TestFs, Tree,
};

use super::{at, errno, list, mount, names, open, stat};

fn ten_files() -> TestFs {
    TestFs::generated(Tree::new().shape("d", Shape::files(10).file_size(10)))
}

#[test]
fn every_error_number_reaches_a_user_as_it_is() {
    let Some(mounted) = mount(ten_files()) else {
        return;
    };
    let directory = open(&at(&mounted, "d")).unwrap();
    for number in 1..=133 {
        let rule = Rule::on(Operations::STAT).path("d/f3").errno(number);
        let listing = Rule::on(Operation::Readdir).path("d").errno(number);
        mounted.set_rules(vec![rule, listing]).unwrap();
        assert_eq!(errno(stat(&at(&mounted, "d/f3"))), Some(number));
        assert_eq!(errno(stat(&at(&mounted, "d/f4"))), None);
        rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0)).unwrap();
        assert_eq!(list(&directory, 100), (Vec::new(), Some(number)));
    }
}

#[test]
fn each_operation_fails_alone() {
    let tree = Tree::new().directory("d").file("f", 9).symlink("l", "f");
    let Some(mounted) = mount(TestFs::generated(tree)) else {
        return;
    };
    let path = |name: &str| at(&mounted, name);
    let file = std::fs::File::open(path("f")).unwrap();
    let directory = open(&path("d")).unwrap();
    // What fails if one operation does, each seen by a call of its own.
    let seen = |operation| {
        let rule = Rule::on(operation).errno(libc::EXDEV);
        mounted.set_rules(vec![rule]).unwrap();
        rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0)).unwrap();
        let failing: Vec<&str> = [
            ("stat", errno(stat(&path("f")))),
            ("fstat", errno(file.metadata())),
            ("opendir", errno(open(&path("d")))),
            ("open", errno(std::fs::File::open(path("f")))),
            ("getdents", list(&directory, 9).1),
            ("pread", errno(file.read_at(&mut [0; 4], 0))),
            ("readlink", errno(std::fs::read_link(path("l")))),
            (
                "statfs",
                errno(rustix::fs::statfs(path("d")).map_err(Into::into)),
            ),
            (
                "access",
                errno(
                    rustix::fs::access(path("d"), rustix::fs::Access::READ_OK).map_err(Into::into),
                ),
            ),
        ]
        .into_iter()
        .filter_map(|(call, errno)| {
            assert!(
                errno.is_none_or(|errno| errno == libc::EXDEV),
                "{call}: {errno:?}"
            );
            errno.map(|_| call)
        })
        .collect();
        mounted.set_rules(Vec::new()).unwrap();
        failing
    };
    assert_eq!(
        seen(Operation::Lookup),
        ["stat", "opendir", "open", "readlink", "statfs", "access"]
    );
    assert_eq!(seen(Operation::Getattr), ["stat", "fstat"]);
    assert_eq!(seen(Operation::Opendir), ["opendir"]);
    assert_eq!(seen(Operation::Open), ["open"]);
    assert_eq!(seen(Operation::Readdir), ["getdents"]);
    assert_eq!(seen(Operation::Read), ["pread"]);
    assert_eq!(seen(Operation::Readlink), ["readlink"]);
    assert_eq!(seen(Operation::Statfs), ["statfs"]);
    assert_eq!(seen(Operation::Access), ["access"]);
    assert!(seen(Operation::Releasedir).is_empty());
    assert!(seen(Operation::Release).is_empty());
}

#[test]
fn a_stat_fails_at_the_first_call_or_from_what_is_remembered() {
    let rule = Rule::on(Operations::STAT)
        .path_glob("**/f[135]")
        .errno(libc::EIO);
    for timeout in [0, 1] {
        for readdirplus in [false, true] {
            let timeout = std::time::Duration::from_secs(timeout);
            let fs = ten_files()
                .attribute_timeout(timeout)
                .entry_timeout(timeout)
                .readdirplus(readdirplus)
                .rule(rule.clone());
            let Some(mounted) = mount(fs) else { return };
            let (entries, error) = list(&open(&at(&mounted, "d")).unwrap(), 100);
            assert_eq!((entries.len(), error), (10, None));
            let failing: Vec<usize> = (0..10)
                .filter(|number| stat(&at(&mounted, format!("d/f{number}"))).is_err())
                .collect();
            assert_eq!(failing, [1, 3, 5], "{mounted}");
            let injected = mounted.take_injected();
            assert!(
                injected.iter().all(|one| one.errno == libc::EIO),
                "{injected:?}"
            );
            let mut paths: Vec<_> = injected.into_iter().map(|one| one.path).collect();
            paths.dedup();
            assert_eq!(paths, [b"d/f1", b"d/f3", b"d/f5"]);
        }
    }
}

#[test]
fn a_look_up_that_fails_is_made_as_often_as_the_description_of_rules_says() {
    let Some(mounted) = mount(ten_files()) else {
        return;
    };
    let lookups = |name: &str, errno| {
        let path = at(&mounted, name);
        let rule = Rule::on(Operation::Lookup).path(name).errno(errno);
        mounted.set_rules(vec![rule]).unwrap();
        assert_eq!(super::errno(stat(&path)), Some(errno));
        mounted.set_rules(Vec::new()).unwrap();
        mounted.take_injected().len()
    };
    // Never seen before.
    assert_eq!(lookups("d/f0", libc::EIO), 1);
    assert_eq!(lookups("d/f0", libc::EINTR), 1);
    assert_eq!(lookups("d/f0", libc::ESTALE), 2);
    // Remembered, because it is open.
    let _open = open(&at(&mounted, "d")).unwrap();
    assert_eq!(lookups("d", libc::EINTR), 1);
    assert_eq!(lookups("d", libc::EIO), 2);
}

#[test]
fn a_rule_for_attributes_or_openings_fails_exactly_so_many_system_calls() {
    let Some(mounted) = mount(ten_files()) else {
        return;
    };
    // The second number is how often the kernel tries.
    for (number, tries) in [
        (libc::EIO, 1),
        (libc::EINTR, 1),
        (libc::EAGAIN, 1),
        (libc::ESTALE, 2),
    ] {
        let rule = |operation| Rule::on(operation).path("d").times(3 * tries).errno(number);
        mounted
            .set_rules(vec![rule(Operation::Getattr), rule(Operation::Opendir)])
            .unwrap();
        let stats = (0..6).map(|_| errno(stat(&at(&mounted, "d"))));
        let number = Some(number);
        assert_eq!(
            stats.collect::<Vec<_>>(),
            [number, number, number, None, None, None]
        );
        let opened = (0..6).map(|_| errno(open(&at(&mounted, "d"))));
        assert_eq!(
            opened.collect::<Vec<_>>(),
            [number, number, number, None, None, None]
        );
    }
}

#[test]
fn a_pattern_selects_by_whole_paths() {
    let tree = Tree::new()
        .file("a/b/c", 0)
        .file("a/c", 0)
        .file("c", 0)
        .file("a/bc", 0);
    let Some(mounted) = mount(TestFs::generated(tree)) else {
        return;
    };
    let failing = |rule: Rule| {
        mounted.set_rules(vec![rule.errno(libc::EIO)]).unwrap();
        let mut paths = vec!["", "a", "a/b", "a/b/c", "a/bc", "a/c", "c"];
        // Not by their paths: a directory on the way would fail first.
        paths.retain(|path| {
            let at = at(&mounted, path);
            stat(&at).is_err() && at.parent().is_none_or(|parent| stat(parent).is_ok())
        });
        paths
    };
    let rule = || Rule::on(Operation::Getattr);
    assert_eq!(failing(rule().path_glob("**/c")), ["a/b/c", "a/c", "c"]);
    assert_eq!(failing(rule().path_glob("a/*c")), ["a/bc", "a/c"]);
    assert_eq!(failing(rule().path_glob("*")), ["a", "c"]);
    assert_eq!(failing(rule().path_glob("*/b/**")), ["a/b/c"]);
    assert_eq!(failing(rule().path("a/c")), ["a/c"]);
    assert_eq!(failing(rule().path("")), [""]);
    assert!(failing(rule().path("b/c")).is_empty());
}

#[test]
fn a_listing_fails_after_so_many_entries_and_goes_on_when_it_has_healed() {
    let rule = Rule::on(Operation::Readdir).path("d").errno(libc::ESTALE);
    for offset in [0, 1, 4, 9, 10] {
        for readdirplus in [false, true] {
            let rule = rule.clone().at_offset(offset).times(2);
            let Some(mounted) = mount(ten_files().readdirplus(readdirplus).rule(rule)) else {
                return;
            };
            let directory = open(&at(&mounted, "d")).unwrap();
            let (before, error) = list(&directory, 100);
            assert_eq!((before.len(), error), (offset as usize, Some(libc::ESTALE)));
            assert_eq!(list(&directory, 100), (Vec::new(), Some(libc::ESTALE)));
            let (after, error) = list(&directory, 100);
            assert_eq!((after.len(), error), (10 - offset as usize, None));
            let all: Vec<_> = names(&before).into_iter().chain(names(&after)).collect();
            assert_eq!(all[0], b"f0");
            assert_eq!(all[9], b"f9");
        }
    }
}

#[test]
fn a_listing_does_not_fail_behind_its_end() {
    let rule = Rule::on(Operation::Readdir)
        .path("d")
        .at_offset(11)
        .errno(libc::EIO);
    let Some(mounted) = mount(ten_files().rule(rule)) else {
        return;
    };
    let (entries, error) = list(&open(&at(&mounted, "d")).unwrap(), 100);
    assert_eq!((entries.len(), error), (10, None));
}

#[test]
fn a_file_fails_at_a_byte() {
    let rule = Rule::on(Operation::Read).at_offset(4).errno(libc::EIO);
    let Some(mounted) = mount(ten_files().rule(rule)) else {
        return;
    };
    let mut file = std::fs::File::open(at(&mounted, "d/f0")).unwrap();
    let mut bytes = [1; 10];
    assert_eq!(file.read(&mut bytes).unwrap(), 4);
    assert_eq!(errno(file.read(&mut bytes)), Some(libc::EIO));
}

#[test]
fn a_rule_can_begin_late_and_end_early() {
    let rule = Rule::on(Operation::Getattr)
        .path("d/f0")
        .after(2)
        .times(3)
        .errno(libc::EINTR);
    let Some(mounted) = mount(ten_files().rule(rule)) else {
        return;
    };
    let file = std::fs::File::open(at(&mounted, "d/f0")).unwrap();
    let failing: Vec<bool> = (0..8)
        .map(|_| errno(rustix::fs::fstat(&file).map_err(Into::into)) == Some(libc::EINTR))
        .collect();
    assert_eq!(
        failing,
        [false, false, true, true, true, false, false, false]
    );
}

#[test]
fn of_several_errors_the_first_is_made_while_it_lasts() {
    let rule = || Rule::on(Operation::Getattr).path("d/f0");
    let fs = ten_files()
        .rule(rule().times(2).errno(libc::EIO))
        .rule(rule().errno(libc::EPERM));
    let Some(mounted) = mount(fs) else { return };
    let seen: Vec<_> = (0..4)
        .map(|_| errno(stat(&at(&mounted, "d/f0"))).unwrap())
        .collect();
    assert_eq!(seen, [libc::EIO, libc::EIO, libc::EPERM, libc::EPERM]);
}

#[test]
fn a_share_of_the_paths_depends_on_the_seed_alone() {
    let failing = |seed| {
        let fs = TestFs::generated(Tree::of(Shape::files(1_000)))
            .rule(
                Rule::on(Operations::STAT)
                    .share(0.1)
                    .path_glob("f*")
                    .errno(libc::EACCES),
            )
            .seed(seed);
        let mounted = mount(fs)?;
        let failing = |number: &u64| stat(&at(&mounted, format!("f{number}"))).is_err();
        Some((0..1_000).filter(failing).collect::<Vec<u64>>())
    };
    let Some(first) = failing(1) else { return };
    assert!((50..200).contains(&first.len()), "{}", first.len());
    assert_eq!(failing(1), Some(first.clone()));
    assert_ne!(failing(2), Some(first));
}

#[test]
fn an_entry_can_vanish_after_it_was_listed() {
    for readdirplus in [false, true] {
        let rule = Rule::on(Operation::Lookup).path("d/f5").errno(libc::ENOENT);
        let Some(mounted) = mount(ten_files().readdirplus(readdirplus).rule(rule)) else {
            return;
        };
        assert_eq!(list(&open(&at(&mounted, "d")).unwrap(), 100).0.len(), 10);
        assert_eq!(errno(stat(&at(&mounted, "d/f5"))), Some(libc::ENOENT));
    }
}

#[test]
fn a_listing_can_lie_about_types_and_numbers() {
    for readdirplus in [false, true] {
        let fs = TestFs::generated(Tree::new().file("file", 1).directory("directory"))
            .readdirplus(readdirplus)
            .rule(
                Rule::on(Operation::Readdir)
                    .path("file")
                    .shows(Shown::new().kind(Kind::Directory)),
            )
            .rule(
                Rule::on(Operation::Readdir)
                    .path("directory")
                    .shows(Shown::new().kind(Kind::File)),
            );
        let Some(mounted) = mount(fs) else { return };
        let (entries, _) = list(&open(mounted.path()).unwrap(), 9);
        assert_eq!(entries[0].1, FileType::Directory);
        assert_eq!(entries[1].1, FileType::RegularFile);
        assert!(std::fs::metadata(at(&mounted, "file")).unwrap().is_file());
        assert!(
            std::fs::metadata(at(&mounted, "directory"))
                .unwrap()
                .is_dir()
        );
        assert_eq!(
            list(&open(&at(&mounted, "directory")).unwrap(), 9),
            (Vec::new(), None)
        );
        for inode in [0, 1, u64::MAX] {
            let shown = Shown::new().inode(inode);
            mounted
                .set_rules(vec![Rule::on(Operation::Readdir).path("file").shows(shown)])
                .unwrap();
            if !readdirplus {
                assert_eq!(list(&open(mounted.path()).unwrap(), 9).0[0].2, inode);
            }
        }
    }
}

#[test]
fn metadata_can_be_absurd() {
    for timeout in [0, 1] {
        let fs = ten_files().attribute_timeout(std::time::Duration::from_secs(timeout));
        let Some(mounted) = mount(fs) else { return };
        for (number, seconds) in [1 << 40, -(1 << 40), i64::MAX, i64::MIN]
            .into_iter()
            .enumerate()
        {
            let shown = Shown::new()
                .size(i64::MAX as u64)
                .links(0)
                .inode(if number % 2 == 0 { 0 } else { u64::MAX })
                .modified(seconds)
                .accessed(seconds)
                .changed(seconds);
            let rule = Rule::on(Operations::STAT).path_glob("d/*").shows(shown);
            mounted.set_rules(vec![rule]).unwrap();
            let found = std::fs::symlink_metadata(at(&mounted, format!("d/f{number}"))).unwrap();
            assert_eq!(found.size(), i64::MAX as u64);
            assert_eq!(found.nlink(), 0);
            assert_eq!(found.ino(), if number % 2 == 0 { 0 } else { u64::MAX });
            assert_eq!(
                (found.mtime(), found.atime(), found.ctime()),
                (seconds, seconds, seconds)
            );
        }
        let beyond = Shown::new().size(u64::MAX);
        mounted
            .set_rules(vec![Rule::on(Operations::STAT).shows(beyond)])
            .unwrap();
        assert_eq!(errno(stat(&at(&mounted, "d/f8"))), Some(libc::EIO));
    }
}

#[test]
fn offsets_can_lead_in_circles() {
    let Some(mounted) = mount(ten_files()) else {
        return;
    };
    let ways = [
        // Three entries fit before the cycle; 4 to 6 come again and again.
        (
            Cookies::Cycle {
                start: 4,
                length: 3,
            },
            [4, 5, 6].as_slice(),
        ),
        (
            Cookies::Cycle {
                start: 9,
                length: 1,
            },
            &[9],
        ),
        (Cookies::Stuck { from: 8 }, &[8, 9]),
    ];
    for (cookies, again) in ways {
        mounted
            .set_rules(vec![
                Rule::on(Operation::Readdir).path("d").cookies(cookies),
            ])
            .unwrap();
        let (entries, error) = list(&open(&at(&mounted, "d")).unwrap(), 500);
        assert_eq!((entries.len() >= 500, error), (true, None), "{cookies:?}");
        let once = (0..again[0]).chain(again.iter().copied().cycle());
        for ((name, _, _), number) in entries.iter().zip(once) {
            assert_eq!(name, format!("f{number}").as_bytes(), "{cookies:?}");
        }
    }
}

#[test]
fn rules_that_can_never_do_anything_are_refused() {
    for rule in [
        Rule::on(Operation::Open),
        Rule::on(Operations::ALL).errno(libc::ENOSYS),
        Rule::on(Operation::Lookup).cookies(Cookies::Stuck { from: 0 }),
        Rule::on(Operation::Readdir).cookies(Cookies::Cycle {
            start: 0,
            length: 0,
        }),
        Rule::on(Operation::Open).share(1.5).errno(libc::EIO),
    ] {
        let refused = ten_files().rule(rule).mount();
        assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::InvalidInput));
    }
}
