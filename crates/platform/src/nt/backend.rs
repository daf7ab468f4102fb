//! The backend itself: opens, lists, and asks.
//!
//! One thing must stay true: what is opened without following is no link. Windows opens whatever a reparse point stands
//! for unless told otherwise, and some of them (cloud files, deduplicated ones) have to be opened like that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::OwnedHandle;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN_FOR_BACKUP_INTENT,
    FILE_OPEN_REPARSE_POINT,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DIRECTORY, ERROR_FILE_NOT_FOUND, ERROR_INVALID_NAME,
    ERROR_SHARING_VIOLATION, ERROR_STOPPED_ON_SYMLINK,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_READ_DATA,
    SYNCHRONIZE,
};

use super::class::DirectoryClass;
use super::listing::{Cursor, Query};
use super::native::{self, AttributeTag, SHARE_ALL, information};
use super::record::{ATTRIBUTE_DIRECTORY, ATTRIBUTE_REPARSE_POINT, is_surrogate, parse_records};
use super::status::{Answer, Status};
use super::words::as_bytes;
use super::{file, reparse, wtf8};
use crate::{Backend, Entries, Fault, Fields, Handle, Identity, Metadata, Name};

thread_local! {
    static BUFFER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// `STATUS_FILE_IS_A_DIRECTORY`.
const IS_A_DIRECTORY: Status = Status(0xC000_00BA);

/// `STATUS_NOT_A_REPARSE_POINT`.
const NOT_A_REPARSE_POINT: Status = Status(0xC000_0275);

/// `NtQueryDirectoryFile` and the calls around it.
#[derive(Debug, Default)]
pub struct Nt {
    /// The only class to use.
    forced: Option<DirectoryClass>,
    /// Whether to open each file for its metadata, instead of taking what its directory says.
    exact: bool,
    /// The class that each volume turned out to have, by the volume's number.
    classes: Mutex<HashMap<u64, DirectoryClass>>,
    queries: AtomicU64,
    bytes: AtomicU64,
    directories: AtomicU64,
    files: AtomicU64,
}

/// What an [`Nt`] did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NtCounters {
    /// Queries of directories, those that were denied or found the end included.
    pub queries: u64,
    /// Bytes of records that they gave.
    pub bytes: u64,
    /// Directories opened.
    pub directories: u64,
    /// Entries opened to ask for their metadata, or looked up by name.
    pub files: u64,
}

impl Nt {
    /// Takes metadata as it comes with the names, of the best class that each volume has.
    #[must_use]
    pub fn new() -> Nt {
        Nt::default()
    }

    /// Opens each file for its metadata. A directory of NTFS may be late with sizes and times of files that are open for
    /// writing or have several names, and does not know how many names they have.
    #[must_use]
    pub fn exact() -> Nt {
        Nt {
            exact: true,
            ..Nt::default()
        }
    }

    /// Uses this class, and no other where a volume does not have it: for tests.
    #[must_use]
    pub fn forced(class: DirectoryClass) -> Nt {
        Nt {
            forced: Some(class),
            ..Nt::default()
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> NtCounters {
        NtCounters {
            queries: self.queries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            directories: self.directories.load(Relaxed),
            files: self.files.load(Relaxed),
        }
    }

    /// The class that the volume with this number turned out to have.
    #[must_use]
    pub fn class_of(&self, volume: u64) -> Option<DirectoryClass> {
        self.classes().get(&volume).copied()
    }

    fn classes(&self) -> MutexGuard<'_, HashMap<u64, DirectoryClass>> {
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory that was opened, as what is handed out.
    fn handle(&self, file: OwnedHandle) -> io::Result<Handle> {
        self.directories.fetch_add(1, Relaxed);
        Ok(Handle {
            identity: file::identity(&file)?,
            file,
            cursor: Mutex::default(),
        })
    }

    /// Asks the directory for one entry, where that cannot be opened: a file that somebody has for himself, or that only
    /// others may look into. Its directory knows it all the same.
    fn look_up(&self, directory: &Handle, name: &[u16], fields: Fields) -> io::Result<Metadata> {
        // It would be a pattern, as the system understands them.
        if name
            .iter()
            .any(|unit| b"*?<>\"".map(u16::from).contains(unit))
        {
            return Err(os_error(ERROR_ACCESS_DENIED));
        }
        let listed = native::open(
            &directory.file,
            &[],
            FILE_LIST_DIRECTORY,
            FILE_DIRECTORY_FILE | FILE_OPEN_FOR_BACKUP_INTENT,
        )?;
        let mut buffer = [0; 128];
        let mut class = self.forced.unwrap_or(DirectoryClass::IdExtd);
        loop {
            self.queries.fetch_add(1, Relaxed);
            let (status, filled) =
                native::query_directory(&listed, class, Some(name), true, &mut buffer);
            match (Answer::of(status, filled), class.next()) {
                (Answer::Records(filled), _) => {
                    let bytes = as_bytes(&buffer);
                    let records = bytes.get(..filled).ok_or(Fault::Malformed)?;
                    let mut found = Entries::default();
                    let volume = Some(directory.identity.device);
                    parse_records(class, records, volume, &mut found)
                        .map_err(|_| Fault::Malformed)?;
                    let metadata = found.metadata(0).cloned();
                    let mut metadata = metadata.ok_or(os_error(ERROR_FILE_NOT_FOUND))?;
                    metadata.keep(fields);
                    return Ok(metadata);
                }
                (Answer::NoSuchClass, Some(next)) if self.forced.is_none() => class = next,
                (Answer::End, _) => return Err(os_error(ERROR_FILE_NOT_FOUND)),
                _ => return Err(status.into()),
            }
        }
    }
}

/// A directory being listed.
struct Listed<'a> {
    backend: &'a Nt,
    directory: &'a Handle,
}

impl Query for Listed<'_> {
    fn query(&self, class: DirectoryClass, restart: bool, buffer: &mut [u64]) -> (Status, usize) {
        let answer = native::query_directory(&self.directory.file, class, None, restart, buffer);
        self.backend.queries.fetch_add(1, Relaxed);
        if let Answer::Records(filled) = Answer::of(answer.0, answer.1) {
            self.backend.bytes.fetch_add(filled as u64, Relaxed);
        }
        answer
    }

