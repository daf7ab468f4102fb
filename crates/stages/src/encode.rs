//! Numbers, times and bytes as outputs spell them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use statline_pipeline::{ErrorRecord, Scope};
use statline_platform::{FileId, Timestamp};

/// Appends a number in decimal.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a time in nanoseconds since the epoch, exact however far away it is.
#[inline]
pub(crate) fn push_nanoseconds(out: &mut Vec<u8>, time: Timestamp) {
    // 64 bits reach from 1677 to 2262.
    let near = time
        .seconds
        .checked_mul(1_000_000_000)
        .and_then(|seconds| seconds.checked_add(i64::from(time.nanoseconds)));
    match near {
        Some(nanoseconds) => push_number(out, nanoseconds),
        None => push_number(out, time.as_nanoseconds()),
    }
}

/// Appends a file's number.
#[inline]
pub(crate) fn push_file_id(out: &mut Vec<u8>, id: FileId) {
    match u64::try_from(id.as_u128()) {
        Ok(id) => push_number(out, id),
        Err(_) => push_number(out, id.as_u128()),
    }
}

/// Appends bytes, given in parts, in standard base64.
#[cold]
pub(crate) fn push_base64(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(BASE64_STANDARD.encode(parts.concat()).as_bytes());
}

/// How much is missing because of an error, as a word.
pub(crate) fn scope(error: &ErrorRecord) -> &'static str {
    match error.scope {
        Scope::Entry => "entry",
        Scope::Subtree => "subtree",
    }
}

/// Bytes as text, or in base64 if they are none.
pub(crate) fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}
