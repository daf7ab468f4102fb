//! Directories within a budget of descriptors: never too many, never the wrong one, never a
//! deadlock.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use statline_platform::{
    Backend, BackendChoice, DirNode, Entries, Fields, Handle, HandleStats, Handles, Identity, Kind,
    Metadata, Name, NameBuf, errno_from_name, error_code, is_cancelled, is_replaced, select,
};

use crate::common;

const GO_ON: &dyn Fn() -> bool = &|| false;

fn handles(budget: usize) -> Handles {
    Handles::new(select(BackendChoice::Auto).unwrap(), budget)
}

fn child(parent: &Arc<DirNode>, name: &str) -> Arc<DirNode> {
    DirNode::child(parent, NameBuf::new(name.as_bytes()).unwrap().as_name())
}

/// Opens so many other directories that everything idle is evicted.
fn evict_all(handles: &Handles, root: &Arc<DirNode>) {
    let path = root.root_path().join(".others");
    for index in 0..8 {
        fs::create_dir_all(path.join(index.to_string())).unwrap();
        let node = child(&child(root, ".others"), &index.to_string());
        handles.pin(&node, GO_ON).unwrap();
    }
}

fn list(handles: &Handles, node: &Arc<DirNode>) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut listing = handles.list(node, GO_ON)?;
    let mut entries = Entries::default();
    while listing.read(&mut entries)? {}
    Ok((0..entries.len())
        .map(|index| entries.name(index).as_bytes().to_vec())
        .collect())
}

#[test]
fn what_is_below_a_root_that_has_moved_away_has_not_vanished() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("root");
    fs::create_dir_all(place.join("a/b")).unwrap();
    let handles = handles(4);
    let root = handles.open_root(&place).unwrap();
    handles.retire(&root);

    fs::rename(&place, home.path().join("elsewhere")).unwrap();
    let error = handles.pin(&child(&root, "a"), GO_ON).unwrap_err();
    assert!(is_replaced(&error), "{error:?}");
}

#[test]
fn a_directory_that_was_replaced_is_refused_on_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir_all(path.join("a/b")).unwrap();
    let handles = handles(4);
    let root = handles.open_root(path).unwrap();
    let a = child(&root, "a");
    let b = child(&a, "b");
    handles.pin(&b, GO_ON).unwrap();
    evict_all(&handles, &root);

    fs::rename(path.join("a"), path.join("elsewhere")).unwrap();
    fs::create_dir_all(path.join("a/b")).unwrap();
    let error = handles.pin(&b, GO_ON).unwrap_err();
    assert!(is_replaced(&error), "{error:?}");
    assert_eq!(error_code(&error), "REPLACED");
    assert!(
        handles
            .list(&a, GO_ON)
            .is_err_and(|error| is_replaced(&error))
    );

    fs::rename(path.join("a"), path.join("intruder")).unwrap();
    fs::rename(path.join("elsewhere"), path.join("a")).unwrap();
    handles.pin(&b, GO_ON).unwrap();
}

#[test]
fn a_symbolic_link_in_a_directorys_place_is_never_followed() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let path = directory.path();
    for name in ["before", "after"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    let handles = handles(4);
    let root = handles.open_root(path).unwrap();
    let (before, after) = (child(&root, "before"), child(&root, "after"));
    handles.pin(&after, GO_ON).unwrap();
    evict_all(&handles, &root);

    for node in [before, after] {
        let place = path.join(node.name().to_os_str());
        fs::remove_dir(&place).unwrap();
        symlink(outside.path(), &place).unwrap();
        let error = handles.pin(&node, GO_ON).unwrap_err();
        assert!(
            matches!(&*error_code(&error), "ENOTDIR" | "ELOOP" | "EMLINK"),
            "{error:?}"
        );
    }
}

#[test]
fn a_followed_link_is_followed_again_on_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("target/inside")).unwrap();
    symlink(outside.path().join("target"), directory.path().join("link")).unwrap();
    let handles = handles(4);
    let root = handles.open_root(directory.path()).unwrap();
    let link = DirNode::child_followed(&root, NameBuf::new(b"link").unwrap().as_name());
    let inside = child(&link, "inside");
    handles.pin(&inside, GO_ON).unwrap();
    evict_all(&handles, &root);
    handles.pin(&inside, GO_ON).unwrap();

    // Elsewhere now, so not the directory that was being scanned.
    fs::create_dir_all(outside.path().join("other/inside")).unwrap();
    evict_all(&handles, &root);
    fs::remove_file(directory.path().join("link")).unwrap();
    symlink(outside.path().join("other"), directory.path().join("link")).unwrap();
    assert!(is_replaced(&handles.pin(&link, GO_ON).unwrap_err()));
}