    fn error(&self, status: Status) -> io::Error {
        status.into()
    }

    fn first_class(&self) -> DirectoryClass {
        let known = || self.backend.class_of(self.volume());
        let forced = self.backend.forced.or_else(known);
        forced.unwrap_or(DirectoryClass::IdExtd)
    }

    fn class_after(&self, class: DirectoryClass) -> Option<DirectoryClass> {
        class.next().filter(|_| self.backend.forced.is_none())
    }

    fn note_class(&self, class: DirectoryClass) {
        self.backend.classes().insert(self.volume(), class);
    }

    fn volume(&self) -> u64 {
        self.directory.identity.device
    }
}

impl Backend for Nt {
    fn name(&self) -> &'static str {
        if self.exact { "nt-exact" } else { "nt" }
    }

    fn open_root(&self, path: &Path) -> io::Result<Handle> {
        self.handle(open_path(
            path,
            FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES,
            true,
        )?)
    }

    fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
        let name = match name == Name::DOT {
            true => Vec::new(),
            false => units(name)?,
        };
        let access = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES;
        self.handle(open_no_link(
            &parent.file,
            &name,
            access,
            FILE_DIRECTORY_FILE,
            follow,
        )?)
    }

    fn identify(&self, directory: &Handle) -> io::Result<Identity> {
        Ok(directory.identity)
    }

    fn rewind(&self, directory: &Handle) -> io::Result<()> {
        cursor(directory).rewind();
        Ok(())
    }

    fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
        let mut cursor = cursor(directory);
        let listed = Listed {
            backend: self,
            directory,
        };
        BUFFER.with_borrow_mut(|buffer| {
            if !self.exact {
                return cursor.read(&listed, buffer, out);
            }
            let mut entries = Entries::default();
            let more = cursor.read(&listed, buffer, &mut entries);
            for index in 0..entries.len() {
                let (kind, inode) = (entries.kind(index), entries.inode_hint(index));
                out.push(entries.name(index).as_bytes(), kind, inode);
            }
            more
        })
    }

    fn stat(
        &self,
        directory: &Handle,
        name: Name<'_>,
        fields: Fields,
        follow: bool,
    ) -> io::Result<Metadata> {
        if name.is_empty() {
            return file::metadata(&directory.file, fields);
        }
        self.files.fetch_add(1, Relaxed);
        let name = units(name)?;
        let opened = native::open(
            &directory.file,
            &name,
            FILE_READ_ATTRIBUTES,
            FILE_OPEN_FOR_BACKUP_INTENT | itself_unless(follow),
        );
        match opened.map_err(io::Error::from) {
            Ok(file) => file::metadata(&file, fields),
            // What a link leads to cannot be looked up.
            Err(error) if is_refusal(&error) && !follow => {
                self.look_up(directory, &name, fields).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    fn read_link(&self, directory: &Handle, name: Name<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let link = native::open(
            &directory.file,
            &units(name)?,
            FILE_READ_ATTRIBUTES,
            FILE_OPEN_FOR_BACKUP_INTENT | FILE_OPEN_REPARSE_POINT,
        )?;
        // MAXIMUM_REPARSE_DATA_BUFFER_SIZE
        let mut buffer = vec![0; 16 * 1024 / size_of::<u64>()];
        let filled = native::reparse_data(&link, &mut buffer)?;
        let data = as_bytes(&buffer).get(..filled).ok_or(Fault::Malformed)?;
        match reparse::target(data, out) {
            true => Ok(()),
            false => Err(NOT_A_REPARSE_POINT.into()),
        }
    }

    fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
        let access = FILE_READ_DATA | FILE_READ_ATTRIBUTES;
        let name = units(name)?;
        open_no_link(
            &directory.file,
            &name,
            access,
            FILE_NON_DIRECTORY_FILE,
            follow,
        )
        .map(File::from)
    }

    fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
        // As the Unixes do: what only some calls know is not told of an open file.
        file::metadata(file, fields)
    }

    fn details(&self, directory: &Handle) -> Vec<(&'static str, String)> {
        let volume = directory.identity.device;
        let class = match (self.class_of(volume), self.forced) {
            (Some(class), _) | (None, Some(class)) => {
                format!("{} ({})", class.as_str(), class.number())
            }
            (None, None) => "not known before something was listed".to_owned(),
        };
        let counters = self.counters();
        vec![
            ("volume", format!("{volume:#x}")),
            ("information_class", class),
            (
                "queries",
                format!(
                    "{} for {} bytes of records",
                    counters.queries, counters.bytes
                ),
            ),
        ]
    }
}

