//! Where in a job something stands: the path of its key, and the place that the key came from.
//!
//! A location is cheap to clone and owns what it names, so it outlives the document.
//!
//! What must stay true: a span is a byte range of the text that the [`Problems`](super::Problems)
//! at hand were made with.

use std::ops::Range;
use std::sync::Arc;

/// The place of a key or a value in a job.
///
/// The path reads as a user would write it: `stages.group.inputs`, `stages.walk.roots[2]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    path: String,
    origin: Origin,
}

/// What a value was written in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing that can be shown: a job built by a program, say.
    #[default]
    Nowhere,
    /// These bytes of the job's text.
    Text(Range<usize>),
    /// The `--set` argument with this text.
    Override(Arc<str>),
}

impl Location {
    /// The key at `path`, which stands at the bytes `span` of the job's text.
    pub fn new(path: impl Into<String>, span: Option<Range<usize>>) -> Self {
        let origin = span.map_or(Origin::Nowhere, Origin::Text);
        Self {
            path: path.into(),
            origin,
        }
    }

    /// The key at `path`, wherever that is.
    ///
    /// When the problem is pushed into the [`Problems`](super::Problems) of a file, the line of
    /// that key is looked up, or the line of the table that should hold it.
    pub fn of_path(path: impl Into<String>) -> Self {
        Self::new(path, None)
    }

    pub(crate) fn with_origin(path: String, origin: Origin) -> Self {
        Self { path, origin }
    }

    /// The key `key` of the table at this location. Its line is looked up like that of
    /// [`Location::of_path`].
    #[must_use]
    pub fn child(&self, key: &str) -> Self {
        Self::of_path(join(&self.path, key))
    }

    /// Something in the table at this location by its path there, such as `limits.size` or
    /// `roots[2]`. Its line is looked up like that of [`Location::of_path`].
    #[must_use]
    pub(crate) fn below(&self, path: &str) -> Self {
        Self::of_path(format!("{}.{path}", self.path))
    }

    /// The path of the key, such as `stages.group.inputs`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The bytes of the job's text, where the value was written there.
    pub fn span(&self) -> Option<Range<usize>> {
        match &self.origin {
            Origin::Text(span) => Some(span.clone()),
            Origin::Nowhere | Origin::Override(_) => None,
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// The path of `key` below `path`, the key in quotes where TOML wants them.
pub(crate) fn join(path: &str, key: &str) -> String {
    let mut joined = String::with_capacity(path.len() + key.len() + 1);
    joined.push_str(path);
    push(&mut joined, key);
    joined
}

/// Goes on from the path of a table to that of its `key`.
pub(super) fn push(path: &mut String, key: &str) {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !path.is_empty() {
        path.push('.');
    }
    match bare {
        true => path.push_str(key),
        false => path.push_str(&format!("{key:?}")),
    }
}