#[test]
fn a_directory_may_be_listed_twice_at_once_and_again_later() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..2_000 {
        File::create(directory.path().join(format!("file-{index}"))).unwrap();
    }
    for backend in common::backends() {
        let handles = Handles::new(backend, 8);
        let root = handles.open_root(directory.path()).unwrap();
        let mut first = handles.list(&root, GO_ON).unwrap();
        let mut names = Entries::default();
        assert!(first.read(&mut names).unwrap());
        assert_eq!(list(&handles, &root).unwrap().len(), 2_000);
        while first.read(&mut names).unwrap() {}
        assert_eq!(names.len(), 2_000, "one listing moved the other");
        drop(first);
        assert_eq!(list(&handles, &root).unwrap().len(), 2_000);
        assert_eq!(handles.stats().open, 1);
    }
}

#[test]
fn a_directory_that_lingers_is_there_as_it_was_until_it_is_retired() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("a")).unwrap();
    for backend in common::backends() {
        let handles = Handles::new(backend, 8);
        let root = handles.open_root(directory.path()).unwrap();
        let mut listing = handles.list(&root, GO_ON).unwrap();
        while listing.read(&mut Entries::default()).unwrap() {}
        listing.linger();
        let a = handles.pin(&child(&root, "a"), GO_ON).unwrap();
        assert_eq!(list(&handles, &root).unwrap().len(), 1);
        assert_eq!((handles.stats().opened, handles.stats().reopened), (2, 0));

        handles.retire(&root);
        assert_eq!(handles.stats().open, 1, "only what is pinned");
        drop(a);
    }
}

#[test]
fn waiting_for_a_descriptor_or_a_lease_ends_when_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let handles = handles(4);
    for name in ["a", "b", "c", "d", "e"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let root = handles.open_root(directory.path()).unwrap();
    let nodes = ["a", "b", "c", "d", "e"].map(|name| child(&root, name));
    let until = |start: Instant| move || start.elapsed() > Duration::from_millis(50);

    let listing = handles.list(&nodes[0], GO_ON).unwrap();
    let start = Instant::now();
    let error = handles.list(&nodes[1], &until(start)).unwrap_err();
    assert!(
        is_cancelled(&error) && start.elapsed() < Duration::from_secs(5),
        "{error:?}"
    );

    // These and the root, which the next one is opened from.
    let pins: Vec<_> = nodes[1..3]
        .iter()
        .map(|node| handles.pin(node, GO_ON).unwrap())
        .collect();
    let start = Instant::now();
    let error = handles.pin(&nodes[4], &until(start)).unwrap_err();
    assert!(
        is_cancelled(&error) && start.elapsed() < Duration::from_secs(5),
        "{error:?}"
    );
    assert_eq!(handles.stats().open, 4);
    // What is there already needs no descriptor.
    handles.pin(&nodes[0], GO_ON).unwrap();
    drop((listing, pins));
    handles.pin(&nodes[4], GO_ON).unwrap();
}

#[test]
fn who_waits_for_a_descriptor_keeps_none_from_others() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["a/inside", "b", "c", "d"] {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    let handles = handles(4);
    let root = handles.open_root(directory.path()).unwrap();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| child(&root, name));
    let pins = [&a, &b, &c].map(|node| handles.pin(node, GO_ON).unwrap());
    assert_eq!(handles.stats().open, 4, "these and the root");

    // It would come from the root, and there is no room for one more.
    let (asks, asked) = mpsc::channel();
    let (waiting, place) = (handles.clone(), Arc::clone(&d));
    let waiter = thread::spawn(move || {
        let cancelled = || {
            let _ = asks.send(());
            false
        };
        waiting.pin(&place, &cancelled).map(drop)
    });
    // Before it looks for the first time, and after its first wait.
    for _ in 0..2 {
        asked.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    // This one takes the place of the root, which nobody uses.
    let looks = Cell::new(0);
    let inside = handles.pin(&child(&a, "inside"), &|| {
        looks.set(looks.get() + 1);
        looks.get() > 50
    });
    let inside = inside.unwrap();
    drop((pins, inside));
    waiter.join().unwrap().unwrap();
}

