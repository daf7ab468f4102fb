//! Which paths of a scan nothing is known of.
//!
//! A comparison asks here before it says that an entry is missing. One thing must stay true: what is not certain is
//! covered. Paths are those of the scan, as its root was given.

use std::collections::BTreeSet;
use std::ops::Bound;

use statline_pipeline::{Scope, Unread, UnreadList};

/// What a scan has not looked at, by path.
#[derive(Debug, Default)]
pub(crate) struct UnreadPaths {
    entries: BTreeSet<Vec<u8>>,
    /// Places below which nothing is known, either.
    subtrees: BTreeSet<Vec<u8>>,
    /// Nothing that was not seen is known not to be there.
    everything: bool,
}

impl UnreadPaths {
    /// Adds what one stage has not looked at.
    pub(crate) fn add(&mut self, list: UnreadList) {
        // What is not listed may be anything.
        self.everything |= list.more > 0;
        for Unread { subject, scope, .. } in list.items {
            match scope {
                Scope::Entry => self.entries.insert(subject),
                Scope::Subtree => self.subtrees.insert(subject),
            };
        }
    }

    /// Takes nothing for certain any more that was not seen.
    pub(crate) fn add_everything(&mut self) {
        self.everything = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.entries.is_empty() && self.subtrees.is_empty()
    }

    /// Whether an entry that was not seen may be there.
    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        if self.everything || self.entries.contains(path) || self.subtrees.contains(path) {
            return true;
        }
        if self.subtrees.is_empty() {
            return false;
        }
        let slashes = (0..path.len()).filter(|&at| path[at] == b'/');
        // The empty path is that of a root, too.
        self.subtrees.contains(&[][..])
            || slashes.into_iter().any(|at| {
                // A root may be given with a slash at its end.
                self.subtrees.contains(&path[..at]) || self.subtrees.contains(&path[..=at])
            })
    }

    /// Whether there may be something below a directory that was not seen.
    pub(crate) fn may_hide_below(&self, directory: &[u8]) -> bool {
        if self.covers(directory) {
            return true;
        }
        let mut below = directory.to_vec();
        if !below.ends_with(b"/") {
            below.push(b'/');
        }
        let is_below = |paths: &BTreeSet<Vec<u8>>| {
            let range = (Bound::Included(below.as_slice()), Bound::Unbounded);
            let first = paths.range::<[u8], _>(range).next();
            first.is_some_and(|path| path.starts_with(&below))
        };
        is_below(&self.entries) || is_below(&self.subtrees)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn unread(items: &[(&str, Scope)]) -> UnreadPaths {
        let mut list = UnreadList::default();
        for (subject, scope) in items {
            list.push(Unread {
                subject: subject.as_bytes().to_vec(),
                scope: *scope,
                reason: Cow::Borrowed("EACCES"),
            });
        }
        let mut paths = UnreadPaths::default();
        paths.add(list);
        paths
    }

    #[test]
    fn a_subtree_covers_what_is_below_it_and_an_entry_itself() {
        let paths = unread(&[
            ("r/a", Scope::Subtree),
            ("r/b", Scope::Entry),
            ("/", Scope::Entry),
        ]);
        for covered in ["r/a", "r/a/x", "r/a/x/y", "r/b", "/"] {
            assert!(paths.covers(covered.as_bytes()), "{covered}");
        }
        for certain in ["r", "r/ab", "r/b/x", "r/c", "", "/x", "a"] {
            assert!(!paths.covers(certain.as_bytes()), "{certain}");
        }
        for root in ["/", "dir/"] {
            let paths = unread(&[(root, Scope::Subtree)]);
            assert!(paths.covers(format!("{root}x").as_bytes()));
            assert!(paths.covers(format!("{root}x/y").as_bytes()));
        }
    }

    #[test]
    fn what_hides_below_a_directory_is_found_between_neighbours() {
        let paths = unread(&[("r/a/b/c", Scope::Entry), ("r/a.b", Scope::Subtree)]);
        for hiding in ["r", "r/a", "r/a/b", "r/a.b", "r/a.b/x"] {
            assert!(paths.may_hide_below(hiding.as_bytes()), "{hiding}");
        }
        for certain in ["r/a/b/c/d", "r/a/bb", "r/b", "r/a/b/"] {
            let hides = paths.may_hide_below(certain.as_bytes());
            assert_eq!(hides, certain.ends_with('/'), "{certain}");
        }
    }

    #[test]
    fn a_list_that_was_cut_leaves_nothing_certain() {
        let mut paths = UnreadPaths::default();
        assert!(paths.is_empty());
        paths.add(UnreadList::default());
        assert!(paths.is_empty() && !paths.covers(b"x"));
        let mut cut = UnreadList::default();
        cut.more = 1;
        paths.add(cut);
        assert!(!paths.is_empty() && paths.covers(b"x") && paths.may_hide_below(b"y"));
    }
}
