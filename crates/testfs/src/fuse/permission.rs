//! Whether tests may mount, and what they do where they may not.

use std::io::{self, Write};
use std::sync::OnceLock;

use super::mount::{Mounted, TestFs};
use super::tree::Tree;

/// Where this variable is set, a test that cannot mount fails.
const REQUIRED: &str = "STATLINE_REQUIRE_FUSE";

/// Whether this process may mount a test file system. Tried once.
///
/// # Errors
/// Why not, in words.
pub fn can_mount() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        TestFs::generated(Tree::new())
            .mount()
            .map(drop)
            .map_err(|error| error.to_string())
    });
    tried.clone()
}

/// Whether a test that mounts has to be skipped. Prints why, on one line.
///
/// ```
/// # use statline_testfs::fuse;
/// fn a_test() {
///     if fuse::skipped() {
///         return;
///     }
///     // …
/// }
/// ```
///
/// # Panics
/// If it has to be, and the environment variable `STATLINE_REQUIRE_FUSE` is set: where the tests
/// of a change are run, none may be skipped.
#[must_use]
pub fn skipped() -> bool {
    let Err(reason) = can_mount() else {
        return false;
    };
    assert!(
        std::env::var_os(REQUIRED).is_none(),
        "no right to mount, and {REQUIRED} is set: {reason}"
    );
    // Past the test harness, which shows what a test prints only if it fails. A skip that cannot be
    // told is still a skip.
    let line = format!("skipped: no right to mount: {reason}\n");
    let _ = io::stderr().write_all(line.as_bytes());
    true
}

impl TestFs {
    /// Mounts, or is `None` where the test has to be [`skipped`].
    ///
    /// # Errors
    /// As [`TestFs::mount`].
    ///
    /// # Panics
    /// As [`skipped`].
    pub fn mount_unless_skipped(self) -> io::Result<Option<Mounted>> {
        if skipped() {
            Ok(None)
        } else {
            self.mount().map(Some)
        }
    }
}