/// Makes `levels` levels of `width` directories each, every one with `width` files.
fn make_tree(path: &Path, width: usize, levels: usize) -> usize {
    let mut entries = 0;
    for index in 0..width {
        File::create(path.join(format!("file-{index}"))).unwrap();
        entries += 1;
        if levels > 0 {
            let below = path.join(format!("directory-{index}"));
            fs::create_dir(&below).unwrap();
            entries += 1 + make_tree(&below, width, levels - 1);
        }
    }
    entries
}

/// Scans as the stages do: listers hand on what they read over a channel that is nearly always
/// full, and keep their listing while they wait; statters take it from there.
fn scan(handles: &Handles, root: &Path, listers: usize, statters: usize) -> usize {
    type Batch = (Arc<DirNode>, Entries);
    let frontier = Mutex::new(vec![handles.open_root(root).unwrap()]);
    let unlisted = AtomicUsize::new(1);
    let statted = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel::<Batch>(1);
    let receiver = Mutex::new(receiver);
    let list_all = |sender: mpsc::SyncSender<Batch>| {
        while unlisted.load(Ordering::SeqCst) > 0 {
            let Some(node) = frontier.lock().unwrap().pop() else {
                thread::yield_now();
                continue;
            };
            let mut listing = handles.list(&node, GO_ON).unwrap();
            loop {
                let mut entries = Entries::default();
                let more = listing.read(&mut entries).unwrap();
                for index in 0..entries.len() {
                    if entries.kind(index) == Some(Kind::Directory) {
                        unlisted.fetch_add(1, Ordering::SeqCst);
                        let child = DirNode::child(&node, entries.name(index));
                        frontier.lock().unwrap().push(child);
                    }
                }
                // Blocks, while the listing is held.
                sender.send((Arc::clone(&node), entries)).unwrap();
                if !more {
                    break;
                }
            }
            unlisted.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let stat_all = || loop {
        let batch = receiver.lock().unwrap().recv();
        let Ok((node, entries)) = batch else { return };
        let pinned = handles.pin(&node, GO_ON).unwrap();
        for index in 0..entries.len() {
            let name = entries.name(index);
            handles
                .backend()
                .stat(&pinned, name, Fields::BASIC, false)
                .unwrap();
            statted.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        for _ in 0..statters {
            scope.spawn(stat_all);
        }
        for _ in 0..listers {
            let sender = sender.clone();
            scope.spawn(|| list_all(sender));
        }
        drop(sender);
    });
    statted.into_inner()
}

/// Fails instead of hanging for ever.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    wait.recv_timeout(limit)
        .expect("deadlock, or a panic above")
}

#[test]
fn four_descriptors_serve_many_threads_without_deadlock() {
    let directory = tempfile::tempdir().unwrap();
    let entries = make_tree(directory.path(), 5, 3);
    let path = directory.path().to_owned();
    for backend in common::backends() {
        let path = path.clone();
        let (statted, stats) = within(Duration::from_secs(30), move || {
            let handles = Handles::new(backend, 4);
            (scan(&handles, &path, 6, 6), handles.stats())
        });
        assert_eq!(statted, entries);
        assert!(stats.peak <= 4, "{stats:?}");
        assert!(
            stats.reopened > 0 && stats.evicted > 0,
            "nothing was tested: {stats:?}"
        );
    }
}

#[test]
fn a_generous_budget_opens_every_directory_once() {
    let directory = tempfile::tempdir().unwrap();
    let entries = make_tree(directory.path(), 5, 2);
    let handles = handles(100);
    assert_eq!(scan(&handles, directory.path(), 4, 4), entries);
    let HandleStats {
        opened,
        reopened,
        evicted,
        ..
    } = handles.stats();
    assert_eq!((opened, reopened, evicted), (1 + 5 + 25, 0, 0));
}

#[test]
fn a_process_without_descriptors_is_waited_for_and_nothing_is_lost() {
    const NAME: &str = "handles::a_process_without_descriptors_is_waited_for_and_nothing_is_lost";
    if !common::under_limit(NAME, 64) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let entries = make_tree(directory.path(), 5, 3);
    // All but a few are taken by the rest of the program, some of them for a while only.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let given_back = taken.split_off(taken.len() - 6);
    let path = directory.path().to_owned();
    let giver = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(given_back);
    });
    let statted = within(Duration::from_secs(30), move || {
        let handles = handles(1_000);
        scan(&handles, &path, 4, 4)
    });
    giver.join().unwrap();
    assert_eq!(statted, entries);
    drop(taken);
}

