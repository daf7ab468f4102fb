//! The slow mount as `compare` uses it: a process of its own, a whole tree, and no trace afterwards.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;

use statline_benches::floor::{self, Options, Order};
use statline_benches::slow::{Mount, Slow};
use statline_testfs::fuse;

const TREE: Slow = Slow {
    fan_out: 4,
    depth: 3,
    files: 5,
    latency_us: 1_000,
    after: 100,
    calls: Some(200),
    at_once: NonZeroU64::new(4),
};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slowfs"))
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux tells what is mounted");
    mounts.contains(&format!(" {} ", path.display()))
}

#[test]
fn the_whole_tree_is_there_and_the_end_tells_what_was_asked() {
    if fuse::skipped() {
        return;
    }
    let mount = Mount::start(program(), &TREE).unwrap();
    let path = mount.path().to_owned();
    assert!(is_mounted(&path));
    let options = Options {
        threads: NonZeroUsize::new(8).unwrap(),
        ..Options::on_all_cores(Order::Readdir)
    };
    let counts = floor::walk(&path, options).unwrap();
    assert_eq!((Some(counts.entries), counts.errors), (TREE.entries(), 0));
    let served = mount.end().unwrap();
    assert!(served.lookups >= counts.entries, "{served:?}");
    assert!(served.at_once_most <= 8, "{served:?}");
    assert!(!is_mounted(&path) && !path.exists());
}

#[test]
fn a_mount_that_nobody_ends_goes_with_its_handle() {
    if fuse::skipped() {
        return;
    }
    let mount = Mount::start(program(), &TREE).unwrap();
    let path = mount.path().to_owned();
    drop(mount);
    assert!(!is_mounted(&path) && !path.exists());
}

#[test]
fn a_tree_without_bounds_is_refused() {
    let endless = Slow {
        fan_out: 1 << 20,
        ..TREE
    };
    let message = Mount::start(program(), &endless).unwrap_err().to_string();
    assert!(message.contains("mount with"), "{message}");
}
