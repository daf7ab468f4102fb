//! What only this backend can get wrong: rings that fail, callers that leave, answers that come late.
//!
//! What it must do as the others do is tested with the others, in `tests/suite`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use statline_testfs::fuse::{Mounted, Operation, Rule, TestFs, Tree};

use super::*;
use crate::forbidding::forbid;

/// Longer than anything takes here that ends at all.
const LONG: Duration = Duration::from_secs(60);

/// The backend, if this kernel has it.
fn backend() -> Option<IoUring> {
    let first = match Ring::probe() {
        Ok(first) => first,
        Err(reason) => {
            let required = std::env::var_os("STATLINE_REQUIRE_IO_URING").is_some();
            assert!(!required, "{reason}");
            println!("skipped: {reason}");
            return None;
        }
    };
    Some(IoUring {
        statx: Statx::default(),
        rings: Rings::with_first(first),
    })
}

/// A directory of so many empty files, and their names.
fn files(count: usize) -> (tempfile::TempDir, Handle, Entries) {
    let directory = tempfile::tempdir().unwrap();
    let mut entries = Entries::default();
    for index in 0..count {
        let name = format!("file-{index}");
        std::fs::write(directory.path().join(&name), vec![b'x'; index]).unwrap();
        entries.push(name.as_bytes(), None, 0);
    }
    let handle = crate::relative::open_root(directory.path()).unwrap();
    (directory, handle, entries)
}

fn order(entries: &Entries) -> Vec<u32> {
    (0..).take(entries.len()).collect()
}

/// The sizes of all entries, or the errors.
fn sizes(
    backend: &IoUring,
    handle: &Handle,
    entries: &Entries,
    mut after: impl FnMut(u32),
) -> Vec<Result<u64, Option<i32>>> {
    let mut sizes = Vec::new();
    let order = order(entries);
    backend.stat_each(
        handle,
        entries,
        &order,
        Fields::SIZE,
        false,
        &mut |index, result| {
            assert_eq!(index as usize, sizes.len(), "out of order");
            sizes.push(match result {
                Ok(found) => Ok(found.size().unwrap()),
                Err(error) => Err(error.raw_os_error()),
            });
            after(index);
        },
    );
    sizes
}

fn all(count: usize) -> Vec<Result<u64, Option<i32>>> {
    (0..count as u64).map(Ok).collect()
}

/// Runs `checks` on a thread of their own, which takes along what was forbidden to it.
fn apart(checks: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(checks).join().unwrap());
}

#[test]
fn rings_do_the_work_while_they_can() {
    let Some(backend) = backend() else { return };
    let (_directory, handle, entries) = files(300);
    apart(|| {
        for call in [libc::SYS_statx, libc::SYS_newfstatat, libc::SYS_fstat] {
            if forbid(call, libc::EIO).is_err() {
                return; // Where filters are forbidden in turn.
            }
        }
        assert_eq!(sizes(&backend, &handle, &entries, |_| {}), all(300));
        // A single name takes no detour, so it meets what is forbidden.
        let single = backend.stat(&handle, entries.name(0), Fields::SIZE, false);
        assert_eq!(single.unwrap_err().raw_os_error(), Some(libc::EIO));
    });
}

#[test]
fn a_system_that_makes_no_rings_is_told_with_the_reason() {
    for (errno, name) in [
        (libc::EPERM, "EPERM"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EMFILE, "EMFILE"),
    ] {
        apart(|| {
            if forbid(libc::SYS_io_uring_setup, errno).is_ok() {
                let reason = probe().unwrap_err();
                assert!(
                    reason.contains(&format!("(io_uring_setup: {name})")),
                    "{reason}"
                );
            }
        });
    }
    for call in [libc::SYS_io_uring_enter, libc::SYS_io_uring_register] {
        apart(|| {
            if forbid(call, libc::EPERM).is_ok() {
                let reason = probe().unwrap_err();
                assert!(reason.ends_with(": EPERM)"), "{reason}");
            }
        });
    }
}

#[test]
fn statx_goes_on_where_a_ring_fails_half_way() {
    // 0: a kernel that says that it did what it did not.
    for errno in [
        0,
        libc::EPERM,
        libc::ENOSYS,
        libc::ENOMEM,
        libc::EAGAIN,
        libc::EBUSY,
    ] {
        for last in [0, 1, 63, 64, 200] {
            let Some(backend) = backend() else { return };
            let (_directory, handle, entries) = files(300);
            let slots = backend.rings.slots();
            apart(|| {
                let found = sizes(&backend, &handle, &entries, |index| {
                    if index == last {
                        // Where filters are forbidden in turn, nothing fails.
                        let _ = forbid(libc::SYS_io_uring_enter, errno);
                    }
                });
                assert_eq!(found, all(300), "{errno} after {last}");
                assert_eq!(sizes(&backend, &handle, &entries, |_| {}), all(300));
            });
            // Other threads make another ring.
            assert_eq!(sizes(&backend, &handle, &entries, |_| {}), all(300));
            assert_eq!(slots.len(), 1);
        }
    }
}

#[test]
fn whoever_finds_every_ring_in_use_is_served_without() {
    let Some(backend) = backend() else { return };
    let (_directory, handle, entries) = files(100);
    apart(|| {
        let forbidden = forbid(libc::SYS_io_uring_setup, libc::ENOMEM).is_ok();
        let found = sizes(&backend, &handle, &entries, |_| {
            assert_eq!(sizes(&backend, &handle, &entries, |_| {}), all(100));
        });
        assert_eq!(found, all(100));
        if forbidden {
            assert_eq!(backend.rings.slots().len(), 1);
        }
    });
}

