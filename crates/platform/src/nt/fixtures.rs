//! Directory records made by hand for tests, from the layouts in [MS-FSCC] 2.4 and not from the parser's table.

use super::class::DirectoryClass;

/// What a record says.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Vec<u16>,
    /// Created, accessed, written, changed.
    pub(super) times: [i64; 4],
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) attributes: u32,
    pub(super) tag: u32,
    pub(super) id: u128,
}

impl Row {
    /// A file of which little is special.
    pub(super) fn named(name: &str) -> Row {
        Row {
            name: name.encode_utf16().collect(),
            times: [1, 2, 3, 4],
            size: 5,
            allocated: 4096,
            attributes: 0x20,
            tag: 0,
            id: 77,
        }
    }

    /// The record, without an alignment, and as if it were the last.
    pub(super) fn record(&self, class: DirectoryClass) -> Vec<u8> {
        let name: Vec<u8> = self
            .name
            .iter()
            .flat_map(|unit| unit.to_le_bytes())
            .collect();
        let mut record = Vec::new();
        // NextEntryOffset and FileIndex.
        record.extend([0; 4]);
        record.extend([0xAB; 4]);
        for time in self.times {
            record.extend(time.to_le_bytes());
        }
        record.extend(self.size.to_le_bytes());
        record.extend(self.allocated.to_le_bytes());
        record.extend(self.attributes.to_le_bytes());
        record.extend((name.len() as u32).to_le_bytes());
        match class {
            DirectoryClass::IdExtd => {
                // EaSize, ReparsePointTag, FileId.
                record.extend([0xCD; 4]);
                record.extend(self.tag.to_le_bytes());
                record.extend(self.id.to_le_bytes());
            }
            DirectoryClass::IdFull => {
                // EaSize, a hole, FileId.
                record.extend(self.tag.to_le_bytes());
                record.extend([0xCD; 4]);
                record.extend((self.id as u64).to_le_bytes());
            }
            DirectoryClass::IdBoth => {
                // EaSize, ShortNameLength, a hole, ShortName, a hole, FileId.
                record.extend(self.tag.to_le_bytes());
                record.extend([4, 0xCD]);
                record.extend([b'S', 0, b'N', 0]);
                record.extend([0xCD; 20]);
                record.extend([0xCD; 2]);
                record.extend((self.id as u64).to_le_bytes());
            }
            DirectoryClass::Full => record.extend(self.tag.to_le_bytes()),
            DirectoryClass::Directory => {}
        }
        record.extend(name);
        record
    }
}

/// An answer with these records, aligned as Windows aligns them. What is between them is not zero.
pub(super) fn buffer(class: DirectoryClass, rows: &[Row]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let mut record = row.record(class);
        if index + 1 < rows.len() {
            record.resize(record.len().next_multiple_of(8), 0xEE);
            let next = record.len() as u32;
            record[..4].copy_from_slice(&next.to_le_bytes());
        }
        buffer.extend(record);
    }
    buffer
}
