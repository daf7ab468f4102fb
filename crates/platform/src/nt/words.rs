//! Words, which is how buffers are aligned for the system, as the bytes that it fills them with.

/// The bytes of `words`, in their order in memory.
pub(super) fn as_bytes(words: &[u64]) -> &[u8] {
    let length = size_of_val(words);
    // SAFETY: words are as many bytes, all of them initialised, and a byte needs no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), length) }
}
