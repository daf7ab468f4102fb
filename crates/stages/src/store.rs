//! What scans remember on disk: the directories that a cache has seen, and the digests of contents.
//!
//! One file holds it, below everything pages with checksums (`pages.rs`), on them an embedded database. A run reads what
//! was there before it began, writes into one transaction, and commits that when all its outputs have their names, or
//! not at all. One thing must stay true: whoever finds a store finds what the last run left that delivered, or a reason
//! why not; never a part, and never a panic.

mod digest;
pub(crate) mod directory;
mod header;
mod inspect;
mod keys;
mod pages;
mod place;
mod positioned;
mod root_ids;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use redb::{
    Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use statline_platform::FileId;

pub(crate) use self::digest::Digest;
pub use self::inspect::{RootInfo, STORE_INFO_SCHEMA, StoreInfo, compact_store, verify_store};
pub(crate) use self::keys::{Key, Root};
pub(crate) use self::place::Access;
pub use self::root_ids::RootIds;
use self::root_ids::root_id;
pub use self::run::{LastRun, STORE_PUT_ASIDE_FACT};

/// Root ids and their numbers.
const ROOTS: TableDefinition<'_, &[u8], u32> = TableDefinition::new("roots");
/// Packed directories by [`Key`].
const DIRECTORIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("directories");
/// Digests by root and file id.
const DIGESTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("digests");
/// What is known of the store as a whole.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const LAST_RUN: &str = "last_run";

/// Bytes of pages that the database keeps in memory, read and not yet written ones together.
const MEMORY: usize = 24 << 20;

type Bytes = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the store {}: {}", path.display(), problem.explain())]
pub struct StoreError {
    path: PathBuf,
    pub(crate) problem: StoreProblem,
}

/// What is wrong with a store.
#[derive(Debug)]
pub(crate) enum StoreProblem {
    /// Somebody else has locked it.
    InUse,
    /// The file is something else.
    NotAStore,
    /// The run that created it did not come to its end.
    NotReady,
    /// It was written by a program that knows another format.
    Foreign(u32),
    /// It is not what was written.
    Damaged(String),
    /// The system, or the database, said no.
    Failed(&'static str, String),
    /// There is no file.
    Missing,
}

impl StoreError {
    pub(crate) fn new(path: &Path, problem: StoreProblem) -> StoreError {
        StoreError {
            path: path.to_owned(),
            problem,
        }
    }

    fn io(path: &Path, operation: &'static str, error: io::Error) -> StoreError {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => StoreProblem::Missing,
            _ => StoreProblem::Failed(operation, error.to_string()),
        };
        StoreError::new(path, problem)
    }

