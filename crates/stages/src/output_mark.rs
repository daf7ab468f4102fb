//! The mark beside an output: of which run it is, how that run ended, and what it could not read.
//!
//! An output in itself does not show whether something is missing from it; who relies on one reads its mark first. The
//! mark holds the length and a digest of the file, so that it vouches for no other: see [`OutputMark::verify`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Outcome, Scope, StageErrors, StageReport, Stall, Unread, VERSION, Verdict,
};

use crate::RootPath;
use crate::encode::text_or_base64;
use crate::roots::ROOTS;

/// The version of the form of [`OutputMark`]. It changes when a field changes its meaning or goes; new fields do not
/// change it.
pub const MARK_SCHEMA: u32 = 2;

/// The counter of entries that were gone when their metadata was asked for.
const VANISHED: &str = "vanished";

/// A larger mark is none of ours: it repeats a job, and those are 1 MiB at the most.
const LARGEST: u64 = 64 << 20;

/// What is known of an output file, as JSON in a file beside it: `FILE.run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputMark {
    /// [`MARK_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The version of statline that wrote the output.
    pub version: String,
    /// Identifies the run in its report and in all its outputs.
    pub run_id: String,
    /// The name of the job.
    pub job: String,
    /// The stage that wrote the output; empty in marks older than this field.
    #[serde(default)]
    pub stage: String,
    /// How the run ended. Of an incomplete one, `errors` tells what is missing; of a cancelled or a failed one, the
    /// output holds what was written until then.
    pub outcome: Outcome,
    /// Why the run did not finish, if it did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// When the run began: RFC 3339, UTC.
    pub started: String,
    /// When the last of its stages had ended: RFC 3339, UTC.
    pub finished: String,
    /// Where the scan began: absolute paths, as they were named.
    pub roots: Vec<RootPath>,
    /// The rows in the output, a header not counted.
    pub rows: u64,
    /// The size of the output. If the file has another, the mark is not about this file.
    pub bytes: u64,
    /// `blake3:` and the BLAKE3 hash of the output's content, in hexadecimal.
    pub digest: String,
    /// How many entries were gone when their metadata was asked for. They are no rows, and no errors either.
    pub vanished: u64,
    /// What could not be read, by stage, operation and code; accepted codes leave a run complete.
    pub errors: Vec<StageErrors>,
    /// What was not looked at, by path: what an error was reported of, and what was left out where nobody knew before.
    /// Not there in marks older than this field, which do not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unread: Option<Vec<MarkedUnread>>,
    /// How many there are beyond those that are listed. If any, what is not in the output may be there all the same.
    #[serde(default)]
    pub unread_more: u64,
    /// What did not answer in time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stalls: Vec<Stall>,
    /// The stages of the job in the order in which messages travel.
    pub stages: Vec<MarkedStage>,
}

/// A stage of the run that wrote an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MarkedStage {
    /// Its name in the job.
    pub name: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many threads it had.
    pub threads: usize,
    /// What feeds it, by input port.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub inputs: BTreeMap<String, Vec<String>>,
    /// The codes of errors that leave the run complete.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accept: Vec<String>,
    /// Its options as they were in force, defaults among them; not known of a stage that a program added as a value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub options: Option<serde_json::Value>,
    /// What it stated about the run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// Numbers that the stage itself counted, such as what it left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub counters: BTreeMap<String, u64>,
}

/// Something that a run has not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MarkedUnread {
    /// Its path, as the root was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// The same in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_b64: Option<String>,
    /// How much was not looked at.
    pub scope: Scope,
    /// The code of an error, or a word such as `excluded`.
    pub reason: String,
}

impl MarkedUnread {
    fn new(unread: &Unread) -> MarkedUnread {
        let (path, path_b64) = text_or_base64(&unread.subject);
        MarkedUnread {
            path,
            path_b64,
            scope: unread.scope,
            reason: unread.reason.to_string(),
        }
    }

    /// As stages note it; `None` if the path cannot be read.
    pub(crate) fn to_unread(&self) -> Option<Unread> {
        Some(Unread {
            subject: match (&self.path, &self.path_b64) {
                (Some(path), _) => path.as_bytes().to_vec(),
                (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).ok()?,
                (None, None) => return None,
            },
            scope: self.scope,
            reason: Cow::Owned(self.reason.clone()),
        })
    }
}

