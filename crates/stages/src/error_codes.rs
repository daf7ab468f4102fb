//! The codes that errors of reading a file system can have, for `accept`.
//!
//! One thing must stay true: whatever code a stage reports can be accepted.

use statline_pipeline::Declare;
use statline_platform::{Fault, errno_from_name, errno_name, errno_names};

/// States the codes of a stage that reads directories or metadata.
pub(crate) fn declare(ports: &mut Declare<'_>) {
    let own = Fault::ALL.into_iter().map(Fault::code);
    // The first is what is shown as an example.
    let known = ["EACCES"].into_iter().chain(errno_names()).chain(own);
    ports.error_codes(known, is_known);
}

fn is_known(code: &str) -> bool {
    let is_own = Fault::ALL.iter().any(|fault| fault.code() == code);
    // A second name of a number is never told, so to accept it would have no effect.
    let is_errno = || errno_from_name(code).and_then(errno_name) == Some(code);
    // Numbers without a name, such as the 524 of NFS servers, are told as this.
    let is_number = || {
        let digits = code.strip_prefix('E');
        let number = digits.and_then(|digits| digits.parse().ok());
        number.is_some_and(|number| errno_name(number).is_none() && format!("E{number}") == code)
    };
    is_own || is_errno() || is_number() || KINDS.contains(&code)
}

/// Errors that carry no number are told by their kind. The standard library makes such ones of what is no path, and of
/// what a platform cannot do.
const KINDS: [&str; 4] = ["INVALID_INPUT", "UNSUPPORTED", "UNEXPECTED_EOF", "OTHER"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told_is_known_and_nothing_else() {
        let told = [
            "EACCES",
            "EIO",
            "E524",
            "REPLACED",
            "READDIR_LOOP",
            "LOOP",
            "OTHER",
        ];
        for code in told {
            assert!(is_known(code), "{code}");
        }
        let never = [
            "EACESS",
            "eacces",
            "EWOULDBLOCK",
            if cfg!(windows) { "E5" } else { "E13" },
            "E0524",
            "E+524",
            "E",
            "",
            "13",
        ];
        for code in never {
            assert!(!is_known(code), "{code}");
        }
    }
}
