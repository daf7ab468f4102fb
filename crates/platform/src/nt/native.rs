//! The native calls of Windows, with their pointers and lengths.
//!
//! Every `unsafe` block of the backend is here. One thing must stay true: whatever the system is told to fill is as large
//! as it is told, and alive until the call returns; handles are opened for synchronous calls only, so that it does.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_BASIC_INFORMATION, FILE_ID_INFORMATION, FILE_INTERNAL_INFORMATION,
    FILE_SYNCHRONOUS_IO_NONALERT, FileAttributeTagInformation, FileBasicInformation,
    FileIdInformation, FileInternalInformation, FileNameInformation, FileStandardInformation,
    NtFsControlFile, NtOpenFile, NtQueryDirectoryFile, NtQueryInformationFile,
    NtQueryVolumeInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, NTSTATUS, RtlNtStatusToDosError, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;

use super::class::DirectoryClass;
use super::status::Status;

/// Nobody is kept from anything because a scan looks at it.
pub(super) const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

impl From<NTSTATUS> for Status {
    fn from(status: NTSTATUS) -> Status {
        Status(status.cast_unsigned())
    }
}

impl From<Status> for io::Error {
    fn from(status: Status) -> io::Error {
        let number = match status {
            // Windows says "access denied" of both.
            Status::DELETE_PENDING | Status::FILE_DELETED => ERROR_FILE_NOT_FOUND,
            // SAFETY: takes a number and returns one.
            Status(number) => unsafe { RtlNtStatusToDosError(number.cast_signed()) },
        };
        io::Error::from_raw_os_error(number.cast_signed())
    }
}

/// Opens the entry `name` in an open directory, or the directory itself once more if the name is empty.
pub(super) fn open(
    directory: &OwnedHandle,
    name: &[u16],
    access: u32,
    options: u32,
) -> Result<OwnedHandle, Status> {
    let name = unicode_string(name)?;
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: directory.as_raw_handle(),
        ObjectName: &raw const name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut opened = null_mut();
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: everything pointed to lives until the call returns; the handle in the attributes is open.
    let status: Status = unsafe {
        NtOpenFile(
            &raw mut opened,
            access | SYNCHRONIZE,
            &raw const attributes,
            &raw mut block,
            SHARE_ALL,
            options | FILE_SYNCHRONOUS_IO_NONALERT,
        )
    }
    .into();
    match status.is_success() {
        // SAFETY: the system has just opened this handle for us.
        true => Ok(unsafe { OwnedHandle::from_raw_handle(opened) }),
        false => Err(status),
    }
}

/// A name as the calls take it. Its pointer is good for as long as `name` is.
fn unicode_string(name: &[u16]) -> Result<UNICODE_STRING, Status> {
    // STATUS_NAME_TOO_LONG
    let length = u16::try_from(size_of_val(name)).map_err(|_| Status(0xC000_0106))?;
    Ok(UNICODE_STRING {
        Length: length,
        MaximumLength: length,
        Buffer: name.as_ptr().cast_mut(),
    })
}

/// Asks for records of a directory: all that fit, or only that of `only`. Returns how many bytes were filled.
pub(super) fn query_directory(
    directory: &OwnedHandle,
    class: DirectoryClass,
    only: Option<&[u16]>,
    restart: bool,
    buffer: &mut [u64],
) -> (Status, usize) {
    let only = match only.map(unicode_string).transpose() {
        Ok(only) => only,
        Err(status) => return (status, 0),
    };
    let pattern = only.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the buffer has as many bytes as we say; everything pointed to lives until the call returns.
    let status = unsafe {
        NtQueryDirectoryFile(
            directory.as_raw_handle(),
            null_mut(),
            None,
            std::ptr::null(),
            &raw mut block,
            buffer.as_mut_ptr().cast(),
            length_of(buffer),
            class.number(),
            only.is_some(),
            pattern,
            restart,
        )
    };
    (status.into(), block.Information)
}

/// What the calls take as a length. No buffer here comes near the limit.
fn length_of(buffer: &[u64]) -> u32 {
    u32::try_from(size_of_val(buffer)).unwrap_or(u32::MAX)
}

