//! A mount comes, is aborted, and goes, whatever is under way.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use rustix::mount::{UnmountFlags, unmount};
use statline_testfs::fuse::{Operation, Operations, Rule, Shape, TestFs, Tree, can_mount, skipped};

use super::{LONG, at, errno, eventually, mount, open, stat};

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
        let _releasing = mounted.releasing();
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

/// Not a test: what [`a_process_that_waits_for_itself_can_be_killed`] kills.
#[test]
#[ignore = "it never ends"]
fn hang_until_killed() {
    let Some(mounted) = mount(files().rule(Rule::on(Operation::Lookup).hang())) else {
        return;
    };
    let stuck = thread::spawn({
        let path = at(&mounted, "f1");
        move || stat(&path)
    });
    assert!(mounted.wait_until_hung(1, LONG));
    println!("\nhangs in {}", mounted.path().display());
    let _ = stuck.join();
}

#[test]
fn a_process_that_waits_for_itself_can_be_killed() {
    if skipped() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "life::hang_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let path = lines.find_map(|line| Some(line.strip_prefix("hangs in ")?.to_owned()));
    child.kill().unwrap();
    let ended = eventually(|| child.try_wait().unwrap().is_some());
    let path = path.unwrap();
    unmount(&path, UnmountFlags::FORCE | UnmountFlags::DETACH).unwrap();
    std::fs::remove_dir(path).unwrap();
    assert!(ended, "it is dead and waits");
}

#[test]
fn files_of_the_file_system_are_not_among_those_of_the_process() {
    let Some(mounted) = mount(TestFs::passthrough(env!("CARGO_MANIFEST_DIR"))) else {
        return;
    };
    stat(&at(&mounted, "src")).unwrap();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        // That of the listing itself is gone.
        let Ok(target) = std::fs::read_link(entry.unwrap().path()) else {
            continue;
        };
        assert_ne!(target.to_str(), Some("/dev/fuse"));
    }
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
