//! The report of a run as a file: written under a temporary name, so that it is whole or not there.

use std::io::Write;
use std::path::{Path, PathBuf};

use statline_pipeline::RunReport;
use tempfile::NamedTempFile;

use crate::exit::Failure;
use crate::terminal::Terminal;

/// Where a report will go.
pub(crate) enum ReportFile {
    Stdout,
    File {
        path: PathBuf,
        temporary: NamedTempFile,
    },
}

impl ReportFile {
    /// Makes sure that there can be a file at `path`.
    pub(crate) fn create(path: &Path) -> Result<ReportFile, Failure> {
        if path == Path::new("-") {
            return Ok(ReportFile::Stdout);
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            // Another form than that of outputs under way, which runs remove if nobody writes them.
            .prefix(".statline-report-")
            .suffix(".tmp")
            .tempfile_in(directory)
            .map_err(|error| failed(path, &error))?;
        Ok(ReportFile::File {
            path: path.to_owned(),
            temporary,
        })
    }

    /// Puts the report there.
    pub(crate) fn write(self, report: &RunReport, terminal: Terminal) -> Result<(), Failure> {
        match self {
            ReportFile::Stdout => terminal.print_json(report),
            ReportFile::File {
                path,
                mut temporary,
            } => {
                let text = serde_json::to_string_pretty(report)
                    .map_err(|error| Failure::failed(format!("--report: {error}")))?;
                let file = temporary.as_file_mut();
                file.write_all(text.as_bytes())
                    .and_then(|()| file.write_all(b"\n"))
                    .and_then(|()| file.sync_all())
                    .map_err(|error| failed(&path, &error))?;
                let persisted = temporary.persist(&path);
                persisted.map_err(|error| failed(&path, &error.error))?;
                Ok(())
            }
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write the report {}: {error}",
        path.display()
    ))
}
