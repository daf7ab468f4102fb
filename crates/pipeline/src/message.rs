//! What travels between stages.

/// A unit of work that one stage hands to the next through a bounded channel.
///
/// A message should carry enough items for the cost of a channel hop (tens of nanoseconds when both sides are
/// awake, microseconds when one has to be woken) to vanish: a batch of a thousand names, not one name.
pub trait Message: Clone + Send + 'static {
    /// How many items the message counts for in reports.
    fn items(&self) -> u64 {
        1
    }

    /// What the message occupies while it is queued, in bytes, its heap memory included.
    ///
    /// It is read once when the message is sent; capacities in bytes are kept with it.
    fn weight(&self) -> usize;
}

impl Message for u64 {
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}

/// The name of a message type as people write it: without its module path.
pub(crate) fn type_name<T: 'static>() -> &'static str {
    let full = std::any::type_name::<T>();
    // `Vec<a::B>` keeps its generic part; only the leading path goes.
    let generics = full.find('<').unwrap_or(full.len());
    match full[..generics].rfind("::") {
        Some(at) => &full[at + 2..],
        None => full,
    }
}
