//! Patterns of names and paths that a scan leaves out.

use std::borrow::Cow;
use std::ffi::OsStr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use statline_platform::{DirNode, Name};

/// Compiled `exclude` patterns.
///
/// A pattern without a slash is about names, at any depth. One with a slash is about paths below the root: `cache/*`
/// leaves out what is in the root's `cache`, `**/cache/*` what is in any. A slash at the end restricts a pattern to
/// directories. What is left out is left out whole, with all below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excludes {
    names: GlobSet,
    paths: GlobSet,
    directory_names: GlobSet,
    directory_paths: GlobSet,
    any_paths: bool,
    any: bool,
}

impl Excludes {
    /// Compiles patterns; reports each that is wrong by its place.
    pub(crate) fn compile(patterns: &[String], mut wrong: impl FnMut(usize, String)) -> Excludes {
        let mut sets: [GlobSetBuilder; 4] = std::array::from_fn(|_| GlobSetBuilder::new());
        let mut any_paths = false;
        for (place, pattern) in patterns.iter().enumerate() {
            let only_directories = pattern.ends_with('/');
            let trimmed = pattern.trim_end_matches('/');
            let about_paths = trimmed.contains('/');
            any_paths |= about_paths;
            let glob = GlobBuilder::new(trimmed.trim_start_matches('/'))
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            match glob {
                Ok(_) if trimmed.is_empty() => {
                    wrong(place, "an empty pattern matches nothing".to_owned())
                }
                Ok(glob) => {
                    sets[usize::from(about_paths) + 2 * usize::from(only_directories)].add(glob);
                }
                Err(error) => wrong(place, error.kind().to_string()),
            }
        }
        // Patterns that compile alone fail together only by their sheer size.
        let [names, paths, directory_names, directory_paths] = sets.map(|set| {
            set.build().unwrap_or_else(|error| {
                wrong(0, error.to_string());
                GlobSet::empty()
            })
        });
        Excludes {
            names,
            paths,
            directory_names,
            directory_paths,
            any_paths,
            any: !patterns.is_empty(),
        }
    }

    /// Whether there is any pattern.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Appends the path below the root that [`matches`](Excludes::matches) wants for entries of `directory`, if any
    /// pattern is about paths.
    pub(crate) fn write_prefix(&self, directory: &DirNode, out: &mut Vec<u8>) {
        if !self.any_paths {
            return;
        }
        let components: Vec<_> = directory
            .ancestors()
            .take_while(|node| !node.is_root())
            .map(DirNode::name)
            .collect();
        for name in components.iter().rev() {
            out.extend_from_slice(name.as_bytes());
            out.push(b'/');
        }
    }

    /// Whether an entry is left out. `prefix` is scratch space that holds what
    /// [`write_prefix`](Excludes::write_prefix) wrote, and holds it again afterwards.
    pub(crate) fn matches(&self, prefix: &mut Vec<u8>, name: Name<'_>, is_directory: bool) -> bool {
        let file_name = os_str(name.as_bytes());
        if self.names.is_match(&*file_name)
            || (is_directory && self.directory_names.is_match(&*file_name))
        {
            return true;
        }
        if !self.any_paths {
            return false;
        }
        let length = prefix.len();
        prefix.extend_from_slice(name.as_bytes());
        let path = os_str(prefix);
        let matches =
            self.paths.is_match(&*path) || (is_directory && self.directory_paths.is_match(&*path));
        drop(path);
        prefix.truncate(length);
        matches
    }
}

/// A name or a path as patterns take it.
#[cfg(unix)]
fn os_str(bytes: &[u8]) -> Cow<'_, OsStr> {
    Cow::Borrowed(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
}

/// A name or a path as patterns take it: what is no Unicode in it is as good as any character.
#[cfg(not(unix))]
fn os_str(bytes: &[u8]) -> Cow<'_, OsStr> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(OsStr::new(text)),
        Cow::Owned(text) => Cow::Owned(text.into()),
    }
}
