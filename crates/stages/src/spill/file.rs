//! The temporary file that runs are written to.
//!
//! One thing must stay true: it has no name. Where the system cannot do that, it is removed when it is closed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use statline_pipeline::StageError;

use super::failed;

/// A file that is written once, to its end, and then read at any place.
pub(super) struct SpillFile {
    file: File,
    directory: PathBuf,
    length: u64,
}

impl SpillFile {
    pub(super) fn create_in(directory: &Path) -> Result<SpillFile, StageError> {
        let file = tempfile::tempfile_in(directory);
        let file = file.map_err(|error| failed("create", directory, error))?;
        Ok(SpillFile {
            file,
            directory: directory.to_owned(),
            length: 0,
        })
    }

    /// How much was written.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed("write to", &self.directory, error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), StageError> {
        read_exact_at(&self.file, bytes, at).map_err(|error| self.unreadable(error))
    }

    /// Writes to something else from now on.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn replace(&mut self, file: File) {
        self.file = file;
    }

    /// What was read is not what was written.
    #[cold]
    pub(super) fn damaged(&self) -> StageError {
        self.unreadable(io::Error::other("it does not hold what was written to it"))
    }

    fn unreadable(&self, error: io::Error) -> StageError {
        failed("read", &self.directory, error)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Nobody else reads meanwhile: a file belongs to one merge.
#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}
