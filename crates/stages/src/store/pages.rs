//! The lowest layer of a store: a file of pages that carry their checksums.
//!
//! The database above does not verify what it reads, and may panic on what it does not expect. So it never sees the file,
//! only the data in these pages. One thing must stay true: a byte comes out as it went in, or not at all. A page is
//! written by one call that the kernel does not interrupt, so a process that is killed leaves whole pages.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::StorageBackend;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::header::Header;
use super::positioned::{read_exact_at, write_all_at};

/// Bytes of a page in the file.
pub(crate) const PAGE: usize = 4096;
/// Bytes of its checksum, at its end.
const SUM: usize = 16;
/// Bytes of data in a page.
pub(crate) const DATA: usize = PAGE - SUM;

/// Pages that are read or written by one call.
const RUN: usize = 64;

/// Puts the checksum at the end of a page. It depends on the store and on the place, so that a page of another store, or
/// one that has strayed, is not taken for what belongs there.
pub(crate) fn seal(page: &mut [u8], salt: u64, number: u64) {
    let sum = xxh3_128_with_seed(&page[..DATA], salt.wrapping_add(number));
    page[DATA..].copy_from_slice(&sum.to_le_bytes());
}

/// Whether a page is what was sealed at this place.
pub(crate) fn is_sound(page: &[u8], salt: u64, number: u64) -> bool {
    let sum = xxh3_128_with_seed(&page[..DATA], salt.wrapping_add(number));
    page[DATA..] == sum.to_le_bytes()
}

/// A file whose first page is the [`Header`], and whose other pages hold what the database keeps. Clones are the same
/// file.
#[derive(Clone, Debug)]
pub(crate) struct PagedFile {
    file: Arc<File>,
    path: PathBuf,
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug)]
struct Inner {
    header: Header,
    /// Pages that were written and do not go to the file, where it is not to be altered.
    overlay: Option<HashMap<u64, Vec<u8>>>,
    /// Memory for pages on their way.
    scratch: Vec<u8>,
}

impl PagedFile {
    /// The pages of a file with this header. `alters` says whether the file may be written to; if not, what is written
    /// is kept in memory.
    pub(crate) fn new(file: File, path: &Path, header: Header, alters: bool) -> PagedFile {
        PagedFile {
            file: Arc::new(file),
            path: path.to_owned(),
            inner: Arc::new(RwLock::new(Inner {
                header,
                overlay: (!alters).then(HashMap::new),
                scratch: Vec::new(),
            })),
        }
    }

    /// Reads every page. `goes_on` is asked now and then.
    ///
    /// # Errors
    /// `InvalidData` for the first page that is not what was written; `Interrupted` when `goes_on` says no.
    pub(crate) fn verify(&self, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let last = pages(inner.header.length);
        let mut buffer = vec![0; 4 * RUN * PAGE];
        let mut first = 1;
        while first <= last {
            if !goes_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = (last - first + 1).min(4 * RUN as u64);
            let buffer = &mut buffer[..count as usize * PAGE];
            self.read_pages(&inner, first, buffer)?;
            first += count;
        }
        Ok(())
    }

