//! The digest of one file: it is opened, compared with what was seen of it, read, and compared once more.
//!
//! One thing must stay true: a digest is that of the contents that the record describes. A file that was replaced or
//! written to since, or while it was read, has none. What cannot be told is a write through a mapping that was begun
//! before: the system dates it when it likes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statline_platform::{Backend, DirNode, Fault, Fields, Metadata, Name, Timestamp, error_code};

use crate::ContentHash;
use crate::directories::Directories;

/// What is read in one call; each thread has so much memory for it. Measured to be best: 64 KiB takes half as long again,
/// 1 MiB, which no longer stays in a processor's own cache, a tenth more.
pub(crate) const CHUNK: usize = 256 << 10;

/// What tells whether a file is the one that was seen, and as it was.
const FINGERPRINT: Fields = Fields::DEVICE
    .union(Fields::INODE)
    .union(Fields::SIZE)
    .union(Fields::MODIFIED)
    .union(Fields::CHANGED);

/// How often a file is read whose inode changes meanwhile: a new link to it is no new content, and looks like one.
const READINGS: usize = 2;

/// How far two writes can be apart that a local file system dates alike, and more: its clock moves every 1 to 10 ms.
const TICK: Duration = Duration::from_millis(20);

/// How often a call is repeated that was interrupted, or told to try again.
const REPETITIONS: u32 = 3;

/// What was read of a file.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) hash: ContentHash,
    /// What the file was, before and after: size, times, identity.
    pub(crate) file: Metadata,
    /// When that was looked at first.
    pub(crate) looked_at: Timestamp,
}

/// Reads files. What all threads of a stage share.
pub(crate) struct Digester {
    pub(crate) directories: Arc<Directories>,
    pub(crate) backend: Arc<dyn Backend>,
}

impl Digester {
    /// The digest of the file `name`, of which `seen` is known. `buffer` takes its contents in passing. `goes_on` is
    /// told how many bytes were read since it was asked last, 0 where there is a wait, and says whether to go on.
    ///
    /// # Errors
    /// [`Fault::ContentChanged`] if it is no longer what was seen, [`Fault::Cancelled`] if `goes_on` said no, and
    /// whatever the system says.
    pub(crate) fn digest(
        &self,
        directory: &Arc<DirNode>,
        name: Name<'_>,
        seen: &Metadata,
        buffer: &mut [u8],
        goes_on: &dyn Fn(u64) -> bool,
    ) -> io::Result<Reading> {
        let follow = self.directories.follows_links();
        let handles = &self.directories.handles;
        let opened = handles.open_file(directory, name, follow, &|| !goes_on(0));
        let mut file = opened.map_err(as_replaced)?;
        let mut looked_at = Timestamp::from(SystemTime::now());
        let mut before = self.backend.stat_file(&file, FINGERPRINT)?;
        for _ in 0..READINGS {
            if !is_as_seen(&before, seen) {
                break;
            }
            wait_for_next_tick(&before);
            let size = before.size().unwrap_or(0);
            let digest = read(&mut file, size, buffer, goes_on)?;
            let looks_again_at = Timestamp::from(SystemTime::now());
            let after = self.backend.stat_file(&file, FINGERPRINT)?;
            match digest {
                Some(hash) if after == before => {
                    return Ok(Reading {
                        hash,
                        file: after,
                        looked_at,
                    });
                }
                _ => (before, looked_at) = (after, looks_again_at),
            }
            file.rewind()?;
        }
        Err(Fault::ContentChanged.into())
    }
}

/// The digest of as many bytes as the file had; `None` if it has fewer now.
fn read(
    file: &mut File,
    size: u64,
    buffer: &mut [u8],
    goes_on: &dyn Fn(u64) -> bool,
) -> io::Result<Option<ContentHash>> {
    let mut left = size;
    let mut hasher = blake3::Hasher::new();
    while left > 0 {
        let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = read_some(file, &mut buffer[..room])?;
        if count == 0 {
            return Ok(None);
        }
        hasher.update(&buffer[..count]);
        left -= count as u64;
        if !goes_on(count as u64) {
            return Err(Fault::Cancelled.into());
        }
    }
    Ok(Some(ContentHash::from(*hasher.finalize().as_bytes())))
}

