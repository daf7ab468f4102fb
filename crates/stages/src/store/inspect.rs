//! What is in a store, for people: a count of it, a check of it, and a way to make it smaller.
//!
//! One thing must stay true: whoever only looks alters nothing.

use std::path::Path;

use redb::{Builder, ReadableTable, ReadableTableMetadata};
use serde::Serialize;

use super::directory::Directory;
use super::{Access, Digest, LastRun, MEMORY, Store, StoreError, StoreProblem, place};

/// The version of the form of [`StoreInfo`].
pub const STORE_INFO_SCHEMA: u32 = 1;

/// What is in a store.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StoreInfo {
    /// [`STORE_INFO_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The length of the file.
    pub bytes: u64,
    /// Directories of which something is remembered.
    pub directories: u64,
    /// Entries that are remembered.
    pub entries: u64,
    /// Digests of contents.
    pub digests: u64,
    /// The run that wrote to it last, if any has.
    pub last_run: Option<LastRun>,
    /// What of that belongs to each root.
    pub roots: Vec<RootInfo>,
}

/// What a store remembers of one root.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RootInfo {
    /// What the store calls it: `path` and its absolute path, or `id` and the id that the job gives it. Bytes that are
    /// not UTF-8 are written as escapes.
    pub id: String,
    /// Directories of which something is remembered.
    pub directories: u64,
    /// Entries that are remembered.
    pub entries: u64,
    /// The bytes that they take.
    pub bytes: u64,
    #[serde(skip)]
    number: u32,
}

impl StoreInfo {
    /// Looks into the store at `path`. All of it is read.
    ///
    /// # Errors
    /// If there is no store, if it is damaged, or if a run uses it.
    pub fn of(path: &Path) -> Result<StoreInfo, StoreError> {
        let store = Store::open(path, Access::Read, &|| true)?;
        let length =
            std::fs::metadata(path).map_err(|error| StoreError::io(path, "read", error))?;
        let mut info = StoreInfo {
            schema: STORE_INFO_SCHEMA,
            bytes: length.len(),
            directories: 0,
            entries: 0,
            digests: 0,
            last_run: store.last_run()?,
            roots: Vec::new(),
        };
        store
            .count(&mut info)
            .map_err(|error| store.failed("read", error))?;
        Ok(info)
    }
}

impl Store {
    fn count(&self, info: &mut StoreInfo) -> Result<(), redb::Error> {
        for root in self.before.roots.iter()? {
            let (id, number) = root?;
            info.roots.push(RootInfo {
                id: readable(id.value()),
                directories: 0,
                entries: 0,
                bytes: 0,
                number: number.value(),
            });
        }
        for directory in self.before.directories.iter()? {
            let (key, value) = directory?;
            let (key, value) = (key.value(), value.value());
            let entries = Directory::read(value).map_or(0, |directory| directory.len()) as u64;
            info.directories += 1;
            info.entries += entries;
            let number = key.first_chunk().map(|number| u32::from_be_bytes(*number));
            let root = info
                .roots
                .iter_mut()
                .find(|root| Some(root.number) == number);
            if let Some(root) = root {
                root.directories += 1;
                root.entries += entries;
                root.bytes += (key.len() + value.len()) as u64;
            }
        }
        info.digests = self.before.digests.len()?;
        Ok(())
    }

    /// The first value that cannot be read, as a sentence.
    fn find_unreadable(&self) -> Result<Option<String>, redb::Error> {
        for directory in self.before.directories.iter()? {
            let (key, value) = directory?;
            let directory = Directory::read(value.value());
            if !directory.is_some_and(|directory| directory.len() > 0 && directory.is_sound()) {
                let key = key.value().escape_ascii();
                return Ok(Some(format!(
                    "what is kept of the directory {key} is no directory"
                )));
            }
        }
        for digest in self.before.digests.iter()? {
            let (key, value) = digest?;
            if Digest::read(value.value()).is_none() {
                let key = key.value().escape_ascii();
                return Ok(Some(format!("what is kept of the file {key} is no digest")));
            }
        }
        Ok(None)
    }
}

/// Reads all of a store: every page as it was written, every value as what it is for.
///
/// # Errors
/// If there is no store, if it is not sound, or if a run uses it.
pub fn verify_store(path: &Path) -> Result<(), StoreError> {
    let store = Store::open(path, Access::Read, &|| true)?;
    match store
        .find_unreadable()
        .map_err(|error| store.failed("read", error))?
    {
        None => Ok(()),
        Some(what) => Err(StoreError::new(path, StoreProblem::Damaged(what))),
    }
}

/// Gives back the space that a store does not need. Returns the length of the file before and after.
///
/// # Errors
/// If there is no store, if it is not sound, if a run uses it, or if it cannot be written.
pub fn compact_store(path: &Path) -> Result<(u64, u64), StoreError> {
    let length = || match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) => Err(StoreError::io(path, "read", error)),
    };
    let place = place::open(path, Access::Alter, &|| true)?;
    let before = length()?;
    let wrong = |error| StoreError::database(path, "compact", error);
    let mut database = Builder::new()
        .set_cache_size(MEMORY)
        .create_with_backend(place.pages)
        .map_err(|error| wrong(error.into()))?;
    while database.compact().map_err(|error| wrong(error.into()))? {}
    drop(database);
    Ok((before, length()?))
}

/// Bytes as text, those that are none as escapes.
fn readable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}
