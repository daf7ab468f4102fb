//! The columns of outputs: what they are called, and which of them an output has.
//!
//! One thing must stay true: a column that an output was told to have is one that its input vouches for. So a job that
//! asks for what nobody fetches is refused before it runs, and doesn't end in a file with an empty column.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{DEFAULT_INPUT, Declare, ErrorRecord};
use statline_platform::{FileId, Metadata, Timestamp};

use crate::{EntryBatch, RecordBatch, Row};

/// A column of an output.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The path: that of the root as it was given, then one component for each level.
    Path,
    /// file, directory, symlink, fifo, socket, block_device, char_device or other.
    Kind,
    /// The permission bits as a number, at most 07777.
    Mode,
    /// The user id of the owner.
    Uid,
    /// The group id.
    Gid,
    /// The size in bytes.
    Size,
    /// The space taken, in bytes.
    Allocated,
    /// The number of hard links.
    Nlink,
    /// The file's number in its file system.
    Inode,
    /// The device of the file system.
    Device,
    /// The device that a device file stands for.
    Rdev,
    /// The last access, in nanoseconds since the epoch; the column is called `atime_ns`.
    Atime,
    /// The last change of the contents, in nanoseconds since the epoch; the column is called `mtime_ns`.
    Mtime,
    /// The last change of the inode, in nanoseconds since the epoch; the column is called `ctime_ns`.
    Ctime,
    /// The creation, in nanoseconds since the epoch; the column is called `btime_ns`.
    Btime,
    /// The attribute bits of `statx(2)`.
    Attributes,
    /// The mount that the entry is on.
    MountId,
    /// Where a symbolic link leads.
    Target,
    /// How the entry stands to what a cache remembers, or to another scan: new, changed, unchanged, deleted, added,
    /// removed, renamed, unknown, copy, update or delete.
    Change,
    /// Whether the metadata is what an earlier run saw, and this one did not look: true, or left out.
    Remembered,
    /// The BLAKE3 digest of the contents, in hexadecimal.
    Hash,
    /// In which fields the entry differs from what it is on the other side of a comparison.
    Differs,
    /// The size that it has on the other side, in bytes.
    FormerSize,
    /// The path that it has on the other side, if it is another.
    FormerPath,
    /// How far below its root the entry is: 0 for a root.
    Depth,
}

impl Field {
    /// Every column, in the order in which outputs have them unless a job says otherwise.
    pub const ALL: [Field; 25] = [
        Field::Path,
        Field::Kind,
        Field::Mode,
        Field::Uid,
        Field::Gid,
        Field::Size,
        Field::Allocated,
        Field::Nlink,
        Field::Inode,
        Field::Device,
        Field::Rdev,
        Field::Atime,
        Field::Mtime,
        Field::Ctime,
        Field::Btime,
        Field::Attributes,
        Field::MountId,
        Field::Target,
        Field::Change,
        Field::Remembered,
        Field::Hash,
        Field::Differs,
        Field::FormerSize,
        Field::FormerPath,
        Field::Depth,
    ];

