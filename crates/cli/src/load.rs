//! Jobs, from files to something that runs.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use statline_pipeline::{Job, Problems, Registry, read_limited};

use crate::changes::Changes;
use crate::exit::Failure;
use crate::job_text::JobText;

/// More than any job has; the library's own limit for files.
const LARGEST: u64 = 1 << 20;

/// All kinds of stages that the program knows.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    statline_stages::register(&mut registry);
    registry.register("changes", Changes);
    registry
}

/// Where the variables in jobs come from.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The job in a file, or on standard input for `-`.
pub(crate) fn job(path: &Path, overrides: &[String]) -> Result<Job, Failure> {
    let (name, text) = text(path)?;
    Ok(Job::parse(
        &registry(),
        &name,
        &text,
        &environment,
        overrides,
    )?)
}

/// A job that a command has made of its flags.
pub(crate) fn made(name: &str, text: &JobText, overrides: &[String]) -> Result<Job, Problems> {
    Job::parse(&registry(), name, &text.write(), &environment, overrides)
}

/// The text of a job, and what messages call it.
pub(crate) fn text(path: &Path) -> Result<(String, String), Failure> {
    if path != Path::new("-") {
        let name = path.to_string_lossy().into_owned();
        return Ok((name, read_limited(path)?));
    }
    let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("standard input: {error}"));
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(&"larger than 1 MiB, so this is not a job"));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"not UTF-8 text"))?;
    Ok(("stdin".to_owned(), text))
}
