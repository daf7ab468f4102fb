//! What stands for the backend where it is not built.

use std::sync::Arc;

use crate::Backend;

/// There is none.
///
/// # Errors
/// Always: why not.
pub(crate) fn probe() -> Result<Arc<dyn Backend>, String> {
    let reason = match () {
        () if !cfg!(target_os = "linux") => "only Linux has it",
        () if !cfg!(feature = "io_uring") => "this program was built without the feature io_uring",
        () => "it is not built for this processor",
    };
    Err(reason.to_owned())
}
