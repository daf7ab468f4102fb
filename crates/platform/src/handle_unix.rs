//! An open directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open directory. Closed when dropped.
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
