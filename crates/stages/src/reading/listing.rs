//! What is asked of the file system to list a directory, inside watched calls.
//!
//! One thing must stay true: what a call brings is handed over whole, and an end that it did not see is never told.

use std::io;
use std::sync::Arc;

use statline_pipeline::Pulse;
use statline_platform::{DirNode, Entries, Filesystem, Identity, Kind, Listing};

use crate::admission::Admission;
use crate::enumerate::Scan;
use crate::mount::{Mount, MountKey};
use crate::politeness::{Escort, pass};

/// Fewer names than that are not all that one call of the system can tell, so the next call tells that there are no more.
const FEW_NAMES: usize = 256;

/// A directory that was opened.
pub(super) struct Opened {
    pub(super) listing: Listing,
    pub(super) admission: Admission,
    /// The mount that it is on, if that is not the one where it was looked for.
    pub(super) elsewhere: Option<Arc<Mount>>,
    /// What was listed of it right away.
    pub(super) read: Option<Read>,
}

/// What was listed of a directory.
pub(super) struct Read {
    pub(super) names: Entries,
    /// Whether there is more.
    pub(super) more: io::Result<bool>,
    /// How many calls it took.
    pub(super) calls: u64,
}

/// Opens a directory to list it, and finds out which mount it is on, unless it is the one that it was looked for on.
/// Given memory for names, it is also listed, if it is on that mount and to be read. Then one step of the call is done
/// when it is open.
pub(super) fn open(
    scan: &Scan,
    node: &Arc<DirNode>,
    here: Option<&Arc<Mount>>,
    names: Option<Entries>,
    escort: Option<&Escort>,
    pulse: &Pulse,
) -> io::Result<Opened> {
    let passage = pass(escort, 1, pulse)?;
    passage.spend(1, pulse)?;
    let mut listing = scan.directories.handles.list(node, &|| {
        pulse.alive();
        scan.context.is_stopping() || scan.context.has_given_up()
    })?;
    let is_here = |identity: &Identity| here.filter(|here| here.key == MountKey::from(identity));
    let strange = node
        .identity()
        .filter(|identity| is_here(identity).is_none());
    let found = strange.map(|identity| {
        let known = scan.mounts.known(MountKey::from(identity));
        known.unwrap_or_else(|| {
            let filesystem = Filesystem::of(listing.handle()).ok();
            scan.mounts.of(identity, node, filesystem)
        })
    });
    // Listing needs a passage of its own.
    drop(passage);
    let admission = scan.admit(node, |on| match is_here(on) {
        Some(here) => here.filesystem,
        None => scan.mounts.known(MountKey::from(on))?.filesystem,
    });
    let elsewhere = found.filter(|found| here.is_none_or(|here| !Arc::ptr_eq(here, found)));
    let reads = elsewhere.is_none() && matches!(admission, Admission::Enter);
    let read = names.filter(|_| reads).map(|names| {
        pulse.done(1);
        read(&mut listing, names, true, escort, pulse)
    });
    Ok(Opened {
        listing,
        admission,
        elsewhere,
        read,
    })
}

/// Lists the next names of a directory. Where calls are quick, its end is found out as well, if there are few: to look up
/// from each call takes as long as the call.
pub(super) fn read(
    listing: &mut Listing,
    mut names: Entries,
    quick: bool,
    escort: Option<&Escort>,
    pulse: &Pulse,
) -> Read {
    names.clear();
    let mut calls = 0;
    let more = loop {
        let more = pass(escort, 1, pulse).and_then(|passage| {
            passage.spend(1, pulse)?;
            listing.read(&mut names)
        });
        calls += 1;
        pulse.done(1 + calls);
        if !(quick && matches!(more, Ok(true)) && names.len() < FEW_NAMES) {
            break more;
        }
    };
    Read { names, more, calls }
}

/// Keeps metadata that came with the names, as some systems give both in one call, but not that of a link that stands
/// for something else: the listing describes the link. Returns of how many entries it is kept.
pub(super) fn take_over_metadata(chunk: &mut Entries, follows_links: bool) -> u64 {
    let mut kept = 0;
    for entry in 0..chunk.len() {
        match follows_links && chunk.kind(entry) == Some(Kind::Symlink) {
            true => chunk.forget_metadata(entry),
            false => kept += u64::from(chunk.metadata(entry).is_some()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::fs;

    use statline_platform::{BackendChoice, Handles, Metadata, select};

    use super::*;

    #[test]
    fn the_end_of_a_small_directory_is_found_out_at_once_where_calls_are_quick() {
        let small = tempfile::tempdir().unwrap();
        let large = tempfile::tempdir().unwrap();
        for (directory, files) in [(&small, 3), (&large, 2 * FEW_NAMES)] {
            (0..files).for_each(|file| {
                fs::write(directory.path().join(file.to_string()), "").unwrap();
            });
        }
        let handles = Handles::new(select(BackendChoice::Auto).unwrap(), 8);
        let read = |directory: &tempfile::TempDir, quick| {
            let root = handles.open_root(directory.path()).unwrap();
            let mut listing = handles.list(&root, &|| false).unwrap();
            let pulse = Pulse::default();
            let read = read(&mut listing, Entries::default(), quick, None, &pulse);
            (read.names.len(), read.more.unwrap(), read.calls)
        };
        assert_eq!(read(&small, true), (3, false, 2));
        assert_eq!(read(&small, false), (3, true, 1));
        let (names, more, calls) = read(&large, true);
        assert!(names >= FEW_NAMES && more && calls == 1, "{names} {calls}");
    }

    #[test]
    fn metadata_of_a_followed_link_is_asked_for_and_that_of_others_is_not() {
        let listed = || {
            let mut chunk = Entries::default();
            for kind in [Kind::File, Kind::Symlink, Kind::Directory] {
                chunk.push_with_metadata(b"name", Metadata::with_kind(kind));
            }
            chunk
        };
        let known = |chunk: &Entries| {
            let is_known = |entry| chunk.metadata(entry).is_some();
            [0, 1, 2].map(is_known)
        };
        let mut chunk = listed();
        assert_eq!(take_over_metadata(&mut chunk, false), 3);
        assert_eq!(known(&chunk), [true; 3]);
        assert_eq!(take_over_metadata(&mut chunk, true), 2);
        assert_eq!(known(&chunk), [true, false, true]);
        assert_eq!(chunk.kind(1), Some(Kind::Symlink));
    }
}
