//! Symbolic links that lead nowhere, where links are followed.
//!
//! One thing must stay true: a link whose target is there and cannot be reached is an error, never a link that leads
//! nowhere.

use std::io;

use statline_platform::error_code;

/// Whether following a link failed because there is nothing where it leads; then it is described itself, as `find -L`
/// does.
pub(crate) fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error_code(error) == "ELOOP"
}
