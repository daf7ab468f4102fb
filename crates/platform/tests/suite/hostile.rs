//! Every backend sees in a hostile tree what the standard library sees, entry by entry.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use statline_platform::{
    Backend, DirNode, Entries, Fields, Handle, Handles, Kind, Metadata, default_budget, error_code,
};
use statline_testfs::{HostileTree, hostile_tree};

/// Walks the tree with nothing but this crate, and compares on the way.
fn walk_and_compare(backend: &Arc<dyn Backend>, root: &Path, budget: usize) -> BTreeSet<Vec<u8>> {
    let handles = Handles::new(Arc::clone(backend), budget);
    let mut seen = BTreeSet::new();
    let mut waiting = vec![handles.open_root(root).unwrap()];
    let mut deepest = Arc::clone(&waiting[0]);
    while let Some(node) = waiting.pop() {
        let children = match compare_directory(&handles, &node, &mut seen) {
            Ok(children) => children,
            Err(error) => {
                // Root may read everything.
                assert_eq!(error_code(&error), "EACCES", "{node:?}");
                assert_eq!(node.name().as_bytes(), b"unreadable");
                seen.insert(b"modes/unreadable/inside".to_vec());
                continue;
            }
        };
        if node.depth() > deepest.depth() {
            deepest = node;
        }
        waiting.extend(children);
    }
    // All the way down again, after everything above was evicted.
    assert!(deepest.depth() > 2_000);
    handles.pin(&deepest, &|| false).unwrap();
    let stats = handles.stats();
    assert!(stats.peak <= budget.max(4), "{stats:?}");
    seen
}

fn compare_directory(
    handles: &Handles,
    node: &Arc<DirNode>,
    seen: &mut BTreeSet<Vec<u8>>,
) -> io::Result<Vec<Arc<DirNode>>> {
    let backend = handles.backend();
    let mut listing = handles.list(node, &|| false)?;
    let mut entries = Entries::default();
    while listing.read(&mut entries)? {}
    slices_are_as_single_calls(backend, listing.handle(), &entries);
    let mut children = Vec::new();
    for index in 0..entries.len() {
        let name = entries.name(index);
        let mut path = Vec::new();
        node.write_entry_path(name, &mut path);

        let ours = backend.stat(listing.handle(), name, Fields::ALL, false);
        let std = crate::common::std_metadata(listing.handle(), name);
        match (&ours, &std) {
            (Ok(ours), Ok(std)) => crate::common::assert_same(ours, std, &path),
            // In a directory that may be listed but not searched, unless we are root.
            (Err(ours), Err(std)) => assert_eq!(ours.raw_os_error(), std.raw_os_error()),
            _ => panic!("{ours:?} against {std:?} for {}", path.escape_ascii()),
        }
        let kind = ours.ok().and_then(|metadata| metadata.kind());
        assert!(
            entries
                .kind(index)
                .is_none_or(|hint| kind.is_none_or(|kind| kind == hint))
        );
        if kind == Some(Kind::Symlink) {
            let mut target = b"-> ".to_vec();
            backend.read_link(listing.handle(), name, &mut target)?;
            let std = fs::read_link(crate::common::std_path(listing.handle(), name))?;
            assert_eq!(target, [b"-> ", std.as_os_str().as_bytes()].concat());
        }
        if kind == Some(Kind::Directory) {
            children.push(DirNode::child(node, name));
        }
        let relative = path[node.root_path().as_os_str().len() + 1..].to_vec();
        assert!(seen.insert(relative), "{} came twice", path.escape_ascii());
    }
    Ok(children)
}

/// Asks about all entries at once, from the last to the first, and about one after another.
fn slices_are_as_single_calls(backend: &Arc<dyn Backend>, directory: &Handle, entries: &Entries) {
    let order: Vec<u32> = (0..).take(entries.len()).collect();
    let order: Vec<u32> = order.into_iter().rev().collect();
    for follow in [false, true] {
        let mut told = Vec::new();
        let sink = &mut |index, result: io::Result<Metadata>| {
            let name = entries.name(index as usize);
            let single = backend.stat(directory, name, Fields::ALL, follow);
            match (result, single) {
                (Ok(ours), Ok(single)) => assert_eq!(ours, single, "{name:?}"),
                (Err(ours), Err(single)) => {
                    assert_eq!(ours.raw_os_error(), single.raw_os_error(), "{name:?}");
                }
                (ours, single) => panic!("{ours:?} against {single:?} for {name:?}"),
            }
            told.push(index);
        };
        backend.stat_each(directory, entries, &order, Fields::ALL, follow, sink);
        assert_eq!(told, order, "{}", backend.name());
    }
}

fn every_backend_agrees(tree: &HostileTree, budget: usize) {
    let expected: BTreeSet<Vec<u8>> = tree.paths().iter().cloned().collect();
    for backend in crate::common::backends() {
        let seen = walk_and_compare(&backend, tree.root(), budget);
        let missing: Vec<_> = expected
            .difference(&seen)
            .map(|path| path.escape_ascii())
            .collect();
        let invented: Vec<_> = seen
            .difference(&expected)
            .map(|path| path.escape_ascii())
            .collect();
        assert!(
            missing.is_empty() && invented.is_empty(),
            "{missing:?} {invented:?}"
        );
    }
}

#[test]
fn every_backend_sees_what_the_standard_library_sees() {
    let parent = tempfile::tempdir().unwrap();
    let tree = hostile_tree(&parent.path().join("tree")).unwrap();
    every_backend_agrees(&tree, default_budget());
    every_backend_agrees(&tree, 4);
}

#[test]
fn sixty_four_descriptors_are_enough() {
    if !crate::common::under_limit("hostile::sixty_four_descriptors_are_enough", 64) {
        return;
    }
    assert_eq!(default_budget(), 32);
    // Often another file system than that of the other test.
    let shared_memory = Path::new("/dev/shm");
    let parent = tempfile::tempdir_in(shared_memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let tree = hostile_tree(&parent.path().join("tree")).unwrap();
    every_backend_agrees(&tree, default_budget());
    // More than there are: the system refuses before the budget does.
    every_backend_agrees(&tree, 1_000);
}
