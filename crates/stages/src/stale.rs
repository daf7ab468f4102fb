//! Directories that a server has forgotten: `ESTALE`.
//!
//! A handle that is stale stays so; the directory has to be found anew from its parent. One thing must stay true: not
//! for ever.

use std::io;

use statline_platform::Fault;

/// How often a directory is found anew for one question.
pub(crate) const STALE_REPETITIONS: u32 = 3;

/// Whether a server has forgotten what was asked about, which is not the same as another one in its place.
pub(crate) fn is_stale(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StaleNetworkFileHandle && Fault::of(error).is_none()
}