    /// The name by which a job asks for it, and by which stages say that they fill it.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Path => "path",
            Field::Kind => "kind",
            Field::Mode => "mode",
            Field::Uid => "uid",
            Field::Gid => "gid",
            Field::Size => "size",
            Field::Allocated => "allocated",
            Field::Nlink => "nlink",
            Field::Inode => "inode",
            Field::Device => "device",
            Field::Rdev => "rdev",
            Field::Atime => "atime",
            Field::Mtime => "mtime",
            Field::Ctime => "ctime",
            Field::Btime => "btime",
            Field::Attributes => "attributes",
            Field::MountId => "mount_id",
            Field::Target => "target",
            Field::Change => "change",
            Field::Remembered => "remembered",
            Field::Hash => "hash",
            Field::Differs => "differs",
            Field::FormerSize => "former_size",
            Field::FormerPath => "former_path",
            Field::Depth => "depth",
        }
    }

    /// The name of the column in outputs: that of a time says its unit.
    pub fn column(self) -> &'static str {
        match self {
            Field::Atime => "atime_ns",
            Field::Mtime => "mtime_ns",
            Field::Ctime => "ctime_ns",
            Field::Btime => "btime_ns",
            other => other.as_str(),
        }
    }

    /// Its value in an entry's metadata, as a number in the order of the values; `None` if it was not fetched, and for
    /// fields that are not part of metadata.
    pub(crate) fn number(self, metadata: &Metadata) -> Option<u128> {
        match self {
            Field::Kind => metadata.kind().map(|kind| kind as u128),
            Field::Mode => metadata.mode().map(Into::into),
            Field::Uid => metadata.uid().map(Into::into),
            Field::Gid => metadata.gid().map(Into::into),
            Field::Size => metadata.size().map(Into::into),
            Field::Allocated => metadata.allocated().map(Into::into),
            Field::Nlink => metadata.nlink().map(Into::into),
            Field::Inode => metadata.file_id().map(FileId::as_u128),
            Field::Device => metadata.device().map(Into::into),
            Field::Rdev => metadata.rdev().map(Into::into),
            Field::Atime => metadata.accessed().map(time_number),
            Field::Mtime => metadata.modified().map(time_number),
            Field::Ctime => metadata.changed().map(time_number),
            Field::Btime => metadata.born().map(time_number),
            Field::Attributes => metadata.attributes().map(Into::into),
            Field::MountId => metadata.mount_id().map(Into::into),
            Field::Path
            | Field::Target
            | Field::Change
            | Field::Remembered
            | Field::Hash
            | Field::Differs
            | Field::FormerSize
            | Field::FormerPath
            | Field::Depth => None,
        }
    }

    /// Whether every entry has it, fetched or not: names, and kinds as far as directories tell them.
    fn is_inherent(self) -> bool {
        matches!(self, Field::Path | Field::Kind | Field::Depth)
    }
}

/// The value of a field of a row as a number in the order of the values; `None` if it has none, and for fields that are
/// no numbers.
pub(crate) fn number(field: Field, row: &Row<'_>) -> Option<u128> {
    match field {
        Field::Kind => row.kind.map(|kind| kind as u128),
        Field::Depth => Some(row.depth().into()),
        Field::Change => row.change.map(|change| change as u128),
        Field::Remembered => Some(row.remembered.into()),
        Field::Differs => Some(row.former.differs.bits().into()),
        Field::FormerSize => row.former.size.map(Into::into),
        field => row.metadata.and_then(|metadata| field.number(metadata)),
    }
}