#[test]
fn a_descriptor_that_an_attempt_itself_gives_back_is_none_to_be_had() {
    const NAME: &str = "handles::a_descriptor_that_an_attempt_itself_gives_back_is_none_to_be_had";
    if !common::under_limit(NAME, 64) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    let handles = handles(1_000);
    let root = handles.open_root(directory.path()).unwrap();
    handles.retire(&root);
    let b = child(&child(&root, "a"), "b");
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    // A descent has two directories open at a time, and there is room for one.
    taken.pop();
    let asked = Cell::new(0);
    let error = handles.pin(&b, &|| {
        asked.set(asked.get() + 1);
        asked.get() > 50
    });
    assert!(is_cancelled(&error.unwrap_err()));
    taken.pop();
    handles.pin(&b, GO_ON).unwrap();
}

#[test]
fn the_budget_counts_the_descriptors_that_are_really_open() {
    // In a process of its own: other tests open files too.
    const NAME: &str = "handles::the_budget_counts_the_descriptors_that_are_really_open";
    if !common::under_limit(NAME, 256) {
        return;
    }
    const BUDGET: usize = 6;
    let directory = tempfile::tempdir().unwrap();
    let entries = make_tree(directory.path(), 4, 3);
    for real in common::backends() {
        // A new descriptor gets the lowest free number, so these are the ones that a budget may use.
        let free: Vec<File> = (0..BUDGET)
            .map(|_| File::open("/dev/null").unwrap())
            .collect();
        let allowed = free.last().unwrap().as_raw_fd();
        drop(free);
        let fake = Arc::new(Fake::new(real));
        let handles = Handles::new(Arc::clone(&fake) as Arc<dyn Backend>, BUDGET);
        assert_eq!(scan(&handles, directory.path(), 4, 4), entries);
        let again = [
            handles.open_root(directory.path()).unwrap(),
            handles.open_root(directory.path()).unwrap(),
        ];
        thread::scope(|scope| {
            // Second listings of a directory, and handles that are discarded, count as well.
            for index in 0..4 {
                let (handles, root) = (&handles, &again[index % 2]);
                scope.spawn(move || {
                    for _ in 0..500 {
                        list(handles, root).unwrap();
                        handles.discard(handles.pin(root, GO_ON).unwrap());
                    }
                });
            }
        });
        assert_eq!(fake.highest.load(Ordering::SeqCst), allowed);
        assert!(handles.stats().open <= BUDGET);
    }
}

/// A backend whose openings fail for a while, and which knows the highest descriptor that it opened.
#[derive(Debug)]
struct Fake {
    real: Arc<dyn Backend>,
    errno: AtomicI32,
    failures: AtomicUsize,
    highest: AtomicI32,
}

impl Fake {
    fn new(real: Arc<dyn Backend>) -> Fake {
        let (errno, highest) = (AtomicI32::new(0), AtomicI32::new(0));
        Fake {
            real,
            errno,
            failures: AtomicUsize::new(0),
            highest,
        }
    }

    /// Fails as often as it was told to.
    fn pretend(&self) -> io::Result<()> {
        let fewer = |failures: usize| failures.checked_sub(1);
        let failures = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        match failures {
            Ok(_) => Err(io::Error::from_raw_os_error(
                self.errno.load(Ordering::SeqCst),
            )),
            Err(_) => Ok(()),
        }
    }

    fn opened(&self, handle: Handle) -> Handle {
        self.highest
            .fetch_max(handle.as_fd().as_raw_fd(), Ordering::SeqCst);
        handle
    }
}

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn open_root(&self, path: &Path) -> io::Result<Handle> {
        self.real.open_root(path).map(|handle| self.opened(handle))
    }
    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
        self.pretend()?;
        self.real
            .open_child(parent, name, follow)
            .map(|handle| self.opened(handle))
    }
    fn identify(&self, directory: &Handle) -> io::Result<Identity> {
        self.real.identify(directory)
    }
    fn rewind(&self, directory: &Handle) -> io::Result<()> {
        self.real.rewind(directory)
    }
    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
        self.real.read_names(directory, out)
    }
    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata> {
        self.real.stat(directory, name, fields, follow)
    }
    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        self.real.read_link(directory, name, out)
    }
    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
        self.pretend()?;
        self.real.open_file(directory, name, follow)
    }
    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
        self.real.stat_file(file, fields)
    }
}

/// Opens `a/b` while openings fail `failures` times.
fn open_failing(errno: &'static str, failures: usize) -> (io::Result<()>, HandleStats) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    let fake = Arc::new(Fake::new(select(BackendChoice::Auto).unwrap()));
    let handles = Handles::new(Arc::clone(&fake) as Arc<dyn Backend>, 8);
    let a = child(&handles.open_root(directory.path()).unwrap(), "a");
    handles.pin(&a, GO_ON).unwrap();
    fake.errno
        .store(errno_from_name(errno).unwrap(), Ordering::SeqCst);
    fake.failures.store(failures, Ordering::SeqCst);
    let result = handles.pin(&child(&a, "b"), GO_ON).map(drop);
    (result, handles.stats())
}

