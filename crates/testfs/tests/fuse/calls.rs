//! Many calls at a time: held back, limited, counted.

use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use statline_testfs::fuse::{
    Latency, LatencySwitch, Operation, Operations, Rule, Shape, TestFs, Tree,
};

use super::{LONG, at, eventually, mount, open, stat};

const CALLERS: u64 = 64;

fn files() -> TestFs {
    TestFs::generated(Tree::of(Shape::files(1_000)))
}

#[test]
fn calls_that_are_held_back_do_not_hold_back_others() {
    let rule = Rule::on(Operations::STAT)
        .path_glob("f*")
        .latency(Duration::from_millis(20));
    let Some(mounted) = mount(files().rule(rule)) else {
        return;
    };
    thread::scope(|scope| {
        for number in 0..CALLERS {
            let path = at(&mounted, format!("f{number}"));
            scope.spawn(move || stat(&path).unwrap());
        }
    });
    let counts = mounted.counts();
    assert!(counts.max_in_flight(Operation::Lookup) >= 16, "{counts:?}");
    assert!(counts.max_all_in_flight() >= counts.max_in_flight(Operation::Lookup));
    assert_eq!(counts.all_in_flight(), 0);
}

#[test]
fn a_call_that_hangs_hangs_alone_until_it_is_released() {
    let rule = Rule::on(Operation::Lookup).path("f7").hang();
    let Some(mounted) = mount(files().rule(rule)) else {
        return;
    };
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        let stuck = scope.spawn(|| stat(&at(&mounted, "f7")).unwrap().st_ino);
        assert!(mounted.wait_until_hung(1, LONG));
        for number in 8..200 {
            stat(&at(&mounted, format!("f{number}"))).unwrap();
        }
        assert_eq!(
            super::list(&open(mounted.path()).unwrap(), 2_000).0.len(),
            1_000
        );
        assert_eq!(mounted.hung(), 1);
        assert!(!stuck.is_finished());
        mounted.release();
        assert_eq!(stuck.join().unwrap() & 0xffff, 8);
    });
    assert_eq!(mounted.hung(), 0);
    // Once released, it stays so.
    stat(&at(&mounted, "f7")).unwrap();
}

#[test]
fn many_calls_can_hang_at_a_time() {
    let Some(mounted) = mount(files().rule(Rule::on(Operation::Lookup).hang())) else {
        return;
    };
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        for number in 0..CALLERS {
            let path = at(&mounted, format!("f{number}"));
            scope.spawn(move || stat(&path).unwrap());
        }
        assert!(mounted.wait_until_hung(CALLERS as usize, LONG));
        assert!(!mounted.wait_until_hung(CALLERS as usize + 1, Duration::ZERO));
        mounted.release();
    });
}

#[test]
fn a_server_of_four_threads_serves_four_calls_at_a_time() {
    let hang = Rule::on(Operation::Lookup).path_glob("f?").hang();
    let Some(mounted) = mount(files().serve_at_once(4).rule(hang)) else {
        return;
    };
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        for number in 0..9 {
            let path = at(&mounted, format!("f{number}"));
            scope.spawn(move || stat(&path).unwrap());
        }
        // All nine have come in, and only four are being served.
        assert!(eventually(
            || mounted.counts().in_flight(Operation::Lookup) == 9
        ));
        assert_eq!(mounted.hung(), 4);
        let other = scope.spawn(|| stat(&at(&mounted, "f100")).unwrap());
        assert!(eventually(
            || mounted.counts().in_flight(Operation::Lookup) == 10
        ));
        assert!(!other.is_finished());
        mounted.release();
    });
    assert_eq!(mounted.counts().all_in_flight(), 0);
}

#[test]
fn a_latency_can_be_switched_while_the_mount_is_in_use() {
    let switch = LatencySwitch::default();
    let rule = Rule::on(Operation::Lookup).latency(switch.clone());
    let Some(mounted) = mount(files().rule(rule)) else {
        return;
    };
    let time = || {
        let begun = Instant::now();
        stat(&at(&mounted, "f1")).unwrap();
        begun.elapsed()
    };
    let slow = Duration::from_millis(300);
    let quickest = || (0..5).map(|_| time()).min().unwrap();
    assert!(quickest() < slow);
    switch.set(slow);
    assert!(time() >= slow);
    switch.set(Duration::ZERO);
    assert!(quickest() < slow);
}

#[test]
fn latencies_of_several_rules_add_up() {
    let each = Duration::from_millis(30);
    let fs = files()
        .rule(Rule::on(Operation::Lookup).latency(each))
        .rule(Rule::on(Operation::Lookup).latency(each..=each))
        .rule(Rule::on(Operation::Getattr).latency(Latency::Exponential(Duration::from_micros(50))))
        .rule(Rule::on(Operation::Lookup).errno(libc::EIO));
    let Some(mounted) = mount(fs) else { return };
    let begun = Instant::now();
    assert_eq!(super::errno(stat(&at(&mounted, "f1"))), Some(libc::EIO));
    assert!(begun.elapsed() >= 2 * each);
}

#[test]
fn every_call_arrives_and_is_counted_unless_it_may_be_cached() {
    let stat_twice = |fs: TestFs| {
        let mounted = mount(fs)?;
        for _ in 0..2 {
            std::fs::symlink_metadata(at(&mounted, "f1")).unwrap();
        }
        let counts = mounted.counts();
        Some((
            counts.calls(Operation::Lookup),
            counts.calls(Operation::Getattr),
        ))
    };
    let Some(uncached) = stat_twice(files()) else {
        return;
    };
    assert_eq!(uncached, (2, 2));
    let cached = files().attribute_timeout(LONG).entry_timeout(LONG);
    assert_eq!(stat_twice(cached), Some((1, 0)));
    assert_eq!(stat_twice(files().attribute_timeout(LONG)), Some((2, 0)));
}

#[test]
fn listings_with_metadata_spare_the_look_ups() {
    let fs = files()
        .attribute_timeout(LONG)
        .entry_timeout(LONG)
        .readdirplus(true);
    let Some(mounted) = mount(fs) else { return };
    assert_eq!(
        super::list(&open(mounted.path()).unwrap(), 2_000).0.len(),
        1_000
    );
    for number in 0..1_000 {
        let metadata = std::fs::symlink_metadata(at(&mounted, format!("f{number}"))).unwrap();
        assert_eq!(metadata.nlink(), 1);
    }
    let counts = mounted.counts();
    assert_eq!(counts.calls(Operation::Lookup), 0, "{counts:?}");
    assert_eq!(counts.calls(Operation::Opendir), 1);
}