/// What stands in a regular file's place and is none: the record speaks of something that is no longer there.
fn as_replaced(error: io::Error) -> io::Error {
    let is_other = Fault::of(&error) == Some(Fault::NotRegular)
        // A symbolic link, and a socket.
        || matches!(&*error_code(&error), "ELOOP" | "EMLINK" | "ENXIO");
    match is_other {
        true => Fault::ContentChanged.into(),
        false => error,
    }
}

/// Whether an open file is the one that was seen, and has the same contents as far as size and time tell. What was not
/// fetched is not compared; the stage refuses jobs that fetch too little.
fn is_as_seen(open: &Metadata, seen: &Metadata) -> bool {
    fn agree<T: PartialEq>(open: Option<T>, seen: Option<T>) -> bool {
        seen.is_none() || open == seen
    }
    agree(open.device(), seen.device())
        && agree(open.file_id(), seen.file_id())
        && agree(open.size(), seen.size())
        && agree(open.modified(), seen.modified())
}

/// Waits until a write would be dated later than the last one: a second one within a tick of the clock cannot be told
/// from the first. Only a file that was written to a moment ago is waited for, for a moment.
fn wait_for_next_tick(file: &Metadata) {
    let last: Option<Timestamp> = file.modified().max(file.changed());
    let age = last.and_then(|last| {
        let now = Timestamp::from(SystemTime::now()).as_nanoseconds();
        u64::try_from(now - last.as_nanoseconds()).ok()
    });
    // A time yet to come says nothing about when it was written.
    if let Some(age) = age.map(Duration::from_nanos)
        && age < TICK
    {
        std::thread::sleep(TICK - age);
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut repetitions = 0;
    loop {
        match file.read(buffer) {
            Err(error)
                if repetitions < REPETITIONS
                    && matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) =>
            {
                repetitions += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};
    use std::path::Path;
    use std::sync::Mutex;

    use statline_platform::{
        BackendChoice, Entries, Handle, Identity, NameBuf, is_cancelled, select,
    };

    use super::*;

    /// What to do after so many looks.
    type Act = (usize, fn(&Path));

    /// Stands for the moment after a chunk was read in place of a number of looks.
    const WHILE_READING: usize = usize::MAX;

    /// What a file system would show whose clock moves every 10 ms, as that of older kernels does.
    fn by_slow_clock(mut metadata: Metadata) -> Metadata {
        let slow = |time: Timestamp| Timestamp {
            nanoseconds: time.nanoseconds - time.nanoseconds % 10_000_000,
            ..time
        };
        if let (Some(modified), Some(changed)) = (metadata.modified(), metadata.changed()) {
            metadata
                .set_modified(slow(modified))
                .set_changed(slow(changed));
        }
        metadata
    }

    /// Does something to the files at the moments when a file is looked at. Its clock is slow.
    #[derive(Debug)]
    struct Meddling {
        real: Arc<dyn Backend>,
        /// What is left to do, and after how many more looks.
        acts: Mutex<Vec<Act>>,
        path: std::path::PathBuf,
    }

    impl Backend for Meddling {
        fn name(&self) -> &'static str {
            "meddling"
        }
        fn open_root(&self, path: &Path) -> io::Result<Handle> {
            self.real.open_root(path)
        }
        fn open_child(&self, parent: &Handle, name: Name<'_>, follow: bool) -> io::Result<Handle> {
            self.real.open_child(parent, name, follow)
        }
        fn identify(&self, directory: &Handle) -> io::Result<Identity> {
            self.real.identify(directory)
        }
        fn rewind(&self, directory: &Handle) -> io::Result<()> {
            self.real.rewind(directory)
        }
        fn read_names(&self, directory: &Handle, out: &mut Entries) -> io::Result<bool> {
            self.real.read_names(directory, out)
        }
        fn stat(
            &self,
            directory: &Handle,
            name: Name<'_>,
            fields: Fields,
            follow: bool,
        ) -> io::Result<Metadata> {
            let found = self.real.stat(directory, name, fields, follow);
            found.map(by_slow_clock)
        }
        fn read_link(
            &self,
            directory: &Handle,
            name: Name<'_>,
            out: &mut Vec<u8>,
        ) -> io::Result<()> {
            self.real.read_link(directory, name, out)
        }
        fn open_file(&self, directory: &Handle, name: Name<'_>, follow: bool) -> io::Result<File> {
            self.real.open_file(directory, name, follow)
        }
        fn stat_file(&self, file: &File, fields: Fields) -> io::Result<Metadata> {
            let found = self.real.stat_file(file, fields).map(by_slow_clock);
            self.acts.lock().unwrap().retain_mut(|(looks, act)| {
                if *looks == 1 {
                    act(&self.path);
                }
                let done = *looks == 1;
                if *looks != WHILE_READING {
                    *looks -= 1;
                }
                !done
            });
            found
        }
    }

    /// The digest of `file` in a directory, of which it has the metadata, when `then` has happened to it since and each
    /// of `acts` happens after so many looks.
    fn digest_when(contents: &[u8], then: fn(&Path), acts: &[Act]) -> Result<ContentHash, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, contents).unwrap();
        let real = select(BackendChoice::Auto).unwrap();
        let meddling = Arc::new(Meddling {
            real,
            acts: Mutex::new(acts.to_vec()),
            path: path.clone(),
        });
        let backend = Arc::clone(&meddling) as Arc<dyn Backend>;
        let digester = Digester {
            directories: Arc::new(Directories::new(&backend)),
            backend,
        };
        let handles = &digester.directories.handles;
        let root = handles.open_root(directory.path()).unwrap();
        let name = NameBuf::new(b"file").unwrap();
        let pinned = handles.pin(&root, &|| false).unwrap();
        let stat = digester
            .backend
            .stat(&pinned, name.as_name(), Fields::BASIC, false);
        drop(pinned);
        then(&path);
        let mut buffer = vec![0; CHUNK];
        let goes_on = |count| {
            let mut acts = meddling.acts.lock().unwrap();
            let due = acts.iter().position(|(when, _)| *when == WHILE_READING);
            if let (Some(due), 1..) = (due, count) {
                acts.remove(due).1(&path);
            }
            true
        };
        let seen = stat.unwrap();
        let digest = digester.digest(&root, name.as_name(), &seen, &mut buffer, &goes_on);
        let digest = digest.map(|reading| reading.hash);
        digest.map_err(|error| error_code(&error).into_owned())
    }

    fn contents(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    const NOTHING: fn(&Path) = |_| {};

    #[test]
    fn a_digest_is_that_of_the_whole_contents() {
        for length in [0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let contents = contents(length);
            let expected = *blake3::hash(&contents).as_bytes();
            let digest = digest_when(&contents, NOTHING, &[]);
            assert_eq!(digest, Ok(expected.into()), "{length}");
        }
    }

    /// Writes to a file without moving the time of its contents.
    fn write_secretly(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"!", 0).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(modified))
            .unwrap();
    }

    /// What stands in the file's place, and how it gets there.
    type Replacement = (&'static str, fn(&Path));

    #[test]
    fn what_was_replaced_since_is_not_read() {
        let replacements: [Replacement; 7] = [
            ("link", |path| {
                fs::rename(path, path.with_file_name("other")).unwrap();
                symlink("other", path).unwrap();
            }),
            ("fifo", |path| {
                fs::remove_file(path).unwrap();
                let made = std::process::Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            }),
            ("socket", |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::net::UnixListener::bind(path).unwrap();
            }),
            ("directory", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            ("another file", |path| {
                let modified = fs::metadata(path).unwrap().modified().unwrap();
                let other = path.with_file_name("other");
                fs::write(&other, "other").unwrap();
                let times = fs::FileTimes::new().set_modified(modified);
                File::options()
                    .write(true)
                    .open(&other)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
                fs::rename(other, path).unwrap();
            }),
            ("longer", |path| {
                fs::write(path, "longer than before").unwrap()
            }),
            ("touched", |path| {
                let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
            }),
        ];
        for (name, replace) in replacements {
            let digest = digest_when(b"first", replace, &[]);
            assert_eq!(digest, Err("CONTENT_CHANGED".to_owned()), "{name}");
        }
        let gone = digest_when(b"first", |path| fs::remove_file(path).unwrap(), &[]);
        assert_eq!(gone, Err("ENOENT".to_owned()));
    }

    #[test]
    fn what_changes_while_it_is_read_has_no_digest() {
        let append: fn(&Path) = |path| {
            let file = File::options().append(true).open(path).unwrap();
            std::io::Write::write_all(&mut &file, b"more").unwrap();
        };
        let cut: fn(&Path) = |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(3).unwrap();
        };
        for change in [append, cut] {
            // Between the first look and the reading.
            let digest = digest_when(&contents(CHUNK + 1), NOTHING, &[(1, change)]);
            assert_eq!(digest, Err("CONTENT_CHANGED".to_owned()));
        }
        // Twice, in place, and without a trace in size and time: the change of the inode tells.
        let acts: [Act; 2] = [(WHILE_READING, write_secretly); 2];
        let digest = digest_when(&contents(CHUNK), NOTHING, &acts);
        assert_eq!(digest, Err("CONTENT_CHANGED".to_owned()));
    }

    #[test]
    fn a_new_link_meanwhile_costs_a_second_reading_and_nothing_else() {
        let link: fn(&Path) = |path| fs::hard_link(path, path.with_file_name("other")).unwrap();
        let digest = digest_when(b"first", NOTHING, &[(1, link)]);
        assert_eq!(digest, Ok(ContentHash::of(b"first")));
    }

    #[test]
    fn a_write_within_a_tick_of_the_clock_is_told_from_the_one_before() {
        // The file was made a moment ago. What is written while it is read would bear the same time, were it not waited,
        // and the digest would be that of contents that are no longer there. The second reading finds what was written.
        let before = contents(2 * CHUNK);
        let mut after = before.clone();
        after[0] = b'!';
        for _ in 0..20 {
            let digest = digest_when(&before, NOTHING, &[(WHILE_READING, write_secretly)]);
            assert_eq!(digest, Ok(ContentHash::of(&after)));
        }
    }

    #[test]
    fn a_hole_reads_as_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(5 << 20).unwrap();
        file.write_all_at(b"end", (5 << 20) - 3).unwrap();
        let mut file = File::open(&path).unwrap();
        let digest = read(&mut file, 5 << 20, &mut vec![0; CHUNK], &|_| true);
        let expected = ContentHash::of(&fs::read(&path).unwrap());
        assert_eq!(digest.unwrap(), Some(expected));
    }

    #[test]
    fn reading_ends_between_two_chunks_when_it_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, contents(10 * CHUNK)).unwrap();
        let read_so_far = Cell::new(0);
        let goes_on = |count| {
            read_so_far.set(read_so_far.get() + count);
            read_so_far.get() < 2 * CHUNK as u64
        };
        let mut file = File::open(&path).unwrap();
        let digest = read(&mut file, 10 * CHUNK as u64, &mut vec![0; CHUNK], &goes_on);
        assert!(is_cancelled(&digest.unwrap_err()));
        assert_eq!(read_so_far.get(), 2 * CHUNK as u64);
    }
}