#[test]
fn what_is_stale_is_reopened_three_times() {
    let (result, stats) = open_failing("ESTALE", 1);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(stats.reopened, 1, "{stats:?}");
    let (result, _) = open_failing("ESTALE", 3);
    assert!(result.is_ok(), "{result:?}");
    let (result, _) = open_failing("ESTALE", 4);
    assert_eq!(error_code(&result.unwrap_err()), "ESTALE");
}

#[test]
fn a_lack_of_descriptors_that_ends_is_no_error() {
    for errno in ["EMFILE", "ENFILE"] {
        let (result, stats) = open_failing(errno, 5);
        assert!(result.is_ok(), "{result:?}");
        assert!(stats.evicted > 0, "{stats:?}");
    }
    let (result, _) = open_failing("EACCES", 1);
    assert_eq!(error_code(&result.unwrap_err()), "EACCES");
}

#[test]
fn a_file_system_that_lacks_descriptors_itself_is_not_waited_for() {
    for errno in ["EMFILE", "ENFILE"] {
        let (result, _) = open_failing(errno, usize::MAX);
        assert_eq!(error_code(&result.unwrap_err()), errno);
    }
}

/// Opens the file `a/file` while openings fail `failures` times.
fn open_file_failing(errno: &'static str, failures: usize) -> io::Result<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("a")).unwrap();
    fs::write(directory.path().join("a/file"), "contents").unwrap();
    let fake = Arc::new(Fake::new(select(BackendChoice::Auto).unwrap()));
    let handles = Handles::new(Arc::clone(&fake) as Arc<dyn Backend>, 8);
    let a = child(&handles.open_root(directory.path()).unwrap(), "a");
    handles.pin(&a, GO_ON).unwrap();
    fake.errno
        .store(errno_from_name(errno).unwrap(), Ordering::SeqCst);
    fake.failures.store(failures, Ordering::SeqCst);
    let name = NameBuf::new(b"file").unwrap();
    let file = handles.open_file(&a, name.as_name(), false, GO_ON)?;
    io::read_to_string(file)
}

#[test]
fn files_are_opened_over_the_same_obstacles_as_directories() {
    for (errno, failures) in [("ESTALE", 1), ("EMFILE", 5), ("ENFILE", 5)] {
        let contents = open_file_failing(errno, failures).unwrap();
        assert_eq!(contents, "contents", "{errno}");
    }
    for (errno, failures) in [("ESTALE", 9), ("EMFILE", usize::MAX), ("EACCES", 1)] {
        let error = open_file_failing(errno, failures).unwrap_err();
        assert_eq!(error_code(&error), errno);
    }
}

#[test]
fn a_discarded_handle_is_opened_anew_and_lasts_for_those_who_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let handles = handles(8);
    let root = handles.open_root(directory.path()).unwrap();
    let kept = handles.pin(&root, GO_ON).unwrap();
    handles.discard(handles.pin(&root, GO_ON).unwrap());
    handles
        .backend()
        .stat(&kept, Name::EMPTY, Fields::BASIC, false)
        .unwrap();
    let anew = handles.pin(&root, GO_ON).unwrap();
    assert_eq!((handles.stats().open, handles.stats().reopened), (2, 1));
    drop(kept);
    assert_eq!(handles.stats().open, 1);
    drop(anew);
}

#[test]
fn what_a_thread_that_hangs_holds_is_made_up_for() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let handles = handles(4);
    let root = handles.open_root(directory.path()).unwrap();
    let nodes = ["a", "b", "c"].map(|name| child(&root, name));
    // The only lease, and what it takes to open one directory more.
    let hanging = (
        handles.list(&nodes[0], GO_ON).unwrap(),
        handles.pin(&nodes[1], GO_ON).unwrap(),
        handles.pin(&root, GO_ON).unwrap(),
    );
    let asked = Cell::new(0);
    let long_enough = || {
        asked.set(asked.get() + 1);
        asked.get() > 20
    };
    let error = handles.list(&nodes[2], &long_enough).unwrap_err();
    assert!(is_cancelled(&error), "{error:?}");

    handles.write_off();
    asked.set(0);
    drop(handles.list(&nodes[2], &long_enough).unwrap());
    drop(hanging);
}
