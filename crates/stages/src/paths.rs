//! `paths`: writes the path of each row, its bytes as they are.
//!
//! With the separator "nul" that is what `xargs -0`, `tar --null -T` and `rsync --from0` read. With "newline" a path that
//! holds a newline reads as two; the counter `ambiguous` says how many did.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{Counter, Declare, Kind, Opening, StageError};

use crate::output_file::OutputFile;
use crate::output_path::OutputPath;
use crate::path_prefix::PathPrefix;
use crate::row_input::RowInput;
use crate::text_sink::Format;
use crate::{Row, Rows};

/// Options of `paths`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PathsConfig {
    /// The file to write, or "-" for standard output.
    pub path: OutputPath,
    /// What follows each path.
    #[serde(default)]
    pub separator: Separator,
    /// Whether to write paths below the roots, and "." for a root itself: what `rsync --files-from` reads.
    #[serde(default)]
    pub relative: bool,
}

impl PathsConfig {
    /// The default options for this output.
    pub fn new(path: impl Into<String>) -> PathsConfig {
        PathsConfig {
            path: OutputPath::new(path),
            separator: Separator::default(),
            relative: false,
        }
    }
}

/// What follows each path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// A line feed; ambiguous where names hold one.
    #[default]
    Newline,
    /// A zero byte, which no path holds.
    Nul,
}

/// The kind `paths`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paths;

impl Kind for Paths {
    type Config = PathsConfig;
    type Ports = RowInput;

    fn about(&self) -> &'static str {
        "writes the path of each row"
    }

    fn declare(&self, config: Option<&PathsConfig>, ports: &mut Declare<'_>) -> RowInput {
        if let Some(config) = config {
            config.path.check(ports);
        }
        RowInput::declare(ports)
    }

    fn open(
        &self,
        config: PathsConfig,
        input: RowInput,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let format = RawPaths {
            separator: match config.separator {
                Separator::Newline => b'\n',
                Separator::Nul => 0,
            },
            relative: config.relative,
            prefix: PathPrefix::default(),
            ambiguous_prefix: false,
            ambiguous: stage.context().counter("ambiguous"),
        };
        let output = OutputFile::open(stage, &config.path)?;
        input.open(stage, output, format)
    }
}

struct RawPaths {
    separator: u8,
    /// Whether paths begin below the roots.
    relative: bool,
    prefix: PathPrefix,
    /// Whether the separator occurs in the prefix.
    ambiguous_prefix: bool,
    ambiguous: Counter,
}

impl RawPaths {
    fn push(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        if self.prefix.enter(row) {
            self.ambiguous_prefix = self.prefix.bytes().contains(&self.separator);
        }
        let name = row.name.as_bytes();
        if self.ambiguous_prefix || name.contains(&self.separator) {
            self.ambiguous.add(1);
        }
        out.extend_from_slice(self.prefix.bytes());
        out.extend_from_slice(name);
        out.push(self.separator);
    }

    fn push_relative(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        row.write_relative_path(out);
        if out[start..].contains(&self.separator) {
            self.ambiguous.add(1);
        }
        out.push(self.separator);
    }
}

impl<B: Rows> Format<B> for RawPaths {
    fn write(&mut self, batch: &B, output: &mut OutputFile) -> Result<(), StageError> {
        for row in batch.rows() {
            match self.relative {
                true => self.push_relative(&row, output.buffer()),
                false => self.push(&row, output.buffer()),
            }
            output.end_row()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statline_pipeline::{Builder, Message, Outcome, RunReport};

    use super::*;
    use crate::fixtures::{Given, Sample, batches, entries, root, samples};

    fn written<M: Message + Sync>(
        messages: Vec<M>,
        separator: Separator,
        relative: bool,
    ) -> (Vec<u8>, RunReport) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paths");
        let mut builder = Builder::new("test");
        let source = builder.stage("in", Given::all(messages), ()).done();
        let config = PathsConfig {
            separator,
            relative,
            ..PathsConfig::new(path.to_str().unwrap())
        };
        let _ = builder.stage("out", Paths, config).reads(&source);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        (std::fs::read(path).unwrap(), report)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn paths_of_any_bytes_come_back(samples in samples(), rows in 1_usize..8) {
            let (bytes, report) = written(batches(&samples, rows), Separator::Nul, false);
            let expected: Vec<u8> = samples.iter().flat_map(|sample| [sample.path(), vec![0]].concat()).collect();
            prop_assert_eq!(bytes, expected);
            let out = report.stages.iter().find(|stage| stage.name == "out").unwrap();
            prop_assert_eq!(out.counters.get("ambiguous").copied().unwrap_or_default(), 0);
            let (bytes, _) = written(batches(&samples, rows), Separator::Nul, true);
            let below = |sample: &Sample| [&sample.path()[2..], b"\0"].concat();
            prop_assert_eq!(bytes, samples.iter().flat_map(below).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_root_is_a_dot_where_paths_begin_below_it() {
        let mut batch = crate::EntryBatch::default();
        batch.extend(&root("dir"), |entries| entries.push(b"", None, 0));
        batch.extend(&root("dir"), |entries| entries.push(b"a", None, 0));
        let (bytes, _) = written(vec![batch], Separator::Newline, true);
        assert_eq!(bytes, b".\na\n");
    }

    #[test]
    fn a_newline_in_a_path_is_counted_where_newlines_separate() {
        let (bytes, report) = written(vec![entries(&[b"a", b"b\nc"])], Separator::Newline, false);
        assert_eq!(bytes, b"dir/a\ndir/b\nc\n");
        let out = report
            .stages
            .iter()
            .find(|stage| stage.name == "out")
            .unwrap();
        assert_eq!(out.counters["ambiguous"], 1);
    }
}
