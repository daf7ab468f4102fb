//! The part that the paths of a directory's entries share, put together once for all of them.
//!
//! One thing must stay true: the prefix followed by a row's name is the row's path.

use std::sync::Arc;

use statline_platform::DirNode;

use crate::Row;

/// What comes before the name in the path of the last row that was entered.
#[derive(Default)]
pub(crate) struct PathPrefix {
    /// Whose entries the prefix is for.
    directory: Option<Arc<DirNode>>,
    bytes: Vec<u8>,
    is_utf8: bool,
}

impl PathPrefix {
    /// Turns to a row. Returns whether the prefix is another one than before.
    #[inline]
    pub(crate) fn enter(&mut self, row: &Row<'_>) -> bool {
        let same = self
            .directory
            .as_ref()
            .is_some_and(|directory| Arc::ptr_eq(directory, row.directory));
        if same && !row.name.is_empty() {
            return false;
        }
        self.change(row);
        true
    }

    #[cold]
    fn change(&mut self, row: &Row<'_>) {
        self.bytes.clear();
        row.write_path(&mut self.bytes);
        self.bytes
            .truncate(self.bytes.len() - row.name.as_bytes().len());
        self.is_utf8 = std::str::from_utf8(&self.bytes).is_ok();
        // A root itself has no name and no slash after its path, so nothing else shares its prefix.
        self.directory = (!row.name.is_empty()).then(|| Arc::clone(row.directory));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the prefix is UTF-8. As it ends at a slash, the path is if the name is, too.
    pub(crate) fn is_utf8(&self) -> bool {
        self.is_utf8
    }
}
