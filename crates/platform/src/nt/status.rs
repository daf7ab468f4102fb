//! What the native calls of Windows answer.
//!
//! Numbers and what they mean; pure, so that every ending of a listing is tested on every system. Sources: ntstatus.h,
//! and for who answers what [MS-FSCC] 2.4 and [MS-FSA] 2.1.5.6.3.

/// An `NTSTATUS`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const SUCCESS: Status = Status(0);
    pub(crate) const BUFFER_OVERFLOW: Status = Status(0x8000_0005);
    pub(crate) const NO_MORE_FILES: Status = Status(0x8000_0006);
    pub(crate) const NOT_IMPLEMENTED: Status = Status(0xC000_0002);
    pub(crate) const INVALID_INFO_CLASS: Status = Status(0xC000_0003);
    pub(crate) const INFO_LENGTH_MISMATCH: Status = Status(0xC000_0004);
    pub(crate) const INVALID_PARAMETER: Status = Status(0xC000_000D);
    pub(crate) const NO_SUCH_FILE: Status = Status(0xC000_000F);
    pub(crate) const INVALID_DEVICE_REQUEST: Status = Status(0xC000_0010);
    pub(crate) const BUFFER_TOO_SMALL: Status = Status(0xC000_0023);
    #[cfg(windows)]
    pub(crate) const DELETE_PENDING: Status = Status(0xC000_0056);
    pub(crate) const NOT_SUPPORTED: Status = Status(0xC000_00BB);
    #[cfg(windows)]
    pub(crate) const FILE_DELETED: Status = Status(0xC000_0123);
    pub(crate) const INVALID_LEVEL: Status = Status(0xC000_0148);

    /// Whether a file system says so of a class that it does not have. Each of these was seen in the wild: the first is
    /// what Windows asks for, the others come from servers and from file systems of third parties.
    pub(crate) fn denies_class(self) -> bool {
        matches!(
            self,
            Status::INVALID_INFO_CLASS
                | Status::INVALID_PARAMETER
                | Status::NOT_SUPPORTED
                | Status::NOT_IMPLEMENTED
                | Status::INVALID_LEVEL
                | Status::INVALID_DEVICE_REQUEST
        )
    }

    /// Whether the call did something. A warning is none.
    pub(crate) fn is_success(self) -> bool {
        self.0 >> 30 <= 1
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Status({:#010x})", self.0)
    }
}

/// What one query of a directory came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many bytes of records.
    Records(usize),
    /// There are no more.
    End,
    /// An entry does not fit into the buffer.
    TooSmall,
    /// The file system does not have the class.
    NoSuchClass,
    Failed(Status),
}

impl Answer {
    /// What a status means, with the number of bytes that were filled.
    pub(super) fn of(status: Status, filled: usize) -> Answer {
        match status {
            // NtQueryDirectoryFileEx documents this for an entry that does not fit behind none.
            Status::SUCCESS if filled == 0 => Answer::TooSmall,
            Status::SUCCESS => Answer::Records(filled),
            Status::BUFFER_OVERFLOW | Status::BUFFER_TOO_SMALL | Status::INFO_LENGTH_MISMATCH => {
                Answer::TooSmall
            }
            // The second is what the first call says where there are not even `.` and `..`, as in the root of a drive.
            Status::NO_MORE_FILES | Status::NO_SUCH_FILE => Answer::End,
            denied if denied.denies_class() => Answer::NoSuchClass,
            other => Answer::Failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_no_success() {
        assert!(Status::SUCCESS.is_success());
        // STATUS_REPARSE, an information.
        assert!(Status(0x0000_0104).is_success() && Status(0x4000_0000).is_success());
        assert!(!Status::NO_MORE_FILES.is_success() && !Status::NO_SUCH_FILE.is_success());
    }

    #[test]
    fn only_records_are_records() {
        assert_eq!(Answer::of(Status::SUCCESS, 96), Answer::Records(96));
        assert_eq!(Answer::of(Status::SUCCESS, 0), Answer::TooSmall);
        // The beginning of an entry, which is no entry.
        assert_eq!(Answer::of(Status::BUFFER_OVERFLOW, 96), Answer::TooSmall);
        assert_eq!(Answer::of(Status::NO_SUCH_FILE, 0), Answer::End);
        let denied = Status(0xC000_0022);
        assert_eq!(Answer::of(denied, 0), Answer::Failed(denied));
    }
}