/// What a file holds, as its mark tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

/// Why an output cannot be relied on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The output cannot be read.
    #[error("it cannot be read")]
    Output(#[source] io::Error),
    /// There is no mark, or it cannot be read.
    #[error("its mark {path:?} cannot be read")]
    Mark {
        /// Where the mark should be.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// What is there is no mark.
    #[error("{path:?} is no mark of an output")]
    NoMark {
        /// Where the mark should be.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The mark has a form that this version does not know.
    #[error(
        "its mark {path:?} has the form {schema}, and this program knows the form {MARK_SCHEMA}"
    )]
    Schema {
        /// Where the mark is.
        path: PathBuf,
        /// The form that it has.
        schema: u32,
    },
    /// The output is not as long as it was when it was written.
    #[error("it has {found} bytes, and its mark is about a file of {expected}")]
    Length {
        /// As the mark has it, in bytes.
        expected: u64,
        /// As the file has it, in bytes.
        found: u64,
    },
    /// The output holds something else than when it was written.
    #[error("its content has the digest {found}, and its mark is about a file with {expected}")]
    Digest {
        /// As the mark has it.
        expected: String,
        /// As the file has it.
        found: String,
    },
}

impl OutputMark {
    /// The mark of an output that is about to get its name.
    pub(crate) fn new(verdict: &Verdict, stage: &str, content: &Content) -> OutputMark {
        OutputMark {
            schema: MARK_SCHEMA,
            version: VERSION.to_owned(),
            run_id: verdict.run_id.clone(),
            job: verdict.job.clone(),
            stage: stage.to_owned(),
            outcome: verdict.outcome,
            cause: verdict.cause.clone(),
            started: verdict.started.to_string(),
            finished: verdict.finished.to_string(),
            roots: roots(&verdict.stages),
            rows: content.rows,
            bytes: content.bytes,
            digest: content.digest.clone(),
            vanished: verdict
                .stages
                .iter()
                .filter_map(|stage| stage.counters.get(VANISHED))
                .sum(),
            errors: verdict.errors.clone(),
            unread: Some(verdict.unread.items.iter().map(MarkedUnread::new).collect()),
            unread_more: verdict.unread.more,
            stalls: verdict.stalls.clone(),
            stages: verdict.stages.iter().map(MarkedStage::new).collect(),
        }
    }

    /// Where the mark of the output `path` is.
    pub fn path_for(path: &Path) -> PathBuf {
        beside(path, ".run.json")
    }

    /// The mark of the output `path`, which need not be about the file that is there now.
    ///
    /// # Errors
    /// If there is none that this version can read.
    pub fn read(path: &Path) -> Result<OutputMark, VerifyError> {
        /// The one field that every form has.
        #[derive(Deserialize)]
        struct Form {
            schema: u32,
        }

        let path = OutputMark::path_for(path);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
        if let Err(source) = read {
            return Err(VerifyError::Mark { path, source });
        }
        let form = serde_json::from_slice(&text);
        let mark = form.and_then(|form: Form| match form.schema {
            MARK_SCHEMA => serde_json::from_slice(&text).map(Ok),
            schema => Ok(Err(schema)),
        });
        match mark {
            Ok(Ok(mark)) => Ok(mark),
            Ok(Err(schema)) => Err(VerifyError::Schema { path, schema }),
            Err(source) => Err(VerifyError::NoMark { path, source }),
        }
    }

    /// The mark of the output `path`, if it is about exactly the file that is there: length and digest match. Reads the
    /// whole file.
    ///
    /// That they match does not mean that nothing is missing: [`outcome`](OutputMark::outcome) says that.
    ///
    /// # Errors
    /// If the file or its mark cannot be read, or one is not about the other.
    pub fn verify(path: &Path) -> Result<OutputMark, VerifyError> {
        // The file first: a run that publishes meanwhile puts its mark in place before its file, so that the worst is a
        // mismatch.
        let mut file = File::open(path).map_err(VerifyError::Output)?;
        let mark = OutputMark::read(path)?;
        let found = file.metadata().map_err(VerifyError::Output)?;
        if found.is_file() && found.len() != mark.bytes {
            return Err(VerifyError::Length {
                expected: mark.bytes,
                found: found.len(),
            });
        }
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(&mut file)
            .map_err(VerifyError::Output)?;
        if hasher.count() != mark.bytes {
            return Err(VerifyError::Length {
                expected: mark.bytes,
                found: hasher.count(),
            });
        }
        match digest(&hasher) {
            found if found == mark.digest => Ok(mark),
            found => Err(VerifyError::Digest {
                expected: mark.digest,
                found,
            }),
        }
    }
}

