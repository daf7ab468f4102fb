//! The volume that an open directory is on, as Windows names its file system.

use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{FileFsAttributeInformation, FileFsDeviceInformation};

use super::native::volume_information;
use super::words::as_bytes;

/// What `FILE_FS_DEVICE_INFORMATION` has set for a volume of another machine.
const REMOTE_DEVICE: u32 = 0x10;

/// A volume's file system.
pub(crate) struct Volume {
    /// Such as `NTFS`.
    pub(crate) file_system: String,
    pub(crate) is_remote: bool,
}

impl Volume {
    pub(crate) fn of(directory: &impl AsRawHandle) -> io::Result<Volume> {
        let mut buffer = [0; 64];
        let filled = volume_information(directory, FileFsAttributeInformation, &mut buffer)?;
        // FileSystemAttributes, MaximumComponentNameLength, FileSystemNameLength, FileSystemName.
        let bytes = as_bytes(&buffer);
        let bytes = bytes.get(..filled).unwrap_or(bytes);
        let length = bytes.get(8..12).and_then(|length| length.try_into().ok());
        let length = length.map_or(0, u32::from_le_bytes) as usize;
        let name = bytes.get(12..).unwrap_or_default();
        let name = name.get(..length).unwrap_or(name);
        let units: Vec<u16> = name
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        let mut device = [0; 2];
        let is_remote = volume_information(directory, FileFsDeviceInformation, &mut device)
            .is_ok_and(|_| (device[0] >> 32) as u32 & REMOTE_DEVICE != 0);
        Ok(Volume {
            file_system: String::from_utf16_lossy(&units),
            is_remote,
        })
    }
}
