//! A mount comes, is aborted, and goes, whatever is under way.

use std::thread;

use statline_testfs::fuse::{Operation, Operations, Rule, Shape, TestFs, Tree, can_mount};

use super::{LONG, at, errno, mount, open, stat};

fn files() -> TestFs {
    TestFs::generated(Tree::of(Shape::files(100)))
}

fn is_mounted(path: &std::path::Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == path.to_str())
}

#[test]
fn a_mount_is_gone_when_it_is_dropped() {
    let Some(mounted) = mount(files()) else {
        return;
    };
    let path = mounted.path().to_owned();
    assert!(is_mounted(&path));
    drop(mounted);
    assert!(!is_mounted(&path));
    assert!(!path.exists());
}

#[test]
fn dropping_a_mount_frees_whoever_hangs_in_it() {
    let rule = Rule::on(Operations::ALL).path_glob("f*").hang();
    let Some(mounted) = mount(files().serve_at_once(3).rule(rule)) else {
        return;
    };
    let path = mounted.path().to_owned();
    let stuck: Vec<_> = (0..9)
        .map(|number| at(&mounted, format!("f{number}")))
        .map(|path| thread::spawn(move || stat(&path)))
        .collect();
    assert!(mounted.wait_until_hung(3, LONG));
    drop(mounted);
    for stuck in stuck {
        // Answered or cut off, but back.
        let _ = stuck.join().unwrap();
    }
    assert!(!is_mounted(&path));
}

#[test]
fn a_mount_that_somebody_still_uses_can_be_dropped() {
    let Some(mounted) = mount(files()) else {
        return;
    };
    let path = mounted.path().to_owned();
    let directory = open(&path).unwrap();
    drop(mounted);
    assert!(!is_mounted(&path));
    assert_eq!(
        super::list(&directory, 9),
        (Vec::new(), Some(libc::ENOTCONN))
    );
}

#[test]
fn an_abort_ends_calls_under_way_and_to_come() {
    let rule = Rule::on(Operation::Lookup).path("f1").hang();
    let Some(mounted) = mount(files().rule(rule)) else {
        return;
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .matches("fusectl")
        .count();
    thread::scope(|scope| {
        let stuck = scope.spawn(|| errno(stat(&at(&mounted, "f1"))));
        assert!(mounted.wait_until_hung(1, LONG));
        mounted.abort().unwrap();
        assert_eq!(stuck.join().unwrap(), Some(libc::ECONNABORTED));
    });
    assert_eq!(errno(stat(&at(&mounted, "f2"))), Some(libc::ENOTCONN));
    assert!(is_mounted(mounted.path()));
    let after = std::fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .matches("fusectl")
        .count();
    assert_eq!(after, mounts);
}

#[test]
fn a_mount_prints_its_seed_and_its_rules() {
    let fs = files().seed(4711).rule(
        Rule::on(Operations::STAT)
            .path_glob("**/f[12]")
            .times(3)
            .errno(libc::EIO),
    );
    let Some(mounted) = mount(fs) else { return };
    let _ = stat(&at(&mounted, "f1"));
    let printed = mounted.to_string();
    for part in [
        "seed 4711",
        "lookup|getattr at **/f[12], 3 times: Input/output error",
        "1 calls",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    assert_eq!(printed, format!("{mounted:?}"));
}

#[test]
fn a_passthrough_of_nothing_is_refused() {
    let refused = TestFs::passthrough("/nowhere").mount();
    assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound));
}

#[test]
fn whether_it_can_mount_is_told_in_words() {
    if let Err(reason) = can_mount() {
        assert!(!reason.is_empty());
    }
}
