//! A row, or the end of a directory, as the entry of a sorted run: its key, and what the key does not tell.
//!
//! One thing must stay true: an entry is read without any other, for merging puts them next to others than those that
//! they were written with. So metadata is packed against one base that all runs of a stage share.

use std::sync::Arc;

use statline_platform::{DirNode, Identity, Kind, Metadata};

use super::path_key;
use super::rebuilt_nodes::RebuiltNodes;
use crate::packed::{
    push_bytes, push_metadata, push_varint, take_bytes, take_metadata, take_varint,
};
use crate::record_batch::Note;
use crate::spill::Entry;
use crate::{
    Change, ContentHash, DirectoryEnd, DirectoryStatus, Field, FieldSet, Former, RecordBatch, Row,
    SortKey,
};

/// What an entry has beside metadata, as bits of its first byte.
const KIND: u8 = 1;
const TARGET: u8 = 1 << 1;
const CHANGE: u8 = 1 << 2;
const REMEMBERED: u8 = 1 << 3;
const HASH: u8 = 1 << 4;
const IDENTITY: u8 = 1 << 5;
/// Links lead to the directory, or to some above it.
const FOLLOWED: u8 = 1 << 6;
const FORMER: u8 = 1 << 7;

/// What an entry has of the other side of a comparison, as bits of a byte.
const FORMER_SIZE: u8 = 1;
const FORMER_PATH: u8 = 1 << 1;

/// The ways in which directories end, by their numbers.
const STATUSES: [DirectoryStatus; 4] = [
    DirectoryStatus::Complete,
    DirectoryStatus::Failed,
    DirectoryStatus::Excluded,
    DirectoryStatus::Vanished,
];

/// Makes entries of rows.
pub(crate) struct RowPacker<'a> {
    /// The last one is the path.
    keys: &'a [SortKey],
    base: &'a Metadata,
    /// Metadata of a row that has none.
    none: Metadata,
    directory: PackedDirectory<'a>,
    key: Vec<u8>,
    payload: Vec<u8>,
}

/// What the entries of one directory share.
#[derive(Default)]
struct PackedDirectory<'a> {
    node: Option<&'a DirNode>,
    /// Its path, as keys have it.
    path: Vec<u8>,
    /// The depths of the directories that links lead to, the directory's own and those above it.
    followed: Vec<u8>,
}

impl<'a> PackedDirectory<'a> {
    /// Turns to a directory; whether it is another one than before.
    fn enter(&mut self, node: &'a DirNode) -> bool {
        if self.node.is_some_and(|known| std::ptr::eq(known, node)) {
            return false;
        }
        self.node = Some(node);
        self.path.clear();
        path_key::push_directory(node, &mut self.path);
        self.followed.clear();
        for node in node.ancestors() {
            if node.is_followed() && !node.is_root() {
                push_varint(&mut self.followed, node.depth().into());
            }
        }
        true
    }

    /// Appends what the path does not tell, and says so in the first byte.
    fn push(&self, identity: Option<&Identity>, base: &Metadata, out: &mut Vec<u8>) {
        if let Some(identity) = identity {
            out[0] |= IDENTITY;
            let mut metadata = Metadata::default();
            metadata
                .set_device(identity.device)
                .set_file_id(identity.file_id);
            if let Some(mount) = identity.mount_id {
                metadata.set_mount_id(mount);
            }
            push_metadata(base, &metadata, out);
        }
        if !self.followed.is_empty() {
            out[0] |= FOLLOWED;
            push_bytes(out, &self.followed);
        }
    }
}

