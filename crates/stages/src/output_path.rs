//! Where an output goes, as a job writes it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::Declare;

/// The path of an output file: `inventory.jsonl`, `/var/lib/scans/%Y-%m-%d.csv`, or `-` for standard output.
///
/// What strftime(3) knows, such as %Y-%m-%d, becomes the date and time at which the run began, in UTC; %% is a percent
/// sign. Paths below /dev, such as /dev/stdout or /dev/fd/3, are written to as they stand, like standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OutputPath(String);

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To standard output.
    Stdout,
    /// To something that cannot be replaced, only written to.
    Stream(PathBuf),
    /// To a file that appears whole.
    File(PathBuf),
}

impl OutputPath {
    /// The output at a path, `-` and `%` meaning what they mean in a job.
    pub fn new(path: impl Into<String>) -> OutputPath {
        OutputPath(path.into())
    }

    /// Reports what is wrong with it, as the option `path`.
    pub fn check(&self, ports: &mut Declare<'_>) {
        if let Err(message) = self.destination(Timestamp::UNIX_EPOCH) {
            let help = match self.0.contains('%') {
                true => "write %% for a percent sign",
                false => "write the path of a file, or \"-\" for standard output",
            };
            ports.problem("path", message, Some(help.to_owned()));
        }
    }

    /// Where the output of a run that began then goes.
    pub(crate) fn destination(&self, began: Timestamp) -> Result<Destination, String> {
        if matches!(self.0.as_str(), "-" | "/dev/stdout") {
            return Ok(Destination::Stdout);
        }
        let path = match self.0.contains('%') {
            true => jiff::fmt::strtime::format(&self.0, began)
                .map_err(|error| format!("{:?} is no pattern of a path: {error}", self.0))?,
            false => self.0.clone(),
        };
        let path = PathBuf::from(path);
        if is_stream(&path) {
            return Ok(Destination::Stream(path));
        }
        let names_a_directory = self.0.ends_with(std::path::is_separator) || self.0.ends_with("/.");
        if path.file_name().is_none() || names_a_directory {
            return Err(format!("{:?} names no file", self.0));
        }
        Ok(Destination::File(path))
    }
}

/// Devices must not be replaced by files, which a rename would do without a word.
fn is_stream(path: &Path) -> bool {
    #[cfg(windows)]
    if is_windows_device(path) {
        return true;
    }
    let memory = ["/dev/shm", "/dev/mqueue"];
    path.starts_with("/proc")
        || path.starts_with("/dev") && !memory.iter().any(|place| path.starts_with(place))
}

/// Whether Windows has a device or a pipe there: in its own name space, or under one of the names of DOS.
#[cfg(windows)]
fn is_windows_device(path: &Path) -> bool {
    let in_name_space = [r"\\.\", "//./"].iter().any(|prefix| {
        path.as_os_str()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
    });
    let name = path.file_name().map(|name| name.to_ascii_lowercase());
    in_name_space
        || ["nul", "con", "conout$", "prn"]
            .iter()
            .any(|device| name.as_ref().is_some_and(|name| name == device))
}

impl From<&str> for OutputPath {
    fn from(path: &str) -> OutputPath {
        OutputPath::new(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(path: &str) -> Result<Destination, String> {
        let began: Timestamp = "2026-03-09T23:59:59Z".parse().unwrap();
        OutputPath::new(path).destination(began)
    }

    #[test]
    fn dates_are_put_in_and_percent_signs_can_be_written() {
        for (path, expected) in [
            ("scan.csv", "scan.csv"),
            ("%Y-%m-%d/%H.csv", "2026-03-09/23.csv"),
            ("100%%.csv", "100%.csv"),
            ("/dev/shm/x", "/dev/shm/x"),
            ("./-", "./-"),
        ] {
            assert_eq!(
                destination(path),
                Ok(Destination::File(PathBuf::from(expected)))
            );
        }
        let error = destination("%Y-%!").unwrap_err();
        assert!(error.starts_with("\"%Y-%!\" is no pattern"), "{error}");
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for path in ["", "/", "out/", "out/.", "out/.."] {
            assert_eq!(destination(path), Err(format!("{path:?} names no file")));
        }
    }

    #[cfg(windows)]
    #[test]
    fn devices_of_windows_are_streams() {
        for path in ["NUL", "con", r"\\.\pipe\scan", r"C:\out\nul"] {
            assert_eq!(destination(path), Ok(Destination::Stream(path.into())));
        }
        assert_eq!(destination("null"), Ok(Destination::File("null".into())));
    }

    #[test]
    fn standard_output_and_devices_are_streams() {
        assert_eq!(destination("-"), Ok(Destination::Stdout));
        assert_eq!(destination("/dev/stdout"), Ok(Destination::Stdout));
        for path in ["/dev/null", "/dev/fd/3", "/proc/self/fd/3"] {
            assert_eq!(destination(path), Ok(Destination::Stream(path.into())));
        }
    }
}
