//! What the tests of several stages need: batches made by hand, and a source that states properties.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use statline_pipeline::testing::Items;
use statline_pipeline::{
    Builder, DEFAULT_OUTPUT, Declare, ErrorRecord, Kind, Message, Opening, Order, Outlet,
    OutputPort, Properties, Source, StageError,
};
use statline_platform::{
    DirNode, Kind as EntryKind, Metadata, NameBuf, Timestamp, path_from_bytes,
};

use crate::{EntryBatch, Former, RecordBatch, Row};

/// A source of given messages that vouches for order and fields.
pub(crate) struct Given<M> {
    messages: Vec<M>,
    errors: Vec<ErrorRecord>,
    properties: Properties,
}

impl<M: Message> Given<M> {
    pub(crate) fn new(message: M) -> Given<M> {
        Given::all(vec![message])
    }

    pub(crate) fn all(messages: Vec<M>) -> Given<M> {
        Given {
            messages,
            errors: Vec::new(),
            properties: Properties::default(),
        }
    }

    /// Reports these errors before the first message.
    pub(crate) fn with_errors(mut self, errors: Vec<ErrorRecord>) -> Given<M> {
        self.errors = errors;
        self
    }

    pub(crate) fn fields(mut self, fields: &[&str]) -> Given<M> {
        self.properties.fields = fields.iter().map(|&field| field.to_owned()).collect();
        self
    }

    pub(crate) fn ordered_by(mut self, key: &str) -> Given<M> {
        self.properties.order = Order::By(vec![key.to_owned()]);
        self
    }
}

impl<M: Message + Sync> Kind for Given<M> {
    type Config = ();
    type Ports = OutputPort<M>;

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> OutputPort<M> {
        ports.output(DEFAULT_OUTPUT, self.properties.clone())
    }

    fn open(&self, (): (), out: OutputPort<M>, stage: &mut Opening<'_>) -> Result<(), StageError> {
        stage.source(&out, |_| {
            Ok(GivenSource {
                messages: Items(self.messages.clone()),
                errors: self.errors.clone(),
            })
        })
    }
}

struct GivenSource<M> {
    messages: Items<M>,
    errors: Vec<ErrorRecord>,
}

impl<M: Message> Source for GivenSource<M> {
    type Out = M;

    fn run(&mut self, out: &mut Outlet<M>) -> Result<(), StageError> {
        for error in std::mem::take(&mut self.errors) {
            out.errors().report(error)?;
        }
        self.messages.run(out)
    }
}

/// What is wrong with a job: where, what, what to do.
pub(crate) fn problems(builder: Builder) -> Vec<(String, String, Option<String>)> {
    let problems = builder.build().expect_err("the job has a problem");
    problems
        .iter()
        .map(|problem| {
            let location = problem.location.path().to_owned();
            (location, problem.message.clone(), problem.help.clone())
        })
        .collect()
}

pub(crate) fn root(path: &str) -> Arc<DirNode> {
    DirNode::root(Path::new(path))
}

pub(crate) fn child(parent: &Arc<DirNode>, name: &[u8]) -> Arc<DirNode> {
    DirNode::child(parent, NameBuf::new(name).unwrap().as_name())
}

/// Entries of the directory `dir`.
pub(crate) fn entries(names: &[&[u8]]) -> EntryBatch {
    let mut batch = EntryBatch::default();
    let directory = root("dir");
    for name in names {
        batch.extend(&directory, |entries| {
            entries.push(name, Some(EntryKind::File), 0);
        });
    }
    batch
}

/// Records of regular files in the directory `dir`, without further metadata.
pub(crate) fn records(names: &[&[u8]]) -> RecordBatch {
    let metadata = vec![Metadata::with_kind(EntryKind::File); names.len()];
    RecordBatch::new(entries(names), metadata)
}

/// A file's metadata with these fields.
pub(crate) fn file(set: impl FnOnce(&mut Metadata)) -> Metadata {
    let mut metadata = Metadata::with_kind(EntryKind::File);
    set(&mut metadata);
    metadata
}

pub(crate) fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds,
    }
}

/// A row to be put into a batch, and to compare with what comes back.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Directories below the root.
    pub(crate) directories: Vec<Vec<u8>>,
    pub(crate) name: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) metadata: Metadata,
}

impl Sample {
    pub(crate) fn path(&self) -> Vec<u8> {
        let mut path = b"r".to_vec();
        for component in self.directories.iter().chain([&self.name]) {
            path.push(b'/');
            path.extend_from_slice(component);
        }
        path
    }
}

