//! What an open file or directory is: its metadata, and the identity of a directory.
//!
//! One thing must stay true: the number of a file and of its volume are the same here as in the records of a listing.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_BASIC_INFORMATION, FILE_ID_INFORMATION, FILE_INTERNAL_INFORMATION, FileFsVolumeInformation,
};

use super::filetime::timestamp;
use super::native::{AttributeTag, Standard, information, path_in_volume, volume_information};
use super::record::{ATTRIBUTE_REPARSE_POINT, file_id, kind};
use super::words::as_bytes;
use crate::{Fields, FileId, Identity, Metadata};

/// The fields that come with each of the calls.
const OF_BASIC: Fields = Fields::KIND
    .union(Fields::ATTRIBUTES)
    .union(Fields::ACCESSED)
    .union(Fields::MODIFIED)
    .union(Fields::CHANGED)
    .union(Fields::BORN);
const OF_STANDARD: Fields = Fields::SIZE.union(Fields::ALLOCATED).union(Fields::NLINK);
const OF_ID: Fields = Fields::INODE.union(Fields::DEVICE);

/// The metadata of an open file: as few calls as `fields` need.
pub(super) fn metadata(file: &impl AsRawHandle, fields: Fields) -> io::Result<Metadata> {
    let mut metadata = Metadata::default();
    if fields.intersects(OF_BASIC) {
        let basic: FILE_BASIC_INFORMATION = information(file)?;
        let attributes = basic.FileAttributes;
        let tag = match attributes & ATTRIBUTE_REPARSE_POINT {
            0 => 0,
            _ => information::<AttributeTag>(file)?.tag,
        };
        metadata
            .set_kind(kind(attributes, tag))
            .set_attributes(attributes.into());
        if let Some(time) = timestamp(basic.CreationTime) {
            metadata.set_born(time);
        }
        if let Some(time) = timestamp(basic.LastAccessTime) {
            metadata.set_accessed(time);
        }
        if let Some(time) = timestamp(basic.LastWriteTime) {
            metadata.set_modified(time);
        }
        if let Some(time) = timestamp(basic.ChangeTime) {
            metadata.set_changed(time);
        }
    }
    if fields.intersects(OF_STANDARD) {
        let standard: Standard = information(file)?;
        metadata
            .set_size(standard.size)
            .set_allocated(standard.allocated)
            .set_nlink(standard.links.into());
    }
    if fields.intersects(OF_ID) {
        let (volume, id) = numbers(file)?;
        metadata.set_device(volume);
        if let Some(id) = id {
            metadata.set_file_id(id);
        }
    }
    metadata.keep(fields);
    Ok(metadata)
}

/// The attributes of an open file.
pub(super) fn attributes(file: &impl AsRawHandle) -> io::Result<u32> {
    let basic: FILE_BASIC_INFORMATION = information(file)?;
    Ok(basic.FileAttributes)
}

/// What a directory is. Where the file system has no numbers its path within the volume stands for one: it is another
/// one for each directory, and the same when that is opened again.
pub(super) fn identity(directory: &impl AsRawHandle) -> io::Result<Identity> {
    let (device, id) = numbers(directory)?;
    let file_id = match id {
        Some(id) => id,
        None => number_of_path(directory)?,
    };
    Ok(Identity {
        device,
        file_id,
        mount_id: None,
    })
}

/// The number of the volume, and that of the file in it, if it has one.
fn numbers(file: &impl AsRawHandle) -> io::Result<(u64, Option<FileId>)> {
    if let Ok(found) = information::<FILE_ID_INFORMATION>(file) {
        let id = u128::from_le_bytes(found.FileId.Identifier);
        return Ok((found.VolumeSerialNumber, file_id(id, 128)));
    }
    // FAT, and servers: 64 bits, and the volume apart.
    let found: FILE_INTERNAL_INFORMATION = information(file)?;
    let id = file_id(found.IndexNumber.cast_unsigned().into(), 64);
    let mut buffer = [0; 16];
    volume_information(file, FileFsVolumeInformation, &mut buffer)?;
    // Behind the time of its creation.
    let serial = as_bytes(&buffer)[8..12].try_into();
    Ok((serial.map_or(0, u32::from_le_bytes).into(), id))
}

/// A number made of a path, which has the upper bit set, and so is nobody else's.
fn number_of_path(directory: &impl AsRawHandle) -> io::Result<FileId> {
    // A path has at most 32,767 units.
    let mut buffer = vec![0; 9 * 1024];
    let filled = path_in_volume(directory, &mut buffer)?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&as_bytes(&buffer)[..filled.min(size_of_val(&buffer[..]))]);
    Ok(FileId::from(1 << 127 | u128::from(hasher.finish())))
}