impl<'a> RowPacker<'a> {
    pub(crate) fn new(keys: &'a [SortKey], base: &'a Metadata) -> RowPacker<'a> {
        RowPacker {
            keys,
            base,
            none: Metadata::default(),
            directory: PackedDirectory::default(),
            key: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// The entry of a row.
    pub(crate) fn pack(&mut self, row: &Row<'a>) -> Entry<'_> {
        let is_new = self.directory.enter(row.directory);
        self.write_key(row);
        // In path order the first row of a directory is read first, and its node stays while there are others. In another
        // order the node may be gone whenever the next row of the directory comes.
        let identity = match is_new || self.keys.len() > 1 {
            true => row.directory.identity(),
            false => None,
        };
        self.write_payload(row, identity);
        (&self.key, &self.payload)
    }

    fn write_key(&mut self, row: &Row<'_>) {
        self.key.clear();
        let Some((path, before)) = self.keys.split_last() else {
            return;
        };
        for key in before {
            key.push_bytes(row, &mut self.key);
        }
        let name = row.name.as_bytes();
        if path.descending {
            let shared = self.directory.path.len();
            path_key::push_name(name, &mut self.directory.path);
            path_key::push_inverted(&self.directory.path, &mut self.key);
            self.directory.path.truncate(shared);
        } else {
            self.key.extend_from_slice(&self.directory.path);
            path_key::push_name(name, &mut self.key);
        }
    }

    fn write_payload(&mut self, row: &Row<'_>, identity: Option<&Identity>) {
        let out = &mut self.payload;
        out.clear();
        out.push(0);
        let metadata = row.metadata.unwrap_or(&self.none);
        // Else the metadata tells.
        if let (Some(kind), None) = (row.kind, metadata.kind()) {
            out[0] |= KIND;
            out.push(kind as u8);
        }
        if let Some(target) = row.target {
            out[0] |= TARGET;
            push_bytes(out, target);
        }
        if let Some(change) = row.change {
            out[0] |= CHANGE;
            out.push(number_of(&Change::ALL, change));
        }
        if row.remembered {
            out[0] |= REMEMBERED;
        }
        if let Some(hash) = row.hash {
            out[0] |= HASH;
            out.extend_from_slice(hash.as_bytes());
        }
        if row.former != Former::default() {
            out[0] |= FORMER;
            push_former(&row.former, out);
        }
        self.directory.push(identity, self.base, out);
        push_metadata(self.base, metadata, out);
    }
}

fn push_former(former: &Former<'_>, out: &mut Vec<u8>) {
    let has = |is: bool, flag| if is { flag } else { 0 };
    out.push(has(former.size.is_some(), FORMER_SIZE) | has(former.path.is_some(), FORMER_PATH));
    push_varint(out, former.differs.bits().into());
    if let Some(size) = former.size {
        push_varint(out, size);
    }
    if let Some(path) = former.path {
        push_bytes(out, path);
    }
}

fn take_former<'b>(bytes: &mut &'b [u8]) -> Option<Former<'b>> {
    let flags = take_byte(bytes)?;
    let differs = FieldSet::from_bits(u32::try_from(take_varint(bytes)?).ok()?);
    let size = match flags & FORMER_SIZE != 0 {
        true => Some(take_varint(bytes)?),
        false => None,
    };
    let path = match flags & FORMER_PATH != 0 {
        true => Some(take_bytes(bytes)?),
        false => None,
    };
    Some(Former {
        differs,
        size,
        path,
    })
}