fn time_number(time: Timestamp) -> u128 {
    // Flipping the sign bit makes the order of unsigned numbers that of signed ones.
    let seconds = time.seconds.cast_unsigned() ^ (1 << 63);
    u128::from(seconds) << 32 | u128::from(time.nanoseconds)
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The columns of an output: those that the option `fields` names, or else everything that comes in, the path first
/// and the depth left out. Reports a choice that cannot be served.
pub(crate) fn columns(selected: Option<&[Field]>, ports: &mut Declare<'_>) -> Vec<Field> {
    let Some(selected) = selected else {
        let carried = |field: Field| field != Field::Depth && carries(ports, field);
        return Field::ALL
            .into_iter()
            .filter(|&field| carried(field))
            .collect();
    };
    let incoming = ports.incoming(DEFAULT_INPUT);
    if incoming.is_some_and(|stream| stream.is::<ErrorRecord>()) {
        ports.problem(
            "fields",
            "error records have columns of their own",
            Some("take `fields` out".to_owned()),
        );
    } else {
        for (place, field) in selected.iter().enumerate() {
            if selected[..place].contains(field) {
                let message = format!("\"{field}\" is listed twice");
                ports.problem(&format!("fields[{place}]"), message, None);
            }
        }
        need_each(ports, "fields", selected);
    }
    if selected.is_empty() {
        let help = "leave `fields` out to get all that is there".to_owned();
        ports.problem("fields", "no field is named", Some(help));
    }
    selected.to_vec()
}

/// Whether the rows that come in have a field, as far as anyone vouches for it.
///
/// A stream of records that states no fields at all comes from a stage of a host program, which is trusted to know.
pub(crate) fn carries(ports: &Declare<'_>, field: Field) -> bool {
    match ports.incoming(DEFAULT_INPUT) {
        Some(stream) if stream.is::<RecordBatch>() => {
            let fields = &stream.properties.fields;
            field.is_inherent() || fields.is_empty() || fields.contains(field.as_str())
        }
        Some(stream) if stream.is::<EntryBatch>() => field.is_inherent(),
        // What comes in is wrong, which is a problem already, or has no such columns.
        _ => true,
    }
}

/// Whether records come in, as far as anyone knows: for stages that take nothing else.
pub(crate) fn come_as_records(ports: &Declare<'_>) -> bool {
    let incoming = ports.incoming(DEFAULT_INPUT);
    incoming.is_none_or(|stream| stream.is::<RecordBatch>())
}

/// Reports a problem with `option` if it needs a field that does not come in on one of several inputs.
pub(crate) fn report_unlike(ports: &mut Declare<'_>, option: &str, port: &str, field: Field) {
    let Some(stream) = ports.incoming(port) else {
        return;
    };
    let carried = &stream.properties.fields;
    if field.is_inherent() || carried.is_empty() || carried.contains(field.as_str()) {
        return;
    }
    let remedy = match field {
        Field::Target => "set `targets = true` on the stage of type stat".to_owned(),
        Field::Hash => "put a stage of type hash in between".to_owned(),
        field => format!("add \"{field}\" to the `fields` of the stage of type stat"),
    };
    ports.problem(
        option,
        format!("the records of the input {port:?} have no \"{field}\""),
        Some(remedy),
    );
}

/// Reports a problem with `option` if it needs a field that doesn't come in.
pub(crate) fn need(ports: &mut Declare<'_>, option: &str, field: Field) {
    if !carries(ports, field) {
        report_missing(ports, option, &[field]);
    }
}

/// Reports a problem with the list `option` if its elements need fields that don't come in: one, at the first of them.
pub(crate) fn need_each(ports: &mut Declare<'_>, option: &str, fields: &[Field]) {
    let mut missing: Vec<Field> = Vec::new();
    let mut first = None;
    for (place, &field) in fields.iter().enumerate() {
        if !carries(ports, field) && !missing.contains(&field) {
            missing.push(field);
            first.get_or_insert(place);
        }
    }
    if let Some(first) = first {
        report_missing(ports, &format!("{option}[{first}]"), &missing);
    }
}

/// What a comparison of two scans adds to records.
const COMPARED: [Field; 3] = [Field::Differs, Field::FormerSize, Field::FormerPath];

/// Reports a problem with `option`, or an element of it, because of fields that don't come in.
pub(crate) fn report_missing(ports: &mut Declare<'_>, option: &str, missing: &[Field]) {
    let names_only = ports
        .incoming(DEFAULT_INPUT)
        .is_some_and(|stream| stream.is::<EntryBatch>());
    let fetched = missing
        .iter()
        .filter(|field| {
            let added = [Field::Target, Field::Change, Field::Remembered, Field::Hash];
            !added.contains(field) && !COMPARED.contains(field)
        })
        .map(Field::to_string)
        .collect::<Vec<_>>();
    let mut remedies = Vec::new();
    if names_only {
        remedies.push("put a stage of type stat in between".to_owned());
    }
    if !names_only && !fetched.is_empty() {
        let fetched = fetched.join("\", \"");
        remedies.push(format!(
            "add \"{fetched}\" to the `fields` of the stage of type stat"
        ));
    }
    if missing.contains(&Field::Target) {
        remedies.push("set `targets = true` on the stage of type stat".to_owned());
    }
    if missing.contains(&Field::Change) {
        remedies.push("put a stage of type cache or diff in between".to_owned());
    }
    if missing.contains(&Field::Remembered) {
        remedies.push("set `max_age` on the stage of type stat".to_owned());
    }
    if missing.contains(&Field::Hash) {
        remedies.push("put a stage of type hash in between".to_owned());
    }
    if missing.iter().any(|field| COMPARED.contains(field)) {
        remedies.push("put a stage of type diff in between".to_owned());
    }
    let missing: Vec<String> = missing.iter().map(|field| format!("\"{field}\"")).collect();
    let carrier = if names_only { "names" } else { "records" };
    ports.problem(
        option,
        format!("the {carrier} that come in have no {}", missing.join(", ")),
        Some(remedies.join("; ")),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixtures::{Given, entries, problems, records, time};
    use crate::{Jsonl, JsonlConfig};
    use statline_pipeline::{Builder, ErrorRecord, Scope};
    use statline_platform::Fields;

    fn config(fields: Option<&[Field]>) -> JsonlConfig {
        JsonlConfig {
            fields: fields.map(<[Field]>::to_vec),
            ..JsonlConfig::new("/dev/null")
        }
    }

    #[test]
    fn a_field_is_called_the_same_in_jobs_and_by_the_stages_that_fill_it() {
        for field in Field::ALL {
            let json = serde_json::to_value(field).unwrap();
            assert_eq!(json, field.as_str());
            assert_eq!(serde_json::from_value::<Field>(json).unwrap(), field);
        }
        let names: BTreeSet<_> = Field::ALL.into_iter().map(Field::as_str).collect();
        assert_eq!(names.len(), Field::ALL.len());
        for filled in Fields::ALL.names() {
            assert!(names.contains(filled), "{filled} has no column");
        }
        let error = serde_json::from_value::<Field>("sise".into()).unwrap_err();
        assert!(error.to_string().contains("`size`"), "{error}");
    }

    #[test]
    fn times_before_the_epoch_come_first() {
        let at = |seconds, nanoseconds| time_number(time(seconds, nanoseconds));
        let ordered = [
            at(i64::MIN, 0),
            at(-2, 9),
            at(-1, 0),
            at(0, 0),
            at(0, 1),
            at(1, 0),
        ];
        assert!(ordered.is_sorted());
    }

    #[test]
    fn a_field_that_nobody_fetches_is_refused_with_the_remedy() {
        let mut builder = Builder::new("test");
        let source = Given::new(records(&[b"a"])).fields(&["kind", "size"]);
        let source = builder.stage("in", source, ()).done();
        let wanted = [
            Field::Path,
            Field::Depth,
            Field::Size,
            Field::Mtime,
            Field::Target,
        ];
        let _ = builder
            .stage("out", Jsonl, config(Some(&wanted)))
            .reads(&source);
        assert_eq!(
            problems(builder),
            [(
                "stages.out.fields[3]".to_owned(),
                "the records that come in have no \"mtime\", \"target\"".to_owned(),
                Some(
                    "add \"mtime\" to the `fields` of the stage of type stat; \
                     set `targets = true` on the stage of type stat"
                        .to_owned()
                ),
            )]
        );
    }

    #[test]
    fn names_have_no_metadata() {
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::new(entries(&[b"a"])), ()).done();
        let _ = builder
            .stage("out", Jsonl, config(Some(&[Field::Kind, Field::Size])))
            .reads(&source);
        let found = problems(builder);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, "the names that come in have no \"size\"");
        assert_eq!(
            found[0].2.as_deref(),
            Some("put a stage of type stat in between")
        );
    }

    #[test]
    fn a_field_twice_and_no_field_at_all_are_refused() {
        for (fields, location, message) in [
            (
                &[Field::Path, Field::Path][..],
                "stages.out.fields[1]",
                "\"path\" is listed twice",
            ),
            (&[], "stages.out.fields", "no field is named"),
        ] {
            let mut builder = Builder::new("test");
            let source = builder.stage("in", Given::new(records(&[b"a"])), ()).done();
            let _ = builder
                .stage("out", Jsonl, config(Some(fields)))
                .reads(&source);
            let found = problems(builder);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((&*found[0].0, &*found[0].1), (location, message));
        }
    }

    #[test]
    fn error_records_have_columns_of_their_own() {
        let error = ErrorRecord::new("open", b"a".to_vec(), "EACCES", "no", Scope::Entry);
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::new(error), ()).done();
        let _ = builder
            .stage("out", Jsonl, config(Some(&[Field::Path])))
            .reads(&source);
        let found = problems(builder);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, "error records have columns of their own");
    }
}
