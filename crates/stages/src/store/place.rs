//! A store's file: found or created, locked, looked at, and moved out of the way if it is no good.
//!
//! One thing must stay true: nothing here changes a byte of a file that is not a sound store, and no name is given to a
//! file that leads to another one already.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::header::{FirstPage, Header, VERSION};
use super::pages::{PAGE, PagedFile};
use super::positioned::read_exact_at;
use super::{StoreError, StoreProblem};
use crate::temporary::{leads_to, sync_directory};

/// Others may create, move or remove the file meanwhile.
const ATTEMPTS: usize = 16;

/// What is wanted of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To write; it is created if it is not there, and replaced if it is no good.
    Own,
    /// To write to a sound store that is there.
    Alter,
    /// To read a sound store that is there.
    Read,
}

/// A file that holds a store, or will.
pub(crate) struct Place {
    pub(crate) pages: PagedFile,
    /// Where the file went that was in its place and no good, and why it was none.
    pub(crate) put_aside: Option<(PathBuf, StoreProblem)>,
}

/// Opens and locks the file at `path`, and reads all of it.
pub(crate) fn open(
    path: &Path,
    access: Access,
    goes_on: &dyn Fn() -> bool,
) -> Result<Place, StoreError> {
    let mut put_aside = None;
    for _ in 0..ATTEMPTS {
        let file = match open_file(path, access) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && access == Access::Own => {
                match create(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(StoreError::io(path, "create", error)),
                }
            }
            Err(error) => return Err(StoreError::io(path, "open", error)),
        };
        lock(path, &file, access)?;
        if !leads_to(path, &file) {
            // It was moved away before it was locked.
            continue;
        }
        let problem = match look(&file, path, access)? {
            Ok(pages) => match pages.verify(goes_on) {
                Ok(()) => return Ok(Place { pages, put_aside }),
                Err(error) => match problem_of(&error) {
                    Some(problem) => problem,
                    None => return Err(StoreError::io(path, "read", error)),
                },
            },
            Err(problem) => problem,
        };
        if access != Access::Own {
            return Err(StoreError::new(path, problem));
        }
        let to = move_aside(path).map_err(|error| StoreError::io(path, "put aside", error))?;
        put_aside = Some((to, problem));
    }
    Err(StoreError::new(path, StoreProblem::InUse))
}

/// What an error says of the file, if it says that the file is no good.
pub(crate) fn problem_of(error: &io::Error) -> Option<StoreProblem> {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Some(StoreProblem::Damaged(error.to_string()))
        }
        _ => None,
    }
}

/// Looks at the first page and the length.
fn look(
    file: &File,
    path: &Path,
    access: Access,
) -> Result<Result<PagedFile, StoreProblem>, StoreError> {
    let reading = |error| StoreError::io(path, "read", error);
    let length = file.metadata().map_err(reading)?.len();
    let mut first = vec![0; length.min(PAGE as u64) as usize];
    read_exact_at(file, &mut first, 0).map_err(reading)?;
    let header = match Header::read(&first) {
        FirstPage::Empty if access == Access::Own => fresh(file, path)?,
        FirstPage::Empty => return Ok(Err(StoreProblem::NotReady)),
        FirstPage::NotOurs => return Err(StoreError::new(path, StoreProblem::NotAStore)),
        FirstPage::Foreign(version) => return Ok(Err(StoreProblem::Foreign(version))),
        FirstPage::Damaged => {
            let message = format!("the first page of {} is damaged", path.display());
            return Ok(Err(StoreProblem::Damaged(message)));
        }
        FirstPage::Sound(header) if !header.ready && access == Access::Own => fresh(file, path)?,
        FirstPage::Sound(header) if !header.ready => return Ok(Err(StoreProblem::NotReady)),
        FirstPage::Sound(header) => header,
    };
    let alters = access != Access::Read;
    Ok(Ok(PagedFile::new(
        file.try_clone().map_err(reading)?,
        path,
        header,
        alters,
    )))
}

/// Begins anew in a file in which no store was ever whole.
fn fresh(file: &File, path: &Path) -> Result<Header, StoreError> {
    let writing = |error| StoreError::io(path, "write", error);
    file.set_len(0).map_err(writing)?;
    let header = Header::new(random());
    super::positioned::write_all_at(file, &header.to_page(), 0).map_err(writing)?;
    Ok(header)
}

/// A number that no other store has.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn lock(path: &Path, file: &File, access: Access) -> Result<(), StoreError> {
    let locked = match access {
        Access::Read => file.try_lock_shared(),
        Access::Own | Access::Alter => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::new(path, StoreProblem::InUse)),
        Err(TryLockError::Error(error)) => Err(StoreError::io(path, "lock", error)),
    }
}

/// Opens what is there, if it is a regular file and no link.
fn open_file(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(access != Access::Read);
    let file = without_surprises(&mut options).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Creates the file, for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = without_surprises(&mut options).open(path)?;
    sync_directory(directory_of(path))?;
    Ok(file)
}

/// Follows no link, waits for no writer of a pipe, and lets nobody else read what is created.
#[cfg(unix)]
fn without_surprises(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.mode(0o600).custom_flags(flags.bits() as i32)
}

#[cfg(not(unix))]
fn without_surprises(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Renames the file to `FILE.damaged-TIME`, which was no other file's name before.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut number = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{now}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        let aside = PathBuf::from(name);
        // Renaming takes the place of a file; of this one only. Closed before that, as Windows wants it.
        match create(&aside).map(drop) {
            Ok(()) => {
                std::fs::rename(path, &aside)?;
                sync_directory(directory_of(path))?;
                return Ok(aside);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Moves a file out of the way of which the database says that it is no good, though every page is sound.
pub(crate) fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    move_aside(path).map_err(|error| StoreError::io(path, "put aside", error))
}

impl StoreProblem {
    pub(crate) fn explain(&self) -> String {
        match self {
            StoreProblem::InUse => "another run uses it".to_owned(),
            StoreProblem::NotAStore => {
                "it is not a store that a cache made; name another file, or remove this one"
                    .to_owned()
            }
            StoreProblem::NotReady => "no run has written anything to it yet".to_owned(),
            StoreProblem::Foreign(version) => {
                format!("it has version {version} of the format, and this is for {VERSION}")
            }
            StoreProblem::Damaged(what) => what.clone(),
            StoreProblem::Missing => "there is no such file".to_owned(),
            StoreProblem::Failed(operation, error) => format!("cannot {operation} it: {error}"),
        }
    }
}