    fn database(path: &Path, operation: &'static str, error: redb::Error) -> StoreError {
        let problem = match error {
            redb::Error::Io(error) => place::problem_of(&error)
                .unwrap_or_else(|| StoreProblem::Failed(operation, error.to_string())),
            redb::Error::Corrupted(what) => StoreProblem::Damaged(what),
            // Sound pages of something else.
            redb::Error::UpgradeRequired(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. } => StoreProblem::Damaged(error.to_string()),
            other => StoreProblem::Failed(operation, other.to_string()),
        };
        StoreError::new(path, problem)
    }
}

/// An open store.
pub(crate) struct Store {
    path: PathBuf,
    /// What the last run left.
    before: Before,
    run: Mutex<Run>,
    /// Whether somebody in this run goes by how old things are.
    ages_count: AtomicBool,
    /// By what the job knows its roots.
    ids: OnceLock<RootIds>,
    put_aside: Option<(PathBuf, StoreProblem)>,
    /// Last, so that nothing refers to it any more when it is closed.
    database: Database,
}

/// The tables as they were when the store was opened.
struct Before {
    roots: ReadOnlyTable<&'static [u8], u32>,
    directories: Bytes,
    digests: Bytes,
    about: ReadOnlyTable<&'static str, &'static [u8]>,
}

/// What this run does to the store.
#[derive(Default)]
struct Run {
    transaction: Option<WriteTransaction>,
    /// Those who write and have not said yet whether they delivered.
    writers: usize,
    /// Whether one of them did not deliver.
    spoilt: bool,
    /// Roots that were not there before.
    roots: Vec<(Vec<u8>, u32)>,
}

impl Store {
    /// Opens the store at `path`. With [`Access::Own`] one that is not there is created, and one that is no good is put
    /// aside first. `goes_on` is asked now and then; where it says no, opening ends as interrupted.
    pub(crate) fn open(
        path: &Path,
        access: Access,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Store, StoreError> {
        let mut aside = None;
        loop {
            let place = place::open(path, access, goes_on)?;
            let put_aside = aside.take().or(place.put_aside);
            match Store::on(path, place.pages, put_aside) {
                Err(error) if access == Access::Own && error.is_no_good() => {
                    aside = Some((place::put_aside(path)?, error.problem));
                }
                opened => return opened,
            }
        }
    }

    fn on(
        path: &Path,
        pages: pages::PagedFile,
        put_aside: Option<(PathBuf, StoreProblem)>,
    ) -> Result<Store, StoreError> {
        let wrong = |error| StoreError::database(path, "open", error);
        let is_ready = pages.is_ready();
        let database = Builder::new()
            .set_cache_size(MEMORY)
            .create_with_backend(pages.clone())
            .map_err(|error| wrong(error.into()))?;
        if !is_ready {
            let create = || -> Result<(), redb::Error> {
                let mut transaction = begin(&database)?;
                transaction.set_quick_repair(true);
                transaction.open_table(ROOTS)?;
                transaction.open_table(DIRECTORIES)?;
                transaction.open_table(DIGESTS)?;
                transaction.open_table(ABOUT)?;
                transaction.commit()?;
                pages.set_ready()?;
                Ok(())
            };
            create().map_err(wrong)?;
        }
        let before = Before::of(&database).map_err(wrong)?;
        Ok(Store {
            path: path.to_owned(),
            before,
            run: Mutex::default(),
            ages_count: AtomicBool::new(false),
            ids: OnceLock::new(),
            put_aside,
            database,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file went that was here and no good, and what was wrong with it.
    pub(crate) fn put_aside(&self) -> Option<(&Path, String)> {
        let (path, problem) = self.put_aside.as_ref()?;
        Some((path, problem.explain()))
    }

    /// Notes that this run goes by the age of what is remembered: then whoever looks at something says when.
    pub(crate) fn count_ages(&self) {
        self.ages_count.store(true, Ordering::Relaxed);
    }

    /// Whether this run goes by the age of what is remembered.
    pub(crate) fn ages_count(&self) -> bool {
        self.ages_count.load(Ordering::Relaxed)
    }

    /// Notes by what the job knows its roots. Called while stages open.
    pub(crate) fn set_ids(&self, ids: &RootIds) {
        let _ = self.ids.set(ids.clone());
    }

    /// The id of the root at `path`.
    pub(crate) fn id_of(&self, path: &Path, follows_links: bool) -> Vec<u8> {
        root_id(self.ids.get(), path, follows_links)
    }

    /// The root with this id, if an earlier run has seen it.
    pub(crate) fn root_before(&self, id: &[u8]) -> Result<Option<Root>, StoreError> {
        let found = self.before.roots.get(id);
        let found = found.map_err(|error| self.failed("read", error))?;
        Ok(found.map(|number| Root(number.value())))
    }

    /// The root with this id, new or not.
    pub(crate) fn root(&self, id: &[u8]) -> Result<Root, StoreError> {
        if let Some(root) = self.root_before(id)? {
            return Ok(root);
        }
        let mut run = self.run();
        if let Some((_, number)) = run.roots.iter().find(|(known, _)| known == id) {
            return Ok(Root(*number));
        }
        let number = self.writing(&mut run, |transaction| {
            let mut roots = transaction.open_table(ROOTS)?;
            let highest = roots.iter()?.try_fold(0, |highest: u32, entry| {
                let (_, number) = entry?;
                Ok::<u32, redb::StorageError>(highest.max(number.value()))
            })?;
            let number = highest.saturating_add(1);
            roots.insert(id, number)?;
            Ok(number)
        })?;
        run.roots.push((id.to_vec(), number));
        Ok(Root(number))
    }

    /// Puts what was remembered of a directory into `value`. Returns whether there was anything.
    pub(crate) fn directory_before(
        &self,
        key: &Key,
        value: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        value.clear();
        let found = self.before.directories.get(key.bytes());
        let found = found.map_err(|error| self.failed("read", error))?;
        Ok(found.is_some_and(|found| {
            value.extend_from_slice(found.value());
            true
        }))
    }

    /// The directories that were remembered below one, by their paths from there, but for those whose paths are too long.
    pub(crate) fn paths_below(
        &self,
        key: &Key,
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, StoreError>>, StoreError> {
        let prefix = key.below().unwrap_or_default();
        let found = match prefix.is_empty() {
            true => None,
            false => Some(
                (self.before.directories.range(&prefix[..]..))
                    .map_err(|error| self.failed("read", error))?,
            ),
        };
        let paths = found
            .into_iter()
            .flatten()
            .map_while(move |entry| match entry {
                Ok((key, _)) => key
                    .value()
                    .strip_prefix(&prefix[..])
                    .map(|rest| Ok(rest.to_vec())),
                Err(error) => Some(Err(self.failed("read", error))),
            });
        Ok(paths)
    }

    /// As [`directory_before`](Store::directory_before), with what this run has written.
    pub(crate) fn directory_now(&self, key: &Key, value: &mut Vec<u8>) -> Result<bool, StoreError> {
        let mut run = self.run();
        if run.transaction.is_none() {
            drop(run);
            return self.directory_before(key, value);
        }
        value.clear();
        self.writing(&mut run, |transaction| {
            let directories = transaction.open_table(DIRECTORIES)?;
            let found = directories.get(key.bytes())?;
            Ok(found.is_some_and(|found| {
                value.extend_from_slice(found.value());
                true
            }))
        })
    }

    /// Remembers a directory; an empty value forgets it.
    pub(crate) fn put_directory(&self, key: &Key, value: &[u8]) -> Result<(), StoreError> {
        self.writing(&mut self.run(), |transaction| {
            let mut directories = transaction.open_table(DIRECTORIES)?;
            match value.is_empty() {
                true => _ = directories.remove(key.bytes())?,
                false => _ = directories.insert(key.bytes(), value)?,
            }
            Ok(())
        })
    }

    /// The digest of a file's contents that an earlier run found.
    pub(crate) fn digest_before(
        &self,
        root: Root,
        file: FileId,
    ) -> Result<Option<Digest>, StoreError> {
        let found = self.before.digests.get(&digest::key(root, file)[..]);
        let found = found.map_err(|error| self.failed("read", error))?;
        Ok(found.and_then(|found| Digest::read(found.value())))
    }

    /// Remembers digests.
    pub(crate) fn put_digests(
        &self,
        root: Root,
        digests: impl IntoIterator<Item = (FileId, Digest)>,
    ) -> Result<(), StoreError> {
        self.writing(&mut self.run(), |transaction| {
            let mut table = transaction.open_table(DIGESTS)?;
            for (file, digest) in digests {
                let value = digest.to_bytes();
                table.insert(&digest::key(root, file)[..], &value[..])?;
            }
            Ok(())
        })
    }

    /// Forgets what earlier runs found out of the contents of files.
    pub(crate) fn forget_digests(
        &self,
        root: Root,
        files: impl IntoIterator<Item = FileId>,
    ) -> Result<(), StoreError> {
        use redb::ReadableTableMetadata;
        let empty = self.before.digests.is_empty();
        if empty.map_err(|error| self.failed("read", error))? && self.run().transaction.is_none() {
            return Ok(());
        }
        let before = &self.before.digests;
        self.writing(&mut self.run(), |transaction| {
            let mut table = transaction.open_table(DIGESTS)?;
            for file in files {
                let key = &digest::key(root, file)[..];
                // What this run has found out holds: the file has another name by now.
                let is_old = match (before.get(key)?, table.get(key)?) {
                    (Some(before), Some(now)) => before.value() == now.value(),
                    _ => false,
                };
                if is_old {
                    table.remove(key)?;
                }
            }
            Ok(())
        })
    }

    fn run(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, operation: &'static str, error: impl Into<redb::Error>) -> StoreError {
        StoreError::database(&self.path, operation, error.into())
    }

    /// Does something in the transaction of this run.
    fn writing<R>(
        &self,
        run: &mut Run,
        work: impl FnOnce(&WriteTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        let transaction = match &mut run.transaction {
            Some(transaction) => transaction,
            none => {
                none.insert(begin(&self.database).map_err(|error| self.failed("write to", error))?)
            }
        };
        work(transaction).map_err(|error| self.failed("write to", error))
    }
}

impl Before {
    fn of(database: &Database) -> Result<Before, redb::Error> {
        let transaction = database.begin_read()?;
        Ok(Before {
            roots: transaction.open_table(ROOTS)?,
            directories: transaction.open_table(DIRECTORIES)?,
            digests: transaction.open_table(DIGESTS)?,
            about: transaction.open_table(ABOUT)?,
        })
    }
}

impl StoreError {
    /// Whether there is no store yet.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.problem, StoreProblem::Missing | StoreProblem::NotReady)
    }

    /// Whether the file is not what was written, or not for this program: then a new one is better.
    pub(crate) fn is_no_good(&self) -> bool {
        matches!(
            self.problem,
            StoreProblem::Damaged(_) | StoreProblem::Foreign(_)
        )
    }
}

/// A transaction that is either all there after a crash or not at all, and costs no repair then.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