/// The number of one of a few values.
fn number_of<T: PartialEq>(values: &[T], value: T) -> u8 {
    let at = values.iter().position(|known| *known == value);
    // All values are listed.
    at.unwrap_or_default() as u8
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// Makes rows of entries again, in the order of their keys.
pub(crate) struct RowUnpacker {
    keys: Vec<SortKey>,
    base: Metadata,
    nodes: RebuiltNodes,
    /// A path that had to be restored.
    path: Vec<u8>,
}

impl RowUnpacker {
    pub(crate) fn new(keys: &[SortKey], base: Metadata, nodes: RebuiltNodes) -> RowUnpacker {
        RowUnpacker {
            keys: keys.to_vec(),
            base,
            nodes,
            path: Vec::new(),
        }
    }

    /// Appends the row of an entry to a batch; `None` if it cannot be one.
    pub(crate) fn unpack(&mut self, entry: Entry<'_>, batch: &mut RecordBatch) -> Option<()> {
        let (mut path, mut payload) = entry;
        let (last, before) = self.keys.split_last()?;
        for key in before {
            key.skip_bytes(&mut path)?;
        }
        if last.descending {
            self.path.clear();
            path_key::push_restored(path, &mut self.path)?;
            path = &self.path;
        }
        let (directory, name) = path_key::split(path)?;

        let bytes = &mut payload;
        let flags = take_byte(bytes)?;
        let has = |flag| flags & flag != 0;
        let kind = match has(KIND) {
            true => Some(*Kind::ALL.get(usize::from(take_byte(bytes)?))?),
            false => None,
        };
        let target = match has(TARGET) {
            true => Some(take_bytes(bytes)?),
            false => None,
        };
        let change = match has(CHANGE) {
            true => Some(*Change::ALL.get(usize::from(take_byte(bytes)?))?),
            false => None,
        };
        let hash = match has(HASH) {
            true => {
                let (hash, rest) = bytes.split_first_chunk::<32>()?;
                *bytes = rest;
                Some(ContentHash::from(*hash))
            }
            false => None,
        };
        let former = match has(FORMER) {
            true => take_former(bytes)?,
            false => Former::default(),
        };
        let node = self.nodes.take(directory, flags, &self.base, bytes)?;
        let metadata = take_metadata(&self.base, bytes)?;
        let kind = kind.or_else(|| metadata.kind());
        let at = batch.push_entry(node, name, kind, metadata);
        let note = Note {
            change,
            remembered: has(REMEMBERED),
        };
        batch.push_columns(at, target, note, hash.as_ref(), &former);
        bytes.is_empty().then_some(())
    }
}

impl RebuiltNodes {
    /// The node of the directory of an entry, with what the entry tells of it.
    fn take(
        &mut self,
        path: &[u8],
        flags: u8,
        base: &Metadata,
        bytes: &mut &[u8],
    ) -> Option<&Arc<DirNode>> {
        let identity = match flags & IDENTITY != 0 {
            true => {
                let metadata = take_metadata(base, bytes)?;
                Some(Identity {
                    device: metadata.device()?,
                    file_id: metadata.file_id()?,
                    mount_id: metadata.mount_id(),
                })
            }
            false => None,
        };
        let followed = match flags & FOLLOWED != 0 {
            true => take_bytes(bytes)?,
            false => &[],
        };
        let node = self.node(path, followed)?;
        if let Some(identity) = identity {
            node.expect_identity(identity);
        }
        Some(node)
    }
}

/// Makes an entry of the end of a directory.
pub(super) fn pack_end(end: &DirectoryEnd, key: &mut Vec<u8>, payload: &mut Vec<u8>) {
    let mut directory = PackedDirectory::default();
    directory.enter(&end.directory);
    key.clear();
    key.extend_from_slice(&directory.path);
    path_key::push_name(b"", key);
    payload.clear();
    payload.push(0);
    payload.push(number_of(&STATUSES, end.status));
    push_varint(payload, end.entries);
    push_varint(payload, end.directories);
    let identity = end.directory.identity();
    directory.push(identity, &Metadata::default(), payload);
}

/// The end of a directory that an entry tells of; `None` if it cannot be one.
pub(super) fn unpack_end(entry: Entry<'_>, nodes: &mut RebuiltNodes) -> Option<DirectoryEnd> {
    let (path, mut payload) = entry;
    let bytes = &mut payload;
    let (directory, _) = path_key::split(path)?;
    let flags = take_byte(bytes)?;
    let status = *STATUSES.get(usize::from(take_byte(bytes)?))?;
    let entries = take_varint(bytes)?;
    let directories = take_varint(bytes)?;
    let node = nodes.take(directory, flags, &Metadata::default(), bytes)?;
    Some(DirectoryEnd {
        directory: Arc::clone(node),
        entries,
        directories,
        status,
    })
}

/// Whether rows that are sorted by these keys come directory by directory.
pub(super) fn in_path_order(keys: &[SortKey]) -> bool {
    keys.first().is_some_and(|key| key.field == Field::Path)
}
