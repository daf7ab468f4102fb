//! The digest of a file's contents, with what proves later that it still holds.

use statline_platform::{FileId, Metadata, Timestamp};

use super::keys::Root;
use crate::ContentHash;
use crate::cache::is_settled;
use crate::packed::{push_time, push_varint, take_time, take_varint};

/// The digest of a file's contents, and what the file was when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    /// When that was looked at; not later.
    pub(crate) looked_at: Timestamp,
    pub(crate) hash: ContentHash,
}

/// The version of the form of a value.
const FORM: u8 = 1;

impl Digest {
    /// Whether this is the digest of a file that looks like this now. It has the same number already.
    pub(crate) fn is_of(&self, file: &Metadata) -> bool {
        file.size() == Some(self.size)
            && file.modified() == Some(self.modified)
            && file.changed() == Some(self.changed)
            && is_settled(file, self.looked_at)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(self.hash.as_bytes());
        push_varint(&mut bytes, self.size);
        for time in [self.modified, self.changed, self.looked_at] {
            push_time(&mut bytes, time);
        }
        bytes
    }

    /// The digest in a value; `None` if it holds none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Digest> {
        let rest = bytes.strip_prefix(&[FORM])?;
        let (hash, mut rest) = rest.split_first_chunk::<32>()?;
        let digest = Digest {
            size: take_varint(&mut rest)?,
            modified: take_time(&mut rest)?,
            changed: take_time(&mut rest)?,
            looked_at: take_time(&mut rest)?,
            hash: ContentHash::from(*hash),
        };
        rest.is_empty().then_some(digest)
    }
}

pub(super) fn key(root: Root, file: FileId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&root.0.to_be_bytes());
    key[4..].copy_from_slice(&file.as_u128().to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{file, time};

    #[test]
    fn it_is_that_of_a_file_that_has_not_changed_since_and_had_not_just_before() {
        let digest = |looked_at| Digest {
            size: 3,
            modified: time(10, 0),
            changed: time(20, 5),
            looked_at,
            hash: ContentHash::of(b"abc"),
        };
        let now = file(|metadata| {
            let metadata = metadata.set_size(3).set_modified(time(10, 0));
            metadata.set_changed(time(20, 5));
        });
        let settled = digest(time(22, 6));
        assert!(settled.is_of(&now));
        for looked_at in [time(22, 5), time(20, 5), time(1, 0)] {
            assert!(!digest(looked_at).is_of(&now), "{looked_at:?}");
        }
        let changes: [fn(&mut Metadata); 3] = [
            |metadata| _ = metadata.set_size(4),
            |metadata| _ = metadata.set_modified(time(10, 1)),
            |metadata| _ = metadata.set_changed(time(20, 6)),
        ];
        for change in changes {
            let mut now = now.clone();
            change(&mut now);
            assert!(!settled.is_of(&now));
        }
        // What is not known is not the same.
        assert!(!settled.is_of(&file(|metadata| _ = metadata.set_size(3))));
    }

    /// What happens to a file, each after so many milliseconds.
    #[derive(Clone, Debug)]
    enum Step {
        /// It is written to; its mtime may be set back to what it was.
        Write { keeps_mtime: bool },
        /// It is looked at, and its digest taken from what is remembered, or else read and remembered.
        Look,
    }

    proptest! {
        /// However coarse the clock of a file system is, up to two seconds.
        #[test]
        fn no_digest_is_taken_for_that_of_other_contents(
            steps in prop::collection::vec(
                (0..3000_i64, prop_oneof![
                    any::<bool>().prop_map(|keeps_mtime| Step::Write { keeps_mtime }),
                    Just(Step::Look),
                ]),
                1..40,
            ),
            tick in prop::sample::select(vec![1_i64, 10, 1000, 2000]),
        ) {
            let dated = |now: i64| {
                let now = now - now % tick;
                time(now.div_euclid(1000), (now % 1000) as u32 * 1_000_000)
            };
            let mut now = 1_000_000;
            let mut content = 0_u8;
            let (mut modified, mut changed) = (dated(now), dated(now));
            let mut remembered: Option<Digest> = None;
            for (pause, step) in steps {
                now += pause;
                match step {
                    Step::Write { keeps_mtime } => {
                        content += 1;
                        changed = dated(now);
                        modified = if keeps_mtime { modified } else { changed };
                    }
                    Step::Look => {
                        let found = file(|metadata| {
                            metadata.set_size(1).set_modified(modified).set_changed(changed);
                        });
                        let hash = ContentHash::of(&[content]);
                        match &remembered {
                            Some(digest) if digest.is_of(&found) => prop_assert_eq!(digest.hash, hash),
                            _ => {
                                let looked_at = time(now.div_euclid(1000), (now % 1000) as u32 * 1_000_000);
                                remembered = Some(Digest { size: 1, modified, changed, looked_at, hash });
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_a_part_of_it_not_at_all() {
        let digest = Digest {
            size: 1 << 40,
            modified: time(-5, 999_999_999),
            changed: time(1_772_000_000, 1),
            looked_at: time(1_772_000_009, 0),
            hash: ContentHash::of(b"x"),
        };
        let bytes = digest.to_bytes();
        assert_eq!(Digest::read(&bytes), Some(digest));
        for end in 0..bytes.len() {
            assert_eq!(Digest::read(&bytes[..end]), None);
        }
        assert_eq!(Digest::read(&[&bytes[..], b"x"].concat()), None);
    }
}