    /// Reads whole pages and verifies them.
    fn read_pages(&self, inner: &Inner, first: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(&self.file, out, first * PAGE as u64)?;
        for (number, page) in (first..).zip(out.chunks_exact_mut(PAGE)) {
            if let Some(written) = inner.overlay.as_ref().and_then(|pages| pages.get(&number)) {
                page.copy_from_slice(written);
            }
            if !is_sound(page, inner.header.salt, number) {
                let message = format!("page {number} of {} is damaged", self.path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    /// Seals pages and writes them.
    fn write_pages(&self, inner: &mut Inner, first: u64, pages: &mut [u8]) -> io::Result<()> {
        for (number, page) in (first..).zip(pages.chunks_exact_mut(PAGE)) {
            seal(page, inner.header.salt, number);
            if let Some(overlay) = &mut inner.overlay {
                overlay.insert(number, page.to_vec());
            }
        }
        match inner.overlay {
            Some(_) => Ok(()),
            None => write_all_at(&self.file, pages, first * PAGE as u64),
        }
    }

    fn write_header(&self, inner: &Inner) -> io::Result<()> {
        match inner.overlay {
            Some(_) => Ok(()),
            None => write_all_at(&self.file, &inner.header.to_page(), 0),
        }
    }

    /// Whether the database was once whole.
    pub(crate) fn is_ready(&self) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.header.ready
    }

    /// Notes that the database is whole: before that there is nothing to lose in the file.
    pub(crate) fn set_ready(&self) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.header.ready = true;
        self.write_header(&inner)?;
        self.file.sync_data()
    }

    fn write_locked(&self, inner: &mut Inner, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut inner.scratch);
        let mut done = 0;
        let mut written = Ok(());
        while done < data.len() && written.is_ok() {
            let at = offset + done as u64;
            let (first, within) = place(at);
            let length = (data.len() - done).min(RUN * DATA - within);
            let count = (within + length).div_ceil(DATA);
            scratch.resize(count * PAGE, 0);
            written = self
                .read_edges(inner, first, within, length, &mut scratch)
                .and_then(|()| {
                    copy_in(&mut scratch, within, &data[done..done + length]);
                    self.write_pages(inner, first, &mut scratch)
                });
            done += length;
        }
        inner.scratch = scratch;
        written
    }

    /// Reads the first and the last page of a run, of which not everything is to be overwritten.
    fn read_edges(
        &self,
        inner: &Inner,
        first: u64,
        within: usize,
        length: usize,
        run: &mut [u8],
    ) -> io::Result<()> {
        let last = run.len() / PAGE - 1;
        let cut_at_end = !(within + length).is_multiple_of(DATA);
        if within > 0 || (last == 0 && cut_at_end) {
            self.read_pages(inner, first, &mut run[..PAGE])?;
        }
        if last > 0 && cut_at_end {
            let page = &mut run[last * PAGE..];
            self.read_pages(inner, first + last as u64, page)?;
        }
        Ok(())
    }

    /// Adds pages of zeros from page `from` to page `to`.
    fn grow(&self, inner: &mut Inner, from: u64, to: u64) -> io::Result<()> {
        let mut first = from + 1;
        while first <= to {
            let count = (to - first + 1).min(RUN as u64);
            let mut zeros = vec![0; count as usize * PAGE];
            self.write_pages(inner, first, &mut zeros)?;
            first += count;
        }
        Ok(())
    }
}

/// How many pages so many bytes of data take.
fn pages(length: u64) -> u64 {
    length.div_ceil(DATA as u64)
}

/// The page that a byte of data is in, and its place there.
fn place(offset: u64) -> (u64, usize) {
    (1 + offset / DATA as u64, (offset % DATA as u64) as usize)
}

/// The parts of a run of pages that hold `length` bytes of data, the first of them at `within`.
fn parts(within: usize, length: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = within;
    let end = within + length;
    std::iter::from_fn(move || {
        if at == end {
            return None;
        }
        let (page, start) = (at / DATA, at % DATA);
        let count = (DATA - start).min(end - at);
        at += count;
        let start = page * PAGE + start;
        Some(start..start + count)
    })
}

fn copy_in(run: &mut [u8], within: usize, mut data: &[u8]) {
    for part in parts(within, data.len()) {
        let (now, rest) = data.split_at(part.len());
        run[part].copy_from_slice(now);
        data = rest;
    }
}

impl StorageBackend for PagedFile {
    fn len(&self) -> io::Result<u64> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.header.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // A reader must not meet a page half written.
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > inner.header.length) {
            let message = format!("{} ends before what is read", self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        // What the database reads at once is two pages as a rule.
        let mut few = [0; 4 * PAGE];
        let mut many = Vec::new();
        let mut done = 0;
        while done < out.len() {
            let (first, within) = place(offset + done as u64);
            let length = (out.len() - done).min(RUN * DATA - within);
            let bytes = (within + length).div_ceil(DATA) * PAGE;
            let run = match few.get_mut(..bytes) {
                Some(run) => run,
                None => {
                    many.resize(bytes, 0);
                    &mut many[..]
                }
            };
            self.read_pages(&inner, first, run)?;
            for part in parts(within, length) {
                out[done..done + part.len()].copy_from_slice(&run[part.clone()]);
                done += part.len();
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (pages(inner.header.length), pages(length));
        if length < inner.header.length {
            // What lies behind the end is zero, should the file grow again.
            let (page, within) = place(length);
            if within > 0 {
                let mut last = vec![0; PAGE];
                self.read_pages(&inner, page, &mut last)?;
                last[within..DATA].fill(0);
                self.write_pages(&mut inner, page, &mut last)?;
            }
        } else {
            self.grow(&mut inner, before, now)?;
            if inner.overlay.is_none() && now > before {
                // Never a header that promises pages which a crash may take.
                self.file.sync_data()?;
            }
        }
        inner.header.length = length;
        self.write_header(&inner)?;
        if inner.overlay.is_none() && now < before {
            self.file.set_len((now + 1) * PAGE as u64)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        match inner.overlay {
            Some(_) => Ok(()),
            None => self.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > inner.header.length) {
            let message = format!("{} ends before what is written", self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.write_locked(&mut inner, offset, data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paged(file: File, header: Header, alters: bool) -> PagedFile {
        PagedFile::new(file, Path::new("store"), header, alters)
    }

    fn reopened(pages: &PagedFile, alters: bool) -> PagedFile {
        let header = pages.inner.read().unwrap().header.clone();
        paged(pages.file.try_clone().unwrap(), header, alters)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Resize(u64),
        Write(prop::sample::Index, Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![
            0..3 * DATA as u64,
            Just(DATA as u64),
            Just(70 * DATA as u64 + 3)
        ];
        let size = prop_oneof![4 => 1..5000_usize, 1 => 66 * DATA..66 * DATA + 9];
        let data = (any::<u8>(), size).prop_map(|(byte, size)| {
            (0..size)
                .map(|at| byte.wrapping_add((at % 251) as u8))
                .collect()
        });
        prop_oneof![
            length.prop_map(Step::Resize),
            (any::<prop::sample::Index>(), data).prop_map(|(at, data)| Step::Write(at, data)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn it_holds_what_an_array_would(steps in prop::collection::vec(step(), 1..12)) {
            let pages = paged(tempfile::tempfile().unwrap(), Header::new(7), true);
            pages.set_len(0).unwrap();
            let untouched = |pages: &PagedFile| reopened(pages, false);
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Resize(length) => {
                        model.resize(length as usize, 0);
                        pages.set_len(length).unwrap();
                    }
                    Step::Write(at, data) => {
                        if model.is_empty() {
                            continue;
                        }
                        let at = at.index(model.len());
                        let data = &data[..data.len().min(model.len() - at)];
                        // Whoever must not alter the file sees what it writes all the same.
                        let aside = untouched(&pages);
                        aside.write(at as u64, data).unwrap();
                        let mut read = vec![0; data.len()];
                        aside.read(at as u64, &mut read).unwrap();
                        prop_assert_eq!(&read[..], data);
                        let mut before = vec![0; data.len()];
                        pages.read(at as u64, &mut before).unwrap();
                        prop_assert_eq!(&before[..], &model[at..at + data.len()]);
                        model[at..at + data.len()].copy_from_slice(data);
                        pages.write(at as u64, data).unwrap();
                    }
                }
                let mut read = vec![0; model.len()];
                pages.read(0, &mut read).unwrap();
                prop_assert!(read == model);
                prop_assert_eq!(pages.len().unwrap(), model.len() as u64);
                reopened(&pages, true).verify(&|| true).unwrap();
            }
            prop_assert!(pages.read(model.len() as u64, &mut [0]).is_err());
            prop_assert!(pages.write(model.len() as u64, &[0]).is_err());
        }
    }

    #[test]
    fn a_page_in_the_place_of_another_is_damage() {
        let pages = paged(tempfile::tempfile().unwrap(), Header::new(7), true);
        pages.set_len(3 * DATA as u64).unwrap();
        let mut page = vec![0; PAGE];
        read_exact_at(&pages.file, &mut page, PAGE as u64).unwrap();
        write_all_at(&pages.file, &page, 2 * PAGE as u64).unwrap();
        let error = pages.read(DATA as u64, &mut [0; 9]).unwrap_err();
        assert_eq!(error.to_string(), "page 2 of store is damaged");
        pages.read(0, &mut [0; 9]).unwrap();
        pages.verify(&|| true).unwrap_err();
        let stopped = pages.verify(&|| false).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }
}