/// What can be asked of an open file.
///
/// # Safety
/// The type is what the system fills for the class, and any bits are a value of it.
pub(super) unsafe trait Information: Default {
    /// Its number in `FILE_INFORMATION_CLASS`.
    const CLASS: i32;
}

/// `FILE_STANDARD_INFORMATION`, with bytes for its truth values.
#[repr(C)]
#[derive(Default)]
pub(super) struct Standard {
    pub(super) allocated: u64,
    pub(super) size: u64,
    pub(super) links: u32,
    flags: [u8; 2],
    /// Some versions of Windows insist on the whole length.
    reserved: u16,
}

/// `FILE_ATTRIBUTE_TAG_INFORMATION`.
#[repr(C)]
#[derive(Default)]
pub(super) struct AttributeTag {
    pub(super) attributes: u32,
    pub(super) tag: u32,
}

// SAFETY: numbers only, laid out as the system has them.
unsafe impl Information for FILE_BASIC_INFORMATION {
    const CLASS: i32 = FileBasicInformation;
}

// SAFETY: as above.
unsafe impl Information for Standard {
    const CLASS: i32 = FileStandardInformation;
}

// SAFETY: as above.
unsafe impl Information for AttributeTag {
    const CLASS: i32 = FileAttributeTagInformation;
}

// SAFETY: as above.
unsafe impl Information for FILE_ID_INFORMATION {
    const CLASS: i32 = FileIdInformation;
}

// SAFETY: as above.
unsafe impl Information for FILE_INTERNAL_INFORMATION {
    const CLASS: i32 = FileInternalInformation;
}

/// Asks for something of an open file.
pub(super) fn information<T: Information>(file: &impl AsRawHandle) -> Result<T, Status> {
    let mut answer = T::default();
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the answer is as long as we say, and of a type that the system may fill for the class.
    let status: Status = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut block,
            (&raw mut answer).cast(),
            size_of::<T>() as u32,
            T::CLASS,
        )
    }
    .into();
    match status.is_success() {
        true => Ok(answer),
        false => Err(status),
    }
}

/// The path of an open file within its volume: its length in bytes, then its units.
pub(super) fn path_in_volume(file: &impl AsRawHandle, buffer: &mut [u64]) -> Result<usize, Status> {
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the buffer has as many bytes as we say.
    let status: Status = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut block,
            buffer.as_mut_ptr().cast(),
            length_of(buffer),
            FileNameInformation,
        )
    }
    .into();
    match status.is_success() {
        true => Ok(block.Information),
        false => Err(status),
    }
}

/// Asks for something of the volume that an open file is on. Returns how many bytes were filled.
pub(super) fn volume_information(
    file: &impl AsRawHandle,
    class: i32,
    buffer: &mut [u64],
) -> Result<usize, Status> {
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the buffer has as many bytes as we say.
    let status: Status = unsafe {
        NtQueryVolumeInformationFile(
            file.as_raw_handle(),
            &raw mut block,
            buffer.as_mut_ptr().cast(),
            length_of(buffer),
            class,
        )
    }
    .into();
    match status {
        // The label is longer than the buffer; what comes before it is there.
        Status::BUFFER_OVERFLOW => Ok(block.Information),
        status if status.is_success() => Ok(block.Information),
        status => Err(status),
    }
}

/// What an open reparse point holds. Returns how many bytes were filled.
pub(super) fn reparse_data(file: &OwnedHandle, buffer: &mut [u64]) -> Result<usize, Status> {
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the buffer has as many bytes as we say, and nothing goes in.
    let status: Status = unsafe {
        NtFsControlFile(
            file.as_raw_handle(),
            null_mut(),
            None,
            std::ptr::null(),
            &raw mut block,
            FSCTL_GET_REPARSE_POINT,
            std::ptr::null(),
            0,
            buffer.as_mut_ptr().cast(),
            length_of(buffer),
        )
    }
    .into();
    match status.is_success() {
        true => Ok(block.Information),
        false => Err(status),
    }
}