/// Batches of samples. Neighbours in one directory share its node.
pub(crate) fn batches(samples: &[Sample], rows: usize) -> Vec<RecordBatch> {
    let base = root("r");
    let mut last: Option<(Vec<Vec<u8>>, Arc<DirNode>)> = None;
    let chunks = samples.chunks(rows.max(1));
    chunks
        .map(|chunk| {
            let mut batch = EntryBatch::default();
            for sample in chunk {
                let node = match &last {
                    Some((directories, node)) if *directories == sample.directories => {
                        Arc::clone(node)
                    }
                    _ => sample
                        .directories
                        .iter()
                        .fold(Arc::clone(&base), |node, name| child(&node, name)),
                };
                last = Some((sample.directories.clone(), Arc::clone(&node)));
                batch.extend(&node, |entries| entries.push(&sample.name, None, 0));
            }
            let metadata = chunk.iter().map(|sample| sample.metadata.clone());
            let mut records = RecordBatch::new(batch, metadata.collect());
            records.set_targets(chunk.iter().map(|sample| &sample.target[..]));
            records
        })
        .collect()
}

/// The components of a path below its root.
pub(crate) type Place = Vec<Vec<u8>>;

/// The path of a place.
pub(crate) fn path_of(root: &str, place: &Place) -> Vec<u8> {
    let mut path = root.as_bytes().to_vec();
    for component in place {
        if !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    path
}

/// Records of a tree, in the order in which its places come. Directories need no records of their own.
pub(crate) fn tree_records<'t>(
    root: &str,
    entries: impl Iterator<Item = (&'t Place, Metadata, Option<&'t [u8]>)>,
) -> RecordBatch {
    let mut nodes: BTreeMap<Place, Arc<DirNode>> = BTreeMap::new();
    nodes.insert(Vec::new(), self::root(root));
    let mut batch = RecordBatch::default();
    for (place, metadata, target) in entries {
        let (name, above) = match place.split_last() {
            Some((name, above)) => (name.as_slice(), above),
            None => (&b""[..], &[][..]),
        };
        for depth in 1..=above.len() {
            let parent = Arc::clone(&nodes[&above[..depth - 1]]);
            nodes
                .entry(above[..depth].to_vec())
                .or_insert_with(|| child(&parent, &above[depth - 1]));
        }
        batch.push_row(&Row {
            directory: &nodes[above],
            name: NameBuf::new(name).unwrap().as_name(),
            kind: metadata.kind(),
            metadata: Some(&metadata),
            target,
            change: None,
            remembered: false,
            hash: None,
            former: Former::default(),
        });
    }
    batch
}

/// Names that have broken tools: quotes, line ends, control and bidi characters, invalid UTF-8, formulas.
pub(crate) const HOSTILE_NAMES: &[&[u8]] = &[
    b"plain",
    b"with space ",
    b" ",
    b"new\nline",
    b"\r\n",
    b"\ttab",
    b"quote\"quote\"\"",
    b"\"",
    b"'",
    b"comma,comma",
    b"back\\slash\\",
    b"\\n",
    b"\x1b[31mred",
    b"\x01\x02\x1f\x7f",
    b"=1+1",
    b"+1",
    b"@SUM(1)",
    b"\t=1",
    b"-rf",
    b"\xff",
    b"l\xfe",
    b"cut \xe2\x82",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xe2\x80\xaertl\xe2\x80\xac",
    b"\xe2\x80\xa8\xe2\x80\xa9",
    b"\xc2\x85\xc2\x9b",
    b"\xef\xbb\xbfbom",
    b"e\xcc\x81 \xc3\xa9",
    b"\xf0\x9f\x92\xbe",
    b"path_b64",
    b"L3RtcA==",
];

/// Whether this system can have the name: those of Unix are any bytes, those of Windows are not.
pub(crate) fn is_possible(name: &[u8]) -> bool {
    NameBuf::new(name).is_ok() && path_from_bytes(name.to_vec()).is_some()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"\n\r\t\",;\\'=+-@ \x1b\x7f\x80\xff\xc3\xa9\xe2ab".to_vec()),
        1 => (1u8..).prop_filter("names have no slash", |&byte| byte != b'/'),
    ];
    prop_oneof![
        prop::sample::select(HOSTILE_NAMES).prop_map(<[u8]>::to_vec),
        prop::collection::vec(byte, 1..24),
    ]
    .prop_filter("a name of this system", |name| is_possible(name))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![any::<i64>(), -5_i64..5, 1_000_000_000..2_000_000_000_i64];
    (seconds, 0..1_000_000_000_u32).prop_map(|(seconds, nanoseconds)| time(seconds, nanoseconds))
}

