//! An open directory.
//!
//! Windows keeps the position of a listing with the file object, so a handle that is to be listed by another thread is
//! opened anew, never duplicated.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::sync::Mutex;

use crate::Identity;
use crate::nt::listing::Cursor;

/// An open directory. Closed when dropped.
#[derive(Debug)]
pub struct Handle {
    pub(crate) file: OwnedHandle,
    /// What it is; asked when it was opened.
    pub(crate) identity: Identity,
    /// Where its listing is. One thread at a time lists, so nobody waits.
    pub(crate) cursor: Mutex<Cursor>,
}

impl AsHandle for Handle {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.file.as_handle()
    }
}

impl AsRawHandle for Handle {
    fn as_raw_handle(&self) -> RawHandle {
        self.file.as_raw_handle()
    }
}
