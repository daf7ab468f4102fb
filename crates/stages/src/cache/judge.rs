//! How a record stands to what is remembered of it, and what is to be remembered of it now.
//!
//! One thing must stay true: trust and age come from a look at the file system alone. A record that this run took from
//! memory changes neither.

use statline_platform::{Metadata, Timestamp};

use super::signature::{is_same, is_settled};
use crate::store::directory::{Remembered, milliseconds};
use crate::{Change, Field};

/// What all records of a batch are judged by.
pub(crate) struct Judge<'a> {
    pub(crate) signature: &'a [Field],
    /// None of them was looked at before.
    pub(crate) looked_at: Timestamp,
    /// Whether the time of the look is worth remembering though nothing else is new.
    pub(crate) ages_count: bool,
}

impl Judge<'_> {
    /// The mark of a record, and what is to be remembered unless that is what there is already. `is_remembered` says that
    /// the record itself was taken from memory.
    pub(crate) fn judge(
        &self,
        before: Option<&Remembered>,
        now: &Metadata,
        is_remembered: bool,
    ) -> (Change, Option<Remembered>) {
        let looked_at = milliseconds(self.looked_at);
        let Some(before) = before else {
            let new = Remembered {
                metadata: now.clone(),
                is_settled: !is_remembered && is_settled(now, self.looked_at),
                // Nobody knows when: so long ago that it is never young.
                looked_at: if is_remembered { 0 } else { looked_at },
            };
            return (Change::New, Some(new));
        };
        let is_unchanged = before.is_settled && is_same(self.signature, &before.metadata, now);
        let change = match is_unchanged {
            true => Change::Unchanged,
            false => Change::Changed,
        };
        if is_remembered {
            return (change, None);
        }
        let is_equal = equal_but_for_access(&before.metadata, now);
        let is_settled = (is_equal && before.is_settled) || is_settled(now, self.looked_at);
        let is_news = !is_equal
            || is_settled != before.is_settled
            || (self.ages_count && looked_at > before.looked_at);
        let update = is_news.then(|| Remembered {
            metadata: now.clone(),
            is_settled,
            looked_at,
        });
        (change, update)
    }
}

/// Whether metadata are equal but for the last access: reading files is no reason to write down everything anew.
fn equal_but_for_access(before: &Metadata, now: &Metadata) -> bool {
    match (before.accessed(), now.accessed()) {
        (Some(accessed), Some(other)) if accessed != other => {
            let mut now = now.clone();
            now.set_accessed(accessed);
            now == *before
        }
        _ => now == before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{file, time};

    fn at(mtime: i64) -> Metadata {
        file(|metadata| _ = metadata.set_size(1).set_modified(time(mtime, 0)))
    }

    fn judge(looked_at: Timestamp, ages_count: bool) -> Judge<'static> {
        Judge {
            signature: &[Field::Size, Field::Mtime],
            looked_at,
            ages_count,
        }
    }

    #[test]
    fn what_was_changed_within_two_seconds_before_the_look_is_not_trusted_later() {
        for (mtime, looked_at, is_settled) in [
            (10, time(12, 0), false),
            (10, time(12, 1), true),
            (10, time(11, 999_999_999), false),
            (10, time(10, 0), false),
            (10, time(9, 0), false),
        ] {
            let (change, kept) = judge(looked_at, false).judge(None, &at(mtime), false);
            let kept = kept.unwrap();
            assert_eq!((change, kept.is_settled), (Change::New, is_settled));
            let (change, again) = judge(time(100, 0), false).judge(Some(&kept), &at(mtime), false);
            match is_settled {
                true => assert_eq!((change, again), (Change::Unchanged, None)),
                // It is told once more, and trusted from then on.
                false => {
                    assert_eq!(change, Change::Changed);
                    assert!(again.unwrap().is_settled);
                }
            }
        }
    }

    #[test]
    fn what_was_taken_from_memory_grows_neither_younger_nor_more_trusted() {
        let judge = judge(time(100, 0), true);
        for is_settled in [true, false] {
            let before = Remembered {
                metadata: at(10),
                is_settled,
                looked_at: 11_000,
            };
            let (change, kept) = judge.judge(Some(&before), &at(10), true);
            assert_eq!(kept, None);
            assert_eq!(change == Change::Unchanged, is_settled);
            let (_, kept) = judge.judge(Some(&before), &at(10), false);
            assert_eq!(kept.unwrap().looked_at, 100_000);
        }
        let (change, kept) = judge.judge(None, &at(10), true);
        let kept = kept.unwrap();
        assert_eq!(
            (change, kept.is_settled, kept.looked_at),
            (Change::New, false, 0)
        );
    }

    #[test]
    fn an_access_is_no_news() {
        let judge = judge(time(100, 0), false);
        let mut accessed = at(10);
        accessed.set_accessed(time(11, 0));
        let (_, before) = judge.judge(None, &accessed, false);
        accessed.set_accessed(time(99, 0));
        let (change, kept) = judge.judge(before.as_ref(), &accessed, false);
        assert_eq!((change, kept), (Change::Unchanged, None));
        accessed.set_mode(0o600);
        let (change, kept) = judge.judge(before.as_ref(), &accessed, false);
        assert_eq!(change, Change::Unchanged);
        assert_eq!(kept.unwrap().metadata, accessed);
    }
}