#[test]
fn the_memory_of_rings_is_freed_with_them() {
    let Some(backend) = backend() else { return };
    let (_directory, handle, entries) = files(100);
    sizes(&backend, &handle, &entries, |index| {
        if index == 50 {
            sizes(&backend, &handle, &entries, |_| {});
        }
    });
    let slots = backend.rings.slots();
    assert_eq!(slots.len(), 2);
    drop(backend);
    assert!(slots.iter().all(|slots| slots.upgrade().is_none()));
}

/// Files of which number 40 hangs until it is released.
fn hanging() -> Option<(Mounted, Handle, Entries)> {
    let tree = (0..70).fold(Tree::new(), |tree, index| {
        tree.file(format!("{index}"), index)
    });
    let mounted = TestFs::generated(tree)
        .rule(Rule::on(Operation::Getattr).path("40").hang())
        .mount_unless_skipped()
        .unwrap()?;
    let mut entries = Entries::default();
    for index in 0..70 {
        entries.push(format!("{index}").as_bytes(), None, 0);
    }
    let handle = crate::relative::open_root(mounted.path()).unwrap();
    Some((mounted, handle, entries))
}

/// Has the sink panic while number 40 hangs.
fn leave(backend: &IoUring, mounted: &Mounted, handle: &Handle, entries: &Entries) {
    let left = catch_unwind(AssertUnwindSafe(|| {
        sizes(backend, handle, entries, |_| {
            assert!(mounted.wait_until_hung(1, LONG));
            std::panic::resume_unwind(Box::new("left"));
        })
    }));
    assert_eq!(left.unwrap_err().downcast_ref(), Some(&"left"));
}

fn eventually(mut check: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < LONG, "it did not happen");
        thread::yield_now();
    }
}

#[test]
fn memory_outlives_calls_that_nobody_waits_for() {
    let Some(backend) = backend() else { return };
    let Some((mounted, handle, entries)) = hanging() else {
        return;
    };
    let slots = backend.rings.slots();
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        let (left, was_left) = channel();
        let (seen, was_seen) = channel::<()>();
        let (mounted, handle, entries) = (&mounted, &handle, &entries);
        scope.spawn(move || {
            leave(&backend, mounted, handle, entries);
            // With a call under way that the kernel may answer at any time.
            drop(backend);
            left.send(()).unwrap();
            // Ending is no matter of this test: the kernel ends calls of threads that end.
            let _ = was_seen.recv();
        });
        // Nobody waited for the call.
        was_left.recv_timeout(LONG).unwrap();
        assert_eq!(mounted.hung(), 1);
        let slots = slots[0].upgrade().expect("freed under the kernel's hands");
        assert_eq!(slots.filled(40), 0);
        mounted.release();
        // There it is.
        eventually(|| slots.filled(40) != 0);
        drop(seen);
    });
}

#[test]
fn a_ring_that_was_left_serves_again_when_its_calls_have_come_back() {
    let Some(backend) = backend() else { return };
    let Some((mounted, handle, entries)) = hanging() else {
        return;
    };
    let (_directory, others, sound) = files(70);
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        let (left, was_left) = channel();
        let (backend, mounted, handle, entries) = (&backend, &mounted, &handle, &entries);
        let leaving = scope.spawn(move || {
            leave(backend, mounted, handle, entries);
            left.send(()).unwrap();
            // Ends with a call under way; the kernel keeps the thread until that is over.
        });
        was_left.recv_timeout(LONG).unwrap();
        // A call of the ring that was left is under way, so another one is made.
        assert_eq!(sizes(backend, &others, &sound, |_| {}), all(70));
        assert_eq!(backend.rings.slots().len(), 2);
        mounted.release();
        leaving.join().unwrap();
    });
    // Both are of use, so that one in the other's sink makes no third.
    eventually(|| {
        let mut rings = 0;
        backend.rings.lend(|_| {
            backend.rings.lend(|_| {
                rings = 2;
                (true, ())
            });
            (true, ())
        });
        rings == 2 && sizes(&backend, &handle, &entries, |_| {}) == all(70)
    });
    let slots = backend.rings.slots();
    assert_eq!(slots.len(), 2);
    drop(backend);
    assert!(slots.iter().all(|slots| slots.upgrade().is_none()));
}

extern "C" fn nothing(_signal: i32) {}

#[test]
fn signals_end_no_wait() {
    let Some(backend) = backend() else { return };
    let Some((mounted, handle, entries)) = hanging() else {
        return;
    };
    // SAFETY: the structure is plain numbers, for which zeros are sound.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, so it may interrupt anything. Without SA_RESTART calls end with EINTR.
    let set = unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    thread::scope(|scope| {
        let _releasing = mounted.releasing();
        let (began, has_begun) = channel();
        let (backend, handle, entries) = (&backend, &handle, &entries);
        let asking = scope.spawn(move || {
            // SAFETY: takes nothing and returns a number.
            began
                .send(unsafe { libc::pthread_self() } as usize)
                .unwrap();
            sizes(backend, handle, entries, |_| {})
        });
        let thread = has_begun.recv_timeout(LONG).unwrap();
        assert!(mounted.wait_until_hung(1, LONG));
        for _ in 0..3_000 {
            // SAFETY: the thread runs until what hangs is released, below.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGURG) };
            thread::yield_now();
        }
        mounted.release();
        assert_eq!(asking.join().unwrap(), all(70));
    });
    assert_eq!(backend.rings.slots().len(), 1, "the ring was given up");
}

#[test]
fn many_threads_share_few_rings() {
    let Some(backend) = backend() else { return };
    let (_directory, handle, entries) = files(100);
    thread::scope(|scope| {
        for _ in 0..128 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(sizes(&backend, &handle, &entries, |_| {}), all(100));
                }
            });
        }
    });
    let slots = backend.rings.slots();
    assert!((1..=32).contains(&slots.len()), "{}", slots.len());
}