fn cursor(directory: &Handle) -> MutexGuard<'_, Cursor> {
    // A cursor is sound after a panic: what it says of the next query is set at once.
    directory
        .cursor
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn os_error(number: u32) -> io::Error {
    io::Error::from_raw_os_error(number.cast_signed())
}

/// Whether an entry is there and only cannot be opened.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION];
    let number = error.raw_os_error().map(i32::cast_unsigned);
    number.is_some_and(|number| refusals.contains(&number))
}

fn itself_unless(follow: bool) -> u32 {
    if follow { 0 } else { FILE_OPEN_REPARSE_POINT }
}

/// The name as the system takes it.
fn units(name: Name<'_>) -> io::Result<Vec<u16>> {
    wtf8::decode(name.as_bytes()).ok_or_else(|| os_error(ERROR_INVALID_NAME))
}

/// Opens an entry, and refuses a link unless told to `follow`.
fn open_no_link(
    directory: &OwnedHandle,
    name: &[u16],
    access: u32,
    options: u32,
    follow: bool,
) -> io::Result<OwnedHandle> {
    let options = options | FILE_OPEN_FOR_BACKUP_INTENT;
    let is_directory = |status| match status {
        IS_A_DIRECTORY => Fault::NotRegular.into(),
        status => io::Error::from(status),
    };
    let opened = native::open(directory, name, access, options | itself_unless(follow))
        .map_err(is_directory)?;
    if follow {
        return Ok(opened);
    }
    // Where nobody knows of reparse points there are none.
    let found = information::<AttributeTag>(&opened).unwrap_or_default();
    if found.attributes & ATTRIBUTE_REPARSE_POINT == 0 {
        return Ok(opened);
    }
    if found.tag == 0 || is_surrogate(found.tag) {
        return Err(os_error(ERROR_STOPPED_ON_SYMLINK));
    }
    // Contents that are kept elsewhere come only to who lets the system fetch them. The same file, should its name have
    // changed hands: the empty name is the file that is open.
    let fetched = native::open(&opened, &[], access, options).map_err(is_directory)?;
    match file::identity(&fetched)? == file::identity(&opened)? {
        true => Ok(fetched),
        false => Err(Fault::Replaced.into()),
    }
}

/// Opens what a user named, by whatever form of path, links included.
fn open_path(path: &Path, access: u32, only_directories: bool) -> io::Result<OwnedHandle> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    // Behind `\\?\` a slash is a letter for Windows, and for us never: no name has one.
    let units: Vec<u16> = path.as_os_str().encode_wide().collect();
    let units: Vec<u16> = units
        .into_iter()
        .map(|unit| {
            if unit == u16::from(b'/') {
                u16::from(b'\\')
            } else {
                unit
            }
        })
        .collect();
    let path: std::ffi::OsString = std::os::windows::ffi::OsStringExt::from_wide(&units);
    let file = File::options()
        .access_mode(access | SYNCHRONIZE)
        .share_mode(SHARE_ALL)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)?;
    let found: AttributeTag = information(&file).or_else(|_| attributes_of(&file))?;
    if only_directories && found.attributes & ATTRIBUTE_DIRECTORY == 0 {
        return Err(os_error(ERROR_DIRECTORY));
    }
    Ok(file.into())
}

/// The attributes where there are no tags.
fn attributes_of(file: &File) -> io::Result<AttributeTag> {
    let attributes = file::attributes(file)?;
    Ok(AttributeTag { attributes, tag: 0 })
}

/// The metadata of whatever is at a path.
pub(crate) fn stat_path(path: &Path, fields: Fields, follow: bool) -> io::Result<Metadata> {
    let parent = path.parent();
    match (parent, path.file_name(), follow) {
        // A link is only described by its name in its directory.
        (Some(parent), Some(name), false) => {
            let backend = Nt::new();
            let name = crate::NameBuf::new(name.as_encoded_bytes())?;
            let directory = backend.open_root(parent)?;
            backend.stat(&directory, name.as_name(), fields, false)
        }
        _ => file::metadata(&open_path(path, FILE_READ_ATTRIBUTES, false)?, fields),
    }
}