impl MarkedStage {
    fn new(stage: &StageReport) -> MarkedStage {
        MarkedStage {
            name: stage.name.clone(),
            kind: stage.kind.clone(),
            threads: stage.threads,
            inputs: stage.inputs.clone(),
            accept: stage.accept.clone(),
            options: stage.options.clone(),
            facts: stage.facts.clone(),
            counters: stage.counters.clone(),
        }
    }
}

/// The roots that the stages of a run stated.
fn roots(stages: &[StageReport]) -> Vec<RootPath> {
    let stated = stages.iter().filter_map(|stage| stage.facts.get(ROOTS));
    let roots = stated.filter_map(|roots| serde_json::from_value(roots.clone()).ok());
    roots.flat_map(|roots: Vec<RootPath>| roots).collect()
}

/// A hash as marks have it.
pub(crate) fn digest(hasher: &blake3::Hasher) -> String {
    format!("blake3:{}", hasher.finalize().to_hex())
}

/// A file whose name is that of another and something more.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut beside: OsString = path.as_os_str().to_owned();
    beside.push(more);
    beside.into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use statline_pipeline::Builder;

    use super::*;
    use crate::fixtures::{Given, records};
    use crate::{Jsonl, JsonlConfig};

    /// A directory with a published output in it.
    fn published() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let mut builder = Builder::new("nightly");
        let batch = records(&[b"a", b"b"]);
        let source = builder.stage("in", Given::all(vec![batch]), ()).done();
        let config = JsonlConfig::new(path.to_str().unwrap());
        let _ = builder.stage("out", Jsonl, config).reads(&source);
        assert_eq!(builder.build().unwrap().run().outcome, Outcome::Complete);
        (directory, path)
    }

    #[test]
    fn an_output_is_verified_by_its_mark() {
        let (_directory, path) = published();
        let mark = OutputMark::verify(&path).unwrap();
        assert_eq!((mark.outcome, mark.rows), (Outcome::Complete, 2));
        assert_eq!(mark, OutputMark::read(&path).unwrap());
    }

    #[test]
    fn no_other_content_passes_for_the_output() {
        let (_directory, path) = published();
        let content = fs::read(&path).unwrap();
        for at in 0..content.len() {
            let mut other = content.clone();
            other[at] ^= 1;
            fs::write(&path, other).unwrap();
            let error = OutputMark::verify(&path).unwrap_err();
            assert!(matches!(error, VerifyError::Digest { .. }), "{error}");
        }
        for length in [0, content.len() - 1] {
            fs::write(&path, &content[..length]).unwrap();
            let error = OutputMark::verify(&path).unwrap_err();
            assert!(matches!(error, VerifyError::Length { .. }), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = OutputMark::verify(&path).unwrap_err();
        assert!(matches!(error, VerifyError::Output(_)), "{error}");
    }

    #[test]
    fn a_mark_that_is_none_vouches_for_nothing() {
        let (_directory, path) = published();
        let place = OutputMark::path_for(&path);
        let mark = fs::read_to_string(&place).unwrap();
        let older = mark.replacen("\"schema\": 2", "\"schema\": 1", 1);
        for (text, expected) in [
            (older.as_str(), "has the form 1"),
            (&mark[..mark.len() - 3], "is no mark"),
            ("", "is no mark"),
            ("{\"schema\": 2}", "is no mark"),
        ] {
            fs::write(&place, text).unwrap();
            let error = OutputMark::verify(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        fs::remove_file(&place).unwrap();
        let error = OutputMark::verify(&path).unwrap_err();
        assert!(matches!(error, VerifyError::Mark { .. }), "{error}");
    }
}