/// Any metadata that has a kind.
pub(crate) fn metadata() -> impl Strategy<Value = Metadata> {
    let numbers = prop::collection::vec(prop::option::of(any::<u64>()), 9);
    let times = prop::collection::vec(prop::option::of(any_time()), 4);
    let kind = prop::sample::select(EntryKind::ALL.to_vec());
    (kind, numbers, times).prop_map(|(kind, numbers, times)| {
        let mut metadata = Metadata::with_kind(kind);
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        let fill = |metadata: &mut Metadata, at: usize, value: u64| match at {
            0 => _ = metadata.set_mode(value as u32),
            1 => _ = metadata.set_uid(value as u32),
            2 => _ = metadata.set_size(value),
            3 => _ = metadata.set_allocated(value),
            4 => _ = metadata.set_nlink(value),
            5 => _ = metadata.set_file_id((u128::from(value) << 60 | u128::from(value)).into()),
            6 => _ = metadata.set_device(value),
            7 => _ = metadata.set_attributes(value),
            _ => _ = metadata.set_mount_id(value),
        };
        for (at, value) in numbers.into_iter().enumerate() {
            if let Some(value) = value {
                fill(&mut metadata, at, value);
            }
        }
        for (at, time) in times.into_iter().enumerate() {
            match (at, time) {
                (0, Some(time)) => _ = metadata.set_accessed(time),
                (1, Some(time)) => _ = metadata.set_modified(time),
                (2, Some(time)) => _ = metadata.set_changed(time),
                (_, Some(time)) => _ = metadata.set_born(time),
                (_, None) => {}
            }
        }
        metadata
    })
}

/// Rows with any names in any directories.
pub(crate) fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let directories = prop::collection::vec(prop::collection::vec(name(), 0..3), 1..4);
    let row = (any::<prop::sample::Index>(), name(), name(), metadata());
    (directories, prop::collection::vec(row, 0..24)).prop_map(|(directories, rows)| {
        rows.into_iter()
            .map(|(directory, name, target, metadata)| Sample {
                directories: directory.get(&directories).clone(),
                name,
                target: match metadata.kind() {
                    Some(EntryKind::Symlink) => target,
                    _ => Vec::new(),
                },
                metadata,
            })
            .collect()
    })
}

/// One row for each hostile name, each also as a directory's name and as a target.
pub(crate) fn hostile_samples() -> Vec<Sample> {
    let times = [
        (0, 0),
        (-1, 999_999_999),
        (1_772_000_000, 123_456_789),
        (i64::MIN, 1),
        (i64::MAX, 7),
        (-(1 << 40), 0),
    ];
    let hostile = HOSTILE_NAMES.iter().filter(|name| is_possible(name));
    let hostile: Vec<&[u8]> = hostile.copied().collect();
    let names = hostile.iter().enumerate();
    names
        .map(|(at, name)| {
            let mut metadata = Metadata::with_kind(EntryKind::Symlink);
            let (seconds, nanoseconds) = times[at % times.len()];
            metadata
                .set_size(u64::MAX - at as u64)
                .set_modified(time(seconds, nanoseconds));
            if at % 2 == 0 {
                metadata.set_mode(0o104_755);
            }
            Sample {
                directories: vec![hostile[(at * 7 + 3) % hostile.len()].to_vec()],
                name: name.to_vec(),
                target: hostile[hostile.len() - 1 - at].to_vec(),
                metadata,
            }
        })
        .collect()
}

/// Runs a Python program on a file; its standard output. Where there is no Python it prints a note, or fails if
/// STATLINE_REQUIRE_TOOLS is set.
#[cfg(unix)]
pub(crate) fn python(program: &str, file: &Path) -> Option<String> {
    let run = std::process::Command::new("python3")
        .args(["-c", program])
        .arg(file)
        .output();
    let Ok(output) = run else {
        let required = std::env::var_os("STATLINE_REQUIRE_TOOLS").is_some();
        assert!(
            !required,
            "there is no python3, and STATLINE_REQUIRE_TOOLS is set"
        );
        println!("skipped: there is no python3 to read the output with");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The names of the files in a directory.
pub(crate) fn listing(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
