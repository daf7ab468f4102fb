//! A line of a saved scan, read back.
//!
//! One thing must stay true: a line that is not what `jsonl` writes is an error that says so, never a row with something
//! missing. Columns that this version does not know are passed over.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use statline_platform::{FileId, Kind, Metadata, Timestamp};

use crate::{Change, ContentHash, FieldSet, Former};

/// A line of JSON Lines as it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path_b64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    allocated: Option<u64>,
    nlink: Option<u64>,
    inode: Option<u128>,
    device: Option<u64>,
    rdev: Option<u64>,
    atime_ns: Option<i128>,
    mtime_ns: Option<i128>,
    ctime_ns: Option<i128>,
    btime_ns: Option<i128>,
    attributes: Option<u64>,
    mount_id: Option<u64>,
    #[serde(borrow)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target_b64: Option<Cow<'a, str>>,
    change: Option<Change>,
    remembered: bool,
    #[serde(borrow)]
    hash: Option<Cow<'a, str>>,
    differs: FieldSet,
    former_size: Option<u64>,
    #[serde(borrow)]
    former_path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    former_path_b64: Option<Cow<'a, str>>,
}

/// A row of a saved scan whose directory is not known yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SavedRow {
    pub(crate) path: Vec<u8>,
    pub(crate) metadata: Metadata,
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) change: Option<Change>,
    pub(crate) remembered: bool,
    pub(crate) hash: Option<ContentHash>,
    pub(crate) differs: FieldSet,
    pub(crate) former_size: Option<u64>,
    pub(crate) former_path: Option<Vec<u8>>,
}

impl SavedRow {
    /// Reads a line, without its line feed. The error says what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<SavedRow, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let path = bytes("path", line.path, line.path_b64)?.ok_or("it has no path")?;
        let mut metadata = Metadata::default();
        macro_rules! fill {
            ($($value:expr => $set:ident,)*) => {
                $(if let Some(value) = $value {
                    metadata.$set(value);
                })*
            };
        }
        fill! {
            line.kind.map(|word| kind(&word)).transpose()? => set_kind,
            line.mode => set_mode,
            line.uid => set_uid,
            line.gid => set_gid,
            line.size => set_size,
            line.allocated => set_allocated,
            line.nlink => set_nlink,
            line.inode.map(FileId::from) => set_file_id,
            line.device => set_device,
            line.rdev => set_rdev,
            line.atime_ns.map(time).transpose()? => set_accessed,
            line.mtime_ns.map(time).transpose()? => set_modified,
            line.ctime_ns.map(time).transpose()? => set_changed,
            line.btime_ns.map(time).transpose()? => set_born,
            line.attributes => set_attributes,
            line.mount_id => set_mount_id,
        }
        Ok(SavedRow {
            path,
            metadata,
            target: bytes("target", line.target, line.target_b64)?,
            change: line.change,
            remembered: line.remembered,
            hash: line.hash.map(|digits| hash(&digits)).transpose()?,
            differs: line.differs,
            former_size: line.former_size,
            former_path: bytes("former_path", line.former_path, line.former_path_b64)?,
        })
    }

    /// What it was on the other side, if it is of a comparison.
    pub(crate) fn former(&self) -> Former<'_> {
        Former {
            differs: self.differs,
            size: self.former_size,
            path: self.former_path.as_deref(),
        }
    }
}

/// Text, or the bytes that another column has in base64.
fn bytes(
    column: &str,
    text: Option<Cow<'_, str>>,
    encoded: Option<Cow<'_, str>>,
) -> Result<Option<Vec<u8>>, String> {
    match (text, encoded) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, Some(encoded)) => match BASE64_STANDARD.decode(&*encoded) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err(format!("its {column}_b64 is not base64")),
        },
        (Some(_), Some(_)) => Err(format!("it has both {column} and {column}_b64")),
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    found.ok_or_else(|| format!("no kind is called {word:?}"))
}

fn time(nanoseconds: i128) -> Result<Timestamp, String> {
    const SECOND: i128 = 1_000_000_000;
    match i64::try_from(nanoseconds.div_euclid(SECOND)) {
        Ok(seconds) => Ok(Timestamp {
            seconds,
            // Less than a second, and not negative.
            nanoseconds: nanoseconds.rem_euclid(SECOND) as u32,
        }),
        Err(_) => Err(format!("{nanoseconds} ns is no time")),
    }
}

fn hash(digits: &str) -> Result<ContentHash, String> {
    let mut digest = [0; 32];
    let wrong = || format!("{digits:?} is no digest");
    if digits.len() != 2 * digest.len() || !digits.is_ascii() {
        return Err(wrong());
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(ContentHash::from(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    #[test]
    fn a_line_becomes_what_it_was_written_from() {
        let row = SavedRow::parse(
            br#"{"path_b64":"/w==","kind":"symlink","size":3,"mtime_ns":-1,"inode":340282366920938463463374607431768211455,"target":"a\nb","change":"changed","remembered":true,"hash":"00ff000000000000000000000000000000000000000000000000000000000000","differs":["size","mtime"],"former_size":2,"former_path":"x","depth":1,"later":[1]}"#,
        )
        .unwrap();
        assert_eq!(row.path, b"\xff");
        assert_eq!(row.metadata.kind(), Some(Kind::Symlink));
        assert_eq!(row.metadata.size(), Some(3));
        assert_eq!(row.metadata.modified().unwrap().as_nanoseconds(), -1);
        assert_eq!(row.metadata.file_id().unwrap().as_u128(), u128::MAX);
        assert_eq!(row.metadata.mode(), None);
        assert_eq!(row.target.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(row.change, Some(Change::Changed));
        assert!(row.remembered);
        assert_eq!(row.hash.unwrap().as_bytes()[..3], [0, 0xff, 0]);
        let former = row.former();
        let differs: FieldSet = [Field::Size, Field::Mtime].into_iter().collect();
        assert_eq!((former.differs, former.size), (differs, Some(2)));
        assert_eq!(former.path, Some(&b"x"[..]));
    }

    #[test]
    fn a_line_that_is_none_says_what_is_wrong() {
        for (line, wrong) in [
            (&b"{\"path\":\"a\""[..], "EOF"),
            (b"", "EOF"),
            (b"[1]", "invalid type"),
            (b"{}", "it has no path"),
            (b"{\"path\":\"a\xff\"}", "unicode"),
            (
                b"{\"path\":\"a\",\"path_b64\":\"YQ==\"}",
                "both path and path_b64",
            ),
            (b"{\"path_b64\":\"?\"}", "path_b64 is not base64"),
            (b"{\"path\":\"a\",\"kind\":\"fil\"}", "no kind is called"),
            (b"{\"path\":\"a\",\"size\":-1}", "-1"),
            (b"{\"path\":\"a\",\"size\":1,\"size\":2}", "duplicate field"),
            (b"{\"path\":\"a\",\"hash\":\"zz\"}", "is no digest"),
            (b"{\"path\":\"a\",\"change\":\"gone\"}", "unknown variant"),
        ] {
            let error = SavedRow::parse(line).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
