//! Whether what a benchmark read was in memory.
//!
//! One thing must stay true: `hot` is said only if nothing came from storage, and `cold` only if the caches were dropped
//! before each pass; whatever else there was is `unknown`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use statline_platform::Filesystem;

use crate::exit::Failure;
use crate::human::{self, Units};

/// Where the system is told to drop its caches.
const DROP: &str = "/proc/sys/vm/drop_caches";
/// Where it tells what a process has read.
const READ: &str = "/proc/self/io";

/// The caches during a benchmark.
pub(super) struct Caches {
    cold: bool,
    /// Whether what is remembered of the mount may lie elsewhere, and may expire.
    network: bool,
    /// What came from storage during the passes, if the system tells.
    from_storage: Option<u64>,
}

/// In what state the caches were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CacheState {
    pub(super) state: &'static str,
    pub(super) why: String,
    pub(super) bytes_from_storage: Option<u64>,
}

impl Caches {
    /// Drops them for a first time if they are to be cold, so that it shows at once if that cannot be.
    pub(super) fn new(path: &Path, cold: bool) -> Result<Caches, Failure> {
        if cold {
            drop_all()?;
        }
        let network = Filesystem::of_path(path).is_ok_and(|found| found.profile().network);
        Ok(Caches {
            cold,
            network,
            from_storage: Some(0),
        })
    }

    /// Whether a pass that is not counted comes first.
    pub(super) fn need_a_pass(&self) -> bool {
        !self.cold
    }

    /// Before a pass: what had come from storage until then.
    pub(super) fn prepare(&self) -> Result<Option<u64>, Failure> {
        if self.cold {
            drop_all()?;
        }
        Ok(read_from_storage())
    }

    /// After it.
    pub(super) fn note(&mut self, before: &Option<u64>) {
        let read = read_from_storage().zip(*before);
        let read = read.map(|(now, before)| now.saturating_sub(before));
        self.from_storage = self.from_storage.zip(read).map(|(sum, read)| sum + read);
    }

    pub(super) fn state(&self) -> CacheState {
        let (state, why) = match (self.cold, self.network, self.from_storage) {
            (true, false, Some(bytes)) => (
                "cold",
                format!(
                    "the caches were dropped before each pass, and {} came from storage; what the storage itself \
                     remembers was left",
                    human::bytes(bytes, Units::Binary)
                ),
            ),
            (true, _, _) => (
                "cold",
                "the caches of this machine were dropped before each pass; what the server or the storage remembers \
                 was left"
                    .to_owned(),
            ),
            (false, true, _) => (
                "unknown",
                "after a pass of each way that was not counted; what is remembered of this mount may expire, and the \
                 server has a memory of its own"
                    .to_owned(),
            ),
            (false, false, Some(0)) => (
                "hot",
                "after a pass of each way that was not counted, nothing came from storage".to_owned(),
            ),
            (false, false, Some(bytes)) => (
                "unknown",
                format!(
                    "after a pass of each way that was not counted, {} still came from storage: not all of it was in \
                     memory",
                    human::bytes(bytes, Units::Binary)
                ),
            ),
            (false, false, None) => (
                "unknown",
                "after a pass of each way that was not counted; this system does not tell what came from storage"
                    .to_owned(),
            ),
        };
        CacheState {
            state,
            why,
            bytes_from_storage: self.from_storage,
        }
    }
}

/// What this process has caused to be read from storage since it started.
fn read_from_storage() -> Option<u64> {
    let text = std::fs::read_to_string(READ).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("read_bytes: ")?.trim().parse().ok())
}

fn drop_all() -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::usage(
            "--cold drops the caches of Linux, and this is another system",
        ));
    }
    let refused = |error: io::Error| {
        let needs = match error.kind() {
            // Also root may be refused: in a container the place cannot be written to.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; dropping caches needs root, outside of containers"
            }
            _ => "",
        };
        Failure::failed(format!("--cold: {DROP}: {error}{needs}"))
    };
    let mut place = File::options().write(true).open(DROP).map_err(refused)?;
    // What is not written yet cannot be dropped.
    #[cfg(unix)]
    rustix::fs::sync();
    place.write_all(b"3\n").map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(cold: bool, network: bool, from_storage: Option<u64>) -> &'static str {
        let caches = Caches {
            cold,
            network,
            from_storage,
        };
        caches.state().state
    }

    #[test]
    fn hot_and_cold_are_said_only_of_what_was_seen_to_be() {
        assert_eq!(state(false, false, Some(0)), "hot");
        assert_eq!(state(false, false, Some(4096)), "unknown");
        assert_eq!(state(false, false, None), "unknown");
        assert_eq!(state(false, true, Some(0)), "unknown");
        for network in [false, true] {
            assert_eq!(state(true, network, Some(4096)), "cold");
            assert_eq!(state(true, network, None), "cold");
        }
    }

    #[test]
    fn what_a_pass_read_is_added_up_unless_one_of_them_was_not_told() {
        let mut caches = Caches {
            cold: false,
            network: false,
            from_storage: Some(0),
        };
        caches.note(&None);
        assert_eq!(caches.from_storage, None);
        caches.note(&Some(0));
        assert_eq!(caches.from_storage, None);
    }
}
