//! The beginnings of byte strings: what sorted ones share, and what settles most comparisons.

/// How many bytes two strings have in common at their beginning.
#[inline]
pub(crate) fn shared(a: &[u8], b: &[u8]) -> usize {
    // Neighbours share most of a path: several bytes at a time.
    const STEP: usize = 8;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let whole = steps.take_while(|(a, b)| a == b).count() * STEP;
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// The first bytes as a number: where two differ, the strings stand to each other as the numbers do.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = bytes.len().min(head.len());
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_shared_beginning_is_all_that_is_shared(
            shared in prop::collection::vec(any::<u8>(), 0..40), a in prop::collection::vec(any::<u8>(), 0..20),
            b in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (a, b) = ([&shared[..], &a].concat(), [&shared[..], &b].concat());
            let found = super::shared(&a, &b);
            prop_assert!(found >= shared.len());
            prop_assert_eq!(&a[..found], &b[..found]);
            prop_assert!(a.get(found).is_none() || a.get(found) != b.get(found));
            prop_assert!(head(&a) == head(&b) || head(&a).cmp(&head(&b)) == a.cmp(&b));
        }
    }
}
